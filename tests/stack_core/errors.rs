//! What the host's network says about datagrams that have left, as the container hears it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};

use gangplank::stack::{
    Action, ClientSocket, EchoId, Failure, Fault, MappingId, Passage, Payload, PublishId, Unconnected, Unreachable,
};
use smoltcp::wire::{Icmpv4Packet, Ipv4Packet};

use crate::net::*;

const ROUTER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 9);

fn own() -> SocketAddrV4 {
    SocketAddrV4::new(ADDRESS, 5000)
}

fn outside() -> SocketAddrV4 {
    SocketAddrV4::new(OUTSIDE, 7)
}

fn mapping(net: &mut Net) -> MappingId {
    match net.pass(&udp(own(), outside(), b"question")) {
        Passage::Datagram {
            socket: ClientSocket::Mapping { id, .. },
            ..
        } => id,
        other => panic!("{other:?}"),
    }
}

fn echo(net: &mut Net) -> EchoId {
    match net.pass(&ping(OUTSIDE, 77, 3, b"data")) {
        Passage::Echo { echo, .. } => echo,
        other => panic!("{other:?}"),
    }
}

fn failure(fault: impl Into<Fault>, offender: Option<Ipv4Addr>) -> Failure<'static> {
    Failure {
        target: outside().into(),
        fault: fault.into(),
        offender: offender.map(IpAddr::from),
        quoted: b"question",
    }
}

/// The one ICMP error in waiting: from whom, its first eight bytes without the checksum, the packet that it is about.
fn read_error(net: &mut Net) -> (Ipv4Addr, [u8; 2], [u8; 4], Vec<u8>) {
    let frames = net.frames();
    let [frame] = &frames[..] else { panic!("{frames:?}") };
    let packet = Ipv4Packet::new_checked(&frame[14..]).unwrap();
    assert!(packet.verify_checksum());
    assert_eq!(packet.dst_addr(), ADDRESS);
    let body = packet.payload();
    assert!(Icmpv4Packet::new_checked(body).unwrap().verify_checksum());
    let quoted = body[8..].to_vec();
    assert!(Ipv4Packet::new_checked(&quoted[..]).unwrap().verify_checksum());
    (
        packet.src_addr(),
        [body[0], body[1]],
        body[4..8].try_into().unwrap(),
        quoted,
    )
}

#[test]
fn an_error_comes_from_the_router_that_sent_it() {
    let table: [(Fault, [u8; 2], [u8; 4]); 11] = [
        (Unreachable::Network.into(), [3, 0], [0; 4]),
        (Unreachable::Host.into(), [3, 1], [0; 4]),
        (Unreachable::Protocol.into(), [3, 2], [0; 4]),
        (Unreachable::Refused.into(), [3, 3], [0; 4]),
        (Fault::TooBig { mtu: 1280 }, [3, 4], [0, 0, 5, 0]),
        (Unreachable::Parameter.into(), [12, 0], [0; 4]),
        (Unreachable::SourceRoute.into(), [3, 5], [0; 4]),
        (Unreachable::HostUnknown.into(), [3, 7], [0; 4]),
        (Unreachable::Isolated.into(), [3, 8], [0; 4]),
        (Unreachable::Prohibited.into(), [3, 13], [0; 4]),
        (Fault::TimeExceeded, [11, 0], [0; 4]),
    ];
    for (fault, kind, rest) in table {
        let mut net = Net::new();
        let id = mapping(&mut net);
        let now = net.now;
        net.engine.mapping_failed(now, id, &failure(fault, Some(ROUTER)));
        let (from, seen, seen_rest, quoted) = read_error(&mut net);
        assert_eq!((from, seen, seen_rest), (ROUTER, kind, rest), "{fault:?}");
        let original = udp(own(), outside(), b"question");
        assert_eq!(quoted[12..26], original[26..40], "addresses, ports and length");
        assert_eq!(&quoted[28..], b"question");
    }
}

#[test]
fn the_reporter_is_one_that_the_container_can_know() {
    let mut net = Net::new();
    let id = mapping(&mut net);
    let now = net.now;
    let mut from = |offender| {
        let failure = failure(Unreachable::Host, offender);
        net.engine.mapping_failed(now, id, &failure);
        read_error(&mut net).0
    };
    assert_eq!(from(Some(OUTSIDE)), OUTSIDE, "the target itself");
    assert_eq!(from(None), GATEWAY);
    for strange in [
        Ipv4Addr::LOCALHOST,
        NEIGHBOUR,
        Ipv4Addr::UNSPECIFIED,
        Ipv4Addr::BROADCAST,
    ] {
        assert_eq!(from(Some(strange)), GATEWAY, "{strange}");
    }
}

#[test]
fn an_error_about_nothing_that_was_sent_is_dropped() {
    let mut net = Net::new();
    let id = mapping(&mut net);
    let ping = echo(&mut net);
    let now = net.now;
    let elsewhere = Failure {
        target: SocketAddr::from(([203, 0, 113, 6], 7)),
        ..failure(Unreachable::Host, Some(ROUTER))
    };
    net.engine.mapping_failed(now, id, &elsewhere);
    net.engine
        .mapping_failed(now, MappingId(9), &failure(Fault::TimeExceeded, None));
    let container = own().into();
    net.engine
        .published_failed(now, PublishId(1), container, &failure(Fault::TimeExceeded, None));
    let short = Failure {
        quoted: &[8, 0, 0, 0, 0, 0, 0],
        ..failure(Fault::TimeExceeded, None)
    };
    net.engine.echo_failed(now, ping, &short);
    let silent = failure(Unreachable::TimedOut, None);
    net.engine.mapping_failed(now, id, &silent);
    assert!(net.frames().is_empty());
    assert_eq!(net.count("drop_filtered"), 5);
}

#[test]
fn a_long_quotation_is_cut() {
    let mut net = Net::new();
    let id = mapping(&mut net);
    let now = net.now;
    let long = Failure {
        quoted: &[7; 2000],
        ..failure(Unreachable::Refused, Some(OUTSIDE))
    };
    net.engine.mapping_failed(now, id, &long);
    assert_eq!(
        read_error(&mut net).3.len(),
        548,
        "all of the message is 576 bytes (RFC 1812 section 4.3.2.3)"
    );
}

#[test]
fn errors_are_told_a_hundred_times_and_then_as_often_as_allowed() {
    let mut net = Net::new();
    let id = mapping(&mut net);
    let now = net.now;
    for _ in 0..500 {
        net.engine
            .mapping_failed(now, id, &failure(Unreachable::Refused, Some(OUTSIDE)));
    }
    assert_eq!(net.frames().len(), 100);
    assert_eq!((net.count("icmp_errors"), net.count("icmp_suppressed")), (100, 400));
}

#[test]
fn an_echo_that_ends_on_the_way_is_quoted_with_its_own_id() {
    let mut net = Net::new();
    let id = echo(&mut net);
    // The host's ping socket has an id of its own.
    let sent = ping(OUTSIDE, 40_001, 3, b"data");
    let ended = Failure {
        target: SocketAddr::from((OUTSIDE, 0)),
        fault: Fault::TimeExceeded,
        offender: Some(ROUTER.into()),
        quoted: &sent[34..],
    };
    let now = net.now;
    net.engine.echo_failed(now, id, &ended);
    let (from, kind, _, quoted) = read_error(&mut net);
    assert_eq!((from, kind), (ROUTER, [11, 0]));
    assert_eq!(quoted[20..], ping(OUTSIDE, 77, 3, b"data")[34..], "checksum included");
}

#[test]
fn a_syn_that_ends_on_the_way_is_reported_by_whoever_ended_it() {
    for (offender, reporter) in [
        (Some(ROUTER), ROUTER),
        (None, GATEWAY),
        (Some(Ipv4Addr::LOCALHOST), GATEWAY),
    ] {
        let mut net = Net::new();
        let syn = Peer::new(own(), outside()).syn();
        net.send(&syn);
        let [Action::Connect { flow, .. }] = net.actions()[..] else {
            panic!("no connect")
        };
        let ended = Unconnected {
            fault: Fault::TimeExceeded,
            offender: offender.map(IpAddr::from),
        };
        net.engine.refused(net.now, flow, ended);
        let (from, kind, _, quoted) = read_error(&mut net);
        assert_eq!((from, kind), (reporter, [11, 0]));
        assert_eq!(quoted[20..], syn[34..]);
        assert!(matches!(net.actions()[..], [Action::Close { .. }]));
    }
}

#[test]
fn an_answer_to_a_client_of_a_published_port_may_fail() {
    let mut net = Net::new();
    let client = SocketAddr::from(([198, 51, 100, 77], 4321));
    let container = own().into();
    net.deliver(|engine, now, out| {
        engine.deliver_published(now, PublishId(1), client, container, Payload::one(b"hello"), out)
    });
    let now = net.now;
    let gone = Failure {
        target: client,
        fault: Unreachable::Refused.into(),
        offender: Some(client.ip()),
        quoted: b"answer",
    };
    net.engine.published_failed(now, PublishId(1), container, &gone);
    let (from, kind, _, quoted) = read_error(&mut net);
    assert_eq!((IpAddr::from(from), kind), (client.ip(), [3, 3]));
    assert_eq!(
        quoted[20..24],
        [5000_u16.to_be_bytes(), 4321_u16.to_be_bytes()].concat()
    );
}
