//! What may come in at a container's port: frames from its own addresses, and no others.
//!
//! The stack checks what reaches it; what the bridge carries from one container to another it does not see. So the kernel
//! checks each frame as it comes from the container, before the bridge and what is *locked* there: a table of nf_tables
//! for each port, with a chain at its ingress. It counts what it drops for an address that is another's, in Ethernet, ARP,
//! IPv4, IPv6 or neighbour discovery; a router advertisement or redirect is one, too. Neither ARP nor IP, such as what
//! has a VLAN tag or speaks of spanning trees, is dropped without further ado.
//!
//! Link-local addresses are the container's own to choose (all but the gateway's), so these it can take from a neighbour.
//! A kernel without nf_tables leaves it at locked ports and the stack.

use std::io;
use std::net::IpAddr;

use crate::netns::nftables::Load::{Link, Network, Protocol, Transport};
use crate::netns::nftables::Match::{Is, IsNot, Masked};
use crate::netns::nftables::{Load, Match, Rule, Tables, Verdict};
use crate::netns::spec::InterfaceSpec;

/// The guards of a bridge's ports.
#[derive(Debug)]
pub(super) struct Guards(Tables);

impl Guards {
    /// None yet.
    pub(super) fn open() -> io::Result<Self> {
        Tables::open().map(Self)
    }

    /// Lets only what a container with this interface may send come in at the port.
    pub(super) fn post(&mut self, port: &str, spec: &InterfaceSpec) -> io::Result<()> {
        self.0.create(port, port, &CHAINS, &rules(spec))
    }

    /// Forgets a port that has gone.
    pub(super) fn dismiss(&mut self, port: &str) -> io::Result<()> {
        self.0.remove(port)
    }

    /// How many frames with another's address came in at a port.
    pub(super) fn spoofed(&mut self, port: &str) -> io::Result<u64> {
        self.0.dropped(port, SPOOFED)
    }
}

fn rules(spec: &InterfaceSpec) -> Vec<Rule> {
    let mac = spec.mac.to_vec();
    let addresses = spec.addresses.iter().map(|address| match address.ip() {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    });
    let (v4, v6): (Vec<_>, Vec<_>) = addresses.partition(|address| address.len() == 4);
    let mut rules = Vec::new();
    let mut add = |chain, matches: Vec<Match>, verdict| {
        rules.push(Rule {
            chain,
            matches,
            verdict,
        });
    };

    add(ARRIVED, vec![IsNot(Link { offset: 6, len: 6 }, mac.clone())], LIE);
    for address in v4.iter().cloned().chain([vec![0; 4]]) {
        // Nobody's address is for those who ask for one (RFC 2131 section 4.1).
        let source = Is(Network { offset: 12, len: 4 }, address.clone());
        add(ARRIVED, vec![ethertype(0x0800), source], Verdict::Accept);
        // RFC 826, and RFC 5227 for a probe.
        let own = IsNot(Network { offset: 8, len: 6 }, mac.clone());
        let sender = Is(Network { offset: 14, len: 4 }, address);
        add(ARP, vec![own], LIE);
        add(ARP, vec![sender], Verdict::Accept);
    }
    add(ARRIVED, vec![ethertype(0x86dd)], Verdict::Goto(IPV6));
    add(ARRIVED, vec![ethertype(0x0806)], Verdict::Goto(ARP));
    add(ARRIVED, vec![ethertype(0x0800)], LIE);
    add(ARRIVED, vec![], Verdict::Drop);
    add(ARP, vec![], LIE);

    let source = |address: &[u8]| Is(Network { offset: 8, len: 16 }, address.to_vec());
    let target = |address: &[u8]| Is(Transport { offset: 8, len: 16 }, address.to_vec());
    for address in &v6 {
        add(IPV6, vec![source(address)], Verdict::Goto(TRUE_IPV6));
        add(ADVERTISEMENT, vec![target(address)], Verdict::Goto(TARGET_OPTION));
    }
    add(IPV6, vec![source(&ROUTER)], LIE);
    add(
        IPV6,
        vec![link_local(Network { offset: 8, len: 2 })],
        Verdict::Goto(TRUE_IPV6),
    );
    add(IPV6, vec![source(&NOBODY)], Verdict::Goto(TRUE_IPV6));
    add(IPV6, vec![], LIE);

    let kind = |kind| Is(Transport { offset: 0, len: 1 }, vec![kind]);
    add(TRUE_IPV6, vec![IsNot(Protocol, vec![ICMPV6])], Verdict::Accept);
    add(TRUE_IPV6, vec![kind(ROUTER_ADVERTISEMENT)], LIE);
    add(TRUE_IPV6, vec![kind(REDIRECT)], LIE);
    add(
        TRUE_IPV6,
        vec![kind(NEIGHBOUR_ADVERTISEMENT)],
        Verdict::Goto(ADVERTISEMENT),
    );
    add(
        TRUE_IPV6,
        vec![kind(NEIGHBOUR_SOLICITATION)],
        Verdict::Goto(SOLICITATION),
    );
    add(TRUE_IPV6, vec![], Verdict::Accept);

    add(ADVERTISEMENT, vec![target(&ROUTER)], LIE);
    let own = link_local(Transport { offset: 8, len: 2 });
    add(ADVERTISEMENT, vec![own], Verdict::Goto(TARGET_OPTION));
    add(ADVERTISEMENT, vec![], LIE);
    // A probe claims nothing, and whatever hardware address it names is passed over (RFC 4861 section 7.2.3).
    add(SOLICITATION, vec![source(&NOBODY)], Verdict::Accept);
    for (chain, option) in [(TARGET_OPTION, TARGET_LINK_LAYER), (SOLICITATION, SOURCE_LINK_LAYER)] {
        // The option comes first or not at all, so that there is no chain of options to walk.
        add(chain, vec![IsNot(Transport { offset: 24, len: 1 }, vec![option])], LIE);
        add(chain, vec![IsNot(Transport { offset: 26, len: 6 }, mac.clone())], LIE);
        add(chain, vec![], Verdict::Accept);
    }
    add(SPOOFED, vec![], Verdict::Drop);
    rules
}

fn ethertype(kind: u16) -> Match {
    Is(Link { offset: 12, len: 2 }, kind.to_be_bytes().to_vec())
}

/// RFC 4291 section 2.5.6.
fn link_local(start: Load) -> Match {
    Masked(start, vec![0xff, 0xc0], vec![0xfe, 0x80])
}

const LIE: Verdict = Verdict::Goto(SPOOFED);

const ARRIVED: &str = "arrived";
const ARP: &str = "arp";
const IPV6: &str = "ipv6";
/// From an address that the container may have.
const TRUE_IPV6: &str = "true-ipv6";
const ADVERTISEMENT: &str = "advertisement";
const TARGET_OPTION: &str = "target-option";
const SOLICITATION: &str = "solicitation";
const SPOOFED: &str = "spoofed";
const CHAINS: [&str; 8] = [
    ARRIVED,
    ARP,
    IPV6,
    TRUE_IPV6,
    ADVERTISEMENT,
    TARGET_OPTION,
    SOLICITATION,
    SPOOFED,
];

/// fe80::1, the gateway's, and ::.
const ROUTER: [u8; 16] = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const NOBODY: [u8; 16] = [0; 16];

/// RFC 4443, and RFC 4861 sections 4.2 to 4.6.
const ICMPV6: u8 = 58;
const ROUTER_ADVERTISEMENT: u8 = 134;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const REDIRECT: u8 = 137;
const SOURCE_LINK_LAYER: u8 = 1;
const TARGET_LINK_LAYER: u8 = 2;
