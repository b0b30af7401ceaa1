//! Messages of DHCPv4: requests taken apart, replies put together.
//!
//! The fixed part is smoltcp's; the options are walked here, because they go on in the fields for names of the server and
//! of a file where a client says so (RFC 2132 section 9.3), and because smoltcp reads what is cut short as if it ended.
//!
//! Sources: RFC 2131 sections 2 and 4.3, RFC 2132, RFC 3396 (long options), RFC 3397 (domain search), RFC 4039 (rapid
//! commit), RFC 4702 (full names), RFC 6842 (the client's identifier in replies), RFC 1542 section 2.1 (the least length).

use std::net::Ipv4Addr;

use smoltcp::wire::{ArpHardware, DhcpFlags, DhcpMessageType, DhcpOpCode, DhcpPacket, EthernetAddress};

use super::{Dhcp, MAX_RESOLVERS, MOST, search};
use crate::stack::counters::Discard;

/// A message of a client on this link.
#[derive(Debug, Clone, Copy)]
pub(in crate::stack) struct Request<'f> {
    pub(in crate::stack) kind: DhcpMessageType,
    transaction: u32,
    broadcast: bool,
    /// Whom it is for.
    pub(in crate::stack) mac: EthernetAddress,
    /// The address that the client has, if any (ciaddr).
    pub(in crate::stack) current: Ipv4Addr,
    /// The address that it wishes for.
    pub(in crate::stack) wish: Option<Ipv4Addr>,
    /// The server that it means.
    pub(in crate::stack) server: Option<Ipv4Addr>,
    /// The identifier that it is to be known by.
    identifier: Option<&'f [u8]>,
    /// An address shall be given at once.
    pub(in crate::stack) rapid: bool,
    /// Bytes of an IP packet that it takes.
    most: Option<u16>,
}

impl<'f> Request<'f> {
    /// Reads a datagram's payload, all of it.
    pub(in crate::stack) fn parse(message: &'f [u8]) -> Result<Self, Discard> {
        let packet = DhcpPacket::new_checked(message).map_err(|_| Discard::Truncated)?;
        let ethernet = packet.hardware_type() == ArpHardware::Ethernet && packet.hardware_len() == 6;
        if !ethernet || packet.opcode() != DhcpOpCode::Request || packet.magic_number() != MAGIC {
            return Err(Discard::Malformed);
        }
        if !packet.relay_agent_ip().is_unspecified() {
            return Err(Discard::Dhcp);
        }
        let options = Options::gather(message)?;
        let kind = options.one::<1>(MESSAGE_TYPE)?.ok_or(Discard::Malformed)?;
        let identifier = options.find(IDENTIFIER)?;
        // RFC 2132 section 9.14: a type, and something of that type.
        if identifier.is_some_and(|identifier| identifier.len() < 2) {
            return Err(Discard::Malformed);
        }
        Ok(Self {
            kind: DhcpMessageType::from(kind[0]),
            transaction: packet.transaction_id(),
            broadcast: packet.flags().contains(DhcpFlags::BROADCAST),
            mac: packet.client_hardware_address(),
            current: packet.client_ip(),
            wish: options.one(WISH)?.map(Ipv4Addr::from_octets),
            server: options.one(SERVER)?.map(Ipv4Addr::from_octets),
            identifier,
            rapid: options.one::<0>(RAPID_COMMIT)?.is_some(),
            most: options.one(MOST_BYTES)?.map(u16::from_be_bytes),
        })
    }

    /// What its client is known by: its identifier, or the one that its hardware address would make.
    pub(in crate::stack) fn client(&self) -> Vec<u8> {
        let own = [&[ETHERNET], &self.mac.0[..]].concat();
        self.identifier.map_or(own, <[u8]>::to_vec)
    }

    /// The address that it asks to have; 0.0.0.0 for none.
    pub(in crate::stack) fn wanted(&self) -> Ipv4Addr {
        self.wish.unwrap_or(self.current)
    }

    /// Where a reply goes (RFC 2131 section 4.1), in which the client is given `yours`.
    pub(in crate::stack) fn reply_to(&self, kind: DhcpMessageType, yours: Ipv4Addr) -> Ipv4Addr {
        if kind == DhcpMessageType::Nak {
            Ipv4Addr::BROADCAST
        } else if !self.current.is_unspecified() {
            self.current
        } else if self.broadcast || yours.is_unspecified() {
            Ipv4Addr::BROADCAST
        } else {
            yours
        }
    }

    /// Bytes of a reply that crosses a link of this MTU whole and that the client takes.
    fn room(&self, mtu: u16) -> usize {
        let taken = self.most.unwrap_or(LEAST_MOST).max(LEAST_MOST);
        usize::from(taken.min(mtu).min(MOST)).saturating_sub(HEADERS)
    }
}

/// What is answered.
#[derive(Debug, Clone, Copy)]
pub(in crate::stack) struct Reply<'s> {
    /// Offer, acknowledgement or refusal.
    pub(in crate::stack) kind: DhcpMessageType,
    pub(in crate::stack) server: Ipv4Addr,
    /// The address that is given; 0.0.0.0 for none.
    pub(in crate::stack) yours: Ipv4Addr,
    /// What else the client is told, but in a refusal.
    pub(in crate::stack) told: Option<Told<'s>>,
    /// It is the answer at once.
    pub(in crate::stack) rapid: bool,
}

/// The settings, and what is not among them.
#[derive(Debug, Clone, Copy)]
pub(in crate::stack) struct Told<'s> {
    pub(in crate::stack) settings: &'s Dhcp,
    pub(in crate::stack) mask: Ipv4Addr,
    pub(in crate::stack) hostname: Option<&'s str>,
}

impl Reply<'_> {
    /// Writes it, as much of it as there is room for; none if not even the address and its lease have any.
    pub(in crate::stack) fn write(&self, request: &Request<'_>, mtu: u16) -> Option<Vec<u8>> {
        let room = request.room(mtu);
        let mut writer = Writer {
            message: self.head(request),
            room: room.checked_sub(1)?,
        };
        writer.must(MESSAGE_TYPE, &[self.kind.into()])?;
        writer.must(SERVER, &self.server.octets())?;
        if let Some(told) = self.told {
            let leased = !self.yours.is_unspecified();
            if leased {
                writer.must(LEASE, &told.settings.lease.to_be_bytes())?;
            }
            writer.must(MASK, &told.mask.octets())?;
            if self.rapid {
                writer.must(RAPID_COMMIT, &[])?;
            }
            writer.may(IDENTIFIER, request.identifier.unwrap_or_default());
            writer.tell(told, leased);
        } else {
            writer.may(IDENTIFIER, request.identifier.unwrap_or_default());
        }
        Some(writer.finish(room))
    }

    /// The fixed part (RFC 2131 table 3).
    fn head(&self, request: &Request<'_>) -> Vec<u8> {
        let mut message = vec![0; OPTIONS];
        let mut packet = DhcpPacket::new_unchecked(&mut message[..]);
        packet.set_opcode(DhcpOpCode::Reply);
        packet.set_hardware_type(ArpHardware::Ethernet);
        packet.set_hardware_len(6);
        packet.set_transaction_id(request.transaction);
        if request.broadcast {
            packet.set_flags(DhcpFlags::BROADCAST);
        }
        if self.kind == DhcpMessageType::Ack {
            packet.set_client_ip(request.current);
        }
        packet.set_your_ip(self.yours);
        packet.set_client_hardware_address(request.mac);
        packet.set_magic_number(MAGIC);
        message
    }
}

/// The options of a message, wherever they stand.
struct Options<'f>(Vec<(u8, &'f [u8])>);

impl<'f> Options<'f> {
    /// Those behind the fixed part, then those in the fields for a file's and the server's name, if they are said to be
    /// there.
    fn gather(message: &'f [u8]) -> Result<Self, Discard> {
        let mut options = Self(Vec::new());
        options.walk(&message[OPTIONS..])?;
        let overload = options.one::<1>(OVERLOAD)?.map_or(0, |[overload]| overload);
        if overload > IN_FILE | IN_NAME {
            return Err(Discard::Malformed);
        }
        let before = options.0.len();
        if overload & IN_FILE != 0 {
            options.walk(&message[FILE..MAGIC_AT])?;
        }
        if overload & IN_NAME != 0 {
            options.walk(&message[NAME..FILE])?;
        }
        // They lead nowhere else.
        if options.0[before..].iter().any(|(kind, _)| *kind == OVERLOAD) {
            return Err(Discard::Malformed);
        }
        Ok(options)
    }

    fn walk(&mut self, mut rest: &'f [u8]) -> Result<(), Discard> {
        // Some clients leave the end out where the message ends.
        while let Some((&kind, behind)) = rest.split_first() {
            match kind {
                PAD => rest = behind,
                END => return Ok(()),
                _ if self.0.len() == MAX_OPTIONS => return Err(Discard::Malformed),
                _ => {
                    let (&len, behind) = behind.split_first().ok_or(Discard::Malformed)?;
                    let (data, behind) = behind.split_at_checked(len.into()).ok_or(Discard::Malformed)?;
                    self.0.push((kind, data));
                    rest = behind;
                }
            }
        }
        Ok(())
    }

    /// The only one of its kind. None of those that are read is long enough to be split (RFC 3396).
    fn find(&self, kind: u8) -> Result<Option<&'f [u8]>, Discard> {
        let mut found = self.0.iter().filter(|(known, _)| *known == kind);
        match (found.next(), found.next()) {
            (_, Some(_)) => Err(Discard::Malformed),
            (only, None) => Ok(only.map(|(_, data)| *data)),
        }
    }

    /// The same, and of that length.
    fn one<const LEN: usize>(&self, kind: u8) -> Result<Option<[u8; LEN]>, Discard> {
        let data = self.find(kind)?;
        data.map(|data| data.try_into().map_err(|_| Discard::Malformed))
            .transpose()
    }
}

struct Writer {
    message: Vec<u8>,
    /// Bytes of it, its end not counted.
    room: usize,
}

impl Writer {
    /// The rest in order of worth: how to get out, names, when to come again, what is nice to have.
    fn tell(&mut self, Told { settings, hostname, .. }: Told<'_>, leased: bool) {
        self.may_list(ROUTER, settings.router.into_iter());
        self.may_list(RESOLVERS, settings.dns4().take(MAX_RESOLVERS));
        if let Some(mtu) = settings.mtu {
            self.may(MTU, &mtu.to_be_bytes());
        }
        if leased {
            self.may(RENEWAL, &(settings.lease / 2).to_be_bytes());
            self.may(REBINDING, &(settings.lease / 8 * 7).to_be_bytes());
        }
        self.may(HOSTNAME, hostname.unwrap_or_default().as_bytes());
        if let Some(name) = settings.fqdn.as_deref().and_then(search::name) {
            self.may(FQDN, &[&FQDN_HEAD[..], &name].concat());
        }
        let room = self.room.saturating_sub(self.message.len());
        // Each part has a header of its own.
        let room = room.saturating_sub(2 * room.div_ceil(MAX_OPTION + 2));
        for part in search::encode(&settings.search, room).chunks(MAX_OPTION) {
            self.may(DOMAINS, part);
        }
    }

    fn must(&mut self, kind: u8, data: &[u8]) -> Option<()> {
        let len = u8::try_from(data.len()).ok()?;
        if self.message.len() + 2 + data.len() > self.room {
            return None;
        }
        self.message.extend_from_slice(&[kind, len]);
        self.message.extend_from_slice(data);
        Some(())
    }

    /// An option that says something, and is left out where there is no room for it.
    fn may(&mut self, kind: u8, data: &[u8]) {
        if !data.is_empty() {
            self.must(kind, data);
        }
    }

    /// As many addresses as have room.
    fn may_list(&mut self, kind: u8, addresses: impl Iterator<Item = Ipv4Addr>) {
        let room = self.room.saturating_sub(self.message.len() + 2).min(MAX_OPTION);
        let addresses: Vec<u8> = addresses.take(room / 4).flat_map(|address| address.octets()).collect();
        self.may(kind, &addresses);
    }

    fn finish(mut self, room: usize) -> Vec<u8> {
        self.message.push(END);
        let padded = self.message.len().max(LEAST.min(room));
        self.message.resize(padded, PAD);
        self.message
    }
}

/// RFC 951: the hardware type of an identifier made from an Ethernet address.
const ETHERNET: u8 = 1;

/// RFC 2131 section 3: what options begin with, and where that stands; before it the names of server and file.
const MAGIC: u32 = 0x6382_5363;
const MAGIC_AT: usize = 236;
const OPTIONS: usize = 240;
const FILE: usize = 108;
const NAME: usize = 44;

/// Bytes of an IP packet that every client takes (RFC 2132 section 9.10), and of the headers in it.
const LEAST_MOST: u16 = 576;
const HEADERS: usize = 20 + 8;

/// RFC 1542 section 2.1: a shorter message may be taken for a broken one.
const LEAST: usize = 300;

/// Options of one message: more than there are kinds.
const MAX_OPTIONS: usize = 256;

/// Bytes in one option.
const MAX_OPTION: usize = 255;

/// Options, by their numbers in RFC 2132, RFC 4039, RFC 4702 and RFC 3397.
const PAD: u8 = 0;
const MASK: u8 = 1;
const ROUTER: u8 = 3;
const RESOLVERS: u8 = 6;
const HOSTNAME: u8 = 12;
const MTU: u8 = 26;
const WISH: u8 = 50;
const LEASE: u8 = 51;
const OVERLOAD: u8 = 52;
const MESSAGE_TYPE: u8 = 53;
const SERVER: u8 = 54;
const MOST_BYTES: u8 = 57;
const RENEWAL: u8 = 58;
const REBINDING: u8 = 59;
const IDENTIFIER: u8 = 61;
const RAPID_COMMIT: u8 = 80;
const FQDN: u8 = 81;
const DOMAINS: u8 = 119;
const END: u8 = 255;

/// RFC 4702 sections 2.1 and 2.2: the name is encoded as in DNS, which nobody updates for it; two codes of old.
const FQDN_HEAD: [u8; 3] = [0x04, 0xff, 0xff];

/// RFC 2132 section 9.3.
const IN_FILE: u8 = 1;
const IN_NAME: u8 = 2;
