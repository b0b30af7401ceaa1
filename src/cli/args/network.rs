//! `up`, `down` and `network`: the settings of a network.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use ipnetwork::{IpNetwork, Ipv4Network};

use super::driver_option::{BRIDGE_NAME, DriverOption, HOST_BINDING};
use super::look::{NetworkInspect, NetworkList};
use super::network_name;
use crate::api::types::NetworkOptions;
use crate::network::subnet;
use crate::network::subnet6::Subnet6;
use crate::policy::HostAccess;

/// `up`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct Up {
    /// How the network is to be.
    #[command(flatten)]
    pub settings: Settings,
    /// Stay in the foreground and log to stderr
    #[arg(long)]
    pub foreground: bool,
    /// Write a byte to this descriptor and close it when the network is ready
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    pub ready_fd: Option<i32>,
}

/// `down`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Args)]
pub struct Down {
    /// Stop the containers that are attached, too
    #[arg(short, long)]
    pub force: bool,
}

/// `network …`.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum NetworkCommand {
    /// List networks
    Ls(NetworkList),
    /// Start another network
    Create(Create),
    /// Change a network while it runs
    Update(NetworkChange),
    /// Stop networks
    Rm(NetworkRemove),
    /// Show networks in full, and why each has its subnet
    Inspect(NetworkInspect),
}

/// `network create`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Create {
    /// Its name, which its bridge bears
    #[arg(value_name = "NAME", value_parser = network_name)]
    pub name: String,
    /// How it is to be.
    #[command(flatten)]
    pub settings: Settings,
}

/// `network update`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct NetworkChange {
    /// The network [default: that of --network]
    #[arg(value_name = "NAME", value_parser = network_name)]
    pub name: Option<String>,
    /// Whether containers reach each other, from now on; links go on either way
    #[arg(long, value_name = "true|false", action = clap::ArgAction::Set, require_equals = true, num_args = 0..=1, default_missing_value = "true", required = true)]
    pub icc: Option<bool>,
}

/// `network rm`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct NetworkRemove {
    /// Stop the containers in it
    #[arg(short, long)]
    pub force: bool,
    /// The networks
    #[arg(value_name = "NAME", required = true, value_parser = network_name)]
    pub names: Vec<String>,
}

/// What was said about a network; what was not said is `None`, and differs from nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct Settings {
    /// IPv4 subnet [default: one that nothing on this host uses]
    #[arg(long, value_name = "CIDR", value_parser = subnet4)]
    pub subnet: Option<Ipv4Network>,
    /// IPv6 subnet [default: a random one out of fd00::/8]
    #[arg(long, value_name = "CIDR|none", value_parser = subnet6)]
    pub subnet6: Option<Subnet6>,
    /// Whether containers reach each other [default: true]
    #[arg(long, value_name = "true|false", action = clap::ArgAction::Set, require_equals = true, num_args = 0..=1, default_missing_value = "true")]
    pub icc: Option<bool>,
    /// IP MTU of the containers' interfaces, in bytes [default: 1500]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(MTU_MIN..=MTU_MAX))]
    pub mtu: Option<u16>,
    /// What of the host's loopback containers reach at the gateway's address [default: none]
    #[arg(long, value_name = "none|loopback|PORT[,PORT]", value_parser = host_access)]
    pub host_access: Option<HostAccess>,
    /// A resolver instead of the host's; repeatable
    #[arg(long, value_name = "IP")]
    pub dns: Vec<IpAddr>,
    /// How frames leave the bridge [default: auto]
    #[arg(long, value_enum)]
    pub uplink: Option<Uplink>,
    /// Threads that carry packets [default: one for each processor, at most 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=THREADS_MAX))]
    pub threads: Option<u8>,
    /// Build the network inside this user namespace
    #[arg(long, value_name = "PATH")]
    pub userns: Option<PathBuf>,
    /// An option of Docker's bridge driver: com.docker.network.bridge.name, …enable_icc, …host_binding_ipv4 or
    /// com.docker.network.driver.mtu; repeatable
    #[arg(short = 'o', long = "opt", value_name = "NAME=VALUE")]
    pub driver: Vec<DriverOption>,
}

/// `--uplink`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Uplink {
    /// The first that works
    Auto,
    /// A TAP with offloads
    Tap,
    /// A TAP without, for sandboxes whose TAP cannot do more
    TapPlain,
    /// A packet socket on a veth pair, where there is no /dev/net/tun
    Packet,
}

impl Settings {
    /// Whether nothing is said twice and differently; the contradiction, in a line.
    pub fn check(&self) -> Result<(), String> {
        let flags = [
            self.icc.map(|icc| ("--icc", DriverOption::Icc(icc))),
            self.mtu.map(|mtu| ("--mtu", DriverOption::Mtu(mtu))),
        ];
        for (at, said) in self.driver.iter().enumerate() {
            let contradicts =
                |other: &DriverOption| std::mem::discriminant(other) == std::mem::discriminant(said) && other != said;
            if let Some((flag, _)) = flags.iter().flatten().find(|(_, other)| contradicts(other)) {
                return Err(format!("-o {said} contradicts {flag}: say one of them"));
            }
            if let Some(other) = self.driver[..at].iter().find(|other| contradicts(other)) {
                return Err(format!("-o {said} contradicts -o {other}: say one of them"));
            }
        }
        Ok(())
    }

    /// The settings of a network to be.
    pub fn options(&self) -> NetworkOptions {
        let default = NetworkOptions::default();
        NetworkOptions {
            subnet: self.subnet,
            subnet6: self.subnet6.unwrap_or(default.subnet6),
            icc: self.icc().unwrap_or(default.icc),
            mtu: self.mtu().unwrap_or(default.mtu),
            host_binding: self.host_binding(),
            bridge: self.bridge(),
            host_access: self.host_access.clone().unwrap_or(default.host_access),
            dns: self.dns.clone(),
            uplink: self.uplink.map_or(default.uplink, Uplink::word),
            threads: self.threads,
            userns: self.userns.clone(),
            transient: false,
        }
    }

    /// What was said and is not so in a network that runs: empty when `up` has nothing to do. `uplink` is asked of the
    /// options too: a network that runs with `auto` has found one, and is right for whoever says `auto`.
    pub fn differences(&self, running: &NetworkOptions) -> Vec<String> {
        let mut found = Vec::new();
        let mut compare = |option: &str, said: Option<String>, is: String| {
            if let Some(said) = said.filter(|said| *said != is) {
                found.push(format!("{option} is {is}, not {said}"));
            }
        };
        compare(
            "--subnet",
            self.subnet.map(|it| it.to_string()),
            or_none(running.subnet.as_ref()),
        );
        compare(
            "--subnet6",
            self.subnet6.map(|it| or_none(it.given().as_ref())),
            or_none(running.subnet6.given().as_ref()),
        );
        compare("--icc", self.icc().map(|it| it.to_string()), running.icc.to_string());
        compare("--mtu", self.mtu().map(|it| it.to_string()), running.mtu.to_string());
        compare(
            HOST_BINDING,
            self.host_binding().map(|it| it.to_string()),
            running.host_binding.unwrap_or(Ipv4Addr::UNSPECIFIED).to_string(),
        );
        compare(
            BRIDGE_NAME,
            self.bridge(),
            or_else(running.bridge.as_ref(), "the network's"),
        );
        compare(
            "--host-access",
            self.host_access.as_ref().map(access_words),
            access_words(&running.host_access),
        );
        compare(
            "--dns",
            Some(list(&self.dns)).filter(|_| !self.dns.is_empty()),
            list(&running.dns),
        );
        compare("--uplink", self.uplink.map(Uplink::word), running.uplink.clone());
        compare(
            "--threads",
            self.threads.map(|it| it.to_string()),
            running.threads.unwrap_or(1).to_string(),
        );
        let path = |path: &PathBuf| path.display().to_string();
        compare(
            "--userns",
            self.userns.as_ref().map(path),
            running.userns.as_ref().map_or("none".to_owned(), path),
        );
        found
    }
}

impl Settings {
    fn icc(&self) -> Option<bool> {
        self.icc.or_else(|| {
            self.driver(|option| match option {
                DriverOption::Icc(icc) => Some(*icc),
                DriverOption::BridgeName(_) | DriverOption::HostBinding(_) | DriverOption::Mtu(_) => None,
            })
        })
    }

    fn mtu(&self) -> Option<u16> {
        self.mtu.or_else(|| {
            self.driver(|option| match option {
                DriverOption::Mtu(mtu) => Some(*mtu),
                DriverOption::BridgeName(_) | DriverOption::HostBinding(_) | DriverOption::Icc(_) => None,
            })
        })
    }

    fn host_binding(&self) -> Option<Ipv4Addr> {
        self.driver(|option| match option {
            DriverOption::HostBinding(address) => Some(*address),
            DriverOption::BridgeName(_) | DriverOption::Mtu(_) | DriverOption::Icc(_) => None,
        })
    }

    fn bridge(&self) -> Option<String> {
        self.driver(|option| match option {
            DriverOption::BridgeName(name) => Some(name.clone()),
            DriverOption::HostBinding(_) | DriverOption::Mtu(_) | DriverOption::Icc(_) => None,
        })
    }

    fn driver<T>(&self, find: impl Fn(&DriverOption) -> Option<T>) -> Option<T> {
        self.driver.iter().find_map(find)
    }
}

impl Uplink {
    fn word(self) -> String {
        match self {
            Self::Auto => "auto",
            Self::Tap => "tap",
            Self::TapPlain => "tap-plain",
            Self::Packet => "packet",
        }
        .to_owned()
    }
}

fn subnet4(text: &str) -> Result<Ipv4Network, String> {
    let network = text.parse().map_err(|_| NOT_CIDR.to_owned())?;
    subnet::check_shape(IpNetwork::V4(network)).map_err(|error| error.to_string())?;
    Ok(network)
}

fn subnet6(text: &str) -> Result<Subnet6, String> {
    if text == "none" {
        return Ok(Subnet6::None);
    }
    let network = text.parse().map_err(|_| NOT_CIDR6.to_owned())?;
    subnet::check_shape(IpNetwork::V6(network)).map_err(|error| error.to_string())?;
    Ok(Subnet6::Given(network))
}

fn host_access(text: &str) -> Result<HostAccess, String> {
    match text {
        "none" => Ok(HostAccess::None),
        "loopback" => Ok(HostAccess::Loopback),
        _ => text
            .split(',')
            .map(access_port)
            .collect::<Result<_, _>>()
            .map(HostAccess::Ports),
    }
}

fn access_port(text: &str) -> Result<u16, String> {
    let port = text.parse().ok().filter(|port| *port != 0);
    port.ok_or_else(|| format!("'{text}' is no port; write none, loopback or ports like 5432,6379"))
}

fn access_words(access: &HostAccess) -> String {
    match access {
        HostAccess::None => "none".to_owned(),
        HostAccess::Loopback => "loopback".to_owned(),
        HostAccess::Ports(ports) => list(ports),
    }
}

fn list<T: ToString>(items: &[T]) -> String {
    if items.is_empty() {
        return "none".to_owned();
    }
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn or_none<T: ToString>(value: Option<&T>) -> String {
    or_else(value, "none")
}

fn or_else<T: ToString>(value: Option<&T>, otherwise: &str) -> String {
    value.map_or(otherwise.to_owned(), ToString::to_string)
}

/// RFC 791: what every host must be able to receive.
pub(super) const MTU_MIN: i64 = 576;
/// What a TAP takes: 65,535 bytes with the Ethernet header (drivers/net/tun.c, MAX_MTU).
pub(super) const MTU_MAX: i64 = 65521;
/// Far beyond what a bridge can feed.
const THREADS_MAX: i64 = 64;
const NOT_CIDR: &str = "write a network like 172.17.0.0/16";
const NOT_CIDR6: &str = "write a network like fd00:1::/64, or none";

#[cfg(test)]
mod tests {
    use super::super::tests::{parsed, usage};
    use super::super::{Cli, Command};
    use super::*;

    fn up(line: &str) -> Up {
        let Cli {
            command: Command::Up(up),
            ..
        } = parsed(&format!("up {line}"))
        else {
            panic!("{line}");
        };
        up
    }

    #[test]
    fn nothing_said_is_the_default() {
        assert_eq!(up("").settings.options(), NetworkOptions::default());
    }

    #[test]
    fn every_setting_arrives() {
        let line = "--subnet 10.9.0.0/16 --subnet6 fd00:9::/64 --icc=false --mtu 9000 --host-access 5432,6379 --dns 9.9.9.9 --dns 1.1.1.1 --uplink tap-plain --threads 3 --userns /proc/7/ns/user";
        let options = up(line).settings.options();
        assert_eq!(options.subnet, Some("10.9.0.0/16".parse().unwrap()));
        assert_eq!(options.subnet6, Subnet6::Given("fd00:9::/64".parse().unwrap()));
        assert_eq!(
            (options.icc, options.mtu, options.uplink.as_str()),
            (false, 9000, "tap-plain")
        );
        assert_eq!(options.host_access, HostAccess::Ports(vec![5432, 6379]));
        assert_eq!((options.dns.len(), options.threads), (2, Some(3)));
        assert_eq!(options.userns, Some("/proc/7/ns/user".into()));
    }

    #[test]
    fn the_words_of_the_options() {
        assert!(up("--icc").settings.options().icc);
        assert_eq!(
            up("--host-access loopback").settings.options().host_access,
            HostAccess::Loopback
        );
        assert_eq!(up("--subnet6 none").settings.options().subnet6, Subnet6::None);
        assert_eq!(up("--foreground --ready-fd 3").ready_fd, Some(3));
    }

    #[test]
    fn errors_name_the_option_and_the_value() {
        for (line, part) in [
            (
                "--subnet 10.9.0.1/16",
                "'10.9.0.1/16' for '--subnet <CIDR>': 10.9.0.1/16 has host bits set: say 10.9.0.0/16",
            ),
            (
                "--subnet x",
                "'x' for '--subnet <CIDR>': write a network like 172.17.0.0/16",
            ),
            ("--subnet 10.0.0.0/31", "too small"),
            ("--subnet 127.0.0.0/16", "loopback"),
            ("--mtu 100", "100 is not in 576..=65521"),
            (
                "--host-access 80,x",
                "'x' is no port; write none, loopback or ports like 5432,6379",
            ),
            ("--host-access 0", "'0' is no port"),
            ("--uplink wifi", "'wifi' for '--uplink <UPLINK>'"),
            ("--icc=maybe", "'maybe' for '--icc"),
        ] {
            let text = usage(&format!("up {line}"));
            assert!(text.contains(part), "{line}: {text}");
            assert!(text.lines().count() <= 2, "{text}");
        }
    }

    #[test]
    fn only_what_was_said_can_differ() {
        let mut running = NetworkOptions {
            mtu: 9000,
            dns: vec!["9.9.9.9".parse().unwrap()],
            ..NetworkOptions::default()
        };
        running.subnet = Some("172.17.0.0/16".parse().unwrap());
        assert!(up("").settings.differences(&running).is_empty());
        assert!(
            up("--mtu 9000 --dns 9.9.9.9 --subnet 172.17.0.0/16 --icc=true")
                .settings
                .differences(&running)
                .is_empty()
        );
        let found = up("--mtu 1500 --subnet 10.0.0.0/16 --icc=false --host-access 80 --dns 1.1.1.1 --userns /x")
            .settings
            .differences(&running);
        assert_eq!(
            found,
            [
                "--subnet is 172.17.0.0/16, not 10.0.0.0/16",
                "--icc is true, not false",
                "--mtu is 9000, not 1500",
                "--host-access is none, not 80",
                "--dns is 9.9.9.9, not 1.1.1.1",
                "--userns is none, not /x",
            ]
        );
    }

    #[test]
    fn dockers_options_are_heard() {
        let line = "-o com.docker.network.bridge.name=br7 --opt com.docker.network.bridge.enable_icc=false \
                    -o com.docker.network.bridge.host_binding_ipv4=127.0.0.1 -o com.docker.network.driver.mtu=1400";
        let settings = up(line).settings;
        let options = settings.options();
        assert_eq!(
            (options.bridge.as_deref(), options.icc, options.mtu),
            (Some("br7"), false, 1400)
        );
        assert_eq!(options.host_binding, Some(Ipv4Addr::LOCALHOST));
        assert!(settings.differences(&options).is_empty());
        assert_eq!(
            settings.differences(&NetworkOptions::default()),
            [
                "--icc is true, not false",
                "--mtu is 1500, not 1400",
                "com.docker.network.bridge.host_binding_ipv4 is 0.0.0.0, not 127.0.0.1",
                "com.docker.network.bridge.name is the network's, not br7",
            ]
        );
        assert!(
            up("--mtu 1400 -o com.docker.network.driver.mtu=1400")
                .settings
                .check()
                .is_ok()
        );
        for (line, part) in [
            (
                "--mtu 1500 -o com.docker.network.driver.mtu=1400",
                "-o com.docker.network.driver.mtu=1400 contradicts --mtu: say one of them",
            ),
            (
                "-o com.docker.network.bridge.name=a1 -o com.docker.network.bridge.name=a2",
                "-o com.docker.network.bridge.name=a2 contradicts -o com.docker.network.bridge.name=a1",
            ),
            ("-o x=y", "'x' is not known; known are com.docker.network.bridge.name"),
        ] {
            let text = usage(&format!("up {line}"));
            assert!(text.contains(part), "{line}: {text}");
            assert_eq!(text.lines().count(), 1, "{text}");
        }
    }

    #[test]
    fn network_commands() {
        let Command::Network(NetworkCommand::Create(create)) = parsed("network create blue --mtu 1400").command else {
            panic!()
        };
        assert_eq!((create.name.as_str(), create.settings.mtu), ("blue", Some(1400)));
        assert!(usage("network create a/b").contains("'a/b' is no name for a network"));
        let Command::Network(NetworkCommand::Rm(remove)) = parsed("network rm blue red").command else {
            panic!()
        };
        assert_eq!(remove.names, ["blue", "red"]);
        let Command::Network(NetworkCommand::Update(change)) = parsed("network update blue --icc=false").command else {
            panic!()
        };
        assert_eq!((change.name.as_deref(), change.icc), (Some("blue"), Some(false)));
        assert!(usage("network update").contains("--icc"));
    }
}
