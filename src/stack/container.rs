//! The containers that hang on the bridge: who may send from which address.
//!
//! Every frame is checked against this table before anything else looks at it, so no container can speak with another's
//! address. Nothing is learned from frames where the shell says who is attached ([`Senders`]); where it lets addresses be
//! leased from a range, each lease says so, too.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use ahash::RandomState;
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::EthernetAddress;

use super::counters::Discard;
use super::frame::ethernet;
use super::types::{Attachment, Senders};

/// One attached interface.
#[derive(Debug)]
pub(super) struct Container {
    pub(super) mac: EthernetAddress,
    /// What is left of the right to cause ICMP errors.
    pub(super) errors: TokenBucket,
}

/// All of them, by address.
#[derive(Debug)]
pub(super) struct Containers {
    table: HashMap<IpAddr, Container, RandomState>,
    macs: HashMap<EthernetAddress, Hardware, RandomState>,
    senders: Senders,
    /// What was learnt, the latest last.
    learnt: VecDeque<IpAddr>,
}

/// One hardware address.
#[derive(Debug, Default)]
struct Hardware {
    addresses: Vec<IpAddr>,
    /// What whoever has it is called.
    hostname: Option<String>,
    /// What is left of the right to ask for a router, or for an address.
    solicitations: TokenBucket,
    /// Frames with an address that is not its own.
    spoofed: u64,
}

impl Containers {
    pub(super) fn new(key: RandomState, senders: Senders) -> Self {
        Self {
            table: HashMap::with_hasher(key.clone()),
            macs: HashMap::with_hasher(key),
            senders,
            learnt: VecDeque::new(),
        }
    }

    pub(super) fn attach(&mut self, attachment: Attachment) {
        let Attachment { mac, address } = attachment;
        let fresh = Container {
            mac,
            errors: TokenBucket::default(),
        };
        let before = self.table.get(&address).map(|known| known.mac);
        // What is known of the hardware stays: its name, its patience, what it did.
        if before == Some(mac) {
            return;
        }
        self.table
            .entry(address)
            .and_modify(|known| known.mac = mac)
            .or_insert(fresh);
        if let Some(before) = before {
            self.forget_mac(before, address);
        }
        self.macs.entry(mac).or_default().addresses.push(address);
    }

    /// False if no such container was attached.
    pub(super) fn detach(&mut self, attachment: Attachment) -> bool {
        let known = self
            .table
            .get(&attachment.address)
            .is_some_and(|known| known.mac == attachment.mac);
        let gone = known && self.table.remove(&attachment.address).is_some();
        if gone {
            self.forget_mac(attachment.mac, attachment.address);
        }
        gone
    }

    /// Attaches what has come without being announced; returns who is to be detached for it.
    pub(super) fn learn(&mut self, attachment: Attachment) -> Option<Attachment> {
        let known = self.learnt.contains(&attachment.address);
        self.learnt.retain(|address| *address != attachment.address);
        self.learnt.push_back(attachment.address);
        self.attach(attachment);
        if known || self.learnt.len() <= MOST_LEARNT {
            return None;
        }
        let address = self.learnt.pop_front()?;
        let mac = self.table.get(&address)?.mac;
        Some(Attachment { mac, address })
    }

    /// Where the address is that was learnt last.
    pub(super) fn heard_last(&self) -> Option<EthernetAddress> {
        let address = self.learnt.back()?;
        self.table.get(address).map(|container| container.mac)
    }

    /// Whether the owner of `mac` may ask before it has an address.
    pub(super) fn serves(&self, mac: EthernetAddress) -> bool {
        self.senders != Senders::Attached || self.knows(mac)
    }

    /// Whether any address belongs to `mac`.
    pub(super) fn knows(&self, mac: EthernetAddress) -> bool {
        self.macs.contains_key(&mac)
    }

    /// The first of the addresses of `mac` that `pick` takes.
    pub(super) fn address_of<T>(&self, mac: EthernetAddress, pick: impl Fn(IpAddr) -> Option<T>) -> Option<T> {
        let mut addresses = self.macs.get(&mac)?.addresses.iter();
        addresses.find_map(|address| pick(*address))
    }

    /// What the owner of `mac` is called.
    pub(super) fn hostname(&self, mac: EthernetAddress) -> Option<&str> {
        self.macs.get(&mac)?.hostname.as_deref()
    }

    /// Calls the owner of `mac` so for as long as it has an address.
    pub(super) fn set_hostname(&mut self, mac: EthernetAddress, hostname: String) {
        if let Some(hardware) = self.macs.get_mut(&mac) {
            hardware.hostname = Some(hostname);
        }
    }

    /// Whether `mac` may have one more answer to what costs it nothing to ask.
    pub(super) fn may_solicit(&mut self, now: Instant, mac: EthernetAddress) -> bool {
        let unheard = self.senders != Senders::Attached && self.macs.len() < MOST_LEARNT;
        let hardware = if unheard {
            Some(self.macs.entry(mac).or_default())
        } else {
            self.macs.get_mut(&mac)
        };
        hardware.is_some_and(|hardware| hardware.solicitations.take(now))
    }

    /// Counts a frame that claimed a wrong address against whoever sent it.
    pub(super) fn blame(&mut self, frame: &[u8]) {
        let Ok(frame) = ethernet(frame) else { return };
        if let Some(hardware) = self.macs.get_mut(&frame.src_addr()) {
            hardware.spoofed += 1;
        }
    }

    /// How many such frames came from this hardware address.
    pub(super) fn spoofed_by(&self, mac: EthernetAddress) -> u64 {
        self.macs.get(&mac).map_or(0, |hardware| hardware.spoofed)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    fn forget_mac(&mut self, mac: EthernetAddress, address: IpAddr) {
        if let Some(hardware) = self.macs.get_mut(&mac) {
            hardware.addresses.retain(|known| *known != address);
            if hardware.addresses.is_empty() {
                self.macs.remove(&mac);
            }
        }
    }

    pub(super) fn get(&self, address: IpAddr) -> Option<&Container> {
        self.table.get(&address)
    }

    pub(super) fn get_mut(&mut self, address: IpAddr) -> Option<&mut Container> {
        self.table.get_mut(&address)
    }

    /// Checks that `address` is what the owner of `mac` may send from.
    pub(super) fn check_source(&self, mac: EthernetAddress, address: IpAddr) -> Result<(), Discard> {
        let rightful = self.table.get(&address).is_some_and(|known| known.mac == mac);
        if rightful { Ok(()) } else { Err(Discard::Spoofed) }
    }
}

/// The rate of ICMP errors (RFC 1812 section 4.3.2.8), and of answers that cost as little: a burst, then some per second.
#[derive(Debug)]
pub(super) struct TokenBucket {
    tokens: u32,
    filled: Option<Instant>,
}

impl TokenBucket {
    /// Takes one token, if there is one.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        self.refill(now);
        let granted = self.tokens > 0;
        self.tokens -= u32::from(granted);
        granted
    }

    fn refill(&mut self, now: Instant) {
        let since = self.filled.map_or(Duration::ZERO, |filled| now - filled);
        let earned = since.total_millis() / TOKEN_PERIOD.total_millis();
        self.tokens = u32::try_from(earned)
            .unwrap_or(BURST)
            .saturating_add(self.tokens)
            .min(BURST);
        if earned > 0 || self.filled.is_none() {
            self.filled = Some(now);
        }
    }
}

impl Default for TokenBucket {
    fn default() -> Self {
        Self {
            tokens: BURST,
            filled: None,
        }
    }
}

/// Addresses of one namespace that are remembered: a subnet of containers behind it, and what IPv6 makes anew each day.
const MOST_LEARNT: usize = 1024;

/// Enough for a traceroute of 30 hops with three probes each to see every answer.
const BURST: u32 = 100;

/// A hundred errors a second, Linux's own order of magnitude (icmp_ratelimit, icmp_msgs_per_sec).
const TOKEN_PERIOD: Duration = Duration::from_millis(10);
