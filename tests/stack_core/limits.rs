//! Who is let in, and who goes for it, when a limit is reached.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use gangplank::stack::{Action, Attachment, Closing, Config, FlowId, Ledger, Refusal};
use smoltcp::time::Duration;

use crate::net::*;

/// Longer than a flow must rest to be idle.
const IDLE: Duration = Duration::from_secs(61);

const THIRD: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 4);

fn flows(flows: usize, each: usize) -> impl Fn(&mut Config) {
    move |config| {
        config.limits.flows = flows;
        config.limits.flows_per_container = each;
    }
}

fn caller(container: Ipv4Addr, port: u16) -> Peer {
    Peer::new(SocketAddrV4::new(container, port), SocketAddrV4::new(OUTSIDE, 80))
}

fn reset(flow: FlowId) -> Action {
    Action::Close {
        flow,
        how: Closing::Reset,
    }
}

/// Sends a SYN; the flow that is to be connected.
fn call(net: &mut Net, container: Ipv4Addr, port: u16) -> Option<FlowId> {
    net.send_or_pass(&caller(container, port).syn());
    net.actions().into_iter().find_map(|action| match action {
        Action::Connect { flow, .. } => Some(flow),
        _ => None,
    })
}

/// The host answers: the container's peer as it is to acknowledge, none if it was reset instead.
fn answer(net: &mut Net, container: Ipv4Addr, port: u16, flow: FlowId) -> Option<Peer> {
    net.engine.connected(net.now, flow);
    let answer = net.one_segment();
    let mut peer = caller(container, port);
    peer.flow = flow;
    peer.seq = CLIENT_ISN.wrapping_add(1);
    peer.ack = answer.end();
    (!answer.rst).then_some(peer)
}

/// Opens a flow for which another has to go; what was said to whom.
fn open_for_another(net: &mut Net, container: Ipv4Addr, port: u16) -> (Peer, Vec<Seen>, Vec<Action>) {
    let flow = call(net, container, port).expect("a flow");
    let peer = answer(net, container, port, flow).expect("an answer");
    net.send(&peer.segment().frame());
    (peer, net.segments(), net.actions())
}

fn assert_evicted((_, said, done): (Peer, Vec<Seen>, Vec<Action>), gone: &Peer) {
    assert_eq!(done, [reset(gone.flow)], "the host's side is reset");
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].rst && said[0].to == gone.own, "and the container's: {said:?}");
    assert_eq!(
        (said[0].seq, said[0].ack),
        (gone.ack, Some(gone.seq)),
        "where it counts"
    );
}

#[test]
fn who_has_most_loses_its_longest_idle_flow() {
    let mut net = Net::with(flows(6, 6));
    let lone = net.open_from(NEIGHBOUR, 1);
    net.pass_time(Duration::from_secs(1));
    let mut many: Vec<Peer> = (1..=5).map(|port| net.open(port)).collect();
    net.pass_time(IDLE);
    net.send(&many[0].data(b"not idle"));
    net.drain(many[0].flow);
    net.actions();
    net.segments();
    let opened = open_for_another(&mut net, NEIGHBOUR, 2);
    assert_evicted(opened, &many[1]);
    assert_eq!((net.count("evicted_flows"), net.count("refused_flows")), (1, 0));
    let opened = open_for_another(&mut net, NEIGHBOUR, 3);
    assert_evicted(opened, &many[2]);
    // Three each: from here on it is its own, though the neighbour's are idle as well.
    let opened = open_for_another(&mut net, NEIGHBOUR, 4);
    assert_evicted(opened, &lone);
}

#[test]
fn an_active_flow_never_goes_for_a_newcomer() {
    let mut net = Net::with(flows(3, 3));
    let mut peers: Vec<Peer> = (1..=3).map(|port| net.open(port)).collect();
    for _ in 0..10 {
        net.pass_time(Duration::from_secs(30));
        for (index, peer) in peers.iter_mut().enumerate() {
            // Either direction counts.
            if index == 0 {
                net.fill(peer.flow, b"news");
                let news = net.one_segment();
                net.send(&peer.take(&news));
            } else {
                net.send(&peer.data(b"more"));
                net.drain(peer.flow);
            }
        }
        net.actions();
        net.segments();
        net.send_or_pass(&caller(NEIGHBOUR, 9).syn());
        assert_eq!(net.actions(), [], "nobody is asked, nobody is closed");
        assert!(net.one_segment().rst, "refused at once");
    }
    assert_eq!((net.count("refused_flows"), net.count("evicted_flows")), (10, 0));
    net.pass_time(IDLE);
    let opened = open_for_another(&mut net, NEIGHBOUR, 9);
    assert_evicted(opened, &peers[0]);
}

#[test]
fn at_its_own_limit_a_container_gives_its_own() {
    let mut net = Net::with(flows(100, 2));
    net.open_from(NEIGHBOUR, 1);
    net.pass_time(IDLE);
    let first = net.open(1);
    net.open(2);
    assert_eq!(call(&mut net, ADDRESS, 3), None);
    assert!(net.one_segment().rst, "both are in use");
    net.pass_time(IDLE);
    let opened = open_for_another(&mut net, ADDRESS, 3);
    assert_evicted(opened, &first);
}

#[test]
fn if_the_one_with_most_is_busy_the_next_gives() {
    let mut net = Net::with(flows(6, 6));
    net.engine.attach(Attachment {
        mac: mac_of(THIRD),
        address: THIRD.into(),
    });
    let idle: Vec<Peer> = (1..=2).map(|port| net.open_from(NEIGHBOUR, port)).collect();
    net.pass_time(IDLE);
    for port in 1..=4 {
        net.open(port);
    }
    let opened = open_for_another(&mut net, THIRD, 1);
    assert_evicted(opened, &idle[0]);
    assert_eq!(call(&mut net, THIRD, 2), None, "the neighbour has no more than it now");
}

#[test]
fn a_flood_of_syns_that_nobody_answers_harms_no_other() {
    flood(|net, _, _| {
        net.frames();
    });
}

#[test]
fn a_flood_of_syns_that_the_host_answers_harms_no_other() {
    flood(|net, flow, port| {
        answer(net, ADDRESS, port, flow);
    });
}

/// 20,000 SYNs of one container, of which each that is let in is handed to `host`.
fn flood(host: impl Fn(&mut Net, FlowId, u16)) {
    let mut net = Net::with(|config| {
        flows(40, 30)(config);
        config.limits.half_open = 10;
        config.limits.half_open_per_container = 8;
    });
    let own = net.open(1);
    let theirs: Vec<Peer> = (1..=20).map(|port| net.open_from(NEIGHBOUR, port)).collect();
    net.pass_time(IDLE);
    for round in 0..20u16 {
        for port in 0..1000 {
            let port = 1024 + 1000 * round + port;
            if let Some(flow) = call(&mut net, ADDRESS, port) {
                net.frames();
                host(&mut net, flow, port);
            }
            net.frames();
        }
        net.pass_time(Duration::from_secs(2));
        net.frames();
        let peer = net.open_from(NEIGHBOUR, 5000 + round);
        net.engine.reset(net.now, peer.flow);
        net.actions();
        net.frames();
    }
    assert_eq!(net.count("evicted_flows"), 0);
    assert!(
        net.count("refused_half_open") > 19_000,
        "the host was asked for few of them"
    );
    for mut peer in theirs.into_iter().chain([own]) {
        net.send(&peer.data(b"still here"));
        assert_eq!(net.drain(peer.flow), b"still here");
    }
}

#[test]
fn handshakes_make_room_for_those_of_a_container_that_has_fewer() {
    let mut net = Net::with(|config| {
        config.limits.half_open = 4;
        config.limits.half_open_per_container = 4;
    });
    let held: Vec<FlowId> = (1..=4).map(|port| call(&mut net, ADDRESS, port).unwrap()).collect();
    net.send(&caller(NEIGHBOUR, 1).syn());
    assert!(matches!(net.actions()[..], [gone, Action::Connect { .. }] if gone == reset(held[0])));
    let told = net.one_segment();
    assert!(told.rst && told.to == SocketAddrV4::new(ADDRESS, 1).into());
    assert_eq!(net.count("evicted_half_open"), 1);
}

#[test]
fn an_old_handshake_makes_room_for_a_new_one_of_the_same_container() {
    let mut net = Net::with(|config| config.limits.half_open_per_container = 2);
    let first = call(&mut net, ADDRESS, 1).unwrap();
    net.pass_time(Duration::from_millis(600));
    call(&mut net, ADDRESS, 2).unwrap();
    assert_eq!(call(&mut net, ADDRESS, 3), None);
    assert_eq!(net.segments(), [], "it comes again by itself");
    net.pass_time(Duration::from_millis(600));
    net.send(&caller(ADDRESS, 3).syn());
    assert!(matches!(net.actions()[..], [gone, Action::Connect { .. }] if gone == reset(first)));
    net.segments();
    assert_eq!(call(&mut net, ADDRESS, 4), None, "the second is too young");
}

#[test]
fn calls_to_a_container_are_half_open_too() {
    let mut net = Net::with(|config| config.limits.half_open_per_container = 1);
    let container: SocketAddr = SocketAddrV4::new(ADDRESS, 80).into();
    let client = |port| SocketAddr::new([198, 51, 100, 7].into(), port);
    net.engine.accept(net.now, client(1), container).unwrap();
    assert_eq!(net.engine.accept(net.now, client(2), container), Err(Refusal::Full));
    let syn = net.one_segment();
    let mut peer = Peer::new(SocketAddrV4::new(ADDRESS, 80), "198.51.100.7:1".parse().unwrap());
    let answer = Segment {
        control: smoltcp::wire::TcpControl::Syn,
        ..{
            peer.ack = syn.end();
            peer.segment()
        }
    };
    net.send(&answer.frame());
    net.segments();
    net.actions();
    assert!(net.engine.accept(net.now, client(2), container).is_ok());
    assert_eq!(net.count("refused_half_open"), 1);
}

#[test]
fn what_became_full_meanwhile_is_refused_before_it_is_answered() {
    let mut net = Net::with(flows(2, 2));
    let flow = call(&mut net, NEIGHBOUR, 1).unwrap();
    net.open(1);
    net.open(2);
    assert!(answer(&mut net, NEIGHBOUR, 1, flow).is_none());
    assert_eq!(net.actions(), [reset(flow)]);
}

#[test]
fn of_two_handshakes_for_one_idle_flow_the_first_done_gets_it() {
    let mut net = Net::with(flows(2, 2));
    let idle = net.open(1);
    net.pass_time(IDLE);
    net.open(2);
    let calls = [7, 8].map(|port| (port, call(&mut net, NEIGHBOUR, port).unwrap()));
    let [slow, fast] = calls.map(|(port, flow)| answer(&mut net, NEIGHBOUR, port, flow).unwrap());
    assert_eq!(net.actions(), [], "the idle flow stays until a handshake is done");
    net.send(&fast.segment().frame());
    assert_eq!(net.actions(), [reset(idle.flow)]);
    assert_eq!(net.one_segment().to, idle.own);
    net.send(&slow.segment().frame());
    assert_eq!(net.actions(), [reset(slow.flow)]);
    assert!(net.one_segment().rst);
}

#[test]
fn a_place_that_waits_for_a_container_in_vain_is_the_first_to_go() {
    let mut net = Net::with(flows(4, 4));
    net.open_from(NEIGHBOUR, 1);
    net.open(1);
    let [flow, _] = [2, 3].map(|port| {
        let flow = call(&mut net, ADDRESS, port).unwrap();
        answer(&mut net, ADDRESS, port, flow).unwrap().flow
    });
    net.pass_time(Duration::from_secs(2));
    net.frames();
    let (_, said, done) = open_for_another(&mut net, NEIGHBOUR, 2);
    assert_eq!(done, [reset(flow)]);
    assert!(said[0].rst);
}

#[test]
fn engines_of_a_network_count_together_and_end_only_their_own() {
    let mut config = Config::new(
        GATEWAY_MAC,
        GATEWAY,
        16,
        1500,
        gangplank::policy::HostAccess::None,
        PLAIN,
    );
    flows(3, 3)(&mut config);
    let ledger = Ledger::new(config.limits);
    let [mut one, mut other] = [(), ()].map(|()| Net::sharing(&ledger, |_| {}));
    let far: Vec<Peer> = (1..=2).map(|port| one.open(port)).collect();
    let near = other.open(3);
    for net in [&mut one, &mut other] {
        net.pass_time(IDLE);
    }
    let opened = open_for_another(&mut other, NEIGHBOUR, 1);
    assert_evicted(opened, &near);
    assert_eq!(call(&mut other, NEIGHBOUR, 2), None, "the idle flows are elsewhere");
    assert!(other.one_segment().rst);
    one.engine.reset(one.now, far[0].flow);
    other.open_from(NEIGHBOUR, 2);
    drop(one);
    other.open_from(NEIGHBOUR, 3);
}

#[test]
fn what_a_container_held_is_free_when_it_goes() {
    let mut net = Net::with(flows(4, 4));
    for port in 1..=3 {
        net.open(port);
    }
    call(&mut net, ADDRESS, 4).unwrap();
    net.engine.detach(Attachment {
        mac: MAC,
        address: ADDRESS.into(),
    });
    assert_eq!(net.actions().len(), 4);
    for port in 1..=4 {
        net.open_from(NEIGHBOUR, port);
    }
}
