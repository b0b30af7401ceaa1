//! Messages of DHCPv6: requests taken apart, replies put together.
//!
//! Of the many kinds of option those are read that a server with one address for each client needs. Temporary addresses
//! and prefixes are asked for in vain: their options are passed over like unknown ones.
//!
//! Sources: RFC 8415 sections 8, 16 (what must be there), 21 (options), 25 (length), RFC 3646 (resolvers, domains), RFC 4704
//! (full names).

use std::net::Ipv6Addr;

use smoltcp::wire::EthernetAddress;

use super::{Dhcp, MAX_RESOLVERS, MOST, search};
use crate::stack::counters::Discard;

/// What a client wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::stack) enum Kind {
    /// Who is there?
    Solicit,
    /// The address that was advertised.
    Request,
    /// Are my addresses right for this link?
    Confirm,
    /// The address for longer.
    Renew,
    /// The same, of whoever hears it.
    Rebind,
    /// I need it no longer.
    Release,
    /// Somebody else uses it.
    Decline,
    /// All but an address.
    Information,
}

/// A message of a client on this link.
#[derive(Debug, Clone)]
pub(in crate::stack) struct Request<'f> {
    pub(in crate::stack) kind: Kind,
    transaction: [u8; 3],
    client: Option<&'f [u8]>,
    /// An address shall be given at once.
    pub(in crate::stack) rapid: bool,
    /// The options that it wants to hear of; none: not said.
    wanted: Option<&'f [u8]>,
    pub(in crate::stack) associations: Vec<Association>,
}

/// A place for addresses (IA_NA), with those that the client has or would like there.
#[derive(Debug, Clone)]
pub(in crate::stack) struct Association {
    id: [u8; 4],
    pub(in crate::stack) addresses: Vec<Ipv6Addr>,
}

impl<'f> Request<'f> {
    /// Reads a datagram's payload, all of it. What is for another server than `ours`, or breaks the rules of section 16,
    /// is turned away.
    pub(in crate::stack) fn parse(message: &'f [u8], ours: &[u8]) -> Result<Self, Discard> {
        let Some((&[kind, transaction @ ..], rest)) = message.split_first_chunk::<4>() else {
            return Err(Discard::Truncated);
        };
        let mut request = Self {
            kind: Kind::of(kind)?,
            transaction,
            client: None,
            rapid: false,
            wanted: None,
            associations: Vec::new(),
        };
        let mut server = None;
        for option in Options(rest) {
            let (code, data) = option?;
            match code {
                CLIENT => once(&mut request.client, identifier(data)?)?,
                SERVER => once(&mut server, data)?,
                WANTED if data.len().is_multiple_of(2) => once(&mut request.wanted, data)?,
                WANTED => return Err(Discard::Malformed),
                RAPID_COMMIT => request.rapid = true,
                ADDRESSES if request.associations.len() < MAX_ASSOCIATIONS => {
                    request.associations.push(Association::parse(data)?);
                }
                _ => {}
            }
        }
        request.check(server, ours)?;
        Ok(request)
    }

    fn check(&self, server: Option<&[u8]>, ours: &[u8]) -> Result<(), Discard> {
        let (names_client, names_server) = match self.kind {
            Kind::Solicit | Kind::Confirm | Kind::Rebind => (true, Some(false)),
            Kind::Request | Kind::Renew | Kind::Release | Kind::Decline => (true, Some(true)),
            // Section 16.12: no addresses either.
            Kind::Information => (false, None),
        };
        let wrong = names_client && self.client.is_none()
            || names_server.is_some_and(|named| named != server.is_some())
            || self.kind == Kind::Information && !self.associations.is_empty();
        if wrong {
            Err(Discard::Malformed)
        } else if server.is_some_and(|server| server != ours) {
            Err(Discard::Dhcp)
        } else {
            Ok(())
        }
    }

    fn wants(&self, option: u16) -> bool {
        let among = |list: &[u8]| list.chunks_exact(2).any(|code| code == option.to_be_bytes());
        self.wanted.is_none_or(among)
    }
}

impl Kind {
    fn of(code: u8) -> Result<Self, Discard> {
        match code {
            1 => Ok(Self::Solicit),
            3 => Ok(Self::Request),
            4 => Ok(Self::Confirm),
            5 => Ok(Self::Renew),
            6 => Ok(Self::Rebind),
            8 => Ok(Self::Release),
            9 => Ok(Self::Decline),
            11 => Ok(Self::Information),
            // Of servers and relays, or of later times.
            _ => Err(Discard::Dhcp),
        }
    }
}

impl Association {
    /// The inside of the option: its id, two times that are the server's to choose, and the addresses.
    fn parse(data: &[u8]) -> Result<Self, Discard> {
        let (&[a, b, c, d, ..], rest) = data.split_first_chunk::<ASSOCIATION_HEAD>().ok_or(Discard::Malformed)?;
        let mut addresses = Vec::new();
        for option in Options(rest) {
            let (code, data) = option?;
            if code == ADDRESS {
                let (head, options) = data.split_first_chunk::<ADDRESS_HEAD>().ok_or(Discard::Malformed)?;
                // Whatever is in there, it has to be options.
                Options(options).try_for_each(|option| option.map(drop))?;
                let mut address = [0; 16];
                address.copy_from_slice(&head[..16]);
                if addresses.len() < MAX_ADDRESSES {
                    addresses.push(Ipv6Addr::from(address));
                }
            }
        }
        Ok(Self {
            id: [a, b, c, d],
            addresses,
        })
    }
}

/// What is said of an association.
#[derive(Debug, Clone, Copy)]
pub(in crate::stack) enum Grant {
    /// It has this address.
    Address(Ipv6Addr),
    /// It has none.
    Nothing(Status),
    /// There is nothing to say of it.
    Unsaid,
}

/// RFC 8415 section 21.13.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::stack) enum Status {
    /// So it is.
    Success,
    /// There is no address for it.
    NoAddress,
    /// Nothing is known of it.
    NoBinding,
    /// Its addresses are not for here.
    NotOnLink,
}

impl Status {
    fn code(self) -> u16 {
        match self {
            Self::Success => 0,
            Self::NoAddress => 2,
            Self::NoBinding => 3,
            Self::NotOnLink => 4,
        }
    }
}

/// What is answered.
#[derive(Debug)]
pub(in crate::stack) struct Reply<'s> {
    /// What could be had, and not yet the thing itself.
    pub(in crate::stack) advertises: bool,
    /// To other servers' advertisements; none: not said.
    pub(in crate::stack) preference: Option<u8>,
    pub(in crate::stack) server: &'s [u8],
    /// Of the whole.
    pub(in crate::stack) status: Option<Status>,
    /// Of each association, in the request's order.
    pub(in crate::stack) grants: &'s [Grant],
    /// All other addresses that the client has are over.
    pub(in crate::stack) ends_others: bool,
    /// What else the client is told.
    pub(in crate::stack) told: Option<&'s Dhcp>,
    /// Seconds for which addresses are good, or [`FOR_EVER`].
    pub(in crate::stack) lease: u32,
}

impl Reply<'_> {
    /// Writes it, as much of it as crosses a link of this MTU whole; none if that is nothing.
    pub(in crate::stack) fn write(&self, request: &Request<'_>, mtu: u16) -> Option<Vec<u8>> {
        let [a, b, c] = request.transaction;
        let kind = if self.advertises { ADVERTISE } else { REPLY };
        let mut writer = Writer {
            message: vec![kind, a, b, c],
            room: usize::from(mtu.min(MOST)).saturating_sub(HEADERS),
        };
        writer.put(SERVER, self.server)?;
        if let Some(client) = request.client {
            writer.put(CLIENT, client)?;
        }
        if request.kind == Kind::Solicit && !self.advertises {
            writer.put(RAPID_COMMIT, &[])?;
        }
        if let Some(status) = self.status {
            writer.put(STATUS, &status.code().to_be_bytes())?;
        }
        for (association, grant) in request.associations.iter().zip(self.grants) {
            self.associate(&mut writer, association, *grant);
        }
        if let Some(settings) = self.told {
            writer.tell(request, settings);
        }
        if let Some(preference) = self.preference.filter(|_| self.advertises) {
            writer.put(PREFERENCE, &[preference]);
        }
        Some(writer.message)
    }

    /// Where there is no room for the whole of it, it goes unsaid what is over.
    fn associate(&self, writer: &mut Writer, association: &Association, grant: Grant) {
        let ((renewal, rebinding), least, own) = match grant {
            Grant::Address(own) => (times(self.lease), lifetimes(own, self.lease), Some(own)),
            Grant::Nothing(status) => ((0, 0), option(STATUS, &status.code().to_be_bytes()), None),
            Grant::Unsaid => return,
        };
        let inside = [
            &association.id[..],
            &renewal.to_be_bytes(),
            &rebinding.to_be_bytes(),
            &least,
        ]
        .concat();
        let over = association
            .addresses
            .iter()
            .filter(|_| self.ends_others && own.is_some());
        let over = over.filter(|known| Some(**known) != own);
        let whole = over.fold(inside.clone(), |whole, over| [whole, lifetimes(*over, 0)].concat());
        let _ = writer.put(ADDRESSES, &whole).or_else(|| writer.put(ADDRESSES, &inside));
    }
}

struct Writer {
    message: Vec<u8>,
    room: usize,
}

impl Writer {
    fn put(&mut self, code: u16, data: &[u8]) -> Option<()> {
        if self.message.len() + OPTION_HEAD + data.len() > self.room {
            return None;
        }
        self.message.extend_from_slice(&option(code, data));
        Some(())
    }

    /// Resolvers, domains and the client's name, if it wants to hear of them or is told in any case.
    fn tell(&mut self, request: &Request<'_>, settings: &Dhcp) {
        let wants = |option| settings.v6.unasked || request.wants(option);
        let room = |writer: &Self| writer.room.saturating_sub(writer.message.len() + OPTION_HEAD);
        let resolvers = settings.dns6().take(MAX_RESOLVERS.min(room(self) / 16));
        let resolvers: Vec<u8> = resolvers.flat_map(|address| address.octets()).collect();
        if wants(RESOLVERS) && !resolvers.is_empty() {
            self.put(RESOLVERS, &resolvers);
        }
        let domains = search::encode(&settings.search, room(self));
        if wants(DOMAINS) && !domains.is_empty() {
            self.put(DOMAINS, &domains);
        }
        let name = settings.fqdn.as_deref().and_then(search::name);
        if let Some(name) = name.filter(|_| wants(FQDN)) {
            self.put(FQDN, &[&[FQDN_FLAGS], &name[..]].concat());
        }
    }
}

/// The server's identifier: by its hardware address (DUID-LL, section 11.4), which stays the same.
pub(in crate::stack) fn server_identifier(EthernetAddress(mac): EthernetAddress) -> Vec<u8> {
    [&[0, 3, 0, 1], &mac[..]].concat()
}

/// When an address that is good for so many seconds is asked for again, of this server and of any (T1 and T2, section 21.4).
fn times(seconds: u32) -> (u32, u32) {
    if seconds == FOR_EVER {
        (FOR_EVER, FOR_EVER)
    } else {
        (seconds / 2, seconds / 5 * 4)
    }
}

/// An address that is good for so many seconds.
fn lifetimes(address: Ipv6Addr, seconds: u32) -> Vec<u8> {
    let seconds = seconds.to_be_bytes();
    option(ADDRESS, &[&address.octets()[..], &seconds, &seconds].concat())
}

fn option(code: u16, data: &[u8]) -> Vec<u8> {
    // No message of ours is that long.
    let len = u16::try_from(data.len()).unwrap_or(u16::MAX);
    [&code.to_be_bytes(), &len.to_be_bytes(), data].concat()
}

/// An option that may be there but once.
fn once<T>(place: &mut Option<T>, value: T) -> Result<(), Discard> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Discard::Malformed),
    }
}

/// Section 11.1: a type of two bytes and up to 128 more.
fn identifier(data: &[u8]) -> Result<&[u8], Discard> {
    if (3..=130).contains(&data.len()) {
        Ok(data)
    } else {
        Err(Discard::Malformed)
    }
}

/// Options, each with its length, to the end or to what is none.
struct Options<'f>(&'f [u8]);

impl<'f> Iterator for Options<'f> {
    type Item = Result<(u16, &'f [u8]), Discard>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let rest = std::mem::take(&mut self.0);
        let Some((&[a, b, c, d], behind)) = rest.split_first_chunk::<OPTION_HEAD>() else {
            return Some(Err(Discard::Malformed));
        };
        let Some((data, behind)) = behind.split_at_checked(u16::from_be_bytes([c, d]).into()) else {
            return Some(Err(Discard::Malformed));
        };
        self.0 = behind;
        Some(Ok((u16::from_be_bytes([a, b]), data)))
    }
}

/// Section 7.7: seconds that have no end.
pub(in crate::stack) const FOR_EVER: u32 = u32::MAX;

/// Messages of servers (section 7.3).
const ADVERTISE: u8 = 2;
const REPLY: u8 = 7;

/// Options (section 21; RFC 3646; RFC 4704).
const CLIENT: u16 = 1;
const SERVER: u16 = 2;
const ADDRESSES: u16 = 3;
const ADDRESS: u16 = 5;
const WANTED: u16 = 6;
const PREFERENCE: u16 = 7;
const STATUS: u16 = 13;
const RAPID_COMMIT: u16 = 14;
const RESOLVERS: u16 = 23;
const DOMAINS: u16 = 24;
const FQDN: u16 = 39;

/// RFC 4704 section 4.1: nobody updates DNS for it.
const FQDN_FLAGS: u8 = 0;

/// Bytes of an option's head, and of what stands before the options in those that have some.
const OPTION_HEAD: usize = 4;
const ASSOCIATION_HEAD: usize = 12;
const ADDRESS_HEAD: usize = 24;

/// Of IPv6 and UDP.
const HEADERS: usize = 40 + 8;

/// What is read of a message and of an association: there is one address, so a client that follows the rules has one of
/// each, or a few from before.
const MAX_ASSOCIATIONS: usize = 8;
const MAX_ADDRESSES: usize = 8;
