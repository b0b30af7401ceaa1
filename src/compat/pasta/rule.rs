//! One forwarding rule: which ports of which address lead where.
//!
//! What is written with `Display` is what `pesto` lists and what conflicts are told with, to the letter of the original:
//! the blank at the end of a rule without remarks, too, since scripts may compare whole lines.

use std::fmt::{self, Display};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::network::ports::Protocol;

/// A way through the tie between host and namespace, by the name that `pesto` lists it under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Pif {
    /// From the host into the namespace: `-t` and `-u`.
    Host,
    /// From the namespace's loopback to the host's: `-T` and `-U`.
    Splice,
}

/// Ports of an address, and where they lead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// What is forwarded.
    pub protocol: Transport,
    /// What is bound; `None`: every address of both families.
    pub address: Option<IpAddr>,
    /// The interface that it is bound to (SO_BINDTODEVICE).
    pub interface: Option<String>,
    /// The first port of the range.
    pub first: u16,
    /// The last port of the range.
    pub last: u16,
    /// Where it leads, if not to the namespace's own address.
    pub to_address: Option<IpAddr>,
    /// Where the first port leads; the others follow.
    pub to_first: u16,
    /// A port that can't be bound is left out, unless that leaves none.
    pub best_effort: bool,
    /// Only ports are bound on which something listens at the other end.
    pub scan: bool,
}

/// [`Protocol`], as it is sent and shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Transport {
    /// RFC 9293.
    Tcp,
    /// RFC 768.
    Udp,
}

/// Why a rule makes no sense by itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// Nobody can connect to port 0.
    #[error("Forwarding rule attempts to map from port 0")]
    FromZero,
    /// Nor can we.
    #[error("Forwarding rule attempts to map to port 0")]
    ToZero,
    /// The range leads beyond the last port.
    #[error("Forwarding rule attempts to map to ports above 65535")]
    Beyond,
    /// The families differ.
    #[error("Forward from {from_family} ({from}) to {to_family} ({to}) unsupported", from_family = family(*.from), to_family = family(*.to))]
    Families {
        /// What is bound.
        from: IpAddr,
        /// Where it was to lead.
        to: IpAddr,
    },
    /// Connections of both families can't lead to an address of one.
    #[error(
        "Dual stack forward to {} address {to} unsupported\nDid you mean {}/... instead?",
        family(*.to),
        wildcard(*.to)
    )]
    DualStack {
        /// Where it was to lead.
        to: IpAddr,
    },
}

impl Rule {
    /// Whether the rule can be carried out at all.
    pub fn check(&self) -> Result<(), RuleError> {
        if self.first == 0 {
            return Err(RuleError::FromZero);
        }
        if self.to_first == 0 {
            return Err(RuleError::ToZero);
        }
        if self.to_first.checked_add(self.last - self.first).is_none() {
            return Err(RuleError::Beyond);
        }
        match (self.address, self.to_address) {
            (Some(from), Some(to)) if from.is_ipv4() != to.is_ipv4() => Err(RuleError::Families { from, to }),
            (None, Some(to)) => Err(RuleError::DualStack { to }),
            (_, None) | (Some(_), Some(_)) => Ok(()),
        }
    }

    /// The ports that are bound.
    pub fn ports(&self) -> impl Iterator<Item = u16> + use<> {
        self.first..=self.last
    }

    /// Where `port`, one of its own, leads; an address only if the rule names one.
    pub fn target(&self, port: u16) -> (Option<IpAddr>, u16) {
        (
            self.to_address,
            self.to_first.saturating_add(port.saturating_sub(self.first)),
        )
    }

    /// Whether no socket could serve both.
    pub fn conflicts_with(&self, other: &Self) -> bool {
        self.protocol == other.protocol
            && self.first <= other.last
            && other.first <= self.last
            && overlap(self.address, other.address)
            && match (&self.interface, &other.interface) {
                (Some(ours), Some(theirs)) => ours == theirs,
                (None, _) | (_, None) => true,
            }
    }

    /// Whether they mean the same forwarding, however eagerly.
    pub fn is_same_as(&self, other: &Self) -> bool {
        let eager = |rule: &Self| Self {
            best_effort: false,
            ..rule.clone()
        };
        eager(self) == eager(other)
    }
}

impl Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [", self.protocol)?;
        match self.address {
            Some(address) => write!(f, "{address}]")?,
            None => f.write_str("*]")?,
        }
        if let Some(interface) = &self.interface {
            write!(f, "%{interface}")?;
        }
        write!(f, ":{}  =>  ", Range(self.first, self.last))?;
        if let Some(to) = self.to_address {
            write!(f, "{to}:")?;
        }
        let to_last = self.to_first.saturating_add(self.last.saturating_sub(self.first));
        write!(f, "{} ", Range(self.to_first, to_last))?;
        match (self.best_effort, self.scan) {
            (true, true) => f.write_str(" (best effort) (auto-scan)"),
            (true, false) => f.write_str(" (best effort)"),
            (false, true) => f.write_str(" (auto-scan)"),
            (false, false) => Ok(()),
        }
    }
}

/// An address and port in the words of messages about binding: `127.0.0.1/80`, `*%eth0/80`.
#[derive(Debug)]
pub struct Bound<'r>(pub &'r Rule, pub u16, pub u16);

impl Display for Bound<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.address {
            Some(address) => write!(f, "{address}")?,
            None => f.write_str("*")?,
        }
        if let Some(interface) = &self.0.interface {
            write!(f, "%{interface}")?;
        }
        write!(f, "/{}", Range(self.1, self.2))
    }
}

impl Display for Pif {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "HOST",
            Self::Splice => "SPLICE",
        })
    }
}

impl Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        })
    }
}

impl From<Transport> for Protocol {
    fn from(transport: Transport) -> Self {
        match transport {
            Transport::Tcp => Self::Tcp,
            Transport::Udp => Self::Udp,
        }
    }
}

/// One port, or the first and the last of several.
struct Range(u16, u16);

impl Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == self.1 {
            write!(f, "{}", self.0)
        } else {
            write!(f, "{}-{}", self.0, self.1)
        }
    }
}

/// The wildcard of all families takes every address, that of one family each of its own.
fn overlap(ours: Option<IpAddr>, theirs: Option<IpAddr>) -> bool {
    let (Some(ours), Some(theirs)) = (ours, theirs) else {
        return true;
    };
    ours == theirs || (ours.is_ipv4() == theirs.is_ipv4() && (ours.is_unspecified() || theirs.is_unspecified()))
}

fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

fn wildcard(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "0.0.0.0" } else { "[::]" }
}
