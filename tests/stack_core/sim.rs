//! A simulated container: a TCP client or server that runs smoltcp itself, at the other end of a wire that may lose,
//! repeat and reorder frames. The host side takes and gives bytes at a pace of its own.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use gangplank::stack::{Action, Closing, FlowId, Offload, Passage};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{EthernetProtocol, HardwareAddress, IpAddress, IpCidr, Ipv4Packet, Ipv6Packet, TcpPacket};

use crate::net::*;

/// What the wire does to each frame, in permille.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Weather {
    pub(crate) loss: u32,
    pub(crate) repetition: u32,
    pub(crate) delay: u32,
}

pub(crate) const FAIR: Weather = Weather {
    loss: 0,
    repetition: 0,
    delay: 0,
};

/// The addresses of a container and of somebody outside.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Course {
    pub(crate) container: IpAddr,
    pub(crate) outside: IpAddr,
}

pub(crate) const V4: Course = Course {
    container: IpAddr::V4(ADDRESS),
    outside: IpAddr::V4(OUTSIDE),
};

pub(crate) const V6: Course = Course {
    container: IpAddr::V6(ADDRESS6),
    outside: IpAddr::V6(OUTSIDE6),
};

pub(crate) struct Sim {
    pub(crate) net: Net,
    container: Container,
    weather: Weather,
    random: u64,
    to_container: Wire,
    to_engine: Wire,
    /// What the host has to say, and what it heard.
    pub(crate) to_send: VecDeque<u8>,
    pub(crate) received: Vec<u8>,
    pub(crate) flow: Option<FlowId>,
    pub(crate) closed: Option<Closing>,
    pub(crate) container_finished: bool,
    finishes: bool,
    finish_told: bool,
    established: bool,
    /// Bytes that the host takes in one look, and that the container does.
    pub(crate) host_appetite: usize,
    pub(crate) container_appetite: usize,
    pub(crate) out_of_order_acks: usize,
    /// Frames that the wire had to cut.
    pub(crate) superframes: usize,
}

/// Frames on their way.
type Wire = VecDeque<(Instant, Vec<u8>)>;

impl Sim {
    /// A container that connects to a host.
    pub(crate) fn outbound(weather: Weather, seed: u64) -> Self {
        Self::outbound_on(Net::new(), V4, weather, seed)
    }

    /// The same on a network of the caller's.
    pub(crate) fn outbound_on(net: Net, course: Course, weather: Weather, seed: u64) -> Self {
        let mut sim = Self::new(net, course, weather, seed);
        let Container {
            interface,
            sockets,
            handle,
            ..
        } = &mut sim.container;
        let socket = sockets.get_mut::<Socket<'_>>(*handle);
        let own = (course.container, 4000);
        socket.connect(interface.context(), (course.outside, 80), own).unwrap();
        sim
    }

    /// A host that connects to a container.
    pub(crate) fn inbound(weather: Weather, seed: u64) -> Self {
        Self::inbound_on(Net::new(), V4, weather, seed)
    }

    /// The same on a network of the caller's.
    pub(crate) fn inbound_on(net: Net, course: Course, weather: Weather, seed: u64) -> Self {
        let mut sim = Self::new(net, course, weather, seed);
        let handle = sim.container.handle;
        sim.container.sockets.get_mut::<Socket<'_>>(handle).listen(80).unwrap();
        let client = SocketAddr::new(course.outside, 5555);
        let container = SocketAddr::new(course.container, 80);
        sim.flow = Some(sim.net.engine.accept(sim.net.now, client, container).unwrap());
        sim
    }

    fn new(net: Net, course: Course, weather: Weather, seed: u64) -> Self {
        let container = Container::new(net.now, course.container, seed);
        Self {
            net,
            container,
            weather,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            to_container: Wire::new(),
            to_engine: Wire::new(),
            to_send: VecDeque::new(),
            received: Vec::new(),
            flow: None,
            closed: None,
            container_finished: false,
            finishes: false,
            finish_told: false,
            established: false,
            host_appetite: usize::MAX,
            container_appetite: usize::MAX,
            out_of_order_acks: 0,
            superframes: 0,
        }
    }

    /// The host finishes when everything is sent, the container too.
    pub(crate) fn exchange(&mut self, from_host: &[u8], from_container: &[u8]) {
        self.to_send.extend(from_host);
        self.finishes = true;
        self.container.to_send.extend(from_container);
        self.container.finishes = true;
    }

    /// Both go on speaking.
    pub(crate) fn say(&mut self, from_host: &[u8], from_container: &[u8]) {
        self.to_send.extend(from_host);
        self.container.to_send.extend(from_container);
    }

    pub(crate) fn container_received(&self) -> &[u8] {
        &self.container.received
    }

    /// Runs until the flow is closed; panics if that takes longer than `limit`.
    pub(crate) fn run(&mut self, limit: Duration) {
        let end = self.net.now + limit;
        while self.closed.is_none() {
            assert!(
                self.net.now < end,
                "too slow: {:?}, {} received",
                self.container.state(),
                self.received.len()
            );
            self.step();
        }
        while !self.container.to_send.is_empty() || self.container.readable() {
            assert!(self.net.now < end, "the container is too slow");
            self.step();
        }
    }

    pub(crate) fn step(&mut self) {
        self.net.now += Duration::from_micros(500);
        let now = self.net.now;
        self.net.engine.handle_timeout(now);
        while let Some(frame) = arrived(&mut self.to_engine, now) {
            assert_eq!(
                self.net.engine.handle_frame(now, Offload::default(), &frame),
                Passage::Done
            );
        }
        self.act();
        self.host();
        self.act();
        while let Some((transmit, frame)) = self.net.frame() {
            self.superframes += usize::from(transmit.offload.gso.is_some());
            for frame in cut(transmit.offload, &frame) {
                self.carry(frame, true);
            }
        }
        while let Some(frame) = arrived(&mut self.to_container, now) {
            self.container.take(now, &frame);
        }
        self.container.run(now, self.container_appetite);
        for packet in std::mem::take(&mut self.container.device.sent) {
            let mut frame = vec![0; 14 + packet.len()];
            let kind = if packet[0] >> 4 == 6 {
                EthernetProtocol::Ipv6
            } else {
                EthernetProtocol::Ipv4
            };
            ethernet(&mut frame, MAC, GATEWAY_MAC, kind);
            frame[14..].copy_from_slice(&packet);
            self.carry(frame, false);
        }
    }

    fn act(&mut self) {
        for action in self.net.actions() {
            match action {
                Action::Connect { flow, .. } => {
                    self.flow = Some(flow);
                    self.net.engine.connected(self.net.now, flow);
                }
                Action::Established { .. } => self.established = true,
                Action::Finish { .. } => self.container_finished = true,
                Action::Close { how, .. } => {
                    self.closed = Some(how);
                    self.flow = None;
                }
                Action::Handle { .. } | Action::Drain { .. } | Action::Fill { .. } => {}
                Action::CloseMapping { .. } | Action::CloseEcho { .. } => {
                    panic!("no datagram was sent")
                }
            }
        }
    }

    fn host(&mut self) {
        let Some(flow) = self.flow else { return };
        let (appetite, received) = (self.host_appetite, &mut self.received);
        self.net.engine.drain(self.net.now, flow, |bytes| {
            let taken = bytes.len().min(appetite);
            received.extend_from_slice(&bytes[..taken]);
            taken
        });
        let waiting = self.to_send.make_contiguous();
        if !waiting.is_empty() {
            let sent = self.net.engine.fill(self.net.now, flow, |room| {
                let sent = room.len().min(waiting.len());
                room[..sent].copy_from_slice(&waiting[..sent]);
                sent
            });
            self.to_send.drain(..sent);
        } else if self.finishes && !self.finish_told {
            self.finish_told = true;
            self.net.engine.finished(self.net.now, flow);
        }
    }

    fn carry(&mut self, frame: Vec<u8>, to_container: bool) {
        let segment = &frame[tcp_start(&frame)..];
        if to_container && segment.len() > 20 && segment[12] >> 4 > 5 && segment[13] & 2 == 0 {
            self.out_of_order_acks += 1;
        }
        if self.chance(self.weather.loss) {
            return;
        }
        let times = 1 + usize::from(self.chance(self.weather.repetition));
        for _ in 0..times {
            let late = if self.chance(self.weather.delay) {
                self.draw() % 5000
            } else {
                0
            };
            let at = self.net.now + Duration::from_micros(100 + late);
            let wire = if to_container {
                &mut self.to_container
            } else {
                &mut self.to_engine
            };
            let place = wire.iter().position(|(other, _)| *other > at).unwrap_or(wire.len());
            wire.insert(place, (at, frame.clone()));
        }
    }

    fn chance(&mut self, permille: u32) -> bool {
        self.draw() % 1000 < u64::from(permille)
    }

    fn draw(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random >> 8
    }
}

pub(crate) fn text(len: usize, salt: u8) -> Vec<u8> {
    (0..len).map(|i| (i.wrapping_mul(31) >> 3) as u8 ^ salt).collect()
}

/// Says as many bytes each way, and checks that they arrive before `limit`.
pub(crate) fn exchange(mut sim: Sim, len: usize, limit: Duration) -> Sim {
    let (from_host, from_container) = (text(len, 1), text(len, 2));
    sim.exchange(&from_host, &from_container);
    sim.run(limit);
    assert_eq!(sim.closed, Some(Closing::Graceful));
    assert!(sim.container_finished);
    assert!(
        sim.received == from_container,
        "container to host: {} of {len}",
        sim.received.len()
    );
    assert!(
        sim.container_received() == from_host,
        "host to container: {} of {len}",
        sim.container_received().len()
    );
    sim
}

fn arrived(wire: &mut Wire, now: Instant) -> Option<Vec<u8>> {
    let due = wire.front().is_some_and(|(at, _)| *at <= now);
    due.then(|| wire.pop_front()).flatten().map(|(_, frame)| frame)
}

/// Where the segment begins in a frame without IP options.
pub(crate) fn tcp_start(frame: &[u8]) -> usize {
    if frame[12..14] == [0x86, 0xdd] { 54 } else { 34 }
}

/// What the kernel makes of a frame of the engine's: segments, each with its checksum.
fn cut(offload: Offload, frame: &[u8]) -> Vec<Vec<u8>> {
    if offload.partial_checksum.is_none() {
        return vec![frame.to_vec()];
    }
    let start = tcp_start(frame);
    let (headers, payload) = frame.split_at(start + 4 * usize::from(frame[start + 12] >> 4));
    let size = offload.gso.map_or(payload.len().max(1), |gso| usize::from(gso.size));
    let count = payload.len().div_ceil(size).max(1);
    let piece = |at: usize| {
        let part = &payload[at * size..payload.len().min((at + 1) * size)];
        let mut piece = [headers, part].concat();
        let mut segment = TcpPacket::new_unchecked(&mut piece[start..]);
        segment.set_seq_number(segment.seq_number() + at * size);
        if at + 1 < count {
            segment.set_psh(false);
            segment.set_fin(false);
        }
        fix_lengths_and_checksums(&mut piece);
        piece
    };
    (0..count).map(piece).collect()
}

fn fix_lengths_and_checksums(frame: &mut [u8]) {
    let (start, len) = (tcp_start(frame), frame.len() - 14);
    let ends: [IpAddress; 2] = if start == 54 {
        let mut packet = Ipv6Packet::new_unchecked(&mut frame[14..]);
        packet.set_payload_len(len as u16 - 40);
        [packet.src_addr().into(), packet.dst_addr().into()]
    } else {
        let mut packet = Ipv4Packet::new_unchecked(&mut frame[14..]);
        packet.set_total_len(len as u16);
        packet.fill_checksum();
        [packet.src_addr().into(), packet.dst_addr().into()]
    };
    TcpPacket::new_unchecked(&mut frame[start..]).fill_checksum(&ends[0], &ends[1]);
}

struct Container {
    interface: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    device: Queues,
    to_send: VecDeque<u8>,
    received: Vec<u8>,
    finishes: bool,
    last_ack: (Vec<u8>, bool),
}

impl Container {
    fn new(now: Instant, address: IpAddr, seed: u64) -> Self {
        let mut device = Queues::default();
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = seed;
        let mut interface = Interface::new(config, &mut device, now);
        interface.update_ip_addrs(|own| own.push(IpCidr::new(address.into(), 0)).unwrap());
        let mut sockets = SocketSet::new(vec![]);
        let ring = || SocketBuffer::new(vec![0; 100_000]);
        let handle = sockets.add(Socket::new(ring(), ring()));
        Self {
            interface,
            sockets,
            handle,
            device,
            to_send: VecDeque::new(),
            received: Vec::new(),
            finishes: false,
            last_ack: Default::default(),
        }
    }

    fn state(&self) -> State {
        self.sockets.get::<Socket<'_>>(self.handle).state()
    }

    /// The container's smoltcp has no guard in front: it forgets to repeat its FIN after three duplicate acknowledgements,
    /// so those are kept from it once only the FIN is outstanding.
    fn take(&mut self, now: Instant, frame: &[u8]) {
        let segment = &frame[tcp_start(frame)..];
        let ack = (segment[8..12].to_vec(), segment[13] == 0x10 && segment.len() == 20);
        let socket = self.sockets.get::<Socket<'_>>(self.handle);
        let only_fin =
            matches!(socket.state(), State::FinWait1 | State::Closing | State::LastAck) && socket.send_queue() == 0;
        if !(only_fin && ack.1 && self.last_ack == ack) {
            self.device.arrived.push_back(frame[14..].to_vec());
            self.interface
                .poll_ingress_single(now, &mut self.device, &mut self.sockets);
        }
        self.last_ack = ack;
    }

    fn readable(&self) -> bool {
        self.sockets.get::<Socket<'_>>(self.handle).can_recv()
    }

    fn run(&mut self, now: Instant, appetite: usize) {
        self.interface.poll(now, &mut self.device, &mut self.sockets);
        let socket = self.sockets.get_mut::<Socket<'_>>(self.handle);
        let received = &mut self.received;
        let _ = socket.recv(|bytes| {
            let taken = bytes.len().min(appetite);
            received.extend_from_slice(&bytes[..taken]);
            (taken, ())
        });
        if let Ok(sent) = socket.send_slice(self.to_send.make_contiguous()) {
            self.to_send.drain(..sent);
        }
        if self.finishes && self.to_send.is_empty() && socket.may_send() {
            socket.close();
        }
        self.interface.poll(now, &mut self.device, &mut self.sockets);
    }
}

#[derive(Default)]
struct Queues {
    arrived: VecDeque<Vec<u8>>,
    sent: VecDeque<Vec<u8>>,
}

impl Device for Queues {
    type RxToken<'t> = Arrived;
    type TxToken<'t> = Sent<'t>;

    fn receive(&mut self, _: Instant) -> Option<(Arrived, Sent<'_>)> {
        let packet = self.arrived.pop_front()?;
        Some((Arrived(packet), Sent(&mut self.sent)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Sent<'_>> {
        (self.sent.len() < 64).then_some(Sent(&mut self.sent))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = 1500;
        capabilities
    }
}

struct Arrived(Vec<u8>);

impl RxToken for Arrived {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

struct Sent<'t>(&'t mut VecDeque<Vec<u8>>);

impl TxToken for Sent<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut packet = vec![0; len];
        let result = f(&mut packet);
        self.0.push_back(packet);
        result
    }
}
