//! What both sides of TCP flows lead to: settling, turns to send, deadlines, ends.
//!
//! A flow is *settled* after whatever happened to it: what changed is told to the shell, and the flow queues for a turn.
//! So there is one place that reads a connection's state, and one that lets it send.

use std::net::IpAddr;

use smoltcp::socket::tcp::State;
use smoltcp::time::Instant;
use smoltcp::wire::TcpControl;

use super::Engine;
use crate::stack::device::Abilities;
use crate::stack::flow::{Flow, Phase, Tuple};
use crate::stack::frame::{ETHERNET_HEADER, MAX_FRAME, start_for, write_ethernet};
use crate::stack::rings::LOOK;
use crate::stack::segment::Reply;
use crate::stack::tcp::{Connection, SetUp};
use crate::stack::timer::Deadline;
use crate::stack::types::{Action, Closing, Config, FlowId, Transmit};

impl Engine {
    /// Gives flows their turns until one has a frame to send; it queues again behind the others.
    pub(super) fn transmit_flows(&mut self, now: Instant, out: &mut [u8]) -> Option<Transmit> {
        while let Some(id) = self.ready.pop_front() {
            if let Some(transmit) = self.transmit_flow(now, id, out) {
                return Some(transmit);
            }
        }
        None
    }

    fn transmit_flow(&mut self, now: Instant, id: FlowId, out: &mut [u8]) -> Option<Transmit> {
        let flow = self.flows.get_mut(id)?;
        flow.queued = false;
        let Phase::Open(connection) = &mut flow.phase else {
            return None;
        };
        self.counters.turns += 1;
        let start = start_for(ETHERNET_HEADER + usize::from(flow.tuple.headers()));
        let out = &mut out[start..start + MAX_FRAME];
        let Some(emitted) = connection.transmit(now, &mut out[ETHERNET_HEADER..]) else {
            if connection.told.host_failed {
                self.abort(id);
            } else if let Some(at) = connection.deadline(now) {
                self.timers.arm(&mut flow.armed, Deadline::Flow(id), at);
            }
            return None;
        };
        flow.queued = true;
        self.ready.push_back(id);
        write_ethernet(out, self.config.gateway_mac, flow.mac, flow.tuple.ethertype());
        let len = ETHERNET_HEADER + emitted.len;
        Some(Transmit {
            offload: emitted.seal(&mut out[..len], self.config.uplink),
            start,
            len,
        })
    }

    pub(super) fn flow_timeout(&mut self, now: Instant, id: FlowId) {
        let Some(flow) = self.flows.get_mut(id) else {
            return;
        };
        flow.armed = None;
        // What is said again may have gone to where its container is no longer.
        if let Some(container) = self.containers.get(flow.tuple.endpoint.ip()) {
            flow.mac = container.mac;
        }
        let until = match &flow.phase {
            Phase::Held(held) => held.until,
            Phase::Open(connection) => connection.patience(),
            Phase::Over => return,
        };
        if until <= now {
            self.abort(id);
        } else if matches!(flow.phase, Phase::Held(_)) {
            self.timers.arm(&mut flow.armed, Deadline::Flow(id), until);
        } else {
            self.probe(now, id);
            self.settle(now, id);
        }
    }

    /// Asks a silent container whether it is still there, if it is time.
    fn probe(&mut self, now: Instant, id: FlowId) {
        let Some(Flow {
            tuple,
            mac,
            phase: Phase::Open(connection),
            ..
        }) = self.flows.get_mut(id)
        else {
            return;
        };
        if let Some(probe) = connection.probe(now) {
            probe.send(&mut self.control, self.config.gateway_mac, *mac, tuple);
        }
    }

    pub(super) fn time_wait_timeout(&mut self, now: Instant) {
        self.time_wait.armed = None;
        self.time_wait.expire(now);
        self.arm_time_wait();
    }

    pub(super) fn look_timeout(&mut self, now: Instant, id: FlowId) {
        let Some(flow) = self.flows.get_mut(id) else {
            return;
        };
        flow.look = None;
        if let Phase::Open(connection) = &mut flow.phase
            && connection.look_at_rings(&mut self.sockets)
        {
            self.timers.arm(&mut flow.look, Deadline::Look(id), now + LOOK);
        }
    }

    /// Ends every flow of a container that has gone; nobody is there to be told. To the host, one that had said all ends well.
    pub(super) fn drop_flows_of(&mut self, container: IpAddr) {
        for id in self.flows.of_container(container) {
            match self.connection(id) {
                Some(connection) if connection.told.finish => self.close(id, Closing::Graceful),
                Some(_) | None => self.end_by_container(id),
            }
        }
    }

    /// Tells the shell what has changed about a flow and queues it for a turn.
    pub(super) fn settle(&mut self, now: Instant, id: FlowId) {
        let newly = |connection: &mut Connection| connection.is_established() && !connection.told.established;
        if self.connection(id).is_some_and(newly) && !self.establish(now, id) {
            return self.abort(id);
        }
        let Some(flow) = self.flows.get_mut(id) else {
            return;
        };
        let Phase::Open(connection) = &mut flow.phase else {
            return;
        };
        if connection.told.reset {
            return;
        }
        connection.close_if_due();
        announce(connection, id, |action| self.actions.push_back(action));
        match connection.state() {
            State::TimeWait if connection.told.finish => return self.enter_time_wait(now, id),
            State::Closed if connection.told.finish => return self.close(id, Closing::Graceful),
            State::Closed if !connection.told.closed => return self.close(id, Closing::Reset),
            State::Listen
            | State::SynSent
            | State::SynReceived
            | State::Established
            | State::FinWait1
            | State::FinWait2
            | State::CloseWait
            | State::Closing
            | State::LastAck
            | State::TimeWait
            | State::Closed => {}
        }
        if !flow.queued {
            flow.queued = true;
            self.ready.push_back(id);
        }
        if flow.look.is_none() && connection.has_pages() {
            self.timers.arm(&mut flow.look, Deadline::Look(id), now + LOOK);
        }
    }

    /// The socket goes at once; what is left is the last ACK, said now if it was not yet.
    fn enter_time_wait(&mut self, now: Instant, id: FlowId) {
        let Some(Flow {
            tuple,
            mac,
            phase: Phase::Open(connection),
            ..
        }) = self.flows.get_mut(id)
        else {
            return;
        };
        let last = connection.last_ack(now);
        if connection.space.last_ack != last.ack {
            let ack = Reply {
                control: TcpControl::None,
                seq: last.seq,
                ack: Some(last.ack),
                window: last.window,
            };
            ack.send(&mut self.control, self.config.gateway_mac, *mac, tuple);
        }
        let tuple = *tuple;
        self.close(id, Closing::Graceful);
        self.time_wait.insert(tuple, last);
        self.arm_time_wait();
    }

    fn arm_time_wait(&mut self) {
        if let Some(at) = self.time_wait.next() {
            self.timers.arm(&mut self.time_wait.armed, Deadline::TimeWait, at);
        }
    }

    /// Resets the container's side and ends the flow.
    pub(super) fn abort(&mut self, id: FlowId) {
        let Some(Flow { tuple, mac, phase, .. }) = self.flows.get_mut(id) else {
            return;
        };
        let reset = match phase {
            Phase::Held(held) => held.segment.refusal(),
            Phase::Open(connection) if connection.told.reset => None,
            Phase::Open(connection) => connection.abortion(),
            Phase::Over => return,
        };
        if let Some(reset) = reset {
            reset.send(&mut self.control, self.config.gateway_mac, *mac, tuple);
        }
        self.close(id, Closing::Reset);
    }

    /// The container has reset a flow. What it said before is the host's (a server that refuses a request without reading all
    /// of it says so, and resets): the flow ends when the shell takes the `Close`.
    pub(super) fn end_by_container(&mut self, id: FlowId) {
        match self.connection(id) {
            // Its `Close` is on the way, and must not come twice: the id may be another's by then.
            Some(connection) if connection.told.reset => {}
            Some(connection) if connection.readable() > 0 => {
                connection.told.reset = true;
                self.actions.push_back(Action::Drain { flow: id });
                self.actions.push_back(Action::Close {
                    flow: id,
                    how: Closing::Reset,
                });
            }
            Some(_) | None => self.close(id, Closing::Reset),
        }
    }

    /// Ends a flow.
    pub(super) fn close(&mut self, flow: FlowId, how: Closing) {
        let Some(phase) = self.flows.end(flow) else {
            return;
        };
        let mut told = false;
        if let Phase::Open(connection) = phase {
            told = connection.told.reset;
            self.sockets.put_back(connection.into_socket());
        }
        if let Some(Flow { armed, look, .. }) = self.flows.get_mut(flow) {
            self.timers.disarm(armed, Deadline::Flow(flow));
            self.timers.disarm(look, Deadline::Look(flow));
        }
        if !told {
            self.actions.push_back(Action::Close { flow, how });
        }
    }

    pub(super) fn connection(&mut self, flow: FlowId) -> Option<&mut Connection> {
        match &mut self.flows.get_mut(flow)?.phase {
            Phase::Open(connection) => Some(connection),
            Phase::Held(_) | Phase::Over => None,
        }
    }

    /// What a new connection with segments of `segment` bytes of payload needs; none if there is no memory for it.
    pub(super) fn set_up(&mut self, tuple: &Tuple, segment: u16) -> Option<SetUp> {
        let Config { mtu, uplink, .. } = self.config;
        Some(SetUp {
            abilities: Abilities {
                family: tuple.family(),
                mtu,
                segment,
                uplink,
            },
            seed: self.random.draw(),
            socket: self.sockets.take()?,
        })
    }
}

/// Reads from a connection what the shell has to know, and says it once.
fn announce(connection: &mut Connection, flow: FlowId, mut say: impl FnMut(Action)) {
    if !connection.told.established && connection.is_established() {
        connection.told.established = true;
        if !connection.told.outbound {
            say(Action::Established { flow });
        }
    }
    if !connection.told.drain && connection.readable() > 0 {
        connection.told.drain = true;
        say(Action::Drain { flow });
    }
    // Of whom nothing is taken any more, nothing is asked: a shell that looks again would be sent in circles.
    if connection.told.fill_wanted && connection.takes_from_host() && connection.has_room() {
        connection.told.fill_wanted = false;
        say(Action::Fill { flow });
    }
    if !connection.told.finish && connection.peer_finished() && connection.readable() == 0 {
        connection.told.finish = true;
        say(Action::Finish { flow });
    }
}
