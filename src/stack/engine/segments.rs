//! The container's side of TCP flows: what becomes of a segment.
//!
//! A segment finds its flow by tuple, is judged ([`guard`](crate::stack::guard)) and shown to the flow's own smoltcp; then
//! the flow is settled. A bare SYN that finds no flow is held and asks the shell to connect; anything else that finds none
//! is reset, as RFC 9293 section 3.10.7.1 has it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{TcpControl, TcpPacket};

use super::Engine;
use crate::policy::{Lead, Transport};
use crate::stack::Offload;
use crate::stack::counters::Discard;
use crate::stack::device::Emitted;
use crate::stack::directory::Key;
use crate::stack::flow::{Flow, Held, Phase, Places, Tuple};
use crate::stack::frame::{ETHERNET_HEADER, IPV4_HEADER, Packet, write_ethernet};
use crate::stack::guard::Verdict;
use crate::stack::icmp::IcmpError;
use crate::stack::ipv6::{IPV6_HEADER, fix_length};
use crate::stack::segment::{Reply, Segment};
use crate::stack::tcp::REPLY_ROOM;
use crate::stack::timer::Deadline;
use crate::stack::types::{Action, Closing, FlowId, Passage, Target};

impl Engine {
    pub(super) fn receive_tcp(
        &mut self,
        now: Instant,
        offload: Offload,
        packet: &Packet<'_>,
    ) -> Result<Passage<'static>, Discard> {
        let view = packet.tcp(offload)?;
        let segment = Segment::of(&view);
        let endpoint = SocketAddr::new(packet.source, view.src_port());
        let tuple = Tuple {
            endpoint,
            our: SocketAddr::new(packet.target, view.dst_port()),
        };
        if let Some(id) = self.flows.find(&tuple) {
            self.continue_flow(now, id, &segment, packet, &view)?;
        } else if self.time_wait.get(&tuple).is_some() && !segment.opens() {
            self.repeat_last_ack(&tuple, &segment, packet)?;
        } else if let Some(shard) = self.directory.elsewhere(Key::Flow(tuple)) {
            return Ok(Passage::Elsewhere { shard });
        } else if segment.opens() {
            // The port of a connection in our TIME-WAIT is ours to open again.
            if let Some(shard) = self.newcomers.filter(|_| self.time_wait.get(&tuple).is_none()) {
                return Ok(Passage::Elsewhere { shard });
            }
            self.open_flow(now, tuple, &segment, packet, &view)?;
        } else {
            self.answer_stray(&tuple, &segment, packet)?;
        }
        Ok(Passage::Done)
    }

    /// No flow (RFC 9293 section 3.10.7.1). A SYN with flags that make no sense opens nothing.
    fn answer_stray(&mut self, tuple: &Tuple, segment: &Segment, packet: &Packet<'_>) -> Result<(), Discard> {
        self.refuse_segment(tuple, segment, packet);
        Err(Discard::Segment)
    }

    fn refuse_segment(&mut self, tuple: &Tuple, segment: &Segment, packet: &Packet<'_>) {
        let broadcast = packet.target == IpAddr::V4(Ipv4Addr::BROADCAST);
        let unicast = !packet.target.is_multicast() && !broadcast;
        if let Some(reset) = segment.refusal().filter(|_| unicast) {
            reset.send(&mut self.control, self.config.gateway_mac, packet.mac, tuple);
        }
    }

    fn open_flow(
        &mut self,
        now: Instant,
        tuple: Tuple,
        segment: &Segment,
        packet: &Packet<'_>,
        view: &TcpPacket<&[u8]>,
    ) -> Result<(), Discard> {
        let target = match self.config.policy.lead(Transport::Tcp, tuple.our) {
            Lead::Host(target) => Target::Host(target),
            Lead::Resolver => Target::Resolver { client: packet.source },
            Lead::Refused => {
                self.refuse_segment(&tuple, segment, packet);
                return Err(Discard::Refused);
            }
            Lead::Unreachable => {
                self.report(now, IcmpError::Network, packet.source, packet.bytes);
                return Err(Discard::Refused);
            }
            Lead::Prohibited => {
                self.report(now, IcmpError::Prohibited, packet.source, packet.bytes);
                return Err(Discard::Refused);
            }
            Lead::Nowhere => return Err(Discard::Nowhere),
        };
        let held = self.hold(now, segment, packet, view)?;
        let container = packet.source;
        if !self.has_room(now, container) {
            self.refuse_segment(&tuple, segment, packet);
            return Err(Discard::Full);
        }
        let half_open = Some(self.half_open_place(now, container).ok_or(Discard::Full)?);
        self.time_wait.remove(&tuple);
        let (until, handling) = (held.until, packet.handling(Offload::default()).of_connection());
        let places = Places { half_open, flow: None };
        let flow = self
            .flows
            .insert(now, tuple, packet.mac, Phase::Held(held), places)
            .map_err(|_| Discard::Full)?;
        if let Some(Flow {
            armed, handling: told, ..
        }) = self.flows.get_mut(flow)
        {
            *told = handling;
            self.timers.arm(armed, Deadline::Flow(flow), until);
        }
        self.counters.flows_out += 1;
        self.actions.push_back(Action::Connect { flow, target, handling });
        Ok(())
    }

    /// Keeps the headers of a SYN, if its options can be read.
    fn hold(
        &self,
        now: Instant,
        segment: &Segment,
        packet: &Packet<'_>,
        view: &TcpPacket<&[u8]>,
    ) -> Result<Held, Discard> {
        view.options_summary().map_err(|_| Discard::Malformed)?;
        let headers = packet.header + usize::from(view.header_len());
        let mut syn: Box<[u8]> = packet.bytes[..headers].into();
        // Data that came along is not kept: the length says so, and the container sends it again.
        fix_length(&mut syn);
        let ip = u16::try_from(if packet.source.is_ipv4() {
            IPV4_HEADER
        } else {
            IPV6_HEADER
        });
        let ours = self.config.mtu.saturating_sub(ip.unwrap_or(0) + TCP_HEADER);
        Ok(Held {
            syn,
            segment: *segment,
            mss: segment.takes().min(ours),
            until: now + CONNECT_PATIENCE,
        })
    }

    fn continue_flow(
        &mut self,
        now: Instant,
        id: FlowId,
        segment: &Segment,
        packet: &Packet<'_>,
        view: &TcpPacket<&[u8]>,
    ) -> Result<(), Discard> {
        match self.flows.get_mut(id).map(|flow| &mut flow.phase) {
            Some(Phase::Open(_)) => self.run_flow(now, id, segment, packet),
            Some(Phase::Held(held)) if segment.opens() => {
                // The same SYN again changes nothing; another one is a new attempt from the same port.
                if held.segment.seq != segment.seq {
                    let fresh = self.hold(now, segment, packet, view)?;
                    self.replace_held(id, fresh);
                }
                Ok(())
            }
            Some(Phase::Held(held)) if segment.rst && segment.seq.wrapping_sub(held.segment.seq) <= 1 => {
                self.close(id, Closing::Reset);
                Ok(())
            }
            Some(Phase::Held(_) | Phase::Over) | None => Err(Discard::Segment),
        }
    }

    fn replace_held(&mut self, id: FlowId, fresh: Held) {
        if let Some(Flow {
            phase: Phase::Held(held),
            ..
        }) = self.flows.get_mut(id)
        {
            *held = fresh;
        }
    }

    /// Shows a segment to the connection it belongs to.
    fn run_flow(&mut self, now: Instant, id: FlowId, segment: &Segment, packet: &Packet<'_>) -> Result<(), Discard> {
        let Some(Flow {
            phase: Phase::Open(connection),
            handling: told,
            mac,
            ..
        }) = self.flows.get_mut(id)
        else {
            return Err(Discard::Segment);
        };
        // It may have moved.
        *mac = packet.mac;
        if connection.told.reset {
            return Err(Discard::Segment);
        }
        let mut reply = [0; REPLY_ROOM];
        let verdict = connection.judge(segment);
        let handling = packet.handling(Offload::default()).of_connection();
        // A program may change its connection's class at any time (ssh does when it knows what it carries). An
        // acknowledgement that another processor of the container's kernel sent before may come after it.
        let heard = matches!(verdict, Verdict::Pass | Verdict::Amend(_)) && !connection.has_passed(segment);
        if heard && *told != handling {
            *told = handling;
            connection.note_other_handling();
            self.actions.push_back(Action::Handle { flow: id, handling });
        }
        let emitted = match verdict {
            Verdict::Pass => connection.receive(now, segment, packet.bytes, &mut reply),
            Verdict::Amend(amendment) => {
                amendment.apply(packet, &mut self.scratch);
                connection.receive(now, segment, &self.scratch, &mut reply)
            }
            Verdict::Challenge => {
                self.counters.challenges += 1;
                connection.challenge(now, &mut reply)
            }
            Verdict::Reset => {
                self.end_by_container(id);
                return Ok(());
            }
            Verdict::Ignore => return Err(Discard::Segment),
        };
        self.counters.turns += 1;
        if let Some(emitted) = emitted {
            self.queue_reply(id, &reply[..emitted.len]);
        }
        self.settle(now, id);
        Ok(())
    }

    /// smoltcp answers some segments at once, always without payload.
    fn queue_reply(&mut self, id: FlowId, packet: &[u8]) {
        let Some(Flow { mac, tuple, .. }) = self.flows.get_mut(id) else {
            return;
        };
        let (gateway, mac, uplink) = (self.config.gateway_mac, *mac, self.config.uplink);
        let mut frame = [0; ETHERNET_HEADER + REPLY_ROOM];
        let frame = &mut frame[..ETHERNET_HEADER + packet.len()];
        frame[ETHERNET_HEADER..].copy_from_slice(packet);
        write_ethernet(frame, gateway, mac, tuple.ethertype());
        let emitted = Emitted {
            len: packet.len(),
            segment: None,
        };
        let offload = emitted.seal(frame, uplink);
        self.control
            .push(offload, frame.len(), |out| out.copy_from_slice(frame));
    }

    fn repeat_last_ack(&mut self, tuple: &Tuple, segment: &Segment, packet: &Packet<'_>) -> Result<(), Discard> {
        let Some(last) = self.time_wait.get(tuple) else {
            return Err(Discard::Segment);
        };
        if segment.rst {
            // RFC 1337: a stray reset must not end TIME-WAIT early, but this container's own exact one may.
            if segment.seq == last.ack {
                self.time_wait.remove(tuple);
            }
            return Ok(());
        }
        if segment.fin || segment.len > 0 {
            let ack = Reply {
                control: TcpControl::None,
                seq: last.seq,
                ack: Some(last.ack),
                window: last.window,
            };
            ack.send(&mut self.control, self.config.gateway_mac, packet.mac, tuple);
        }
        Ok(())
    }
}

/// Bytes of a TCP header without options.
const TCP_HEADER: u16 = 20;

/// Longer than Linux tries to connect on the host side (tcp_syn_retries 6: 127 seconds), which reports by itself.
const CONNECT_PATIENCE: Duration = Duration::from_secs(150);
