//! What the IP header of a container's packet asks of the way, as the shell hears it: hops, class, whether it may be cut.

use std::net::{SocketAddr, SocketAddrV4};

use gangplank::stack::{Action, Fault, Handling, Offload, Passage, Payload, PublishId};
use smoltcp::wire::{IpProtocol, Ipv4Packet, Ipv6Packet, TcpControl, UdpPacket};

use crate::net::*;

fn own() -> SocketAddrV4 {
    SocketAddrV4::new(ADDRESS, 5000)
}

fn outside() -> SocketAddrV4 {
    SocketAddrV4::new(OUTSIDE, 7)
}

/// The IPv4 frame with another time to live and class, and DF as said.
fn marked(mut frame: Vec<u8>, hops: u8, class: u8, whole: bool) -> Vec<u8> {
    frame[15] = class;
    let mut header = Ipv4Packet::new_unchecked(&mut frame[14..]);
    header.set_hop_limit(hops);
    header.set_dont_frag(whole);
    header.fill_checksum();
    frame
}

fn udp6(hops: u8, class: u8, extension: &[u8]) -> Vec<u8> {
    let mut body = [&[0x13, 0x88, 0, 9, 0, 0, 0, 0], &b"question"[..]].concat();
    let mut datagram = UdpPacket::new_unchecked(&mut body[..]);
    datagram.set_len(16);
    datagram.fill_checksum(&ADDRESS6.into(), &OUTSIDE6.into());
    let first = if extension.is_empty() {
        IpProtocol::Udp
    } else {
        IpProtocol::Ipv6Frag
    };
    let mut frame = ipv6(ADDRESS6, OUTSIDE6, first, hops, &[extension, &body].concat());
    Ipv6Packet::new_unchecked(&mut frame[14..]).set_traffic_class(class);
    frame
}

fn handling_of(passage: &Passage<'_>) -> Handling {
    match passage {
        Passage::Datagram { handling, .. } | Passage::Echo { handling, .. } => *handling,
        other => panic!("{other:?}"),
    }
}

fn handling(time_to_live: u8, class: u8, divisible: bool) -> Handling {
    Handling {
        time_to_live,
        class,
        divisible,
    }
}

#[test]
fn datagrams_and_echoes_say_how_they_are_to_be_treated() {
    let mut net = Net::with_ipv6(|_| {});
    for whole in [true, false] {
        let datagram = marked(udp(own(), outside(), b"question"), 9, 0xb9, whole);
        assert_eq!(handling_of(&net.pass(&datagram)), handling(8, 0xb9, !whole));
        let echo = marked(ping(OUTSIDE, 77, 3, b"data"), 255, 0x02, whole);
        assert_eq!(handling_of(&net.pass(&echo)), handling(254, 0x02, !whole));
    }
    assert_eq!(
        handling_of(&net.pass(&udp(own(), outside(), b"question"))),
        Handling::USUAL
    );
    assert_eq!(handling_of(&net.pass(&udp6(9, 0xb9, &[]))), handling(8, 0xb9, false));
    let atomic = [17, 0, 0, 0, 0, 0, 0, 1];
    assert_eq!(handling_of(&net.pass(&udp6(64, 0, &atomic))), handling(63, 0, true));
}

#[test]
fn an_answer_to_a_client_of_a_published_port_says_so_too() {
    let mut net = Net::new();
    let client = SocketAddr::from(([198, 51, 100, 77], 4321));
    net.deliver(|engine, now, out| {
        engine.deliver_published(now, PublishId(1), client, own().into(), Payload::one(b"hello"), out)
    });
    let answer = marked(udp(own(), "198.51.100.77:4321".parse().unwrap(), b"hi"), 3, 0x20, false);
    assert_eq!(handling_of(&net.pass(&answer)), handling(2, 0x20, true));
}

/// Whoever has cut a datagram lets others cut it, whatever the whole looks like.
#[test]
fn what_came_in_fragments_may_be_cut() {
    let mut net = Net::new();
    let whole = marked(udp(own(), outside(), &[7; 1000]), 33, 0x48, false);
    let part = |range: std::ops::Range<usize>, more: bool| {
        let mut frame = ipv4(MAC, ADDRESS, OUTSIDE, IpProtocol::Udp, &whole[34..][range.clone()]);
        frame[15] = 0x48;
        let mut header = Ipv4Packet::new_unchecked(&mut frame[14..]);
        header.set_hop_limit(33);
        header.set_dont_frag(false);
        header.set_ident(5);
        header.set_more_frags(more);
        header.set_frag_offset(range.start as u16);
        header.fill_checksum();
        frame
    };
    net.send(&part(0..504, true));
    let Passage::Whole { frame } = net.pass(&part(504..1008, false)) else {
        panic!("not whole")
    };
    let passage = net.engine.handle_frame(net.now, Offload::ASSEMBLED, &frame);
    assert_eq!(handling_of(&passage), handling(32, 0x48, true));
}

#[test]
fn a_connection_begins_as_its_syn_says_and_without_what_is_tcps_own() {
    let mut net = Net::new();
    let peer = Peer::new(own(), outside());
    net.send(&marked(peer.syn(), 2, 0xb9, false));
    let [
        Action::Connect {
            handling: asked, flow, ..
        },
    ] = net.actions()[..]
    else {
        panic!("no connect")
    };
    assert_eq!(asked, handling(1, 0xb8, false));
    net.engine.connected(net.now, flow);
    let answer = net.one_segment();
    let ack = Peer {
        seq: CLIENT_ISN.wrapping_add(1),
        ack: answer.seq.wrapping_add(1),
        ..peer
    };
    net.send(&marked(ack.segment().frame(), 2, 0xba, true));
    assert_eq!(net.actions(), [], "nothing but the bits of ECN has changed");
}

#[test]
fn a_connection_that_changes_its_class_says_so_once() {
    let mut net = Net::new();
    let mut peer = net.open(5000);
    let flow = peer.flow;
    let change = |class| Action::Handle {
        flow,
        handling: handling(63, class, false),
    };
    let first = marked(peer.data(b"first"), 64, 0x48, true);
    net.send(&first);
    assert!(net.actions().contains(&change(0x48)));
    net.drain(flow);
    let second = marked(peer.data(b"second"), 64, 0x4b, true);
    net.send(&second);
    net.drain(flow);
    assert!(
        !net.actions()
            .iter()
            .any(|action| matches!(action, Action::Handle { .. }))
    );
    let third = peer.data(b"third");
    net.send(&third);
    assert!(net.actions().contains(&change(0)));
}

/// The acknowledgement of another processor, sent before the program chose its class, comes after what it sent in it.
#[test]
fn a_segment_that_was_overtaken_changes_nothing() {
    let mut net = Net::new();
    let mut peer = net.open(5000);
    let overtaken = peer.segment().frame();
    let data = marked(peer.data(b"in the class"), 64, 0x48, true);
    net.send(&data);
    net.drain(peer.flow);
    net.actions();
    net.send(&overtaken);
    assert_eq!(net.actions(), []);
    net.send(&marked(peer.segment().frame(), 64, 0x20, true));
    let told = handling(63, 0x20, false);
    let flow = peer.flow;
    assert!(
        net.actions().contains(&Action::Handle { flow, handling: told }),
        "an acknowledgement in order"
    );
}

/// A segment that is not the flow's (it may be an old one) changes nothing.
#[test]
fn a_segment_that_is_ignored_changes_nothing() {
    let mut net = Net::new();
    let peer = net.open(5000);
    let stray = Segment {
        control: TcpControl::Rst,
        seq: peer.seq.wrapping_sub(5000),
        ..peer.segment()
    };
    net.send(&marked(stray.frame(), 9, 0x48, true));
    assert_eq!(net.actions(), []);
}

#[test]
fn what_is_too_long_for_the_hosts_way_is_told_how_long_it_may_be() {
    let mut net = Net::with_ipv6(|_| {});
    let frame = udp(own(), outside(), &[7; 1400]);
    net.engine.reject_frame(net.now, &frame, Fault::TooBig { mtu: 1300 });
    let error = net.frames().remove(0);
    assert_eq!(error[26..30], GATEWAY.octets());
    assert_eq!(error[34..36], [3, 4]);
    assert_eq!(error[38..42], [0, 0, 0x05, 0x14]);
    net.engine
        .reject_frame(net.now, &udp6(64, 0, &[]), Fault::TooBig { mtu: 1300 });
    let error = net.frames().remove(0);
    assert_eq!(error[22..38], GATEWAY6.octets());
    assert_eq!(error[54..56], [2, 0]);
    assert_eq!(error[58..62], [0, 0, 0x05, 0x14]);
}

/// Both come in one batch of frames, so that the first waits for the shell when the second arrives.
#[test]
fn what_came_before_a_change_leaves_before_it() {
    let mut net = Net::new();
    let mut peer = net.open(4000);
    let flow = peer.flow;
    let (one, two) = (peer.data(b"one"), marked(peer.data(b"two"), 64, 0x48, true));
    net.send(&one);
    net.send(&two);
    let mut left: Vec<(Vec<u8>, u8)> = Vec::new();
    let mut class = 0;
    while let Some(action) = net.engine.poll_action() {
        match action {
            Action::Drain { .. } => left.push((net.drain(flow), class)),
            Action::Handle { handling, .. } => class = handling.class,
            _ => panic!("{action:?}"),
        }
    }
    assert_eq!(left, [(b"one".to_vec(), 0), (b"two".to_vec(), 0x48)]);
}
