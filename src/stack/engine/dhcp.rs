//! DHCPv4: who may ask, and what is answered.
//!
//! Who has no address yet asks from 0.0.0.0 of everybody. That is the one thing that gets past the check of senders, and
//! only as a message of a client's port to a server's, in which the hardware address is the frame's own. Answers go to
//! that hardware and to no other container, also those to all of the link.
//!
//! An address is given only to whom it belongs: a request for any other, the gateway's or one of nowhere, is refused and
//! changes nothing.
//!
//! Sources: RFC 2131 sections 4.1 and 4.3, RFC 4039 section 3.1.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{DHCP_CLIENT_PORT, DHCP_SERVER_PORT, DhcpMessageType, EthernetAddress, EthernetFrame, IpProtocol};

use super::Engine;
use crate::stack::Offload;
use crate::stack::counters::Discard;
use crate::stack::datagram::{Datagram, Link};
use crate::stack::dhcp::Dhcp;
use crate::stack::dhcp::v4::{Reply, Request, Told};
use crate::stack::frame::Packet;
use crate::stack::types::{Attachment, Payload};

impl Engine {
    /// An IPv4 packet in a frame to everybody: a client's message, or nothing for us (RFC 1122 section 3.3.6).
    pub(super) fn receive_broadcast(
        &mut self,
        now: Instant,
        offload: Offload,
        frame: &EthernetFrame<&[u8]>,
    ) -> Result<(), Discard> {
        let packet = Packet::parse_v4(frame)?;
        let to_all = packet.target == IpAddr::V4(Ipv4Addr::BROADCAST) && packet.protocol == IpProtocol::Udp;
        if !to_all || packet.place.is_some() || !self.serves_dhcp() {
            return Err(Discard::NotForUs);
        }
        let datagram = packet.udp(offload)?;
        if (datagram.src_port(), datagram.dst_port()) != (DHCP_CLIENT_PORT, DHCP_SERVER_PORT) {
            return Err(Discard::NotForUs);
        }
        if !packet.source.is_unspecified() {
            self.admit(packet.mac, packet.source)?;
        }
        self.receive_dhcp(now, offload, &packet, datagram.payload())
    }

    /// Whether a datagram from `container` to what it calls `shown` is a client's that knows its server.
    pub(super) fn is_dhcp(&self, container: SocketAddr, shown: SocketAddr) -> bool {
        let server = SocketAddr::new(self.config.policy.gateway().into(), DHCP_SERVER_PORT);
        container.port() == DHCP_CLIENT_PORT && shown == server && self.serves_dhcp()
    }

    fn serves_dhcp(&self) -> bool {
        self.config.dhcp.as_ref().is_some_and(Dhcp::serves_v4)
    }

    /// A message to the server from a sender that is nobody, or who it says it is.
    pub(super) fn receive_dhcp(
        &mut self,
        now: Instant,
        offload: Offload,
        packet: &Packet<'_>,
        message: &[u8],
    ) -> Result<(), Discard> {
        if offload.gso.is_some() {
            return Err(Discard::Malformed);
        }
        let request = Request::parse(message)?;
        if request.mac != packet.mac || !self.may_ask(packet.mac) {
            return Err(Discard::Spoofed);
        }
        if request
            .server
            .is_some_and(|server| server != self.config.policy.gateway())
        {
            return Err(Discard::Dhcp);
        }
        if !self.may_be_answered(now, packet.mac) {
            return Err(Discard::Full);
        }
        match request.kind {
            DhcpMessageType::Discover => self.discover(now, &request),
            DhcpMessageType::Request => self.request(now, &request),
            DhcpMessageType::Inform => self.inform(&request),
            DhcpMessageType::Decline | DhcpMessageType::Release => {
                self.give_back(now, &request);
                Ok(())
            }
            DhcpMessageType::Offer | DhcpMessageType::Ack | DhcpMessageType::Nak => Err(Discard::Malformed),
            DhcpMessageType::Unknown(_) => Err(Discard::Dhcp),
        }
    }

    fn discover(&mut self, now: Instant, request: &Request<'_>) -> Result<(), Discard> {
        let address = self.address_for(now, request).ok_or(Discard::Dhcp)?;
        if request.rapid {
            self.grant(now, request, address);
            return self.acknowledge(request, address);
        }
        if let Some(leases) = &mut self.leases {
            leases.offer(now, request.client(), address);
        }
        self.answer_dhcp(request, DhcpMessageType::Offer, address)
    }

    /// What was offered, or what the client has or remembers.
    fn request(&mut self, now: Instant, request: &Request<'_>) -> Result<(), Discard> {
        match self.address_for(now, request) {
            Some(address) if address == request.wanted() => {
                self.grant(now, request, address);
                self.acknowledge(request, address)
            }
            Some(_) | None => self.answer_dhcp(request, DhcpMessageType::Nak, Ipv4Addr::UNSPECIFIED),
        }
    }

    /// Everything but an address, for who has one.
    fn inform(&mut self, request: &Request<'_>) -> Result<(), Discard> {
        self.admit(request.mac, request.current.into())?;
        self.acknowledge(request, Ipv4Addr::UNSPECIFIED)
    }

    fn acknowledge(&mut self, request: &Request<'_>, address: Ipv4Addr) -> Result<(), Discard> {
        self.answer_dhcp(request, DhcpMessageType::Ack, address)
    }

    /// The client needs its address no longer, or somebody else uses it. What the shell has attached stays as it is.
    fn give_back(&mut self, now: Instant, request: &Request<'_>) {
        let Some(leases) = &mut self.leases else { return };
        let (client, address) = (request.client(), request.wanted());
        let mac = if request.kind == DhcpMessageType::Decline {
            leases.decline(now, &client, address)
        } else {
            leases.release(&client, address)
        };
        if let Some(mac) = mac {
            let address = address.into();
            self.detach(Attachment { mac, address });
        }
    }

    /// The address that the client may have.
    fn address_for(&self, now: Instant, request: &Request<'_>) -> Option<Ipv4Addr> {
        let Some(leases) = &self.leases else {
            return self.containers.address_of(request.mac, |address| match address {
                IpAddr::V4(address) => Some(address),
                IpAddr::V6(_) => None,
            });
        };
        let wish = Some(request.wanted()).filter(|wish| !wish.is_unspecified());
        leases.find(now, &request.client(), wish, |address| self.is_free(address))
    }

    /// Whether a range may give it.
    fn is_free(&self, address: Ipv4Addr) -> bool {
        let subnet = self.config.policy.subnet;
        let taken = address == subnet.address() || self.containers.get(address.into()).is_some();
        let of_nobody = address == subnet.network().address() || subnet.broadcast() == Some(address);
        subnet.contains_addr(&address) && !taken && !of_nobody
    }

    /// From now on it is the client's to send from.
    fn grant(&mut self, now: Instant, request: &Request<'_>, address: Ipv4Addr) {
        let lease = self.config.dhcp.as_ref().map_or(0, |dhcp| dhcp.lease);
        let Some(leases) = &mut self.leases else { return };
        let until = now + Duration::from_secs(lease.into());
        let (mac, before) = (request.mac, leases.grant(address, request.client(), request.mac, until));
        let address = address.into();
        if let Some(before) = before.filter(|before| *before != mac) {
            self.detach(Attachment { mac: before, address });
        }
        self.attach(Attachment { mac, address });
    }

    /// Whether there is anything to be had for this hardware.
    fn may_ask(&self, mac: EthernetAddress) -> bool {
        self.containers.knows(mac) || self.leases.is_some() && mac.is_unicast()
    }

    fn may_be_answered(&mut self, now: Instant, mac: EthernetAddress) -> bool {
        if self.containers.knows(mac) {
            self.containers.may_solicit(now, mac)
        } else {
            self.strangers.take(now)
        }
    }

    /// Sends an answer in which the client is given `yours`.
    fn answer_dhcp(&mut self, request: &Request<'_>, kind: DhcpMessageType, yours: Ipv4Addr) -> Result<(), Discard> {
        let settings = self.config.dhcp.as_ref().ok_or(Discard::NotForUs)?;
        let server = self.config.policy.gateway();
        let told = Told {
            settings,
            mask: self.config.policy.subnet.netmask(),
            hostname: self.containers.hostname(request.mac).or(settings.hostname.as_deref()),
        };
        let reply = Reply {
            kind,
            server,
            yours,
            told: Some(told).filter(|_| kind != DhcpMessageType::Nak),
            rapid: request.kind == DhcpMessageType::Discover && kind == DhcpMessageType::Ack,
        };
        let message = reply.write(request, self.config.mtu).ok_or(Discard::Dhcp)?;
        let source = SocketAddr::new(server.into(), DHCP_SERVER_PORT);
        let target = SocketAddr::new(request.reply_to(kind, yours).into(), DHCP_CLIENT_PORT);
        self.queue_udp(request.mac, source, target, &message)
    }

    /// Queues a datagram to an interface, whatever addresses it has. Its checksum is not left to the kernel: clients read
    /// whole frames, and not all of them know of sums that are yet to be completed (TP_STATUS_CSUMNOTREADY, packet(7)).
    pub(super) fn queue_udp(
        &mut self,
        mac: EthernetAddress,
        source: SocketAddr,
        target: SocketAddr,
        message: &[u8],
    ) -> Result<(), Discard> {
        let link = self.link(mac).map(|link| Link {
            checksum: false,
            ..link
        });
        let datagram = Datagram::udp(source, target, Payload::one(message));
        let queued = datagram
            .zip(link)
            .is_some_and(|(datagram, link)| datagram.queue(link, &mut self.control));
        if queued { Ok(()) } else { Err(Discard::Full) }
    }
}
