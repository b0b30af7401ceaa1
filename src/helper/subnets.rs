//! The network's subnets: chosen or checked, and written down while no other network of this user does the same.

use std::net::IpAddr;
use std::sync::Arc;

use ipnetwork::{IpNetwork, Ipv4Network, Ipv6Network};

use super::events::Events;
use super::place::{Place, Root};
use super::state::{self, Lock, Saved};
use super::supervisor::StartError;
use crate::api::events::Event;
use crate::api::types::NetworkOptions;
use crate::host::listen::has_ipv6;
use crate::netns::NewRoutes;
use crate::network::facts::HostFacts;
use crate::network::pool::{AddressPool, Lease};
use crate::network::subnet::{self, Choice, Occupied};
use crate::network::subnet6::{self, GlobalId, Subnet6};
use crate::network::zone::Zone;
use crate::stack::{AddressSource, Dhcp, Dhcpv6, Ipv6};
use crate::sys::random;

/// Where a network is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subnets {
    pub(super) v4: Ipv4Network,
    pub(super) v6: Option<Ipv6Network>,
    pub(super) gateway: Lease,
}

/// What was claimed for a network.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) choice: Choice,
    pub(super) subnet6: Option<Ipv6Network>,
}

impl Subnets {
    /// The subnets whose addresses are in the pool.
    pub(super) fn of(pool: &AddressPool) -> Self {
        Self {
            v4: pool.subnet(),
            v6: pool.subnet6(),
            gateway: pool.gateway(),
        }
    }

    /// An address with the prefix of its subnet; `None` for one of a family that the network does not have.
    pub(super) fn prefixed(&self, address: IpAddr) -> Option<IpNetwork> {
        let prefix = match address {
            IpAddr::V4(_) => self.v4.prefix(),
            IpAddr::V6(_) => self.v6?.prefix(),
        };
        IpNetwork::new(address, prefix).ok()
    }

    /// Warns of routes that the host gets and that lead here, in the log and by an event.
    pub(super) async fn mind_routes(self, events: Arc<Events>) {
        let mut routes = match NewRoutes::listen() {
            Ok(routes) => routes,
            Err(error) => return tracing::warn!(%error, "new routes of the host are not heard of"),
        };
        let subnets = [Some(IpNetwork::V4(self.v4)), self.v6.map(IpNetwork::V6)];
        while let Some(route) = routes.next().await {
            for warning in subnets
                .iter()
                .flatten()
                .filter_map(|ours| subnet::covered(*ours, &route))
            {
                tracing::warn!("{warning}");
                events.publish(Event::network("conflict", events.network()).with("reason", warning));
            }
        }
    }

    /// What the stack is to know of IPv6 here.
    pub(super) fn ipv6(&self) -> Option<Ipv6> {
        let (subnet, gateway) = self.v6.zip(self.gateway.address6)?;
        Some(Ipv6 {
            gateway,
            prefix: subnet.prefix(),
            autonomous: false,
        })
    }

    /// What those are told who configure themselves; the search list comes with the host's file.
    pub(super) fn dhcp(&self, mtu: u16) -> Dhcp {
        Dhcp {
            router: Some(self.gateway.address),
            dns: self.gateway.addresses(),
            search: Vec::new(),
            hostname: None,
            fqdn: None,
            mtu: Some(mtu),
            lease: LEASE,
            source: AddressSource::Attached,
            v6: Dhcpv6::default(),
        }
    }

    /// The names of the network without containers.
    pub(super) fn zone(&self, network: &str) -> Zone {
        let v4 = (IpNetwork::V4(self.v4), self.gateway.address.into());
        let v6 = self.v6.zip(self.gateway.address6);
        let v6 = v6.map(|(subnet, gateway)| (IpNetwork::V6(subnet), gateway.into()));
        Zone::new(network, [Some(v4), v6].into_iter().flatten())
    }
}

/// Finds or checks the subnets and writes them down.
pub(super) fn claim(
    root: &Root,
    place: &Place,
    network: &str,
    options: &NetworkOptions,
    facts: &HostFacts,
) -> Result<Claim, StartError> {
    let lock = Lock::wait(&root.path().join(".subnets"))?;
    let claimed = choose(root, network, options, facts).and_then(|claim| {
        let saved = Saved {
            name: network.to_owned(),
            options: options.clone(),
            subnet: claim.choice.subnet,
            subnet6: claim.subnet6,
            helper_pid: std::process::id().cast_signed(),
        };
        state::save(place, &saved)?;
        Ok(claim)
    });
    lock.remove();
    claimed
}

fn choose(root: &Root, network: &str, options: &NetworkOptions, facts: &HostFacts) -> Result<Claim, StartError> {
    let others: Vec<Occupied> = state::running(root)
        .into_iter()
        .filter(|saved| saved.name != network)
        .flat_map(occupied)
        .collect();
    Ok(Claim {
        choice: choose_v4(options, facts, &others)?,
        subnet6: choose_v6(options, facts, &others)?,
    })
}

fn occupied(saved: Saved) -> impl Iterator<Item = Occupied> {
    let subnets = [Some(saved.subnet.into()), saved.subnet6.map(IpNetwork::V6)];
    subnets.into_iter().flatten().map(move |subnet| Occupied {
        name: saved.name.clone(),
        subnet,
    })
}

fn choose_v4(options: &NetworkOptions, facts: &HostFacts, others: &[Occupied]) -> Result<Choice, StartError> {
    let Some(subnet) = options.subnet else {
        return Ok(subnet::choose(facts, others)?);
    };
    subnet::check(IpNetwork::V4(subnet), facts, others)?;
    Ok(Choice {
        subnet,
        why: "given with --subnet".to_owned(),
        warnings: Vec::new(),
    })
}

/// What was asked for must be had; what was not, the network can do without.
fn choose_v6(
    options: &NetworkOptions,
    facts: &HostFacts,
    others: &[Occupied],
) -> Result<Option<Ipv6Network>, StartError> {
    let hindrance = hindrance(options);
    match (options.subnet6, hindrance) {
        (Subnet6::None, _) => Ok(None),
        (Subnet6::Given(_), Some(hindrance)) => Err(hindrance),
        (Subnet6::Given(subnet), None) => {
            subnet::check(IpNetwork::V6(subnet), facts, others).map_err(StartError::Subnet6)?;
            Ok(Some(subnet))
        }
        (Subnet6::Random, Some(hindrance)) => {
            tracing::info!("no IPv6: {hindrance}");
            Ok(None)
        }
        (Subnet6::Random, None) => {
            let mut global_ids = [GlobalId::default(); TRIES];
            random::fill(global_ids.as_flattened_mut())?;
            let chosen = subnet6::choose(global_ids, facts, others);
            if chosen.is_none() {
                tracing::warn!("no IPv6: all of fd00::/8 is in use on this host; give a subnet with --subnet6");
            }
            Ok(chosen)
        }
    }
}

/// Why containers can't have IPv6 here.
fn hindrance(options: &NetworkOptions) -> Option<StartError> {
    if options.mtu < IPV6_LEAST_MTU {
        return Some(StartError::Ipv6Mtu);
    }
    // Switched off for the whole kernel, not by a setting of the host's namespace, which containers don't share.
    (!has_ipv6()).then_some(StartError::NoIpv6)
}

/// Seconds after which whoever asked has to ask again, half of them before it does. An address is a container's for as
/// long as it is attached; this is how soon it hears of another search list.
const LEASE: u32 = 3600;

/// A second one is needed once in the age of the universe, unless all are in use.
const TRIES: usize = 3;

/// RFC 8200 section 5; with less the kernel takes IPv6 off an interface.
const IPV6_LEAST_MTU: u16 = 1280;
