//! DHCP of both families for one guest, whose addresses and names are known and for ever.

use std::net::{Ipv4Addr, Ipv6Addr};

use gangplank::stack::{AddressSource, Dhcp, Dhcpv6, Ipv6, Senders, Tenure};

use crate::dhcp::{self, DISCOVER, EARNED, Message, settings};
use crate::dhcpv6::*;
use crate::net::*;

const ITS: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 4);
const ITS6: Ipv6Addr = Ipv6Addr::new(0xfd12, 0, 0, 0, 0, 0, 0, 4);
const BOTH: AddressSource = AddressSource::Guest {
    v4: Some(ITS),
    v6: Some(ITS6),
};

const FOR_EVER: u32 = u32::MAX;

/// A guest behind MAC that may form addresses of its own, too.
fn net(source: AddressSource, change: impl FnOnce(&mut Dhcp)) -> Net {
    Net::with(|config| {
        config.senders = Senders::Guest { mac: MAC };
        config.ipv6 = Some(Ipv6 {
            gateway: GATEWAY6,
            prefix: 64,
            autonomous: true,
        });
        let mut dhcp = Dhcp {
            fqdn: Some("my.example".to_owned()),
            v6: Dhcpv6 {
                tenure: Tenure::Permanent,
                preference: None,
                rapid_commit: false,
                unasked: true,
            },
            ..settings(source)
        };
        change(&mut dhcp);
        config.dhcp = Some(dhcp);
    })
}

fn answered(payload: &[u8]) -> Option<Answer> {
    ask(&mut net(BOTH, |_| {}), payload).map(|answer| Answer { len: 0, ..answer })
}

/// All that is told besides addresses, unasked.
fn told(kind: u8, associations: Vec<Said>) -> Answer {
    Answer {
        fqdn: b"\0\x02my\x07example\0".to_vec(),
        ..crate::dhcpv6::told(kind, associations)
    }
}

fn its_own() -> Said {
    Said {
        id: 7,
        times: (FOR_EVER, FOR_EVER),
        addresses: vec![(ITS6, FOR_EVER)],
        status: None,
    }
}

fn nowhere() -> Answer {
    Answer {
        kind: REPLY,
        associations: vec![without(7, NOT_ON_LINK)],
        ..Answer::default()
    }
}

#[test]
fn the_address_and_all_else_to_whoever_asks() {
    let rapid = [proper(SOLICIT, &[]), option(14, &[])].concat();
    for (what, payload, kind) in [
        ("solicited", proper(SOLICIT, &[]), ADVERTISE),
        ("wished for another", proper(SOLICIT, &[FOREIGN]), ADVERTISE),
        ("not at once", rapid, ADVERTISE),
        ("requested", proper(REQUEST, &[ITS6]), REPLY),
        ("requested any", proper(REQUEST, &[]), REPLY),
        ("renewed", proper(RENEW, &[ITS6]), REPLY),
        ("rebound", proper(REBIND, &[ITS6]), REPLY),
        ("confirmed", proper(CONFIRM, &[ITS6]), REPLY),
        ("confirmed none", proper(CONFIRM, &[]), REPLY),
    ] {
        assert_eq!(answered(&payload), Some(told(kind, vec![its_own()])), "{what}");
    }
    for (what, payload, kind) in [
        ("nothing solicited", message(SOLICIT, &[option(1, CLIENT)]), ADVERTISE),
        ("nothing confirmed", message(CONFIRM, &[option(1, CLIENT)]), REPLY),
        ("informed", proper(INFORMATION, &[]), REPLY),
        (
            "informed by us",
            [proper(INFORMATION, &[]), option(2, SERVER)].concat(),
            REPLY,
        ),
        (
            "informed of other things",
            [proper(INFORMATION, &[]), option(6, &[0, 32])].concat(),
            REPLY,
        ),
    ] {
        assert_eq!(answered(&payload), Some(told(kind, vec![])), "{what}");
    }
}

#[test]
fn another_address_is_not_for_here() {
    for kind in [REQUEST, RENEW, REBIND, CONFIRM] {
        for addresses in [&[FOREIGN][..], &[GATEWAY6], &[ITS6, FOREIGN]] {
            assert_eq!(
                answered(&proper(kind, addresses)),
                Some(nowhere()),
                "{kind} {addresses:?}"
            );
        }
    }
}

#[test]
fn each_place_for_addresses_is_judged_alone() {
    let places = [association(1, &[FOREIGN]), association(7, &[ITS6])].concat();
    let mixed = message(REQUEST, &[option(1, CLIENT), option(2, SERVER), places]);
    let answer = answered(&mixed).unwrap();
    assert_eq!(answer.associations, [without(1, NOT_ON_LINK), its_own()]);
    assert!(answer.dns.is_empty(), "it is to ask anew");
}

#[test]
fn what_is_not_answered() {
    for (what, payload, counter) in [
        ("released", proper(RELEASE, &[ITS6]), "drop_dhcp"),
        ("declined", proper(DECLINE, &[ITS6]), "drop_dhcp"),
        (
            "solicited of us",
            [proper(SOLICIT, &[]), option(2, SERVER)].concat(),
            "drop_malformed",
        ),
        (
            "requested of nobody",
            message(REQUEST, &[option(1, CLIENT), association(7, &[ITS6])]),
            "drop_malformed",
        ),
        (
            "requested of another",
            message(REQUEST, &[option(1, CLIENT), option(2, ANOTHER), association(7, &[])]),
            "drop_dhcp",
        ),
        (
            "informed with an address",
            [proper(INFORMATION, &[]), association(7, &[])].concat(),
            "drop_malformed",
        ),
    ] {
        let mut net = net(BOTH, |_| {});
        assert_eq!((ask(&mut net, &payload), net.count(counter)), (None, 1), "{what}");
        let again = ask(&mut net, &proper(REQUEST, &[ITS6])).unwrap();
        assert_eq!(again.associations, [its_own()], "{what}");
    }
}

#[test]
fn nothing_that_is_cut_short_is_read() {
    let whole = [proper(REQUEST, &[ITS6]), option(6, &[0, 23])].concat();
    let mut net = net(BOTH, |_| {});
    let cut = (0..whole.len()).map(|len| whole[..len].to_vec());
    // Behind the transaction, which comes back as it is.
    let torn = (4..whole.len()).map(|at| {
        let mut torn = whole.clone();
        torn[at] ^= 0xff;
        torn
    });
    for bytes in cut.chain(torn) {
        net.pass_time(EARNED);
        net.send(&frame(OWN, &bytes));
        for frame in net.frames() {
            let answer = read(&frame, OWN, client_of(&frame));
            let mut given = answer.associations.iter().flat_map(|said| &said.addresses);
            assert!(given.all(|(address, _)| *address == ITS6), "{bytes:?}");
        }
    }
    net.pass_time(EARNED);
    net.send(&frame(OWN, &whole[..whole.len() - 1]));
    assert_eq!(net.frames(), Vec::<Vec<u8>>::new());
}

/// Every field is a choice of its own.
#[test]
fn choices_of_a_server() {
    let with = |change: fn(&mut Dhcpv6), payload: &[u8]| {
        let answer = ask(&mut net(BOTH, |dhcp| change(&mut dhcp.v6)), payload).unwrap();
        Answer { len: 0, ..answer }
    };
    let rapid = [proper(SOLICIT, &[]), option(14, &[])].concat();
    let preferred = Answer {
        preference: Some(9),
        ..told(ADVERTISE, vec![its_own()])
    };
    assert_eq!(with(|v6| v6.preference = Some(9), &rapid), preferred);
    let at_once = Answer {
        rapid: true,
        ..told(REPLY, vec![its_own()])
    };
    assert_eq!(with(|v6| v6.rapid_commit = true, &rapid), at_once);
    let names = [proper(INFORMATION, &[]), option(6, &[0, 39])].concat();
    let only_names = Answer {
        dns: vec![],
        search: vec![],
        ..told(REPLY, vec![])
    };
    assert_eq!(with(|v6| v6.unasked = false, &names), only_names);
    let resolvers = [proper(INFORMATION, &[]), option(6, &[0, 23])].concat();
    assert_eq!(with(|v6| v6.unasked = false, &resolvers).fqdn, b"");
    let leased = Said {
        times: (1800, 2880),
        addresses: vec![(ITS6, 3600)],
        ..its_own()
    };
    let renewed = with(|v6| v6.tenure = Tenure::Leased, &proper(RENEW, &[ITS6]));
    assert_eq!(renewed, told(REPLY, vec![leased]));
}

#[test]
fn a_family_without_an_address_is_not_answered() {
    let discover = Message::new(DISCOVER);
    let solicit = proper(SOLICIT, &[]);
    let (v4, v6) = (Some(ITS), Some(ITS6));
    for (v4, v6) in [(v4, v6), (v4, None), (None, v6)] {
        let mut net = net(AddressSource::Guest { v4, v6 }, |_| {});
        let offered = dhcp::ask(&mut net, &discover).map(|offer| offer.yiaddr);
        let advertised = ask(&mut net, &solicit).map(|answer| answer.associations[0].addresses[0].0);
        assert_eq!((offered, advertised), (v4, v6));
        let silent = u64::from(v4.is_none()) + u64::from(v6.is_none());
        assert_eq!(net.count("drop_not_for_us"), silent, "{v4:?} {v6:?}");
    }
}

/// Not even an address that its guest has given itself.
#[test]
fn a_range_gives_nothing_of_ipv6() {
    let range = AddressSource::Range { first: ITS, last: ITS };
    let mut net = net(range, |dhcp| dhcp.v6 = Dhcpv6::default());
    // By this it is learnt.
    let hello = ipv6(ITS6, GATEWAY6, smoltcp::wire::IpProtocol::Udp, 64, &[0; 8]);
    net.send_or_pass(&hello);
    let answer = ask(&mut net, &proper(SOLICIT, &[])).unwrap();
    assert_eq!(
        (answer.kind, &answer.associations[0].addresses[..]),
        (ADVERTISE, &[][..])
    );
}
