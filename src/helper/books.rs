//! The books of a network's published ports: who has which, and how many descriptors that takes.
//!
//! A listener is a descriptor, and so is every flow that containers open; both live in one helper. Where its limit is large
//! neither knows of the other. Where it is not, ports may take three quarters of what there is, and what they take is
//! missing from the containers' limits.

use std::net::IpAddr;
use std::sync::Arc;

use super::binding;
use super::container::PortKey;
use super::failure::Failure;
use crate::network::automatic::parse_reserved;
use crate::network::ports::{Mapping, Number};
use crate::network::publications::{Binding, Claim, ClaimError, Owner, Publications};
use crate::stack::{Ledger, Limits, PublishId};

/// Published ports, open ones and those that are being bound or closed.
#[derive(Debug)]
pub(super) struct Books {
    publications: Publications,
    descriptors: Descriptors,
    last_publish: u32,
}

/// How the helper's descriptors are shared out.
#[derive(Debug)]
pub(super) struct Descriptors {
    /// For ports and for what containers open.
    all: usize,
    /// Those of ports.
    ports: usize,
    /// What containers open.
    ledger: Ledger,
}

/// Ports that are closed and still in the books.
#[derive(Debug)]
#[must_use = "nobody gets them before they are taken out"]
pub(super) struct Closed(pub(super) Vec<PortKey>);

impl Books {
    pub(super) fn new(descriptors: Descriptors) -> Self {
        Self {
            publications: Publications::default(),
            descriptors,
            last_publish: 0,
        }
    }

    /// Claims a number for each of `mappings`, or for none.
    pub(super) fn claim(&mut self, mappings: Vec<Mapping>, owner: &Arc<Owner>) -> Result<Vec<Claim>, Failure> {
        let (ports, sockets) = (mappings.len(), mappings.iter().map(sockets).sum());
        let left = self.descriptors.left_for_ports();
        if sockets > left {
            return Err(binding::too_many(ports, sockets, left));
        }
        if mappings.iter().any(|mapping| mapping.number == Number::Automatic) {
            // Read anew: root may change it.
            let reserved = std::fs::read_to_string(RESERVED).unwrap_or_default();
            self.publications.reserve(parse_reserved(&reserved));
        }
        let claims = self.publications.claim_all(mappings, owner).map_err(refused)?;
        self.descriptors.set_ports(self.descriptors.ports + sockets);
        Ok(claims)
    }

    /// Gives up numbers that other programs have for the next ones; if there is none for one of them, for nothing.
    pub(super) fn claim_next(&mut self, taken: &[Claim], owner: &Arc<Owner>) -> Result<Vec<Claim>, Failure> {
        let mut next = Vec::with_capacity(taken.len());
        for (at, claim) in taken.iter().enumerate() {
            match self.publications.claim_next(claim, owner) {
                Ok(claim) => next.push(claim),
                Err(error) => {
                    // This one is in the books no more, but its descriptors are.
                    self.give_back(next.iter().chain(&taken[at..]));
                    return Err(refused(error));
                }
            }
        }
        Ok(next)
    }

    /// Takes out what was claimed and is not bound, or no longer.
    pub(super) fn give_back<'c>(&mut self, claims: impl IntoIterator<Item = &'c Claim>) {
        let mut freed = 0;
        let publications = &mut self.publications;
        publications.give_back(claims.into_iter().inspect(|claim| freed += sockets(&claim.mapping)));
        self.descriptors.set_ports(self.descriptors.ports.saturating_sub(freed));
    }

    /// Takes out what was closed.
    pub(super) fn forget(&mut self, Closed(keys): &Closed) {
        let mut freed = 0;
        for key in keys {
            let protocol = key.container.protocol;
            for bound in key.bound() {
                let address: IpAddr = bound.ip();
                self.publications.remove(Binding {
                    address,
                    port: key.port,
                    protocol,
                });
            }
            freed += binding::sockets(protocol, key.reach);
        }
        self.descriptors.set_ports(self.descriptors.ports.saturating_sub(freed));
    }

    /// A number for another listener.
    pub(super) fn next_id(&mut self) -> PublishId {
        self.last_publish = self.last_publish.wrapping_add(1);
        PublishId(self.last_publish)
    }
}

impl Descriptors {
    /// `all` for a network without ports, whose containers' limits are the `ledger`'s.
    pub(super) fn new(all: usize, ledger: Ledger) -> Self {
        Self { all, ports: 0, ledger }
    }

    fn left_for_ports(&self) -> usize {
        let wanted = Limits::default().descriptors();
        let most = (self.all / 4 * 3).max(self.all.saturating_sub(wanted));
        most.saturating_sub(self.ports)
    }

    fn set_ports(&mut self, ports: usize) {
        self.ports = ports;
        self.ledger
            .limit(Limits::default().within(self.all.saturating_sub(ports)));
    }
}

fn sockets(mapping: &Mapping) -> usize {
    binding::sockets(mapping.container.protocol, mapping.reach)
}

fn refused(error: ClaimError) -> Failure {
    match error {
        ClaimError::InUse(_) | ClaimError::RangeInUse { .. } => Failure::conflict(error),
        ClaimError::NoneFree(_) => Failure::failed(error),
    }
}

const RESERVED: &str = "/proc/sys/net/ipv4/ip_local_reserved_ports";
