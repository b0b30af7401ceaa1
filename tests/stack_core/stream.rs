//! Streams: over a bad wire, against slow readers, through closed windows.

use std::net::SocketAddrV4;

use gangplank::stack::{Action, RingSizes};
use smoltcp::time::Duration;

use crate::net::*;
use crate::sim::{FAIR, Sim, Weather, exchange};

/// Established, and something was said both ways.
fn conversation(net: &mut Net) -> Peer {
    let mut peer = net.open(4000);
    net.send(&peer.data(b"question"));
    net.drain(peer.flow);
    assert_eq!(net.segments(), [], "none without the answer");
    net.fill(peer.flow, b"answer");
    let answer = net.one_segment();
    assert_eq!(answer.ack, Some(peer.seq));
    net.send(&peer.take(&answer));
    net.actions();
    peer
}

#[test]
fn in_a_conversation_the_acknowledgement_travels_with_the_answer() {
    let mut net = Net::new();
    let mut peer = conversation(&mut net);
    net.send(&peer.data(b"question"));
    net.drain(peer.flow);
    assert_eq!(net.segments(), [], "none without the answer");
    net.fill(peer.flow, b"answer");
    let answer = net.one_segment();
    assert_eq!((answer.ack, &answer.payload[..]), (Some(peer.seq), &b"answer"[..]));
}

#[test]
fn an_acknowledgement_waits_a_millisecond_for_the_answer() {
    let mut net = Net::new();
    let mut peer = conversation(&mut net);
    net.send(&peer.data(b"question"));
    net.drain(peer.flow);
    assert_eq!(net.segments(), []);
    let asked = net.now;
    let [alone] = &net.wait(Duration::from_secs(1))[..] else {
        panic!("one segment");
    };
    assert_eq!((alone.ack, alone.payload.len()), (Some(peer.seq), 0));
    assert_eq!(net.now - asked, Duration::from_millis(1));
}

#[test]
fn who_sends_much_is_acknowledged_at_once() {
    let mut net = Net::new();
    let mut peer = conversation(&mut net);
    net.send(&peer.data(&[7; 1460]));
    assert_eq!(net.one_segment().ack, Some(peer.seq), "a full segment");
    net.drain(peer.flow);

    let mut peer = conversation_again(&mut net, peer);
    net.send(&peer.data(b"short"));
    assert_eq!(net.segments(), []);
    net.send(&peer.data(&[7; 1460]));
    assert_eq!(
        net.one_segment().ack,
        Some(peer.seq),
        "more than a segment's worth waits"
    );
}

#[test]
fn a_container_that_waits_for_its_acknowledgement_is_not_kept() {
    let mut net = Net::new();
    let mut peer = conversation(&mut net);
    net.send(&peer.data(b"one"));
    assert_eq!((net.segments(), net.wait(Duration::from_secs(1)).len()), (vec![], 1));
    net.send(&peer.data(b"two"));
    assert_eq!(net.one_segment().ack, Some(peer.seq), "no answer came between");
}

#[test]
fn the_end_is_acknowledged_with_ours() {
    let mut net = Net::new();
    let mut peer = conversation(&mut net);
    net.send(&peer.fin());
    assert_eq!(net.segments(), [], "none without our FIN");
    net.engine.finished(net.now, peer.flow);
    let fin = net.one_segment();
    assert_eq!((fin.fin, fin.ack), (true, Some(peer.seq)));
    net.actions();

    let mut peer = net.open(4001);
    net.engine.finished(net.now, peer.flow);
    let fin = net.one_segment();
    net.send(&peer.take(&fin));
    net.send(&peer.fin());
    assert_eq!(net.one_segment().ack, Some(peer.seq), "nothing of ours is to follow");
}

fn conversation_again(net: &mut Net, mut peer: Peer) -> Peer {
    net.fill(peer.flow, b"answer");
    let answer = net.one_segment();
    net.send(&peer.take(&answer));
    net.actions();
    peer
}

#[test]
fn a_megabyte_each_way() {
    exchange(Sim::outbound(FAIR, 1), 1 << 20, Duration::from_secs(20));
    exchange(Sim::inbound(FAIR, 1), 1 << 20, Duration::from_secs(20));
}

#[test]
fn nothing_at_all() {
    exchange(Sim::outbound(FAIR, 1), 0, Duration::from_secs(1));
    exchange(Sim::inbound(FAIR, 1), 0, Duration::from_secs(1));
}

#[test]
fn through_loss() {
    let weather = Weather { loss: 50, ..FAIR };
    for seed in 1..6 {
        exchange(Sim::outbound(weather, seed), 100_000, Duration::from_secs(600));
        exchange(Sim::inbound(weather, seed), 100_000, Duration::from_secs(600));
    }
}

#[test]
fn through_reordering_and_repetition() {
    let weather = Weather {
        delay: 200,
        repetition: 100,
        ..FAIR
    };
    let mut sacks = 0;
    for seed in 1..6 {
        sacks += exchange(Sim::outbound(weather, seed), 200_000, Duration::from_secs(300)).out_of_order_acks;
        exchange(Sim::inbound(weather, seed), 200_000, Duration::from_secs(300));
    }
    assert!(sacks > 0, "out-of-order data is kept and acknowledged selectively");
}

#[test]
fn through_all_of_it() {
    let weather = Weather {
        loss: 30,
        delay: 100,
        repetition: 50,
    };
    for seed in 1..11 {
        exchange(Sim::outbound(weather, seed), 50_000, Duration::from_secs(600));
        exchange(Sim::inbound(weather, seed), 50_000, Duration::from_secs(600));
    }
}

#[test]
fn with_a_slow_reader_on_either_side() {
    let mut sim = Sim::outbound(FAIR, 1);
    sim.host_appetite = 700;
    exchange(sim, 300_000, Duration::from_secs(60));
    let mut sim = Sim::outbound(FAIR, 1);
    sim.container_appetite = 700;
    exchange(sim, 300_000, Duration::from_secs(60));
}

#[test]
fn out_of_order_bytes_are_kept() {
    let mut net = Net::new();
    let mut peer = net.open(4000);
    let (first, second, third) = (peer.data(&[1; 100]), peer.data(&[2; 100]), peer.data(&[3; 100]));
    net.send(&third);
    net.send(&second);
    assert_eq!(net.actions(), []);
    let answers = net.segments();
    assert!(
        answers.iter().all(|seen| seen.ack == Some(CLIENT_ISN.wrapping_add(1))),
        "at once, for each: {answers:?}"
    );
    assert_eq!(answers.len(), 2);
    net.send(&first);
    assert_eq!(
        net.segments().last().unwrap().ack,
        Some(peer.seq),
        "all three with one ACK"
    );
    assert_eq!(net.drain(peer.flow), [[1; 100], [2; 100], [3; 100]].concat());
}

#[test]
fn the_window_closes_and_opens_again() {
    let mut net = Net::with(|config| config.rings = RingSizes::each(4096));
    let mut peer = net.open(4000);
    for _ in 0..4 {
        net.send(&peer.data(&[5; 1024]));
    }
    assert_eq!(
        net.one_segment().window,
        0,
        "what the host does not take stays in the ring"
    );
    net.send(
        &Segment {
            payload: b"probe",
            ..peer.segment()
        }
        .frame(),
    );
    let answer = net.one_segment();
    assert_eq!((answer.ack, answer.window), (Some(peer.seq), 0));
    assert_eq!(net.actions(), [Action::Drain { flow: peer.flow }], "said once");
    assert_eq!(net.drain(peer.flow).len(), 4096);
    assert_eq!(net.one_segment().window, 4096, "the window is opened unasked");
}

/// In a window of two-byte units an odd byte has no room, although it was offered before; what the container says from then on
/// has the number behind it.
#[test]
fn acknowledgements_count_from_behind_a_window_that_was_rounded_down() {
    let mut net = Net::new();
    let mut peer = net.open(4000);
    let offered = peer.seq.wrapping_add(65_536);
    let mut told = Vec::new();
    for len in [1001].into_iter().chain([1460; 44]).chain([295]) {
        net.send(&peer.data(&vec![1; len]));
        told = net.segments();
    }
    assert_eq!(peer.seq, offered);
    let last = told.pop().unwrap();
    assert_eq!((last.ack, last.window), (Some(peer.seq.wrapping_sub(1)), 0));
    net.fill(peer.flow, b"and now to you");
    let answer = net.one_segment();
    net.send(&peer.take(&answer));
    assert_eq!(net.segments(), []);
    assert_eq!(net.wait(Duration::from_secs(60)), [], "nothing is owed");
}

#[test]
fn a_closed_window_of_the_container_is_probed_for_ever() {
    let mut net = Net::new();
    let mut peer = net.open(4000);
    net.fill(peer.flow, &[6; 3000]);
    let sent = net.segments();
    assert_eq!(
        sent.iter().map(|seen| seen.payload.len()).collect::<Vec<_>>(),
        [1460, 1460, 80]
    );
    peer.ack = sent[1].end();
    let probes = probes_of_an_hour(&mut net, peer);
    assert!((50..200).contains(&probes), "with backoff to a minute: {probes}");
    assert_eq!(net.actions(), [], "a container that answers is never given up");
    net.send(&peer.segment().frame());
    assert_eq!(net.segments().iter().map(|seen| seen.payload.len()).sum::<usize>(), 80);
}

/// A kernel that has no memory for what arrives drops it, and says so by a closed window (tcp_select_window, ICSK_ACK_NOMEM).
#[test]
fn what_is_lost_as_the_window_closes_is_sent_again_when_it_opens() {
    let mut net = Net::new();
    let mut peer = net.open(4000);
    net.fill(peer.flow, &[6; 2920]);
    let sent = net.segments();
    assert_eq!(sent.len(), 2);
    peer.ack = sent[0].end();
    let closed = Segment {
        window: 0,
        ..peer.segment()
    };
    net.send(&closed.frame());
    assert_eq!(net.segments(), []);
    net.send(&peer.segment().frame());
    assert_eq!(net.segments(), []);
    let again = net.wait(Duration::from_secs(3));
    assert_eq!((again[0].seq, again[0].payload.len()), (peer.ack, 1460));
    net.send(&peer.take(&again[0]));
    assert_eq!(net.wait(Duration::from_secs(60)), [], "nothing is owed");
}

/// How many segments come to a container that answers each with a closed window.
fn probes_of_an_hour(net: &mut Net, peer: Peer) -> usize {
    let closed = Segment {
        window: 0,
        ..peer.segment()
    };
    net.send(&closed.frame());
    net.segments();
    let mut probes = 0;
    let end = net.now + Duration::from_secs(3600);
    while net.now < end {
        let seen = net.wait_until(end);
        probes += seen.len();
        if !seen.is_empty() {
            net.send(&closed.frame());
            net.segments();
        }
    }
    probes
}

/// A reader that takes its time over the end has not gone.
#[test]
fn a_closed_window_is_probed_for_ever_when_both_have_finished() {
    let mut net = Net::new();
    let mut peer = net.open(4000);
    let flow = peer.flow;
    net.fill(flow, &[6; 3000]);
    net.engine.finished(net.now, flow);
    let sent = net.segments();
    assert_eq!((sent.len(), sent[2].payload.len(), sent[2].fin), (3, 80, true));
    peer.ack = sent[1].end();
    net.send(&peer.fin());
    assert_eq!(net.actions(), [Action::Finish { flow }]);
    let probes = probes_of_an_hour(&mut net, peer);
    assert!((50..200).contains(&probes), "with backoff to a minute: {probes}");
    assert_eq!(net.actions(), [], "a container that answers is never given up");
    net.send(&peer.segment().frame());
    let last = net.one_segment();
    assert_eq!((last.payload.len(), last.fin), (80, true));
}

#[test]
fn a_container_that_falls_silent_is_given_up() {
    let mut net = Net::new();
    let peer = net.open(4000);
    net.pass_time(Duration::from_secs(3600));
    net.fill(peer.flow, b"hello?");
    net.segments();
    let began = net.now;
    let end = began + Duration::from_secs(2000);
    let mut last = Vec::new();
    while net.actions().is_empty() {
        assert!(net.now < end);
        last = net.wait_until(end);
    }
    assert!(last[0].rst);
    let patience = (net.now - began).secs();
    assert!(
        (900..1000).contains(&patience),
        "counted from the bytes, not from the last word: {patience}"
    );
    assert_eq!(net.engine.poll_timeout(), None);
}

#[test]
fn a_window_that_shrinks() {
    let mut net = Net::new();
    let mut peer = net.open(4000);
    net.fill(peer.flow, &[7; 8000]);
    assert!(net.segments().len() >= 5);
    for window in [100, 0, 1, 50] {
        net.send(
            &Segment {
                window,
                ..peer.segment()
            }
            .frame(),
        );
        net.segments();
        net.wait(Duration::from_secs(3));
    }
    let end = net.now + Duration::from_secs(300);
    let from = peer.ack;
    net.send(&peer.segment().frame());
    while peer.ack.wrapping_sub(from) < 8000 {
        let seen = net.wait_until(end);
        assert!(net.now < end, "{}", peer.ack.wrapping_sub(from));
        for seen in seen {
            if seen.seq == peer.ack {
                net.send(&peer.take(&seen));
            }
        }
        for seen in net.segments() {
            if seen.seq == peer.ack {
                net.send(&peer.take(&seen));
            }
        }
    }
}

#[test]
fn room_is_announced_when_it_is_worth_a_read() {
    let mut net = Net::new();
    let mut peer = net.open(4000);
    let flow = peer.flow;
    assert_eq!(net.fill(flow, &[0; 70_000]), 65_536);
    assert_eq!(net.fill(flow, &[0; 1000]), 0);
    let mut acknowledged = 0;
    let mut announced = None;
    for seen in net.segments() {
        net.send(&peer.take(&seen));
        acknowledged += seen.payload.len();
        if net.actions() == [Action::Fill { flow }] {
            assert_eq!(announced, None, "once");
            announced = Some(acknowledged);
        }
    }
    assert!((16_384..20_000).contains(&announced.unwrap()), "{announced:?}");
}

/// Each segment that belongs to no flow is answered with a reset.
#[test]
fn who_has_answers_made_without_end_holds_up_no_stream() {
    let mut net = Net::new();
    let peer = net.open(4000);
    for port in 0..200 {
        let stray = Peer::new(
            SocketAddrV4::new(ADDRESS, 5000 + port),
            "203.0.113.9:80".parse().unwrap(),
        );
        net.send_or_pass(&stray.segment().frame());
    }
    net.fill(peer.flow, &[7; 1000]);
    let segments = net.segments();
    assert_eq!(segments.len(), 201);
    let place = segments.iter().position(|segment| !segment.payload.is_empty());
    assert!(place.unwrap() < 8, "{place:?}");
}
