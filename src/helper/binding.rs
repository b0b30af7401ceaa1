//! Binding host ports: what the books allow becomes sockets, or the reason why not.

use std::io;

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit};

use super::failure::Failure;
use crate::host::errno::is_exhaustion;
use crate::host::listen::{HostPort, NotBound};
use crate::network::ports::{Protocol, Reach};
use crate::network::publications::Claim;

/// A claim with its sockets.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) claim: Claim,
    pub(super) sockets: Vec<HostPort>,
}

/// What binding came to.
#[derive(Debug, Default)]
pub(super) struct Round {
    pub(super) bound: Vec<Bound>,
    /// Another program has these, and another number would do.
    pub(super) taken: Vec<Claim>,
}

/// Binds every claim; the first that can't be had ends it, unless another number would do. Ports of our own containers
/// are kept out by the books; what else holds a port only the kernel knows. Takes about five microseconds for each.
pub(super) fn bind(claims: &[Claim]) -> Result<Round, Failure> {
    let mut round = Round {
        bound: Vec::with_capacity(claims.len()),
        taken: Vec::new(),
    };
    for claim in claims {
        let protocol = claim.mapping.container.protocol;
        match HostPort::bind(protocol, claim.mapping.reach, claim.port) {
            Ok(sockets) => round.bound.push(Bound { claim: *claim, sockets }),
            Err(NotBound { error, .. }) if claim.is_flexible() && error.kind() == io::ErrorKind::AddrInUse => {
                round.taken.push(*claim);
            }
            Err(refused) => return Err(tell(&refused, protocol, claims.len())),
        }
    }
    Ok(round)
}

/// How many descriptors a port takes.
pub(super) fn sockets(protocol: Protocol, reach: Reach) -> usize {
    HostPort::sockets(protocol, reach)
}

/// The refusal of what takes more descriptors than there are.
pub(super) fn too_many(ports: usize, sockets: usize, left: usize) -> Failure {
    let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft);
    Failure::failed(format!(
        "{ports} ports take {sockets} descriptors, and of the {limit} that the network's helper may have open (ulimit -Hn) \
         {left} are left for ports; publish fewer, or raise the limit before the network starts"
    ))
}

fn tell(refused: &NotBound, protocol: Protocol, ports: usize) -> Failure {
    let NotBound { address, error } = refused;
    if is_exhaustion(error) {
        return Failure::failed(format!(
            "Bind for {address} failed: {error}; {ports} ports at once are too many here (ulimit -Hn)"
        ));
    }
    match error.raw_os_error().map(Errno::from_raw) {
        // Docker's words, which scripts look for.
        Some(Errno::EADDRINUSE) => Failure::conflict(format!(
            "Bind for {address} failed: port is already allocated by another program of this host (ss -lnp shows which)"
        )),
        Some(Errno::EACCES) => Failure::failed(format!(
            "Bind for {address}/{protocol} failed: ports below net.ipv4.ip_unprivileged_port_start are not for \
             users; choose a higher one, or let root say: sysctl -w net.ipv4.ip_unprivileged_port_start={}",
            address.port()
        )),
        Some(Errno::EADDRNOTAVAIL) => Failure::failed(format!(
            "Bind for {address} failed: this host does not have the address {}",
            address.ip()
        )),
        Some(_) | None => Failure::failed(format!("Bind for {address} failed: {error}")),
    }
}
