//! How a host socket's packets are treated on their way: as the container's would be.
//!
//! DF is the container's, too: what may not be cut is not cut here either, and is refused with EMSGSIZE where it is longer
//! than the way (IP_PMTUDISC_DO); what may be cut leaves without DF. Sources: ip(7), ipv6(7), linux/in.h, linux/in6.h.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;

use crate::stack::Handling;
use crate::sys::options::{option, set_option};

/// What a socket was told last; it is told again only what changes, so that the usual packet costs nothing.
#[derive(Debug)]
pub(super) struct Told {
    options: &'static Options,
    time_to_live: Option<u8>,
    class: u8,
    divisible: Option<bool>,
}

impl Told {
    /// Of a socket for datagrams of `address`'s family.
    pub(super) fn of(address: IpAddr) -> Self {
        Self {
            options: Options::of(address),
            time_to_live: None,
            class: Handling::USUAL.class,
            divisible: None,
        }
    }

    /// Of a connection to or from `address`. What is usual is left to the host, and so is whether segments may be cut.
    pub(super) fn of_connection(address: IpAddr) -> Self {
        Self {
            time_to_live: Some(Handling::USUAL.time_to_live),
            divisible: Some(Handling::USUAL.divisible),
            ..Self::of(address)
        }
    }

    /// What `socket` sends next is to be treated so. The values are of those that are always taken; were one not, the
    /// socket would go on as before.
    pub(super) fn tell(&mut self, socket: &impl AsFd, handling: Handling) {
        let Handling {
            time_to_live,
            class,
            divisible,
        } = handling;
        let options = self.options;
        let set = |name, value| drop(set_option(socket, options.level, name, value));
        if self.time_to_live.replace(time_to_live) != Some(time_to_live) {
            set(options.time_to_live, time_to_live.into());
        }
        if std::mem::replace(&mut self.class, class) != class {
            set(options.class, class.into());
        }
        if self.divisible.replace(divisible) != Some(divisible) {
            let whole = if divisible { options.cut } else { options.never_cut };
            set(options.discover, whole);
        }
    }
}

/// The MTU of the way to `target` as far as the host knows it, in bytes with the IP header.
pub(super) fn path_mtu(target: SocketAddr) -> io::Result<u16> {
    let any: IpAddr = match target {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(target)?;
    let options = Options::of(any);
    let mtu = option(&socket, options.level, options.mtu)?;
    Ok(u16::try_from(mtu).unwrap_or(u16::MAX))
}

/// The options of a family, and values of two of them.
#[derive(Debug)]
struct Options {
    level: libc::c_int,
    time_to_live: libc::c_int,
    class: libc::c_int,
    discover: libc::c_int,
    /// Of `discover`: as long as the way allows, else EMSGSIZE.
    never_cut: libc::c_int,
    /// Of `discover`: whoever has to may cut it. In IPv6 that is the sender alone.
    cut: libc::c_int,
    mtu: libc::c_int,
}

impl Options {
    fn of(address: IpAddr) -> &'static Self {
        match address.to_canonical() {
            IpAddr::V4(_) => &V4,
            IpAddr::V6(_) => &V6,
        }
    }
}

const V4: Options = Options {
    level: libc::IPPROTO_IP,
    time_to_live: libc::IP_TTL,
    class: libc::IP_TOS,
    discover: libc::IP_MTU_DISCOVER,
    never_cut: libc::IP_PMTUDISC_DO,
    cut: libc::IP_PMTUDISC_DONT,
    mtu: libc::IP_MTU,
};

const V6: Options = Options {
    level: libc::IPPROTO_IPV6,
    time_to_live: libc::IPV6_UNICAST_HOPS,
    class: libc::IPV6_TCLASS,
    discover: libc::IPV6_MTU_DISCOVER,
    never_cut: libc::IPV6_PMTUDISC_DO,
    cut: libc::IPV6_PMTUDISC_WANT,
    mtu: libc::IPV6_MTU,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_told_what_differs() {
        for any in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(socket) = UdpSocket::bind(any) else { continue };
            let own = socket.local_addr().unwrap();
            let options = Options::of(own.ip());
            let read = |name| option(&socket, options.level, name).unwrap();
            let mut told = Told::of(own.ip());
            for (class, divisible) in [(0, false), (0xb9, false), (0xb9, true), (0, false)] {
                let handling = Handling {
                    time_to_live: 7,
                    class,
                    divisible,
                };
                told.tell(&socket, handling);
                assert_eq!(read(options.time_to_live), 7);
                assert_eq!(read(options.class), libc::c_int::from(class));
                let whole = if divisible { options.cut } else { options.never_cut };
                assert_eq!(read(options.discover), whole);
            }
            assert_eq!(path_mtu(own).unwrap(), u16::MAX, "the loopback's 65,536");
        }
    }

    #[test]
    fn a_usual_connection_is_told_nothing() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let read = || [V4.time_to_live, V4.class, V4.discover].map(|name| option(&socket, V4.level, name).unwrap());
        let before = read();
        let mut told = Told::of_connection(Ipv4Addr::LOCALHOST.into());
        told.tell(&socket, Handling::USUAL);
        assert_eq!(read(), before);
        told.tell(
            &socket,
            Handling {
                class: 0x48,
                ..Handling::USUAL
            },
        );
        assert_eq!(read(), [before[0], 0x48, before[2]]);
    }
}
