//! ICMP from containers: echo requests. The gateway answers its own; others go out by a ping socket of the host, one
//! mapping for each id (RFC 5508 section 3). A reply comes from whoever was asked, or not at all: it is never forged.

use std::net::IpAddr;

use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{Icmpv4Message, Icmpv4Packet};

use super::Engine;
use crate::policy::EchoLead;
use crate::stack::Offload;
use crate::stack::counters::Discard;
use crate::stack::datagram::Datagram;
use crate::stack::frame::{Packet, must_verify};
use crate::stack::icmp::IcmpError;
use crate::stack::icmpv6;
use crate::stack::ledger::Kind;
use crate::stack::timer::Deadline;
use crate::stack::types::{Action, EchoId, Handling, Passage, Transmit};

impl Engine {
    /// Writes an echo reply into `out`; none if its mapping has expired.
    pub fn deliver_echo(
        &mut self,
        _now: Instant,
        EchoId(id): EchoId,
        from: IpAddr,
        sequence: u16,
        payload: &[u8],
        out: &mut [u8],
    ) -> Option<Transmit> {
        let key = self.echoes.get_mut(id).map(|entry| entry.key);
        let transmit = key.and_then(|(container, ident)| {
            let link = self.link_to(container)?;
            let reply = Datagram::echo_reply(from, container, ident, sequence, payload)?;
            reply.write(link, &mut self.control, out)
        });
        self.count_delivery(transmit, Discard::Filtered)
    }

    pub(super) fn receive_icmp<'f>(
        &mut self,
        now: Instant,
        offload: Offload,
        packet: &Packet<'f>,
    ) -> Result<Passage<'f>, Discard> {
        let message = Icmpv4Packet::new_checked(packet.payload()).map_err(|_| Discard::Truncated)?;
        if must_verify(offload) && !message.verify_checksum() {
            return Err(Discard::Checksum);
        }
        if message.msg_type() != Icmpv4Message::EchoRequest || message.msg_code() != 0 {
            return Err(Discard::Icmp);
        }
        let echo = Echo {
            ident: message.echo_ident(),
            sequence: message.echo_seq_no(),
            payload: message.data(),
        };
        self.lead_echo(now, offload, packet, echo)
    }

    /// The same of IPv6; neighbour discovery went another way.
    pub(super) fn receive_icmpv6<'f>(
        &mut self,
        now: Instant,
        offload: Offload,
        packet: &Packet<'f>,
    ) -> Result<Passage<'f>, Discard> {
        let message = packet.payload();
        let Some((&[kind, code, _, _, id_high, id_low, seq_high, seq_low], payload)) = message.split_first_chunk()
        else {
            return Err(Discard::Truncated);
        };
        if must_verify(offload) && !icmpv6::has_good_checksum(packet) {
            return Err(Discard::Checksum);
        }
        if (kind, code) != (icmpv6::ECHO_REQUEST, 0) {
            return Err(Discard::Icmp);
        }
        let echo = Echo {
            ident: u16::from_be_bytes([id_high, id_low]),
            sequence: u16::from_be_bytes([seq_high, seq_low]),
            payload,
        };
        self.lead_echo(now, offload, packet, echo)
    }

    fn lead_echo<'f>(
        &mut self,
        now: Instant,
        offload: Offload,
        packet: &Packet<'f>,
        echo: Echo<'f>,
    ) -> Result<Passage<'f>, Discard> {
        match self.config.policy.lead_echo(packet.target) {
            EchoLead::Gateway => self.answer_echo(packet, echo),
            EchoLead::Host(target) => self.pass_echo(now, packet, echo, target, packet.handling(offload)),
            EchoLead::Prohibited => {
                self.report(now, IcmpError::Prohibited, packet.source, packet.bytes);
                Err(Discard::Refused)
            }
            EchoLead::Nowhere => Err(Discard::Nowhere),
        }
    }

    fn answer_echo<'f>(
        &mut self,
        packet: &Packet<'f>,
        Echo {
            ident,
            sequence,
            payload,
        }: Echo<'f>,
    ) -> Result<Passage<'f>, Discard> {
        let link = self.link(packet.mac).ok_or(Discard::Spoofed)?;
        let reply =
            Datagram::echo_reply(packet.target, packet.source, ident, sequence, payload).ok_or(Discard::Malformed)?;
        let queued = reply.queue(link, &mut self.control);
        if queued { Ok(Passage::Done) } else { Err(Discard::Full) }
    }

    fn pass_echo<'f>(
        &mut self,
        now: Instant,
        packet: &Packet<'f>,
        message: Echo<'f>,
        target: IpAddr,
        handling: Handling,
    ) -> Result<Passage<'f>, Discard> {
        let echo = self
            .echo_mapping(now, packet.source, message.ident)
            .ok_or(Discard::Full)?;
        Ok(Passage::Echo {
            echo,
            target,
            sequence: message.sequence,
            payload: message.payload,
            handling,
        })
    }

    /// The mapping of a container's id, used now; made if there is none.
    fn echo_mapping(&mut self, now: Instant, container: IpAddr, ident: u16) -> Option<EchoId> {
        let key = (container, ident);
        if let Some(id) = self.echoes.find(&key) {
            self.echoes.get_mut(id)?.touch(now);
            return Some(EchoId(id));
        }
        let place = self.association_place(
            container,
            Kind::Echo,
            |engine| &mut engine.echoes,
            |engine, id| engine.close_echo(EchoId(id)),
        )?;
        let id = self.echoes.insert(now, container, place, key, ())?;
        let entry = self.echoes.get_mut(id)?;
        let at = entry.expiry(ECHO_LIFETIME);
        self.timers.arm(&mut entry.armed, Deadline::Echo(EchoId(id)), at);
        Some(EchoId(id))
    }

    pub(super) fn echo_timeout(&mut self, now: Instant, echo: EchoId) {
        let Some(entry) = self.echoes.get_mut(echo.0) else {
            return;
        };
        entry.armed = None;
        let at = entry.expiry(ECHO_LIFETIME);
        if at > now {
            self.timers.arm(&mut entry.armed, Deadline::Echo(echo), at);
        } else {
            self.close_echo(echo);
        }
    }

    pub(super) fn close_echo(&mut self, echo: EchoId) {
        if let Some(mut entry) = self.echoes.remove(echo.0) {
            self.timers.disarm(&mut entry.armed, Deadline::Echo(echo));
            self.actions.push_back(Action::CloseEcho { echo });
        }
    }
}

/// What an echo request of either family says.
#[derive(Debug, Clone, Copy)]
struct Echo<'f> {
    ident: u16,
    sequence: u16,
    payload: &'f [u8],
}

/// RFC 5508 REQ-2: no less than 60 seconds.
const ECHO_LIFETIME: Duration = Duration::from_secs(60);
