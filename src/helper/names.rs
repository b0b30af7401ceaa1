//! What the resolver knows of containers: told anew whenever one comes, starts, ends or goes, and so is whoever carries
//! [links].

use super::links;
use super::supervisor::{State, Supervisor};
use crate::network::name::short_id;
use crate::network::pool::Lease;

impl Supervisor {
    /// Tells the resolver of all containers; those that don't run keep their names, without addresses.
    pub(super) fn tell_names(&self, state: &State) {
        let mut zone = self.subnets.zone(&self.name);
        for container in state.containers.values() {
            let running = container.link.is_some();
            let lease = container.lease.as_ref().filter(|_| running);
            let addresses = lease.map(Lease::addresses).unwrap_or_default();
            zone.add(&container.name, short_id(&container.id), &addresses);
            for link in &container.links {
                // Without addresses while nobody of that name runs.
                let child = links::running(state, &link.child).and_then(|child| child.lease.as_ref());
                zone.add_alias(
                    &addresses,
                    &link.alias,
                    &child.map(Lease::addresses).unwrap_or_default(),
                );
            }
        }
        self.resolver.set_zone(zone);
        self.tell_links(state);
    }
}
