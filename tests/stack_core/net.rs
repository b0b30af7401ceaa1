//! A bridge without a kernel: an engine, a clock that is set by hand, and frames written and read by hand.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};
use std::sync::{Arc, Mutex};

use gangplank::policy::HostAccess;
use gangplank::stack::{
    Action, Attachment, Common, Config, Directory, Engine, FlowId, Ipv6, Ledger as Accounts, Links, OUT_BYTES, Offload,
    Passage, Ring, RingId, RingMemory, RingSizes, Target, Transmit, UplinkCapabilities,
};
use gangplank::sys::mapping::Mappings;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol, Icmpv4Packet, Icmpv4Repr,
    IpProtocol, Ipv4Packet, Ipv4Repr, Ipv6Packet, Ipv6Repr, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber, UdpPacket,
    UdpRepr,
};

pub(crate) const GATEWAY_MAC: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 1]);
pub(crate) const GATEWAY: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 1);
pub(crate) const MAC: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 2]);
pub(crate) const ADDRESS: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 2);
pub(crate) const NEIGHBOUR_MAC: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 3]);
pub(crate) const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 3);
pub(crate) const OUTSIDE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 5);
pub(crate) const GATEWAY6: Ipv6Addr = Ipv6Addr::new(0xfd12, 0, 0, 0, 0, 0, 0, 1);
pub(crate) const ADDRESS6: Ipv6Addr = Ipv6Addr::new(0xfd12, 0, 0, 0, 0, 0, 0, 2);
pub(crate) const NEIGHBOUR6: Ipv6Addr = Ipv6Addr::new(0xfd12, 0, 0, 0, 0, 0, 0, 3);
pub(crate) const OUTSIDE6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 5);

/// An uplink that does nothing for us: frames can be read without a kernel.
pub(crate) const PLAIN: UplinkCapabilities = UplinkCapabilities {
    checksum: false,
    tso4: false,
    tso6: false,
    uso: false,
};
pub(crate) const OFFLOADING: UplinkCapabilities = UplinkCapabilities {
    checksum: true,
    tso4: true,
    tso6: true,
    uso: true,
};

/// The engine's initial sequence numbers are its own; the container's are chosen so that they wrap.
pub(crate) const CLIENT_ISN: u32 = 0xffff_fff0;

pub(crate) struct Net {
    pub(crate) engine: Engine,
    pub(crate) now: Instant,
    pub(crate) rings: Rings,
    out: Vec<u8>,
}

/// What the engine has asked of the memory for its rings.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) reserved: usize,
    pub(crate) given_back: Vec<RingId>,
    /// There is no more room.
    pub(crate) full: bool,
}

/// Real memory, which forgets what was in a ring that is given back; and a ledger of it.
#[derive(Debug, Default, Clone)]
pub(crate) struct Rings {
    mappings: Arc<Mutex<Mappings>>,
    ledger: Arc<Mutex<Ledger>>,
}

impl Rings {
    pub(crate) fn ledger(&self) -> std::sync::MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap()
    }

    pub(crate) fn reserved(&self) -> usize {
        self.ledger().reserved
    }

    /// How many were given back since the last question.
    pub(crate) fn given_back(&self) -> usize {
        std::mem::take(&mut self.ledger().given_back).len()
    }
}

impl RingMemory for Rings {
    fn reserve(&mut self, sizes: RingSizes) -> Option<[Ring; 2]> {
        let mut ledger = self.ledger();
        ledger.reserved += if ledger.full { 0 } else { 2 };
        let room = !ledger.full;
        drop(ledger);
        room.then(|| self.mappings.lock().unwrap().reserve(sizes))?
    }

    fn give_back(&mut self, ring: RingId) {
        self.ledger().given_back.push(ring);
        self.mappings.lock().unwrap().give_back(ring);
    }
}

impl Net {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    /// Two engines that serve one network together.
    pub(crate) fn shards() -> [Self; 2] {
        let mut directories = Directory::shared(2, [5, 6, 7, 8]).into_iter();
        let links = Links::new([9, 10, 11, 12]);
        std::array::from_fn(|_| Self::of(directories.next().unwrap(), None, links.clone(), |_| {}))
    }

    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::of(Directory::default(), None, Links::new([9, 10, 11, 12]), change)
    }

    /// A network of both families.
    pub(crate) fn with_ipv6(change: impl FnOnce(&mut Config)) -> Self {
        let mut net = Self::with(|config| {
            config.ipv6 = Some(Ipv6 {
                gateway: GATEWAY6,
                prefix: 64,
                autonomous: false,
            });
            change(config);
        });
        for (mac, address) in [(MAC, ADDRESS6), (NEIGHBOUR_MAC, NEIGHBOUR6)] {
            net.engine.attach(Attachment {
                mac,
                address: address.into(),
            });
        }
        net
    }

    /// One of several engines of a network, with the ledger of all.
    pub(crate) fn sharing(accounts: &Accounts, change: impl FnOnce(&mut Config)) -> Self {
        Self::of(
            Directory::default(),
            Some(accounts),
            Links::new([9, 10, 11, 12]),
            change,
        )
    }

    fn of(directory: Directory, accounts: Option<&Accounts>, links: Links, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new(GATEWAY_MAC, GATEWAY, 16, 1500, HostAccess::None, PLAIN);
        config.rings = RingSizes::each(65536);
        change(&mut config);
        let rings = Rings::default();
        let ledger = accounts.cloned().unwrap_or_else(|| Accounts::new(config.limits));
        let common = Common { ledger, links };
        let mut engine = Engine::shard(directory, &common, config, Box::new(rings.clone()), [1, 2, 3, 4]);
        engine.attach(Attachment {
            mac: MAC,
            address: ADDRESS.into(),
        });
        engine.attach(Attachment {
            mac: NEIGHBOUR_MAC,
            address: NEIGHBOUR.into(),
        });
        Self {
            engine,
            now: Instant::from_secs(1000),
            rings,
            out: vec![0; OUT_BYTES],
        }
    }

    pub(crate) fn pass<'f>(&mut self, frame: &'f [u8]) -> Passage<'f> {
        self.engine.handle_frame(self.now, Offload::default(), frame)
    }

    /// A frame that the engine keeps for itself.
    pub(crate) fn send(&mut self, frame: &[u8]) {
        assert_eq!(
            self.engine.handle_frame(self.now, Offload::default(), frame),
            Passage::Done
        );
    }

    /// A frame of which nothing is expected but that it ends.
    pub(crate) fn send_or_pass(&mut self, frame: &[u8]) {
        self.engine.handle_frame(self.now, Offload::default(), frame);
    }

    pub(crate) fn actions(&mut self) -> Vec<Action> {
        std::iter::from_fn(|| self.engine.poll_action()).collect()
    }

    pub(crate) fn frame(&mut self) -> Option<(Transmit, Vec<u8>)> {
        let transmit = self.engine.poll_transmit(self.now, &mut self.out)?;
        Some((transmit, transmit.frame(&self.out).to_vec()))
    }

    pub(crate) fn frames(&mut self) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| self.frame().map(|(_, frame)| frame))
            .take(100_000)
            .collect()
    }

    /// What `deliver` writes.
    pub(crate) fn deliver(
        &mut self,
        deliver: impl FnOnce(&mut Engine, Instant, &mut [u8]) -> Option<Transmit>,
    ) -> Option<(Transmit, Vec<u8>)> {
        let transmit = deliver(&mut self.engine, self.now, &mut self.out)?;
        Some((transmit, transmit.frame(&self.out).to_vec()))
    }

    /// The segments that come out.
    pub(crate) fn segments(&mut self) -> Vec<Seen> {
        self.frames()
            .iter()
            .map(|frame| Seen::read(frame).expect("a TCP segment"))
            .collect()
    }

    pub(crate) fn one_segment(&mut self) -> Seen {
        let mut segments = self.segments();
        assert_eq!(segments.len(), 1, "{segments:#?}");
        segments.remove(0)
    }

    /// The one acknowledgement that waits a moment for an answer to travel with, and travels alone.
    pub(crate) fn lone_acknowledgement(&mut self) -> Seen {
        assert_eq!(self.segments(), [], "it waits");
        let mut segments = self.wait(Duration::from_millis(1));
        assert_eq!(segments.len(), 1, "{segments:#?}");
        segments.remove(0)
    }

    pub(crate) fn pass_time(&mut self, duration: Duration) {
        self.now += duration;
    }

    /// Lets time pass from deadline to deadline, at most until `end`; stops when a frame or action comes.
    pub(crate) fn wait_until(&mut self, end: Instant) -> Vec<Seen> {
        for _ in 0..100_000 {
            match self.engine.poll_timeout() {
                Some(at) if at <= end => self.now = self.now.max(at),
                Some(_) | None => {
                    self.now = end;
                    return Vec::new();
                }
            }
            self.engine.handle_timeout(self.now);
            let segments = self.segments();
            if !segments.is_empty() {
                return segments;
            }
        }
        panic!("the engine asks to be woken without end");
    }

    /// Nothing is to be done before `duration` has passed.
    pub(crate) fn rests_for(&self, duration: Duration) -> bool {
        self.engine.poll_timeout().is_none_or(|at| at >= self.now + duration)
    }

    pub(crate) fn wait(&mut self, duration: Duration) -> Vec<Seen> {
        self.wait_until(self.now + duration)
    }

    /// Opens a flow from the container's `port` and leaves it established.
    pub(crate) fn open(&mut self, port: u16) -> Peer {
        self.open_from(ADDRESS, port)
    }

    /// The same from another container.
    pub(crate) fn open_from(&mut self, container: Ipv4Addr, port: u16) -> Peer {
        let peer = Peer::new(SocketAddrV4::new(container, port), SocketAddrV4::new(OUTSIDE, 80));
        self.send(&peer.syn());
        let target = Target::Host(SocketAddrV4::new(OUTSIDE, 80).into());
        let [
            Action::Connect {
                flow, target: asked, ..
            },
        ] = self.actions()[..]
        else {
            panic!("no connect")
        };
        assert_eq!(asked, target);
        self.engine.connected(self.now, flow);
        let answer = self.one_segment();
        assert!(
            answer.syn && answer.ack == Some(CLIENT_ISN.wrapping_add(1)),
            "{answer:?}"
        );
        let peer = Peer {
            flow,
            seq: CLIENT_ISN.wrapping_add(1),
            ack: answer.seq.wrapping_add(1),
            ..peer
        };
        self.send(&peer.segment().frame());
        assert_eq!(self.actions(), []);
        assert_eq!(self.segments(), []);
        peer
    }

    pub(crate) fn drain(&mut self, flow: FlowId) -> Vec<u8> {
        let mut all = Vec::new();
        while self.engine.drain(self.now, flow, |bytes| {
            all.extend_from_slice(bytes);
            bytes.len()
        }) > 0
        {}
        all
    }

    pub(crate) fn fill(&mut self, flow: FlowId, bytes: &[u8]) -> usize {
        self.engine.fill(self.now, flow, |room| {
            let len = room.len().min(bytes.len());
            room[..len].copy_from_slice(&bytes[..len]);
            len
        })
    }

    pub(crate) fn count(&self, name: &str) -> u64 {
        self.engine
            .counters()
            .pairs()
            .find(|(known, _)| *known == name)
            .expect("a counter of this name")
            .1
    }
}

/// The container's end of a connection, by hand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    pub(crate) flow: FlowId,
    pub(crate) own: SocketAddr,
    pub(crate) other: SocketAddr,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
}

impl Peer {
    pub(crate) fn new(own: SocketAddrV4, other: SocketAddrV4) -> Self {
        Self::between(own.into(), other.into())
    }

    pub(crate) fn between(own: SocketAddr, other: SocketAddr) -> Self {
        Self {
            flow: FlowId(u32::MAX),
            own,
            other,
            seq: CLIENT_ISN,
            ack: 0,
        }
    }

    /// An empty ACK, to be changed.
    pub(crate) fn segment(&self) -> Segment<'static> {
        Segment {
            peer: *self,
            control: TcpControl::None,
            seq: self.seq,
            ack: Some(self.ack),
            window: 65535,
            mss: None,
            scale: None,
            sack: false,
            payload: &[],
        }
    }

    pub(crate) fn syn(&self) -> Vec<u8> {
        Segment {
            control: TcpControl::Syn,
            ack: None,
            mss: Some(1460),
            scale: Some(7),
            sack: true,
            ..self.segment()
        }
        .frame()
    }

    pub(crate) fn data(&mut self, payload: &[u8]) -> Vec<u8> {
        let frame = Segment {
            payload,
            control: TcpControl::Psh,
            ..self.segment()
        }
        .frame();
        self.seq = self.seq.wrapping_add(payload.len() as u32);
        frame
    }

    pub(crate) fn fin(&mut self) -> Vec<u8> {
        let frame = Segment {
            control: TcpControl::Fin,
            ..self.segment()
        }
        .frame();
        self.seq = self.seq.wrapping_add(1);
        frame
    }

    pub(crate) fn rst(&self) -> Vec<u8> {
        Segment {
            control: TcpControl::Rst,
            ..self.segment()
        }
        .frame()
    }

    /// Takes note of a segment and acknowledges all of it.
    pub(crate) fn take(&mut self, seen: &Seen) -> Vec<u8> {
        assert_eq!(seen.seq, self.ack, "in order: {seen:?}");
        self.ack = seen.end();
        self.segment().frame()
    }
}

/// A segment of the container's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Segment<'p> {
    pub(crate) peer: Peer,
    pub(crate) control: TcpControl,
    pub(crate) seq: u32,
    pub(crate) ack: Option<u32>,
    pub(crate) window: u16,
    pub(crate) mss: Option<u16>,
    pub(crate) scale: Option<u8>,
    pub(crate) sack: bool,
    pub(crate) payload: &'p [u8],
}

impl Segment<'_> {
    pub(crate) fn frame(&self) -> Vec<u8> {
        let (own, other) = (self.peer.own, self.peer.other);
        let repr = TcpRepr {
            src_port: own.port(),
            dst_port: other.port(),
            control: self.control,
            seq_number: TcpSeqNumber(self.seq as i32),
            ack_number: self.ack.map(|ack| TcpSeqNumber(ack as i32)),
            window_len: self.window,
            window_scale: self.scale,
            max_seg_size: self.mss,
            sack_permitted: self.sack,
            sack_ranges: [None; 3],
            timestamp: None,
            payload: self.payload,
        };
        let mut body = vec![0; repr.buffer_len()];
        repr.emit(
            &mut TcpPacket::new_unchecked(&mut body[..]),
            &own.ip().into(),
            &other.ip().into(),
            &ChecksumCapabilities::default(),
        );
        match (own.ip(), other.ip()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => ipv4(mac_of(own), own, other, IpProtocol::Tcp, &body),
            (IpAddr::V6(own), IpAddr::V6(other)) => ipv6(own, other, IpProtocol::Tcp, 64, &body),
            (own, other) => panic!("{own} and {other} are not of one family"),
        }
    }
}

/// The containers' hardware addresses end like their addresses.
pub(crate) fn mac_of(container: Ipv4Addr) -> EthernetAddress {
    EthernetAddress([2, 0, 0, 0, 0, container.octets()[3]])
}

/// An IPv4 packet in a frame to the gateway.
pub(crate) fn ipv4(
    mac: EthernetAddress,
    source: Ipv4Addr,
    target: Ipv4Addr,
    protocol: IpProtocol,
    body: &[u8],
) -> Vec<u8> {
    let mut frame = vec![0; 34 + body.len()];
    ethernet(&mut frame, mac, GATEWAY_MAC, EthernetProtocol::Ipv4);
    let repr = Ipv4Repr {
        src_addr: source,
        dst_addr: target,
        next_header: protocol,
        payload_len: body.len(),
        hop_limit: 64,
    };
    repr.emit(
        &mut Ipv4Packet::new_unchecked(&mut frame[14..]),
        &ChecksumCapabilities::default(),
    );
    frame[34..].copy_from_slice(body);
    frame
}

/// An IPv6 packet of the container's in a frame to the gateway.
pub(crate) fn ipv6(source: Ipv6Addr, target: Ipv6Addr, protocol: IpProtocol, hop_limit: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; 54 + body.len()];
    ethernet(&mut frame, MAC, GATEWAY_MAC, EthernetProtocol::Ipv6);
    let repr = Ipv6Repr {
        src_addr: source,
        dst_addr: target,
        next_header: protocol,
        payload_len: body.len(),
        hop_limit,
    };
    repr.emit(&mut Ipv6Packet::new_unchecked(&mut frame[14..]));
    frame[54..].copy_from_slice(body);
    frame
}

pub(crate) fn ethernet(frame: &mut [u8], source: EthernetAddress, target: EthernetAddress, kind: EthernetProtocol) {
    let mut header = EthernetFrame::new_unchecked(frame);
    header.set_src_addr(source);
    header.set_dst_addr(target);
    header.set_ethertype(kind);
}

/// A segment of the engine's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) seq: u32,
    pub(crate) ack: Option<u32>,
    pub(crate) window: u16,
    pub(crate) syn: bool,
    pub(crate) fin: bool,
    pub(crate) rst: bool,
    pub(crate) mss: Option<u16>,
    pub(crate) payload: Vec<u8>,
}

impl Seen {
    /// Checks everything on the way that a kernel would check.
    pub(crate) fn read(frame: &[u8]) -> Option<Self> {
        let ethernet = EthernetFrame::new_checked(frame).unwrap();
        assert_eq!(ethernet.src_addr(), GATEWAY_MAC);
        let (source, target, protocol, payload) = read_ip(&ethernet);
        if protocol != IpProtocol::Tcp {
            return None;
        }
        let segment = TcpPacket::new_checked(payload).unwrap();
        assert!(segment.verify_checksum(&source.into(), &target.into()));
        Some(Self {
            from: SocketAddr::new(source, segment.src_port()),
            to: SocketAddr::new(target, segment.dst_port()),
            seq: segment.seq_number().0 as u32,
            ack: segment.ack().then(|| segment.ack_number().0 as u32),
            window: segment.window_len(),
            syn: segment.syn(),
            fin: segment.fin(),
            rst: segment.rst(),
            mss: segment.options_summary().unwrap().max_segment_size,
            payload: segment.payload().to_vec(),
        })
    }

    pub(crate) fn end(&self) -> u32 {
        self.seq
            .wrapping_add(self.payload.len() as u32 + u32::from(self.syn) + u32::from(self.fin))
    }
}

/// Who sends what to whom in a frame of the engine's.
fn read_ip<'f>(ethernet: &EthernetFrame<&'f [u8]>) -> (IpAddr, IpAddr, IpProtocol, &'f [u8]) {
    if ethernet.ethertype() == EthernetProtocol::Ipv6 {
        let packet = Ipv6Packet::new_checked(ethernet.payload()).unwrap();
        let (source, target) = (packet.src_addr().into(), packet.dst_addr().into());
        return (source, target, packet.next_header(), packet.payload());
    }
    let packet = Ipv4Packet::new_checked(ethernet.payload()).unwrap();
    assert!(packet.verify_checksum());
    let (source, target) = (packet.src_addr().into(), packet.dst_addr().into());
    (source, target, packet.next_header(), packet.payload())
}

/// After a change of the segment in `frame`.
pub(crate) fn fix_tcp_checksum(frame: &mut [u8]) {
    let packet = Ipv4Packet::new_unchecked(&frame[14..]);
    let (source, target) = (packet.src_addr().into(), packet.dst_addr().into());
    TcpPacket::new_unchecked(&mut frame[34..]).fill_checksum(&source, &target);
}

/// A UDP datagram from a container.
pub(crate) fn udp(own: SocketAddrV4, other: SocketAddrV4, payload: &[u8]) -> Vec<u8> {
    let mut body = vec![0; 8 + payload.len()];
    let repr = UdpRepr {
        src_port: own.port(),
        dst_port: other.port(),
    };
    let (source, target) = ((*own.ip()).into(), (*other.ip()).into());
    let write = |room: &mut [u8]| room.copy_from_slice(payload);
    let sums = ChecksumCapabilities::default();
    repr.emit(
        &mut UdpPacket::new_unchecked(&mut body[..]),
        &source,
        &target,
        payload.len(),
        write,
        &sums,
    );
    let mac = if *own.ip() == NEIGHBOUR { NEIGHBOUR_MAC } else { MAC };
    ipv4(mac, *own.ip(), *other.ip(), IpProtocol::Udp, &body)
}

/// An echo request from the container.
pub(crate) fn ping(target: Ipv4Addr, ident: u16, seq_no: u16, data: &[u8]) -> Vec<u8> {
    let repr = Icmpv4Repr::EchoRequest { ident, seq_no, data };
    let mut body = vec![0; repr.buffer_len()];
    repr.emit(
        &mut Icmpv4Packet::new_unchecked(&mut body[..]),
        &ChecksumCapabilities::default(),
    );
    ipv4(MAC, ADDRESS, target, IpProtocol::Icmp, &body)
}

/// A datagram of the engine's, checked as a kernel would: who to whom, and what.
pub(crate) fn read_udp(frame: &[u8]) -> (String, String, Vec<u8>) {
    let ethernet = EthernetFrame::new_checked(frame).unwrap();
    let packet = Ipv4Packet::new_checked(ethernet.payload()).unwrap();
    assert!(packet.verify_checksum());
    assert_eq!(packet.next_header(), IpProtocol::Udp);
    let datagram = UdpPacket::new_checked(packet.payload()).unwrap();
    assert!(datagram.verify_checksum(&packet.src_addr().into(), &packet.dst_addr().into()));
    let from = SocketAddrV4::new(packet.src_addr(), datagram.src_port());
    let to = SocketAddrV4::new(packet.dst_addr(), datagram.dst_port());
    (from.to_string(), to.to_string(), datagram.payload().to_vec())
}

/// An ARP packet in a frame.
pub(crate) fn arp(
    frame_source: EthernetAddress,
    sender: (EthernetAddress, Ipv4Addr),
    operation: ArpOperation,
    target: Ipv4Addr,
) -> Vec<u8> {
    let repr = ArpRepr::EthernetIpv4 {
        operation,
        source_hardware_addr: sender.0,
        source_protocol_addr: sender.1,
        target_hardware_addr: EthernetAddress([0; 6]),
        target_protocol_addr: target,
    };
    let mut frame = vec![0; 14 + repr.buffer_len()];
    ethernet(
        &mut frame,
        frame_source,
        EthernetAddress::BROADCAST,
        EthernetProtocol::Arp,
    );
    repr.emit(&mut ArpPacket::new_unchecked(&mut frame[14..]));
    frame
}
