//! What an error of a host socket means to the container that caused it.

use std::io;

use nix::errno::Errno;

use crate::stack::Unreachable;

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
        Errno::EACCES | Errno::EPERM => Unreachable::Prohibited,
        Errno::ETIMEDOUT => Unreachable::TimedOut,
        Errno::EADDRNOTAVAIL => Unreachable::Exhausted,
        _ if is_exhaustion(error) => Unreachable::Exhausted,
        _ => Unreachable::Host,
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
        ];
        for (errno, expected) in table {
            assert_eq!(unreachable(&io::Error::from(errno)), expected, "{errno}");
        }
    }
}
