//! DHCPv4: every message, every address that may be asked for, and who is not answered.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use gangplank::stack::{AddressSource, Attachment, Config, Dhcp, Dhcpv6};
use smoltcp::time::Duration;
use smoltcp::wire::{EthernetAddress, IpProtocol, Ipv4Packet};

use crate::net::*;

pub(crate) const NOBODY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
pub(crate) const ALL: Ipv4Addr = Ipv4Addr::BROADCAST;

pub(crate) const DISCOVER: u8 = 1;
pub(crate) const OFFER: u8 = 2;
pub(crate) const REQUEST: u8 = 3;
pub(crate) const DECLINE: u8 = 4;
pub(crate) const ACK: u8 = 5;
pub(crate) const NAK: u8 = 6;
pub(crate) const RELEASE: u8 = 7;
const INFORM: u8 = 8;

/// After which there is an answer to be had again.
pub(crate) const EARNED: Duration = Duration::from_millis(10);

/// The search list of RFC 3397 with two domains.
const DOMAINS: &[u8] = b"\x04corp\x07example\0\x03lab\0";

pub(crate) fn settings(source: AddressSource) -> Dhcp {
    Dhcp {
        router: Some(GATEWAY),
        dns: vec![GATEWAY.into(), GATEWAY6.into()],
        search: vec!["corp.example".to_owned(), "..".to_owned(), "lab".to_owned()],
        hostname: None,
        fqdn: None,
        mtu: Some(1500),
        lease: 3600,
        source,
        v6: Dhcpv6::default(),
    }
}

pub(crate) fn net() -> Net {
    let mut net = Net::with(|config| config.dhcp = Some(settings(AddressSource::Attached)));
    net.engine.set_hostname(MAC, "web".to_owned());
    net
}

pub(crate) fn net_with_range() -> Net {
    Net::with(|config| config.dhcp = Some(settings(RANGE)))
}

const RANGE: AddressSource = AddressSource::Range {
    first: Ipv4Addr::new(172, 17, 0, 2),
    last: Ipv4Addr::new(172, 17, 0, 6),
};

/// A client's message, by hand.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) kind: u8,
    /// Of the frame and in the message.
    pub(crate) mac: EthernetAddress,
    pub(crate) ciaddr: Ipv4Addr,
    pub(crate) broadcast: bool,
    pub(crate) options: Vec<(u8, Vec<u8>)>,
}

impl Message {
    pub(crate) fn new(kind: u8) -> Self {
        Self {
            kind,
            mac: MAC,
            ciaddr: NOBODY,
            broadcast: false,
            options: Vec::new(),
        }
    }

    pub(crate) fn with(mut self, option: u8, data: &[u8]) -> Self {
        self.options.push((option, data.to_vec()));
        self
    }

    pub(crate) fn wishing(self, address: Ipv4Addr) -> Self {
        self.with(50, &address.octets())
    }

    pub(crate) fn naming(self, server: Ipv4Addr) -> Self {
        self.with(54, &server.octets())
    }

    pub(crate) fn having(self, ciaddr: Ipv4Addr) -> Self {
        Self { ciaddr, ..self }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; 240];
        bytes[..8].copy_from_slice(&[1, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef]);
        bytes[10] = if self.broadcast { 0x80 } else { 0 };
        bytes[12..16].copy_from_slice(&self.ciaddr.octets());
        bytes[28..34].copy_from_slice(&self.mac.0);
        bytes[236..].copy_from_slice(&[99, 130, 83, 99]);
        bytes.extend([53, 1, self.kind]);
        for (option, data) in &self.options {
            bytes.extend([*option, data.len() as u8]);
            bytes.extend(data);
        }
        bytes.push(255);
        bytes
    }

    /// As somebody without an address says it to everybody.
    pub(crate) fn frame(&self) -> Vec<u8> {
        frame(self.mac, NOBODY, ALL, &self.bytes())
    }

    /// As somebody with an address says it to the server.
    pub(crate) fn unicast(&self) -> Vec<u8> {
        frame(self.mac, self.ciaddr, GATEWAY, &self.bytes())
    }
}

pub(crate) fn frame(mac: EthernetAddress, source: Ipv4Addr, target: Ipv4Addr, message: &[u8]) -> Vec<u8> {
    ported(mac, (source, 68), (target, 67), message)
}

pub(crate) fn ported(
    mac: EthernetAddress,
    source: (Ipv4Addr, u16),
    target: (Ipv4Addr, u16),
    message: &[u8],
) -> Vec<u8> {
    let (own, other) = (
        SocketAddrV4::new(source.0, source.1),
        SocketAddrV4::new(target.0, target.1),
    );
    let mut frame = udp(own, other, message);
    frame[6..12].copy_from_slice(&mac.0);
    if target.0 == ALL {
        frame[..6].copy_from_slice(&[0xff; 6]);
    }
    frame
}

/// What is answered, checked as a client would.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) kind: u8,
    /// Address it was sent to.
    pub(crate) to: String,
    pub(crate) yiaddr: Ipv4Addr,
    pub(crate) ciaddr: Ipv4Addr,
    pub(crate) broadcast: bool,
    pub(crate) options: BTreeMap<u8, Vec<u8>>,
    /// Bytes of the IP packet.
    pub(crate) len: usize,
}

pub(crate) fn read(frame: &[u8], mac: EthernetAddress) -> Answer {
    assert_eq!((&frame[..6], &frame[6..12]), (&mac.0[..], &GATEWAY_MAC.0[..]));
    let (from, to, message) = read_udp(frame);
    assert_eq!(from, "172.17.0.1:67");
    assert_eq!(message[..8], [2, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef]);
    assert_eq!((&message[20..28], &message[28..34]), (&[0; 8][..], &mac.0[..]));
    assert_eq!(message[44..236], [0; 192]);
    assert_eq!(message[236..240], [99, 130, 83, 99]);
    let address = |at: usize| Ipv4Addr::from_octets(message[at..at + 4].try_into().unwrap());
    let mut options: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
    let mut rest = &message[240..];
    while rest[0] != 255 {
        let (head, behind) = rest.split_at(2);
        let (data, behind) = behind.split_at(head[1].into());
        // RFC 3396.
        options.entry(head[0]).or_default().extend(data);
        rest = behind;
    }
    assert!(rest[1..].iter().all(|byte| *byte == 0), "nothing behind the end");
    let kind = options.remove(&53).unwrap();
    assert_eq!(options.remove(&54), Some(GATEWAY.octets().to_vec()));
    Answer {
        kind: kind[0],
        to,
        yiaddr: address(16),
        ciaddr: address(12),
        broadcast: message[10] == 0x80,
        options,
        len: frame.len() - 14,
    }
}

pub(crate) fn ask(net: &mut Net, message: &Message) -> Option<Answer> {
    answer(net, &message.frame(), message.mac)
}

pub(crate) fn answer(net: &mut Net, frame: &[u8], mac: EthernetAddress) -> Option<Answer> {
    net.send(frame);
    let frames = net.frames();
    assert!(frames.len() <= 1);
    frames.first().map(|frame| read(frame, mac))
}

fn everything(leased: bool) -> BTreeMap<u8, Vec<u8>> {
    let mut options = BTreeMap::from([
        (1, vec![255, 255, 0, 0]),
        (3, GATEWAY.octets().to_vec()),
        (6, GATEWAY.octets().to_vec()),
        (12, b"web".to_vec()),
        (26, 1500u16.to_be_bytes().to_vec()),
        (119, DOMAINS.to_vec()),
    ]);
    if leased {
        options.extend([(51, 3600u32), (58, 1800), (59, 3150)].map(|(kind, time)| (kind, time.to_be_bytes().to_vec())));
    }
    options
}

#[test]
fn discovered_offered_requested_had() {
    let mut net = net();
    let offer = ask(&mut net, &Message::new(DISCOVER)).unwrap();
    assert_eq!(
        (offer.kind, offer.yiaddr, offer.to.as_str()),
        (OFFER, ADDRESS, "172.17.0.2:68")
    );
    assert_eq!(offer.options, everything(true));
    assert!(offer.len >= 328, "as long as the shortest message of BOOTP");
    let request = Message::new(REQUEST).wishing(ADDRESS).naming(GATEWAY);
    let ack = ask(&mut net, &request).unwrap();
    assert_eq!((ack.kind, ack.yiaddr, ack.to.as_str()), (ACK, ADDRESS, "172.17.0.2:68"));
    assert_eq!(ack.options, everything(true));
    let neighbour = Message {
        mac: NEIGHBOUR_MAC,
        ..Message::new(DISCOVER)
    };
    let offer = ask(&mut net, &neighbour).unwrap();
    assert_eq!(offer.yiaddr, NEIGHBOUR, "each its own");
    assert!(!offer.options.contains_key(&12), "nobody said what it is called");
}

/// Who reads frames has to find the checksum in them, whatever else the uplink completes.
#[test]
fn checksums_are_there() {
    let mut net = Net::with(|config| {
        config.dhcp = Some(settings(AddressSource::Attached));
        config.uplink = OFFLOADING;
    });
    net.send(&Message::new(DISCOVER).frame());
    let (transmit, frame) = net.frame().unwrap();
    assert_eq!(transmit.offload, gangplank::stack::Offload::default());
    assert_eq!(read(&frame, MAC).kind, OFFER);
}

#[test]
fn every_state_of_a_client() {
    let requested = |message: Message| (message, ACK, ADDRESS);
    let table = [
        (
            "init-reboot",
            requested(Message::new(REQUEST).wishing(ADDRESS)).0.frame(),
            "172.17.0.2:68",
        ),
        (
            "renewing",
            Message::new(REQUEST).having(ADDRESS).unicast(),
            "172.17.0.2:68",
        ),
        (
            "rebinding",
            frame(MAC, ADDRESS, ALL, &Message::new(REQUEST).having(ADDRESS).bytes()),
            "172.17.0.2:68",
        ),
    ];
    for (what, frame, to) in table {
        let ack = answer(&mut net(), &frame, MAC).expect(what);
        assert_eq!((ack.kind, ack.yiaddr, ack.to.as_str()), (ACK, ADDRESS, to), "{what}");
        assert_eq!(ack.options, everything(true), "{what}");
    }
    let inform = Message::new(INFORM).having(ADDRESS);
    for frame in [inform.unicast(), frame(MAC, ADDRESS, ALL, &inform.bytes())] {
        let ack = answer(&mut net(), &frame, MAC).unwrap();
        assert_eq!((ack.kind, ack.yiaddr, ack.ciaddr), (ACK, NOBODY, ADDRESS));
        assert_eq!(
            ack.options,
            everything(false),
            "no lease for an address that was not given"
        );
    }
}

#[test]
fn who_cannot_be_reached_yet_is_answered_on_the_whole_link() {
    let mut net = net();
    let discover = Message {
        broadcast: true,
        ..Message::new(DISCOVER)
    };
    let offer = ask(&mut net, &discover).unwrap();
    assert_eq!((offer.to.as_str(), offer.broadcast), ("255.255.255.255:68", true));
}

#[test]
fn at_once_for_who_wants_it_so() {
    let ack = ask(&mut net(), &Message::new(DISCOVER).with(80, &[])).unwrap();
    assert_eq!((ack.kind, ack.yiaddr), (ACK, ADDRESS));
    assert_eq!(ack.options.get(&80), Some(&vec![]));
}

#[test]
fn an_identifier_comes_back() {
    let identifier = [&[255][..], &[7; 200]].concat();
    let offer = ask(&mut net(), &Message::new(DISCOVER).with(61, &identifier)).unwrap();
    assert_eq!(offer.options.get(&61), Some(&identifier));
    let nak = Message::new(REQUEST).wishing(NEIGHBOUR).with(61, &identifier);
    let nak = ask(&mut net(), &nak).unwrap();
    assert_eq!((nak.kind, nak.options.get(&61)), (NAK, Some(&identifier)));
}

/// Whatever is asked for that is not the client's own: no, and nothing has changed.
#[test]
fn addresses_that_are_not_to_be_had() {
    let foreign = [
        NEIGHBOUR,
        GATEWAY,
        Ipv4Addr::new(172, 17, 0, 0),
        Ipv4Addr::new(172, 17, 255, 255),
        Ipv4Addr::new(172, 17, 0, 77),
        Ipv4Addr::new(10, 0, 2, 15),
        Ipv4Addr::new(127, 0, 0, 1),
        Ipv4Addr::new(224, 0, 0, 1),
        NOBODY,
        ALL,
    ];
    for (name, mut net, own) in [("attached", net(), Some(ADDRESS)), ("range", net_with_range(), None)] {
        // What a range may not give is what is outside of it or somebody's.
        for address in foreign {
            for request in [
                Message::new(REQUEST).wishing(address).naming(GATEWAY),
                Message::new(REQUEST).wishing(address),
                Message::new(REQUEST).having(address),
            ] {
                let nak = ask(&mut net, &request).unwrap();
                assert_eq!((nak.kind, nak.yiaddr), (NAK, NOBODY), "{name}: {address}");
                assert_eq!(
                    (nak.to.as_str(), &nak.options),
                    ("255.255.255.255:68", &BTreeMap::new())
                );
            }
        }
        let offer = ask(&mut net, &Message::new(DISCOVER)).unwrap();
        // 2 and 3 are attached.
        assert_eq!(offer.yiaddr, own.unwrap_or(Ipv4Addr::new(172, 17, 0, 4)), "{name}");
        assert!(
            net.rests_for(Duration::from_secs(3600)),
            "{name}: nothing is remembered"
        );
    }
    let nothing = ask(&mut net(), &Message::new(REQUEST)).unwrap();
    assert_eq!(nothing.kind, NAK);
}

#[test]
fn nothing_is_given_back_that_is_attached() {
    let mut net = net();
    for (kind, address) in [
        (RELEASE, ADDRESS),
        (DECLINE, ADDRESS),
        (RELEASE, NEIGHBOUR),
        (DECLINE, GATEWAY),
    ] {
        let wish = Message::new(kind).wishing(address).naming(GATEWAY);
        assert_eq!(ask(&mut net, &wish), None);
    }
    let release = Message::new(RELEASE).having(ADDRESS).naming(GATEWAY);
    assert_eq!(answer(&mut net, &release.unicast(), MAC), None);
    assert_eq!(ask(&mut net, &Message::new(DISCOVER)).unwrap().yiaddr, ADDRESS);
    net.open(5000);
}

#[test]
fn what_is_not_answered() {
    let relayed = {
        let mut bytes = Message::new(DISCOVER).bytes();
        bytes[24..28].copy_from_slice(&[172, 17, 0, 9]);
        frame(MAC, NOBODY, ALL, &bytes)
    };
    let as_another = {
        let mut bytes = Message::new(DISCOVER).bytes();
        bytes[28..34].copy_from_slice(&NEIGHBOUR_MAC.0);
        frame(MAC, NOBODY, ALL, &bytes)
    };
    let wrong_sum = {
        let mut frame = Message::new(DISCOVER).frame();
        *frame.last_mut().unwrap() ^= 1;
        frame
    };
    let mut to_gateway_from_nobody = Message::new(DISCOVER).frame();
    to_gateway_from_nobody[..6].copy_from_slice(&GATEWAY_MAC.0);
    let stranger = EthernetAddress([2, 0, 0, 0, 0, 9]);
    let bytes = Message::new(DISCOVER).bytes();
    let table = [
        ("of a relay", relayed, "drop_dhcp"),
        (
            "for another server",
            Message::new(REQUEST).wishing(ADDRESS).naming(NEIGHBOUR).frame(),
            "drop_dhcp",
        ),
        ("of another time", Message::new(10).frame(), "drop_dhcp"),
        ("a server's", Message::new(OFFER).frame(), "drop_malformed"),
        ("for another's hardware", as_another, "drop_spoofed"),
        ("by a stranger", frame(stranger, NOBODY, ALL, &bytes), "drop_spoofed"),
        ("from a neighbour", frame(MAC, NEIGHBOUR, ALL, &bytes), "drop_spoofed"),
        ("from the gateway", frame(MAC, GATEWAY, ALL, &bytes), "drop_spoofed"),
        (
            "from nobody to the gateway",
            frame(MAC, NOBODY, GATEWAY, &bytes),
            "drop_spoofed",
        ),
        ("from nobody by the gateway", to_gateway_from_nobody, "drop_spoofed"),
        ("informed as nobody", Message::new(INFORM).frame(), "drop_spoofed"),
        (
            "informed as a neighbour",
            Message::new(INFORM).having(NEIGHBOUR).frame(),
            "drop_spoofed",
        ),
        (
            "to the subnet",
            ported(MAC, (NOBODY, 68), (Ipv4Addr::new(172, 17, 255, 255), 67), &bytes),
            "drop_spoofed",
        ),
        (
            "another port",
            ported(MAC, (NOBODY, 68), (ALL, 69), &bytes),
            "drop_not_for_us",
        ),
        (
            "of another port",
            ported(MAC, (NOBODY, 4068), (ALL, 67), &bytes),
            "drop_not_for_us",
        ),
        (
            "of a server's port",
            ported(MAC, (NOBODY, 67), (ALL, 67), &bytes),
            "drop_not_for_us",
        ),
        ("wrong checksum", wrong_sum, "drop_checksum"),
    ];
    for (what, frame, counter) in table {
        let mut net = net();
        net.send(&frame);
        assert_eq!((net.frames(), net.count(counter)), (vec![], 1), "{what}");
    }
    let mut nobody = Net::new();
    nobody.send(&Message::new(DISCOVER).frame());
    assert_eq!(
        (nobody.frames(), nobody.count("drop_not_for_us")),
        (vec![], 1),
        "no server"
    );
}

/// Whoever has no address gets nowhere else.
#[test]
fn the_door_leads_to_the_server_alone() {
    let mut net = net();
    for (target, port) in [
        (ALL, 53),
        (ALL, 7),
        (OUTSIDE, 67),
        (OUTSIDE, 53),
        (GATEWAY, 53),
        (GATEWAY, 67),
    ] {
        let mut frame = ported(MAC, (NOBODY, 68), (target, port), b"hello");
        for mac in [GATEWAY_MAC, EthernetAddress::BROADCAST] {
            frame[..6].copy_from_slice(&mac.0);
            net.send(&frame);
        }
    }
    for protocol in [IpProtocol::Tcp, IpProtocol::Icmp] {
        let mut frame = ipv4(MAC, NOBODY, ALL, protocol, &[0; 28]);
        frame[..6].copy_from_slice(&[0xff; 6]);
        net.send(&frame);
    }
    // A fragment of a message is none.
    let mut part = Message::new(DISCOVER).frame();
    let mut header = Ipv4Packet::new_unchecked(&mut part[14..]);
    header.set_more_frags(true);
    header.fill_checksum();
    net.send(&part);
    assert_eq!((net.frames(), net.actions()), (vec![], vec![]));
}

#[test]
fn who_asks_without_end_is_not_always_answered() {
    let mut net = net();
    let mut answers = 0;
    for _ in 0..500 {
        answers += usize::from(ask(&mut net, &Message::new(DISCOVER)).is_some());
    }
    assert_eq!((answers, net.count("drop_full")), (100, 400));
    net.pass_time(Duration::from_secs(1));
    assert!(ask(&mut net, &Message::new(DISCOVER)).is_some());
}

/// What no longer fits is left out, the least important first; where nothing fits, nothing is said.
#[test]
fn answers_fit_the_link_and_the_client() {
    let domains = |config: &mut Config, mtu: u16| {
        let mut dhcp = settings(AddressSource::Attached);
        dhcp.search = (0..40).map(|n| format!("number-{n}.corp.example")).collect();
        dhcp.dns = (1..=100).map(|n| Ipv4Addr::new(10, 0, 0, n).into()).collect();
        config.dhcp = Some(dhcp);
        config.mtu = mtu;
    };
    let mut before = 0;
    for mtu in (0..=700).chain([1280, 1499, 1500, 1501, 65521]) {
        for most in [None, Some(0), Some(300), Some(576), Some(1000), Some(65535)] {
            let mut net = Net::with(|config| domains(config, mtu));
            let mut discover = Message::new(DISCOVER);
            if let Some(most) = most {
                discover = discover.with(57, &u16::to_be_bytes(most));
            }
            let Some(offer) = ask(&mut net, &discover) else {
                assert!(mtu < 290 && net.count("drop_dhcp") == 1, "MTU {mtu}");
                continue;
            };
            let limit = most.unwrap_or(576).max(576).min(mtu.max(68)).min(1500);
            assert!(offer.len <= limit.into(), "MTU {mtu}, {most:?}: {}", offer.len);
            assert_eq!((offer.kind, offer.yiaddr), (OFFER, ADDRESS));
            for needed in [1, 51] {
                assert!(offer.options.contains_key(&needed), "MTU {mtu}: {needed}");
            }
            if let Some(resolvers) = offer.options.get(&6) {
                assert!([10, 0, 0, 1, 10, 0, 0, 2, 10, 0, 0, 3].starts_with(resolvers));
            }
            let there: Vec<bool> = [3, 6, 26, 58, 59, 119]
                .map(|kind| offer.options.contains_key(&kind))
                .into();
            let first_missing = there.iter().position(|there| !there).unwrap_or(there.len());
            if mtu >= 400 {
                assert_eq!(first_missing, there.len(), "MTU {mtu}: {there:?}");
            }
            if most == Some(65535) {
                assert!(offer.len >= before, "MTU {mtu}: the larger the more");
                before = offer.len;
                let domains = offer
                    .options
                    .get(&119)
                    .map_or(0, |list| list.iter().filter(|byte| **byte == 0).count());
                assert_eq!(domains >= 40, mtu >= 1499, "MTU {mtu}: {domains} domains");
            }
        }
    }
}

#[test]
fn domains_that_change_are_told() {
    let mut net = net();
    net.engine.set_search(vec!["home".to_owned()]);
    let offer = ask(&mut net, &Message::new(DISCOVER)).unwrap();
    assert_eq!(offer.options.get(&119), Some(&b"\x04home\0".to_vec()));
    net.engine.set_search(Vec::new());
    assert!(
        !ask(&mut net, &Message::new(DISCOVER))
            .unwrap()
            .options
            .contains_key(&119)
    );
}

#[test]
fn a_name_goes_with_its_owner() {
    let mut net = net();
    let attachment = Attachment {
        mac: MAC,
        address: ADDRESS.into(),
    };
    net.engine.detach(attachment);
    net.engine.attach(attachment);
    assert!(
        !ask(&mut net, &Message::new(DISCOVER))
            .unwrap()
            .options
            .contains_key(&12)
    );
}
