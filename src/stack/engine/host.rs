//! The host's side of TCP flows: what the shell reports and what it moves.
//!
//! Each event ends in [`Engine::settle`], like each segment of a container's.

use std::net::SocketAddr;

use smoltcp::time::Instant;

use super::Engine;
use super::udp::canonical;
use crate::stack::directory::Key;
use crate::stack::flow::{Flow, Phase, Places, Tuple};
use crate::stack::icmp::IcmpError;
use crate::stack::tcp::Connection;
use crate::stack::types::{Closing, Fault, FlowId, Refusal, Unconnected, Unreachable};

impl Engine {
    /// An accepted host connection becomes a flow to `container`; loopback clients and clients inside the subnet appear
    /// as the gateway.
    pub fn accept(&mut self, now: Instant, client: SocketAddr, container: SocketAddr) -> Result<FlowId, Refusal> {
        self.expect(container.ip());
        let known = self.containers.get(container.ip()).filter(|_| container.port() != 0);
        let mac = known.ok_or(Refusal::NoContainer)?.mac;
        let flow = self.flow_place(now, container.ip()).ok_or(Refusal::Full)?;
        let half_open = Some(self.half_open_place(now, container.ip()).ok_or(Refusal::Full)?);
        let our = self.stand_in(canonical(client), container).ok_or(Refusal::NoPort)?;
        let tuple = Tuple {
            endpoint: container,
            our,
        };
        let set_up = self.set_up(&tuple, self.config.mtu.saturating_sub(tuple.headers()));
        let mut connection = Connection::new(now, &tuple, set_up.ok_or(Refusal::NoMemory)?);
        if !connection.call() {
            self.sockets.put_back(connection.into_socket());
            return Err(Refusal::NoPort);
        }
        self.time_wait.remove(&tuple);
        let phase = Phase::Open(Box::new(connection));
        let places = Places { half_open, flow };
        let id = match self.flows.insert(now, tuple, mac, phase, places) {
            Ok(id) => id,
            Err(phase) => {
                // Another shard has taken the stand-in at this very moment.
                if let Phase::Open(connection) = phase {
                    self.sockets.put_back(connection.into_socket());
                }
                return Err(Refusal::NoPort);
            }
        };
        self.counters.flows_in += 1;
        self.settle(now, id);
        Ok(id)
    }

    /// The host side of an outbound flow is connected: the container's SYN is answered.
    pub fn connected(&mut self, now: Instant, flow: FlowId) {
        let Some(Flow {
            tuple,
            phase: Phase::Held(held),
            ..
        }) = self.flows.get_mut(flow)
        else {
            return;
        };
        let (tuple, mss) = (*tuple, held.mss);
        let Some(place) = self.flow_place(now, tuple.endpoint.ip()) else {
            return self.refused(now, flow, Unreachable::Exhausted);
        };
        let Some(set_up) = self.set_up(&tuple, mss) else {
            return self.refused(now, flow, Unreachable::Exhausted);
        };
        let mut connection = Connection::new(now, &tuple, set_up);
        let Some(Flow { phase, .. }) = self.flows.get_mut(flow) else {
            return;
        };
        let answered = matches!(phase, Phase::Held(held) if connection.answer(now, held));
        if !answered {
            self.sockets.put_back(connection.into_socket());
            return self.refused(now, flow, Unreachable::Exhausted);
        }
        *phase = Phase::Open(Box::new(connection));
        if let Some(place) = place {
            self.flows.reserve(flow, place);
        }
        self.settle(now, flow);
    }

    /// The host side of an outbound flow could not be had: the container is told so, `Close` follows.
    pub fn refused(&mut self, now: Instant, flow: FlowId, why: impl Into<Unconnected>) {
        let Unconnected { fault, offender } = why.into();
        let Some(Flow {
            tuple,
            mac,
            phase: Phase::Held(held),
            ..
        }) = self.flows.get_mut(flow)
        else {
            return;
        };
        let refused = matches!(fault, Fault::Unreachable(Unreachable::Refused | Unreachable::Exhausted));
        if refused && let Some(reset) = held.segment.refusal() {
            reset.send(&mut self.control, self.config.gateway_mac, *mac, tuple);
        }
        // Of silence there is nothing to tell.
        if !refused && let Some(error) = IcmpError::for_fault(fault) {
            let (syn, container) = (std::mem::take(&mut held.syn), tuple.endpoint.ip());
            let reporter = offender.filter(|offender| self.is_showable(SocketAddr::new(*offender, 0)));
            self.report_as(reporter, now, error, container, &syn);
        }
        self.close(flow, Closing::Reset);
    }

    /// The host has finished sending (read returned 0).
    pub fn finished(&mut self, now: Instant, flow: FlowId) {
        if let Some(connection) = self.connection(flow) {
            connection.finish(now);
            self.settle(now, flow);
        }
    }

    /// The host socket failed or was reset: RST to the container, behind what the host had said before as far as the
    /// container's window takes it; the id is free after the Close action that follows.
    pub fn reset(&mut self, now: Instant, flow: FlowId) {
        match self.connection(flow) {
            Some(connection) if connection.is_established() && connection.is_owed() && !connection.told.reset => {
                connection.told.host_failed = true;
                self.settle(now, flow);
            }
            Some(_) | None => self.abort(flow),
        }
    }

    /// Lends the bytes waiting for the host, one contiguous part; `take` returns how many it took. Returns the same. 0
    /// when nothing waits.
    ///
    /// While `take` leaves something, the shell is to come back when the host's socket takes more. If it took all it was lent
    /// and more is waiting, [`Action::Drain`](crate::stack::Action::Drain) comes again, so a shell may look once for each
    /// action or loop until 0.
    pub fn drain(&mut self, now: Instant, flow: FlowId, take: impl FnOnce(&[u8]) -> usize) -> usize {
        let Some(connection) = self.connection(flow) else {
            return 0;
        };
        let taken = connection.drain(now, take);
        if taken.whole {
            connection.told.drain = false;
        }
        if taken.taken > 0 {
            self.flows.touch(now, flow);
        }
        if taken.taken > 0 || taken.whole {
            self.settle(now, flow);
        }
        taken.taken
    }

    /// Lends room for bytes of the host, one contiguous part; `put` returns how many it wrote. 0 when there is no room;
    /// then [`Action::Fill`](crate::stack::Action::Fill) follows when there is.
    pub fn fill(&mut self, now: Instant, flow: FlowId, put: impl FnOnce(&mut [u8]) -> usize) -> usize {
        let Some(connection) = self.connection(flow) else {
            return 0;
        };
        let filled = connection.fill(now, put);
        if filled.is_none() {
            connection.told.fill_wanted = true;
        }
        let filled = filled.unwrap_or(0);
        if filled > 0 {
            self.flows.touch(now, flow);
            self.settle(now, flow);
        }
        filled
    }

    /// The address that stands for the client, free with this container.
    fn stand_in(&mut self, client: SocketAddr, container: SocketAddr) -> Option<SocketAddr> {
        let candidates = self.candidates(client, container);
        candidates.into_iter().find(|our| {
            let tuple = Tuple {
                endpoint: container,
                our: *our,
            };
            self.flows.find(&tuple).is_none() && self.directory.elsewhere(Key::Flow(tuple)).is_none()
        })
    }
}
