//! An address of the host's loopback for each container that wants one, so that the same port of many containers can be
//! reached without choosing numbers.
//!
//! The address is drawn from the container's name, so that it is the same whenever a container of that name comes; the
//! few whose names fall on one address get another, in the order in which they come. Never one out of 127.0.0.0/16, where
//! programs expect to find the host itself (127.0.0.1), its resolver (127.0.0.53) and its name (127.0.1.1), nor one that
//! ends in 0 or 255, which some programs take for a network. Pure; called by the helper.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// The addresses in use.
#[derive(Debug, Clone, Default)]
pub struct LoopbackPool {
    taken: BTreeSet<Ipv4Addr>,
}

impl LoopbackPool {
    /// An address for `who`; `None` when nothing near what the name falls on is left.
    pub fn claim(&mut self, who: &str) -> Option<Ipv4Addr> {
        let free = (0..TRIES)
            .map(|turn| drawn(who, turn))
            .find(|address| !self.taken.contains(address))?;
        self.taken.insert(free);
        Some(free)
    }

    /// Takes an address back.
    pub fn release(&mut self, address: Ipv4Addr) {
        self.taken.remove(&address);
    }
}

/// Drawn by FNV-1a over the name and the turn: it must be the same on every machine and in every version, and nobody gains by a
/// collision.
fn drawn(who: &str, turn: u8) -> Ipv4Addr {
    let mut hash = FNV_OFFSET;
    for byte in who.bytes().chain([turn]) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME);
    }
    // Names that differ in their last letter alone are still near each other; MurmurHash3's last step parts them.
    for factor in MURMUR {
        hash = (hash ^ (hash >> 33)).wrapping_mul(factor);
    }
    let [a, b, c, ..] = (hash ^ (hash >> 33)).to_be_bytes();
    Ipv4Addr::new(127, 1 + a % 254, b, 1 + c % 254)
}

/// Of 16 million addresses a thousand containers have taken every sixteen-thousandth: the third is hardly ever asked for.
const TRIES: u8 = 64;

/// <http://www.isthe.com/chongo/tech/comp/fnv/>, 64 bits.
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

/// The factors of its 64-bit finalizer.
const MURMUR: [u64; 2] = [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_address() {
        let mut pool = LoopbackPool::default();
        let web = pool.claim("1000/gp0/web").unwrap();
        assert_eq!(
            web,
            Ipv4Addr::new(127, 66, 101, 143),
            "written down: it must not change with a version"
        );
        let other = pool.claim("1000/gp0/web").unwrap();
        assert_ne!(web, other, "who falls on it meanwhile gets another");
        pool.release(web);
        assert_eq!(pool.claim("1000/gp0/web"), Some(web));
    }

    #[test]
    fn addresses_stay_out_of_the_common_ones() {
        let mut pool = LoopbackPool::default();
        for number in 0..50_000 {
            let address = pool.claim(&format!("1000/gp0/c-{number}")).unwrap();
            let [first, second, _, last] = address.octets();
            assert_eq!(first, 127);
            assert!((1..=254).contains(&second) && (1..=254).contains(&last), "{address}");
        }
        assert_eq!(pool.taken.len(), 50_000, "all are different");
    }

    #[test]
    fn what_is_full_says_so() {
        let mut pool = LoopbackPool::default();
        assert_eq!((0..TRIES).filter_map(|_| pool.claim("web")).count(), usize::from(TRIES));
        assert_eq!(pool.claim("web"), None);
    }
}
