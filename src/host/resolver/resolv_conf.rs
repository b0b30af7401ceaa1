//! The nameservers of a resolv.conf, read as resolv.conf(5) and glibc's res_init.c do. Pure.
//!
//! The other directives are not ours: a query arrives with its search domain applied already.

use std::net::{IpAddr, Ipv4Addr};

/// One `nameserver` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Nameserver {
    /// Its address.
    pub(super) address: IpAddr,
    /// The interface behind the `%` of a link-local address.
    pub(super) zone: Option<String>,
}

/// The first three nameservers; without any, the one on this machine. Lines that make no sense are passed over.
pub(super) fn nameservers(text: &[u8]) -> Vec<Nameserver> {
    let mut found: Vec<_> = text
        .split(|byte| *byte == b'\n')
        .filter_map(nameserver)
        .take(MAX)
        .collect();
    if found.is_empty() {
        found.push(Nameserver {
            address: Ipv4Addr::LOCALHOST.into(),
            zone: None,
        });
    }
    found
}

fn nameserver(line: &[u8]) -> Option<Nameserver> {
    let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
    if words.next()? != "nameserver" {
        return None;
    }
    let word = words.next()?;
    let (address, zone) = word
        .split_once('%')
        .map_or((word, None), |(address, zone)| (address, Some(zone)));
    let address = address.parse().ok()?;
    let zone = zone.filter(|zone| !zone.is_empty()).map(str::to_owned);
    Some(Nameserver { address, zone })
}

/// MAXNS of resolv.h.
const MAX: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &[u8]) -> Vec<String> {
        let name = |server: Nameserver| match server.zone {
            Some(zone) => format!("{}%{zone}", server.address),
            None => server.address.to_string(),
        };
        nameservers(text).into_iter().map(name).collect()
    }

    #[test]
    fn hostile_files() {
        let long = format!("search {}\nnameserver 1.1.1.1\n", "a".repeat(2048));
        let twenty: String = (1..=20).map(|n| format!("nameserver 10.0.0.{n}\n")).collect();
        for (text, expected) in [
            (&b"nameserver 127.0.0.53\noptions edns0\n"[..], &["127.0.0.53"][..]),
            (b"", &["127.0.0.1"]),
            (b"search example.com\n", &["127.0.0.1"]),
            (b"nameserver 1.1.1.1\r\nnameserver 2.2.2.2\r\n", &["1.1.1.1", "2.2.2.2"]),
            (b"nameserver\t1.1.1.1  # comment\n", &["1.1.1.1"]),
            (
                b"#nameserver 3.3.3.3\n;nameserver 4.4.4.4\nnameserver 1.1.1.1",
                &["1.1.1.1"],
            ),
            (b"nameserver fe80::1%eth0\nnameserver ::1\n", &["fe80::1%eth0", "::1"]),
            (b"nameserver fe80::1%\n", &["fe80::1"]),
            (b"nameserver 1.1.1.1\0\nnameserver 2.2.2.2\n", &["2.2.2.2"]),
            (b"\0\0\nnameserver 2.2.2.2\n", &["2.2.2.2"]),
            (b"\xff\xfe\nnameserver 2.2.2.2\n", &["2.2.2.2"]),
            (b"search ..\nnameserver 2.2.2.2\n", &["2.2.2.2"]),
            (
                b"nameserver\nnameserver 1.2.3\nnameserver 1.2.3.4.5\nnameserver ns.example\n",
                &["127.0.0.1"],
            ),
            (b"nameservers 1.1.1.1\nnameserver1.1.1.1\n", &["127.0.0.1"]),
            (long.as_bytes(), &["1.1.1.1"]),
            (twenty.as_bytes(), &["10.0.0.1", "10.0.0.2", "10.0.0.3"]),
        ] {
            assert_eq!(found(text), expected, "{}", text.escape_ascii());
        }
    }
}
