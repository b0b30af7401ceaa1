//! RFC 5961, and what smoltcp must not see.

use gangplank::stack::{Action, Closing, RingSizes};
use smoltcp::time::Duration;
use smoltcp::wire::TcpControl;

use crate::net::*;

#[test]
fn a_reset_counts_only_where_the_next_byte_is_expected() {
    let mut net = Net::new();
    let peer = net.open(4000);
    let reset = |offset: u32| {
        Segment {
            control: TcpControl::Rst,
            seq: peer.seq.wrapping_add(offset),
            ..peer.segment()
        }
        .frame()
    };
    for outside in [u32::MAX, 65536, 70_000, 1 << 31] {
        net.send(&reset(outside));
        assert_eq!(
            (net.actions(), net.segments()),
            (vec![], vec![]),
            "outside the window: {outside}"
        );
    }
    for inside in [1, 1000, 65535] {
        net.pass_time(Duration::from_secs(2));
        net.send(&reset(inside));
        assert_eq!(net.actions(), [], "inside, not exact: {inside}");
        let challenge = net.one_segment();
        assert_eq!(
            (challenge.seq, challenge.ack, challenge.rst),
            (peer.ack, Some(peer.seq), false)
        );
    }
    assert_eq!(net.count("challenges"), 3);
    net.send(&reset(0));
    assert_eq!(
        net.actions(),
        [Action::Close {
            flow: peer.flow,
            how: Closing::Reset
        }]
    );
}

#[test]
fn the_exact_place_moves_with_the_bytes() {
    let mut net = Net::new();
    let mut peer = net.open(4000);
    net.send(&peer.data(&[0; 1000]));
    net.send(&peer.data(&[0; 1000]));
    assert_eq!(net.drain(peer.flow).len(), 2000);
    net.send(&peer.data(&[0; 500]));
    net.actions();
    let old = Segment {
        control: TcpControl::Rst,
        seq: peer.seq.wrapping_sub(1),
        ..peer.segment()
    };
    net.send(&old.frame());
    assert_eq!(net.actions(), []);
    net.send(&peer.rst());
    let flow = peer.flow;
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
fn challenges_are_at_most_one_a_second() {
    let mut net = Net::new();
    let peer = net.open(4000);
    let inexact = Segment {
        control: TcpControl::Rst,
        seq: peer.seq.wrapping_add(1),
        ..peer.segment()
    }
    .frame();
    for _ in 0..100 {
        net.send(&inexact);
    }
    assert_eq!(net.segments().len(), 1);
}

#[test]
fn a_syn_on_an_open_connection_is_challenged() {
    let mut net = Net::new();
    let peer = net.open(4000);
    for (seq, ack) in [(peer.seq, None), (1, None), (peer.seq, Some(peer.ack))] {
        net.pass_time(Duration::from_secs(2));
        net.send(
            &Segment {
                control: TcpControl::Syn,
                seq,
                ack,
                ..peer.segment()
            }
            .frame(),
        );
        let challenge = net.one_segment();
        assert_eq!(
            (challenge.ack, challenge.rst, challenge.syn),
            (Some(peer.seq), false, false)
        );
    }
    assert_eq!(net.actions(), []);
}

#[test]
fn an_acknowledgement_of_what_was_never_sent_is_challenged() {
    let mut net = Net::new();
    let mut peer = net.open(4000);
    let closed = Segment {
        window: 0,
        ..peer.segment()
    };
    net.send(&closed.frame());
    net.fill(peer.flow, &[7; 1000]);
    assert_eq!(
        net.one_segment().payload.len(),
        1,
        "its window is closed: a probe, the bytes wait in the ring"
    );
    net.send(
        &Segment {
            ack: Some(peer.ack.wrapping_add(500)),
            ..peer.segment()
        }
        .frame(),
    );
    assert_eq!(net.count("challenges"), 1);
    net.segments();
    net.send(&peer.segment().frame());
    let sent = net.one_segment();
    assert_eq!(sent.payload.len(), 1000, "nothing was taken for delivered");
    net.send(&peer.take(&sent));
}

#[test]
fn an_old_acknowledgement_is_as_good_as_none() {
    let mut net = Net::new();
    let mut peer = net.open(4000);
    let before = peer;
    net.fill(peer.flow, &[7; 1000]);
    let sent = net.one_segment();
    net.send(&peer.take(&sent));
    // Sent before that acknowledgement, overtaken by it on the way.
    let late = Segment {
        payload: b"late",
        ..before.segment()
    };
    net.send(&late.frame());
    assert_eq!(net.drain(peer.flow), b"late", "the bytes are kept");
    assert_eq!(net.segments(), []);
    let acknowledgement = net.wait(Duration::from_millis(1));
    assert_eq!(acknowledgement.last().unwrap().ack, Some(peer.seq.wrapping_add(4)));
}

/// smoltcp shifts the window of its own SYN, and would take bytes that its ring cannot hold.
#[test]
fn bytes_beyond_the_ring_are_not_taken() {
    for ring in [4096, 65536, 1 << 20] {
        let mut net = Net::with(|config| config.rings = RingSizes::each(ring));
        let mut peer = net.open(4000);
        for offset in [ring - 1, ring, ring + 1, 100_000, 500_000, 1_048_000, 4_000_000] {
            let seq = peer.seq.wrapping_add(offset as u32);
            net.send(
                &Segment {
                    seq,
                    payload: &[1; 1400],
                    ..peer.segment()
                }
                .frame(),
            );
            net.segments();
        }
        net.send(&peer.data(&[2; 1400]));
        net.actions();
        assert_eq!(net.drain(peer.flow), [2; 1400]);
    }
}

/// smoltcp takes the FIN of a segment of which it only took a part.
#[test]
fn a_fin_behind_bytes_that_do_not_fit_waits_for_them() {
    let mut net = Net::with(|config| config.rings = RingSizes::each(2048));
    let mut peer = net.open(4000);
    net.send(&peer.data(&[1; 1024]));
    let advertised = net.lone_acknowledgement();
    assert_eq!(advertised.window, 1024);
    assert_eq!(net.drain(peer.flow).len(), 1024);
    // No window update yet: 1024 bytes fit the window that was sent, 1400 fit the ring.
    let last = Segment {
        control: TcpControl::Fin,
        payload: &[2; 1400],
        ..peer.segment()
    };
    net.send(&last.frame());
    net.actions();
    let taken = net.drain(peer.flow).len();
    assert_eq!(net.actions(), [], "no Finish before the last byte");
    net.segments();
    net.send(&last.frame());
    assert_eq!(taken + net.drain(peer.flow).len(), 1400);
    assert!(net.actions().contains(&Action::Finish { flow: peer.flow }));
}

#[test]
fn a_keep_alive_is_answered() {
    let mut net = Net::new();
    let mut peer = net.open(4000);
    net.send(&peer.data(b"x"));
    net.segments();
    for payload in [&b""[..], b"\0"] {
        net.pass_time(Duration::from_secs(7200));
        net.send(
            &Segment {
                seq: peer.seq.wrapping_sub(1),
                payload,
                ..peer.segment()
            }
            .frame(),
        );
        let answer = net.one_segment();
        assert_eq!((answer.ack, answer.rst), (Some(peer.seq), false));
    }
    assert_eq!(net.drain(peer.flow), b"x", "the garbage byte is not data");
}

#[test]
fn urgent_data_is_data() {
    for pointer in [0, 1, 3, 4, 65535] {
        let mut net = Net::new();
        let mut peer = net.open(4000);
        let mut frame = peer.data(b"abc");
        frame[47] |= 0x20;
        frame[52..54].copy_from_slice(&u16::to_be_bytes(pointer));
        fix_tcp_checksum(&mut frame);
        net.send(&frame);
        assert_eq!(net.drain(peer.flow), b"abc", "{pointer}");
    }
}
