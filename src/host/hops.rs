//! How far a host socket's datagrams go: as far as the container's would.

use std::net::IpAddr;
use std::os::fd::AsFd;

use crate::sys::error_queue::set_option;

/// What a socket was told last; it is told again only when that changes.
#[derive(Debug)]
pub(super) struct TimeToLive {
    v4: bool,
    told: Option<u8>,
}

impl TimeToLive {
    /// Of a socket of `address`'s family.
    pub(super) fn of(address: IpAddr) -> Self {
        Self {
            v4: address.is_ipv4(),
            told: None,
        }
    }

    /// What `socket` sends next may go so many hops.
    pub(super) fn set(&mut self, socket: &impl AsFd, hops: u8) {
        if self.told == Some(hops) {
            return;
        }
        let (level, name) = if self.v4 {
            (libc::IPPROTO_IP, libc::IP_TTL)
        } else {
            (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS)
        };
        // One to 255 hops are always taken; anything else leaves the host's own default.
        let _ = set_option(socket, level, name, hops.into());
        self.told = Some(hops);
    }
}
