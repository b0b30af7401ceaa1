//! DHCPv6: who may ask, and what is answered.
//!
//! Clients ask from a link-local address of their own making, at the group of all servers; that group is all that is
//! listened to. Whose hardware it is decides what there is to be had: the IPv6 address that it was attached with, or that
//! of the one [guest](AddressSource::Guest) that there is; and for everybody resolvers, domains and a name. Nothing is
//! remembered, so giving back and declining change nothing. Whether that is said, and what to who has another address,
//! is a matter of [`Tenure`].
//!
//! Source: RFC 8415 section 18.3.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, EthernetFrame, IpProtocol};

use super::Engine;
use crate::stack::Offload;
use crate::stack::counters::Discard;
use crate::stack::dhcp::v6::{Association, FOR_EVER, Grant, Kind, Reply, Request, Status, server_identifier};
use crate::stack::dhcp::{AddressSource, Dhcp, Tenure};
use crate::stack::frame::Packet;

impl Engine {
    /// Whether the packet is for the group of servers, and so for nobody else in the engine.
    pub(super) fn is_for_servers(&self, packet: &Packet<'_>) -> bool {
        packet.target == IpAddr::V6(ALL_SERVERS) && self.config.dhcp.as_ref().is_some_and(Dhcp::serves_v6)
    }

    pub(super) fn receive_dhcpv6(
        &mut self,
        now: Instant,
        offload: Offload,
        frame: &EthernetFrame<&[u8]>,
        packet: &Packet<'_>,
    ) -> Result<(), Discard> {
        if !frame.dst_addr().is_multicast() || packet.protocol != IpProtocol::Udp {
            return Err(Discard::NotForUs);
        }
        if !self.is_own_link_local(packet) {
            self.admit(packet.mac, packet.source)?;
        }
        let datagram = packet.udp(offload)?;
        if datagram.dst_port() != SERVER_PORT {
            return Err(Discard::NotForUs);
        }
        if offload.gso.is_some() {
            return Err(Discard::Malformed);
        }
        let server = server_identifier(self.config.gateway_mac);
        let request = Request::parse(datagram.payload(), &server)?;
        if !self.containers.may_solicit(now, packet.mac) {
            return Err(Discard::Full);
        }
        let dhcp = self.config.dhcp.as_ref().ok_or(Discard::NotForUs)?;
        let own = self.address6_for(dhcp.source, packet.mac);
        let answer = judge(&request, own, dhcp.v6.tenure).ok_or(Discard::Dhcp)?;
        let at_once = request.rapid && dhcp.v6.rapid_commit;
        let reply = Reply {
            advertises: request.kind == Kind::Solicit && !at_once,
            preference: dhcp.v6.preference,
            server: &server,
            status: answer.status,
            grants: &answer.grants,
            ends_others: matches!(request.kind, Kind::Renew | Kind::Rebind),
            told: Some(dhcp).filter(|_| answer.tells),
            lease: match dhcp.v6.tenure {
                Tenure::Leased => dhcp.lease,
                Tenure::Permanent => FOR_EVER,
            },
        };
        let message = reply.write(&request, self.config.mtu).ok_or(Discard::Dhcp)?;
        let source = SocketAddr::new(self.config.policy.layout.link_local.into(), SERVER_PORT);
        let target = SocketAddr::new(packet.source, CLIENT_PORT);
        self.queue_udp(packet.mac, source, target, &message)
    }

    /// The address that the owner of `mac` may have.
    fn address6_for(&self, source: AddressSource, mac: EthernetAddress) -> Option<Ipv6Addr> {
        match source {
            AddressSource::Attached => self.containers.address_of(mac, |address| match address {
                IpAddr::V6(address) => Some(address),
                IpAddr::V4(_) => None,
            }),
            AddressSource::Range { .. } => None,
            AddressSource::Guest { v6, .. } => v6,
        }
    }
}

/// What a client is to hear.
#[derive(Debug, Default)]
struct Answer {
    status: Option<Status>,
    grants: Vec<Grant>,
    /// Resolvers and domains, too.
    tells: bool,
}

/// What is answered to a client whose address is `own`; to some nothing.
fn judge(request: &Request<'_>, own: Option<Ipv6Addr>, tenure: Tenure) -> Option<Answer> {
    match (request.kind, tenure) {
        (Kind::Solicit, _) | (Kind::Request, Tenure::Leased) => Some(Answer {
            grants: share(request, own, Status::NoAddress),
            tells: true,
            ..Answer::default()
        }),
        // Section 18.3.5 has the same for addresses of another link: they are over.
        (Kind::Renew | Kind::Rebind, Tenure::Leased) => Some(Answer {
            grants: share(request, own, Status::NoBinding),
            tells: true,
            ..Answer::default()
        }),
        (Kind::Request | Kind::Confirm | Kind::Renew | Kind::Rebind, Tenure::Permanent) => Some(insist(request, own)),
        (Kind::Confirm, Tenure::Leased) => confirm(request, own),
        (Kind::Release | Kind::Decline, Tenure::Leased) => Some(take_back(request, own)),
        (Kind::Release | Kind::Decline, Tenure::Permanent) => None,
        (Kind::Information, _) => Some(Answer {
            tells: true,
            ..Answer::default()
        }),
    }
}

/// What is good for ever goes to whoever has it or nothing; with anything else a client is on another link
/// (section 18.3.2), and everything that it knows is to be learnt anew.
fn insist(request: &Request<'_>, own: Option<Ipv6Addr>) -> Answer {
    let is_elsewhere = |association: &Association| association.addresses.iter().any(|known| Some(*known) != own);
    let shared = share(request, own, Status::NoAddress);
    let grants = request.associations.iter().zip(shared).map(|(association, grant)| {
        if is_elsewhere(association) {
            Grant::Nothing(Status::NotOnLink)
        } else {
            grant
        }
    });
    Answer {
        grants: grants.collect(),
        tells: !request.associations.iter().any(is_elsewhere),
        ..Answer::default()
    }
}

/// Whether what the client has is right for this link (section 18.3.3). Without addresses there is nothing to say.
fn confirm(request: &Request<'_>, own: Option<Ipv6Addr>) -> Option<Answer> {
    let associations = request.associations.iter();
    let mut addresses = associations.flat_map(|association| &association.addresses).peekable();
    addresses.peek()?;
    let right = addresses.all(|address| Some(*address) == own);
    let status = if right { Status::Success } else { Status::NotOnLink };
    Some(Answer {
        status: Some(status),
        ..Answer::default()
    })
}

/// Sections 18.3.7 and 18.3.8.
fn take_back(request: &Request<'_>, own: Option<Ipv6Addr>) -> Answer {
    let is_known = |association: &Association| own.is_some_and(|own| association.addresses.contains(&own));
    let grants = request.associations.iter().map(|association| {
        if is_known(association) {
            Grant::Unsaid
        } else {
            Grant::Nothing(Status::NoBinding)
        }
    });
    Answer {
        status: Some(Status::Success),
        grants: grants.collect(),
        tells: false,
    }
}

/// The one address goes to the association that has it already, or else to the first.
fn share(request: &Request<'_>, own: Option<Ipv6Addr>, otherwise: Status) -> Vec<Grant> {
    let associations = request.associations.iter();
    let has_it = own.and_then(|own| {
        associations
            .clone()
            .position(|association| association.addresses.contains(&own))
    });
    let chosen = has_it.unwrap_or(0);
    associations
        .enumerate()
        .map(|(at, _)| match own {
            Some(own) if at == chosen => Grant::Address(own),
            Some(_) | None => Grant::Nothing(otherwise),
        })
        .collect()
}

/// RFC 8415 section 7.1, All_DHCP_Relay_Agents_and_Servers.
const ALL_SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);

/// Section 7.2.
const CLIENT_PORT: u16 = 546;
const SERVER_PORT: u16 = 547;
