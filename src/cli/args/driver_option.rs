//! `-o NAME=VALUE`: the options of Docker's bridge driver, under the names by which people have written them down.

use std::fmt::{self, Display};
use std::net::Ipv4Addr;
use std::str::FromStr;

use super::network::{MTU_MAX, MTU_MIN};
use crate::network::name;

/// One option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DriverOption {
    /// Name of the bridge.
    BridgeName(String),
    /// Whether containers reach each other: `--icc`.
    Icc(bool),
    /// Where ports are published whose SPECs name no address.
    HostBinding(Ipv4Addr),
    /// `--mtu`.
    Mtu(u16),
}

impl FromStr for DriverOption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
        match key {
            BRIDGE_NAME => name::check_interface(value)
                .map(|()| Self::BridgeName(value.to_owned()))
                .map_err(|error| error.to_string()),
            ENABLE_ICC => boolean(value)
                .map(Self::Icc)
                .ok_or_else(|| format!("'{value}' is neither true nor false")),
            HOST_BINDING => value
                .parse()
                .map(Self::HostBinding)
                .map_err(|_| format!("'{value}' is no IPv4 address of the host")),
            MTU => value
                .parse()
                .ok()
                .filter(|mtu| (MTU_MIN..=MTU_MAX).contains(&i64::from(*mtu)))
                .map(Self::Mtu)
                .ok_or_else(|| format!("'{value}' is not in {MTU_MIN}..={MTU_MAX}")),
            unknown => Err(format!(
                "'{unknown}' is not known; known are {BRIDGE_NAME}, {ENABLE_ICC}, {HOST_BINDING} and {MTU}"
            )),
        }
    }
}

impl Display for DriverOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BridgeName(name) => write!(f, "{BRIDGE_NAME}={name}"),
            Self::Icc(icc) => write!(f, "{ENABLE_ICC}={icc}"),
            Self::HostBinding(address) => write!(f, "{HOST_BINDING}={address}"),
            Self::Mtu(mtu) => write!(f, "{MTU}={mtu}"),
        }
    }
}

/// What Go's `strconv.ParseBool` takes, and with it Docker.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

pub(super) const BRIDGE_NAME: &str = "com.docker.network.bridge.name";
pub(super) const ENABLE_ICC: &str = "com.docker.network.bridge.enable_icc";
pub(super) const HOST_BINDING: &str = "com.docker.network.bridge.host_binding_ipv4";
pub(super) const MTU: &str = "com.docker.network.driver.mtu";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_names_are_known() {
        for text in [
            "com.docker.network.bridge.name=br0",
            "com.docker.network.bridge.enable_icc=false",
            "com.docker.network.bridge.host_binding_ipv4=127.0.0.1",
            "com.docker.network.driver.mtu=1400",
        ] {
            assert_eq!(text.parse::<DriverOption>().unwrap().to_string(), text);
        }
        for word in ["1", "T", "TRUE"] {
            assert_eq!(format!("{ENABLE_ICC}={word}").parse(), Ok(DriverOption::Icc(true)));
        }
    }

    #[test]
    fn everything_else_is_refused_in_a_line() {
        for (text, problem) in [
            ("icc", "write NAME=VALUE"),
            (
                "com.docker.network.bridge.enable_ip_masquerade=true",
                "'com.docker.network.bridge.enable_ip_masquerade' is not known; known are \
                 com.docker.network.bridge.name, com.docker.network.bridge.enable_icc, \
                 com.docker.network.bridge.host_binding_ipv4 and com.docker.network.driver.mtu",
            ),
            ("com.docker.network.driver.mtu=100", "'100' is not in 576..=65521"),
            ("com.docker.network.driver.mtu=x", "'x' is not in 576..=65521"),
            (
                "com.docker.network.bridge.enable_icc=maybe",
                "'maybe' is neither true nor false",
            ),
            (
                "com.docker.network.bridge.host_binding_ipv4=::1",
                "'::1' is no IPv4 address of the host",
            ),
        ] {
            assert_eq!(text.parse::<DriverOption>(), Err(problem.to_owned()));
        }
        let error = format!("{BRIDGE_NAME}=../x").parse::<DriverOption>().unwrap_err();
        assert!(error.contains("'../x'"), "{error}");
    }
}
