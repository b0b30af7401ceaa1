//! What the network answers itself: its containers' names, the host's, and the way back from an address.
//!
//! For a name of ours every type is answered here, so that none of them is asked for elsewhere: a type of which there is
//! nothing with NOERROR and no record, never NXDOMAIN, which would deny the others as well (RFC 2308 section 2). The SOA
//! beside it has clients forget soon. Reads a [`Zone`] and makes a message; opens and remembers nothing.

use std::net::IpAddr;

use bytes::Bytes;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, PTR, SOA};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use super::message::{Query, encode};
use crate::network::zone::{Owner, Zone};

/// The answer to `client` in at most `limit` bytes; `None` when the question is not about the network. `host` is what the host calls
/// itself, for whoever looks for it.
pub(super) fn answer(zone: &Zone, client: IpAddr, host: Option<&str>, query: &Query, limit: usize) -> Option<Bytes> {
    let found = look_up(zone, client, host, query)?;
    encode(&found.reply(query), limit)
}

/// What a question comes to.
enum Found {
    Addresses(Vec<IpAddr>),
    Name(Name),
    /// There is such a name, without what was asked for.
    Nothing(Name),
    /// There is no such name; the SOA is this one's.
    Unknown(Name),
}

fn look_up(zone: &Zone, client: IpAddr, host: Option<&str>, query: &Query) -> Option<Found> {
    let name = query.name();
    let own = || {
        host.filter(|host| is_own_name(host, &name))
            .map(|_| zone.host())
            .filter(|addresses| !addresses.is_empty())
    };
    let Some(addresses) = zone.addresses_for(client, &name).or_else(own) else {
        return look_back(zone, query);
    };
    let wanted = addresses.iter().copied().filter(|address| is_asked_for(address, query));
    let wanted: Vec<_> = wanted.collect();
    Some(if !wanted.is_empty() && is_internet(query) {
        Found::Addresses(wanted)
    } else {
        Found::Nothing(query.asked().name().clone())
    })
}

fn is_asked_for(address: &IpAddr, query: &Query) -> bool {
    let own_type = match address {
        IpAddr::V4(_) => RecordType::A,
        IpAddr::V6(_) => RecordType::AAAA,
    };
    [own_type, RecordType::ANY].contains(&query.kind())
}

/// The name of an address in a subnet of ours; what is asked about a part of it stays here too.
fn look_back(zone: &Zone, query: &Query) -> Option<Found> {
    let name = query.asked().name();
    let address = name.parse_arpa_name().ok()?.addr();
    let (bits, bits_of_a_label) = match address {
        IpAddr::V4(_) => (32, 8),
        // RFC 3596 section 2.5.
        IpAddr::V6(_) => (128, 4),
    };
    let given = usize::from(name.num_labels()).checked_sub(ARPA_LABELS)?;
    let of_subnet = usize::from(zone.subnet_of(address)?.prefix() / bits_of_a_label);
    if given < of_subnet.max(1) {
        return None;
    }
    let apex = name.trim_to(ARPA_LABELS + of_subnet);
    match zone.owner(address) {
        Owner::Elsewhere => None,
        Owner::Named(_) | Owner::Nobody if given < bits / usize::from(bits_of_a_label) => Some(Found::Nothing(apex)),
        Owner::Nobody => Some(Found::Unknown(apex)),
        Owner::Named(owner) if matches!(query.kind(), RecordType::PTR | RecordType::ANY) && is_internet(query) => {
            let mut owner = Name::from_ascii(owner).ok()?;
            owner.set_fqdn(true);
            Some(Found::Name(owner))
        }
        Owner::Named(_) => Some(Found::Nothing(apex)),
    }
}

/// Its whole name, and what stands before the first dot.
fn is_own_name(host: &str, name: &str) -> bool {
    let short = host.split('.').next().unwrap_or(host);
    !short.is_empty() && [host, short].iter().any(|own| own.eq_ignore_ascii_case(name))
}

fn is_internet(query: &Query) -> bool {
    matches!(query.asked().query_class(), DNSClass::IN | DNSClass::ANY)
}

impl Found {
    fn reply(self, query: &Query) -> Message {
        if query.is_too_new() {
            // RFC 6891 section 6.1.3.
            return query.reply(ResponseCode::BADVERS);
        }
        let name = query.asked().name();
        let code = match &self {
            Self::Unknown(_) => ResponseCode::NXDomain,
            Self::Addresses(_) | Self::Name(_) | Self::Nothing(_) => ResponseCode::NoError,
        };
        let mut reply = query.reply(code);
        reply.metadata.authoritative = true;
        let record = |data| Record::from_rdata(name.clone(), TTL, data);
        match self {
            Self::Addresses(addresses) => {
                reply.add_answers(addresses.into_iter().map(|address| record(data(address))));
            }
            Self::Name(owner) => _ = reply.add_answer(record(RData::PTR(PTR(owner)))),
            Self::Nothing(apex) | Self::Unknown(apex) => {
                let soa = RData::SOA(start_of_authority(&apex));
                reply.add_authority(Record::from_rdata(apex, TTL, soa));
            }
        }
        reply
    }
}

fn data(address: IpAddr) -> RData {
    match address {
        IpAddr::V4(address) => RData::A(A(address)),
        IpAddr::V6(address) => RData::AAAA(AAAA(address)),
    }
}

/// Only its MINIMUM is of use: how long a client may remember that there is nothing (RFC 2308 section 4).
fn start_of_authority(apex: &Name) -> SOA {
    SOA::new(apex.clone(), Name::root(), 1, RETRY, RETRY, RETRY, TTL)
}

/// Seconds for which an answer holds. Docker says 600; but a container that comes back has another address, and asking
/// again costs a tenth of a millisecond.
const TTL: u32 = 5;

/// For secondary servers, which there are none of; in seconds.
const RETRY: i32 = 3600;

/// "in-addr" or "ip6", and "arpa".
const ARPA_LABELS: usize = 2;
