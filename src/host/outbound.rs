//! The addresses and interfaces from which host sockets go out, where the user names them instead of leaving it to the
//! routes.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;

use socket2::SockRef;

/// A source address and an interface for each family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outbound {
    /// Of IPv4.
    pub v4: Option<Ipv4Addr>,
    /// Of IPv6.
    pub v6: Option<Ipv6Addr>,
    /// By which IPv4 leaves.
    pub device4: Option<Device>,
    /// By which IPv6 leaves.
    pub device6: Option<Device>,
}

/// An interface of the host, by name: it may be made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device([u8; NAME_BYTES]);

impl Device {
    /// None for what is no interface's name.
    pub fn named(name: &str) -> Option<Self> {
        let mut bytes = [0; NAME_BYTES];
        let room = bytes.get_mut(..name.len()).filter(|room| room.len() < NAME_BYTES)?;
        room.copy_from_slice(name.as_bytes());
        Some(Self(bytes))
    }

    /// With the zero that setsockopt(2) wants at its end.
    fn bytes(&self) -> &[u8] {
        let end = self.0.iter().position(|byte| *byte == 0).unwrap_or(NAME_BYTES - 1);
        &self.0[..=end]
    }
}

impl Outbound {
    /// Has a socket leave by the interface that is meant for `target`: no privilege is needed for one that is bound to no
    /// other (Linux 5.7). The loopback is not outside.
    pub(super) fn choose_device(self, socket: impl AsFd, target: IpAddr) -> io::Result<()> {
        let device = match target {
            IpAddr::V4(_) => self.device4,
            IpAddr::V6(_) => self.device6,
        };
        match device.filter(|_| !target.to_canonical().is_loopback()) {
            Some(device) => SockRef::from(&socket).bind_device(Some(device.bytes())),
            None => Ok(()),
        }
    }

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

/// Room for a name with the zero at its end (linux/if.h, IFNAMSIZ).
const NAME_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_family_and_not_on_the_loopback() {
        let outbound = Outbound {
            v4: Some(Ipv4Addr::new(192, 0, 2, 7)),
            ..Outbound::default()
        };
        let target = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(outbound.towards(target("198.51.100.1")), Some(target("192.0.2.7")));
        assert_eq!(outbound.towards(target("127.0.0.1")), None);
        assert_eq!(outbound.towards(target("2001:db8::1")), None);
        assert_eq!(outbound.bound(target("2001:db8::1"), 9).to_string(), "[::]:9");
        assert_eq!(outbound.bound(target("127.0.0.1"), 9).to_string(), "192.0.2.7:9");
    }

    #[test]
    fn leaves_by_the_interface_that_was_named() {
        let outbound = Outbound {
            device4: Device::named("lo"),
            ..Outbound::default()
        };
        let (host, loopback): (IpAddr, IpAddr) = (Ipv4Addr::new(192, 0, 2, 1).into(), Ipv4Addr::LOCALHOST.into());
        for (outbound, target, expected) in [
            (outbound, host, Some("lo")),
            (outbound, loopback, None),
            (outbound, Ipv6Addr::LOCALHOST.into(), None),
            (Outbound::default(), host, None),
        ] {
            let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
            outbound.choose_device(&socket, target).unwrap();
            let device = SockRef::from(&socket).device().unwrap();
            assert_eq!(device.as_deref(), expected.map(str::as_bytes), "{target}");
        }
        let nowhere = Outbound {
            device4: Device::named("nosuch"),
            ..Outbound::default()
        };
        let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
        assert!(nowhere.choose_device(&socket, host).is_err());
        assert!(Device::named(&"x".repeat(15)).is_some());
        assert_eq!(Device::named(&"x".repeat(16)), None);
    }
}
