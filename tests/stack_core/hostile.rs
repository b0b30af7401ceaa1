//! Frames that nobody sends in good faith: cut short, impossible, mutated, and well-formed at the worst moment.
//!
//! Nothing may panic; debug builds check overflows and smoltcp's own assertions too. Everything is bounded and counted.

use std::net::SocketAddrV4;

use gangplank::stack::{
    Action, FlowId, Gso, GsoType, MappingId, Offload, PartialChecksum, Payload, PublishId, RingSizes, Unreachable,
};
use smoltcp::time::Duration;
use smoltcp::wire::{ArpOperation, IpProtocol, Ipv4Packet, TcpControl};

use crate::net::*;

/// A small generator, the same on every machine.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.roll(from.len() as u64) as usize]
    }
}

/// One valid frame of each kind.
fn valid_frames() -> Vec<Vec<u8>> {
    let own = SocketAddrV4::new(ADDRESS, 4000);
    let mut peer = Peer::new(own, SocketAddrV4::new(OUTSIDE, 80));
    let dns = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x04host\x05local\0\0\x01\0\x01";
    vec![
        arp(MAC, (MAC, ADDRESS), ArpOperation::Request, GATEWAY),
        peer.syn(),
        peer.data(b"GET / HTTP/1.0\r\n\r\n"),
        peer.fin(),
        peer.rst(),
        udp(own, SocketAddrV4::new(OUTSIDE, 9), b"datagram"),
        udp(own, SocketAddrV4::new(GATEWAY, 53), dns),
        udp(own, SocketAddrV4::new(GATEWAY, 99), b"refused"),
        ping(GATEWAY, 1, 1, b"abcdefgh"),
        ping(OUTSIDE, 1, 1, b"abcdefgh"),
        with_options(),
    ]
}

/// A SYN behind IP options, with every TCP option there is.
fn with_options() -> Vec<u8> {
    let own = SocketAddrV4::new(ADDRESS, 4001);
    let syn = Peer::new(own, SocketAddrV4::new(OUTSIDE, 80)).syn();
    let mut frame = syn[..34].to_vec();
    frame.extend([1, 7, 7, 4, 0, 0, 0, 0]);
    frame.extend(&syn[34..]);
    frame[14] = 0x47;
    let len = u16::try_from(frame.len() - 14).unwrap();
    frame[16..18].copy_from_slice(&len.to_be_bytes());
    Ipv4Packet::new_unchecked(&mut frame[14..]).fill_checksum();
    frame
}

fn vouched() -> Offload {
    Offload {
        verified: true,
        ..Offload::default()
    }
}

/// Shows a frame and does what a shell does; whatever comes of it must end.
fn show(net: &mut Net, offload: Offload, frame: &[u8]) {
    net.engine.handle_frame(net.now, offload, frame);
    net.actions();
    net.frames();
}

#[test]
fn every_length_of_every_valid_frame() {
    for (kind, frame) in valid_frames().iter().enumerate() {
        for len in 0..frame.len() {
            for offload in [Offload::default(), vouched()] {
                let mut net = Net::new();
                net.send(&frame[..len]);
                let dropped: u64 = net
                    .engine
                    .counters()
                    .pairs()
                    .filter(|(name, _)| name.starts_with("drop_"))
                    .map(|(_, n)| n)
                    .sum();
                assert_eq!(dropped, 1, "frame {kind} cut to {len} is counted once");
                assert!(
                    net.actions().is_empty() && net.frames().is_empty(),
                    "frame {kind} cut to {len}"
                );
                show(&mut net, offload, &frame[..len]);
            }
        }
    }
}

#[test]
fn every_length_with_headers_that_agree() {
    for frame in valid_frames().iter().filter(|frame| frame[12..14] == [8, 0]) {
        for len in 14 + 4 * usize::from(frame[14] & 15)..frame.len() {
            let mut net = Net::new();
            let mut cut = frame[..len].to_vec();
            cut[16..18].copy_from_slice(&u16::try_from(len - 14).unwrap().to_be_bytes());
            Ipv4Packet::new_unchecked(&mut cut[14..]).fill_checksum();
            net.send_or_pass(&cut);
            show(&mut net, vouched(), &cut);
        }
    }
}

#[test]
fn frames_with_padding_are_read_to_the_length_they_say() {
    let mut net = Net::new();
    let mut peer = net.open(4000);
    let mut frame = peer.data(b"x");
    frame.resize(2000, 0xee);
    net.send(&frame);
    assert_eq!(net.drain(peer.flow), b"x");
}

#[test]
fn ethernet_types() {
    let mut net = Net::new();
    for kind in (0..=u16::MAX)
        .step_by(7)
        .chain([0x8100, 0x88a8, 0x8847, 0x88cc, 0x888e, 0x86dd])
    {
        let mut frame = ping(OUTSIDE, 1, 1, b"abcdefgh");
        frame[12..14].copy_from_slice(&kind.to_be_bytes());
        show(&mut net, Offload::default(), &frame);
    }
    assert!(net.count("drop_ethertype") > 9000);
    assert_eq!(net.count("drop_ipv6"), 1);
}

#[test]
fn ipv4_headers() {
    let base = ping(OUTSIDE, 1, 1, &[0; 200]);
    let mut net = Net::new();
    for byte in 14..34 {
        for value in 0..=255 {
            let mut frame = base.clone();
            frame[byte] = value;
            if !matches!(byte, 24 | 25) && frame[14] & 15 >= 5 {
                Ipv4Packet::new_unchecked(&mut frame[14..]).fill_checksum();
            }
            show(&mut net, Offload::default(), &frame);
        }
    }
    for counter in [
        "drop_malformed",
        "drop_checksum",
        "drop_truncated",
        "drop_fragment",
        "drop_ttl",
        "drop_protocol",
        "drop_spoofed",
    ] {
        assert!(net.count(counter) > 0, "{counter}");
    }
}

#[test]
fn ports_of_zero() {
    let mut net = Net::new();
    let zero = SocketAddrV4::new(ADDRESS, 0);
    let (own, outside) = (SocketAddrV4::new(ADDRESS, 4000), SocketAddrV4::new(OUTSIDE, 80));
    let nowhere = SocketAddrV4::new(OUTSIDE, 0);
    for frame in [
        Peer::new(own, nowhere).syn(),
        Peer::new(zero, outside).syn(),
        udp(own, nowhere, b"x"),
        udp(zero, outside, b"x"),
    ] {
        net.send(&frame);
    }
    assert_eq!(net.count("drop_port_zero"), 4);
    assert!(net.actions().is_empty() && net.frames().is_empty());
    let container = SocketAddrV4::new(ADDRESS, 0).into();
    assert!(
        net.engine
            .accept(net.now, "198.51.100.7:1".parse().unwrap(), container)
            .is_err()
    );
    assert!(
        net.engine
            .accept(net.now, "198.51.100.7:0".parse().unwrap(), own.into())
            .is_ok(),
        "shown as the gateway"
    );
}

#[test]
fn udp_lengths() {
    let base = udp(
        SocketAddrV4::new(ADDRESS, 4000),
        SocketAddrV4::new(OUTSIDE, 9),
        &[0; 100],
    );
    for len in (0..=300).chain([65535]) {
        let mut net = Net::new();
        let mut frame = base.clone();
        frame[38..40].copy_from_slice(&u16::to_be_bytes(len));
        frame[40..42].fill(0);
        let passed = net.engine.handle_frame(net.now, vouched(), &frame) != gangplank::stack::Passage::Done;
        assert_eq!(passed, (8..=108).contains(&len), "{len}");
    }
}

#[test]
fn icmp_types_and_codes() {
    let mut net = Net::new();
    for kind in 0..=255u8 {
        for code in [0, 1, 3, 4, 255] {
            let mut message = vec![kind, code, 0, 0, 0, 1, 0, 1];
            message.extend(&udp(SocketAddrV4::new(ADDRESS, 1), SocketAddrV4::new(OUTSIDE, 2), b"quoted")[14..]);
            let sum = !smoltcp::wire::checksum::data(&message);
            message[2..4].copy_from_slice(&sum.to_be_bytes());
            show(
                &mut net,
                Offload::default(),
                &ipv4(MAC, ADDRESS, OUTSIDE, IpProtocol::Icmp, &message),
            );
        }
    }
    assert_eq!(net.count("drop_icmp"), 256 * 5 - 1);
}

#[test]
fn tcp_options() {
    for kind in 0..=255u8 {
        for len in [0, 1, 2, 3, 4, 10, 40, 255] {
            let mut frame = Peer::new(SocketAddrV4::new(ADDRESS, 4000), SocketAddrV4::new(OUTSIDE, 80)).syn();
            frame[54] = kind;
            frame[55] = len;
            fix_tcp_checksum(&mut frame);
            let mut net = Net::new();
            net.send(&frame);
            for action in net.actions() {
                let Action::Connect { flow, .. } = action else {
                    panic!("{action:?}")
                };
                net.engine.connected(net.now, flow);
                assert!(net.segments()[0].syn, "what is held can be answered");
            }
        }
    }
}

#[test]
fn segment_sizes_and_window_scales() {
    for mss in [0, 1, 47, 48, 536, 1460, 65535] {
        for scale in [0, 1, 14, 15, 255] {
            let mut net = Net::new();
            let peer = Peer::new(SocketAddrV4::new(ADDRESS, 4000), SocketAddrV4::new(OUTSIDE, 80));
            let syn = Segment {
                control: TcpControl::Syn,
                ack: None,
                mss: Some(mss),
                scale: Some(scale),
                ..peer.segment()
            };
            net.send(&syn.frame());
            let [Action::Connect { flow, .. }] = net.actions()[..] else {
                panic!()
            };
            net.engine.connected(net.now, flow);
            let mut peer = Peer {
                seq: CLIENT_ISN.wrapping_add(1),
                ack: net.one_segment().end(),
                flow,
                ..peer
            };
            net.send(&peer.segment().frame());
            net.fill(flow, &[1; 3000]);
            let mut got = 0;
            while let Some(seen) = net.segments().first().cloned() {
                assert!(!seen.payload.is_empty() && seen.payload.len() <= 1460);
                got += seen.payload.len();
                net.send(&peer.take(&seen));
                if got >= 3000 {
                    break;
                }
                while let Some(more) = net.segments().into_iter().find(|more| more.seq == peer.ack) {
                    got += more.payload.len();
                    net.send(&peer.take(&more));
                }
                if got >= 3000 {
                    break;
                }
                net.wait(Duration::from_secs(2));
            }
            assert!(got > 0, "mss {mss}, scale {scale}");
        }
    }
}

#[test]
fn initial_sequence_numbers_at_the_edges() {
    for isn in [0, 1, u32::MAX, u32::MAX - 1, 0x7fff_ffff, 0x8000_0000] {
        let mut net = Net::new();
        let mut peer = Peer {
            seq: isn,
            ..Peer::new(SocketAddrV4::new(ADDRESS, 4000), SocketAddrV4::new(OUTSIDE, 80))
        };
        net.send(&peer.syn());
        let [Action::Connect { flow, .. }] = net.actions()[..] else {
            panic!()
        };
        net.engine.connected(net.now, flow);
        let answer = net.one_segment();
        assert_eq!(answer.ack, Some(isn.wrapping_add(1)));
        peer = Peer {
            seq: isn.wrapping_add(1),
            ack: answer.end(),
            ..peer
        };
        net.send(&peer.data(b"abc"));
        assert_eq!(net.drain(flow), b"abc", "{isn:x}");
    }
}

#[test]
fn selective_acknowledgements_of_nonsense() {
    let mut net = Net::new();
    let peer = net.open(4000);
    net.fill(peer.flow, &[1; 5000]);
    net.frames();
    let ranges = [
        (0, u32::MAX),
        (u32::MAX, 0),
        (peer.ack, peer.ack),
        (peer.ack.wrapping_add(9), peer.ack),
        (peer.ack, 1 << 31),
    ];
    for (left, right) in ranges {
        let mut frame = peer.segment().frame();
        frame.extend([5, 10]);
        frame.extend(left.to_be_bytes());
        frame.extend(right.to_be_bytes());
        frame.extend([1, 1]);
        frame[46] = 0x80;
        frame[16..18].copy_from_slice(&52u16.to_be_bytes());
        Ipv4Packet::new_unchecked(&mut frame[14..]).fill_checksum();
        fix_tcp_checksum(&mut frame);
        show(&mut net, Offload::default(), &frame);
    }
    assert_eq!(net.count("drop_malformed") + net.count("drop_checksum"), 0);
}

#[test]
fn mutated_frames() {
    let frames = valid_frames();
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut net = Net::new();
    net.open(4000);
    for round in 0..120_000 {
        let mut frame = frames[dice.roll(frames.len() as u64) as usize].clone();
        for _ in 0..=dice.roll(4) {
            let place = dice.roll(frame.len() as u64) as usize;
            frame[place] = dice.roll(256) as u8;
        }
        match dice.roll(8) {
            0 => frame.truncate(dice.roll(frame.len() as u64 + 1) as usize),
            1 => frame.resize(dice.pick(&[0, 13, 14, 60, 1514, 1515]), 0),
            2 if dice.roll(500) == 0 => frame.resize(65_549, 0),
            _ => {}
        }
        if dice.roll(2) == 0
            && frame.len() >= 34
            && frame[14] & 15 >= 5
            && frame.len() >= 14 + 4 * usize::from(frame[14] & 15)
        {
            Ipv4Packet::new_unchecked(&mut frame[14..]).fill_checksum();
        }
        show(&mut net, offload(&mut dice), &frame);
        act(&mut net, &mut dice);
        assert_eq!(net.count("frames_in"), round + 3);
    }
}

/// A header of the kernel's, or of somebody who pretends to be one.
fn offload(dice: &mut Dice) -> Offload {
    let number = |dice: &mut Dice| dice.pick(&[0, 1, 14, 34, 54, 1460, 65535]);
    let kind = dice.pick(&[GsoType::TcpV4, GsoType::TcpV6, GsoType::UdpL4]);
    Offload {
        verified: dice.roll(2) == 0,
        partial_checksum: (dice.roll(3) == 0).then(|| PartialChecksum {
            start: number(dice),
            offset: number(dice),
        }),
        gso: (dice.roll(4) == 0).then(|| Gso {
            kind,
            size: number(dice),
            headers: number(dice),
            ecn: dice.roll(2) == 0,
        }),
        assembled: dice.roll(8) == 0,
    }
}

/// Anything a shell might do.
fn act(net: &mut Net, dice: &mut Dice) {
    let flow = FlowId(dice.roll(6) as u32);
    let why = dice.pick(&[
        Unreachable::Refused,
        Unreachable::Network,
        Unreachable::TimedOut,
        Unreachable::Exhausted,
    ]);
    match dice.roll(40) {
        0..3 => net.engine.connected(net.now, flow),
        3 => net.engine.refused(net.now, flow, why),
        4 => net.engine.finished(net.now, flow),
        5 => net.engine.reset(net.now, flow),
        6..9 => drop(net.drain(flow)),
        9..12 => drop(net.fill(flow, &[3; 5000])),
        12 => net.pass_time(Duration::from_millis(dice.roll(100_000))),
        13 => {
            let client = "127.0.0.1:7".parse().unwrap();
            let _ = net
                .engine
                .accept(net.now, client, SocketAddrV4::new(ADDRESS, 80).into());
        }
        14 => {
            let (client, container) = ("127.0.0.1:7".parse().unwrap(), SocketAddrV4::new(ADDRESS, 4000).into());
            net.deliver(|engine, now, out| {
                engine.deliver_published(now, PublishId(1), client, container, Payload::one(b"x"), out)
            });
        }
        15 => {
            let (mapping, from) = (MappingId(dice.roll(4) as u32), SocketAddrV4::new(OUTSIDE, 9).into());
            net.deliver(|engine, now, out| engine.deliver_datagram(now, mapping, from, Payload::one(&[0; 3000]), out));
        }
        _ => {}
    }
    net.engine.handle_timeout(net.now);
    net.actions();
    net.frames();
}

/// Well-formed segments of an open connection, with numbers around every edge, while the host does what it likes.
#[test]
fn segments_at_the_worst_moment() {
    for seed in 1..=40 {
        let mut dice = Dice(u64::wrapping_mul(seed, 0x1234_5678_9abc_def1));
        let ring = dice.pick(&[1024, 4096, 65536, 1 << 18]);
        let mut net = Net::with(|config| {
            config.rings = RingSizes::each(ring);
            config.uplink = if seed % 2 == 0 { PLAIN } else { OFFLOADING };
        });
        let outbound = dice.roll(3) > 0;
        let mut peer = Peer::new(SocketAddrV4::new(ADDRESS, 4000), SocketAddrV4::new(OUTSIDE, 80));
        peer.seq = dice.pick(&[0, u32::MAX - 2000, 0x7fff_ff00, 12345]);
        if outbound {
            let scale = dice.pick(&[None, Some(0), Some(7), Some(14)]);
            let syn = Segment {
                control: TcpControl::Syn,
                ack: None,
                scale,
                sack: true,
                ..peer.segment()
            };
            net.send(&syn.frame());
            net.actions();
            net.engine.connected(net.now, FlowId(0));
            peer.seq = peer.seq.wrapping_add(1);
        } else {
            net.engine
                .accept(net.now, SocketAddrV4::new(OUTSIDE, 80).into(), peer.own)
                .unwrap();
        }
        for _ in 0..1500 {
            disturb(&mut net, &mut dice, &mut peer, ring as u32);
        }
    }
}

fn disturb(net: &mut Net, dice: &mut Dice, peer: &mut Peer, ring: u32) {
    while let Some((_, frame)) = net.frame() {
        if frame.len() >= 54 && frame[23] == 6 && frame[47] & 4 == 0 {
            let seq = u32::from_be_bytes(frame[38..42].try_into().unwrap());
            let flags = u32::from(frame[47] & 1) + u32::from(frame[47] >> 1 & 1);
            peer.ack = seq.wrapping_add((frame.len() - 34 - usize::from(frame[46] >> 4) * 4) as u32 + flags);
            if frame[47] & 0x10 != 0 {
                peer.seq = u32::from_be_bytes(frame[42..46].try_into().unwrap());
            }
        }
    }
    let edges = [
        0,
        0,
        0,
        1,
        u32::MAX,
        ring - 1,
        ring,
        ring + 1,
        65535,
        65536,
        1 << 20,
        1 << 30,
        1 << 31,
        1 << 16 << 14,
        ring / 2,
    ];
    let payload = [0xabu8; 60_000];
    let len = if dice.roll(50) == 0 {
        60_000
    } else {
        dice.pick(&[0, 0, 1, 100, 300, 1460])
    };
    let control = match dice.roll(60) {
        0..3 => TcpControl::Syn,
        3 => TcpControl::Rst,
        4..8 => TcpControl::Fin,
        8..30 => TcpControl::Psh,
        _ => TcpControl::None,
    };
    let segment = Segment {
        control,
        seq: peer.seq.wrapping_add(dice.pick(&edges)),
        ack: (dice.roll(20) > 0).then(|| peer.ack.wrapping_add(dice.pick(&edges))),
        window: dice.pick(&[0, 1, 100, 65535]),
        payload: &payload[..len],
        ..peer.segment()
    };
    net.engine.handle_frame(net.now, vouched(), &segment.frame());
    act(net, dice);
}

/// Linux refuses such a header (virtio_net_hdr_to_skb, since 6.9); before that a frame could ask for 65,000 datagrams.
#[test]
fn a_superframe_holds_so_many_datagrams_and_no_more() {
    use gangplank::stack::Passage;
    for (size, taken) in [(1, false), (507, false), (508, true)] {
        let mut net = Net::new();
        let ends = ("172.17.0.2:5000".parse().unwrap(), "203.0.113.5:9".parse().unwrap());
        let frame = udp(ends.0, ends.1, &[7; 65_000]);
        let gso = Gso {
            kind: GsoType::UdpL4,
            size,
            headers: 42,
            ecn: false,
        };
        let offload = Offload {
            partial_checksum: Some(PartialChecksum { start: 34, offset: 6 }),
            gso: Some(gso),
            ..Offload::default()
        };
        let passage = net.engine.handle_frame(net.now, offload, &frame);
        assert_eq!(matches!(passage, Passage::Datagram { .. }), taken, "of {size} bytes");
    }
}
