//! IPv6: neighbour discovery, echoes, datagrams and connections, and what is turned away.

use std::net::{Ipv6Addr, SocketAddr};

use gangplank::stack::{Action, ClientSocket, Passage, Payload, Unreachable};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    EthernetAddress, Icmpv6Packet, IpAddress, IpProtocol, Ipv6Packet, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber,
    UdpPacket,
};

use crate::net::*;

const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const OWN_LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x77);

fn net() -> Net {
    Net::with_ipv6(|_| {})
}

fn icmp(source: Ipv6Addr, target: Ipv6Addr, hop_limit: u8, message: &[u8]) -> Vec<u8> {
    let mut message = message.to_vec();
    Icmpv6Packet::new_unchecked(&mut message[..]).fill_checksum(&source, &target);
    ipv6(source, target, IpProtocol::Icmpv6, hop_limit, &message)
}

fn udp6(source: Ipv6Addr, target: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let SocketAddr::V6(target) = target else {
        panic!("of IPv6")
    };
    let len = 8 + payload.len() as u16;
    let mut body = [
        &5000_u16.to_be_bytes()[..],
        &target.port().to_be_bytes(),
        &len.to_be_bytes(),
        &[0, 0],
        payload,
    ]
    .concat();
    let ends: [IpAddress; 2] = [source.into(), (*target.ip()).into()];
    UdpPacket::new_unchecked(&mut body[..]).fill_checksum(&ends[0], &ends[1]);
    ipv6(source, *target.ip(), IpProtocol::Udp, 64, &body)
}

fn tcp6(control: TcpControl, seq: u32, ack: Option<u32>, payload: &[u8]) -> Vec<u8> {
    let repr = TcpRepr {
        src_port: 4000,
        dst_port: 80,
        control,
        seq_number: TcpSeqNumber(seq as i32),
        ack_number: ack.map(|ack| TcpSeqNumber(ack as i32)),
        window_len: 65535,
        window_scale: None,
        max_seg_size: (control == TcpControl::Syn).then_some(1440),
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload,
    };
    let mut body = vec![0; repr.buffer_len()];
    let ends: [IpAddress; 2] = [ADDRESS6.into(), OUTSIDE6.into()];
    let sums = ChecksumCapabilities::default();
    repr.emit(&mut TcpPacket::new_unchecked(&mut body[..]), &ends[0], &ends[1], &sums);
    ipv6(ADDRESS6, OUTSIDE6, IpProtocol::Tcp, 64, &body)
}

/// The segment in a frame of the engine's: its checksum is right.
fn read_tcp(frame: &[u8]) -> TcpPacket<&[u8]> {
    let packet = Ipv6Packet::new_checked(&frame[14..]).unwrap();
    assert_eq!((packet.src_addr(), packet.dst_addr()), (OUTSIDE6, ADDRESS6));
    assert_eq!(&frame[12..14], [0x86, 0xdd]);
    let segment = TcpPacket::new_checked(&frame[54..]).unwrap();
    assert!(segment.verify_checksum(&OUTSIDE6.into(), &ADDRESS6.into()));
    segment
}

/// The ICMPv6 message in a frame of the engine's: who says it, and what.
fn read_icmp(frame: &[u8]) -> (Ipv6Addr, Ipv6Addr, Vec<u8>) {
    let packet = Ipv6Packet::new_checked(&frame[14..]).unwrap();
    let message = Icmpv6Packet::new_checked(packet.payload()).unwrap();
    assert!(message.verify_checksum(&packet.src_addr(), &packet.dst_addr()));
    (packet.src_addr(), packet.dst_addr(), packet.payload().to_vec())
}

fn solicitation(target: Ipv6Addr, options: &[u8]) -> Vec<u8> {
    [&[135, 0, 0, 0, 0, 0, 0, 0], &target.octets()[..], options].concat()
}

fn link_layer(mac: EthernetAddress) -> Vec<u8> {
    [&[1, 1][..], &mac.0].concat()
}

#[test]
fn without_ipv6_everything_of_it_is_dropped() {
    let mut net = Net::new();
    net.send(&icmp(ADDRESS6, GATEWAY6, 64, &[128, 0, 0, 0, 0, 1, 0, 1]));
    assert_eq!((net.frames(), net.count("drop_ipv6")), (vec![], 1));
}

#[test]
fn both_addresses_of_the_gateway_are_answered_for() {
    let mut net = net();
    for (source, target) in [
        (ADDRESS6, GATEWAY6),
        (OWN_LINK_LOCAL, LINK_LOCAL),
        (ADDRESS6, LINK_LOCAL),
    ] {
        net.send(&icmp(source, target, 255, &solicitation(target, &link_layer(MAC))));
        let frame = net.frames().remove(0);
        assert_eq!(frame[21], 255, "hop limit");
        let (from, to, message) = read_icmp(&frame);
        assert_eq!((from, to), (target, source));
        let expected = [
            &[136, 0][..],
            &message[2..4],
            &[0xe0, 0, 0, 0],
            &target.octets(),
            &[2, 1],
            &GATEWAY_MAC.0,
        ];
        assert_eq!(message, expected.concat());
    }
}

#[test]
fn a_probe_for_a_duplicate_is_answered_to_all() {
    let mut net = net();
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 1);
    let mut probe = icmp(Ipv6Addr::UNSPECIFIED, group, 255, &solicitation(GATEWAY6, &[]));
    probe[..6].copy_from_slice(&[0x33, 0x33, 0xff, 0, 0, 1]);
    net.send(&probe);
    let frame = net.frames().remove(0);
    assert_eq!(frame[..6], [0x33, 0x33, 0, 0, 0, 1]);
    let (_, to, message) = read_icmp(&frame);
    assert_eq!((to, message[4]), ("ff02::1".parse().unwrap(), 0xa0));
}

#[test]
fn neighbour_discovery_that_is_not_answered() {
    let of = |source, hop_limit, message: &[u8]| icmp(source, GATEWAY6, hop_limit, message);
    let proper = solicitation(GATEWAY6, &link_layer(MAC));
    let mut wrong_sum = of(ADDRESS6, 255, &proper);
    wrong_sum[57] ^= 1;
    let table = [
        ("from afar", of(ADDRESS6, 64, &proper), "drop_malformed"),
        ("wrong checksum", wrong_sum, "drop_checksum"),
        ("as a neighbour", of(NEIGHBOUR6, 255, &proper), "drop_spoofed"),
        ("as the gateway", of(LINK_LOCAL, 255, &proper), "drop_spoofed"),
        (
            "with another's hardware",
            of(ADDRESS6, 255, &solicitation(GATEWAY6, &link_layer(NEIGHBOUR_MAC))),
            "drop_spoofed",
        ),
        (
            "for a neighbour",
            of(ADDRESS6, 255, &solicitation(NEIGHBOUR6, &[])),
            "drop_neighbour",
        ),
        (
            "option of length 0",
            of(ADDRESS6, 255, &solicitation(GATEWAY6, &[1, 0, 0, 0, 0, 0, 0, 0])),
            "drop_malformed",
        ),
        ("cut short", of(ADDRESS6, 255, &proper[..20]), "drop_truncated"),
        (
            "probe with hardware",
            of(Ipv6Addr::UNSPECIFIED, 255, &proper),
            "drop_malformed",
        ),
        (
            "an advertisement",
            of(ADDRESS6, 255, &[&[136], &proper[1..]].concat()),
            "drop_neighbour",
        ),
        ("a router's", of(ADDRESS6, 255, &[134; 16]), "drop_neighbour"),
    ];
    for (what, frame, counter) in table {
        let mut net = net();
        net.send(&frame);
        assert_eq!((net.frames(), net.count(counter)), (vec![], 1), "{what}");
    }
}

#[test]
fn echoes_to_the_gateway_and_out() {
    let mut net = net();
    for source in [ADDRESS6, OWN_LINK_LOCAL] {
        net.send(&icmp(source, LINK_LOCAL, 64, &[128, 0, 0, 0, 0, 7, 0, 1, b'x']));
        let (from, to, message) = read_icmp(&net.frames().remove(0));
        assert_eq!((from, to), (LINK_LOCAL, source));
        assert_eq!((message[0], &message[4..]), (129, &[0, 7, 0, 1, b'x'][..]));
    }
    let request = icmp(ADDRESS6, OUTSIDE6, 64, &[128, 0, 0, 0, 0, 7, 0, 9, b'y']);
    let Passage::Echo {
        echo, target, sequence, ..
    } = net.pass(&request)
    else {
        panic!("no echo")
    };
    assert_eq!((target, sequence), (OUTSIDE6.into(), 9));
    let (_, reply) = net
        .deliver(|engine, now, out| engine.deliver_echo(now, echo, OUTSIDE6.into(), 9, b"y", out))
        .unwrap();
    let (from, to, message) = read_icmp(&reply);
    assert_eq!((from, to, &message[4..]), (OUTSIDE6, ADDRESS6, &[0, 7, 0, 9, b'y'][..]));
}

#[test]
fn datagrams_out_and_back_in_fragments_too() {
    let mut net = net();
    let target = SocketAddr::new(OUTSIDE6.into(), 53);
    let frame = udp6(ADDRESS6, target, b"hello");
    let Passage::Datagram {
        socket: ClientSocket::Mapping { id, .. },
        target: asked,
        payload,
        ..
    } = net.pass(&frame)
    else {
        panic!("no datagram")
    };
    assert_eq!((asked, payload), (target, &b"hello"[..]));
    let answer = vec![7; 3000];
    let (_, first) = net
        .deliver(|engine, now, out| engine.deliver_datagram(now, id, target, Payload::one(&answer), out))
        .unwrap();
    let mut frames = vec![first];
    frames.extend(net.frames());
    let mut body = Vec::new();
    for (at, frame) in frames.iter().enumerate() {
        assert!(frame.len() <= 1514 && frame[20] == 44 && frame[54] == 17, "a fragment");
        let place = u16::from_be_bytes([frame[56], frame[57]]);
        assert_eq!(
            (usize::from(place & !7), place & 1 == 1),
            (body.len(), at + 1 < frames.len())
        );
        body.extend_from_slice(&frame[62..]);
    }
    assert!(
        UdpPacket::new_checked(&body[..])
            .unwrap()
            .verify_checksum(&OUTSIDE6.into(), &ADDRESS6.into())
    );
    assert_eq!(body[8..], answer);
}

#[test]
fn unreachable_in_the_words_of_rfc_4443() {
    let table = [
        (Unreachable::Network, [1, 0], GATEWAY6),
        (Unreachable::Prohibited, [1, 1], GATEWAY6),
        (Unreachable::Host, [1, 3], GATEWAY6),
        (Unreachable::Refused, [1, 4], OUTSIDE6),
        (Unreachable::Parameter, [4, 0], GATEWAY6),
        (Unreachable::Protocol, [4, 1], OUTSIDE6),
    ];
    let frame = udp6(ADDRESS6, SocketAddr::new(OUTSIDE6.into(), 9), &[1; 1400]);
    for (why, kind_and_code, reporter) in table {
        let mut net = net();
        net.engine.reject_frame(net.now, &frame, why);
        let error = net.frames().remove(0);
        let (from, to, message) = read_icmp(&error);
        assert_eq!((from, to, &message[..2]), (reporter, ADDRESS6, &kind_and_code[..]));
        assert_eq!(error.len(), 14 + 1280);
        assert_eq!(message[8..], frame[14..14 + 1232]);
    }
}

#[test]
fn a_connection_opens_carries_and_is_offered_the_right_segments() {
    let mut net = net();
    net.send(&tcp6(TcpControl::Syn, 100, None, b""));
    let [Action::Connect { flow, .. }] = net.actions()[..] else {
        panic!("no connect")
    };
    net.engine.connected(net.now, flow);
    let frame = net.frames().remove(0);
    let answer = read_tcp(&frame);
    assert_eq!((answer.syn(), answer.ack_number().0), (true, 101));
    assert_eq!(answer.options_summary().unwrap().max_segment_size, Some(1440));
    let next = answer.seq_number().0.wrapping_add(1) as u32;
    net.send(&tcp6(TcpControl::Psh, 101, Some(next), b"question"));
    assert_eq!(net.actions(), [Action::Drain { flow }]);
    assert_eq!(net.drain(flow), b"question");
    assert_eq!(net.fill(flow, &[9; 3000]), 3000);
    let lens: Vec<usize> = net
        .frames()
        .iter()
        .map(|frame| read_tcp(frame).payload().len())
        .collect();
    assert_eq!(lens.iter().sum::<usize>(), 3000);
    assert_eq!(lens.iter().max(), Some(&1440));
}

#[test]
fn a_connection_without_a_route_is_told_so() {
    let mut net = net();
    net.send(&tcp6(TcpControl::Syn, 100, None, b""));
    let [Action::Connect { flow, .. }] = net.actions()[..] else {
        panic!("no connect")
    };
    net.engine.refused(net.now, flow, Unreachable::Network);
    let (from, _, message) = read_icmp(&net.frames().remove(0));
    assert_eq!((from, &message[..2]), (GATEWAY6, &[1, 0][..]));
}

#[test]
fn a_segment_behind_extension_headers_is_a_segment() {
    let mut net = net();
    let plain = tcp6(TcpControl::Syn, 100, None, b"");
    let mut body = vec![6, 0, 1, 4, 0, 0, 0, 0];
    body.extend_from_slice(&plain[54..]);
    net.send(&ipv6(ADDRESS6, OUTSIDE6, IpProtocol::Ipv6Opts, 64, &body));
    let [Action::Connect { flow, .. }] = net.actions()[..] else {
        panic!("no connect")
    };
    net.engine.connected(net.now, flow);
    assert!(read_tcp(&net.frames()[0]).syn());
}

#[test]
fn a_client_keeps_its_address_or_is_the_gateway() {
    for (client, shown) in [
        ("[2001:db8::9]:7777", OUTSIDE6),
        ("[::1]:7777", GATEWAY6),
        ("203.0.113.9:7777", GATEWAY6),
    ] {
        let mut net = net();
        net.engine
            .accept(net.now, client.parse().unwrap(), SocketAddr::new(ADDRESS6.into(), 80))
            .unwrap();
        let frame = net.frames().remove(0);
        let packet = Ipv6Packet::new_checked(&frame[14..]).unwrap();
        let expected = if shown == OUTSIDE6 {
            "2001:db8::9".parse().unwrap()
        } else {
            shown
        };
        assert_eq!((packet.src_addr(), packet.dst_addr()), (expected, ADDRESS6), "{client}");
    }
}

#[test]
fn hostile_packets() {
    let outside = SocketAddr::new(OUTSIDE6.into(), 9);
    let mut jumbogram = udp6(ADDRESS6, outside, b"x");
    jumbogram[18..20].copy_from_slice(&[0, 0]);
    let mut too_long = udp6(ADDRESS6, outside, b"x");
    too_long[19] += 1;
    let mut wrong_sum = udp6(ADDRESS6, outside, b"x");
    wrong_sum[61] ^= 1;
    let mut at_end = udp6(ADDRESS6, outside, b"x");
    at_end[21] = 0;
    let mapped = SocketAddr::new("::ffff:203.0.113.5".parse::<Ipv6Addr>().unwrap().into(), 9);
    let table = [
        ("jumbogram", jumbogram, "drop_truncated"),
        ("longer than its frame", too_long, "drop_truncated"),
        ("wrong checksum", wrong_sum, "drop_checksum"),
        ("no hop left", at_end, "drop_ttl"),
        ("as a neighbour", udp6(NEIGHBOUR6, outside, b"x"), "drop_spoofed"),
        (
            "as an unattached one",
            udp6(OWN_LINK_LOCAL, outside, b"x"),
            "drop_spoofed",
        ),
        ("to a mapped address", udp6(ADDRESS6, mapped, b"x"), "drop_nowhere"),
        (
            "a fragment",
            ipv6(ADDRESS6, OUTSIDE6, IpProtocol::Ipv6Frag, 64, &[17, 0, 0, 1, 0, 0, 0, 1]),
            "drop_fragment",
        ),
        (
            "chain past the end",
            ipv6(ADDRESS6, OUTSIDE6, IpProtocol::Ipv6Opts, 64, &[17, 9, 1, 4, 0, 0, 0, 0]),
            "drop_truncated",
        ),
        (
            "half a ping",
            icmp(ADDRESS6, GATEWAY6, 64, &[128, 0, 0, 0, 0]),
            "drop_truncated",
        ),
    ];
    for (what, frame, counter) in table {
        let mut net = net();
        net.send(&frame);
        assert_eq!((net.frames(), net.count(counter)), (vec![], 1), "{what}");
        for end in 0..frame.len() {
            net.send_or_pass(&frame[..end]);
        }
    }
}
