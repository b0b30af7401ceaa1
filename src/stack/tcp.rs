//! One TCP connection to a container: a smoltcp interface for this flow alone, and a socket that it has while it lasts.
//!
//! smoltcp walks all sockets of an interface for every packet, so each flow has an interface of its own and is found by
//! our table. `Medium::Ip` over a wire of one packet; the interface has *our* address of the flow with a prefix of length
//! 0, so that everything is on link and no route is needed.
//!
//! What stands in front of smoltcp is in [`guard`](super::guard); this module runs the socket and reads from it what the
//! shell has to do. It knows nothing of tables, queues or other flows; the engine's `tcp` part calls it.
//!
//! Facts about smoltcp 0.14 that the code relies on: `may_recv` is false before ESTABLISHED too, so a peer that closed is
//! read from the state; a listening socket that is reset falls back to LISTEN; `recv_queue` counts bytes in order only,
//! which with the bytes drained gives RCV.NXT exactly.

use std::fmt;

use smoltcp::iface::{Config, Interface};
use smoltcp::socket::tcp::{Socket, State};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{HardwareAddress, IpCidr, TcpControl};

use super::device::{Abilities, Emitted, OnePacket};
use super::flow::{Held, LastAck, Tuple};
use super::ipv6::IPV6_HEADER;
use super::patience::Patience;
use super::rings::{RingedSocket, Sockets};
use super::segment::{BARE_PACKET, Reply, Segment, before, wire_endpoint};
use super::space::Space;

/// The connection.
pub(super) struct Connection {
    interface: Interface,
    socket: RingedSocket,
    abilities: Abilities,
    tuple: Tuple,
    /// What the shell has been told and has told us.
    pub(super) told: Told,
    /// Both directions of the sequence space, as far as the guard needs them.
    pub(super) space: Space,
    /// How long it waits for its container.
    patience: Patience,
    /// The acknowledgement that we owe may wait.
    ack_waits: bool,
    /// Until when the acknowledgement of the container's FIN waits for ours.
    fin_waits: Option<Instant>,
}

/// What has passed between shell and connection.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Told {
    /// The container opened it (and not we).
    pub(super) outbound: bool,
    /// The shell knows that it is established.
    pub(super) established: bool,
    /// The shell knows that bytes wait for the host.
    pub(super) drain: bool,
    /// The shell found no room and wants to know of some.
    pub(super) fill_wanted: bool,
    /// The shell knows that the container has finished.
    pub(super) finish: bool,
    /// Bytes that wait for the host and came before the shell is told of another handling; no more are lent until then.
    pub(super) former: Option<usize>,
    /// The host has finished.
    pub(super) host_finished: bool,
    /// The host's socket has failed: a reset follows what there is to send.
    pub(super) host_failed: bool,
    /// The container has reset it; the shell takes what there is to drain, and then the end.
    pub(super) reset: bool,
    /// It was called a second time.
    called_again: bool,
    /// Our FIN was asked of smoltcp.
    pub(super) closed: bool,
}

impl Connection {
    /// A connection that neither answers nor calls yet.
    pub(super) fn new(now: Instant, tuple: &Tuple, set_up: SetUp) -> Self {
        let SetUp {
            abilities,
            seed,
            socket,
        } = set_up;
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = seed;
        let mut interface = Interface::new(config, &mut OnePacket::new(abilities, None, &mut []), now);
        // There is room for one address, and it was empty: without it, neither `answer` nor `call` would succeed.
        interface.update_ip_addrs(|own| own.extend([IpCidr::new(tuple.our.ip().into(), 0)]));
        Self {
            interface,
            socket,
            abilities,
            tuple: *tuple,
            told: Told::default(),
            space: Space::default(),
            patience: Patience::new(now),
            ack_waits: false,
            fin_waits: None,
        }
    }

    /// Takes up the held SYN of the container: the answer leaves with the next transmission. Whether that can be.
    pub(super) fn answer(&mut self, now: Instant, held: &Held) -> bool {
        self.told.outbound = true;
        let our = wire_endpoint(self.tuple.our);
        if self.socket.get_mut().listen(our).is_err() {
            return false;
        }
        let ring = self.socket.get().recv_capacity();
        self.space.meet(&held.segment, ring);
        self.receive(now, &held.segment, &held.syn, &mut [0; REPLY_ROOM]);
        self.state() == State::SynReceived
    }

    /// Calls the container: the SYN leaves with the next transmission. Whether that can be.
    pub(super) fn call(&mut self) -> bool {
        let (our, endpoint) = (wire_endpoint(self.tuple.our), wire_endpoint(self.tuple.endpoint));
        let socket = self.socket.get_mut();
        socket.connect(self.interface.context(), endpoint, our).is_ok()
    }

    /// The container is in TIME-WAIT of an earlier connection between the same ports: it has answered our SYN with its last
    /// acknowledgement, and forgets about it by our reset. Otherwise the SYN would come again after a second.
    fn call_again(&mut self) {
        if !std::mem::replace(&mut self.told.called_again, true) {
            self.socket().abort();
            self.space = Space::default();
            self.call();
        }
    }

    /// The connection is over: its socket may serve another.
    pub(super) fn into_socket(self) -> RingedSocket {
        self.socket
    }

    /// Gives back the pages of rings that are empty and carry little. Whether there is reason to look again although
    /// nothing happens.
    pub(super) fn look_at_rings(&mut self, sockets: &mut Sockets) -> bool {
        let inward_empty = self.readable() == 0 && !self.space.has_gap(self.next_expected());
        let outward_empty = !self.is_owed();
        let inward = sockets.look_at(&mut self.socket.inward, inward_empty);
        let outward = sockets.look_at(&mut self.socket.outward, outward_empty);
        inward || outward
    }

    /// Some pages of its rings are its own.
    pub(super) fn has_pages(&self) -> bool {
        self.socket.has_pages()
    }

    /// Shows one packet to smoltcp; an immediate answer is written to `reply`, its length is returned.
    pub(super) fn receive(
        &mut self,
        now: Instant,
        segment: &Segment,
        packet: &[u8],
        reply: &mut [u8; REPLY_ROOM],
    ) -> Option<Emitted> {
        let before_it = self.state();
        self.choose_ack_delay(segment);
        let mut wire = OnePacket::new(self.abilities, Some(packet), reply);
        self.interface.poll_ingress_single(now, &mut wire, &mut self.socket.set);
        let emitted = wire.emitted();
        if let Some(emitted) = emitted {
            self.space.note_sent(&reply[..emitted.len]);
        }
        // A handshake has one patience from its beginning, whatever is said meanwhile.
        if self.is_established() {
            self.patience.renew(now);
        }
        self.socket.inward.note_written(segment.len as usize);
        if before_it == State::Established && self.state() == State::CloseWait && emitted.is_none() {
            self.fin_waits = Some(now + ACK_DELAY);
        }
        if before_it == State::SynSent && self.state() == State::SynSent && emitted.is_some() {
            self.call_again();
        }
        if before_it == State::SynSent && self.state() != State::SynSent {
            self.space.meet(segment, self.socket_ref().recv_capacity());
            self.abilities.segment = self.abilities.segment.min(segment.takes());
        }
        self.space.note_received(segment);
        emitted
    }

    /// In a conversation, where a short segment opens it or follows an answer of ours, the acknowledgement waits a moment
    /// for the next answer to travel with (RFC 9293 section 3.8.6.3 allows half a second); smoltcp does not let more than a
    /// segment's worth wait. Whoever sends much, or twice without an answer between, is acknowledged at once.
    fn choose_ack_delay(&mut self, segment: &Segment) {
        let next = self.next_expected();
        let owes_one = self.space.last_ack != next;
        if !owes_one {
            let full = u32::from(self.abilities.mtu.saturating_sub(self.tuple.headers()));
            let opens = self.told.outbound && next == self.space.peer_initial.wrapping_add(1);
            self.ack_waits = (opens || self.space.answered) && (1..full).contains(&segment.len);
        }
        let delay = self.ack_waits.then_some(ACK_DELAY);
        self.socket().set_ack_delay(delay);
    }

    /// Makes smoltcp send a challenge ACK (RFC 5961 section 3.2), at most one a second (section 7): it challenges an
    /// acknowledgement of what it never sent. Its own state stays in step, which a segment of our own making would break.
    pub(super) fn challenge(&mut self, now: Instant, reply: &mut [u8; REPLY_ROOM]) -> Option<Emitted> {
        let mut packet = [0; BARE_PACKET];
        let provocation = Reply {
            control: TcpControl::None,
            seq: self.next_expected(),
            ack: Some(self.space.sent.wrapping_add(NEVER_SENT)),
            window: 0,
        };
        let packet = provocation.write_from_endpoint(&self.tuple, &mut packet)?;
        let mut wire = OnePacket::new(self.abilities, Some(packet), reply);
        self.interface.poll_ingress_single(now, &mut wire, &mut self.socket.set);
        let emitted = wire.emitted()?;
        self.space.note_sent(&reply[..emitted.len]);
        Some(emitted)
    }

    /// Writes the next packet to `out`, if there is one to be sent now.
    pub(super) fn transmit(&mut self, now: Instant, out: &mut [u8]) -> Option<Emitted> {
        if self.rests() || self.held_back(now).is_some() {
            return None;
        }
        let mut wire = OnePacket::new(self.abilities, None, out);
        self.interface.poll_egress(now, &mut wire, &mut self.socket.set);
        let emitted = wire.emitted()?;
        self.fin_waits = None;
        self.space.note_sent(&out[..emitted.len]);
        Some(emitted)
    }

    /// Until when the acknowledgement of the container's FIN is all that there is to send: ours, which follows as a rule,
    /// takes it along. smoltcp delays the acknowledgement of bytes alone.
    fn held_back(&self, now: Instant) -> Option<Instant> {
        self.fin_waits
            .filter(|until| now < *until && !self.told.closed && !self.is_owed())
    }

    /// When smoltcp wants to be run again, a probe is due, or patience ends.
    pub(super) fn deadline(&mut self, now: Instant) -> Option<Instant> {
        if self.rests() {
            return Some(self.patience());
        }
        if let Some(until) = self.held_back(now) {
            return Some(until);
        }
        let mut wanted = self.interface.poll_at(now, &self.socket.set);
        if wanted.is_none() && self.is_established() && self.is_owed() {
            self.remind(now);
            wanted = self.interface.poll_at(now, &self.socket.set);
        }
        // smoltcp was run a moment ago: should it want to be run at once although it had nothing to send, it must wait.
        let wanted = wanted.map(|at| at.max(now + SHORTEST_WAIT));
        [wanted, self.next_probe(), Some(self.patience())]
            .into_iter()
            .flatten()
            .min()
    }

    /// Tells smoltcp again that the container's window is closed. When a retransmission falls due while the container's
    /// window is closed, smoltcp 0.14 sends nothing and starts no timer: it begins to probe the window only when it hears
    /// of it, and the container would have to speak first.
    fn remind(&mut self, now: Instant) {
        let acknowledgement = Reply {
            control: TcpControl::None,
            seq: self.next_expected(),
            ack: Some(self.space.acked),
            window: 0,
        };
        let mut packet = [0; BARE_PACKET];
        if let Some(packet) = acknowledgement.write_from_endpoint(&self.tuple, &mut packet) {
            let mut nothing = [0; REPLY_ROOM];
            let mut wire = OnePacket::new(self.abilities, Some(packet), &mut nothing);
            self.interface.poll_ingress_single(now, &mut wire, &mut self.socket.set);
        }
    }

    /// Nothing is left to say, only bytes for the host may wait. smoltcp must not be run then: at the end of its TIME-WAIT
    /// it would throw them away.
    fn rests(&self) -> bool {
        self.state() == State::TimeWait && self.space.last_ack == self.next_expected()
    }

    /// When the other side has been silent for too long.
    pub(super) fn patience(&self) -> Instant {
        self.patience.end(self.state(), self.is_owed())
    }

    /// A keep-alive (RFC 9293 section 3.8.4) if one is due: what was acknowledged last, one byte before what comes next.
    pub(super) fn probe(&mut self, now: Instant) -> Option<Reply> {
        self.next_probe().filter(|at| *at <= now)?;
        self.patience.note_probe();
        Some(Reply {
            control: TcpControl::None,
            seq: self.space.sent.wrapping_sub(1),
            ack: Some(self.space.last_ack),
            window: self.space.last_window,
        })
    }

    fn next_probe(&self) -> Option<Instant> {
        self.patience.next_probe(self.state(), self.is_owed())
    }

    /// The container has bytes to acknowledge.
    pub(super) fn is_owed(&self) -> bool {
        self.socket_ref().send_queue() > 0
    }

    /// What comes from now on is to be treated in another manner than what waits for the host.
    pub(super) fn note_other_handling(&mut self) {
        self.told.former.get_or_insert(self.socket.get().recv_queue());
    }

    /// Lends the bytes that wait for the host.
    pub(super) fn drain(&mut self, now: Instant, take: impl FnOnce(&[u8]) -> usize) -> Taken {
        let mut taken = Taken::default();
        let former = self.told.former;
        // An error means that nothing can be received, and so nothing waits.
        let _ = self.socket().recv(|bytes| {
            let bytes = &bytes[..former.map_or(bytes.len(), |former| former.min(bytes.len()))];
            taken.taken = if bytes.is_empty() {
                0
            } else {
                take(bytes).min(bytes.len())
            };
            taken.whole = taken.taken == bytes.len() && former != Some(0);
            (taken.taken, ())
        });
        self.told.former = former.map(|former| former - taken.taken);
        let drained = u32::try_from(taken.taken).unwrap_or(u32::MAX);
        self.space.drained = self.space.drained.wrapping_add(drained);
        if drained > 0 && matches!(self.state(), State::TimeWait | State::Closed) {
            self.patience.renew(now);
        }
        taken
    }

    /// Lends room for bytes of the host; returns how many were put there, none if there is no room.
    pub(super) fn fill(&mut self, now: Instant, put: impl FnOnce(&mut [u8]) -> usize) -> Option<usize> {
        if !self.takes_from_host() || !self.socket_ref().can_send() {
            return None;
        }
        let was_empty = !self.is_owed();
        let filled = self.socket().send(|room| {
            let filled = put(room).min(room.len());
            (filled, filled)
        });
        if was_empty {
            self.patience.renew(now);
        }
        self.socket.outward.note_written(filled.unwrap_or(0));
        filled.ok()
    }

    /// The host has neither finished nor failed.
    pub(super) fn takes_from_host(&self) -> bool {
        !self.told.host_finished && !self.told.host_failed
    }

    /// The host has finished; our FIN follows what is still in the ring, once the connection is established.
    pub(super) fn finish(&mut self, now: Instant) {
        self.told.host_finished = true;
        if self.is_established() {
            self.patience.renew(now);
        }
        self.close_if_due();
    }

    pub(super) fn close_if_due(&mut self) {
        if self.told.host_finished && !self.told.closed && self.is_established() && !self.would_be_deaf() {
            self.told.closed = true;
            self.socket().close();
        }
    }

    /// In LAST-ACK smoltcp 0.14 drops whatever acknowledges nothing new, and with it the news that a closed window has
    /// opened. So our FIN waits until the window takes all that is before it.
    fn would_be_deaf(&self) -> bool {
        self.state() == State::CloseWait && self.socket_ref().send_queue() > self.space.peer_window as usize
    }

    /// The handshake is done, whatever came after it.
    pub(super) fn is_established(&self) -> bool {
        !matches!(self.state(), State::Listen | State::SynSent | State::SynReceived)
    }

    /// The container has finished sending (and everything before its FIN is in the ring).
    pub(super) fn peer_finished(&self) -> bool {
        match self.state() {
            State::CloseWait | State::LastAck | State::Closing | State::TimeWait => true,
            // Resets never reach smoltcp, so a socket that is closed got there by LAST-ACK.
            State::Closed => self.told.closed,
            State::Listen | State::SynSent | State::SynReceived => false,
            State::Established | State::FinWait1 | State::FinWait2 => false,
        }
    }

    /// Our FIN is sent and all before it acknowledged.
    pub(super) fn owes_only_fin(&self) -> bool {
        let closing = matches!(self.state(), State::FinWait1 | State::Closing | State::LastAck);
        closing && !self.is_owed() && self.space.acked != self.space.sent
    }

    /// Bytes that wait for the host.
    pub(super) fn readable(&self) -> usize {
        self.socket_ref().recv_queue()
    }

    /// Bytes that the ring for the host has room for beyond those in order.
    pub(super) fn room(&self) -> u32 {
        let socket = self.socket_ref();
        u32::try_from(socket.recv_capacity() - socket.recv_queue()).unwrap_or(u32::MAX)
    }

    /// Whether there is room worth a read of the host's socket.
    pub(super) fn has_room(&self) -> bool {
        let socket = self.socket_ref();
        socket.may_send() && socket.send_capacity() - socket.send_queue() >= socket.send_capacity() / ROOM_WORTH_A_READ
    }

    pub(super) fn state(&self) -> State {
        self.socket_ref().state()
    }

    /// RCV.NXT, which smoltcp does not tell: what was received in order, the SYN and FIN counted.
    pub(super) fn next_expected(&self) -> u32 {
        let queued = u32::try_from(self.readable()).unwrap_or(u32::MAX);
        let flags = 1 + u32::from(self.peer_finished());
        self.space
            .peer_initial
            .wrapping_add(flags)
            .wrapping_add(self.space.drained)
            .wrapping_add(queued)
    }

    /// What came after this segment in its sender's order is here already.
    pub(super) fn has_passed(&self, segment: &Segment) -> bool {
        self.state() != State::SynSent && before(segment.end(), self.next_expected())
    }

    /// The segment that acknowledges everything, to be kept when the connection goes.
    pub(super) fn last_ack(&self, now: Instant) -> LastAck {
        LastAck::new(now, self.space.sent, self.next_expected(), self.space.last_window)
    }

    /// The reset that ends it (RFC 9293 section 3.10.5).
    pub(super) fn abortion(&self) -> Option<Reply> {
        if self.state() == State::SynSent {
            return None;
        }
        let ack = Some(self.next_expected());
        Some(Reply {
            control: TcpControl::Rst,
            seq: self.space.sent,
            ack,
            window: 0,
        })
    }

    fn socket(&mut self) -> &mut Socket<'static> {
        self.socket.get_mut()
    }

    fn socket_ref(&self) -> &Socket<'static> {
        self.socket.get()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("state", &self.state())
            .field("told", &self.told)
            .finish_non_exhaustive()
    }
}

/// What a connection is made with.
#[derive(Debug)]
pub(super) struct SetUp {
    pub(super) abilities: Abilities,
    /// Gives the initial sequence number.
    pub(super) seed: u64,
    /// Closed.
    pub(super) socket: RingedSocket,
}

/// What became of bytes that were lent.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Taken {
    pub(super) taken: usize,
    /// All that was lent was taken: the host's socket was not full.
    pub(super) whole: bool,
}

/// Bytes for an immediate answer of smoltcp's: headers with the largest set of options, never payload.
pub(super) const REPLY_ROOM: usize = IPV6_HEADER + 60;

/// Farther ahead than any ring reaches, and still ahead on the circle of sequence numbers.
const NEVER_SENT: u32 = 1 << 30;

/// Longer than a service on this machine or its network takes to answer, and too short to be felt: whoever waits for the
/// acknowledgement alone gets it after this.
const ACK_DELAY: Duration = Duration::from_millis(1);

/// Guards the shell's loop against spinning, whatever smoltcp answers.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);

/// A quarter of the ring: the rest keeps the container busy meanwhile, and reads of the host's socket stay large.
const ROOM_WORTH_A_READ: usize = 4;
