//! Which ports of the host lead to containers at every address, the gateway's among them.
//!
//! One bit for each transport, family and port: whoever publishes sets it, and the stack's threads look without waiting for
//! each other. What is published at a certain address is not in here: it is reached there, and only there.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Transport;

/// The ports that are published on the wildcard just now; its clones are the same.
#[derive(Clone)]
pub struct PublishedPorts(Arc<[AtomicU64]>);

impl PublishedPorts {
    /// A listener serves from now on; one that is not bound to the wildcard changes nothing.
    pub fn open(&self, transport: Transport, bound: SocketAddr) {
        if let Some((word, bit)) = self.place(transport, bound).filter(|_| bound.ip().is_unspecified()) {
            word.fetch_or(bit, Ordering::Release);
        }
    }

    /// It is about to close.
    pub fn close(&self, transport: Transport, bound: SocketAddr) {
        if let Some((word, bit)) = self.place(transport, bound).filter(|_| bound.ip().is_unspecified()) {
            word.fetch_and(!bit, Ordering::Release);
        }
    }

    /// Whether an address of the host leads to a container by being one of all.
    pub fn contains(&self, transport: Transport, target: SocketAddr) -> bool {
        self.place(transport, target)
            .is_some_and(|(word, bit)| word.load(Ordering::Acquire) & bit != 0)
    }

    fn place(&self, transport: Transport, address: SocketAddr) -> Option<(&AtomicU64, u64)> {
        let udp = usize::from(transport == Transport::Udp);
        let v6 = usize::from(address.is_ipv6());
        let number = (udp * 2 + v6) * PORTS + usize::from(address.port());
        let word = self.0.get(number / BITS)?;
        Some((word, 1 << (number % BITS)))
    }
}

impl Default for PublishedPorts {
    /// None.
    fn default() -> Self {
        Self((0..4 * PORTS / BITS).map(|_| AtomicU64::new(0)).collect())
    }
}

impl fmt::Debug for PublishedPorts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open: u32 = self
            .0
            .iter()
            .map(|word| word.load(Ordering::Relaxed).count_ones())
            .sum();
        write!(f, "PublishedPorts({open})")
    }
}

/// Of one transport and family: port numbers have 16 bits.
const PORTS: usize = 1 << 16;

const BITS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_port_has_a_bit_of_its_own() {
        let ports = PublishedPorts::default();
        let all = [Transport::Tcp, Transport::Udp]
            .into_iter()
            .flat_map(|transport| ["0.0.0.0", "::"].map(|address| (transport, address)));
        for (transport, address) in all.clone() {
            for port in [0, 1, 63, 64, 65_535] {
                let bound = SocketAddr::new(address.parse().unwrap(), port);
                assert!(!ports.contains(transport, bound), "{transport:?} {bound}");
                ports.open(transport, bound);
                assert!(ports.contains(transport, bound), "{transport:?} {bound}");
            }
        }
        assert_eq!(format!("{ports:?}"), "PublishedPorts(20)");
        for (transport, address) in all {
            for port in 0..=65_535 {
                ports.close(transport, SocketAddr::new(address.parse().unwrap(), port));
            }
        }
        assert_eq!(format!("{ports:?}"), "PublishedPorts(0)");
    }
}
