//! What a client hears of its own names, by DHCP of either family.

use gangplank::stack::AddressSource;

use crate::dhcp::{self, DISCOVER, Message, NAK, settings};
use crate::dhcpv6::{self, INFORMATION, REQUEST, SOLICIT, option, proper};
use crate::net::*;

const HOSTNAME: u8 = 12;
const FQDN: u8 = 81;

/// A network on which whoever asks is called so.
fn net(hostname: &str, fqdn: &str) -> Net {
    Net::with_ipv6(|config| {
        let mut dhcp = settings(AddressSource::Attached);
        dhcp.hostname = Some(hostname.to_owned());
        dhcp.fqdn = Some(fqdn.to_owned());
        config.dhcp = Some(dhcp);
    })
}

#[test]
fn by_ipv4_whatever_is_asked_for() {
    let mut net = net("myhost", "my.example");
    let request = Message::new(dhcp::REQUEST).wishing(ADDRESS);
    let asked = [
        Message::new(DISCOVER).frame(),
        request.frame(),
        // It wants to hear of nothing but the mask.
        request.with(55, &[1]).frame(),
        // It has an address.
        Message::new(8).having(ADDRESS).unicast(),
    ];
    for frame in asked {
        let answer = dhcp::answer(&mut net, &frame, MAC).unwrap();
        assert_eq!(answer.options.get(&HOSTNAME), Some(&b"myhost".to_vec()), "{answer:?}");
        let encoded = b"\x04\xff\xff\x02my\x07example\0".to_vec();
        assert_eq!(answer.options.get(&FQDN), Some(&encoded), "{answer:?}");
    }
    let refusal = dhcp::ask(&mut net, &Message::new(dhcp::REQUEST).wishing(NEIGHBOUR)).unwrap();
    assert_eq!(refusal.kind, NAK);
    assert!(!refusal.options.contains_key(&HOSTNAME) && !refusal.options.contains_key(&FQDN));
    net.engine.set_hostname(MAC, "web".to_owned());
    let offer = dhcp::ask(&mut net, &Message::new(DISCOVER)).unwrap();
    assert_eq!(
        offer.options.get(&HOSTNAME),
        Some(&b"web".to_vec()),
        "its own comes first"
    );
}

#[test]
fn by_ipv6_where_it_is_wanted() {
    let wanting = |payload: Vec<u8>, code: u8| {
        let payload = [payload, option(6, &[0, code])].concat();
        dhcpv6::ask(&mut net("myhost", "my.example"), &payload).unwrap().fqdn
    };
    for payload in [proper(SOLICIT, &[]), proper(REQUEST, &[]), proper(INFORMATION, &[])] {
        assert_eq!(wanting(payload.clone(), 39), b"\0\x02my\x07example\0");
        assert_eq!(wanting(payload, 23), b"");
    }
}

#[test]
fn what_is_no_name_is_left_out() {
    let label = "a".repeat(63);
    let too_long = [&label[..]; 4].join(".");
    for (hostname, fqdn) in [("", ".."), (&"b".repeat(256), &too_long), ("", "")] {
        let mut net = net(hostname, fqdn);
        let discover = Message::new(DISCOVER).with(57, &1500u16.to_be_bytes());
        let options = dhcp::ask(&mut net, &discover).unwrap().options;
        assert!(
            !options.contains_key(&HOSTNAME) && !options.contains_key(&FQDN),
            "{fqdn}"
        );
        assert!(options.contains_key(&119), "what comes behind them");
        let advertised = dhcpv6::ask(&mut net, &proper(SOLICIT, &[])).unwrap();
        assert_eq!(advertised.fqdn, b"", "{fqdn}");
    }
    // The longest that there is fits into an option of IPv6, and with its head not into one of IPv4.
    let longest = [&label[..], &label, &label, &label[..61]].join(".");
    let mut net = net("", &longest);
    let discover = Message::new(DISCOVER).with(57, &1500u16.to_be_bytes());
    assert!(!dhcp::ask(&mut net, &discover).unwrap().options.contains_key(&FQDN));
    let advertised = dhcpv6::ask(&mut net, &proper(SOLICIT, &[])).unwrap();
    assert_eq!(advertised.fqdn.len(), 1 + 255);
}
