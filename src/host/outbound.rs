//! The addresses from which host sockets go out, where the user names them instead of leaving it to the routes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A source address for each family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outbound {
    /// Of IPv4.
    pub v4: Option<Ipv4Addr>,
    /// Of IPv6.
    pub v6: Option<Ipv6Addr>,
}

impl Outbound {
    /// From where a connection to `target` goes out; the loopback is not outside.
    pub fn towards(self, target: IpAddr) -> Option<IpAddr> {
        self.beside(target).filter(|_| !target.is_loopback())
    }

    /// The address to bind a socket to that may send to many targets of the family of `target`; unspecified by default.
    pub fn bound(self, target: IpAddr, port: u16) -> SocketAddr {
        let any = match target {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        SocketAddr::new(self.beside(target).unwrap_or(any), port)
    }

    /// The source address of the family of `target`.
    pub fn beside(self, target: IpAddr) -> Option<IpAddr> {
        match target {
            IpAddr::V4(_) => self.v4.map(IpAddr::V4),
            IpAddr::V6(_) => self.v6.map(IpAddr::V6),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_family_and_not_on_the_loopback() {
        let outbound = Outbound {
            v4: Some(Ipv4Addr::new(192, 0, 2, 7)),
            v6: None,
        };
        let target = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(outbound.towards(target("198.51.100.1")), Some(target("192.0.2.7")));
        assert_eq!(outbound.towards(target("127.0.0.1")), None);
        assert_eq!(outbound.towards(target("2001:db8::1")), None);
        assert_eq!(outbound.bound(target("2001:db8::1"), 9).to_string(), "[::]:9");
        assert_eq!(outbound.bound(target("127.0.0.1"), 9).to_string(), "192.0.2.7:9");
    }
}
