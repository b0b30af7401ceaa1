//! DHCPv6: every message, every way to be wrong.

use std::net::Ipv6Addr;

use gangplank::stack::AddressSource;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::time::Duration;
use smoltcp::wire::{IpProtocol, Ipv6Packet, UdpPacket, UdpRepr};

use crate::dhcp::{EARNED, settings};
use crate::net::*;

pub(crate) const OWN: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x77);
const SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);
pub(crate) const FOREIGN: Ipv6Addr = Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 0, 2);

pub(crate) const SOLICIT: u8 = 1;
pub(crate) const ADVERTISE: u8 = 2;
pub(crate) const REQUEST: u8 = 3;
pub(crate) const CONFIRM: u8 = 4;
pub(crate) const RENEW: u8 = 5;
pub(crate) const REBIND: u8 = 6;
pub(crate) const REPLY: u8 = 7;
pub(crate) const RELEASE: u8 = 8;
pub(crate) const DECLINE: u8 = 9;
pub(crate) const INFORMATION: u8 = 11;

pub(crate) const CLIENT: &[u8] = &[0, 3, 0, 1, 2, 0, 0, 0, 0, 2];
pub(crate) const SERVER: &[u8] = &[0, 3, 0, 1, 2, 0, 0, 0, 0, 1];
pub(crate) const ANOTHER: &[u8] = &[0, 3, 0, 1, 2, 0, 0, 0, 0, 9];

const NO_ADDRESS: u16 = 2;
const NO_BINDING: u16 = 3;
pub(crate) const NOT_ON_LINK: u16 = 4;

fn net() -> Net {
    Net::with_ipv6(|config| config.dhcp = Some(settings(AddressSource::Attached)))
}

pub(crate) fn option(code: u16, data: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes(), &(data.len() as u16).to_be_bytes(), data].concat()
}

/// An IA_NA with addresses.
pub(crate) fn association(id: u8, addresses: &[Ipv6Addr]) -> Vec<u8> {
    let head = [0, 0, 0, id, 0, 0, 0, 0, 0, 0, 0, 0];
    let addresses = addresses
        .iter()
        .flat_map(|address| option(5, &[&address.octets()[..], &[0; 8]].concat()));
    option(3, &[head.to_vec(), addresses.collect()].concat())
}

pub(crate) fn message(kind: u8, options: &[Vec<u8>]) -> Vec<u8> {
    [vec![kind, 0xa, 0xb, 0xc], options.concat()].concat()
}

/// With the identifiers that this kind must have, and one association.
pub(crate) fn proper(kind: u8, addresses: &[Ipv6Addr]) -> Vec<u8> {
    let server = matches!(kind, REQUEST | RENEW | RELEASE | DECLINE);
    let mut options = vec![option(1, CLIENT)];
    options.extend(server.then(|| option(2, SERVER)));
    if kind != INFORMATION {
        options.push(association(7, addresses));
    }
    message(kind, &options)
}

pub(crate) fn frame(source: Ipv6Addr, payload: &[u8]) -> Vec<u8> {
    ported((source, 546), (SERVERS, 547), payload)
}

fn ported(source: (Ipv6Addr, u16), target: (Ipv6Addr, u16), payload: &[u8]) -> Vec<u8> {
    let mut body = vec![0; 8 + payload.len()];
    UdpRepr {
        src_port: source.1,
        dst_port: target.1,
    }
    .emit(
        &mut UdpPacket::new_unchecked(&mut body[..]),
        &source.0.into(),
        &target.0.into(),
        payload.len(),
        |room| room.copy_from_slice(payload),
        &ChecksumCapabilities::default(),
    );
    let mut frame = ipv6(source.0, target.0, IpProtocol::Udp, 1, &body);
    if target.0.is_multicast() {
        frame[..6].copy_from_slice(&[0x33, 0x33, 0, 1, 0, 2]);
    }
    frame
}

/// What is said of an association.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) id: u8,
    pub(crate) times: (u32, u32),
    /// With how many seconds each is good for.
    pub(crate) addresses: Vec<(Ipv6Addr, u32)>,
    pub(crate) status: Option<u16>,
}

/// What is answered, checked as a client would.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) kind: u8,
    pub(crate) status: Option<u16>,
    pub(crate) associations: Vec<Said>,
    pub(crate) rapid: bool,
    pub(crate) preference: Option<u8>,
    pub(crate) dns: Vec<u8>,
    pub(crate) search: Vec<u8>,
    pub(crate) fqdn: Vec<u8>,
    /// Bytes of the IP packet.
    pub(crate) len: usize,
}

fn options(mut rest: &[u8]) -> Vec<(u16, &[u8])> {
    let mut options = Vec::new();
    while !rest.is_empty() {
        let (head, behind) = rest.split_at(4);
        let (data, behind) = behind.split_at(u16::from_be_bytes([head[2], head[3]]).into());
        options.push((u16::from_be_bytes([head[0], head[1]]), data));
        rest = behind;
    }
    options
}

pub(crate) fn read(frame: &[u8], to: Ipv6Addr, client: Option<&[u8]>) -> Answer {
    assert_eq!((&frame[..6], &frame[6..12]), (&MAC.0[..], &GATEWAY_MAC.0[..]));
    let packet = Ipv6Packet::new_checked(&frame[14..]).unwrap();
    let (from, target) = (packet.src_addr(), packet.dst_addr());
    assert_eq!((from, target), (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1), to));
    let datagram = UdpPacket::new_checked(packet.payload()).unwrap();
    assert!(datagram.verify_checksum(&from.into(), &target.into()));
    assert_eq!((datagram.src_port(), datagram.dst_port()), (547, 546));
    let message = datagram.payload();
    assert_eq!(message[1..4], [0xa, 0xb, 0xc]);
    let options = options(&message[4..]);
    let of = |code: u16| {
        let mut found = options.iter().filter(move |(known, _)| *known == code);
        let first = found.next().map(|(_, data)| *data);
        assert!(code == 3 || found.next().is_none(), "{code} twice");
        first
    };
    assert_eq!((of(2), of(1)), (Some(SERVER), client));
    let number = |data: &[u8]| u32::from_be_bytes(data.try_into().unwrap());
    let status = |data: &[u8]| u16::from_be_bytes([data[0], data[1]]);
    let said = |data: &[u8]| {
        let inner = self::options(&data[12..]);
        let addresses = inner.iter().filter(|(code, _)| *code == 5).map(|(_, data)| {
            assert_eq!(data[16..20], data[20..24]);
            let octets: [u8; 16] = data[..16].try_into().unwrap();
            (Ipv6Addr::from(octets), number(&data[16..20]))
        });
        Said {
            id: data[3],
            times: (number(&data[4..8]), number(&data[8..12])),
            addresses: addresses.collect(),
            status: inner.iter().find(|(code, _)| *code == 13).map(|(_, data)| status(data)),
        }
    };
    Answer {
        kind: message[0],
        status: of(13).map(status),
        associations: options
            .iter()
            .filter(|(code, _)| *code == 3)
            .map(|(_, data)| said(data))
            .collect(),
        rapid: of(14).is_some(),
        preference: of(7).map(|data| data[0]),
        dns: of(23).unwrap_or_default().to_vec(),
        search: of(24).unwrap_or_default().to_vec(),
        fqdn: of(39).unwrap_or_default().to_vec(),
        len: frame.len() - 14,
    }
}

pub(crate) fn ask(net: &mut Net, payload: &[u8]) -> Option<Answer> {
    net.send(&frame(OWN, payload));
    let frames = net.frames();
    assert!(frames.len() <= 1);
    frames.first().map(|frame| read(frame, OWN, Some(CLIENT)))
}

fn leased(id: u8, over: &[Ipv6Addr]) -> Said {
    let own = std::iter::once((ADDRESS6, 3600));
    Said {
        id,
        times: (1800, 2880),
        addresses: own.chain(over.iter().map(|address| (*address, 0))).collect(),
        status: None,
    }
}

pub(crate) fn without(id: u8, status: u16) -> Said {
    Said {
        id,
        times: (0, 0),
        addresses: vec![],
        status: Some(status),
    }
}

pub(crate) fn told(kind: u8, associations: Vec<Said>) -> Answer {
    Answer {
        kind,
        associations,
        dns: GATEWAY6.octets().to_vec(),
        search: b"\x04corp\x07example\0\x03lab\0".to_vec(),
        ..Answer::default()
    }
}

#[test]
fn every_message() {
    let rapid = [proper(SOLICIT, &[]), option(14, &[])].concat();
    let success = |associations| Answer {
        kind: REPLY,
        status: Some(0),
        associations,
        ..Answer::default()
    };
    let advertised = |associations| Answer {
        preference: Some(255),
        ..told(ADVERTISE, associations)
    };
    let not_on_link = Answer {
        status: Some(NOT_ON_LINK),
        ..success(vec![])
    };
    let table = [
        (
            "solicited",
            proper(SOLICIT, &[]),
            Some(advertised(vec![leased(7, &[])])),
        ),
        (
            "wished for another",
            proper(SOLICIT, &[FOREIGN]),
            Some(advertised(vec![leased(7, &[])])),
        ),
        (
            "at once",
            rapid,
            Some(Answer {
                rapid: true,
                ..told(REPLY, vec![leased(7, &[])])
            }),
        ),
        (
            "requested",
            proper(REQUEST, &[ADDRESS6]),
            Some(told(REPLY, vec![leased(7, &[])])),
        ),
        (
            "requested another",
            proper(REQUEST, &[NEIGHBOUR6]),
            Some(told(REPLY, vec![leased(7, &[])])),
        ),
        (
            "renewed",
            proper(RENEW, &[ADDRESS6]),
            Some(told(REPLY, vec![leased(7, &[])])),
        ),
        (
            "renewed another",
            proper(RENEW, &[FOREIGN]),
            Some(told(REPLY, vec![leased(7, &[FOREIGN])])),
        ),
        (
            "rebound with another",
            proper(REBIND, &[GATEWAY6, ADDRESS6]),
            Some(told(REPLY, vec![leased(7, &[GATEWAY6])])),
        ),
        ("confirmed", proper(CONFIRM, &[ADDRESS6]), Some(success(vec![]))),
        (
            "not confirmed",
            proper(CONFIRM, &[ADDRESS6, NEIGHBOUR6]),
            Some(not_on_link),
        ),
        ("nothing to confirm", proper(CONFIRM, &[]), None),
        ("released", proper(RELEASE, &[ADDRESS6]), Some(success(vec![]))),
        (
            "released another's",
            proper(RELEASE, &[NEIGHBOUR6]),
            Some(success(vec![without(7, NO_BINDING)])),
        ),
        ("declined", proper(DECLINE, &[ADDRESS6]), Some(success(vec![]))),
        ("informed", proper(INFORMATION, &[]), Some(told(REPLY, vec![]))),
        (
            "informed by us",
            [proper(INFORMATION, &[]), option(2, SERVER)].concat(),
            Some(told(REPLY, vec![])),
        ),
    ];
    for (what, payload, expected) in table {
        let mut net = net();
        let answer = ask(&mut net, &payload).map(|answer| Answer { len: 0, ..answer });
        assert_eq!(answer, expected, "{what}");
        assert_eq!(net.count("drop_dhcp"), u64::from(expected.is_none()), "{what}");
        // Whatever was said, it is still the container's.
        let again = ask(&mut net, &proper(SOLICIT, &[])).unwrap();
        assert_eq!(again.associations, [leased(7, &[])], "{what}");
    }
}

#[test]
fn whoever_does_not_say_who_it_is_can_be_informed() {
    let mut net = net();
    net.send(&frame(OWN, &message(INFORMATION, &[])));
    let answer = read(&net.frames()[0], OWN, None);
    assert_eq!(answer.dns, GATEWAY6.octets());
}

#[test]
fn only_what_is_wanted() {
    let wanting = |codes: &[u16]| {
        let codes: Vec<u8> = codes.iter().flat_map(|code| code.to_be_bytes()).collect();
        let answer = ask(&mut net(), &[proper(INFORMATION, &[]), option(6, &codes)].concat()).unwrap();
        (!answer.dns.is_empty(), !answer.search.is_empty())
    };
    assert_eq!(wanting(&[23, 24]), (true, true));
    assert_eq!(wanting(&[24, 82]), (false, true));
    assert_eq!(wanting(&[23]), (true, false));
    assert_eq!(wanting(&[]), (false, false));
}

#[test]
fn there_is_one_address() {
    let several = |kind: u8, associations: &[Vec<u8>]| {
        let server = matches!(kind, REQUEST | RENEW)
            .then(|| option(2, SERVER))
            .unwrap_or_default();
        let payload = message(kind, &[option(1, CLIENT), server, associations.concat()]);
        ask(&mut net(), &payload).unwrap().associations
    };
    let [one, two] = [association(1, &[]), association(2, &[])];
    let answer = several(SOLICIT, &[one.clone(), two]);
    assert_eq!(answer, [leased(1, &[]), without(2, NO_ADDRESS)]);
    let answer = several(RENEW, &[one, association(2, &[ADDRESS6])]);
    assert_eq!(answer, [without(1, NO_BINDING), leased(2, &[])]);
    // Of a great many the first are answered.
    let many: Vec<_> = (0..200).map(|id| association(id, &[FOREIGN; 20])).collect();
    assert_eq!(several(SOLICIT, &many[..40]).len(), 8);
    // Temporary addresses and prefixes are not to be had.
    let others = [option(4, &[0, 0, 0, 9]), option(25, &[0; 12])];
    assert_eq!(several(SOLICIT, &others), []);
}

#[test]
fn without_an_address_there_is_advice() {
    let mut net = Net::with(|config| {
        config.dhcp = Some(settings(AddressSource::Attached));
        config.ipv6 = Some(gangplank::stack::Ipv6 {
            gateway: GATEWAY6,
            prefix: 64,
            autonomous: false,
        });
    });
    let answer = ask(&mut net, &proper(SOLICIT, &[])).unwrap();
    assert_eq!(
        (answer.kind, answer.associations),
        (ADVERTISE, vec![without(7, NO_ADDRESS)])
    );
    assert_eq!(answer.dns, GATEWAY6.octets());
    let answer = ask(&mut net, &proper(REBIND, &[ADDRESS6])).unwrap();
    assert_eq!(answer.associations, [without(7, NO_BINDING)]);
}

#[test]
fn what_is_not_answered() {
    let solicit = proper(SOLICIT, &[]);
    let mut to_gateway = frame(OWN, &solicit);
    to_gateway[..6].copy_from_slice(&GATEWAY_MAC.0);
    let mut wrong_sum = frame(OWN, &solicit);
    *wrong_sum.last_mut().unwrap() ^= 1;
    let mut stranger = frame(OWN, &solicit);
    stranger[11] = 9;
    let table = [
        (
            "no client",
            frame(OWN, &message(SOLICIT, &[association(7, &[])])),
            "drop_malformed",
        ),
        (
            "solicited of us",
            frame(OWN, &[&solicit[..], &option(2, SERVER)].concat()),
            "drop_malformed",
        ),
        (
            "requested of nobody",
            frame(OWN, &message(REQUEST, &[option(1, CLIENT)])),
            "drop_malformed",
        ),
        (
            "requested of another",
            frame(OWN, &message(REQUEST, &[option(1, CLIENT), option(2, ANOTHER)])),
            "drop_dhcp",
        ),
        (
            "informed by another",
            frame(OWN, &[proper(INFORMATION, &[]), option(2, ANOTHER)].concat()),
            "drop_dhcp",
        ),
        (
            "informed with an address",
            frame(OWN, &[proper(INFORMATION, &[]), association(7, &[])].concat()),
            "drop_malformed",
        ),
        (
            "client twice",
            frame(OWN, &[&solicit[..], &option(1, CLIENT)].concat()),
            "drop_malformed",
        ),
        (
            "client of 2 bytes",
            frame(OWN, &message(SOLICIT, &[option(1, &[0, 3])])),
            "drop_malformed",
        ),
        (
            "client of 131 bytes",
            frame(OWN, &message(SOLICIT, &[option(1, &[0; 131])])),
            "drop_malformed",
        ),
        (
            "half a wish",
            frame(OWN, &[&solicit[..], &option(6, &[0, 23, 0])].concat()),
            "drop_malformed",
        ),
        (
            "short association",
            frame(OWN, &[&solicit[..], &option(3, &[0; 11])].concat()),
            "drop_malformed",
        ),
        (
            "short address",
            frame(
                OWN,
                &[&solicit[..], &option(3, &[vec![0; 12], option(5, &[0; 23])].concat())].concat(),
            ),
            "drop_malformed",
        ),
        (
            "address with half an option",
            frame(
                OWN,
                &[&solicit[..], &option(3, &[vec![0; 12], option(5, &[0; 25])].concat())].concat(),
            ),
            "drop_malformed",
        ),
        ("a server's", frame(OWN, &proper(ADVERTISE, &[])), "drop_dhcp"),
        ("a relay's", frame(OWN, &[&[12][..], &[0; 33]].concat()), "drop_dhcp"),
        ("type 0", frame(OWN, &[0; 4]), "drop_dhcp"),
        ("as a neighbour", frame(NEIGHBOUR6, &solicit), "drop_spoofed"),
        (
            "as the gateway",
            frame(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1), &solicit),
            "drop_spoofed",
        ),
        ("as nobody", frame(Ipv6Addr::UNSPECIFIED, &solicit), "drop_spoofed"),
        ("by a stranger", stranger, "drop_spoofed"),
        (
            "another port",
            ported((OWN, 546), (SERVERS, 53), &solicit),
            "drop_not_for_us",
        ),
        ("for the gateway alone", to_gateway, "drop_not_for_us"),
        (
            "at the gateway's address",
            ported((OWN, 546), (GATEWAY6, 547), &solicit),
            "drop_spoofed",
        ),
        (
            "by TCP",
            {
                let mut frame = ipv6(OWN, SERVERS, IpProtocol::Tcp, 1, &[0; 20]);
                frame[..2].copy_from_slice(&[0x33, 0x33]);
                frame
            },
            "drop_not_for_us",
        ),
        ("wrong checksum", wrong_sum, "drop_checksum"),
    ];
    for (what, frame, counter) in table {
        let mut net = net();
        net.send(&frame);
        assert_eq!((net.frames(), net.count(counter)), (vec![], 1), "{what}");
        assert_eq!(net.actions(), [], "{what}");
    }
    let mut nobody = Net::with_ipv6(|_| {});
    nobody.send(&frame(OWN, &solicit));
    assert_eq!(
        (nobody.frames(), nobody.count("drop_not_for_us")),
        (vec![], 1),
        "no server"
    );
    // Its global address is the container's, too.
    let mut net = net();
    net.send(&frame(ADDRESS6, &solicit));
    assert_eq!(read(&net.frames()[0], ADDRESS6, Some(CLIENT)).kind, ADVERTISE);
}

#[test]
fn messages_of_every_length() {
    for kind in 0..=255 {
        let whole = [
            proper(kind, &[ADDRESS6, FOREIGN]),
            option(6, &[0, 23, 0, 24]),
            option(14, &[]),
        ]
        .concat();
        let mut net = net();
        for len in 0..=whole.len() {
            net.pass_time(EARNED);
            net.send(&frame(OWN, &whole[..len]));
            net.frames()
                .iter()
                .for_each(|frame| drop(read(frame, OWN, client_of(frame))));
        }
    }
    for len in 0..=600 {
        for fill in [0, 1, 3, 5, 255] {
            let mut bytes = vec![fill; len];
            if let Some(first) = bytes.first_mut() {
                *first = SOLICIT;
            }
            let mut net = net();
            net.send(&frame(OWN, &bytes));
            let dropped: u64 = ["drop_truncated", "drop_malformed", "drop_dhcp"]
                .map(|name| net.count(name))
                .iter()
                .sum();
            assert_eq!((net.frames().len(), dropped), (0, 1), "{len} bytes of {fill}");
        }
    }
}

pub(crate) fn client_of(frame: &[u8]) -> Option<&[u8]> {
    options(&frame[14 + 40 + 8 + 4..])
        .into_iter()
        .find(|(code, _)| *code == 1)
        .map(|(_, data)| data)
}

#[test]
fn every_byte_changed() {
    let whole = [proper(RENEW, &[ADDRESS6, FOREIGN]), option(6, &[0, 23, 0, 24])].concat();
    for at in 0..whole.len() {
        let mut net = net();
        for value in 0..=255 {
            let mut bytes = whole.clone();
            bytes[at] = value;
            net.pass_time(EARNED);
            net.send(&frame(OWN, &bytes));
            for frame in net.frames() {
                let associations = options(&frame[14 + 40 + 8 + 4..])
                    .into_iter()
                    .filter(|(code, _)| *code == 3);
                for (_, association) in associations {
                    let addresses = options(&association[12..]).into_iter().filter(|(code, _)| *code == 5);
                    let mut given = addresses.filter(|(_, address)| address[16..20] != [0; 4]);
                    assert!(
                        given.all(|(_, address)| address[..16] == ADDRESS6.octets()),
                        "byte {at} is {value}"
                    );
                }
            }
        }
    }
}

#[test]
fn who_asks_without_end_is_not_always_answered() {
    let mut net = net();
    let mut answers = 0;
    for _ in 0..500 {
        answers += usize::from(ask(&mut net, &proper(SOLICIT, &[])).is_some());
    }
    assert_eq!((answers, net.count("drop_full")), (100, 400));
    net.pass_time(Duration::from_secs(1));
    assert!(ask(&mut net, &proper(SOLICIT, &[])).is_some());
}

#[test]
fn answers_fit_the_link() {
    for mtu in [1280, 1281, 1500, 65521] {
        let mut net = Net::with_ipv6(|config| {
            let mut dhcp = settings(AddressSource::Attached);
            dhcp.search = (0..50).map(|n| format!("number-{n}.corp.example")).collect();
            dhcp.dns = (1..=20)
                .map(|n| Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, n).into())
                .collect();
            config.dhcp = Some(dhcp);
            config.mtu = mtu;
        });
        let many: Vec<u8> = (0..8).flat_map(|id| association(id, &[FOREIGN; 8])).collect();
        let payload = message(RENEW, &[option(1, CLIENT), option(2, SERVER), many]);
        let answer = ask(&mut net, &payload).unwrap();
        assert!(answer.len <= usize::from(mtu.min(1500)), "MTU {mtu}: {}", answer.len);
        assert_eq!(answer.associations.len(), 8, "MTU {mtu}");
        assert_eq!(answer.associations[0].addresses[0], (ADDRESS6, 3600), "MTU {mtu}");
        let answer = ask(&mut net, &proper(SOLICIT, &[])).unwrap();
        assert!(answer.len <= usize::from(mtu.min(1500)), "MTU {mtu}: {}", answer.len);
        let domains = answer.search.iter().filter(|byte| **byte == 0).count();
        assert_eq!(
            (answer.dns.len(), domains == 50),
            (48, mtu >= 1500),
            "MTU {mtu}: {domains}"
        );
    }
}
