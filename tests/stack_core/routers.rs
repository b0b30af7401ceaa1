//! Router advertisements: what they say, to whom, how often.

use std::net::Ipv6Addr;

use gangplank::stack::{AddressSource, Attachment, Ipv6};
use smoltcp::time::Duration;
use smoltcp::wire::{EthernetAddress, Icmpv6Packet, IpProtocol, Ipv6Packet};

use crate::net::*;

const OWN_LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x77);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
const HARDWARE: [u8; 8] = [1, 1, 2, 0, 0, 0, 0, 2];

/// What an advertisement is made of, its checksum left out.
const ADVERTISED: [&[u8]; 6] = [
    // Hop limit 64, no DHCPv6, a router for 5400 seconds.
    &[134, 0],
    &[64, 0, 0x15, 0x18, 0, 0, 0, 0, 0, 0, 0, 0],
    &[1, 1, 2, 0, 0, 0, 0, 1],
    &[5, 1, 0, 0, 0, 0, 0x05, 0xdc],
    // fd12::/64, on link, not for addresses of one's own making.
    &[
        3, 4, 64, 0x80, 0, 0, 0x15, 0x18, 0, 0, 0x15, 0x18, 0, 0, 0, 0, 0xfd, 0x12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0, 0,
    ],
    &[
        25, 3, 0, 0, 0, 0, 0x15, 0x18, 0xfd, 0x12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
    ],
];

fn net() -> Net {
    Net::with_ipv6(|_| {})
}

fn solicitation(source: Ipv6Addr, hop_limit: u8, code: u8, options: &[u8]) -> Vec<u8> {
    let mut message = [&[133, code, 0, 0, 0, 0, 0, 0], options].concat();
    Icmpv6Packet::new_unchecked(&mut message[..]).fill_checksum(&source, &ALL_ROUTERS);
    let mut frame = ipv6(source, ALL_ROUTERS, IpProtocol::Icmpv6, hop_limit, &message);
    frame[..6].copy_from_slice(&[0x33, 0x33, 0, 0, 0, 2]);
    frame
}

/// Checks all of an advertisement; to which hardware and address it goes.
fn read(frame: &[u8]) -> (EthernetAddress, Ipv6Addr) {
    let packet = Ipv6Packet::new_checked(&frame[14..]).unwrap();
    let (from, to) = (packet.src_addr(), packet.dst_addr());
    assert_eq!(
        (from, packet.hop_limit()),
        (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1), 255)
    );
    let message = Icmpv6Packet::new_checked(packet.payload()).unwrap();
    assert!(message.verify_checksum(&from, &to));
    let message = packet.payload();
    assert_eq!([&message[..2], &message[4..]].concat(), ADVERTISED.concat());
    (EthernetAddress::from_bytes(&frame[..6]), to)
}

#[test]
fn whoever_asks_is_told_alone() {
    for (source, options, to) in [
        (OWN_LINK_LOCAL, &HARDWARE[..], OWN_LINK_LOCAL),
        (ADDRESS6, &[], ADDRESS6),
        (Ipv6Addr::UNSPECIFIED, &[], ALL_NODES),
    ] {
        let mut net = net();
        net.send(&solicitation(source, 255, 0, options));
        let frames = net.frames();
        assert_eq!(frames.len(), 1);
        assert_eq!(read(&frames[0]), (MAC, to));
    }
}

#[test]
fn a_server_of_dhcpv6_is_told_of() {
    let dhcp = crate::dhcp::settings(AddressSource::Attached);
    let mut net = Net::with_ipv6(|config| config.dhcp = Some(dhcp));
    net.send(&solicitation(OWN_LINK_LOCAL, 255, 0, &HARDWARE));
    let frames = net.frames();
    let message = Ipv6Packet::new_checked(&frames[0][14..]).unwrap();
    let prefix = &message.payload()[32..36];
    assert_eq!(message.payload()[5], 0xc0, "addresses, and all else");
    assert_eq!(prefix, [3, 4, 64, 0x80], "still not for addresses of one's own making");
}

#[test]
fn whoever_may_form_an_address_is_not_sent_to_dhcpv6() {
    let flags = |v6: Option<Ipv6Addr>, autonomous: bool| {
        let mut net = Net::with_ipv6(|config| {
            config.dhcp = Some(crate::dhcp::settings(AddressSource::Guest { v4: None, v6 }));
            config.ipv6 = config.ipv6.map(|ipv6| Ipv6 { autonomous, ..ipv6 });
        });
        net.send(&solicitation(OWN_LINK_LOCAL, 255, 0, &HARDWARE));
        net.frames()[0][14 + 40 + 5]
    };
    assert_eq!(flags(Some(ADDRESS6), false), 0xc0);
    assert_eq!(flags(Some(ADDRESS6), true), 0);
    assert_eq!(flags(None, false), 0);
}

#[test]
fn solicitations_that_are_not_answered() {
    let mut wrong_sum = solicitation(OWN_LINK_LOCAL, 255, 0, &HARDWARE);
    wrong_sum[57] ^= 1;
    let table = [
        (
            "from afar",
            solicitation(OWN_LINK_LOCAL, 64, 0, &HARDWARE),
            "drop_malformed",
        ),
        ("wrong checksum", wrong_sum, "drop_checksum"),
        (
            "another code",
            solicitation(OWN_LINK_LOCAL, 255, 1, &HARDWARE),
            "drop_malformed",
        ),
        ("as a neighbour", solicitation(NEIGHBOUR6, 255, 0, &[]), "drop_spoofed"),
        (
            "with another's hardware",
            solicitation(OWN_LINK_LOCAL, 255, 0, &[1, 1, 2, 0, 0, 0, 0, 3]),
            "drop_spoofed",
        ),
        (
            "nobody with hardware",
            solicitation(Ipv6Addr::UNSPECIFIED, 255, 0, &HARDWARE),
            "drop_malformed",
        ),
        (
            "option of length 0",
            solicitation(OWN_LINK_LOCAL, 255, 0, &[14, 0, 0, 0, 0, 0, 0, 0]),
            "drop_malformed",
        ),
    ];
    for (what, frame, counter) in table {
        let mut net = net();
        net.send(&frame);
        assert_eq!((net.frames(), net.count(counter)), (vec![], 1), "{what}");
        for end in 0..frame.len() {
            net.send(&frame[..end]);
        }
        assert_eq!(net.frames(), Vec::<Vec<u8>>::new(), "{what}, cut short");
    }
}

#[test]
fn who_asks_without_end_is_not_always_answered() {
    let mut net = net();
    let mut answers = 0;
    for _ in 0..500 {
        net.send(&solicitation(OWN_LINK_LOCAL, 255, 0, &HARDWARE));
        answers += net.frames().len();
    }
    assert_eq!((answers, net.count("drop_full")), (100, 400));
    net.pass_time(Duration::from_secs(1));
    net.send(&solicitation(OWN_LINK_LOCAL, 255, 0, &HARDWARE));
    assert_eq!(net.frames().len(), 1);
}

#[test]
fn what_was_said_is_said_again_before_it_expires() {
    let mut net = net();
    assert_eq!(net.engine.poll_timeout(), None, "nobody has asked");
    net.send(&solicitation(OWN_LINK_LOCAL, 255, 0, &HARDWARE));
    net.frames();
    for _ in 0..3 {
        let asked = net.now;
        net.now = net.engine.poll_timeout().unwrap();
        assert_eq!(net.now - asked, Duration::from_secs(1800));
        net.engine.handle_timeout(net.now);
        let frames = net.frames();
        assert_eq!(frames.len(), 1);
        assert_eq!(read(&frames[0]), (EthernetAddress([0x33, 0x33, 0, 0, 0, 1]), ALL_NODES));
    }
    for (mac, address) in [
        (MAC, ADDRESS.into()),
        (MAC, ADDRESS6.into()),
        (NEIGHBOUR_MAC, NEIGHBOUR.into()),
        (NEIGHBOUR_MAC, NEIGHBOUR6.into()),
    ] {
        net.engine.detach(Attachment { mac, address });
    }
    net.now = net.engine.poll_timeout().unwrap();
    net.engine.handle_timeout(net.now);
    assert_eq!(
        (net.frames(), net.engine.poll_timeout()),
        (vec![], None),
        "nobody is there"
    );
}
