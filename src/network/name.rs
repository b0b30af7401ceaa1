//! Names and ids: what is one, and which container a text means.
//!
//! A container is called by its name, its id, or any beginning of the id that only one has, as with Docker. Called by
//! the command line for shape and by the helper for meaning; pure, so the bytes of a new id come from the caller.

/// Why a text is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// moby's `RestrictedNameChars`.
    #[error("'{0}' is no container name: two to {NAME_MAX} of a-z A-Z 0-9 _ . -, a letter or digit first")]
    Container(String),
    /// Of an interface, or of a network, whose bridge bears its name.
    #[error(
        "'{0}' is no name for a network or interface: one to {INTERFACE_MAX} of a-z A-Z 0-9 _ . -, a letter or digit first"
    )]
    Interface(String),
    /// Names that mean something to the kernel.
    #[error("'{0}' cannot name a network or interface: the kernel uses it; choose another")]
    Reserved(String),
    /// RFC 952, RFC 1123.
    #[error("'{0}' is no hostname: labels of a-z A-Z 0-9 _ - joined by dots, 63 a label and 253 in all at most")]
    Hostname(String),
}

/// Why a text means no container.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// Neither a name nor the beginning of an id.
    #[error("no such container: {0}")]
    Unknown(String),
    /// The beginning of several ids.
    #[error("'{given}' is ambiguous: it begins the ids of {}; give more digits or the name", .candidates.join(", "))]
    Ambiguous {
        /// As given.
        given: String,
        /// Short id and name of each.
        candidates: Vec<String>,
    },
}

/// A container as far as its name goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Named<'a> {
    /// 64 hex digits.
    pub id: &'a str,
    /// Its name.
    pub name: &'a str,
}

/// The id that these random bytes are: 64 hex digits.
pub fn id(random: [u8; 32]) -> String {
    random.map(|byte| format!("{byte:02x}")).concat()
}

/// The first 12 digits, which is what tables show.
pub fn short_id(id: &str) -> &str {
    id.get(..SHORT_ID).unwrap_or(id)
}

/// Which container `given` means: the name first, then the id, then the only id that begins so.
pub fn resolve<'a>(given: &str, containers: impl IntoIterator<Item = Named<'a>>) -> Result<&'a str, ResolveError> {
    let containers: Vec<_> = containers.into_iter().collect();
    // Docker stores names with a slash before them and lets it be typed.
    let name = given.strip_prefix('/').unwrap_or(given);
    if let Some(named) = containers.iter().find(|container| container.name == name) {
        return Ok(named.id);
    }
    if given.is_empty() {
        return Err(ResolveError::Unknown(given.to_owned()));
    }
    let mut begun = containers.iter().filter(|container| container.id.starts_with(given));
    match (begun.next(), begun.next()) {
        (None, _) => Err(ResolveError::Unknown(given.to_owned())),
        (Some(only), None) => Ok(only.id),
        (Some(first), Some(second)) => Err(ambiguous(given, [first, second].into_iter().chain(begun))),
    }
}

/// Docker's rule for container names.
pub fn check_container(name: &str) -> Result<(), NameError> {
    // Docker asks for two characters at least: one alone would shadow a sixteenth of all ids.
    if (2..=NAME_MAX).contains(&name.len()) && is_plain(name) {
        Ok(())
    } else {
        Err(NameError::Container(name.to_owned()))
    }
}

/// The bridge and the state directory are named like the network: an interface's name, and no path.
pub fn check_network(name: &str) -> Result<(), NameError> {
    check_interface(name)
}

/// A name for an interface, stricter than the kernel's `dev_valid_name`: it goes into paths, logs and tables as it is.
pub fn check_interface(name: &str) -> Result<(), NameError> {
    if RESERVED.contains(&name) {
        return Err(NameError::Reserved(name.to_owned()));
    }
    if (1..=INTERFACE_MAX).contains(&name.len()) && is_plain(name) {
        Ok(())
    } else {
        Err(NameError::Interface(name.to_owned()))
    }
}

/// A name as it may stand in /etc/hosts and be set with `sethostname`.
pub fn check_hostname(name: &str) -> Result<(), NameError> {
    if (1..=HOSTNAME_MAX).contains(&name.len()) && name.split('.').all(is_label) {
        Ok(())
    } else {
        Err(NameError::Hostname(name.to_owned()))
    }
}

fn ambiguous<'c, 'n: 'c>(given: &str, candidates: impl Iterator<Item = &'c Named<'n>>) -> ResolveError {
    let describe = |container: &Named<'_>| format!("{} ({})", short_id(container.id), container.name);
    ResolveError::Ambiguous {
        given: given.to_owned(),
        candidates: candidates.map(describe).collect(),
    }
}

fn is_plain(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphanumeric())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

/// Underscores are not in the RFCs, but in many container names.
fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

/// Digits of an id in a table.
const SHORT_ID: usize = 12;
/// Keeps names well under NAME_MAX of limits.h (255) with a suffix for a file.
const NAME_MAX: usize = 128;
/// IFNAMSIZ of linux/if.h is 16 with its NUL.
const INTERFACE_MAX: usize = 15;
/// RFC 1035 §2.3.4, in text form. The kernel's own limit for `sethostname` is 64.
const HOSTNAME_MAX: usize = 253;
/// The loopback interface, and the two directories of /proc/sys/net/ipv4/conf that are no interface.
const RESERVED: &[&str] = &["lo", "all", "default"];

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "b9ffb0800ca5aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "b9ffc1111111bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
    const C: &str = "0123456789abcccccccccccccccccccccccccccccccccccccccccccccccccccc";

    fn find(given: &str) -> Result<&'static str, ResolveError> {
        resolve(
            given,
            [
                Named { id: A, name: "web" },
                Named { id: B, name: "db" },
                Named { id: C, name: "b9" },
            ],
        )
    }

    #[test]
    fn a_container_is_called_by_name_id_or_prefix() {
        for (given, id) in [
            ("web", A),
            ("/web", A),
            (A, A),
            ("b9ffb", A),
            ("b9ffb0800ca5", A),
            ("b9ffc", B),
            ("0", C),
        ] {
            assert_eq!(find(given), Ok(id), "{given}");
        }
        assert_eq!(find("b9"), Ok(C), "a name wins over a prefix");
    }

    #[test]
    fn an_ambiguous_prefix_lists_the_candidates() {
        let error = find("b9f").unwrap_err().to_string();
        assert_eq!(
            error,
            "'b9f' is ambiguous: it begins the ids of b9ffb0800ca5 (web), b9ffc1111111 (db); give more digits or the name"
        );
    }

    #[test]
    fn unknown_is_said_in_dockers_words() {
        for given in ["nope", "", "B9FFB", "/b9ffb", "we"] {
            assert_eq!(
                find(given).unwrap_err().to_string(),
                format!("no such container: {given}")
            );
        }
    }

    #[test]
    fn container_names_follow_docker() {
        for name in ["web", "a1", "A_b.c-d", "0x", &"a".repeat(128)] {
            assert_eq!(check_container(name), Ok(()), "{name}");
        }
        for name in [
            "",
            "a",
            "-a",
            ".a",
            "_a",
            "a b",
            "a/b",
            "wéb",
            "a\n",
            "a:b",
            &"a".repeat(129),
        ] {
            assert_eq!(check_container(name), Err(NameError::Container(name.to_owned())));
        }
    }

    #[test]
    fn network_names_are_interface_names() {
        for name in ["gp0", "a", "blue-net_1.x", "fifteen-letters"] {
            assert_eq!(check_network(name), Ok(()), "{name}");
        }
        for name in ["", ".", "..", "sixteen-letters-", "a/b", "a:b", "a b", "../x"] {
            assert_eq!(check_network(name), Err(NameError::Interface(name.to_owned())));
        }
        for name in ["lo", "all", "default"] {
            assert_eq!(check_network(name), Err(NameError::Reserved(name.to_owned())));
        }
    }

    #[test]
    fn hostnames_cannot_break_the_hosts_file() {
        for name in ["web", "a.b.c", "my_host", "x1-2", &"a".repeat(63)] {
            assert_eq!(check_hostname(name), Ok(()), "{name}");
        }
        for name in [
            "",
            "a..b",
            ".a",
            "a.",
            "-a",
            "a-",
            "a b",
            "a\n127.0.0.1 b",
            "a#b",
            &"a".repeat(64),
        ] {
            assert_eq!(check_hostname(name), Err(NameError::Hostname(name.to_owned())));
        }
    }

    #[test]
    fn ids_are_64_hex_digits() {
        let id = id([0xb9; 32]);
        assert_eq!((id.len(), short_id(&id)), (64, "b9b9b9b9b9b9"));
        assert_eq!(short_id("abc"), "abc");
    }
}
