//! ARP, and who may speak as whom.

use smoltcp::wire::{ArpOperation, EthernetAddress, IpProtocol};

use gangplank::stack::Attachment;

use crate::net::*;

#[test]
fn the_gateways_address_is_answered_for() {
    let mut net = Net::new();
    net.send(&arp(MAC, (MAC, ADDRESS), ArpOperation::Request, GATEWAY));
    let frame = net.frames().remove(0);
    let expected = [
        &MAC.0[..],
        &GATEWAY_MAC.0,
        &[8, 6, 0, 1, 8, 0, 6, 4, 0, 2],
        &GATEWAY_MAC.0,
        &GATEWAY.octets(),
        &MAC.0,
        &ADDRESS.octets(),
    ];
    assert_eq!(frame, expected.concat());
}

#[test]
fn nothing_else_is() {
    let mut net = Net::new();
    let stranger = EthernetAddress([2, 0, 0, 0, 0, 9]);
    let request = ArpOperation::Request;
    let table = [
        (
            "for a neighbour",
            arp(MAC, (MAC, ADDRESS), request, NEIGHBOUR),
            "drop_arp",
        ),
        ("for nobody", arp(MAC, (MAC, ADDRESS), request, OUTSIDE), "drop_arp"),
        (
            "a reply",
            arp(MAC, (MAC, ADDRESS), ArpOperation::Reply, GATEWAY),
            "drop_arp",
        ),
        (
            "operation 0",
            arp(MAC, (MAC, ADDRESS), ArpOperation::Unknown(0), GATEWAY),
            "drop_arp",
        ),
        (
            "operation 65535",
            arp(MAC, (MAC, ADDRESS), ArpOperation::Unknown(65535), GATEWAY),
            "drop_arp",
        ),
        (
            "gratuitous, own",
            arp(MAC, (MAC, ADDRESS), request, ADDRESS),
            "drop_arp",
        ),
        (
            "claims the gateway",
            arp(MAC, (MAC, GATEWAY), request, GATEWAY),
            "drop_spoofed",
        ),
        (
            "claims a neighbour",
            arp(MAC, (MAC, NEIGHBOUR), request, GATEWAY),
            "drop_spoofed",
        ),
        (
            "gratuitous for a neighbour",
            arp(MAC, (MAC, NEIGHBOUR), ArpOperation::Reply, NEIGHBOUR),
            "drop_spoofed",
        ),
        (
            "another sender than the frame's",
            arp(MAC, (NEIGHBOUR_MAC, NEIGHBOUR), request, GATEWAY),
            "drop_spoofed",
        ),
        (
            "not attached",
            arp(stranger, (stranger, "172.17.0.9".parse().unwrap()), request, GATEWAY),
            "drop_spoofed",
        ),
    ];
    for (what, frame, counter) in table {
        let before = net.count(counter);
        net.send(&frame);
        assert_eq!(net.count(counter), before + 1, "{what}");
        assert!(net.frames().is_empty(), "{what}");
    }
}

#[test]
fn nobody_speaks_with_anothers_address() {
    let mut net = Net::new();
    let stranger = EthernetAddress([2, 0, 0, 0, 0, 9]);
    let sources = [
        (MAC, "172.17.0.3"),
        (MAC, "172.17.0.1"),
        (MAC, "172.17.0.77"),
        (MAC, "172.17.255.255"),
        (MAC, "0.0.0.0"),
        (MAC, "0.1.2.3"),
        (MAC, "127.0.0.1"),
        (MAC, "169.254.1.1"),
        (MAC, "224.0.0.1"),
        (MAC, "240.0.0.1"),
        (MAC, "255.255.255.255"),
        (MAC, "8.8.8.8"),
        (NEIGHBOUR_MAC, "172.17.0.2"),
        (stranger, "172.17.0.2"),
        (GATEWAY_MAC, "172.17.0.2"),
        (EthernetAddress([0; 6]), "172.17.0.2"),
        (EthernetAddress::BROADCAST, "172.17.0.2"),
        (EthernetAddress([3, 0, 0, 0, 0, 2]), "172.17.0.2"),
    ];
    for (mac, source) in sources {
        for protocol in [IpProtocol::Tcp, IpProtocol::Udp, IpProtocol::Icmp] {
            let before = net.count("drop_spoofed");
            net.send(&ipv4(mac, source.parse().unwrap(), OUTSIDE, protocol, &[0; 40]));
            assert_eq!(net.count("drop_spoofed"), before + 1, "{mac} {source}");
        }
    }
    assert!(net.frames().is_empty() && net.actions().is_empty());
}

#[test]
fn a_container_that_comes_back_has_its_new_hardware_address() {
    let mut net = Net::new();
    let fresh = EthernetAddress([2, 0, 0, 0, 0, 7]);
    net.engine.detach(Attachment {
        mac: MAC,
        address: ADDRESS.into(),
    });
    net.engine.attach(Attachment {
        mac: fresh,
        address: ADDRESS.into(),
    });
    net.send(&arp(MAC, (MAC, ADDRESS), ArpOperation::Request, GATEWAY));
    assert!(net.frames().is_empty());
    net.send(&arp(fresh, (fresh, ADDRESS), ArpOperation::Request, GATEWAY));
    assert_eq!(net.frames()[0][..6], fresh.0);
    net.engine.detach(Attachment {
        mac: MAC,
        address: ADDRESS.into(),
    });
    net.send(&arp(fresh, (fresh, ADDRESS), ArpOperation::Request, GATEWAY));
    assert_eq!(net.frames().len(), 1, "a late goodbye of the old one changes nothing");
}

#[test]
fn frames_for_others_are_left_alone() {
    let mut net = Net::new();
    for target in [
        NEIGHBOUR_MAC,
        EthernetAddress::BROADCAST,
        EthernetAddress([1, 0, 0x5e, 0, 0, 1]),
        EthernetAddress([0; 6]),
    ] {
        let mut frame = ping(OUTSIDE, 1, 1, b"");
        frame[..6].copy_from_slice(&target.0);
        net.send(&frame);
    }
    assert_eq!(net.count("drop_not_for_us"), 4);
}
