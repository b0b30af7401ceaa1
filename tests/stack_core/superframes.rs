//! Superframes: what the uplink cuts into segments on its way to a container, over both families.

use std::net::SocketAddr;

use gangplank::stack::{Action, FlowId, GsoType, Offload, RingSizes, UplinkCapabilities};
use smoltcp::time::Duration;
use smoltcp::wire::{TcpControl, TcpPacket};

use crate::net::*;
use crate::sim::{Course, FAIR, Sim, V4, V6, Weather, tcp_start, text};

/// The segment size of a container's and the one that it is sent.
const V4_SIZES: [(u16, u16); 6] = [(1460, 1460), (1400, 1400), (9000, 1460), (536, 536), (0, 536), (1, 48)];
const V6_SIZES: [(u16, u16); 6] = [(1440, 1440), (1400, 1400), (9000, 1440), (536, 536), (0, 536), (1, 48)];

#[test]
fn superframes_are_whole_segments_and_fit_a_frame() {
    for (course, sizes) in [(V4, V4_SIZES), (V6, V6_SIZES)] {
        for (mss, expected) in sizes {
            let mut net = offloading();
            let (peer, flow) = open(&mut net, course, mss);
            let largest = send_much(&mut net, course, peer, flow, expected);
            assert_eq!(largest % usize::from(expected), 0, "mss {mss}: {largest}");
            let room = 65_535 - headers(course);
            assert!(largest > room - usize::from(expected), "mss {mss}: {largest}");
        }
    }
}

#[test]
fn a_container_that_is_called_says_what_it_takes_too() {
    for (course, sizes) in [(V4, V4_SIZES), (V6, V6_SIZES)] {
        for (mss, expected) in sizes {
            let mut net = offloading();
            let (peer, flow) = call(&mut net, course, mss);
            send_much(&mut net, course, peer, flow, expected);
        }
    }
}

#[test]
fn the_segment_size_that_is_announced_is_that_of_the_mtu() {
    for uplink in [PLAIN, OFFLOADING] {
        for (course, expected) in [(V4, 1460), (V6, 1440)] {
            for calls in [false, true] {
                let mut net = Net::with_ipv6(|config| config.uplink = uplink);
                if calls {
                    accept(&mut net, course);
                } else {
                    knock(&mut net, course, 9000);
                }
                let (transmit, frame) = net.frame().unwrap();
                let syn = TcpPacket::new_checked(&frame[tcp_start(&frame)..]).unwrap();
                assert!(syn.syn());
                assert_eq!(syn.options_summary().unwrap().max_segment_size, Some(expected));
                check_sums(transmit.offload, &frame);
            }
        }
    }
}

#[test]
fn no_superframes_where_the_kernel_does_not_cut_them() {
    let without_checksum = UplinkCapabilities {
        checksum: false,
        ..OFFLOADING
    };
    let without_tso4 = UplinkCapabilities {
        tso4: false,
        ..OFFLOADING
    };
    let without_tso6 = UplinkCapabilities {
        tso6: false,
        ..OFFLOADING
    };
    for (course, uplink) in [
        (V4, PLAIN),
        (V4, without_checksum),
        (V4, without_tso4),
        (V6, PLAIN),
        (V6, without_checksum),
        (V6, without_tso6),
    ] {
        let mut net = Net::with_ipv6(|config| config.uplink = uplink);
        let (_, flow) = open(&mut net, course, 9000);
        net.fill(flow, &[1; 50_000]);
        let mut sent = 0;
        while let Some((transmit, frame)) = net.frame() {
            assert!(frame.len() <= 1514);
            assert_eq!(transmit.offload.gso, None);
            assert_eq!(transmit.offload.partial_checksum.is_some(), uplink.checksum);
            check_sums(transmit.offload, &frame);
            sent += frame.len() - headers(course);
        }
        assert_eq!(sent, 50_000);
    }
}

#[test]
fn what_is_lost_of_superframes_is_sent_again() {
    let weather = Weather {
        loss: 30,
        delay: 50,
        repetition: 20,
    };
    let said = text(300_000, 1);
    for course in [V4, V6] {
        for (weather, seeds) in [(FAIR, 1..2), (weather, 1..6)] {
            for seed in seeds {
                for mut sim in [
                    Sim::outbound_on(offloading(), course, weather, seed),
                    Sim::inbound_on(offloading(), course, weather, seed),
                ] {
                    sim.exchange(&said, b"thanks");
                    sim.run(Duration::from_secs(60));
                    assert!(sim.container_received() == said, "{course:?}, seed {seed}");
                    assert!(sim.superframes > 0);
                }
            }
        }
    }
}

fn offloading() -> Net {
    Net::with_ipv6(|config| {
        config.uplink = OFFLOADING;
        config.rings = RingSizes::each(512 * 1024);
    })
}

/// Fills the flow and reads what comes of it: whole, in order, in superframes to be cut into segments of `expected` bytes.
/// The payload of the largest.
fn send_much(net: &mut Net, course: Course, peer: Peer, flow: FlowId, expected: u16) -> usize {
    net.fill(flow, &[1; 200_000]);
    let (mut seq, mut largest) = (peer.ack, 0);
    let kind = if course.container.is_ipv4() {
        GsoType::TcpV4
    } else {
        GsoType::TcpV6
    };
    while let Some((transmit, frame)) = net.frame() {
        assert!(frame.len() <= 65_535);
        check_sums(transmit.offload, &frame);
        let segment = TcpPacket::new_checked(&frame[tcp_start(&frame)..]).unwrap();
        assert_eq!(segment.seq_number().0 as u32, seq);
        let payload = segment.payload().len();
        if let Some(gso) = transmit.offload.gso {
            assert_eq!((gso.kind, gso.size, gso.ecn), (kind, expected, false));
            assert_eq!(usize::from(gso.headers), headers(course));
            assert!(payload > usize::from(expected));
        } else {
            assert!(payload <= usize::from(expected));
        }
        largest = largest.max(payload);
        seq = seq.wrapping_add(payload as u32);
    }
    assert_eq!(seq.wrapping_sub(peer.ack), 200_000);
    largest
}

/// Bytes before the payload of a frame.
fn headers(course: Course) -> usize {
    if course.container.is_ipv4() { 54 } else { 74 }
}

/// The container's SYN is answered, the answer not yet read.
fn knock(net: &mut Net, course: Course, mss: u16) -> (Peer, FlowId) {
    let own = SocketAddr::new(course.container, 4000);
    let peer = Peer::between(own, SocketAddr::new(course.outside, 80));
    let syn = Segment {
        control: TcpControl::Syn,
        ack: None,
        mss: Some(mss),
        scale: Some(7),
        ..peer.segment()
    };
    net.send(&syn.frame());
    let [Action::Connect { flow, .. }] = net.actions()[..] else {
        panic!("no connect")
    };
    net.engine.connected(net.now, flow);
    (peer, flow)
}

/// Opens a flow without reading checksums, with a window that holds everything.
fn open(net: &mut Net, course: Course, mss: u16) -> (Peer, FlowId) {
    let (peer, flow) = knock(net, course, mss);
    let (_, answer) = net.frame().unwrap();
    let peer = Peer {
        flow,
        seq: CLIENT_ISN.wrapping_add(1),
        ack: after_syn(&answer),
        ..peer
    };
    net.send(&peer.segment().frame());
    net.actions();
    (peer, flow)
}

/// A client of the host's calls, the SYN is not yet read.
fn accept(net: &mut Net, course: Course) -> FlowId {
    let client = SocketAddr::new(course.outside, 80);
    let container = SocketAddr::new(course.container, 4000);
    net.engine.accept(net.now, client, container).unwrap()
}

/// The same answered, with a window that holds everything.
fn call(net: &mut Net, course: Course, mss: u16) -> (Peer, FlowId) {
    let flow = accept(net, course);
    let (_, syn) = net.frame().unwrap();
    let own = SocketAddr::new(course.container, 4000);
    let mut peer = Peer {
        flow,
        ack: after_syn(&syn),
        ..Peer::between(own, SocketAddr::new(course.outside, 80))
    };
    let answer = Segment {
        control: TcpControl::Syn,
        mss: Some(mss),
        scale: Some(7),
        ..peer.segment()
    };
    net.send(&answer.frame());
    peer.seq = peer.seq.wrapping_add(1);
    net.frames();
    net.send(&peer.segment().frame());
    assert_eq!(net.actions(), [Action::Established { flow }]);
    (peer, flow)
}

/// What acknowledges the SYN in `frame`.
fn after_syn(frame: &[u8]) -> u32 {
    let at = tcp_start(frame) + 4;
    u32::from_be_bytes(frame[at..at + 4].try_into().unwrap()).wrapping_add(1)
}

/// The IP header says the right length. The checksum is right or, where it is left to the kernel, the sum over the
/// pseudo-header alone (virtio_net.h, CHECKSUM_PARTIAL).
fn check_sums(offload: Offload, frame: &[u8]) {
    let Some(partial) = offload.partial_checksum else {
        Seen::read(frame);
        return;
    };
    let start = tcp_start(frame);
    assert_eq!((usize::from(partial.start), partial.offset), (start, 16));
    let (length, addresses, counted) = if start == 54 {
        (18, 22..54, frame.len() - start)
    } else {
        (16, 26..34, frame.len() - 14)
    };
    let said = u16::from_be_bytes([frame[length], frame[length + 1]]);
    assert_eq!(usize::from(said), counted);
    let words = frame[addresses].chunks(2);
    let mut sum: u32 = words.map(|word| u32::from(word[0]) << 8 | u32::from(word[1])).sum();
    sum += 6 + (frame.len() - start) as u32;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    assert_eq!(u32::from(frame[start + 16]) << 8 | u32::from(frame[start + 17]), sum);
}
