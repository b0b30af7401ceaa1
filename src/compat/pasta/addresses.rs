//! Values of options: addresses, masks, hardware addresses and sizes, with the original's words for what is none.

use std::net::{IpAddr, Ipv4Addr};

use smoltcp::wire::EthernetAddress;

use super::refused::OptionError;
use crate::compat::BLANKS;

/// An address for the guest, in brackets or without, and with or without a prefix length.
pub(super) fn guest(text: &str) -> Result<(IpAddr, Option<u8>), OptionError> {
    let invalid = || OptionError::GuestAddress(text.to_owned());
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let bare = match address.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').ok_or_else(invalid)?,
        None => address,
    };
    let address = ip(bare).filter(usable).ok_or_else(invalid)?;
    if address == IpAddr::V4(Ipv4Addr::BROADCAST) {
        return Err(invalid());
    }
    let prefix = match prefix {
        None => None,
        Some(text_of) => {
            let bits: u16 = decimal(text_of).ok_or_else(invalid)?;
            let longest = if address.is_ipv4() { 32 } else { 128 };
            let bits = u8::try_from(bits).ok().filter(|bits| *bits <= longest);
            Some(bits.ok_or_else(|| OptionError::Prefix(text.to_owned()))?)
        }
    };
    Ok((address, prefix))
}

/// A mask, as a number of bits or in dotted decimal.
pub(super) fn mask(text: &str) -> Result<u8, OptionError> {
    let invalid = || OptionError::Prefix(text.to_owned());
    if let Some(bits) = any_base::<u8>(text) {
        return Some(bits).filter(|bits| *bits <= 32).ok_or_else(invalid);
    }
    let mask = u32::from(text.parse::<Ipv4Addr>().map_err(|_| invalid())?);
    if mask.leading_ones() + mask.trailing_zeros() < 32 {
        return Err(invalid());
    }
    u8::try_from(mask.leading_ones()).map_err(|_| invalid())
}

/// A gateway.
pub(super) fn gateway(text: &str) -> Result<IpAddr, OptionError> {
    ip(text)
        .filter(usable)
        .ok_or_else(|| OptionError::Gateway(text.to_owned()))
}

/// An address that stands for the host; `none` for no address.
pub(super) fn mapped(text: &str) -> Result<Option<IpAddr>, OptionError> {
    if text == "none" {
        return Ok(None);
    }
    ip(text)
        .filter(usable)
        .map(Some)
        .ok_or_else(|| OptionError::Remap(text.to_owned()))
}

/// A resolver as the guest is to see it.
pub(super) fn dns_forward(text: &str) -> Result<IpAddr, OptionError> {
    ip(text)
        .filter(|address| !address.is_unspecified() && !address.is_loopback())
        .ok_or_else(|| OptionError::DnsForward(text.to_owned()))
}

/// A resolver of the host.
pub(super) fn dns_host(text: &str) -> Result<IpAddr, OptionError> {
    ip(text)
        .filter(|address| !address.is_unspecified())
        .ok_or_else(|| OptionError::DnsHost(text.to_owned()))
}

/// A resolver for the guest's DHCP.
pub(super) fn dns(text: &str) -> Result<IpAddr, OptionError> {
    ip(text).ok_or_else(|| OptionError::Dns(text.to_owned()))
}

/// The source of what leaves the host.
pub(super) fn outbound(text: &str) -> Result<IpAddr, OptionError> {
    ip(text)
        .filter(|address| !address.is_unspecified() && !address.is_multicast())
        .ok_or_else(|| OptionError::Outbound(text.to_owned()))
}

/// A hardware address, in the colons of everybody.
pub(super) fn mac(text: &str) -> Result<EthernetAddress, OptionError> {
    let invalid = || OptionError::Mac(text.to_owned());
    let mut bytes = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut bytes {
        let part = parts.next().filter(|part| part.len() == 2).ok_or_else(invalid)?;
        if !part.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(invalid());
        }
        *byte = u8::from_str_radix(part, 16).map_err(|_| invalid())?;
    }
    match parts.next() {
        None => Ok(EthernetAddress(bytes)),
        Some(_) => Err(invalid()),
    }
}

/// An MTU in bytes; 0, and what is too small for IP, is none.
pub(super) fn mtu(text: &str) -> Result<u16, OptionError> {
    let number: u64 = any_base(text).ok_or_else(|| OptionError::Mtu(text.to_owned()))?;
    u16::try_from(number)
        .ok()
        .filter(|mtu| *mtu <= LARGEST_MTU)
        .ok_or(OptionError::MtuTooLarge(number))
}

/// The most bytes of a log file.
pub(super) fn log_size(text: &str) -> Result<u64, OptionError> {
    any_base(text)
        .filter(|size| *size >= SMALLEST_LOG)
        .ok_or_else(|| OptionError::LogSize(text.to_owned()))
}

/// The network class's prefix length (RFC 791 section 3.2), for an address that came without one.
pub(super) fn class_prefix(address: Ipv4Addr) -> u8 {
    match address.octets()[0] {
        0..128 => 8,
        128..192 => 16,
        192..224 => 24,
        224.. => 32,
    }
}

/// A number in decimal, as strtoul(3) reads it.
pub(super) fn decimal<T: TryFrom<u64>>(text: &str) -> Option<T> {
    number(bare(text), 10)
}

/// A number in the base that it is written in: 0x for hexadecimal, 0 for octal.
pub(super) fn any_base<T: TryFrom<u64>>(text: &str) -> Option<T> {
    let text = bare(text);
    if let Some(hexadecimal) = text.strip_prefix("0x").or(text.strip_prefix("0X")) {
        number(hexadecimal, 16)
    } else if text.starts_with('0') {
        number(text, 8)
    } else {
        number(text, 10)
    }
}

/// Without what strtoul(3) passes over: blanks and a plus. A minus is none of what is read here.
fn bare(text: &str) -> &str {
    let text = text.trim_start_matches(BLANKS);
    text.strip_prefix('+').unwrap_or(text)
}

/// Digits only; a sign would be taken, too.
fn number<T: TryFrom<u64>>(digits: &str, base: u32) -> Option<T> {
    digits.chars().all(|digit| digit.is_digit(base)).then_some(())?;
    u64::from_str_radix(digits, base).ok()?.try_into().ok()
}

fn ip(text: &str) -> Option<IpAddr> {
    text.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

/// Whether a host can have it, other than for itself.
fn usable(address: &IpAddr) -> bool {
    !address.is_unspecified() && !address.is_loopback() && !address.is_multicast()
}

/// The largest frame that a TAP takes, less the Ethernet header.
const LARGEST_MTU: u16 = 65_521;

/// Of a log file; one that is smaller could not hold a page of lines.
const SMALLEST_LOG: u64 = 65_535;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_and_masks() {
        assert_eq!(
            guest("10.0.2.100/24").unwrap(),
            ("10.0.2.100".parse().unwrap(), Some(24))
        );
        assert_eq!(guest("::ffff:1.2.3.4").unwrap(), ("1.2.3.4".parse().unwrap(), None));
        for (text, prefix) in [("[fd00::5]", None), ("[fd00::5]/48", Some(48))] {
            assert_eq!(guest(text).unwrap(), ("fd00::5".parse().unwrap(), prefix));
        }
        for text in [
            "[fd00::5",
            "fd00::5]",
            "[[fd00::5]]",
            "[fd00::5/64]",
            "foo",
            "0.0.0.0",
            "127.0.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "1.2.3.4/",
            "1.2.3.4/x",
            "",
        ] {
            assert_eq!(
                guest(text).unwrap_err().to_string(),
                format!("Invalid guest address: {text}")
            );
        }
        assert_eq!(
            guest("1.2.3.4/33").unwrap_err().to_string(),
            "Invalid prefix length: 1.2.3.4/33"
        );
        assert_eq!(mask("24").unwrap(), 24);
        assert_eq!(mask("255.255.0.0").unwrap(), 16);
        assert_eq!(mask("0.0.0.0").unwrap(), 0);
        for text in ["foo", "33", "255.0.255.0", "", "10.0.2.100/24"] {
            assert_eq!(
                mask(text).unwrap_err().to_string(),
                format!("Invalid prefix length: {text}")
            );
        }
    }

    #[test]
    fn numbers_and_hardware() {
        for text in ["1500", " 1500", "+1500", "\t\n+1500", "0x5dc", "0X5DC", "02734"] {
            assert_eq!(mtu(text).unwrap(), 1500, "{text:?}");
        }
        for text in [
            "",
            " ",
            "+",
            "1500 ",
            "++1500",
            "+ 1500",
            "-1",
            "0x",
            "0x+5dc",
            "08",
            "1e3",
            "\u{a0}1500",
        ] {
            assert_eq!(mtu(text).unwrap_err().to_string(), format!("Invalid MTU: {text}"));
        }
        assert_eq!(mask(" 0x18").unwrap(), 24);
        assert_eq!(log_size("+100000").unwrap(), 100_000);
        assert_eq!(guest("1.2.3.4/ 024").unwrap().1, Some(24), "in decimal always");
        assert!(guest("1.2.3.4/0x18").is_err());
        assert_eq!(mtu("abc").unwrap_err().to_string(), "Invalid MTU: abc");
        assert_eq!(mtu("99999").unwrap_err().to_string(), "MTU 99999 too large (max 65521)");
        assert_eq!(log_size("1m").unwrap_err().to_string(), "Invalid --log-size: 1m");
        assert_eq!(mac("9a:55:9a:55:9a:55").unwrap().0[0], 0x9a);
        for text in [
            "foo",
            "9A-55-9a-55-9a-55",
            "9a:55:9a:55:9a:55:9a",
            "9a:55",
            "+a:55:9a:55:9a:55",
        ] {
            assert!(mac(text).is_err(), "{text}");
        }
        assert_eq!(class_prefix("10.0.2.100".parse().unwrap()), 8);
        assert_eq!(class_prefix("172.16.0.1".parse().unwrap()), 16);
        assert_eq!(class_prefix("192.168.0.1".parse().unwrap()), 24);
    }
}
