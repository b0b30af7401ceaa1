//! Several engines for one network: whoever meets a flow first has it, and the others know.

use std::net::{SocketAddr, SocketAddrV4};

use gangplank::stack::{ClientSocket, Handling, Passage, Payload, PublishId, ShardId};
use smoltcp::time::Duration;

use crate::net::*;

fn elsewhere(shard: usize) -> Passage<'static> {
    Passage::Elsewhere { shard: ShardId(shard) }
}

fn own(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(ADDRESS, port)
}

fn outside(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(OUTSIDE, port)
}

#[test]
fn a_segment_of_anothers_flow_is_handed_over() {
    let [mut first, mut second] = Net::shards();
    let mut peer = second.open(4000);
    let data = peer.data(b"hello");
    assert_eq!(first.pass(&data), elsewhere(1));
    assert_eq!((first.actions(), first.segments()), (vec![], vec![]));
    second.send(&data);
    assert_eq!(second.drain(peer.flow), b"hello");
    assert_eq!(first.count("frames_in"), 0, "counted where it went");
}

#[test]
fn the_same_syn_opens_one_flow() {
    let [mut first, mut second] = Net::shards();
    let peer = Peer::new(own(4000), outside(80));
    first.send(&peer.syn());
    assert_eq!(second.pass(&peer.syn()), elsewhere(0));
    assert_eq!(second.actions(), []);
}

#[test]
fn newcomers_are_left_to_another() {
    let [mut first, mut second] = Net::shards();
    let mut old = first.open(4000);
    first.engine.leave_newcomers(Some(ShardId(1)));
    let peer = Peer::new(own(4001), outside(80));
    assert_eq!(first.pass(&peer.syn()), elsewhere(1));
    assert_eq!(first.actions(), []);
    second.send(&peer.syn());
    assert_eq!(second.actions().len(), 1, "it connects");
    first.send(&old.data(b"hello"));
    assert_eq!(first.drain(old.flow), b"hello", "who is here stays");
    first.actions();
    first.engine.leave_newcomers(None);
    first.send(&Peer::new(own(4002), outside(80)).syn());
    assert_eq!(first.actions().len(), 1);
}

#[test]
fn a_port_in_time_wait_is_opened_again_where_it_waits() {
    let [mut first, _] = Net::shards();
    let mut peer = first.open(4000);
    first.engine.finished(first.now, peer.flow);
    let last = first.one_segment();
    first.send(&peer.take(&last));
    first.send(&peer.fin());
    first.actions();
    first.segments();
    first.engine.leave_newcomers(Some(ShardId(1)));
    first.send(&Peer::new(own(4000), outside(80)).syn());
    assert_eq!(first.actions().len(), 1, "it connects");
}

#[test]
fn who_has_ended_it_has_it_no_more() {
    let [mut first, mut second] = Net::shards();
    let peer = first.open(4000);
    first.engine.reset(first.now, peer.flow);
    assert_eq!(first.actions().len(), 1);
    assert_eq!(second.open(4000).other, peer.other);
}

#[test]
fn time_wait_is_kept_by_who_had_the_flow() {
    let [mut first, mut second] = Net::shards();
    let mut peer = first.open(4000);
    let flow = peer.flow;
    first.engine.finished(first.now, flow);
    let last = first.one_segment();
    first.send(&peer.take(&last));
    let fin = peer.fin();
    first.send(&fin);
    assert_eq!(first.actions().len(), 2);
    first.segments();
    assert_eq!(second.pass(&fin), elsewhere(0), "it is not answered by a reset");
    first.wait(Duration::from_secs(30));
    second.send(&fin);
    assert!(second.one_segment().rst, "TIME-WAIT is over");
}

#[test]
fn clients_of_both_appear_as_two() {
    let [mut first, mut second] = Net::shards();
    let client = "127.0.0.1:9999".parse().unwrap();
    for net in [&mut first, &mut second] {
        net.engine.accept(net.now, client, own(80).into()).unwrap();
    }
    let shown = [first.one_segment().from, second.one_segment().from];
    assert_ne!(shown[0], shown[1], "the gateway with two ports");
}

#[test]
fn one_mapping_for_an_endpoint_whoever_sees_its_datagrams() {
    let [mut first, mut second] = Net::shards();
    let datagram = udp(own(5000), outside(1), b"x");
    assert!(matches!(first.pass(&datagram), Passage::Datagram { .. }));
    assert_eq!(second.pass(&udp(own(5000), outside(2), b"x")), elsewhere(0));
    assert!(matches!(
        second.pass(&udp(own(5001), outside(2), b"x")),
        Passage::Datagram { .. }
    ));
    first.wait(Duration::from_secs(300));
    assert!(
        matches!(second.pass(&datagram), Passage::Datagram { .. }),
        "it has expired"
    );
}

#[test]
fn an_answer_to_anothers_client_is_not_taken_for_a_datagram_of_our_mapping() {
    let [mut first, mut second] = Net::shards();
    let (publish, client) = (PublishId(7), "198.51.100.9:1234".parse().unwrap());
    assert!(matches!(
        first.pass(&udp(own(53), outside(1), b"x")),
        Passage::Datagram { .. }
    ));
    let shown = second.deliver(|engine, now, out| {
        engine.deliver_published(now, publish, client, own(53).into(), Payload::one(b"hi"), out)
    });
    assert!(shown.is_some());
    let answer = udp(own(53), "198.51.100.9:1234".parse().unwrap(), b"y");
    assert_eq!(first.pass(&answer), elsewhere(1));
    assert_eq!(
        second.pass(&answer),
        Passage::Datagram {
            socket: ClientSocket::Published(publish),
            target: client,
            payload: b"y",
            segment: None,
            handling: Handling::USUAL,
        }
    );
}

/// The container had written to the peer before that came in by the published port, which is another shard's.
#[test]
fn an_answer_to_a_client_goes_by_its_port_whoever_had_written_before() {
    let [mut mine, mut theirs] = Net::shards();
    let client: SocketAddr = "198.51.100.9:1234".parse().unwrap();
    let datagram = |text: &[u8]| udp(own(5000), "198.51.100.9:1234".parse().unwrap(), text);
    let to_the_mapping = |passage: &Passage<'_>| {
        matches!(
            passage,
            Passage::Datagram {
                socket: ClientSocket::Mapping { .. },
                ..
            }
        )
    };
    assert!(to_the_mapping(&mine.pass(&datagram(b"hello"))));
    assert!(to_the_mapping(&mine.pass(&datagram(b"hello again"))));
    let shown = theirs.deliver(|engine, now, out| {
        engine.deliver_published(now, PublishId(7), client, own(5000).into(), Payload::one(b"hi"), out)
    });
    assert!(shown.is_some());
    let answer = datagram(b"answer");
    let passage = mine.pass(&answer);
    assert!(matches!(passage, Passage::Elsewhere { .. }), "{passage:?}");
}
