//! Reassembly: the fragments that a container sends become the packet that they were cut from.
//!
//! A datagram in assembly is a frame in the making: its buffer begins with room for the headers, and each fragment's bytes
//! are put where they belong. When nothing is missing, the headers are written, without options or extension headers, and the
//! frame goes the way of any other. Bytes that come twice must be the same; other overlaps, and parts that contradict each
//! other, spoil the datagram (RFC 5722): what is still to come of it is dropped, too, until its time is up.
//!
//! Memory is bounded by the number of datagrams, each of which takes at most [`ROOM`] bytes and as long a list of what is
//! there; so is the time to search. When there is no room, the oldest datagram goes of the container that has most, so
//! one that floods loses its own.
//!
//! Sources: RFC 791 section 3.2, RFC 815, RFC 8200 section 4.5, RFC 5722, net/ipv4/inet_fragment.c (exact repetitions).

use std::net::IpAddr;

use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{EthernetAddress, EthernetProtocol, IpProtocol, Ipv4Packet, Ipv6Packet};

use super::counters::{Counters, Discard};
use super::ends::Ends;
use super::frame::{ETHERNET_HEADER, IPV4_HEADER, Packet, Place, write_ethernet};
use super::ipv6::IPV6_HEADER;

/// Every datagram in assembly.
#[derive(Debug, Default)]
pub(super) struct Fragments {
    /// Oldest first; all live equally long.
    assemblies: Vec<Assembly>,
    /// The slot of the deadline of the oldest.
    pub(super) armed: Option<Instant>,
}

/// What the fragments of one datagram have in common. In IPv6 they need not agree on the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Key {
    ends: Ends,
    protocol: Option<IpProtocol>,
    id: u32,
}

#[derive(Debug)]
struct Assembly {
    key: Key,
    /// Whose it is.
    source: IpAddr,
    expiry: Instant,
    state: State,
}

#[derive(Debug)]
enum State {
    Gathering(Gathering),
    /// Its fragments contradict each other.
    Spoiled,
}

/// What is there of a datagram.
#[derive(Debug, Default)]
struct Gathering {
    /// Room for the headers, then the datagram as far as it has come.
    frame: Vec<u8>,
    /// Which parts of it are there, in order, none touching the next: first byte, and the one behind the last.
    parts: Vec<(u16, u16)>,
    /// Bytes of the whole datagram, known from the last fragment.
    total: Option<u16>,
    /// From the first fragment.
    head: Option<Head>,
}

/// What the header of the whole says (RFC 8200 section 4.5: that of the first fragment).
#[derive(Debug, Clone, Copy)]
struct Head {
    mac: EthernetAddress,
    protocol: IpProtocol,
    time_to_live: u8,
    class: u8,
}

impl Fragments {
    /// Takes a fragment whose sender is known; the frame to `gateway_mac` that it completes, if it does.
    pub(super) fn put(
        &mut self,
        now: Instant,
        gateway_mac: EthernetAddress,
        packet: &Packet<'_>,
        place: Place,
        counters: &mut Counters,
    ) -> Result<Option<Vec<u8>>, Discard> {
        let ends = Ends::new(packet.source, packet.target).ok_or(Discard::Nowhere)?;
        let part = part(ends, packet.payload().len(), place)?;
        let key = Key {
            ends,
            protocol: Some(packet.protocol).filter(|_| packet.source.is_ipv4()),
            id: place.id,
        };
        let at = match self.assemblies.iter().rposition(|assembly| assembly.key == key) {
            Some(at) => at,
            None => self.begin(now, key, packet.source, counters),
        };
        let State::Gathering(gathering) = &mut self.assemblies[at].state else {
            return Err(Discard::Fragment);
        };
        if let Err(why) = gathering.put(ends, packet, part, place.more) {
            self.assemblies[at].state = State::Spoiled;
            return Err(why);
        }
        if !gathering.is_whole() {
            return Ok(None);
        }
        let frame = gathering.finish(ends, gateway_mac);
        self.assemblies.remove(at);
        Ok(frame)
    }

    /// When the oldest datagram has waited long enough.
    pub(super) fn expiry(&self) -> Option<Instant> {
        self.assemblies.first().map(|oldest| oldest.expiry)
    }

    /// Gives up what has waited long enough.
    pub(super) fn expire(&mut self, now: Instant, counters: &mut Counters) {
        let before = self.assemblies.len();
        self.assemblies.retain(|assembly| assembly.expiry > now);
        counters.reassembly_expired += (before - self.assemblies.len()) as u64;
        if self.assemblies.is_empty() {
            self.assemblies = Vec::new();
        }
    }

    /// Forgets what a container has sent that is gone.
    pub(super) fn forget(&mut self, source: IpAddr) {
        self.assemblies.retain(|assembly| assembly.source != source);
    }

    /// A place for another datagram of `source`.
    fn begin(&mut self, now: Instant, key: Key, source: IpAddr, counters: &mut Counters) -> usize {
        let loser = if self.count(source) >= MOST_OF_ONE {
            Some(source)
        } else if self.assemblies.len() >= MOST {
            self.assemblies
                .iter()
                .map(|assembly| assembly.source)
                .max_by_key(|source| self.count(*source))
        } else {
            None
        };
        let oldest = loser.and_then(|loser| self.assemblies.iter().position(|assembly| assembly.source == loser));
        if let Some(oldest) = oldest {
            self.assemblies.remove(oldest);
            counters.reassembly_evicted += 1;
        }
        self.assemblies.push(Assembly {
            key,
            source,
            expiry: now + LIFETIME,
            state: State::Gathering(Gathering::default()),
        });
        self.assemblies.len() - 1
    }

    fn count(&self, source: IpAddr) -> usize {
        let of_source = |assembly: &&Assembly| assembly.source == source;
        self.assemblies.iter().filter(of_source).count()
    }
}

impl Gathering {
    fn put(&mut self, ends: Ends, packet: &Packet<'_>, (start, end): (u16, u16), more: bool) -> Result<(), Discard> {
        self.check_end(end, more)?;
        let room = ETHERNET_HEADER + ends.header();
        let place = room + usize::from(start)..room + usize::from(end);
        let next = self.parts.partition_point(|(_, behind)| *behind <= start);
        if self.parts.get(next).is_some_and(|(first, _)| *first < end) {
            let (first, behind) = self.parts[next];
            let again = first <= start && end <= behind && self.frame[place] == *packet.payload();
            return if again { Ok(()) } else { Err(Discard::Fragment) };
        }
        if self.frame.capacity() == 0 {
            self.frame.reserve_exact(ROOM);
        }
        if self.frame.len() < place.end {
            self.frame.resize(place.end, 0);
        }
        self.frame[place].copy_from_slice(packet.payload());
        self.note_part(next, start, end);
        if start == 0 {
            self.head = Some(Head {
                mac: packet.mac,
                protocol: packet.protocol,
                time_to_live: packet.time_to_live,
                class: packet.class,
            });
        }
        if !more {
            self.total = Some(end);
        }
        Ok(())
    }

    /// There is one end, and nothing behind it.
    fn check_end(&self, end: u16, more: bool) -> Result<(), Discard> {
        let reached = self.parts.last().map_or(0, |(_, behind)| *behind);
        let fits = match self.total {
            Some(total) if more => end < total,
            Some(total) => end == total,
            None => more || end >= reached,
        };
        if fits { Ok(()) } else { Err(Discard::Fragment) }
    }

    /// Adds a part before the one at `next`, and makes one of those that touch.
    fn note_part(&mut self, next: usize, start: u16, end: u16) {
        let joins_next = self.parts.get(next).is_some_and(|(first, _)| *first == end);
        let joins_last = next > 0 && self.parts[next - 1].1 == start;
        match (joins_last, joins_next) {
            (true, true) => {
                self.parts[next - 1].1 = self.parts[next].1;
                self.parts.remove(next);
            }
            (true, false) => self.parts[next - 1].1 = end,
            (false, true) => self.parts[next].0 = start,
            (false, false) => self.parts.insert(next, (start, end)),
        }
    }

    fn is_whole(&self) -> bool {
        matches!((&self.parts[..], self.total), (&[(0, behind)], Some(total)) if behind == total)
    }

    /// Writes the headers.
    fn finish(&mut self, ends: Ends, gateway_mac: EthernetAddress) -> Option<Vec<u8>> {
        let head = self.head?;
        let mut frame = std::mem::take(&mut self.frame);
        let payload_len = usize::from(self.total?);
        write_ethernet(&mut frame, head.mac, gateway_mac, ends.ethertype());
        let packet = &mut frame[ETHERNET_HEADER..];
        ends.write(packet, head.protocol, payload_len, None);
        if ends.ethertype() == EthernetProtocol::Ipv6 {
            let mut header = Ipv6Packet::new_unchecked(packet);
            header.set_hop_limit(head.time_to_live);
            header.set_traffic_class(head.class);
        } else {
            let mut header = Ipv4Packet::new_unchecked(packet);
            header.set_hop_limit(head.time_to_live);
            header.set_dscp(head.class >> 2);
            header.set_ecn(head.class & 3);
            header.fill_checksum();
        }
        Some(frame)
    }
}

/// Which bytes of the datagram a fragment of `len` bytes has: some, as many as the next one's offset can name, and none
/// that no packet has room for.
fn part(ends: Ends, len: usize, Place { offset, more, .. }: Place) -> Result<(u16, u16), Discard> {
    // IPv6 does not count its own header (RFC 8200 section 4.5), IPv4 does.
    let counted = match ends {
        Ends::V4 { .. } => IPV4_HEADER,
        Ends::V6 { .. } => 0,
    };
    let bounds = (u16::try_from(offset), u16::try_from(offset + len));
    match bounds {
        (Ok(start), Ok(end)) if usize::from(end) + counted <= MOST_BYTES => {
            let cut_well = len > 0 && (!more || len.is_multiple_of(UNIT));
            cut_well.then_some((start, end)).ok_or(Discard::Fragment)
        }
        _ => Err(Discard::Fragment),
    }
}

/// As long as Linux waits (net.ipv4.ipfrag_time; RFC 8200 has 60 s, but a container is near).
const LIFETIME: Duration = Duration::from_secs(30);

/// Datagrams in assembly of one container's address: as many of its cores send at once, and some that lost a part.
const MOST_OF_ONE: usize = 8;

/// The same of all: 4 MiB.
const MOST: usize = 64;

/// The largest packet, with the header of IPv4 and without that of IPv6.
const MOST_BYTES: usize = 65_535;

/// Bytes of the largest frame, so that a buffer is had once.
const ROOM: usize = ETHERNET_HEADER + IPV6_HEADER + MOST_BYTES;

/// Bytes in which offsets are counted.
const UNIT: usize = 8;
