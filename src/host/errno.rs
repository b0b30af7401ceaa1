//! What an error of a host socket means to the container that caused it.
//!
//! A container's kernel makes an errno of the ICMP error again; each row here is the one that leads back to the errno which
//! the host's program would have seen (`icmp_err_convert`, net/ipv4/icmp.c). ENETDOWN has no such row, nor has EACCES
//! (a local route that prohibits): their containers see ENETUNREACH and EHOSTUNREACH.

use std::io;
use std::net::SocketAddr;

use nix::errno::Errno;

use super::handling::path_mtu;
use crate::stack::{Fault, Unreachable};
use crate::sys::error_queue::Origin;

/// The container's view of an error of connect(2), send(2) or socket(2).
pub fn unreachable(error: &io::Error) -> Unreachable {
    let errno = error.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "every other error means that the host is not reached"
    )]
    match errno {
        Errno::ECONNREFUSED | Errno::ECONNRESET => Unreachable::Refused,
        Errno::ENETUNREACH | Errno::ENETDOWN | Errno::EINVAL | Errno::EAFNOSUPPORT => Unreachable::Network,
        Errno::ENOPROTOOPT => Unreachable::Protocol,
        Errno::EPROTO => Unreachable::Parameter,
        Errno::EOPNOTSUPP => Unreachable::SourceRoute,
        Errno::EHOSTDOWN => Unreachable::HostUnknown,
        Errno::ENONET => Unreachable::Isolated,
        Errno::EACCES | Errno::EPERM => Unreachable::Prohibited,
        Errno::ETIMEDOUT => Unreachable::TimedOut,
        Errno::EADDRNOTAVAIL => Unreachable::Exhausted,
        _ if is_exhaustion(error) => Unreachable::Exhausted,
        _ => Unreachable::Host,
    }
}

/// Why a datagram for `target` did not leave. What is too long for the way is told how long it may be.
pub fn unsent(error: &io::Error, target: SocketAddr) -> Fault {
    let too_long = error.raw_os_error().map(Errno::from_raw) == Some(Errno::EMSGSIZE);
    if too_long && let Ok(mtu) = path_mtu(target) {
        return Fault::TooBig { mtu };
    }
    unreachable(error).into()
}

/// What an ICMP error says; none where it is no end of a datagram, or our own kernel has said it at once.
pub fn fault(origin: Origin) -> Option<Fault> {
    match origin {
        Origin::Local => None,
        Origin::Icmp { message, mtu, .. } => icmp_fault(message, mtu),
        Origin::Icmpv6 { message, mtu, .. } => icmpv6_fault(message, mtu),
    }
}

/// RFC 792, RFC 1812 section 5.2.7.1, RFC 1191.
fn icmp_fault(message: (u8, u8), mtu: u32) -> Option<Fault> {
    let why = match message {
        (3, 0 | 6 | 9 | 11) => Unreachable::Network,
        (3, 1 | 10 | 12) => Unreachable::Host,
        (3, 2) => Unreachable::Protocol,
        (3, 3) => Unreachable::Refused,
        (3, 4) => return Some(too_big(mtu)),
        (3, 5) => Unreachable::SourceRoute,
        (3, 7) => Unreachable::HostUnknown,
        (3, 8) => Unreachable::Isolated,
        (3, 13..=15) => Unreachable::Prohibited,
        (12, _) => Unreachable::Parameter,
        (11, 0) => return Some(Fault::TimeExceeded),
        _ => return None,
    };
    Some(why.into())
}

/// RFC 4443 section 3.
fn icmpv6_fault(message: (u8, u8), mtu: u32) -> Option<Fault> {
    let why = match message {
        (1, 0) => Unreachable::Network,
        (1, 1 | 5 | 6) => Unreachable::Prohibited,
        (1, 2 | 3) => Unreachable::Host,
        (1, 4) => Unreachable::Refused,
        (4, _) => Unreachable::Parameter,
        (2, _) => return Some(too_big(mtu)),
        (3, 0) => return Some(Fault::TimeExceeded),
        _ => return None,
    };
    Some(why.into())
}

fn too_big(mtu: u32) -> Fault {
    Fault::TooBig {
        mtu: u16::try_from(mtu).unwrap_or(u16::MAX),
    }
}

/// Whether the call would have waited, or was interrupted: not a failure.
pub fn would_block(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Whether descriptors or memory have run out: it goes by, without an event that says so.
pub fn is_exhaustion(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(
        errno,
        Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_connect_keep_their_meaning() {
        let table = [
            (Errno::ECONNREFUSED, Unreachable::Refused),
            (Errno::ENETUNREACH, Unreachable::Network),
            (Errno::EHOSTUNREACH, Unreachable::Host),
            (Errno::EPERM, Unreachable::Prohibited),
            (Errno::ETIMEDOUT, Unreachable::TimedOut),
            (Errno::EMFILE, Unreachable::Exhausted),
            (Errno::ENOPROTOOPT, Unreachable::Protocol),
            (Errno::EPROTO, Unreachable::Parameter),
            (Errno::EHOSTDOWN, Unreachable::HostUnknown),
            (Errno::ENONET, Unreachable::Isolated),
            (Errno::ENETDOWN, Unreachable::Network),
            (Errno::EADDRNOTAVAIL, Unreachable::Exhausted),
        ];
        for (errno, expected) in table {
            assert_eq!(unreachable(&io::Error::from(errno)), expected, "{errno}");
        }
    }

    #[test]
    fn errors_of_routers_keep_their_meaning() {
        let icmp = |message, mtu| {
            fault(Origin::Icmp {
                message,
                offender: None,
                mtu,
            })
        };
        assert_eq!(icmp((3, 3), 0), Some(Unreachable::Refused.into()));
        assert_eq!(icmp((3, 13), 0), Some(Unreachable::Prohibited.into()));
        assert_eq!(icmp((3, 4), 1280), Some(Fault::TooBig { mtu: 1280 }));
        assert_eq!(icmp((3, 4), 70_000), Some(Fault::TooBig { mtu: 65_535 }));
        assert_eq!(icmp((11, 0), 0), Some(Fault::TimeExceeded));
        assert_eq!(icmp((11, 1), 0), None, "reassembly at the target is its own affair");
        assert_eq!(icmp((4, 0), 0), None, "source quench is ignored (RFC 6633)");
        assert_eq!(fault(Origin::Local), None);
    }
}
