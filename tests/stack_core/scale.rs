//! Many flows: what a packet costs is counted in work, not in time. And that everything is bounded and served in turn.

use std::net::SocketAddrV4;

use gangplank::stack::{Action, FlowId, RingSizes, Unreachable};
use smoltcp::time::Duration;

use crate::net::*;

fn many(flows: u16, ring: usize) -> (Net, Vec<Peer>) {
    let mut net = Net::with(|config| config.rings = RingSizes::each(ring));
    let peers = (0..flows).map(|i| net.open(1024 + i)).collect();
    (net, peers)
}

/// Turns of smoltcp for one question and its answer on the first flow.
fn turns_of_an_exchange(net: &mut Net, peer: &mut Peer) -> u64 {
    let before = net.count("turns");
    net.send(&peer.data(b"question"));
    assert_eq!(net.actions(), [Action::Drain { flow: peer.flow }]);
    net.drain(peer.flow);
    net.fill(peer.flow, b"answer");
    for seen in net.segments() {
        if !seen.payload.is_empty() {
            net.send(&peer.take(&seen));
        }
    }
    net.segments();
    net.count("turns") - before
}

#[test]
fn ten_thousand_flows_do_not_make_a_packet_dearer() {
    let (mut few, mut few_peers) = many(1, 1024);
    let (mut net, mut peers) = many(10_000, 1024);
    let alone = turns_of_an_exchange(&mut few, &mut few_peers[0]);
    assert!(alone <= 8, "{alone}");
    for index in [0, 5000, 9999] {
        assert_eq!(turns_of_an_exchange(&mut net, &mut peers[index]), alone);
    }
    // All are idle: the clock asks nothing of them.
    let before = net.count("turns");
    net.wait(Duration::from_secs(3600));
    assert!(
        net.count("turns") - before <= 20_000,
        "at most the lazily armed deadline of each handshake"
    );
    assert!(
        net.rests_for(Duration::from_secs(3500)),
        "until their containers are asked whether they are there"
    );
}

#[test]
fn flows_take_turns() {
    let (mut net, peers) = many(10, 65536);
    for peer in &peers {
        net.fill(peer.flow, &[1; 14_600]);
    }
    let ports: Vec<u16> = net.segments().iter().map(|seen| seen.to.port()).collect();
    assert_eq!(ports.len(), 100);
    for round in ports.chunks(10) {
        let mut round = round.to_vec();
        round.sort_unstable();
        assert_eq!(round, (1024..1034).collect::<Vec<_>>(), "a frame each in every round");
    }
}

#[test]
fn a_flow_is_announced_once() {
    let mut net = Net::new();
    let mut peer = net.open(4000);
    for _ in 0..10 {
        net.send(&peer.data(b"more"));
    }
    assert_eq!(net.actions(), [Action::Drain { flow: peer.flow }]);
    net.lone_acknowledgement();
    assert_eq!(net.engine.drain(net.now, peer.flow, |_| 3), 3);
    net.send(&peer.data(b"more"));
    assert_eq!(net.actions(), [], "the shell knows that something waits");
    assert_eq!(net.drain(peer.flow).len(), 41);
    net.actions();
    net.send(&peer.data(b"more"));
    assert_eq!(net.actions(), [Action::Drain { flow: peer.flow }]);
}

#[test]
fn bytes_around_the_end_of_the_ring_are_announced_again() {
    let mut net = Net::with(|config| config.rings = RingSizes::each(1024));
    let mut peer = net.open(4000);
    net.send(&peer.data(&[1; 700]));
    net.drain(peer.flow);
    net.segments();
    net.actions();
    net.send(&peer.data(&[2; 700]));
    assert_eq!(net.actions(), [Action::Drain { flow: peer.flow }]);
    assert_eq!(net.engine.drain(net.now, peer.flow, |bytes| bytes.len()), 324);
    assert_eq!(net.actions(), [Action::Drain { flow: peer.flow }]);
    assert_eq!(net.engine.drain(net.now, peer.flow, |bytes| bytes.len()), 376);
    assert_eq!(net.actions(), []);
    assert_eq!(net.engine.drain(net.now, peer.flow, |bytes| bytes.len()), 0);
}

#[test]
fn half_open_flows_are_bounded_for_each_container() {
    let mut net = Net::with(|config| config.limits.half_open_per_container = 10);
    let syn = |address, port| Peer::new(SocketAddrV4::new(address, port), SocketAddrV4::new(OUTSIDE, 80)).syn();
    for port in 1..=20 {
        net.send(&syn(ADDRESS, port));
    }
    assert_eq!((net.actions().len(), net.count("drop_full")), (10, 10));
    net.send(&syn(NEIGHBOUR, 1));
    assert_eq!(net.actions().len(), 1, "the neighbour has its own share");
    net.engine.refused(net.now, FlowId(0), Unreachable::Refused);
    net.actions();
    net.frames();
    net.engine.connected(net.now, FlowId(1));
    let mut peer = Peer::new(SocketAddrV4::new(ADDRESS, 2), SocketAddrV4::new(OUTSIDE, 80));
    peer.seq = CLIENT_ISN.wrapping_add(1);
    peer.ack = net.one_segment().end();
    net.send(&peer.segment().frame());
    for port in 30..40 {
        net.send(&syn(ADDRESS, port));
    }
    assert_eq!(net.actions().len(), 2, "what is refused or established makes room");
}

#[test]
fn flows_are_bounded_and_what_ends_makes_room() {
    let mut net = Net::with(|config| config.limits.flows_per_container = 3);
    for port in 1..=3 {
        net.open(port);
    }
    let peer = Peer::new(SocketAddrV4::new(ADDRESS, 9), SocketAddrV4::new(OUTSIDE, 80));
    net.send(&peer.syn());
    assert_eq!(net.actions(), []);
    net.engine.reset(net.now, FlowId(1));
    net.actions();
    net.frames();
    net.open(4);
    for _ in 0..1000 {
        net.engine.reset(net.now, FlowId(0));
        net.actions();
        net.frames();
        assert_eq!(net.open(1).flow, FlowId(0), "ids stay small");
    }
}

#[test]
fn frames_in_waiting_are_bounded() {
    let mut net = Net::new();
    for _ in 0..5000 {
        net.send(&ping(GATEWAY, 1, 1, b""));
    }
    assert_eq!(net.frames().len(), 1024);
    assert_eq!(net.count("drop_full"), 5000 - 1024);
}

#[test]
fn time_wait_is_bounded_and_ends() {
    let mut net = Net::with(|config| config.rings = RingSizes::each(1024));
    for i in 0..9000u16 {
        let mut peer = net.open(1024 + i);
        net.engine.finished(net.now, peer.flow);
        let fin = net.one_segment();
        net.send(&peer.take(&fin));
        net.send(&peer.fin());
        net.actions();
        net.frames();
    }
    net.wait(Duration::from_secs(11));
    assert_eq!(net.engine.poll_timeout(), None);
}
