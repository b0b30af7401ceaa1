//! Who has which address of a range.
//!
//! A client is known by its identifier, and comes back to the address that it had last for as long as nobody else needed
//! it. A newcomer gets the lowest address that nobody has had or that was given back, and only then the one that has
//! been out of use for longest. Nothing is done when a lease runs out: it may be given to another from then on.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use smoltcp::time::{Duration, Instant};
use smoltcp::wire::EthernetAddress;

/// The addresses of a range.
#[derive(Debug)]
pub(in crate::stack) struct Leases {
    first: u32,
    last: u32,
    held: BTreeMap<Ipv4Addr, Held>,
}

#[derive(Debug)]
struct Held {
    /// None: it was found to be in use by somebody who did not ask for it.
    client: Option<Vec<u8>>,
    /// The hardware that was given it, and not only offered.
    mac: Option<EthernetAddress>,
    until: Instant,
}

impl Leases {
    /// Everything is free.
    pub(in crate::stack) fn new(first: Ipv4Addr, last: Ipv4Addr) -> Self {
        let first = first.to_bits();
        Self {
            first,
            last: last.to_bits().min(first.saturating_add(MOST - 1)),
            held: BTreeMap::new(),
        }
    }

    /// The address that `client` may have: its last one, else what it wishes for, else the lowest. `is_free` says what
    /// is not somebody's for other reasons.
    pub(in crate::stack) fn find(
        &self,
        now: Instant,
        client: &[u8],
        wish: Option<Ipv4Addr>,
        is_free: impl Fn(Ipv4Addr) -> bool,
    ) -> Option<Ipv4Addr> {
        let usable = |address: &Ipv4Addr| self.held.contains_key(address) || is_free(*address);
        if let Some(own) = self.of(client) {
            return Some(own);
        }
        let fresh = |address: &Ipv4Addr| !self.held.contains_key(address) && is_free(*address);
        wish.filter(|wish| self.contains(*wish) && self.is_over(now, *wish) && usable(wish))
            .or_else(|| self.addresses().find(fresh))
            .or_else(|| self.oldest(now))
    }

    /// Keeps `address` for a client to whom it is offered.
    pub(in crate::stack) fn offer(&mut self, now: Instant, client: Vec<u8>, address: Ipv4Addr) {
        let entry = self.held.get(&address);
        if entry.is_some_and(|held| held.client.as_ref() == Some(&client) && held.mac.is_some()) {
            return;
        }
        let mac = entry.and_then(|held| held.mac);
        let until = now + OFFERED;
        self.held.insert(
            address,
            Held {
                client: Some(client),
                mac,
                until,
            },
        );
    }

    /// Leases `address`; the hardware that had it before.
    pub(in crate::stack) fn grant(
        &mut self,
        address: Ipv4Addr,
        client: Vec<u8>,
        mac: EthernetAddress,
        until: Instant,
    ) -> Option<EthernetAddress> {
        let held = Held {
            client: Some(client),
            mac: Some(mac),
            until,
        };
        self.held.insert(address, held)?.mac
    }

    /// The client needs its address no longer; which hardware had it.
    pub(in crate::stack) fn release(&mut self, client: &[u8], address: Ipv4Addr) -> Option<EthernetAddress> {
        self.of(client).filter(|own| *own == address)?;
        self.held.remove(&address)?.mac
    }

    /// The client has found somebody else at its address: nobody is given it for a while. Which hardware had it.
    pub(in crate::stack) fn decline(
        &mut self,
        now: Instant,
        client: &[u8],
        address: Ipv4Addr,
    ) -> Option<EthernetAddress> {
        self.of(client).filter(|own| *own == address)?;
        let held = Held {
            client: None,
            mac: None,
            until: now + DECLINED,
        };
        self.held.insert(address, held)?.mac
    }

    /// The client's address.
    fn of(&self, client: &[u8]) -> Option<Ipv4Addr> {
        let own = |held: &Held| held.client.as_deref() == Some(client);
        self.held
            .iter()
            .find(|(_, held)| own(held))
            .map(|(address, _)| *address)
    }

    /// What has been out of use for longest.
    fn oldest(&self, now: Instant) -> Option<Ipv4Addr> {
        let over = self.held.iter().filter(|(_, held)| held.until <= now);
        over.min_by_key(|(_, held)| held.until).map(|(address, _)| *address)
    }

    fn is_over(&self, now: Instant, address: Ipv4Addr) -> bool {
        self.held.get(&address).is_none_or(|held| held.until <= now)
    }

    fn contains(&self, address: Ipv4Addr) -> bool {
        (self.first..=self.last).contains(&address.to_bits())
    }

    fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> {
        (self.first..=self.last).map(Ipv4Addr::from_bits)
    }
}

/// Addresses of a range, and so the memory that leases take: 1 MiB with the longest identifiers.
const MOST: u32 = 4096;

/// How long an offer is kept: dhclient takes offers for ten seconds, and asks for the one that it liked four times.
const OFFERED: Duration = Duration::from_secs(60);

/// How long an address is not given that somebody uses without having asked for it, as ISC's server has it.
const DECLINED: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 9]);

    fn at(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, 2, last)
    }

    fn grant(leases: &mut Leases, now: Instant, client: &[u8]) -> Ipv4Addr {
        let address = leases.find(now, client, None, |_| true).unwrap();
        leases.grant(address, client.to_vec(), MAC, now + Duration::from_secs(100));
        address
    }

    #[test]
    fn the_lowest_and_then_the_same_again() {
        let (mut leases, now) = (Leases::new(at(15), at(17)), Instant::ZERO);
        assert_eq!(
            [b"a", b"b"].map(|client| grant(&mut leases, now, client)),
            [at(15), at(16)]
        );
        assert_eq!(grant(&mut leases, now, b"a"), at(15));
        assert_eq!(leases.release(b"a", at(16)), None, "not its own");
        assert_eq!(leases.release(b"a", at(15)), Some(MAC));
        assert_eq!(grant(&mut leases, now, b"c"), at(15), "given back");
        assert_eq!(grant(&mut leases, now, b"d"), at(17));
        assert_eq!(leases.find(now, b"e", None, |_| true), None, "all are taken");
        assert_eq!(grant(&mut leases, now, b"d"), at(17));
    }

    #[test]
    fn what_ran_out_goes_to_others_when_nothing_else_is_left() {
        let (mut leases, mut now) = (Leases::new(at(15), at(16)), Instant::ZERO);
        grant(&mut leases, now, b"a");
        now += Duration::from_secs(200);
        assert_eq!(grant(&mut leases, now, b"b"), at(16));
        assert_eq!(leases.find(now, b"a", None, |_| true), Some(at(15)), "kept");
        assert_eq!(grant(&mut leases, now, b"c"), at(15));
        assert_eq!(leases.find(now, b"a", None, |_| true), None);
    }

    #[test]
    fn wishes_are_heard_where_they_can_be() {
        let (mut leases, now) = (Leases::new(at(15), at(30)), Instant::ZERO);
        let find = |leases: &Leases, wish| leases.find(now, b"a", Some(wish), |address| address != at(20));
        assert_eq!(find(&leases, at(18)), Some(at(18)));
        assert_eq!(find(&leases, at(20)), Some(at(15)), "somebody has it");
        assert_eq!(find(&leases, at(31)), Some(at(15)), "outside");
        leases.offer(now, b"b".to_vec(), at(18));
        assert_eq!(find(&leases, at(18)), Some(at(15)), "offered to another");
        let later = now + Duration::from_secs(60);
        assert_eq!(leases.find(later, b"a", Some(at(18)), |_| true), Some(at(18)));
    }

    #[test]
    fn what_was_declined_rests() {
        let (mut leases, now) = (Leases::new(at(15), at(15)), Instant::ZERO);
        grant(&mut leases, now, b"a");
        assert_eq!(leases.decline(now, b"b", at(15)), None, "not its own");
        assert_eq!(leases.decline(now, b"a", at(15)), Some(MAC));
        assert_eq!(leases.find(now, b"a", None, |_| true), None);
        let later = now + Duration::from_secs(3600);
        assert_eq!(leases.find(later, b"a", None, |_| true), Some(at(15)));
    }

    #[test]
    fn a_range_that_is_none_or_too_large() {
        let now = Instant::ZERO;
        assert_eq!(Leases::new(at(30), at(15)).find(now, b"a", None, |_| true), None);
        let all = Leases::new(Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST);
        assert_eq!(all.addresses().count(), 4096);
        let end = Leases::new(Ipv4Addr::BROADCAST, Ipv4Addr::BROADCAST);
        assert_eq!(end.addresses().count(), 1);
    }
}
