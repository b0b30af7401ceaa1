//! FIN and RST in every order, from either side, with and without bytes in the rings.

use std::net::SocketAddrV4;

use gangplank::stack::{Action, Closing};
use smoltcp::time::Duration;
use smoltcp::wire::TcpControl;

use crate::net::*;

#[test]
fn the_container_finishes_first() {
    let mut net = Net::new();
    let mut peer = net.open(4000);
    let flow = peer.flow;
    net.send(&peer.data(b"question"));
    net.send(&peer.fin());
    assert_eq!(
        net.actions(),
        [Action::Drain { flow }],
        "no Finish before everything is drained"
    );
    assert_eq!(net.lone_acknowledgement().ack, Some(peer.seq));
    assert_eq!(net.drain(flow), b"question");
    assert_eq!(net.actions(), [Action::Finish { flow }]);
    assert_eq!(net.fill(flow, b"answer"), 6, "half closed: the other half goes on");
    let answer = net.one_segment();
    assert_eq!(answer.payload, b"answer");
    net.send(&peer.take(&answer));
    net.engine.finished(net.now, flow);
    let fin = net.one_segment();
    assert!(fin.fin);
    assert_eq!(net.actions(), []);
    net.send(&peer.take(&fin));
    assert_eq!(
        net.actions(),
        [Action::Close {
            flow,
            how: Closing::Graceful
        }]
    );
    assert_eq!((net.segments(), net.engine.poll_timeout()), (vec![], None));
}

#[test]
fn the_host_finishes_first() {
    let mut net = Net::new();
    let mut peer = net.open(4000);
    let flow = peer.flow;
    net.fill(flow, b"bye");
    net.engine.finished(net.now, flow);
    let last = net.one_segment();
    assert_eq!((&last.payload[..], last.fin), (&b"bye"[..], true));
    net.send(&peer.take(&last));
    net.send(&peer.data(b"not yet"));
    assert_eq!(net.actions(), [Action::Drain { flow }]);
    assert_eq!(net.drain(flow), b"not yet");
    net.segments();
    let fin = peer.fin();
    net.send(&fin);
    assert_eq!(
        net.actions(),
        [
            Action::Finish { flow },
            Action::Close {
                flow,
                how: Closing::Graceful
            }
        ]
    );
    assert_eq!(net.one_segment().ack, Some(peer.seq), "the last ACK");
    net.pass_time(Duration::from_secs(3));
    net.send(&fin);
    let again = net.one_segment();
    assert_eq!(
        (again.ack, again.rst),
        (Some(peer.seq), false),
        "and again for the FIN that comes again"
    );
    assert!(net.wait(Duration::from_secs(30)).is_empty());
    net.send(&fin);
    assert!(net.one_segment().rst, "TIME-WAIT is over");
    assert_eq!(net.engine.poll_timeout(), None);
}

#[test]
fn both_finish_at_once() {
    let mut net = Net::new();
    let mut peer = net.open(4000);
    let flow = peer.flow;
    net.engine.finished(net.now, flow);
    let fin = net.one_segment();
    assert!(fin.fin);
    net.send(&peer.fin());
    assert_eq!(net.actions(), [Action::Finish { flow }]);
    assert_eq!(net.one_segment().ack, Some(peer.seq));
    net.send(&peer.take(&fin));
    assert_eq!(
        net.actions(),
        [Action::Close {
            flow,
            how: Closing::Graceful
        }]
    );
}

#[test]
fn bytes_survive_the_end_of_the_connection_until_the_host_has_taken_them() {
    let mut net = Net::new();
    let mut peer = net.open(4000);
    let flow = peer.flow;
    net.engine.finished(net.now, flow);
    let fin = net.one_segment();
    net.send(&peer.take(&fin));
    net.send(&peer.data(b"late"));
    net.send(&peer.fin());
    assert_eq!(net.lone_acknowledgement().ack, Some(peer.seq));
    assert_eq!(net.actions(), [Action::Drain { flow }]);
    assert!(
        net.wait(Duration::from_secs(120)).is_empty(),
        "much longer than any TIME-WAIT"
    );
    assert_eq!(net.drain(flow), b"late");
    assert_eq!(
        net.actions(),
        [
            Action::Finish { flow },
            Action::Close {
                flow,
                how: Closing::Graceful
            }
        ]
    );
}

#[test]
fn a_lost_fin_is_sent_again() {
    let mut net = Net::new();
    let mut peer = net.open(4000);
    net.send(&peer.fin());
    net.segments();
    net.engine.finished(net.now, peer.flow);
    assert!(net.one_segment().fin);
    net.actions();
    for _ in 0..3 {
        assert!(net.wait(Duration::from_secs(10))[0].fin);
    }
    let end = net.now + Duration::from_secs(70);
    let mut last = Vec::new();
    while net.actions().is_empty() {
        last = net.wait_until(end);
    }
    assert!(last[0].rst, "after a minute it is given up");
    assert_eq!(net.engine.poll_timeout(), None);
}

#[test]
fn the_container_resets() {
    let mut net = Net::new();
    let mut peer = net.open(4000);
    let flow = peer.flow;
    net.send(&peer.data(b"abandoned"));
    net.send(&peer.rst());
    assert_eq!(
        net.actions(),
        [
            Action::Drain { flow },
            // Once more, for the host's socket may have had no room before.
            Action::Drain { flow },
            Action::Close {
                flow,
                how: Closing::Reset
            }
        ]
    );
    assert_eq!(net.drain(flow), b"");
    assert_eq!(net.segments(), [], "a reset is not answered");
    assert_eq!(net.engine.poll_timeout(), None);
    net.send(&peer.segment().frame());
    assert!(net.one_segment().rst, "the flow is gone");
}

#[test]
fn the_host_resets() {
    let mut net = Net::new();
    let mut peer = net.open(4000);
    let flow = peer.flow;
    net.send(&peer.data(b"unread"));
    net.fill(flow, b"unsent");
    let sent = net.segments();
    net.engine.reset(net.now, flow);
    let reset = net.one_segment();
    assert!(reset.rst);
    assert_eq!(
        (reset.seq, reset.ack),
        (sent.last().unwrap().end(), Some(peer.seq)),
        "exactly where it is expected"
    );
    assert_eq!(
        net.actions(),
        [
            Action::Drain { flow },
            Action::Close {
                flow,
                how: Closing::Reset
            }
        ]
    );
}

#[test]
fn resets_in_every_state() {
    type Step = fn(&mut Net, &mut Peer);
    let steps: [(&str, Step); 5] = [
        ("established", |_, _| {}),
        ("close-wait", |net, peer| net.send(&peer.fin())),
        ("fin-wait-1", |net, peer| net.engine.finished(net.now, peer.flow)),
        ("fin-wait-2", |net, peer| {
            net.engine.finished(net.now, peer.flow);
            let fin = net.one_segment();
            net.send(&peer.take(&fin));
        }),
        ("last-ack", |net, peer| {
            net.send(&peer.fin());
            net.segments();
            net.engine.finished(net.now, peer.flow);
        }),
    ];
    for (state, step) in steps {
        let mut net = Net::new();
        let mut peer = net.open(4000);
        step(&mut net, &mut peer);
        net.segments();
        net.actions();
        net.send(&peer.rst());
        assert_eq!(
            net.actions(),
            [Action::Close {
                flow: peer.flow,
                how: Closing::Reset
            }],
            "{state}"
        );

        let mut net = Net::new();
        let mut peer = net.open(4000);
        step(&mut net, &mut peer);
        net.segments();
        net.actions();
        net.engine.reset(net.now, peer.flow);
        let reset = net.one_segment();
        assert!(reset.rst && reset.ack == Some(peer.seq), "{state}: {reset:?}");
        assert_eq!(
            net.actions(),
            [Action::Close {
                flow: peer.flow,
                how: Closing::Reset
            }],
            "{state}"
        );
        assert_eq!(net.engine.poll_timeout(), None, "{state}");
    }
}

#[test]
fn a_new_syn_in_time_wait_opens_a_new_flow() {
    let mut net = Net::new();
    let mut peer = net.open(4000);
    net.engine.finished(net.now, peer.flow);
    let fin = net.one_segment();
    net.send(&peer.take(&fin));
    net.send(&peer.fin());
    net.segments();
    net.actions();
    net.send(&peer.segment().frame());
    assert_eq!(net.segments(), [], "a bare ACK in TIME-WAIT is not answered");
    peer.seq = peer.seq.wrapping_add(1000);
    net.send(&peer.syn());
    assert!(matches!(net.actions()[..], [Action::Connect { .. }]));
}

#[test]
fn a_host_that_finishes_before_the_handshake_is_done() {
    let mut net = Net::new();
    let peer = Peer::new(SocketAddrV4::new(ADDRESS, 4000), SocketAddrV4::new(OUTSIDE, 80));
    net.send(&peer.syn());
    let [Action::Connect { flow, .. }] = net.actions()[..] else {
        panic!()
    };
    net.engine.connected(net.now, flow);
    net.engine.finished(net.now, flow);
    let answer = net.one_segment();
    assert!(answer.syn && !answer.fin);
    let peer = Peer {
        seq: CLIENT_ISN.wrapping_add(1),
        ack: answer.end(),
        ..peer
    };
    net.send(&peer.segment().frame());
    assert!(net.one_segment().fin);
}

#[test]
fn a_fin_with_the_third_segment() {
    let mut net = Net::new();
    let mut peer = Peer::new(SocketAddrV4::new(ADDRESS, 4000), SocketAddrV4::new(OUTSIDE, 80));
    net.send(&peer.syn());
    let [Action::Connect { flow, .. }] = net.actions()[..] else {
        panic!()
    };
    net.engine.connected(net.now, flow);
    peer = Peer {
        seq: CLIENT_ISN.wrapping_add(1),
        ack: net.one_segment().end(),
        ..peer
    };
    net.send(
        &Segment {
            control: TcpControl::Fin,
            payload: b"all at once",
            ..peer.segment()
        }
        .frame(),
    );
    assert_eq!(net.actions(), [Action::Drain { flow }]);
    assert_eq!(net.drain(flow), b"all at once");
    assert_eq!(net.actions(), [Action::Finish { flow }]);
}

#[test]
fn a_container_that_goes_takes_its_flows_along() {
    let mut net = Net::new();
    let open = net.open(4000);
    let held = Peer::new(SocketAddrV4::new(ADDRESS, 4001), SocketAddrV4::new(OUTSIDE, 80));
    net.send(&held.syn());
    let [Action::Connect { flow, .. }] = net.actions()[..] else {
        panic!()
    };
    net.engine.detach(gangplank::stack::Attachment {
        mac: MAC,
        address: ADDRESS.into(),
    });
    let closed = net.actions();
    assert_eq!(closed.len(), 2);
    for gone in [open.flow, flow] {
        assert!(closed.contains(&Action::Close {
            flow: gone,
            how: Closing::Reset
        }));
    }
    assert_eq!((net.segments(), net.engine.poll_timeout()), (vec![], None));
    net.send(&held.syn());
    assert_eq!(net.count("drop_spoofed"), 1);
}

#[test]
fn an_id_comes_back_only_after_its_close_was_taken() {
    let mut net = Net::new();
    let peer = net.open(4000);
    net.engine.reset(net.now, peer.flow);
    let next = Peer::new(SocketAddrV4::new(ADDRESS, 4001), SocketAddrV4::new(OUTSIDE, 80));
    net.send(&next.syn());
    let actions = net.actions();
    let [Action::Close { flow: closed, .. }, Action::Connect { flow: opened, .. }] = actions[..] else {
        panic!("{actions:?}")
    };
    assert_ne!(closed, opened);
}

#[test]
fn a_fin_behind_a_hole_counts_when_it_comes_again() {
    let mut net = Net::new();
    let mut peer = net.open(4000);
    let first = peer.data(&[1; 100]);
    let last = Segment {
        control: TcpControl::Fin,
        payload: &[2; 100],
        ..peer.segment()
    };
    net.send(&last.frame());
    net.send(&first);
    assert_eq!(net.drain(peer.flow).len(), 200);
    assert_eq!(
        net.actions(),
        [Action::Drain { flow: peer.flow }],
        "its bytes were kept, the FIN was not"
    );
    net.send(&last.frame());
    assert_eq!(net.actions(), [Action::Finish { flow: peer.flow }]);
    net.segments();
    assert_eq!(net.lone_acknowledgement().ack, Some(peer.seq.wrapping_add(101)));
}

#[test]
fn a_lost_fin_is_sent_again_whatever_is_acknowledged_meanwhile() {
    let mut net = Net::new();
    let mut peer = net.open(4000);
    net.fill(peer.flow, b"last words");
    net.engine.finished(net.now, peer.flow);
    let last = net.one_segment();
    peer.ack = last.end().wrapping_sub(1);
    for _ in 0..5 {
        net.send(&peer.segment().frame());
    }
    assert_eq!(net.segments(), []);
    let again = net.wait(Duration::from_secs(3));
    assert!(again[0].fin && again[0].payload.is_empty(), "{again:?}");
}

/// A server that refuses a request without reading all of it answers, and its kernel resets.
#[test]
fn what_the_container_says_before_its_reset_arrives() {
    let mut net = Net::new();
    let mut peer = net.open(4000);
    let flow = peer.flow;
    net.send(&peer.data(b"413"));
    net.send(&peer.rst());
    let mut heard = Vec::new();
    let mut ends = 0;
    while let Some(action) = net.engine.poll_action() {
        match action {
            Action::Drain { .. } => heard.extend(net.drain(flow)),
            Action::Close { how, .. } => {
                assert_eq!(how, Closing::Reset);
                ends += 1;
            }
            _ => panic!("{action:?}"),
        }
    }
    assert_eq!((heard.as_slice(), ends), (b"413".as_slice(), 1));
    assert_eq!(net.segments(), [], "a reset is not answered");
    assert_eq!(net.engine.poll_timeout(), None);
    let again = net.open(4001);
    assert_eq!(again.flow, flow, "the id is free");
}

#[test]
fn what_the_host_says_before_its_reset_arrives() {
    let mut net = Net::new();
    let peer = net.open(4000);
    let flow = peer.flow;
    net.fill(flow, b"413");
    net.engine.reset(net.now, flow);
    net.engine.reset(net.now, flow);
    assert_eq!(net.actions(), [], "not yet");
    let segments = net.segments();
    assert_eq!(segments[0].payload, b"413");
    assert!(segments[1].rst && segments[1].seq == segments[0].end(), "{segments:?}");
    let how = Closing::Reset;
    assert_eq!(net.actions(), [Action::Close { flow, how }]);
    assert_eq!(net.engine.poll_timeout(), None);
}

/// What the container has sent is lost in part, so that its acknowledgements carry later numbers than we expect.
#[test]
fn a_lost_fin_is_sent_again_whatever_is_acknowledged_behind_a_gap() {
    let mut net = Net::new();
    let mut peer = net.open(4000);
    net.engine.finished(net.now, peer.flow);
    assert!(net.one_segment().fin);
    peer.data(b"lost");
    for _ in 0..6 {
        net.send(&peer.segment().frame());
    }
    let again = net.wait(Duration::from_secs(3));
    assert!(again.iter().any(|segment| segment.fin), "{again:?}");
}

#[test]
fn a_container_that_goes_when_it_has_said_all_ends_well() {
    let mut net = Net::new();
    let mut peer = net.open(4000);
    let flow = peer.flow;
    net.send(&peer.data(b"all"));
    net.send(&peer.fin());
    assert_eq!(net.drain(flow), b"all");
    net.actions();
    net.engine.detach(gangplank::stack::Attachment {
        mac: MAC,
        address: ADDRESS.into(),
    });
    let how = Closing::Graceful;
    assert_eq!(net.actions(), [Action::Close { flow, how }]);
}

#[test]
fn a_container_that_resets_and_goes_ends_a_flow_once() {
    let mut net = Net::new();
    let mut peer = net.open(4000);
    let flow = peer.flow;
    net.send(&peer.data(b"last"));
    net.send(&peer.rst());
    net.engine.detach(gangplank::stack::Attachment {
        mac: MAC,
        address: ADDRESS.into(),
    });
    let how = Closing::Reset;
    let ends = net
        .actions()
        .into_iter()
        .filter(|action| *action == Action::Close { flow, how });
    assert_eq!(ends.count(), 1, "the id may be another's by the time of a second");
}

/// It has asked, finished and reads at leisure; smoltcp hears no window in LAST-ACK.
#[test]
fn a_window_that_opens_after_both_have_finished_is_used_at_once() {
    let mut net = Net::new();
    let mut peer = net.open(4000);
    let flow = peer.flow;
    let with_window = |peer: &Peer, window, control| {
        let segment = Segment {
            window,
            control,
            ..peer.segment()
        };
        segment.frame()
    };
    net.send(&with_window(&peer, 10, TcpControl::Fin));
    peer.seq = peer.seq.wrapping_add(1);
    net.fill(flow, &[6; 2000]);
    net.engine.finished(net.now, flow);
    let first = net.one_segment();
    assert_eq!((first.payload.len(), first.fin), (10 << 7, false));
    peer.ack = first.end();
    net.send(&with_window(&peer, 0, TcpControl::None));
    assert_eq!((net.segments(), net.actions()), (vec![], vec![Action::Finish { flow }]));
    net.send(&peer.segment().frame());
    let rest = net.one_segment();
    assert_eq!(
        (rest.payload.len(), rest.fin),
        (720, true),
        "and the FIN with the last byte"
    );
    net.send(&peer.take(&rest));
    let how = Closing::Graceful;
    assert_eq!(net.actions(), [Action::Close { flow, how }]);
}

/// The shell looks at its socket whenever it is asked to, and says again that it has failed.
#[test]
fn a_host_that_has_failed_is_asked_for_nothing_more() {
    let mut net = Net::new();
    let peer = net.open(4000);
    let flow = peer.flow;
    net.fill(flow, b"413");
    for _ in 0..2 {
        net.engine.reset(net.now, flow);
        assert_eq!(net.actions(), []);
        assert_eq!(net.fill(flow, b"there is no more"), 0);
    }
    assert_eq!(net.segments().len(), 2, "what it said, and the reset");
}
