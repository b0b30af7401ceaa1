//! Hardware addresses: made from an IPv4 address, or given with `--mac-address`.
//!
//! Called by the address pool and by whoever prints one; smoltcp's own `Display` writes dashes, Docker's tools colons.

use std::net::Ipv4Addr;

use smoltcp::wire::EthernetAddress;

/// Why a text is no hardware address for a container.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MacError {
    /// Not six pairs of hex digits.
    #[error("'{0}' is no hardware address: write six pairs of hex digits, like 02:42:ac:11:00:02")]
    Malformed(String),
    /// The group bit is set, or all bits are zero.
    #[error("'{0}' is no unicast hardware address: the first pair must be even, and not all pairs zero")]
    NotUnicast(String),
}

/// The address Docker's `GenerateMACFromIP` makes: 02:42 (locally administered) and the four bytes of the IPv4 address.
pub fn from_ipv4(address: Ipv4Addr) -> EthernetAddress {
    let [a, b, c, d] = address.octets();
    EthernetAddress([0x02, 0x42, a, b, c, d])
}

/// Reads `02:42:ac:11:00:02`, colons or dashes.
pub fn parse(text: &str) -> Result<EthernetAddress, MacError> {
    let malformed = || MacError::Malformed(text.to_owned());
    let mut bytes = [0; 6];
    let mut pairs = text.split([':', '-']);
    for byte in &mut bytes {
        let pair = pairs
            .next()
            .filter(|pair| pair.len() == 2 && is_hex(pair))
            .ok_or_else(malformed)?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| malformed())?;
    }
    if pairs.next().is_some() {
        return Err(malformed());
    }
    let address = EthernetAddress(bytes);
    if address.is_unicast() && bytes != [0; 6] {
        Ok(address)
    } else {
        Err(MacError::NotUnicast(text.to_owned()))
    }
}

/// Writes colons and small letters, as the kernel's tools do.
pub fn format(address: EthernetAddress) -> String {
    address.0.map(|byte| format!("{byte:02x}")).join(":")
}

/// `from_str_radix` alone would take `+f`.
fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_from_the_ipv4_address() {
        assert_eq!(format(from_ipv4(Ipv4Addr::new(172, 17, 0, 2))), "02:42:ac:11:00:02");
    }

    #[test]
    fn reads_what_it_writes() {
        for text in ["02:42:ac:11:00:02", "fe:ff:ff:ff:ff:ff", "00:00:00:00:00:01"] {
            assert_eq!(format(parse(text).unwrap()), text);
        }
        assert_eq!(parse("02-42-AC-11-00-02"), parse("02:42:ac:11:00:02"));
    }

    #[test]
    fn refuses_what_is_none() {
        for text in [
            "",
            "02:42:ac:11:00",
            "02:42:ac:11:00:02:03",
            "2:42:ac:11:0:2",
            "02:42:ac:11:00:0g",
            "+2:42:ac:11:00:02",
        ] {
            assert_eq!(parse(text), Err(MacError::Malformed(text.to_owned())));
        }
    }

    #[test]
    fn refuses_groups_and_zero() {
        for text in [
            "ff:ff:ff:ff:ff:ff",
            "01:00:5e:00:00:01",
            "33:33:00:00:00:01",
            "00:00:00:00:00:00",
        ] {
            assert_eq!(parse(text), Err(MacError::NotUnicast(text.to_owned())));
        }
    }
}
