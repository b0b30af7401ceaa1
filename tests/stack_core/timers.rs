//! Every state of a TCP flow has an end: silence of the other side is not waited out for ever.

use std::net::{SocketAddr, SocketAddrV4};

use gangplank::stack::{Action, FlowId};
use smoltcp::time::Duration;
use smoltcp::wire::TcpControl;

use crate::net::*;

/// Brings a flow into its state.
type Step = fn(&mut Net) -> FlowId;

/// Each state with the seconds in which silence must end it: no sooner, no later.
const STATES: [(&str, Step, [i64; 2]); 15] = [
    ("a held syn", held, [127, 150]),
    ("syn-sent", called, [55, 60]),
    ("syn-received", answered, [55, 60]),
    ("established, idle", |net| net.open(1).flow, [7440, 7875]),
    ("established, with bytes unacknowledged", unacknowledged, [100, 924]),
    ("close-wait, idle", |net| close_wait(net).flow, [7440, 7875]),
    (
        "close-wait, with bytes unacknowledged",
        close_wait_unacknowledged,
        [100, 924],
    ),
    ("fin-wait-1", |net| fin_wait_1(net).flow, [100, 924]),
    ("fin-wait-2", |net| fin_wait_2(net).flow, [7440, 7440]),
    ("closing", closing, [55, 60]),
    ("closing, with bytes unacknowledged", closing_unacknowledged, [100, 924]),
    ("last-ack", last_ack, [55, 60]),
    (
        "last-ack, with bytes unacknowledged",
        last_ack_unacknowledged,
        [100, 924],
    ),
    ("time-wait, with bytes for the host", time_wait_undrained, [7440, 7440]),
    ("closed, with bytes for the host", closed_undrained, [7440, 7440]),
];

#[test]
fn silence_ends_every_state_within_its_bound() {
    for (state, step, [least, most]) in STATES {
        let mut net = Net::new();
        let flow = step(&mut net);
        net.actions();
        net.frames();
        let start = net.now;
        while !closes(&mut net, flow) {
            let due = net.engine.poll_timeout();
            net.now = due.unwrap_or_else(|| panic!("{state}: without a timer")).max(net.now);
            net.engine.handle_timeout(net.now);
            net.frames();
        }
        let took = (net.now - start).secs() as i64;
        assert!((least..=most).contains(&took), "{state}: ended after {took} seconds");
        assert!(
            net.wait(Duration::from_secs(100)).is_empty(),
            "{state}: nothing follows"
        );
        assert_eq!(net.engine.poll_timeout(), None, "{state}: nothing is left");
    }
}

fn closes(net: &mut Net, flow: FlowId) -> bool {
    let closed = |action: &Action| matches!(action, Action::Close { flow: closed, .. } if *closed == flow);
    net.actions().iter().any(closed)
}

fn held(net: &mut Net) -> FlowId {
    let peer = Peer::new(SocketAddrV4::new(ADDRESS, 1), SocketAddrV4::new(OUTSIDE, 80));
    net.send(&peer.syn());
    let [Action::Connect { flow, .. }] = net.actions()[..] else {
        panic!("no connect")
    };
    flow
}

fn called(net: &mut Net) -> FlowId {
    let client: SocketAddr = "198.51.100.7:5555".parse().unwrap();
    let container = SocketAddrV4::new(ADDRESS, 80).into();
    net.engine.accept(net.now, client, container).unwrap()
}

fn answered(net: &mut Net) -> FlowId {
    let flow = held(net);
    net.engine.connected(net.now, flow);
    flow
}

fn unacknowledged(net: &mut Net) -> FlowId {
    let peer = net.open(1);
    net.fill(peer.flow, b"are you there?");
    peer.flow
}

fn close_wait(net: &mut Net) -> Peer {
    let mut peer = net.open(1);
    net.send(&peer.fin());
    net.segments();
    peer
}

fn close_wait_unacknowledged(net: &mut Net) -> FlowId {
    let peer = close_wait(net);
    net.fill(peer.flow, b"are you there?");
    peer.flow
}

fn fin_wait_1(net: &mut Net) -> Peer {
    let peer = net.open(1);
    net.engine.finished(net.now, peer.flow);
    peer
}

fn fin_wait_2(net: &mut Net) -> Peer {
    let mut peer = fin_wait_1(net);
    let fin = net.one_segment();
    net.send(&peer.take(&fin));
    peer
}

fn closing(net: &mut Net) -> FlowId {
    let mut peer = fin_wait_1(net);
    net.segments();
    net.send(&peer.fin());
    peer.flow
}

fn closing_unacknowledged(net: &mut Net) -> FlowId {
    let mut peer = net.open(1);
    net.fill(peer.flow, b"good night");
    net.engine.finished(net.now, peer.flow);
    net.segments();
    net.send(&peer.fin());
    peer.flow
}

fn last_ack(net: &mut Net) -> FlowId {
    let peer = close_wait(net);
    net.engine.finished(net.now, peer.flow);
    peer.flow
}

fn last_ack_unacknowledged(net: &mut Net) -> FlowId {
    let flow = close_wait_unacknowledged(net);
    net.engine.finished(net.now, flow);
    flow
}

fn time_wait_undrained(net: &mut Net) -> FlowId {
    let mut peer = fin_wait_2(net);
    net.send(&peer.data(b"nobody takes this"));
    net.send(&peer.fin());
    peer.flow
}

fn closed_undrained(net: &mut Net) -> FlowId {
    let mut peer = net.open(1);
    net.send(&peer.data(b"nobody takes this"));
    net.send(&peer.fin());
    net.segments();
    net.engine.finished(net.now, peer.flow);
    let fin = net.one_segment();
    net.send(&peer.take(&fin));
    peer.flow
}

#[test]
fn an_idle_connection_is_kept_as_long_as_its_container_answers() {
    let mut net = Net::new();
    let mut peer = net.open(1);
    net.send(&peer.data(b"hello"));
    let mut heard = net.now;
    net.drain(peer.flow);
    net.lone_acknowledgement();
    net.actions();
    for _ in 0..20 {
        let probe = net.wait(Duration::from_secs(8000));
        assert_eq!(probe.len(), 1);
        assert_eq!(net.now, heard + Duration::from_secs(7200), "Linux, tcp_keepalive_time");
        assert_eq!(
            (probe[0].seq, probe[0].ack, &probe[0].payload[..], probe[0].rst),
            (peer.ack.wrapping_sub(1), Some(peer.seq), &b""[..], false),
            "{probe:?}"
        );
        net.send(&peer.segment().frame());
        heard = net.now;
        assert_eq!((net.segments(), net.actions()), (vec![], vec![]));
    }
    net.send(&peer.data(b"as ever"));
    assert_eq!(net.drain(peer.flow), b"as ever");
    net.fill(peer.flow, b"indeed");
    let answer = net.segments();
    assert_eq!(answer.last().unwrap().payload, b"indeed");
}

#[test]
fn a_dead_end_is_asked_nine_times_and_then_reset() {
    let mut net = Net::new();
    let peer = net.open(1);
    let mut probes = 0;
    while !closes(&mut net, peer.flow) {
        let said = net.wait(Duration::from_secs(8000));
        probes += usize::from(said.iter().any(|seen| !seen.rst));
    }
    assert_eq!(probes, 9);
}

#[test]
fn a_container_that_knows_nothing_of_it_ends_it_with_its_answer() {
    let mut net = Net::new();
    let peer = net.open(1);
    let probe = net.wait(Duration::from_secs(8000));
    let mut stranger = peer;
    stranger.seq = probe[0].ack.unwrap();
    net.send(&stranger.rst());
    assert!(closes(&mut net, peer.flow));
}

/// Only what completes the handshake counts.
#[test]
fn a_handshake_is_not_kept_up_by_chatter() {
    let mut net = Net::new();
    let flow = answered(&mut net);
    let mut peer = Peer::new(SocketAddrV4::new(ADDRESS, 1), SocketAddrV4::new(OUTSIDE, 80));
    peer.seq = CLIENT_ISN.wrapping_add(1);
    peer.ack = net.one_segment().seq.wrapping_sub(5);
    let start = net.now;
    while !closes(&mut net, flow) {
        assert!(net.now < start + Duration::from_secs(100), "it lasts and lasts");
        let chatter = Segment {
            control: TcpControl::None,
            ..peer.segment()
        };
        net.send_or_pass(&chatter.frame());
        net.frames();
        net.wait(Duration::from_secs(1));
    }
}

#[test]
fn a_slow_host_is_waited_for() {
    let mut net = Net::new();
    let flow = time_wait_undrained(&mut net);
    net.actions();
    net.frames();
    for _ in 0..10 {
        net.wait(Duration::from_secs(7000));
        assert_eq!(net.engine.drain(net.now, flow, |_| 1), 1);
        assert!(!closes(&mut net, flow));
    }
}
