//! What the engine has counted, and the reasons for which a frame goes no further.
//!
//! Every check in the stack ends in a [`Discard`]; only [`Engine::handle_frame`](super::Engine::handle_frame) turns it
//! into a number, so that nothing is counted twice or forgotten. The shell prints the pairs of [`Counters::pairs`].

use super::ledger::Kind;

macro_rules! discards {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)+) => {
        /// Why a frame went no further.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Discard { $($(#[$doc])* $variant,)+ }

        impl Discard {
            const NAMES: &'static [&'static str] = &[$($name),+];
        }
    };
}

discards! {
    /// Shorter than a header says, or than the header itself.
    Truncated = "drop_truncated",
    /// Not addressed to the gateway's hardware address.
    NotForUs = "drop_not_for_us",
    /// Neither ARP nor IP.
    EtherType = "drop_ethertype",
    /// IPv6, which this network does not serve.
    Ipv6 = "drop_ipv6",
    /// From an address that is not the sender's.
    Spoofed = "drop_spoofed",
    /// ARP that is no question for the gateway.
    Arp = "drop_arp",
    /// Neighbour discovery that is no question for the gateway.
    Neighbour = "drop_neighbour",
    /// DHCP that is for another server, of a relay, or from somebody for whom there is no address, or none that fits.
    Dhcp = "drop_dhcp",
    /// A header with impossible fields.
    Malformed = "drop_malformed",
    /// A checksum that does not match.
    Checksum = "drop_checksum",
    /// A fragment that is none, or contradicts others of its datagram.
    Fragment = "drop_fragment",
    /// Its time to live ended here.
    TimeToLive = "drop_ttl",
    /// A protocol that is not carried.
    Protocol = "drop_protocol",
    /// A message of ICMP that is not carried.
    Icmp = "drop_icmp",
    /// A port of zero.
    PortZero = "drop_port_zero",
    /// To a destination no router would carry it to.
    Nowhere = "drop_nowhere",
    /// To another container, and no link carries it.
    Unlinked = "drop_unlinked",
    /// To a destination that policy closes, or where nothing listens.
    Refused = "drop_refused",
    /// A limit on flows, mappings or frames in waiting is reached.
    Full = "drop_full",
    /// A TCP segment that belongs to no flow, or to a flow that has no use for it.
    Segment = "drop_segment",
    /// From the host: not from a peer of the mapping, or nobody is there to take it.
    Filtered = "drop_filtered",
}

/// Counts since the engine was made.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counters {
    /// Frames from the bridge.
    pub frames_in: u64,
    /// Frames for the bridge.
    pub frames_out: u64,
    /// TCP flows that containers opened.
    pub flows_out: u64,
    /// TCP flows that were opened to containers.
    pub flows_in: u64,
    /// Challenge ACKs provoked (RFC 5961).
    pub challenges: u64,
    /// ICMP errors sent.
    pub icmp_errors: u64,
    /// ICMP errors not sent because their rate is limited.
    pub icmp_suppressed: u64,
    /// Frames passed on over links.
    pub relayed: u64,
    /// Datagrams put together of a container's fragments.
    pub reassembled: u64,
    /// Datagrams of which a part did not come in time.
    pub reassembly_expired: u64,
    /// Datagrams whose parts had to go for those of others.
    pub reassembly_evicted: u64,
    /// Times the TCP engine of a flow was run, a measure of the work done.
    pub turns: u64,
    evicted: [u64; Kind::COUNT],
    refused: [u64; Kind::COUNT],
    discards: [u64; Discard::NAMES.len()],
}

impl Counters {
    /// How often frames were discarded for this reason.
    pub fn discarded(&self, why: Discard) -> u64 {
        self.discards[why as usize]
    }

    /// Every count under its name.
    pub fn pairs(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let named = [
            ("frames_in", self.frames_in),
            ("frames_out", self.frames_out),
            ("flows_out", self.flows_out),
            ("flows_in", self.flows_in),
            ("challenges", self.challenges),
            ("icmp_errors", self.icmp_errors),
            ("icmp_suppressed", self.icmp_suppressed),
            ("relayed", self.relayed),
            ("reassembled", self.reassembled),
            ("reassembly_expired", self.reassembly_expired),
            ("reassembly_evicted", self.reassembly_evicted),
            ("turns", self.turns),
        ];
        named
            .into_iter()
            .chain(EVICTED.into_iter().zip(self.evicted))
            .chain(REFUSED.into_iter().zip(self.refused))
            .chain(Discard::NAMES.iter().copied().zip(self.discards))
    }

    pub(super) fn discard(&mut self, why: Discard) {
        self.discards[why as usize] += 1;
    }

    /// One was ended to make room for another.
    pub(super) fn evict(&mut self, kind: Kind) {
        self.evicted[kind as usize] += 1;
    }

    /// There was no room for one.
    pub(super) fn refuse(&mut self, kind: Kind) {
        self.refused[kind as usize] += 1;
    }
}

/// Names in the order of [`Kind`].
const EVICTED: [&str; Kind::COUNT] = [
    "evicted_flows",
    "evicted_half_open",
    "evicted_mappings",
    "evicted_clients",
    "evicted_echoes",
];

/// The same.
const REFUSED: [&str; Kind::COUNT] = [
    "refused_flows",
    "refused_half_open",
    "refused_mappings",
    "refused_clients",
    "refused_echoes",
];
