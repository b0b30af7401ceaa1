//! Opening flows: the held SYN and its ends, inbound flows, and who appears as whom.

use std::net::{SocketAddr, SocketAddrV4};

use gangplank::policy::Transport;
use gangplank::stack::{Action, Closing, Refusal, Target, Unreachable};
use smoltcp::time::Duration;
use smoltcp::wire::TcpControl;

use crate::net::*;

fn client(port: u16) -> Peer {
    Peer::new(SocketAddrV4::new(ADDRESS, port), SocketAddrV4::new(OUTSIDE, 80))
}

fn connect(net: &mut Net, peer: &Peer) -> gangplank::stack::FlowId {
    net.send(&peer.syn());
    match net.actions()[..] {
        [Action::Connect { flow, .. }] => flow,
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn a_syn_is_answered_when_the_host_is_connected_and_not_before() {
    let mut net = Net::new();
    let peer = client(4000);
    let flow = connect(&mut net, &peer);
    assert_eq!(net.segments(), []);
    net.send(&peer.syn());
    assert_eq!(
        (net.actions(), net.segments()),
        (vec![], vec![]),
        "a SYN that comes again changes nothing"
    );
    net.engine.connected(net.now, flow);
    let answer = net.one_segment();
    assert!(answer.syn && !answer.rst);
    assert_eq!(answer.mss, Some(1460));
    assert_eq!(answer.from, SocketAddrV4::new(OUTSIDE, 80).into());
}

#[test]
fn bytes_go_both_ways() {
    let mut net = Net::new();
    let mut peer = net.open(4000);
    net.send(&peer.data(b"GET /"));
    assert_eq!(net.actions(), [Action::Drain { flow: peer.flow }]);
    assert_eq!(net.drain(peer.flow), b"GET /");
    assert_eq!(net.fill(peer.flow, b"200 OK"), 6);
    let answer = net.one_segment();
    assert_eq!((answer.ack, &answer.payload[..]), (Some(peer.seq), &b"200 OK"[..]));
    net.send(&peer.take(&answer));
    assert_eq!((net.actions(), net.segments()), (vec![], vec![]));
}

#[test]
fn a_refusal_is_a_reset_at_once() {
    for why in [Unreachable::Refused, Unreachable::Exhausted] {
        let mut net = Net::new();
        let peer = client(4000);
        let flow = connect(&mut net, &peer);
        net.engine.refused(net.now, flow, why);
        let answer = net.one_segment();
        assert!(answer.rst);
        assert_eq!((answer.seq, answer.ack), (0, Some(CLIENT_ISN.wrapping_add(1))));
        assert_eq!(
            net.actions(),
            [Action::Close {
                flow,
                how: Closing::Reset
            }]
        );
    }
}

#[test]
fn an_unreachable_host_is_an_icmp_error_that_quotes_the_syn() {
    for (why, code) in [
        (Unreachable::Network, 0),
        (Unreachable::Host, 1),
        (Unreachable::Prohibited, 13),
    ] {
        let mut net = Net::new();
        let peer = client(4000);
        let flow = connect(&mut net, &peer);
        net.engine.refused(net.now, flow, why);
        let frames = net.frames();
        let [frame] = &frames[..] else { panic!("{frames:?}") };
        assert_eq!((frame[23], frame[34], frame[35]), (1, 3, code));
        assert_eq!(frame[42..62], peer.syn()[14..34], "quotes the IP header");
        assert_eq!(frame[62..70], peer.syn()[34..42], "and ports and sequence number");
        assert_eq!(frame[26..30], GATEWAY.octets());
        assert_eq!(
            net.actions(),
            [Action::Close {
                flow,
                how: Closing::Reset
            }]
        );
    }
}

#[test]
fn a_timeout_is_silence_and_the_next_syn_tries_anew() {
    let mut net = Net::new();
    let peer = client(4000);
    let flow = connect(&mut net, &peer);
    net.engine.refused(net.now, flow, Unreachable::TimedOut);
    assert_eq!(net.frames(), Vec::<Vec<u8>>::new());
    assert_eq!(
        net.actions(),
        [Action::Close {
            flow,
            how: Closing::Reset
        }]
    );
    connect(&mut net, &peer);
}

#[test]
fn a_reset_while_held_cancels() {
    let mut net = Net::new();
    let mut peer = client(4000);
    let flow = connect(&mut net, &peer);
    let stray = Segment {
        control: TcpControl::Rst,
        seq: CLIENT_ISN.wrapping_add(77),
        ack: None,
        ..peer.segment()
    };
    net.send(&stray.frame());
    assert_eq!(net.actions(), [], "not with any sequence number");
    peer.seq = CLIENT_ISN.wrapping_add(1);
    net.send(&peer.rst());
    assert_eq!(
        net.actions(),
        [Action::Close {
            flow,
            how: Closing::Reset
        }]
    );
    net.engine.connected(net.now, flow);
    assert_eq!(net.segments(), [], "the host was too late");
}

#[test]
fn another_syn_from_the_same_port_replaces_the_held_one() {
    let mut net = Net::new();
    let mut peer = client(4000);
    let flow = connect(&mut net, &peer);
    peer.seq = 5;
    net.send(&peer.syn());
    assert_eq!(net.actions(), []);
    net.engine.connected(net.now, flow);
    assert_eq!(net.one_segment().ack, Some(6));
}

#[test]
fn data_with_the_syn_is_left_to_its_retransmission() {
    let mut net = Net::new();
    let peer = client(4000);
    let syn = Segment {
        control: TcpControl::Syn,
        ack: None,
        mss: Some(1460),
        payload: b"early",
        ..peer.segment()
    };
    net.send(&syn.frame());
    let [Action::Connect { flow, .. }] = net.actions()[..] else {
        panic!()
    };
    net.engine.connected(net.now, flow);
    let answer = net.one_segment();
    assert_eq!(answer.ack, Some(CLIENT_ISN.wrapping_add(1)));
    let mut peer = Peer {
        seq: CLIENT_ISN.wrapping_add(1),
        ack: answer.end(),
        flow,
        ..peer
    };
    net.send(&peer.data(b"early"));
    assert_eq!(net.drain(flow), b"early");
}

#[test]
fn a_refused_syn_with_data_is_reset_behind_the_syn() {
    let mut net = Net::new();
    let peer = Peer::new(SocketAddrV4::new(ADDRESS, 4000), SocketAddrV4::new(GATEWAY, 80));
    let syn = Segment {
        control: TcpControl::Syn,
        ack: None,
        payload: b"early",
        ..peer.segment()
    };
    net.send(&syn.frame());
    assert_eq!(
        net.one_segment().ack,
        Some(CLIENT_ISN.wrapping_add(6)),
        "RFC 9293 counts the data"
    );
}

#[test]
fn a_container_that_calls_back_at_the_same_moment() {
    let mut net = Net::new();
    let container = SocketAddrV4::new(ADDRESS, 80);
    let flow = net
        .engine
        .accept(net.now, "198.51.100.7:5555".parse().unwrap(), container.into())
        .unwrap();
    net.segments();
    let peer = Peer::new(container, "198.51.100.7:5555".parse().unwrap());
    net.send(&peer.syn());
    let end = net.now + Duration::from_secs(61);
    while !net.wait_until(end).is_empty() {}
    assert_eq!(
        net.actions(),
        [Action::Close {
            flow,
            how: Closing::Reset
        }],
        "not supported, and it ends"
    );
}

#[test]
fn an_engine_may_move_to_another_thread() {
    fn movable<T: Send + 'static>(_: &T) {}
    movable(&Net::new().engine);
}

#[test]
fn a_held_syn_is_given_up_in_the_end() {
    let mut net = Net::new();
    let peer = client(4000);
    let flow = connect(&mut net, &peer);
    let answer = net.wait(Duration::from_secs(200));
    assert!(answer[0].rst);
    assert_eq!(
        net.actions(),
        [Action::Close {
            flow,
            how: Closing::Reset
        }]
    );
    assert_eq!(net.engine.poll_timeout(), None);
}

#[test]
fn a_syn_ack_is_sent_again_and_given_up_after_a_minute() {
    let mut net = Net::new();
    let peer = client(4000);
    let flow = connect(&mut net, &peer);
    net.engine.connected(net.now, flow);
    assert!(net.one_segment().syn);
    let end = net.now + Duration::from_secs(61);
    let mut repeated = 0;
    loop {
        match &net.wait_until(end)[..] {
            [seen] if seen.syn => repeated += 1,
            [seen] if seen.rst => break,
            other => panic!("{other:?}"),
        }
    }
    assert!((3..=6).contains(&repeated), "with backoff: {repeated}");
    assert_eq!(
        net.actions(),
        [Action::Close {
            flow,
            how: Closing::Reset
        }]
    );
    assert_eq!(net.engine.poll_timeout(), None);
}

#[test]
fn nothing_but_a_bare_syn_opens_a_flow() {
    let mut net = Net::new();
    let peer = client(4000);
    for flags in 0..=255u8 {
        let mut frame = peer.syn();
        frame[47] = flags;
        fix_tcp_checksum(&mut frame);
        net.send(&frame);
        let opened = !net.actions().is_empty();
        let bare = flags & 0b0001_0111 == 0b0000_0010;
        assert_eq!(opened, bare, "flags {flags:08b}");
        let answers = net.segments();
        let rst = flags & 4 != 0;
        assert_eq!(answers.is_empty(), bare || rst, "flags {flags:08b}: {answers:?}");
        if bare {
            let flow = gangplank::stack::FlowId(0);
            net.engine.refused(net.now, flow, Unreachable::TimedOut);
            net.actions();
        }
    }
}

#[test]
fn a_stray_segment_is_reset_as_the_rfc_says() {
    let mut net = Net::new();
    let peer = client(4000);
    net.send(
        &Segment {
            seq: 7,
            ack: Some(99),
            payload: b"hello",
            ..peer.segment()
        }
        .frame(),
    );
    let answer = net.one_segment();
    assert_eq!((answer.rst, answer.seq, answer.ack), (true, 99, None));
    net.send(
        &Segment {
            seq: 7,
            ack: None,
            payload: b"hello",
            ..peer.segment()
        }
        .frame(),
    );
    let answer = net.one_segment();
    assert_eq!((answer.rst, answer.seq, answer.ack), (true, 0, Some(12)));
    net.send(&peer.rst());
    assert_eq!(net.segments(), []);
}

#[test]
fn policy_decides() {
    let mut net = Net::new();
    let to = |address: &str| Peer::new(SocketAddrV4::new(ADDRESS, 4000), address.parse().unwrap());
    net.send(&to("172.17.0.1:53").syn());
    assert!(matches!(
        net.actions()[..],
        [Action::Connect {
            target: Target::Resolver { .. },
            ..
        }]
    ));
    net.send(&to("172.17.0.1:80").syn());
    assert!(net.one_segment().rst, "as a machine on which nothing listens");
    net.send(&to("169.254.169.254:80").syn());
    assert_eq!(net.frames()[0][34..36], [3, 13]);
    for nowhere in [
        "127.0.0.1:80",
        "172.17.0.9:80",
        "0.0.0.0:80",
        "255.255.255.255:80",
        "224.0.0.1:80",
        "240.0.0.1:80",
    ] {
        net.send(&to(nowhere).syn());
        assert_eq!((net.actions(), net.frames()), (vec![], vec![]), "{nowhere}");
    }
}

#[test]
fn a_published_port_is_the_hosts_own_listener_at_the_gateway() {
    let published = gangplank::policy::PublishedPorts::default();
    let mut net = Net::with(|config| config.policy.published = published.clone());
    let peer = Peer::new(SocketAddrV4::new(ADDRESS, 4000), "172.17.0.1:8080".parse().unwrap());
    net.send(&peer.syn());
    assert!(net.one_segment().rst, "nothing is published yet");
    // As the shell does, which shares it with every engine.
    published.open(Transport::Tcp, "0.0.0.0:8080".parse().unwrap());
    net.send(&peer.syn());
    let actions = net.actions();
    let [Action::Connect { target, .. }] = actions[..] else {
        panic!("{actions:?}")
    };
    assert_eq!(target, Target::Host("127.0.0.1:8080".parse().unwrap()));
    published.close(Transport::Tcp, "0.0.0.0:8080".parse().unwrap());
    let other = Peer::new(SocketAddrV4::new(ADDRESS, 4001), "172.17.0.1:8080".parse().unwrap());
    net.send(&other.syn());
    assert!(net.one_segment().rst, "no more");
}

#[test]
fn an_accepted_connection_calls_the_container_from_the_clients_address() {
    let mut net = Net::new();
    let container = SocketAddrV4::new(ADDRESS, 80);
    let flow = net
        .engine
        .accept(net.now, "198.51.100.7:5555".parse().unwrap(), container.into())
        .unwrap();
    let syn = net.one_segment();
    assert!(syn.syn && syn.ack.is_none());
    assert_eq!(
        (syn.from, syn.to),
        ("198.51.100.7:5555".parse().unwrap(), container.into())
    );
    assert_eq!(net.fill(flow, b"too early"), 0);
    assert_eq!(net.actions(), []);
    let mut peer = Peer::new(container, "198.51.100.7:5555".parse().unwrap());
    peer.ack = syn.seq.wrapping_add(1);
    net.send(
        &Segment {
            control: TcpControl::Syn,
            mss: Some(1460),
            scale: Some(7),
            ..peer.segment()
        }
        .frame(),
    );
    assert_eq!(net.actions(), [Action::Established { flow }, Action::Fill { flow }]);
    assert_eq!(net.one_segment().ack, Some(CLIENT_ISN.wrapping_add(1)));
}

#[test]
fn who_appears_as_whom() {
    let mut net = Net::new();
    let container: SocketAddr = SocketAddrV4::new(ADDRESS, 80).into();
    let mut call = |client: &str| {
        net.engine.accept(net.now, client.parse().unwrap(), container).unwrap();
        net.one_segment().from.to_string()
    };
    assert_eq!(call("198.51.100.7:5555"), "198.51.100.7:5555");
    assert_eq!(call("[::ffff:198.51.100.8]:5555"), "198.51.100.8:5555");
    assert_eq!(call("127.0.0.1:5555"), "172.17.0.1:5555");
    assert!(
        call("127.0.0.1:5555").starts_with("172.17.0.1:"),
        "another port of the gateway"
    );
    assert_eq!(call("172.17.0.3:6666"), "172.17.0.1:6666");
    assert_eq!(call("172.17.0.1:7777"), "172.17.0.1:7777");
    assert_eq!(call("[2001:db8::1]:8888"), "172.17.0.1:8888");
    let again = call("198.51.100.7:5555");
    assert!(
        again.starts_with("172.17.0.1:"),
        "its own address is taken with this port: {again}"
    );
}

#[test]
fn an_inbound_call_can_fail() {
    let mut net = Net::with(|config| config.limits.flows = 2);
    let client = "198.51.100.7:5555".parse().unwrap();
    let stranger = "172.17.0.99:80".parse().unwrap();
    assert_eq!(net.engine.accept(net.now, client, stranger), Err(Refusal::NoContainer));
    let container: SocketAddr = SocketAddrV4::new(ADDRESS, 80).into();
    let flow = net.engine.accept(net.now, client, container).unwrap();
    let syn = net.one_segment();
    let mut peer = Peer::new(SocketAddrV4::new(ADDRESS, 80), "198.51.100.7:5555".parse().unwrap());
    peer.ack = syn.seq.wrapping_add(9);
    net.send(&peer.rst());
    assert_eq!(net.actions(), [], "a reset that does not acknowledge our SYN");
    peer.ack = syn.seq.wrapping_add(1);
    net.send(&peer.rst());
    assert_eq!(
        net.actions(),
        [Action::Close {
            flow,
            how: Closing::Reset
        }]
    );
    net.engine.accept(net.now, client, container).unwrap();
    net.engine.accept(net.now, client, container).unwrap();
    assert_eq!(net.engine.accept(net.now, client, container), Err(Refusal::Full));
}

#[test]
fn a_container_that_never_answers_is_given_up() {
    let mut net = Net::new();
    let container = SocketAddrV4::new(ADDRESS, 80).into();
    let flow = net
        .engine
        .accept(net.now, "198.51.100.7:5555".parse().unwrap(), container)
        .unwrap();
    assert!(net.one_segment().syn);
    let end = net.now + Duration::from_secs(61);
    while !net.wait_until(end).is_empty() {}
    assert_eq!(
        net.actions(),
        [Action::Close {
            flow,
            how: Closing::Reset
        }]
    );
}

/// Of an earlier connection between the same ports, which had come a little further than our new initial number, or much:
/// Linux answers with its last ACK (tcp_timewait_state_process), is reset, and takes the next SYN.
#[test]
fn a_container_in_time_wait_is_called_again_at_once() {
    for ahead in [1 << 20, 1 << 31] {
        let mut net = Net::new();
        let (client, server) = ("198.51.100.9:1234".parse().unwrap(), SocketAddr::from((ADDRESS, 80)));
        let flow = net.engine.accept(net.now, client, server).unwrap();
        let syn = net.one_segment();
        let mut peer = Peer::between(server, syn.from);
        peer.flow = flow;
        peer.ack = syn.seq.wrapping_add(ahead);
        net.send_or_pass(&peer.segment().frame());
        let [reset, again] = &net.segments()[..] else {
            panic!("not called again");
        };
        let (reset, again) = if reset.rst { (reset, again) } else { (again, reset) };
        assert!(reset.rst && reset.seq == peer.ack);
        assert!(again.syn);
        // Once: who goes on so is called as often as anybody.
        net.send_or_pass(&peer.segment().frame());
        assert!(net.segments().iter().all(|segment| segment.rst));
        peer.ack = again.seq.wrapping_add(1);
        let answer = Segment {
            control: TcpControl::Syn,
            mss: Some(1460),
            scale: Some(7),
            ..peer.segment()
        };
        net.send(&answer.frame());
        peer.seq = peer.seq.wrapping_add(1);
        net.actions();
        net.send(&peer.data(b"hello"));
        assert_eq!(net.drain(flow), b"hello", "{ahead:#x} ahead");
    }
}
