//! DHCPv4 with addresses from a range, for whoever asks.

use std::net::Ipv4Addr;

use smoltcp::wire::EthernetAddress;

use crate::dhcp::*;
use crate::net::*;

/// A guest with a hardware address that nobody knew.
fn guest(last: u8, message: Message) -> Message {
    Message {
        mac: EthernetAddress([2, 0, 0, 0, 9, last]),
        ..message
    }
}

fn got(net: &mut Net, message: &Message) -> (u8, u8) {
    let answer = ask(net, message).expect("an answer");
    (answer.kind, answer.yiaddr.octets()[3])
}

#[test]
fn a_range_gives_the_lowest_and_lets_it_send() {
    let mut net = net_with_range();
    let at = |last: u8| Ipv4Addr::new(172, 17, 0, last);
    let guest_mac = guest(1, Message::new(DISCOVER)).mac;
    assert_eq!(got(&mut net, &guest(1, Message::new(DISCOVER))), (OFFER, 4));
    assert_eq!(
        got(&mut net, &guest(2, Message::new(DISCOVER))),
        (OFFER, 5),
        "4 is offered"
    );
    let hello = ported(guest_mac, (at(4), 5000), (OUTSIDE, 53), b"hello");
    net.send(&hello);
    assert_eq!(net.count("drop_spoofed"), 1, "only offered");
    let request = |last: u8| Message::new(REQUEST).wishing(at(last)).naming(GATEWAY);
    assert_eq!(got(&mut net, &guest(1, request(4))), (ACK, 4));
    assert!(matches!(net.pass(&hello), gangplank::stack::Passage::Datagram { .. }));
    assert_eq!(
        got(&mut net, &guest(1, Message::new(DISCOVER))),
        (OFFER, 4),
        "the same again"
    );
    assert_eq!(got(&mut net, &guest(2, request(4))).0, NAK);
    assert_eq!(got(&mut net, &guest(2, request(5))), (ACK, 5));
    let renewal = guest(1, Message::new(REQUEST)).having(at(4));
    let renewed = answer(&mut net, &renewal.unicast(), guest_mac).unwrap();
    assert_eq!((renewed.kind, renewed.to.as_str()), (ACK, "172.17.0.4:68"));
    // A client that was there before we were.
    assert_eq!(got(&mut net, &guest(3, Message::new(REQUEST).wishing(at(6)))), (ACK, 6));
    assert_eq!(ask(&mut net, &guest(4, Message::new(DISCOVER))), None, "all are taken");
    assert_eq!(net.count("drop_dhcp"), 1);
    let release = guest(1, Message::new(RELEASE)).having(at(4)).naming(GATEWAY);
    assert_eq!(answer(&mut net, &release.unicast(), guest_mac), None);
    net.send(&hello);
    assert_eq!(net.count("drop_spoofed"), 2, "given back");
    assert_eq!(got(&mut net, &guest(4, Message::new(DISCOVER))), (OFFER, 4));
}

#[test]
fn a_client_is_known_by_its_identifier() {
    let mut net = net_with_range();
    let named = |last: u8, message: Message| guest(last, message).with(61, b"\xffsame");
    let at = Ipv4Addr::new(172, 17, 0, 4);
    assert_eq!(got(&mut net, &named(1, Message::new(DISCOVER).with(80, &[]))), (ACK, 4));
    assert_eq!(
        got(&mut net, &guest(1, Message::new(DISCOVER))),
        (OFFER, 5),
        "the same hardware, another client"
    );
    assert_eq!(
        got(&mut net, &named(2, Message::new(REQUEST).wishing(at))),
        (ACK, 4),
        "new hardware"
    );
    let hello = |last: u8| ported(guest(last, Message::new(0)).mac, (at, 5000), (OUTSIDE, 53), b"hello");
    net.send(&hello(1));
    assert_eq!(net.count("drop_spoofed"), 1);
    assert!(matches!(
        net.pass(&hello(2)),
        gangplank::stack::Passage::Datagram { .. }
    ));
    // The identifier that the hardware address makes is no other.
    let plain = guest(7, Message::new(DISCOVER));
    let own = [&[1][..], &plain.mac.0].concat();
    let first = got(&mut net, &plain);
    assert_eq!(got(&mut net, &plain.with(61, &own)), first);
}

#[test]
fn what_a_client_finds_taken_is_not_given_again() {
    let mut net = net_with_range();
    assert_eq!(got(&mut net, &guest(1, Message::new(DISCOVER).with(80, &[]))), (ACK, 4));
    let decline = Message::new(DECLINE)
        .wishing(Ipv4Addr::new(172, 17, 0, 4))
        .naming(GATEWAY);
    assert_eq!(ask(&mut net, &guest(2, decline.clone())), None, "not its own");
    assert_eq!(got(&mut net, &guest(1, Message::new(DISCOVER))), (OFFER, 4));
    assert_eq!(ask(&mut net, &guest(1, decline)), None);
    assert_eq!(got(&mut net, &guest(1, Message::new(DISCOVER))), (OFFER, 5));
}

#[test]
fn strangers_share_their_patience() {
    let mut net = net_with_range();
    let mut answers = 0;
    for last in 0..=255 {
        net.send(&guest(last, Message::new(REQUEST)).frame());
        answers += net.frames().len();
    }
    assert_eq!((answers, net.count("drop_full")), (100, 156));
    // Group addresses are nobody's.
    let mut group = Message::new(DISCOVER);
    group.mac = EthernetAddress([3, 0, 0, 0, 0, 1]);
    net.send(&group.frame());
    assert_eq!(net.count("drop_spoofed"), 1);
}

#[test]
fn a_renewal_does_not_renew_the_patience() {
    let mut net = net_with_range();
    let at = Ipv4Addr::new(172, 17, 0, 4);
    let renewal = guest(1, Message::new(REQUEST).wishing(at));
    assert_eq!(got(&mut net, &renewal), (ACK, 4));
    let mut answers = 0;
    for _ in 0..256 {
        net.send(&renewal.frame());
        answers += net.frames().len();
    }
    assert_eq!((answers, net.count("drop_full")), (100, 156));
}
