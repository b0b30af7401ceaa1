//! The nameservers and the search list of a resolv.conf, read as resolv.conf(5) and glibc's res_init.c do. Pure.
//!
//! The search list is for those who ask for it; a query arrives with its search domain applied already.

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

/// The domains of the last `search` or `domain` line, without those that no name ends in.
pub(super) fn search(text: &[u8]) -> Vec<String> {
    let mut domains = Vec::new();
    for line in text.split(|byte| *byte == b'\n') {
        let Ok(line) = std::str::from_utf8(line) else { continue };
        let mut words = line.split_ascii_whitespace();
        let most = match words.next() {
            Some("search") => MAX_SEARCH,
            Some("domain") => 1,
            Some(_) | None => continue,
        };
        domains = words
            .map(|word| word.strip_suffix('.').unwrap_or(word))
            .filter(is_domain)
            .take(most)
            .collect();
    }
    domains.into_iter().map(str::to_owned).collect()
}

fn is_domain(word: &&str) -> bool {
    let is_plain = |label: &str| {
        label
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let mut labels = word.split('.');
    word.len() <= MAX_DOMAIN && labels.all(|label| (1..=MAX_LABEL).contains(&label.len()) && is_plain(label))
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

/// Domains that are handed on; glibc has had no limit since 2.26, and six before.
const MAX_SEARCH: usize = 32;

/// Bytes of a name in writing, and of a label (RFC 1035 section 2.3.4).
const MAX_DOMAIN: usize = 253;
const MAX_LABEL: usize = 63;

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
    fn search_lists() {
        let long = format!("search {0} b.{0}\n", "a".repeat(63));
        let longer = format!("search {} b\n", "a".repeat(64));
        let many: String = (0..40).map(|n| format!(" d{n}")).collect();
        for (text, expected) in [
            (&b"nameserver 1.1.1.1\n"[..], &[][..]),
            (b"search corp.example lab\n", &["corp.example", "lab"]),
            (b"search\tcorp.example.  lab\r\n", &["corp.example", "lab"]),
            (b"search a\ndomain b c\n", &["b"]),
            (b"domain a\nsearch b c", &["b", "c"]),
            (b"search a\nsearch\n", &[]),
            (b"search .\n", &[]),
            (b"search a .. b. ..b a..b .c\n", &["a", "b"]),
            (b"#search a\n;search b\n searches c\nsearch d # e\n", &["d", "e"]),
            (b"search a\0b \x1b[m c_d e-f \xc3\xa9\n", &["c_d", "e-f"]),
            (b"search a\n\xffsearch b\n", &["a"]),
            (longer.as_bytes(), &["b"]),
        ] {
            assert_eq!(search(text), expected, "{}", text.escape_ascii());
        }
        assert_eq!(search(long.as_bytes()).len(), 2);
        assert_eq!(search(format!("search{many}").as_bytes()).len(), 32);
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
