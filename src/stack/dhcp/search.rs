//! Domains on the wire (RFC 1035 section 3.1), one behind the other and uncompressed: RFC 3397 allows that, RFC 8415
//! section 10 asks for it.

/// As many of `domains`, from the first on, as have room.
pub(super) fn encode(domains: &[String], room: usize) -> Vec<u8> {
    let mut wire = Vec::new();
    for domain in domains.iter().filter_map(|domain| name(domain)) {
        if wire.len() + domain.len() > room {
            break;
        }
        wire.extend_from_slice(&domain);
    }
    wire
}

/// None for what is no name below the root.
pub(super) fn name(domain: &str) -> Option<Vec<u8>> {
    let mut wire = Vec::with_capacity(domain.len() + 2);
    for label in domain.strip_suffix('.').unwrap_or(domain).split('.') {
        let len = u8::try_from(label.len())
            .ok()
            .filter(|len| (1..=MAX_LABEL).contains(len))?;
        wire.push(len);
        wire.extend_from_slice(label.as_bytes());
    }
    wire.push(0);
    (wire.len() <= MAX_NAME).then_some(wire)
}

/// Bytes of a label and of a name, its lengths counted (RFC 1035 section 2.3.4).
const MAX_LABEL: u8 = 63;
const MAX_NAME: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_domains_as_far_as_there_is_room() {
        let domains = ["corp.example".to_owned(), "..".to_owned(), "lab.".to_owned()];
        let (corp, lab) = (&b"\x04corp\x07example\0"[..], &b"\x03lab\0"[..]);
        assert_eq!(encode(&domains, 100), [corp, lab].concat());
        assert_eq!(encode(&domains, corp.len() + lab.len() - 1), corp);
        assert_eq!(encode(&domains, corp.len() - 1), b"");
    }

    #[test]
    fn what_is_no_domain_is_left_out() {
        let label = "a".repeat(63);
        let longest = [&label[..], &label, &label, &label[..61]].join(".");
        for (domain, len) in [
            ("", None),
            (".", None),
            ("..", None),
            (".a", None),
            ("a..b", None),
            ("a..", None),
            (&"a".repeat(64), None),
            (&label, Some(65)),
            (&longest, Some(255)),
            (&format!("{longest}a"), None),
        ] {
            assert_eq!(name(domain).map(|wire| wire.len()), len, "{domain}");
        }
    }
}
