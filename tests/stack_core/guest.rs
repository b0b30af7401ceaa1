//! One network namespace that configures itself: its addresses are learnt, and what is ours is where the layout says.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};

use gangplank::policy::{Alias, Closed, HostAccess, Neighbours, ResolverPlace};
use gangplank::stack::{Config, Passage, Payload, PublishId, Refusal, Senders};
use smoltcp::time::Duration;
use smoltcp::wire::{ArpOperation, EthernetAddress};

use crate::net::*;

const RESOLVER: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 53);
const OTHER_MAC: EthernetAddress = EthernetAddress([2, 0, 0, 0, 9, 9]);
const UNHEARD: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 100);

/// A guest behind MAC, with a resolver of its own and the host's loopback at the gateway.
fn net(change: impl FnOnce(&mut Config)) -> Net {
    Net::with(|config| {
        config.senders = Senders::Guest { mac: MAC };
        config.policy.host_access = HostAccess::Loopback;
        config.policy.layout.closed = Closed::Unreachable;
        config.policy.layout.resolver = ResolverPlace::At {
            v4: Some(RESOLVER),
            v6: None,
        };
        change(config);
    })
}

fn syn_from(mac: EthernetAddress, source: Ipv4Addr) -> Vec<u8> {
    let peer = Peer::new(SocketAddrV4::new(source, 4000), SocketAddrV4::new(OUTSIDE, 80));
    let mut frame = peer.syn();
    frame[6..12].copy_from_slice(&mac.0);
    frame
}

/// The code of the one frame that is there, an ICMP "unreachable".
fn unreachable_code(net: &mut Net) -> u8 {
    let frames = net.frames();
    assert_eq!((frames.len(), frames[0][23], frames[0][34]), (1, 1, 3));
    frames[0][35]
}

#[test]
fn any_address_that_is_not_ours_may_send() {
    let mut net = net(|_| {});
    for source in [UNHEARD, Ipv4Addr::new(10, 88, 0, 9), OUTSIDE] {
        net.send(&syn_from(OTHER_MAC, source));
        assert_eq!(net.actions().len(), 1, "{source}");
    }
    for source in [
        GATEWAY,
        RESOLVER,
        Ipv4Addr::UNSPECIFIED,
        Ipv4Addr::BROADCAST,
        Ipv4Addr::LOCALHOST,
        Ipv4Addr::new(224, 0, 0, 1),
    ] {
        let spoofed = net.count("drop_spoofed");
        net.send(&syn_from(OTHER_MAC, source));
        assert_eq!(
            (net.actions().len(), net.count("drop_spoofed")),
            (0, spoofed + 1),
            "{source}"
        );
    }
    net.send(&syn_from(EthernetAddress([3, 0, 0, 0, 0, 1]), UNHEARD));
    assert_eq!(net.actions().len(), 0, "a group's hardware address");
}

#[test]
fn others_of_a_bridge_may_not() {
    let mut net = Net::new();
    net.send(&syn_from(OTHER_MAC, UNHEARD));
    assert_eq!((net.actions().len(), net.count("drop_spoofed")), (0, 1));
}

#[test]
fn what_is_meant_for_an_address_goes_where_it_was_heard() {
    let mut net = net(|_| {});
    let client: SocketAddr = "198.51.100.9:1000".parse().unwrap();
    let reach = |net: &mut Net| {
        let mut out = vec![0; gangplank::stack::OUT_BYTES];
        let to = SocketAddr::new(UNHEARD.into(), 53);
        let payload = Payload::one(b"hello");
        let sent = net
            .engine
            .deliver_published(net.now, PublishId(1), client, to, payload, &mut out);
        EthernetAddress::from_bytes(&sent.unwrap().frame(&out)[..6])
    };
    assert_eq!(reach(&mut net), MAC, "nobody was heard: the line's own");
    net.send(&arp(OTHER_MAC, (OTHER_MAC, UNHEARD), ArpOperation::Request, GATEWAY));
    assert_eq!(net.frames().len(), 1);
    assert_eq!(reach(&mut net), OTHER_MAC, "it has moved");
    let ours = SocketAddr::new(RESOLVER.into(), 80);
    assert_eq!(net.engine.accept(net.now, client, ours), Err(Refusal::NoContainer));
}

/// A bridge in the namespace has the lowest hardware address of its ports, and so may get another with each.
#[test]
fn a_connection_goes_where_its_container_is_heard() {
    let mut net = net(|_| {});
    let mut peer = net.open(4000);
    net.fill(peer.flow, b"lost");
    assert_eq!(net.frames()[0][..6], MAC.0);
    net.send(&arp(OTHER_MAC, (OTHER_MAC, ADDRESS), ArpOperation::Request, GATEWAY));
    assert_eq!(net.frames().len(), 1);
    let end = net.now + Duration::from_secs(3);
    let again = loop {
        assert!(net.now < end, "it is said again");
        net.now = net.engine.poll_timeout().unwrap();
        net.engine.handle_timeout(net.now);
        if let Some(frame) = net.frames().pop() {
            break frame;
        }
    };
    assert_eq!(again[..6], OTHER_MAC.0);
    net.send(&peer.data(&[7; 1460]));
    assert_eq!(net.frames()[0][..6], MAC.0, "and back");
}

#[test]
fn so_many_addresses_are_remembered() {
    let mut net = net(|_| {});
    let source = |number: u32| Ipv4Addr::from_bits(Ipv4Addr::new(10, 0, 0, 1).to_bits() + number);
    for number in 0..3000 {
        net.send(&syn_from(OTHER_MAC, source(number)));
    }
    let opened = net.actions();
    let closed = opened
        .iter()
        .filter(|action| matches!(action, gangplank::stack::Action::Close { .. }))
        .count();
    assert_eq!(closed, 3000 - 1024, "those heard of longest ago lose what they had");
}

#[test]
fn our_addresses_are_answered_for_and_no_others() {
    let asked = |net: &mut Net, target: Ipv4Addr| {
        net.send(&arp(MAC, (MAC, ADDRESS), ArpOperation::Request, target));
        net.frames().len()
    };
    let mut plain = net(|_| {});
    for (target, answers) in [(GATEWAY, 1), (RESOLVER, 1), (UNHEARD, 0), (ADDRESS, 0), (OUTSIDE, 0)] {
        assert_eq!(asked(&mut plain, target), answers, "{target}");
    }
    let mut copied = net(|config| config.policy.layout.neighbours = Neighbours::Host(vec![ADDRESS.into()]));
    for (target, answers) in [
        (GATEWAY, 1),
        (UNHEARD, 1),
        (OUTSIDE, 1),
        (ADDRESS, 0),
        (Ipv4Addr::BROADCAST, 0),
    ] {
        assert_eq!(
            asked(&mut copied, target),
            answers,
            "{target} in a copy of the host's network"
        );
    }
}

/// A guest that is about to have an address must not be told that somebody has it.
#[test]
fn probes_are_answered_for_our_own_alone() {
    let mut copied = net(|config| config.policy.layout.neighbours = Neighbours::Host(vec![ADDRESS.into()]));
    for (target, answers) in [(GATEWAY, 1), (RESOLVER, 1), (UNHEARD, 0), (ADDRESS, 0)] {
        let probe = arp(MAC, (MAC, Ipv4Addr::UNSPECIFIED), ArpOperation::Request, target);
        copied.send(&probe);
        assert_eq!(copied.frames().len(), answers, "{target}");
    }
}

#[test]
fn the_resolver_has_an_address_of_its_own() {
    let mut net = net(|_| {});
    let own = SocketAddrV4::new(ADDRESS, 5000);
    let question = udp(own, SocketAddrV4::new(RESOLVER, 53), b"question");
    assert_eq!(
        net.pass(&question),
        Passage::Query {
            client: own.into(),
            payload: b"question"
        }
    );
    let mut out = vec![0; gangplank::stack::OUT_BYTES];
    let sent = net
        .engine
        .deliver_answer(net.now, own.into(), b"answer", &mut out)
        .unwrap();
    assert_eq!(read_udp(sent.frame(&out)).0, "172.17.0.53:53");
    let question = udp(own, SocketAddrV4::new(GATEWAY, 53), b"question");
    assert!(
        matches!(net.pass(&question), Passage::Datagram { target, .. } if target == "127.0.0.1:53".parse().unwrap())
    );
    net.send(&udp(own, SocketAddrV4::new(RESOLVER, 80), b"web"));
    assert_eq!(unreachable_code(&mut net), 0, "network unreachable");
}

#[test]
fn what_is_closed_is_said_as_the_layout_has_it() {
    let mut net = net(|config| config.policy.host_access = HostAccess::None);
    let peer = Peer::new(SocketAddrV4::new(ADDRESS, 4000), SocketAddrV4::new(GATEWAY, 80));
    net.send(&peer.syn());
    assert_eq!(unreachable_code(&mut net), 0, "network unreachable");
}

#[test]
fn aliases_stand_for_what_they_are_told() {
    let elsewhere: IpAddr = "127.0.0.1".parse().unwrap();
    let (stands_for, silent) = (Ipv4Addr::new(172, 17, 0, 60), Ipv4Addr::new(172, 17, 0, 61));
    let mut net = net(|config| {
        config.policy.layout.aliases = vec![
            Alias {
                address: stands_for.into(),
                host: Some(elsewhere),
            },
            Alias {
                address: silent.into(),
                host: None,
            },
        ];
    });
    let own = SocketAddrV4::new(ADDRESS, 5000);
    let asked = udp(own, SocketAddrV4::new(stands_for, 7), b"x");
    assert!(matches!(net.pass(&asked), Passage::Datagram { target, .. } if target == SocketAddr::new(elsewhere, 7)));
    assert_eq!(net.pass(&udp(own, SocketAddrV4::new(silent, 7), b"x")), Passage::Done);
    assert_eq!(net.frames().len(), 0);
    net.send(&arp(MAC, (MAC, ADDRESS), ArpOperation::Request, silent));
    assert_eq!(net.frames().len(), 1, "it is there all the same");
}
