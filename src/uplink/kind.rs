//! The kinds of uplink, in words.

use serde::{Deserialize, Serialize};

/// How frames pass between bridge and stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UplinkKind {
    /// A TAP with offload headers; see [`Tap`](super::Tap).
    Tap,
    /// A TAP without, for sandboxes whose TAP cannot do more; see [`TapPlain`](super::TapPlain).
    TapPlain,
    /// A packet socket on a veth's end, where there is no /dev/net/tun; see [`Packet`](super::Packet).
    Packet,
}

impl UplinkKind {
    /// All, in the order in which `auto` tries them: cables need the device that the first two need, so where it can be
    /// had it is used; the plain one only where the kernel takes no offload header.
    pub const ALL: [Self; 3] = [Self::Tap, Self::TapPlain, Self::Packet];

    /// As `--uplink` and `network inspect` write it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Tap => "tap",
            Self::TapPlain => "tap-plain",
            Self::Packet => "packet",
        }
    }

    /// The kinds to try for what `--uplink` says; `None` if that is no word of ours.
    pub fn candidates(word: &str) -> Option<Vec<Self>> {
        if word == AUTO {
            return Some(Self::ALL.to_vec());
        }
        let kind = Self::ALL.into_iter().find(|kind| kind.word() == word)?;
        Some(vec![kind])
    }
}

/// The first that works.
const AUTO: &str = "auto";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_names_what_is_tried() {
        assert_eq!(UplinkKind::candidates("auto"), Some(UplinkKind::ALL.to_vec()));
        for kind in UplinkKind::ALL {
            assert_eq!(UplinkKind::candidates(kind.word()), Some(vec![kind]));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.word());
        }
        assert_eq!(UplinkKind::candidates("wifi"), None);
    }
}
