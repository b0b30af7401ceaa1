//! The texts of a container's /etc/hosts and /etc/resolv.conf, and `--add-host`.
//!
//! Only texts: who mounts them is the container's business. Called by the helper when a container is created.

use std::fmt::{self, Display, Write};
use std::net::IpAddr;
use std::str::FromStr;

use super::name;

/// `--add-host NAME:IP`; the address `host-gateway` is the network's gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddHost {
    /// The name.
    pub name: String,
    /// Its address; `None`: the gateway's.
    pub address: Option<IpAddr>,
}

/// Why an `--add-host` is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddHostError {
    /// No colon.
    #[error("'{0}' has no address: write NAME:IP")]
    NoAddress(String),
    /// What stands before the colon.
    #[error(transparent)]
    Name(#[from] name::NameError),
    /// What stands after it.
    #[error("'{1}' in '{0}' is no address: write NAME:IP or NAME:{HOST_GATEWAY}")]
    Address(String, String),
}

impl FromStr for AddHost {
    type Err = AddHostError;

    fn from_str(text: &str) -> Result<Self, AddHostError> {
        // Docker takes NAME=IP too, which is easier to read before an IPv6 address.
        let Some((name, address)) = text.split_once([':', '=']) else {
            return Err(AddHostError::NoAddress(text.to_owned()));
        };
        name::check_hostname(name)?;
        if address == HOST_GATEWAY {
            return Ok(Self {
                name: name.to_owned(),
                address: None,
            });
        }
        let bare = address
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(address);
        let parsed = bare
            .parse()
            .map_err(|_| AddHostError::Address(text.to_owned(), address.to_owned()))?;
        Ok(Self {
            name: name.to_owned(),
            address: Some(parsed),
        })
    }
}

impl Display for AddHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) => write!(f, "{}:{address}", self.name),
            None => write!(f, "{}:{HOST_GATEWAY}", self.name),
        }
    }
}

/// /etc/hosts in Docker's order: a line for each address of the container's own, localhost, what was added, then the lines
/// about links.
pub fn hosts(addresses: &[IpAddr], hostname: &str, gateway: IpAddr, added: &[AddHost], linked: &[String]) -> String {
    let names = own_names(hostname);
    let own = addresses.iter().map(|address| format!("{address}\t{names}\n"));
    let mut text = own.collect::<String>() + LOCALHOST;
    for host in added {
        // Writing into a String cannot fail.
        let _ = writeln!(text, "{}\t{}", host.address.unwrap_or(gateway), host.name);
    }
    for line in linked {
        text.push_str(line);
        text.push('\n');
    }
    text
}

/// /etc/resolv.conf: the gateway answers; `search` and `options` of the host's file are handed on.
///
/// With a search list a C library tries a name without dots below each of its domains first. Names of containers have no
/// dots: unless the host's own options say something else (`ndots`), they are asked for as they are, as Docker has it.
pub fn resolv_conf(gateway: IpAddr, of_the_host: &str) -> String {
    let mut text = format!("nameserver {gateway}\n");
    let (mut searches, mut counts_dots) = (false, false);
    for line in of_the_host.lines().map(str::trim).filter(|line| is_handed_on(line)) {
        text.push_str(line);
        text.push('\n');
        searches |= !line.starts_with("options");
        counts_dots |= line.split_whitespace().any(|word| word.starts_with("ndots:"));
    }
    if searches && !counts_dots {
        text.push_str("options ndots:0\n");
    }
    text
}

/// `host.domain` is also known as `host`.
fn own_names(hostname: &str) -> String {
    match hostname.split_once('.') {
        Some((host, _)) => format!("{hostname} {host}"),
        None => hostname.to_owned(),
    }
}

/// A NUL or an escape in the host's file is not for a container's programs, nor what is no ASCII.
fn is_handed_on(line: &str) -> bool {
    let keyword = line.split_whitespace().next();
    matches!(keyword, Some("search" | "domain" | "options"))
        && line.chars().all(|c| c == '\t' || c.is_ascii() && !c.is_control())
}

/// Docker's word for the host as containers see it.
const HOST_GATEWAY: &str = "host-gateway";
/// What Docker's `etchosts` writes.
const LOCALHOST: &str = "127.0.0.1\tlocalhost\n\
    ::1\tlocalhost ip6-localhost ip6-loopback\n\
    fe00::\tip6-localnet\n\
    ff00::\tip6-mcastprefix\n\
    ff02::1\tip6-allnodes\n\
    ff02::2\tip6-allrouters\n";

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_own_line_comes_first_and_added_ones_last() {
        let added: Vec<AddHost> = ["db:10.0.0.9", "host:host-gateway", "six:fd00::1"]
            .map(|text| text.parse().unwrap())
            .into();
        let linked = ["172.17.0.5\tdb b9ff".to_owned()];
        let text = hosts(
            &[ip("172.17.0.2"), ip("fd00:9::2")],
            "web",
            ip("172.17.0.1"),
            &added,
            &linked,
        );
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "172.17.0.2\tweb");
        assert_eq!(lines[1], "fd00:9::2\tweb");
        assert_eq!(lines[2], "127.0.0.1\tlocalhost");
        assert_eq!(lines[3], "::1\tlocalhost ip6-localhost ip6-loopback");
        assert_eq!(lines[8..11], ["10.0.0.9\tdb", "172.17.0.1\thost", "fd00::1\tsix"]);
        assert_eq!(lines[11..], linked);
        assert!(text.ends_with('\n'));
    }

    #[test]
    fn a_hostname_with_a_domain_is_known_by_both() {
        assert!(
            hosts(&[ip("10.0.0.2")], "web.example.org", ip("10.0.0.1"), &[], &[])
                .starts_with("10.0.0.2\tweb.example.org web\n")
        );
    }

    #[test]
    fn the_gateway_resolves_and_the_search_list_is_handed_on() {
        let host = "# by hand\nnameserver 127.0.0.53\n  search example.org corp\r\noptions edns0 ndots:2\nnameserver fe80::1%eth0\nsearch a\x1b[31m\nsearch b\0\nsearch \u{fffd}\n";
        assert_eq!(
            resolv_conf(ip("172.17.0.1"), host),
            "nameserver 172.17.0.1\nsearch example.org corp\noptions edns0 ndots:2\n"
        );
        for (host, expected) in [
            ("", ""),
            ("options edns0\n", "options edns0\n"),
            ("search corp\n", "search corp\noptions ndots:0\n"),
            (
                "domain corp\noptions edns0\n",
                "domain corp\noptions edns0\noptions ndots:0\n",
            ),
            ("options ndots:5\nsearch corp\n", "options ndots:5\nsearch corp\n"),
        ] {
            assert_eq!(
                resolv_conf(ip("172.17.0.1"), host),
                format!("nameserver 172.17.0.1\n{expected}")
            );
        }
    }

    #[test]
    fn add_host_round_trip() {
        for (given, shown) in [
            ("db:10.0.0.9", "db:10.0.0.9"),
            ("db=10.0.0.9", "db:10.0.0.9"),
            ("six:[fd00::1]", "six:fd00::1"),
            ("six:::1", "six:::1"),
            ("h:host-gateway", "h:host-gateway"),
        ] {
            assert_eq!(given.parse::<AddHost>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn add_host_errors_name_the_part() {
        for (given, expected) in [
            ("db", "'db' has no address: write NAME:IP"),
            (
                "db:10.0.0",
                "'10.0.0' in 'db:10.0.0' is no address: write NAME:IP or NAME:host-gateway",
            ),
            ("db:", "'' in 'db:' is no address: write NAME:IP or NAME:host-gateway"),
        ] {
            assert_eq!(given.parse::<AddHost>().unwrap_err().to_string(), expected);
        }
        assert!("a b:1.2.3.4".parse::<AddHost>().is_err());
        assert!("a\nb:1.2.3.4".parse::<AddHost>().is_err());
    }
}
