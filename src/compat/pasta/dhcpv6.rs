//! DHCPv6 as the original has it: one address for whoever asks, for ever, and the same answer each time.
//!
//! Nothing is remembered: the namespace has one address that is meant for it, so releasing and declining change nothing,
//! and are not answered. Messages go in and come out; the frames around them are [`super::greeter`]'s.
//!
//! Sources: RFC 8415 sections 8, 16, 18.3 and 21, RFC 3646 (resolvers, domains), RFC 4704 (the client's name). Rebinding,
//! which the original leaves unanswered, is answered as section 18.3.5 has it, and an address without a wish for one is not
//! told.

use std::net::Ipv6Addr;

/// What is handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The address.
    pub address: Ipv6Addr,
    /// Resolvers.
    pub dns: Vec<Ipv6Addr>,
    /// Domains to look for names in.
    pub search: Vec<String>,
    /// The client's own name.
    pub fqdn: Option<String>,
}

impl Offer {
    /// The answer to a client's message, of a server of this hardware address; none where there is nothing to say.
    pub fn answer(&self, message: &[u8], mac: [u8; 6]) -> Option<Vec<u8>> {
        let (&[kind, transaction @ ..], rest) = message.split_first_chunk::<4>()?;
        let server = [&DUID_LL, &mac[..]].concat();
        let options: Vec<(u16, &[u8])> = Options(rest).collect::<Option<_>>()?;
        let find = |code| options.iter().find(|(known, _)| *known == code).map(|(_, data)| *data);
        let client = find(CLIENT);
        let named = find(SERVER);
        let association = find(ADDRESSES).and_then(|data| Association::parse(data, self.address));
        let (answered, to_us) = match kind {
            SOLICIT => (ADVERTISE, named.is_none()),
            REQUEST | RENEW => (REPLY, named == Some(&server)),
            CONFIRM | REBIND => (REPLY, named.is_none()),
            INFORMATION => (
                REPLY,
                named.is_none_or(|named| named == server) && find(ADDRESSES).is_none(),
            ),
            _ => return None,
        };
        let client = client.filter(|_| to_us)?;
        let mut answer = vec![answered, transaction[0], transaction[1], transaction[2]];
        put(&mut answer, SERVER, &server);
        let elsewhere = association
            .as_ref()
            .is_some_and(|association| association.elsewhere && kind != SOLICIT);
        if let Some(association) = &association {
            put(&mut answer, ADDRESSES, &association.grant(self.address, elsewhere));
        }
        put(&mut answer, CLIENT, client);
        if !elsewhere {
            self.tell(&mut answer);
        }
        Some(answer)
    }

    fn tell(&self, answer: &mut Vec<u8>) {
        let dns: Vec<u8> = self.dns.iter().flat_map(Ipv6Addr::octets).collect();
        let search: Vec<u8> = self.search.iter().filter_map(|domain| name(domain)).flatten().collect();
        // No flags: nobody updates a DNS for it (RFC 4704 section 4.1).
        let fqdn = self
            .fqdn
            .as_deref()
            .and_then(name)
            .map(|name| [&[0], &name[..]].concat());
        for (code, data) in [(RESOLVERS, dns), (DOMAINS, search), (FQDN, fqdn.unwrap_or_default())] {
            if !data.is_empty() {
                put(answer, code, &data);
            }
        }
    }
}

/// A place for addresses (IA_NA).
struct Association {
    id: [u8; 4],
    /// It has an address that is not the one.
    elsewhere: bool,
}

impl Association {
    fn parse(data: &[u8], right: Ipv6Addr) -> Option<Self> {
        let (&[a, b, c, d, ..], inside) = data.split_first_chunk::<12>()?;
        let mut addresses = Options(inside).flatten().filter(|(code, _)| *code == ADDRESS);
        let elsewhere = addresses.any(|(_, data)| data.get(..16) != Some(&right.octets()));
        let id = [a, b, c, d];
        Some(Self { id, elsewhere })
    }

    /// The address, or that what it has is not for here.
    fn grant(&self, address: Ipv6Addr, elsewhere: bool) -> Vec<u8> {
        let mut inside = self.id.to_vec();
        if elsewhere {
            inside.extend([0; 8]);
            put(&mut inside, STATUS, &NOT_ON_LINK.to_be_bytes());
        } else {
            inside.extend(FOR_EVER);
            put(&mut inside, ADDRESS, &[&address.octets()[..], &FOR_EVER].concat());
        }
        inside
    }
}

/// Options, each with its length; none where that is none.
struct Options<'f>(&'f [u8]);

impl<'f> Iterator for Options<'f> {
    type Item = Option<(u16, &'f [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let rest = std::mem::take(&mut self.0);
        let Some((&[a, b, c, d], behind)) = rest.split_first_chunk::<4>() else {
            return Some(None);
        };
        let Some((data, behind)) = behind.split_at_checked(u16::from_be_bytes([c, d]).into()) else {
            return Some(None);
        };
        self.0 = behind;
        Some(Some((u16::from_be_bytes([a, b]), data)))
    }
}

fn put(message: &mut Vec<u8>, code: u16, data: &[u8]) {
    // What does not fit into an option says nothing.
    if let Ok(len) = u16::try_from(data.len()) {
        message.extend(code.to_be_bytes());
        message.extend(len.to_be_bytes());
        message.extend(data);
    }
}

/// A domain on the wire (RFC 1035 section 3.1); none for what is no name.
pub fn name(domain: &str) -> Option<Vec<u8>> {
    let mut wire = Vec::new();
    for label in domain.strip_suffix('.').unwrap_or(domain).split('.') {
        let len = u8::try_from(label.len()).ok().filter(|len| (1..=63).contains(len))?;
        wire.push(len);
        wire.extend_from_slice(label.as_bytes());
    }
    wire.push(0);
    (wire.len() <= 255).then_some(wire)
}

/// RFC 8415 section 11.4: by an Ethernet address.
const DUID_LL: [u8; 4] = [0, 3, 0, 1];

/// Section 7.7, twice: an infinite time.
const FOR_EVER: [u8; 8] = [0xff; 8];

/// Section 7.3.
const SOLICIT: u8 = 1;
const ADVERTISE: u8 = 2;
const REQUEST: u8 = 3;
const CONFIRM: u8 = 4;
const RENEW: u8 = 5;
const REBIND: u8 = 6;
const REPLY: u8 = 7;
const INFORMATION: u8 = 11;

/// Section 21; RFC 3646; RFC 4704.
const CLIENT: u16 = 1;
const SERVER: u16 = 2;
const ADDRESSES: u16 = 3;
const ADDRESS: u16 = 5;
const STATUS: u16 = 13;
const RESOLVERS: u16 = 23;
const DOMAINS: u16 = 24;
const FQDN: u16 = 39;

/// Section 21.13.
const NOT_ON_LINK: u16 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const OURS: [u8; 10] = [0, 3, 0, 1, 2, 0, 0, 0, 0, 1];
    const ADDRESS_: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x51, 0, 0, 0, 0, 1);

    fn offer() -> Offer {
        Offer {
            address: ADDRESS_,
            dns: vec!["2001:db8::53".parse().unwrap()],
            search: vec!["corp.example".to_owned(), "..".to_owned()],
            fqdn: Some("my.fq.example".to_owned()),
        }
    }

    fn message(kind: u8, options: &[(u16, Vec<u8>)]) -> Vec<u8> {
        let mut message = vec![kind, b'a', b'b', b'c'];
        for (code, data) in options {
            put(&mut message, *code, data);
        }
        message
    }

    fn client() -> (u16, Vec<u8>) {
        (CLIENT, b"client".to_vec())
    }

    fn association(address: Option<Ipv6Addr>) -> (u16, Vec<u8>) {
        let mut inside = [&b"aaaa"[..], &[0; 8]].concat();
        if let Some(address) = address {
            put(&mut inside, ADDRESS, &[&address.octets()[..], &[0; 8]].concat());
        }
        (ADDRESSES, inside)
    }

    fn answer(message: &[u8]) -> Option<Vec<(u16, Vec<u8>)>> {
        let answer = offer().answer(message, MAC)?;
        assert_eq!(answer[1..4], *b"abc");
        let options = Options(&answer[4..]).map(|option| option.unwrap());
        Some(options.map(|(code, data)| (code, data.to_vec())).collect())
    }

    /// As the original's, but for its identifier.
    fn whole(association: Option<Vec<u8>>) -> Vec<(u16, Vec<u8>)> {
        let mut options = vec![(SERVER, OURS.to_vec())];
        options.extend(association.map(|association| (ADDRESSES, association)));
        options.extend([
            client(),
            (RESOLVERS, offer().dns[0].octets().to_vec()),
            (DOMAINS, b"\x04corp\x07example\0".to_vec()),
            (FQDN, b"\0\x02my\x02fq\x07example\0".to_vec()),
        ]);
        options
    }

    fn granted() -> Vec<u8> {
        let mut inside = [&b"aaaa"[..], &[0xff; 8]].concat();
        put(&mut inside, ADDRESS, &[&ADDRESS_.octets()[..], &[0xff; 8]].concat());
        inside
    }

    #[test]
    fn the_address_and_all_else_to_whoever_asks() {
        let server = || (SERVER, OURS.to_vec());
        let own = || association(Some(ADDRESS_));
        for (kind, options) in [
            (SOLICIT, vec![client(), association(None)]),
            (SOLICIT, vec![client(), association(Some(Ipv6Addr::LOCALHOST))]),
            (REQUEST, vec![client(), server(), own()]),
            (RENEW, vec![client(), server(), own()]),
            (REBIND, vec![client(), own()]),
            (CONFIRM, vec![client(), own()]),
        ] {
            let answered = answer(&message(kind, &options));
            assert_eq!(answered, Some(whole(Some(granted()))), "{kind}");
        }
        let advertised = offer().answer(&message(SOLICIT, &[client()]), MAC).unwrap();
        assert_eq!(advertised[0], ADVERTISE);
        assert_eq!(answer(&message(INFORMATION, &[client()])), Some(whole(None)));
    }

    #[test]
    fn another_address_is_not_for_here() {
        let mut inside = [&b"aaaa"[..], &[0; 8]].concat();
        put(&mut inside, STATUS, &[0, 4]);
        let told = vec![(SERVER, OURS.to_vec()), (ADDRESSES, inside), client()];
        let elsewhere = association(Some(Ipv6Addr::LOCALHOST));
        let server = (SERVER, OURS.to_vec());
        let request = message(REQUEST, &[client(), server, elsewhere.clone()]);
        assert_eq!(answer(&request), Some(told.clone()));
        assert_eq!(answer(&message(CONFIRM, &[client(), elsewhere])), Some(told));
    }

    #[test]
    fn what_is_not_answered() {
        let other = || (SERVER, b"another".to_vec());
        for (kind, options) in [
            (SOLICIT, vec![association(None)]),
            (SOLICIT, vec![client(), (SERVER, OURS.to_vec())]),
            (REQUEST, vec![client(), association(None)]),
            (REQUEST, vec![client(), other(), association(None)]),
            (INFORMATION, vec![client(), association(None)]),
            (INFORMATION, vec![client(), other()]),
            // Release, decline, a relay's.
            (8, vec![client(), (SERVER, OURS.to_vec())]),
            (9, vec![client(), (SERVER, OURS.to_vec())]),
            (12, vec![client()]),
        ] {
            assert_eq!(answer(&message(kind, &options)), None, "{kind} {options:?}");
        }
    }

    #[test]
    fn nothing_that_is_cut_short_is_read() {
        let whole = message(SOLICIT, &[client(), association(Some(ADDRESS_))]);
        for len in 0..whole.len() {
            let _ = offer().answer(&whole[..len], MAC);
            let mut torn = whole.clone();
            torn[len] ^= 0xff;
            let _ = offer().answer(&torn, MAC);
        }
        assert_eq!(offer().answer(&whole[..whole.len() - 1], MAC), None);
    }
}
