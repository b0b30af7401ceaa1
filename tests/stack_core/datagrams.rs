//! UDP, DNS and echo: mappings and their filters, published ports, lifetimes, limits, fragments, errors.

use std::net::{SocketAddr, SocketAddrV4};
use std::num::NonZeroU16;

use gangplank::policy::{HostAccess, Policy, Transport};
use gangplank::stack::{
    Action, ClientSocket, EchoId, Gso, GsoType, Handling, MappingId, Offload, Passage, Payload, PublishId, Unreachable,
};
use smoltcp::time::Duration;
use smoltcp::wire::Ipv4Packet;

use crate::net::*;

fn own(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(ADDRESS, port)
}

fn outside(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(OUTSIDE, port)
}

/// Sends a datagram out and returns the mapping that it used.
fn send(net: &mut Net, from: SocketAddrV4, to: SocketAddrV4) -> MappingId {
    match net.pass(&udp(from, to, b"x")) {
        Passage::Datagram {
            socket: ClientSocket::Mapping { id, port },
            target,
            payload: b"x",
            segment: None,
            handling: Handling::USUAL,
        } => {
            assert_eq!((port, target), (from.port(), to.into()));
            id
        }
        other => panic!("{other:?}"),
    }
}

fn answer(net: &mut Net, mapping: MappingId, from: SocketAddr) -> Option<(String, String, Vec<u8>)> {
    let written = net.deliver(|engine, now, out| engine.deliver_datagram(now, mapping, from, Payload::one(b"y"), out));
    written.map(|(_, frame)| read_udp(&frame))
}

#[test]
fn one_mapping_for_whomever_an_endpoint_talks_to() {
    let mut net = Net::new();
    let mapping = send(&mut net, own(5000), outside(1));
    assert_eq!(send(&mut net, own(5000), outside(2)), mapping);
    assert_eq!(send(&mut net, own(5000), "198.51.100.9:1".parse().unwrap()), mapping);
    assert_ne!(send(&mut net, own(5001), outside(1)), mapping);
    assert_ne!(send(&mut net, SocketAddrV4::new(NEIGHBOUR, 5000), outside(1)), mapping);
}

#[test]
fn only_who_was_written_to_may_answer() {
    let mut net = Net::new();
    let mapping = send(&mut net, own(5000), outside(1));
    let expected = (outside(1).to_string(), own(5000).to_string(), b"y".to_vec());
    assert_eq!(answer(&mut net, mapping, outside(1).into()), Some(expected.clone()));
    assert_eq!(
        answer(&mut net, mapping, "[::ffff:203.0.113.5]:1".parse().unwrap()),
        Some(expected)
    );
    assert_eq!(answer(&mut net, mapping, outside(2).into()), None, "another port");
    assert_eq!(
        answer(&mut net, mapping, "198.51.100.9:1".parse().unwrap()),
        None,
        "another address"
    );
    assert_eq!(answer(&mut net, MappingId(99), outside(1).into()), None);
    assert_eq!(net.count("drop_filtered"), 3);
}

#[test]
fn the_peer_not_written_to_for_longest_is_forgotten() {
    let mut net = Net::new();
    let mapping = send(&mut net, own(5000), outside(1));
    for port in 2..=256 {
        send(&mut net, own(5000), outside(port));
    }
    send(&mut net, own(5000), outside(1));
    send(&mut net, own(5000), outside(257));
    assert!(answer(&mut net, mapping, outside(1).into()).is_some());
    assert!(answer(&mut net, mapping, outside(2).into()).is_none());
    assert!(answer(&mut net, mapping, outside(3).into()).is_some());
}

/// Seconds until the mapping is closed, with nothing but deadlines.
fn lifetime(net: &mut Net) -> i64 {
    let began = net.now;
    while net.actions().is_empty() {
        net.now = net.engine.poll_timeout().expect("a deadline");
        net.engine.handle_timeout(net.now);
    }
    assert_eq!(net.engine.poll_timeout(), None);
    (net.now - began).secs() as i64
}

#[test]
fn a_mapping_lives_two_minutes_unanswered_and_five_answered() {
    let mut net = Net::new();
    send(&mut net, own(5000), outside(1));
    assert_eq!(lifetime(&mut net), 120);

    let mapping = send(&mut net, own(5000), outside(1));
    answer(&mut net, mapping, outside(1).into());
    assert_eq!(lifetime(&mut net), 300);

    let mapping = send(&mut net, own(5000), outside(1));
    net.pass_time(Duration::from_secs(100));
    assert_eq!(send(&mut net, own(5000), outside(1)), mapping);
    assert_eq!(lifetime(&mut net), 120, "counted from the last datagram outward");

    send(&mut net, own(5000), outside(53));
    assert_eq!(lifetime(&mut net), 20, "a question only");
    send(&mut net, own(5000), outside(53));
    send(&mut net, own(5000), outside(54));
    assert_eq!(lifetime(&mut net), 120);
}

#[test]
fn answers_alone_do_not_keep_a_mapping() {
    let mut net = Net::new();
    let mapping = send(&mut net, own(5000), outside(1));
    for _ in 0..29 {
        answer(&mut net, mapping, outside(1).into());
        net.pass_time(Duration::from_secs(10));
        net.engine.handle_timeout(net.now);
    }
    assert_eq!(net.actions(), []);
    net.pass_time(Duration::from_secs(10));
    net.engine.handle_timeout(net.now);
    assert_eq!(net.actions(), [Action::CloseMapping { mapping }]);
}

#[test]
fn the_idlest_mapping_makes_room_and_ids_do_not_come_back_too_soon() {
    let mut net = Net::with(|config| {
        config.limits.mappings = 6;
        config.limits.mappings_per_container = 4;
    });
    let first = send(&mut net, own(1), outside(1));
    let mut seen = vec![first];
    for port in 2..=4 {
        net.pass_time(Duration::from_secs(1));
        seen.push(send(&mut net, own(port), outside(1)));
    }
    net.pass_time(Duration::from_secs(1));
    assert_eq!(send(&mut net, own(1), outside(1)), first, "used again");
    net.pass_time(Duration::from_secs(1));
    let fifth = send(&mut net, own(5), outside(1));
    assert!(!seen.contains(&fifth), "not before the shell knows");
    assert_eq!(
        net.actions(),
        [Action::CloseMapping { mapping: seen[1] }],
        "the second has been idle longest"
    );
    let neighbour = |port| SocketAddrV4::new(NEIGHBOUR, port);
    send(&mut net, neighbour(1), outside(1));
    send(&mut net, neighbour(2), outside(1));
    assert_eq!(net.actions(), []);
    net.pass_time(Duration::from_secs(1));
    send(&mut net, neighbour(3), outside(1));
    assert_eq!(
        net.actions(),
        [Action::CloseMapping { mapping: seen[2] }],
        "of the container that has most"
    );
    assert_eq!(net.count("evicted_mappings"), 2);
}

#[test]
fn ids_come_back_when_the_shell_knows() {
    let mut net = Net::with(|config| config.limits.mappings_per_container = 2);
    let largest = (1..=1000).map(|port| {
        let MappingId(id) = send(&mut net, own(port), outside(1));
        net.actions();
        id
    });
    assert_eq!(largest.max(), Some(2), "two in use, one not yet closed");
}

#[test]
fn a_great_many_deadlines_at_once() {
    let mut net = Net::new();
    for port in 1..=2000 {
        send(&mut net, own(port), outside(1));
    }
    net.pass_time(Duration::from_secs(120));
    let mut calls = 0;
    while net.engine.poll_timeout().is_some_and(|at| at <= net.now) {
        net.engine.handle_timeout(net.now);
        calls += 1;
    }
    assert_eq!((net.actions().len(), net.engine.poll_timeout()), (2000, None));
    assert!(calls > 4, "in portions, so that frames are not kept waiting: {calls}");
}

#[test]
fn a_sum_of_zero_is_not_sent_as_no_sum() {
    let mut net = Net::new();
    let mapping = send(&mut net, own(5000), outside(1));
    for word in 0..=u16::MAX {
        let (from, payload) = (outside(1).into(), word.to_be_bytes());
        let (_, frame) = net
            .deliver(|engine, now, out| engine.deliver_datagram(now, mapping, from, Payload::one(&payload), out))
            .unwrap();
        assert_ne!(frame[40..42], [0, 0], "{word:04x}");
    }
}

#[test]
fn a_flood_of_endpoints_keeps_the_neighbours_mapping() {
    let mut net = Net::with(|config| config.limits.mappings_per_container = 2048);
    let neighbour = SocketAddrV4::new(NEIGHBOUR, 7);
    let mapping = send(&mut net, neighbour, outside(1));
    for port in 1..=60_000 {
        send(&mut net, own(port), outside(1));
        net.actions();
    }
    assert!(answer(&mut net, mapping, outside(1).into()).is_some());
    assert_eq!(net.count("evicted_mappings"), 60_000 - 2048);
}

#[test]
fn empty_datagrams_are_datagrams() {
    let mut net = Net::new();
    let Passage::Datagram {
        socket: ClientSocket::Mapping { id, .. },
        payload: b"",
        ..
    } = net.pass(&udp(own(5000), outside(1), b""))
    else {
        panic!("dropped")
    };
    let written =
        net.deliver(|engine, now, out| engine.deliver_datagram(now, id, outside(1).into(), Payload::one(b""), out));
    assert_eq!(read_udp(&written.unwrap().1).2, b"");
}

#[test]
fn a_superframe_is_passed_with_its_segment_size() {
    let mut net = Net::new();
    let frame = udp(own(5000), outside(1), &[7; 4000]);
    let gso = |kind| Offload {
        gso: Some(Gso {
            kind,
            size: 1200,
            headers: 42,
            ecn: false,
        }),
        ..Offload::default()
    };
    let passage = net.engine.handle_frame(net.now, gso(GsoType::UdpL4), &frame);
    let Passage::Datagram { segment, payload, .. } = passage else {
        panic!("{passage:?}")
    };
    assert_eq!((segment.unwrap().get(), payload.len()), (1200, 4000));
    assert_eq!(
        net.engine.handle_frame(net.now, gso(GsoType::TcpV4), &frame),
        Passage::Done
    );
    let questions = udp(own(5000), SocketAddrV4::new(GATEWAY, 53), &[7; 4000]);
    assert_eq!(
        net.engine.handle_frame(net.now, gso(GsoType::UdpL4), &questions),
        Passage::Done
    );
    assert_eq!(net.count("drop_malformed"), 2);
}

#[test]
fn checksums_are_verified_unless_the_kernel_vouches() {
    let mut net = Net::new();
    let mut frame = udp(own(5000), outside(1), b"x");
    frame[40] ^= 1;
    assert_eq!(net.pass(&frame), Passage::Done);
    assert_eq!(net.count("drop_checksum"), 1);
    let vouched = Offload {
        verified: true,
        ..Offload::default()
    };
    assert!(matches!(
        net.engine.handle_frame(net.now, vouched, &frame),
        Passage::Datagram { .. }
    ));
    frame[40..42].fill(0);
    assert!(
        matches!(net.pass(&frame), Passage::Datagram { .. }),
        "zero: there is none"
    );
}

#[test]
fn questions_go_to_the_resolver_and_answers_come_from_the_gateway() {
    let mut net = Net::new();
    let gateway = SocketAddrV4::new(GATEWAY, 53);
    let question = udp(own(5000), gateway, b"who?");
    let Passage::Query {
        client,
        payload: b"who?",
    } = net.pass(&question)
    else {
        panic!()
    };
    assert_eq!(client, own(5000).into());
    let written = net.deliver(|engine, now, out| engine.deliver_answer(now, client, b"me", out));
    assert_eq!(
        read_udp(&written.unwrap().1),
        (gateway.to_string(), own(5000).to_string(), b"me".to_vec())
    );
    let stranger = "172.17.0.77:9".parse().unwrap();
    assert!(
        net.deliver(|engine, now, out| engine.deliver_answer(now, stranger, b"me", out))
            .is_none()
    );
}

#[test]
fn the_hosts_loopback_answers_as_the_gateway() {
    let mut net = Net::with(|config| config.policy = Policy::new(GATEWAY, 16, HostAccess::Loopback));
    let Passage::Datagram {
        socket: ClientSocket::Mapping { id, .. },
        target,
        ..
    } = net.pass(&udp(own(5000), SocketAddrV4::new(GATEWAY, 99), b"x"))
    else {
        panic!()
    };
    assert_eq!(target, "127.0.0.1:99".parse().unwrap());
    assert_eq!(answer(&mut net, id, target).unwrap().0, "172.17.0.1:99");
}

#[test]
fn a_published_port_answers_as_the_gateway() {
    let mut other = Net::new();
    let published = gangplank::policy::PublishedPorts::default();
    let mut ours = Net::with(|config| config.policy.published = published.clone());
    published.open(Transport::Udp, "0.0.0.0:99".parse().unwrap());
    let frame = udp(own(5000), SocketAddrV4::new(GATEWAY, 99), b"x");
    assert_eq!(
        other.pass(&frame),
        Passage::Done,
        "another network's ports are not ours"
    );
    let Passage::Datagram {
        socket: ClientSocket::Mapping { id, .. },
        target,
        ..
    } = ours.pass(&frame)
    else {
        panic!()
    };
    assert_eq!(target, "127.0.0.1:99".parse().unwrap());
    assert_eq!(answer(&mut ours, id, target).unwrap().0, "172.17.0.1:99");
    published.close(Transport::Udp, "0.0.0.0:99".parse().unwrap());
    assert_eq!(ours.pass(&frame), Passage::Done, "a mapping alone opens nothing");
}

#[test]
fn refusals_are_icmp_errors() {
    let mut net = Net::new();
    for (target, code, reporter) in [("172.17.0.1:99", 3, GATEWAY), ("169.254.169.254:80", 13, GATEWAY)] {
        let frame = udp(own(5000), target.parse().unwrap(), b"x");
        assert_eq!(net.pass(&frame), Passage::Done);
        let error = net.frames().remove(0);
        assert_icmp_error(&error, [3, code], &frame);
        assert_eq!(error[26..30], reporter.octets());
    }
    assert_eq!(net.count("drop_refused"), 2);
}

#[test]
fn what_the_host_rejects_is_reported() {
    let mut net = Net::new();
    let frame = udp(own(5000), outside(1), &[9; 1400]);
    for (why, code, reporter) in [
        (Unreachable::Refused, 3, OUTSIDE),
        (Unreachable::Network, 0, GATEWAY),
        (Unreachable::Host, 1, GATEWAY),
        (Unreachable::Prohibited, 13, GATEWAY),
    ] {
        net.engine.reject_frame(net.now, &frame, why);
        let error = net.frames().remove(0);
        assert_icmp_error(&error, [3, code], &frame);
        assert_eq!(error.len(), 14 + 576);
        assert_eq!(error[26..30], reporter.octets());
    }
    for why in [Unreachable::TimedOut, Unreachable::Exhausted] {
        net.engine.reject_frame(net.now, &frame, why);
        assert!(net.frames().is_empty());
    }
}

fn assert_icmp_error(error: &[u8], kind: [u8; 2], about: &[u8]) {
    let packet = Ipv4Packet::new_checked(&error[14..]).unwrap();
    assert!(packet.verify_checksum());
    assert!(
        smoltcp::wire::Icmpv4Packet::new_checked(packet.payload())
            .unwrap()
            .verify_checksum()
    );
    assert_eq!(error[34..36], kind);
    let quoted = &error[42..];
    assert_eq!(quoted, &about[14..14 + quoted.len()]);
    assert!(quoted.len() >= 28);
}

#[test]
fn errors_are_limited_by_rate_for_each_container() {
    let mut net = Net::new();
    let frame = udp(own(5000), "172.17.0.1:99".parse().unwrap(), b"x");
    for _ in 0..500 {
        net.send(&frame);
    }
    assert_eq!(net.frames().len(), 100);
    assert_eq!(net.count("icmp_suppressed"), 400);
    net.send(&udp(
        SocketAddrV4::new(NEIGHBOUR, 1),
        "172.17.0.1:99".parse().unwrap(),
        b"x",
    ));
    assert_eq!(net.frames().len(), 1, "the neighbour has a bucket of its own");
    net.pass_time(Duration::from_millis(55));
    for _ in 0..500 {
        net.send(&frame);
    }
    assert_eq!(net.frames().len(), 5);
}

#[test]
fn no_error_about_errors_broadcasts_or_multicasts() {
    let mut net = Net::new();
    let about = |target: &str| udp(own(5000), target.parse().unwrap(), b"x");
    for frame in [about("255.255.255.255:9"), about("224.0.0.1:9"), about("0.0.0.0:9")] {
        net.engine.reject_frame(net.now, &frame, Unreachable::Host);
    }
    let error_message = ipv4(
        MAC,
        ADDRESS,
        OUTSIDE,
        smoltcp::wire::IpProtocol::Icmp,
        &[3, 1, 0, 0, 0, 0, 0, 0],
    );
    net.engine.reject_frame(net.now, &error_message, Unreachable::Host);
    let mut last_hop = ipv4(
        MAC,
        ADDRESS,
        "224.0.0.1".parse().unwrap(),
        smoltcp::wire::IpProtocol::Udp,
        &[0; 8],
    );
    last_hop[22] = 1;
    Ipv4Packet::new_unchecked(&mut last_hop[14..]).fill_checksum();
    net.send(&last_hop);
    assert!(net.frames().is_empty());
}

#[test]
fn time_to_live_ends_at_the_gateway() {
    let mut net = Net::new();
    let with_ttl = |ttl: u8, to: SocketAddrV4| {
        let mut frame = udp(own(33434), to, b"probe");
        frame[22] = ttl;
        Ipv4Packet::new_unchecked(&mut frame[14..]).fill_checksum();
        frame
    };
    let frame = with_ttl(1, outside(33434));
    net.send(&frame);
    let error = net.frames().remove(0);
    assert_icmp_error(&error, [11, 0], &frame);
    assert_eq!(error[26..30], GATEWAY.octets());
    assert!(matches!(
        net.pass(&with_ttl(2, outside(33434))),
        Passage::Datagram { .. }
    ));
    assert!(matches!(
        net.pass(&with_ttl(1, SocketAddrV4::new(GATEWAY, 53))),
        Passage::Query { .. }
    ));
    net.send(&with_ttl(0, outside(33434)));
    assert!(net.frames().is_empty());
    assert_eq!(net.count("drop_ttl"), 2);
}

const WEB: PublishId = PublishId(4);

fn published(net: &mut Net, publish: PublishId, client: &str) -> Option<String> {
    let (client, container) = (client.parse().unwrap(), own(9000).into());
    let written = net.deliver(|engine, now, out| {
        engine.deliver_published(now, publish, client, container, Payload::one(b"hi"), out)
    });
    written.map(|(_, frame)| {
        let (from, to, payload) = read_udp(&frame);
        assert_eq!((to, payload), (own(9000).to_string(), b"hi".to_vec()));
        from
    })
}

/// A link-local address is nothing without its scope.
#[test]
fn an_answer_keeps_the_scope_of_its_client() {
    let mut net = Net::new();
    let client = "[fe80::7%3]:5555";
    let shown: SocketAddrV4 = published(&mut net, WEB, client).unwrap().parse().unwrap();
    let Passage::Datagram { target, .. } = net.pass(&udp(own(9000), shown, b"answer")) else {
        panic!("an answer to a client goes out");
    };
    assert_eq!(target, client.parse().unwrap());
}

#[test]
fn a_published_port_shows_the_client_and_brings_the_answer_back() {
    let mut net = Net::new();
    assert_eq!(
        published(&mut net, WEB, "198.51.100.7:5555").unwrap(),
        "198.51.100.7:5555"
    );
    let shown = "198.51.100.7:5555".parse().unwrap();
    let Passage::Datagram {
        socket,
        target,
        payload: b"hello",
        ..
    } = net.pass(&udp(own(9000), shown, b"hello"))
    else {
        panic!()
    };
    assert_eq!((socket, target), (ClientSocket::Published(WEB), shown.into()));
    assert_ne!(
        send(&mut net, own(9001), shown),
        MappingId(u32::MAX),
        "another endpoint has a mapping of its own"
    );
}

#[test]
fn stand_ins_at_the_gateway_lead_back_to_the_real_client() {
    let mut net = Net::new();
    let local = published(&mut net, WEB, "127.0.0.1:5555").unwrap();
    assert_eq!(local, "172.17.0.1:5555");
    assert_eq!(
        published(&mut net, WEB, "127.0.0.1:5555").unwrap(),
        local,
        "the same each time"
    );
    let inside = published(&mut net, WEB, "172.17.0.3:5555").unwrap();
    assert!(inside.starts_with("172.17.0.1:") && inside != local);
    let other_port = published(&mut net, PublishId(5), "127.0.0.1:5555").unwrap();
    assert!(
        other_port != local && other_port != inside,
        "by another published port it is another client"
    );
    let resolver = published(&mut net, WEB, "127.0.0.1:53").unwrap();
    assert_ne!(resolver, "172.17.0.1:53", "the container's questions stay questions");
    for (shown, real, publish) in [
        (local, "127.0.0.1:5555", WEB),
        (inside, "172.17.0.3:5555", WEB),
        (other_port, "127.0.0.1:5555", PublishId(5)),
    ] {
        let frame = udp(own(9000), shown.parse().unwrap(), b"re");
        let Passage::Datagram { socket, target, .. } = net.pass(&frame) else {
            panic!()
        };
        assert_eq!(
            (socket, target),
            (ClientSocket::Published(publish), real.parse().unwrap())
        );
    }
}

#[test]
fn a_published_client_is_forgotten_when_idle() {
    let mut net = Net::new();
    let local = published(&mut net, WEB, "127.0.0.1:5555").unwrap();
    net.pass_time(Duration::from_secs(299));
    net.engine.handle_timeout(net.now);
    let frame = udp(own(9000), local.parse().unwrap(), b"re");
    assert!(matches!(net.pass(&frame), Passage::Datagram { .. }));
    net.pass_time(Duration::from_secs(299));
    net.engine.handle_timeout(net.now);
    assert!(
        matches!(net.pass(&frame), Passage::Datagram { .. }),
        "used a moment ago"
    );
    net.pass_time(Duration::from_secs(300));
    net.engine.handle_timeout(net.now);
    assert_eq!(net.pass(&frame), Passage::Done);
    assert_eq!(net.engine.poll_timeout(), None);
    assert!(published(&mut net, WEB, "127.0.0.1:5555").is_some());
}

/// A tunnel speaks from one port, whether others may call it there or not.
#[test]
fn a_port_that_is_published_no_more_has_no_clients() {
    let mut net = Net::new();
    let (client, other) = ("198.51.100.7:5555", "198.51.100.8:5555");
    let stays = PublishId(5);
    for (publish, client) in [(WEB, client), (stays, other)] {
        assert_eq!(published(&mut net, publish, client).unwrap(), client);
    }
    net.engine.unpublish(&[WEB]);
    send(&mut net, own(9000), client.parse().unwrap());
    let Passage::Datagram { socket, .. } = net.pass(&udp(own(9000), other.parse().unwrap(), b"re")) else {
        panic!("the other port has its client")
    };
    assert_eq!(socket, ClientSocket::Published(stays));
    let again = published(&mut net, PublishId(6), client);
    assert_eq!(
        again.unwrap(),
        client,
        "and is seen as itself when it is published anew"
    );
}

#[test]
fn a_published_port_without_its_container() {
    let mut net = Net::new();
    net.engine.detach(gangplank::stack::Attachment {
        mac: MAC,
        address: ADDRESS.into(),
    });
    assert_eq!(published(&mut net, WEB, "198.51.100.7:5555"), None);
}

#[test]
fn what_a_container_held_goes_with_it() {
    let mut net = Net::new();
    let mapping = send(&mut net, own(5000), outside(1));
    let echo = ask(&mut net, 7);
    published(&mut net, WEB, "198.51.100.7:5555");
    net.engine.detach(gangplank::stack::Attachment {
        mac: MAC,
        address: ADDRESS.into(),
    });
    assert_eq!(
        net.actions(),
        [Action::CloseMapping { mapping }, Action::CloseEcho { echo }]
    );
    assert_eq!(net.engine.poll_timeout(), None);
    assert_eq!(answer(&mut net, mapping, outside(1).into()), None);
}

#[test]
fn large_datagrams_come_in_fragments() {
    let mut net = Net::new();
    let mapping = send(&mut net, own(5000), outside(1));
    for len in [1472, 1473, 2952, 2953, 9000, 65507] {
        let payload: Vec<u8> = (0..len).map(|i: usize| (i * 7) as u8).collect();
        let from = outside(1).into();
        let first =
            net.deliver(|engine, now, out| engine.deliver_datagram(now, mapping, from, Payload::one(&payload), out));
        let mut frames = vec![first.unwrap().1];
        frames.extend(net.frames());
        assert_eq!(frames.len(), if len == 1472 { 1 } else { (len + 8).div_ceil(1480) });
        let mut body = vec![0; len + 8];
        let mut covered = 0;
        for frame in &frames {
            let packet = Ipv4Packet::new_checked(&frame[14..]).unwrap();
            assert!(packet.verify_checksum() && frame.len() <= 1514);
            assert_eq!(packet.ident(), Ipv4Packet::new_unchecked(&frames[0][14..]).ident());
            let offset = usize::from(packet.frag_offset());
            assert_eq!(packet.more_frags(), offset + packet.payload().len() < len + 8);
            body[offset..offset + packet.payload().len()].copy_from_slice(packet.payload());
            covered += packet.payload().len();
        }
        assert_eq!(covered, len + 8);
        let datagram = smoltcp::wire::UdpPacket::new_checked(&body[..]).unwrap();
        assert!(datagram.verify_checksum(&OUTSIDE.into(), &ADDRESS.into()));
        assert_eq!(datagram.payload(), payload);
    }
    let from = outside(1).into();
    assert!(
        net.deliver(|engine, now, out| engine.deliver_datagram(now, mapping, from, Payload::one(&[0; 65508]), out))
            .is_none()
    );
}

#[test]
fn the_kernel_completes_the_checksum_of_whole_datagrams() {
    let mut net = Net::with(|config| config.uplink = OFFLOADING);
    let mapping = send(&mut net, own(5000), outside(1));
    let from = outside(1).into();
    let (transmit, mut frame) = net
        .deliver(|engine, now, out| engine.deliver_datagram(now, mapping, from, Payload::one(b"odd"), out))
        .unwrap();
    let partial = transmit.offload.partial_checksum.unwrap();
    assert_eq!((partial.start, partial.offset), (34, 6));
    complete_checksum(&mut frame, 34, 6);
    assert_eq!(read_udp(&frame).2, b"odd");
    let (transmit, _) = net
        .deliver(|engine, now, out| engine.deliver_datagram(now, mapping, from, Payload::one(&[0; 3000]), out))
        .unwrap();
    assert_eq!(transmit.offload.partial_checksum, None);
}

#[test]
fn datagrams_of_one_size_travel_as_a_superframe() {
    let mut net = Net::with(|config| config.uplink = OFFLOADING);
    let mapping = send(&mut net, own(5000), outside(1));
    let segment = NonZeroU16::new(1400).unwrap();
    let fitting = net.engine.datagrams_per_frame(FROM_V4, segment);
    assert_eq!(fitting, 46, "as many as stay below 65,536 bytes with all headers");
    let payload = vec![7; fitting * 1400 - 100];
    let from = outside(1).into();
    let (transmit, frame) = net
        .deliver(|engine, now, out| {
            engine.deliver_datagram(
                now,
                mapping,
                from,
                Payload {
                    bytes: &payload,
                    segment: Some(segment),
                },
                out,
            )
        })
        .unwrap();
    let gso = transmit.offload.gso.unwrap();
    assert_eq!((gso.kind, gso.size, gso.headers), (GsoType::UdpL4, 1400, 42));
    assert!(frame.len() < 65_536 && transmit.offload.validate(frame.len()).is_ok());
    assert_eq!(
        transmit
            .offload
            .partial_checksum
            .map(|partial| (partial.start, partial.offset)),
        Some((34, 6))
    );
    // One alone is no superframe.
    let (transmit, _) = net
        .deliver(|engine, now, out| {
            engine.deliver_datagram(
                now,
                mapping,
                from,
                Payload {
                    bytes: &[7; 1400],
                    segment: Some(segment),
                },
                out,
            )
        })
        .unwrap();
    assert_eq!(transmit.offload.gso, None);
}

#[test]
fn what_would_be_cut_or_not_taken_apart_goes_one_by_one() {
    let net = Net::with(|config| config.uplink = OFFLOADING);
    assert_eq!(
        net.engine.datagrams_per_frame(FROM_V4, NonZeroU16::new(1472).unwrap()),
        44
    );
    assert_eq!(
        net.engine.datagrams_per_frame(FROM_V4, NonZeroU16::new(1473).unwrap()),
        1
    );
    assert_eq!(net.engine.datagrams_per_frame(FROM_V4, NonZeroU16::new(1).unwrap()), 64);
    let net = Net::new();
    assert_eq!(
        net.engine.datagrams_per_frame(FROM_V4, NonZeroU16::new(1400).unwrap()),
        1
    );
}

/// What the kernel does with a partial checksum.
fn complete_checksum(frame: &mut [u8], start: usize, offset: usize) {
    let mut sum: u32 = 0;
    for word in frame[start..].chunks(2) {
        sum += u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    frame[start + offset..start + offset + 2].copy_from_slice(&(!(sum as u16)).to_be_bytes());
}

fn ask(net: &mut Net, ident: u16) -> EchoId {
    match net.pass(&ping(OUTSIDE, ident, 3, b"data")) {
        Passage::Echo {
            echo,
            target,
            sequence: 3,
            payload: b"data",
            handling: Handling::USUAL,
        } => {
            assert_eq!(target, std::net::IpAddr::from(OUTSIDE));
            echo
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn echoes_go_out_by_id_and_come_back() {
    let mut net = Net::new();
    let echo = ask(&mut net, 0);
    assert_eq!(ask(&mut net, 0), echo);
    assert_ne!(ask(&mut net, 1), echo);
    let written = net.deliver(|engine, now, out| engine.deliver_echo(now, echo, OUTSIDE.into(), 3, b"data", out));
    let frame = written.unwrap().1;
    assert_eq!(frame[26..34], [OUTSIDE.octets(), ADDRESS.octets()].concat());
    assert_eq!(frame[34..36], [0, 0]);
    assert_eq!(frame[38..], [0, 0, 0, 3, b'd', b'a', b't', b'a']);
    assert!(
        smoltcp::wire::Icmpv4Packet::new_checked(&frame[34..])
            .unwrap()
            .verify_checksum()
    );
    assert_eq!(lifetime(&mut net), 60);
}

#[test]
fn the_gateway_answers_pings_itself() {
    let mut net = Net::new();
    net.send(&ping(GATEWAY, 0, 9, &[5; 1400]));
    let frame = net.frames().remove(0);
    assert_eq!(frame[26..34], [GATEWAY.octets(), ADDRESS.octets()].concat());
    assert_eq!(
        (frame[34], &frame[38..42], frame[42..].len()),
        (0, &[0, 0, 0, 9][..], 1400)
    );
    assert!(
        smoltcp::wire::Icmpv4Packet::new_checked(&frame[34..])
            .unwrap()
            .verify_checksum()
    );
    net.send(&ping("169.254.169.254".parse().unwrap(), 1, 1, b""));
    assert_eq!(net.frames()[0][34..36], [3, 13]);
    net.send(&ping("127.0.0.1".parse().unwrap(), 1, 1, b""));
    net.send(&ping("224.0.0.1".parse().unwrap(), 1, 1, b""));
    assert!(net.frames().is_empty());
}

/// A sender of IPv4.
const FROM_V4: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(OUTSIDE), 53);
