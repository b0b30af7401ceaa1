//! What the rings of TCP flows cost: nothing that no flow moves. The memory is real and forgets what is given back.

use std::net::SocketAddr;

use gangplank::stack::{Action, Refusal, Unreachable};
use smoltcp::time::Duration;

use crate::net::*;
use crate::sim::{Sim, Weather};

/// Longer than two looks at a flow.
const IDLE: Duration = Duration::from_secs(5);

/// A question of the container and the host's answer, both checked.
fn exchange(net: &mut Net, peer: &mut Peer, question: &[u8], answer: &[u8]) {
    net.send(&peer.data(question));
    net.actions();
    assert_eq!(net.drain(peer.flow), question);
    assert_eq!(net.fill(peer.flow, answer), answer.len());
    let mut heard = Vec::new();
    for seen in net.segments() {
        heard.extend_from_slice(&seen.payload);
        if !seen.payload.is_empty() {
            net.send(&peer.take(&seen));
        }
    }
    assert_eq!(heard, answer);
    net.actions();
    net.segments();
}

fn open_many(net: &mut Net, flows: u16) -> Vec<Peer> {
    (0..flows).map(|i| net.open(1024 + i)).collect()
}

fn reset_all(net: &mut Net, peers: &[Peer]) {
    for peer in peers {
        net.engine.reset(net.now, peer.flow);
    }
    // What there was to send goes first.
    net.frames();
    net.actions();
}

#[test]
fn an_idle_flow_gives_its_rings_back_and_goes_on() {
    let mut net = Net::new();
    let mut peer = net.open(4000);
    net.wait(IDLE);
    assert_eq!(net.rings.given_back(), 0, "nothing was written yet");
    for round in 0..5u8 {
        exchange(&mut net, &mut peer, &[round; 5000], &[round ^ 0xff; 6000]);
        assert_eq!(net.rings.given_back(), 0);
        assert_eq!(net.wait(IDLE), []);
        assert_eq!(net.rings.given_back(), 2, "both");
        net.wait(Duration::from_secs(100));
        assert_eq!(net.rings.given_back(), 0, "once");
        assert!(net.rests_for(Duration::from_secs(7000)), "an idle flow wakes nobody");
    }
}

#[test]
fn a_flow_that_never_rests_owns_what_it_moves_between_two_looks() {
    let mut net = Net::new();
    let mut peer = net.open(4000);
    let mut written = 0;
    for second in 0..60u8 {
        exchange(&mut net, &mut peer, &[second; 1000], &[second; 1000]);
        net.wait(Duration::from_secs(1));
        written += 1000;
        if net.rings.given_back() > 0 {
            written = 0;
        }
        assert!(written <= 3000, "{written} bytes of a ring written and kept");
    }
}

#[test]
fn a_busy_flow_keeps_its_rings_until_it_rests() {
    let mut net = Net::new();
    let mut peer = net.open(4000);
    for _ in 0..60 {
        exchange(&mut net, &mut peer, &[1; 1400], &[2; 1400]);
        net.wait(Duration::from_millis(100));
    }
    assert_eq!(
        net.rings.given_back(),
        0,
        "14 KB a second are more than a quarter of 64 KiB in two"
    );
    net.wait(IDLE);
    assert_eq!(net.rings.given_back(), 2);
}

#[test]
fn bytes_that_wait_for_the_host_are_kept() {
    let mut net = Net::new();
    let mut peer = net.open(4000);
    net.send(&peer.data(b"not yet read"));
    net.segments();
    net.wait(Duration::from_secs(60));
    assert_eq!(net.rings.given_back(), 0);
    assert_eq!(net.drain(peer.flow), b"not yet read");
    net.wait(IDLE);
    assert_eq!(net.rings.given_back(), 1);
}

#[test]
fn bytes_that_the_container_has_not_acknowledged_are_kept() {
    let mut net = Net::new();
    let peer = net.open(4000);
    net.fill(peer.flow, b"not yet acknowledged");
    net.segments();
    let again = net.wait(Duration::from_secs(5));
    assert_eq!(again[0].payload, b"not yet acknowledged");
    let again = net.wait(Duration::from_secs(5));
    assert_eq!(again[0].payload, b"not yet acknowledged");
    assert_eq!(net.rings.given_back(), 0);
    net.send(&{ peer }.take(&again[0]));
    net.wait(IDLE);
    assert_eq!(net.rings.given_back(), 1);
}

#[test]
fn bytes_behind_a_gap_are_kept() {
    let mut net = Net::new();
    let mut peer = net.open(4000);
    let first = peer.data(&[1; 1000]);
    net.send(&peer.data(&[2; 1000]));
    net.actions();
    assert_eq!(net.drain(peer.flow), b"");
    net.segments();
    net.wait(Duration::from_secs(60));
    assert_eq!(net.rings.given_back(), 0);
    net.send(&first);
    let all = net.drain(peer.flow);
    assert_eq!((&all[..1000], &all[1000..]), (&[1; 1000][..], &[2; 1000][..]));
    net.wait(IDLE);
    assert_eq!(net.rings.given_back(), 1);
}

#[test]
fn a_flow_that_stands_still_wakes_nobody() {
    let mut net = Net::new();
    let mut peer = net.open(4000);
    net.send(&peer.data(b"not yet read"));
    net.actions();
    net.lone_acknowledgement();
    net.wait(Duration::from_secs(10));
    assert!(net.rests_for(Duration::from_secs(7000)));
}

#[test]
fn connections_that_come_and_go_use_the_same_rings() {
    let mut net = Net::new();
    for round in 0..1000u32 {
        let mut peer = net.open(4000);
        exchange(&mut net, &mut peer, &round.to_be_bytes(), &[round as u8; 2000]);
        reset_all(&mut net, &[peer]);
    }
    assert_eq!((net.rings.reserved(), net.rings.given_back()), (2, 0));
}

#[test]
fn a_flow_that_carried_much_leaves_nothing_behind() {
    let mut net = Net::new();
    let mut peer = net.open(4000);
    for _ in 0..30 {
        exchange(&mut net, &mut peer, &[1; 1400], b"yes");
    }
    reset_all(&mut net, &[peer]);
    assert_eq!(net.rings.given_back(), 2);
}

#[test]
fn few_rings_stay_warm() {
    let mut net = Net::new();
    let mut peers = open_many(&mut net, 200);
    for peer in &mut peers {
        exchange(&mut net, peer, b"question", b"answer");
    }
    reset_all(&mut net, &peers);
    assert_eq!((net.rings.reserved(), net.rings.given_back()), (400, 2 * (200 - 64)));
    let peers = open_many(&mut net, 200);
    assert_eq!(net.rings.reserved(), 400, "the cold ones are used again too");
    reset_all(&mut net, &peers);
    assert_eq!(net.rings.given_back(), 0, "what was not written need not be given back");
}

#[test]
fn a_flow_does_not_inherit_anything() {
    let mut net = Net::new();
    let mut former = net.open(4000);
    net.send(&former.data(b"never read"));
    net.fill(former.flow, &[9; 5000]);
    net.segments();
    // Duplicate acknowledgements on the way to a fast retransmission.
    for _ in 0..3 {
        net.send(&former.segment().frame());
    }
    reset_all(&mut net, &[former]);
    let mut peer = net.open(4000);
    assert_eq!(net.drain(peer.flow), b"");
    exchange(&mut net, &mut peer, b"question", b"answer");
    assert_eq!(net.rings.reserved(), 2, "or nothing was tested");
}

#[test]
fn without_memory_a_flow_is_refused_and_the_next_is_served() {
    let mut net = Net::new();
    net.rings.ledger().full = true;
    let peer = Peer::new("172.17.0.2:4000".parse().unwrap(), "203.0.113.5:80".parse().unwrap());
    net.send(&peer.syn());
    let [Action::Connect { flow, .. }] = net.actions()[..] else {
        panic!("no connect")
    };
    net.engine.connected(net.now, flow);
    assert!(net.one_segment().rst);
    assert!(matches!(net.actions()[..], [Action::Close { .. }]));
    let client: SocketAddr = "198.51.100.7:5555".parse().unwrap();
    let container: SocketAddr = "172.17.0.2:80".parse().unwrap();
    assert_eq!(net.engine.accept(net.now, client, container), Err(Refusal::NoMemory));
    net.rings.ledger().full = false;
    net.open(4001);
    assert!(net.engine.accept(net.now, client, container).is_ok());
    net.engine.refused(net.now, flow, Unreachable::Refused);
}

#[test]
fn streams_with_pauses_in_bad_weather_stay_exact() {
    let mut given_back = 0;
    for seed in 1..=8 {
        let weather = Weather {
            loss: 40,
            repetition: 20,
            delay: 150,
        };
        let mut sim = Sim::outbound(weather, seed);
        let byte = |i: usize| (i.wrapping_mul(31) >> 3) as u8 ^ seed as u8;
        let (mut down, mut up) = (Vec::new(), Vec::new());
        for round in 0..12usize {
            let (from, len) = (down.len(), 700 * (round + 1));
            let part: Vec<u8> = (from..from + len).map(byte).collect();
            sim.say(&part, &part);
            down.extend_from_slice(&part);
            up.extend_from_slice(&part);
            let until = sim.net.now + Duration::from_secs(6);
            while sim.net.now < until {
                sim.step();
            }
            given_back += sim.net.rings.given_back();
        }
        sim.exchange(b"the end", b"the end");
        sim.run(Duration::from_secs(120));
        down.extend_from_slice(b"the end");
        up.extend_from_slice(b"the end");
        assert!(sim.container_received() == down, "seed {seed}: to the container");
        assert!(sim.received == up, "seed {seed}: to the host");
    }
    assert!(given_back > 100, "{given_back} rings given back meanwhile");
}
