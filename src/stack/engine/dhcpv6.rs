//! DHCPv6: who may ask, and what is answered.
//!
//! Clients ask from a link-local address of their own making, at the group of all servers; that group is all that is
//! listened to. Whose hardware it is decides what there is to be had: the IPv6 address that it was attached with, and for
//! everybody resolvers, domains and a name. Nothing is remembered, so giving back and declining change nothing.
//!
//! Source: RFC 8415 section 18.3.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use smoltcp::time::Instant;
use smoltcp::wire::{EthernetFrame, IpProtocol};

use super::Engine;
use crate::stack::Offload;
use crate::stack::counters::Discard;
use crate::stack::dhcp::v6::{Association, Grant, Kind, Reply, Request, Status, server_identifier};
use crate::stack::frame::Packet;

impl Engine {
    /// Whether the packet is for the group of servers, and so for nobody else in the engine.
    pub(super) fn is_for_servers(&self, packet: &Packet<'_>) -> bool {
        packet.target == IpAddr::V6(ALL_SERVERS) && self.config.dhcp.is_some()
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
        let address = self.containers.address_of(packet.mac, |address| match address {
            IpAddr::V6(address) => Some(address),
            IpAddr::V4(_) => None,
        });
        let answer = judge(&request, address).ok_or(Discard::Dhcp)?;
        let dhcp = self.config.dhcp.as_ref().ok_or(Discard::NotForUs)?;
        let reply = Reply {
            advertises: request.kind == Kind::Solicit && !request.rapid,
            server: &server,
            status: answer.status,
            grants: &answer.grants,
            ends_others: matches!(request.kind, Kind::Renew | Kind::Rebind),
            told: Some(dhcp).filter(|_| answer.tells),
            lease: dhcp.lease,
        };
        let message = reply.write(&request, self.config.mtu).ok_or(Discard::Dhcp)?;
        let source = SocketAddr::new(self.config.policy.layout.link_local.into(), SERVER_PORT);
        let target = SocketAddr::new(packet.source, CLIENT_PORT);
        self.queue_udp(packet.mac, source, target, &message)
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
fn judge(request: &Request<'_>, own: Option<Ipv6Addr>) -> Option<Answer> {
    let associations = request.associations.iter();
    match request.kind {
        Kind::Solicit | Kind::Request => Some(Answer {
            grants: share(request, own, Status::NoAddress),
            tells: true,
            ..Answer::default()
        }),
        // Section 18.3.5 has the same for addresses of another link: they are over.
        Kind::Renew | Kind::Rebind => Some(Answer {
            grants: share(request, own, Status::NoBinding),
            tells: true,
            ..Answer::default()
        }),
        Kind::Confirm => {
            let mut addresses = associations.flat_map(|association| &association.addresses).peekable();
            // Section 18.3.3: without addresses there is nothing to say.
            addresses.peek()?;
            let right = addresses.all(|address| Some(*address) == own);
            let status = if right { Status::Success } else { Status::NotOnLink };
            Some(Answer {
                status: Some(status),
                ..Answer::default()
            })
        }
        // Sections 18.3.7 and 18.3.8.
        Kind::Release | Kind::Decline => {
            let is_known = |association: &Association| own.is_some_and(|own| association.addresses.contains(&own));
            let grants = associations.map(|association| {
                if is_known(association) {
                    Grant::Unsaid
                } else {
                    Grant::Nothing(Status::NoBinding)
                }
            });
            Some(Answer {
                status: Some(Status::Success),
                grants: grants.collect(),
                tells: false,
            })
        }
        Kind::Information => Some(Answer {
            tells: true,
            ..Answer::default()
        }),
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
