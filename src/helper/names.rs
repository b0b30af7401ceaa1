//! What the resolver knows of containers: told anew whenever one comes, starts, ends or goes.

use super::supervisor::{State, Supervisor};
use crate::network::name::short_id;
use crate::network::zone::Zone;

impl Supervisor {
    /// Tells the resolver of all containers; those that don't run keep their names, without an address.
    pub(super) fn tell_names(&self, state: &State) {
        let mut zone = Zone::new(&self.name, self.subnet, self.gateway);
        for container in state.containers.values() {
            let running = container.link.is_some();
            let lease = container.lease.as_ref().filter(|_| running);
            zone.add(
                &container.name,
                short_id(&container.id),
                lease.map(|lease| lease.address),
            );
        }
        self.resolver.set_zone(zone);
    }
}
