//! Links while containers are kept apart: who is answered for, what passes, and for how long.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};

use gangplank::policy::links::{LinkPort, LinkProtocol, LinkRule, LinkRules};
use gangplank::stack::{Attachment, Gso, GsoType, Offload, PartialChecksum, Passage};
use smoltcp::time::Duration;
use smoltcp::wire::{ArpOperation, EthernetAddress, IpProtocol, TcpControl};

use crate::net::*;

/// The container that has a link (it is called by the name of whoever sends most elsewhere).
const PARENT: Ipv4Addr = ADDRESS;
const CHILD: Ipv4Addr = NEIGHBOUR;
const STRANGER: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 4);
const OPEN: u16 = 5432;

fn port(protocol: LinkProtocol, port: u16) -> LinkPort {
    LinkPort { protocol, port }
}

fn rules(isolated: bool) -> LinkRules {
    let ports = vec![port(LinkProtocol::Udp, OPEN), port(LinkProtocol::Tcp, OPEN)];
    let rule = |parent: IpAddr, child: IpAddr| LinkRule {
        parent,
        child,
        ports: ports.clone(),
    };
    LinkRules {
        isolated,
        links: vec![
            rule(PARENT.into(), CHILD.into()),
            rule(ADDRESS6.into(), NEIGHBOUR6.into()),
        ],
    }
}

/// A network with the link, and somebody who has none.
fn linked() -> Net {
    let mut net = Net::with_ipv6(|_| {});
    net.engine.attach(Attachment {
        mac: mac_of(STRANGER),
        address: STRANGER.into(),
    });
    net.engine.set_links(rules(true));
    net.frames();
    net
}

fn passes(net: &mut Net, frame: &[u8]) -> bool {
    match net.pass(frame) {
        Passage::Relay { head } => {
            let to = if frame[33] == CHILD.octets()[3] {
                NEIGHBOUR_MAC
            } else {
                MAC
            };
            assert_eq!(head, *[&to.0[..], &GATEWAY_MAC.0, &[8, 0]].concat());
            true
        }
        Passage::Done => false,
        other => panic!("{other:?}"),
    }
}

/// A segment from one to the other, with these flags.
fn tcp(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), control: TcpControl, ack: bool) -> Vec<u8> {
    let peer = Peer::new(SocketAddrV4::new(from.0, from.1), SocketAddrV4::new(to.0, to.1));
    Segment {
        control,
        ack: ack.then_some(7),
        ..peer.segment()
    }
    .frame()
}

fn datagram(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16)) -> Vec<u8> {
    let mut frame = udp(
        SocketAddrV4::new(from.0, from.1),
        SocketAddrV4::new(to.0, to.1),
        b"hello",
    );
    frame[6..12].copy_from_slice(&mac_of(from.0).0);
    frame
}

#[test]
fn linked_containers_find_each_other_at_the_gateway() {
    let mut net = linked();
    let asks = |from, target| arp(mac_of(from), (mac_of(from), from), ArpOperation::Request, target);
    for (from, target) in [(PARENT, CHILD), (CHILD, PARENT)] {
        net.send(&asks(from, target));
        let frame = net.frames().remove(0);
        assert_eq!(frame[..12], [mac_of(from).0, GATEWAY_MAC.0].concat());
        let expected = [&[0, 2][..], &GATEWAY_MAC.0, &target.octets()].concat();
        assert_eq!(frame[20..32], expected, "{from} asks for {target}");
    }
    for (from, target) in [(STRANGER, CHILD), (STRANGER, PARENT), (PARENT, STRANGER)] {
        net.send(&asks(from, target));
        assert_eq!(net.frames(), Vec::<Vec<u8>>::new(), "{from} asks for {target}");
    }
    // Nobody's address is a probe, which must not be answered for somebody who is there.
    let probe = arp(MAC, (MAC, Ipv4Addr::UNSPECIFIED), ArpOperation::Request, CHILD);
    net.send(&probe);
    // Together again, they answer for themselves.
    net.engine.set_links(rules(false));
    net.frames();
    net.send(&asks(PARENT, CHILD));
    assert_eq!(net.frames(), Vec::<Vec<u8>>::new());
}

#[test]
fn the_same_by_neighbour_discovery() {
    let mut net = linked();
    let link_local = "fe80::42".parse().unwrap();
    for source in [ADDRESS6, link_local] {
        net.send(&solicit(source, MAC));
        let frame = net.frames().remove(0);
        assert_eq!(frame[54], 136);
        assert_eq!(frame[58], 0x60, "solicited, to override, and no router");
        assert_eq!(frame[62..78], NEIGHBOUR6.octets());
        assert_eq!(frame[80..86], GATEWAY_MAC.0);
    }
    let mut stranger = solicit("fe80::43".parse().unwrap(), mac_of(STRANGER));
    stranger[6..12].copy_from_slice(&mac_of(STRANGER).0);
    net.send(&stranger);
    assert_eq!(net.frames(), Vec::<Vec<u8>>::new());
}

/// A solicitation for the child.
fn solicit(source: std::net::Ipv6Addr, mac: EthernetAddress) -> Vec<u8> {
    let message = [&[135, 0, 0, 0, 0, 0, 0, 0], &NEIGHBOUR6.octets()[..], &[1, 1], &mac.0].concat();
    icmp6(source, NEIGHBOUR6, 255, &message)
}

fn icmp6(source: std::net::Ipv6Addr, target: std::net::Ipv6Addr, hops: u8, message: &[u8]) -> Vec<u8> {
    let mut message = message.to_vec();
    let mut packet = smoltcp::wire::Icmpv6Packet::new_unchecked(&mut message[..]);
    packet.fill_checksum(&source, &target);
    ipv6(source, target, IpProtocol::Icmpv6, hops, &message)
}

#[test]
fn only_the_parent_opens() {
    let mut net = linked();
    let (ant, bee) = ((PARENT, 4000), (CHILD, OPEN));
    assert!(!passes(&mut net, &tcp(bee, ant, TcpControl::Syn, true)), "unasked for");
    assert!(!passes(&mut net, &tcp(bee, ant, TcpControl::Syn, false)));
    assert!(passes(&mut net, &tcp(ant, bee, TcpControl::Syn, false)));
    assert!(passes(&mut net, &tcp(bee, ant, TcpControl::Syn, true)));
    assert!(passes(&mut net, &tcp(ant, bee, TcpControl::Psh, true)));
    assert!(passes(&mut net, &tcp(bee, ant, TcpControl::Psh, true)));
    for (what, frame) in [
        ("the way back", tcp(bee, ant, TcpControl::Syn, false)),
        (
            "another port of the parent",
            tcp(bee, (PARENT, 4001), TcpControl::Psh, true),
        ),
        ("from another port", tcp((CHILD, 80), ant, TcpControl::Psh, true)),
        ("to another port", tcp(ant, (CHILD, 80), TcpControl::Syn, false)),
        ("another protocol", datagram(bee, ant)),
        ("somebody else", tcp((STRANGER, 4000), bee, TcpControl::Syn, false)),
        ("to somebody else", tcp(ant, (STRANGER, OPEN), TcpControl::Syn, false)),
        ("a ping", ping(CHILD, 1, 1, b"hello")),
    ] {
        assert!(!passes(&mut net, &frame), "{what}");
    }
    assert_eq!(net.actions(), []);
    assert_eq!(net.frames(), Vec::<Vec<u8>>::new(), "nothing is said about it");
    assert_eq!((net.count("relayed"), net.count("drop_unlinked")), (4, 10));
}

#[test]
fn one_who_lies_about_itself_does_not_pass() {
    let mut net = linked();
    let (ant, bee) = ((PARENT, 4000), (CHILD, OPEN));
    let mut forged = tcp(ant, bee, TcpControl::Syn, false);
    forged[6..12].copy_from_slice(&mac_of(STRANGER).0);
    assert!(!passes(&mut net, &forged));
    assert_eq!(net.count("drop_spoofed"), 1);
    assert_eq!(net.engine.spoofed_by(mac_of(STRANGER)), 1);
    assert_eq!(net.engine.spoofed_by(MAC), 0);
}

#[test]
fn a_datagram_is_answered_while_it_is_remembered() {
    let mut net = linked();
    let (ant, bee) = ((PARENT, 4000), (CHILD, OPEN));
    assert!(!passes(&mut net, &datagram(bee, ant)));
    assert!(passes(&mut net, &datagram(ant, bee)));
    net.pass_time(Duration::from_secs(299));
    assert!(passes(&mut net, &datagram(bee, ant)));
    net.pass_time(Duration::from_secs(299));
    assert!(passes(&mut net, &datagram(bee, ant)), "its answer has renewed it");
    net.pass_time(Duration::from_secs(301));
    assert!(!passes(&mut net, &datagram(bee, ant)));
}

#[test]
fn a_connection_is_forgotten_by_its_state() {
    let (ant, bee) = ((PARENT, 4000), (CHILD, OPEN));
    let back = tcp(bee, ant, TcpControl::Psh, true);
    let after = |net: &mut Net, seconds| {
        net.pass_time(Duration::from_secs(seconds));
        passes(net, &back)
    };
    let opened = || {
        let mut net = linked();
        assert!(passes(&mut net, &tcp(ant, bee, TcpControl::Syn, false)));
        net
    };
    let mut silent = opened();
    assert!(!after(&mut silent, 241), "never answered");
    let established = || {
        let mut net = opened();
        assert!(passes(&mut net, &tcp(bee, ant, TcpControl::Syn, true)));
        net
    };
    assert!(after(&mut established(), 7_439));
    assert!(!after(&mut established(), 7_441));
    let mut half_closed = established();
    assert!(passes(&mut half_closed, &tcp(ant, bee, TcpControl::Fin, true)));
    assert!(after(&mut half_closed, 7_000), "half of it is as good as all");
    assert!(passes(&mut half_closed, &tcp(bee, ant, TcpControl::Fin, true)));
    assert!(after(&mut half_closed, 239));
    assert!(!after(&mut half_closed, 2), "what comes after does not renew it");
    assert!(passes(&mut half_closed, &tcp(ant, bee, TcpControl::Syn, false)));
    assert!(passes(&mut half_closed, &tcp(bee, ant, TcpControl::Syn, true)));
    assert!(after(&mut half_closed, 7_000), "the same ports anew");
    let mut reset = established();
    assert!(passes(&mut reset, &tcp(bee, ant, TcpControl::Rst, true)));
    assert!(!after(&mut reset, 11));
}

#[test]
fn a_connection_is_taken_up_in_its_midst() {
    let mut net = linked();
    let (ant, bee) = ((PARENT, 4000), (CHILD, OPEN));
    assert!(!passes(&mut net, &tcp(bee, ant, TcpControl::Psh, true)));
    assert!(passes(&mut net, &tcp(ant, bee, TcpControl::Rst, false)));
    assert!(
        !passes(&mut net, &tcp(bee, ant, TcpControl::Psh, true)),
        "a reset begins nothing"
    );
    assert!(passes(&mut net, &tcp(ant, bee, TcpControl::Psh, true)));
    assert!(passes(&mut net, &tcp(bee, ant, TcpControl::Psh, true)));
}

#[test]
fn errors_pass_that_quote_a_conversation() {
    let mut net = linked();
    let (ant, bee) = ((PARENT, 4000), (CHILD, OPEN));
    let error = |about: &[u8], kind: u8| {
        let body = [&[kind, 3, 0, 0, 0, 0, 0, 0], &about[14..]].concat();
        ipv4(NEIGHBOUR_MAC, CHILD, PARENT, IpProtocol::Icmp, &body)
    };
    let sent = datagram(ant, bee);
    assert!(!passes(&mut net, &error(&sent, 3)), "of what was never sent");
    assert!(passes(&mut net, &sent));
    for kind in [3, 11, 12] {
        assert!(passes(&mut net, &error(&sent, kind)), "type {kind}");
    }
    assert!(!passes(&mut net, &error(&sent, 5)), "a redirect");
    assert!(!passes(&mut net, &error(&datagram((PARENT, 4001), bee), 3)));
    assert!(!passes(&mut net, &error(&datagram(bee, ant), 3)), "quotes its own");
    assert!(!passes(&mut net, &error(&datagram((STRANGER, 4000), bee), 3)));
    assert!(!passes(&mut net, &error(&sent[..37], 3)), "cut short");
}

#[test]
fn the_frame_leaves_as_it_came() {
    let mut net = linked();
    let frame = tcp((PARENT, 4000), (CHILD, OPEN), TcpControl::Psh, true);
    let superframe = |kind, start, offset| Offload {
        partial_checksum: Some(PartialChecksum { start, offset }),
        verified: false,
        gso: Some(Gso {
            kind,
            size: 1460,
            headers: 54,
            ecn: false,
        }),
        assembled: false,
    };
    let now = net.now;
    let mut shown = |offload| net.engine.handle_frame(now, offload, &frame);
    let passed = |passage| matches!(passage, Passage::Relay { .. });
    assert!(passed(shown(superframe(GsoType::TcpV4, 34, 16))));
    for (what, offload) in [
        ("another family", superframe(GsoType::TcpV6, 34, 16)),
        ("another protocol", superframe(GsoType::UdpL4, 34, 16)),
        ("a checksum over the port", superframe(GsoType::TcpV4, 34, 2)),
        ("a checksum of something else", superframe(GsoType::TcpV4, 14, 16)),
    ] {
        assert!(!passed(shown(offload)), "{what}");
    }
    assert_eq!(net.count("drop_malformed"), 4);
}

#[test]
fn what_has_options_does_not_pass() {
    let mut net = linked();
    let mut frame = datagram((PARENT, 4000), (CHILD, OPEN));
    // Four bytes of options that say nothing.
    frame.splice(34..34, [1; 4]);
    let len = frame.len() - 14;
    let mut packet = smoltcp::wire::Ipv4Packet::new_unchecked(&mut frame[14..]);
    packet.set_header_len(24);
    packet.set_total_len(len as u16);
    packet.fill_checksum();
    assert!(!passes(&mut net, &frame));
}

#[test]
fn a_large_datagram_is_cut_again() {
    let mut net = linked();
    let payload: Vec<u8> = (0..4000).map(|byte| (byte * 7 % 251) as u8).collect();
    let own = SocketAddrV4::new(PARENT, 4000);
    let whole = udp(own, SocketAddrV4::new(CHILD, OPEN), &payload);
    let mut given_back = None;
    for part in crate::fragments::cut(&whole, 9, 1480) {
        match net.pass(&part) {
            Passage::Whole { frame } => given_back = Some(frame),
            passage => assert_eq!(passage, Passage::Done),
        }
    }
    let given_back = given_back.expect("all parts have come");
    assert_eq!(net.pass(&given_back), Passage::Done);
    let frames = net.frames();
    assert_eq!(frames.len(), 3);
    let mut body = Vec::new();
    for frame in &frames {
        assert_eq!(frame[..12], [NEIGHBOUR_MAC.0, GATEWAY_MAC.0].concat());
        assert_eq!(frame[26..34], [PARENT.octets(), CHILD.octets()].concat());
        body.extend_from_slice(&frame[34..]);
    }
    assert_eq!(body[8..], payload);
    let mut other = whole;
    other[36..38].copy_from_slice(&81u16.to_be_bytes());
    for part in crate::fragments::cut(&other, 10, 1480) {
        if let Passage::Whole { frame } = net.pass(&part) {
            net.send(&frame);
        }
    }
    assert_eq!(net.frames(), Vec::<Vec<u8>>::new(), "to another port");
}

#[test]
fn ipv6_as_well() {
    let mut net = linked();
    let between = |own: SocketAddr, other: SocketAddr| Peer::between(own, other);
    let (ant, bee) = (SocketAddr::from((ADDRESS6, 4000)), SocketAddr::from((NEIGHBOUR6, OPEN)));
    let mut back = between(bee, ant).segment().frame();
    back[6..12].copy_from_slice(&NEIGHBOUR_MAC.0);
    assert_eq!(net.pass(&back), Passage::Done);
    let head = |mac: EthernetAddress| {
        *[&mac.0[..], &GATEWAY_MAC.0, &[0x86, 0xdd]]
            .concat()
            .first_chunk()
            .unwrap()
    };
    let syn = between(ant, bee).syn();
    assert_eq!(
        net.pass(&syn),
        Passage::Relay {
            head: head(NEIGHBOUR_MAC)
        }
    );
    assert_eq!(net.pass(&back), Passage::Relay { head: head(MAC) });
    let error = icmp6(
        NEIGHBOUR6,
        ADDRESS6,
        64,
        &[&[1, 4, 0, 0, 0, 0, 0, 0], &syn[14..]].concat(),
    );
    let mut from_child = error.clone();
    from_child[6..12].copy_from_slice(&NEIGHBOUR_MAC.0);
    assert_eq!(net.pass(&from_child), Passage::Relay { head: head(MAC) });
    let other = between(ant, SocketAddr::from((NEIGHBOUR6, 80))).syn();
    assert_eq!(net.pass(&other), Passage::Done);
}

#[test]
fn it_goes_with_its_rule_and_with_either_end() {
    let (ant, bee) = ((PARENT, 4000), (CHILD, OPEN));
    let opened = || {
        let mut net = linked();
        assert!(passes(&mut net, &tcp(ant, bee, TcpControl::Syn, false)));
        net
    };
    let mut without = opened();
    let mut fewer = rules(true);
    fewer.links[0].ports.retain(|port| port.protocol == LinkProtocol::Udp);
    without.engine.set_links(fewer);
    assert!(!passes(&mut without, &tcp(bee, ant, TcpControl::Syn, true)));
    without.engine.set_links(rules(true));
    assert!(
        !passes(&mut without, &tcp(bee, ant, TcpControl::Syn, true)),
        "forgotten when it was closed"
    );
    for (mac, address) in [(MAC, PARENT), (NEIGHBOUR_MAC, CHILD)] {
        let mut gone = opened();
        gone.engine.detach(Attachment {
            mac,
            address: address.into(),
        });
        assert!(
            !passes(&mut gone, &tcp(ant, bee, TcpControl::Psh, true)),
            "{address} has gone"
        );
        assert!(
            !passes(&mut gone, &tcp(bee, ant, TcpControl::Psh, true)),
            "{address} has gone"
        );
    }
}

#[test]
fn both_ends_are_told_when_they_are_set_apart() {
    let mut net = linked();
    let hears = |frames: &[Vec<u8>], mac: EthernetAddress, about: Ipv4Addr, at: EthernetAddress| {
        let claim = [&[0, 2][..], &at.0, &about.octets(), &at.0, &about.octets()].concat();
        frames
            .iter()
            .any(|frame| frame[..6] == mac.0 && frame[20..].starts_with(&claim))
    };
    let hears6 = |frames: &[Vec<u8>], mac: EthernetAddress, about: [u8; 16], at: EthernetAddress| {
        let claim = [&[0x20, 0, 0, 0][..], &about, &[2, 1], &at.0].concat();
        frames
            .iter()
            .any(|frame| frame[..6] == mac.0 && frame.get(58..).is_some_and(|rest| rest.starts_with(&claim)))
    };
    for (isolated, of_child, of_parent) in [(false, NEIGHBOUR_MAC, MAC), (true, GATEWAY_MAC, GATEWAY_MAC)] {
        net.engine.set_links(rules(isolated));
        let frames = net.frames();
        assert_eq!(frames.len(), 4);
        assert!(hears(&frames, MAC, CHILD, of_child) && hears(&frames, NEIGHBOUR_MAC, PARENT, of_parent));
        assert!(hears6(&frames, MAC, NEIGHBOUR6.octets(), of_child));
        assert!(hears6(&frames, NEIGHBOUR_MAC, ADDRESS6.octets(), of_parent));
        net.engine.set_links(rules(isolated));
        assert_eq!(net.frames(), Vec::<Vec<u8>>::new(), "it was said");
    }
}

#[test]
fn engines_share_what_is_remembered() {
    let [mut first, mut second] = Net::shards();
    first.engine.set_links(rules(true));
    let (ant, bee) = ((PARENT, 4000), (CHILD, OPEN));
    assert!(!passes(&mut second, &tcp(bee, ant, TcpControl::Syn, true)));
    assert!(passes(&mut first, &tcp(ant, bee, TcpControl::Syn, false)));
    assert!(passes(&mut second, &tcp(bee, ant, TcpControl::Syn, true)));
    assert!(passes(&mut second, &tcp(ant, bee, TcpControl::Psh, true)));
}

#[test]
fn a_parent_that_opens_much_loses_what_is_idle() {
    let mut net = linked();
    let bee = (CHILD, OPEN);
    let active = (PARENT, 1);
    assert!(passes(&mut net, &datagram(active, bee)));
    for number in 1000..31_000 {
        assert!(passes(&mut net, &datagram((PARENT, number), bee)));
        net.pass_time(Duration::from_millis(1));
        assert!(passes(&mut net, &datagram(bee, active)), "after {number}");
    }
    let remembered = (1000..31_000).filter(|number| passes(&mut net, &datagram(bee, (PARENT, *number))));
    let remembered: Vec<u16> = remembered.collect();
    assert!((8_000..8_192).contains(&remembered.len()), "{}", remembered.len());
    assert!(remembered[0] > 22_000, "the youngest: {}", remembered[0]);
}
