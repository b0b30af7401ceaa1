//! What a socket's queue of errors holds, as the engine takes it.

use std::os::fd::AsFd;

use super::errno::fault;
use crate::stack::Failure;
use crate::sys::error_queue::{Origin, receive};

/// The oldest error about a datagram of `socket`, with what was quoted of it in `buffer`.
pub(super) fn next_failure<'b>(socket: &impl AsFd, buffer: &'b mut [u8]) -> Option<Failure<'b>> {
    loop {
        let report = receive(socket, buffer).ok()?;
        let offender = match report.origin {
            Origin::Local => None,
            Origin::Icmp { offender, .. } | Origin::Icmpv6 { offender, .. } => offender,
        };
        if let Some(fault) = fault(report.origin) {
            return Some(Failure {
                target: report.target,
                fault,
                offender,
                quoted: &buffer[..report.len],
            });
        }
    }
}
