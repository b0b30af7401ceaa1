//! Neighbour solicitations (RFC 4861 section 4.3) and the advertisements that answer them (section 4.4).

use std::net::Ipv6Addr;

use smoltcp::wire::EthernetAddress;

use super::counters::Discard;

/// A valid question for a hardware address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Solicitation {
    /// Whose.
    pub(super) target: Ipv6Addr,
    /// Whom the sender says it is.
    pub(super) sender: Option<EthernetAddress>,
}

impl Solicitation {
    /// Checks a message of type 135 (section 7.1.1), options included.
    pub(super) fn parse(message: &[u8]) -> Result<Self, Discard> {
        let Some((head, options)) = message.split_first_chunk::<HEAD>() else {
            return Err(Discard::Truncated);
        };
        let mut target = [0; 16];
        target.copy_from_slice(&head[8..]);
        let sender = source_link_layer(options)?;
        let target = Ipv6Addr::from(target);
        if head[1] != 0 || target.is_multicast() {
            return Err(Discard::Malformed);
        }
        Ok(Self { target, sender })
    }
}

/// Walks the options of a solicitation to their end: whom the sender says it is.
pub(super) fn source_link_layer(mut options: &[u8]) -> Result<Option<EthernetAddress>, Discard> {
    let mut sender = None;
    while let Some(&[kind, units]) = options.first_chunk() {
        let len = UNIT * usize::from(units);
        let option = options.get(..len).filter(|_| len > 0).ok_or(Discard::Malformed)?;
        if kind == SOURCE_LINK_LAYER {
            let address: [u8; 6] = option[2..].try_into().map_err(|_| Discard::Malformed)?;
            sender = Some(EthernetAddress(address));
        }
        options = &options[len..];
    }
    if options.is_empty() {
        Ok(sender)
    } else {
        Err(Discard::Malformed)
    }
}

/// Whose advertisement it is, and whether somebody has asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Router { solicited: bool },
    Host { solicited: bool },
}

/// Writes an advertisement for `target`, without its checksum.
pub(super) fn write_advertisement(out: &mut [u8], target: Ipv6Addr, mac: EthernetAddress, standing: Standing) {
    let (router, solicited) = match standing {
        Standing::Router { solicited } => (ROUTER, solicited),
        Standing::Host { solicited } => (0, solicited),
    };
    let flags = router | OVERRIDE | if solicited { SOLICITED } else { 0 };
    out[..2].copy_from_slice(&[NEIGHBOUR_ADVERTISEMENT, 0]);
    out[4] = flags;
    out[8..HEAD].copy_from_slice(&target.octets());
    out[HEAD..HEAD + 2].copy_from_slice(&[TARGET_LINK_LAYER, 1]);
    out[HEAD + 2..ADVERTISEMENT].copy_from_slice(&mac.0);
}

/// Bytes of an advertisement with the hardware address.
pub(super) const ADVERTISEMENT: usize = HEAD + UNIT;

/// Types of neighbour discovery (section 4): router solicitation to redirect.
pub(super) const TYPES: std::ops::RangeInclusive<u8> = 133..=137;

/// Section 4.3.
pub(super) const NEIGHBOUR_SOLICITATION: u8 = 135;

/// Section 4.4.
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;

/// Bytes before the options of both messages.
const HEAD: usize = 24;

/// Bytes in which options are counted.
const UNIT: usize = 8;

/// Options of section 4.6.1.
pub(super) const SOURCE_LINK_LAYER: u8 = 1;
const TARGET_LINK_LAYER: u8 = 2;

/// Flags of section 4.4.
const ROUTER: u8 = 0x80;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(options: &[u8]) -> Result<Option<EthernetAddress>, Discard> {
        let mut message = vec![0; HEAD];
        message[8..10].copy_from_slice(&[0xfe, 0x80]);
        message.extend_from_slice(options);
        Solicitation::parse(&message).map(|solicitation| solicitation.sender)
    }

    #[test]
    fn options_of_every_length() {
        assert_eq!(parse(&[]), Ok(None));
        assert_eq!(
            parse(&[1, 1, 2, 0, 0, 0, 0, 9]),
            Ok(Some(EthernetAddress([2, 0, 0, 0, 0, 9])))
        );
        assert_eq!(parse(&[14, 1, 1, 2, 3, 4, 5, 6]), Ok(None), "a nonce (RFC 3971)");
        assert_eq!(parse(&[1, 0, 2, 0, 0, 0, 0, 9]), Err(Discard::Malformed), "no length");
        assert_eq!(
            parse(&[1, 2, 2, 0, 0, 0, 0, 9]),
            Err(Discard::Malformed),
            "past the end"
        );
        assert_eq!(parse(&[1]), Err(Discard::Malformed), "half an option");
        assert_eq!(
            parse(&[[1, 2].as_slice(), &[0; 14]].concat()),
            Err(Discard::Malformed),
            "14 bytes"
        );
        assert_eq!(Solicitation::parse(&[135; 23]), Err(Discard::Truncated));
    }
}
