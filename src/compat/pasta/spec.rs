//! The grammar of `-t`, `-u`, `-T` and `-U`.
//!
//! ```text
//! SPEC  = none | [[ADDR][%IFACE]/]PORT{,PORT}
//! PORT  = all[:TOADDR] | auto | ~FIRST[-LAST] | FIRST[-LAST][:TO]
//! TO    = TOADDR | [TOADDR/]TOFIRST[-TOLAST]
//! ```
//!
//! Pure: text goes in, [`Rule`]s come out. Ports that are excluded leave holes, whatever the order. Where no range is
//! included, all ports are that the kernel does not give away by itself (`ip_local_port_range`), and those that can't be
//! had are left out. `auto` narrows whatever is included to what something listens on.

use std::net::IpAddr;

use super::addresses::decimal;
use super::rule::{Rule, Transport};

/// A SPEC, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spec {
    /// Forward nothing.
    None,
    /// Forward these.
    Ports(Ports),
}

/// What is forwarded, in the order in which it was written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ports {
    /// What is bound; `None`: every address.
    pub address: Option<IpAddr>,
    /// The interface it is bound to.
    pub interface: Option<String>,
    included: Vec<Included>,
    excluded: Vec<(u16, u16)>,
    /// Where `all` leads.
    all_to: Option<IpAddr>,
    scan: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Included {
    first: u16,
    last: u16,
    to_address: Option<IpAddr>,
    to_first: u16,
}

/// What is no SPEC; the text is the part that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Invalid port specifier '{0}'")]
pub struct SpecError(pub String);

/// Reads a SPEC.
pub fn parse(text: &str) -> Result<Spec, SpecError> {
    if text == "none" {
        return Ok(Spec::None);
    }
    let mut ports = Ports::default();
    let mut list = text;
    if let Some((before, after)) = text.split_once('/')
        && let Some((address, interface)) = binding(before)
    {
        (ports.address, ports.interface) = (address, interface);
        list = after;
    }
    for chunk in list.split(',') {
        ports.read(chunk).ok_or_else(|| SpecError(list.to_owned()))?;
    }
    Ok(Spec::Ports(ports))
}

impl Ports {
    /// The rules that it stands for, on a host that gives away the `ephemeral` ports by itself.
    pub fn rules(&self, protocol: Transport, ephemeral: (u16, u16)) -> Vec<Rule> {
        let everything = self.included.is_empty();
        let included = if everything {
            self.everything(ephemeral)
        } else {
            self.included.clone()
        };
        let pieces = included.iter().flat_map(|range| self.without_excluded(range));
        let rule = |piece: Included| Rule {
            protocol,
            address: self.address,
            interface: self.interface.clone(),
            first: piece.first,
            last: piece.last,
            to_address: piece.to_address,
            to_first: piece.to_first,
            best_effort: everything,
            scan: self.scan,
        };
        pieces.map(rule).collect()
    }

    fn read(&mut self, chunk: &str) -> Option<()> {
        if let Some(range) = chunk.strip_prefix('~') {
            self.excluded.push(range_of(range)?);
            return Some(());
        }
        if chunk == "auto" {
            self.scan = true;
            return Some(());
        }
        let (from, to) = match chunk.split_once(':') {
            Some((from, to)) => (from, Some(to)),
            None => (chunk, None),
        };
        if from == "all" {
            if let Some(to) = to {
                self.all_to = Some(address_of(to)?);
            }
            return Some(());
        }
        let (first, last) = range_of(from)?;
        let (to_address, (to_first, to_last)) = match to {
            Some(to) => target(to, (first, last))?,
            None => (None, (first, last)),
        };
        (to_last - to_first == last - first).then_some(())?;
        self.included.push(Included {
            first,
            last,
            to_address,
            to_first,
        });
        Some(())
    }

    /// Every port that the kernel does not give away.
    fn everything(&self, (low, high): (u16, u16)) -> Vec<Included> {
        let below = (1, low.saturating_sub(1));
        let above = (high.saturating_add(1), u16::MAX);
        let above = Some(above).filter(|_| high < u16::MAX);
        [Some(below).filter(|_| low > 1), above]
            .into_iter()
            .flatten()
            .map(|(first, last)| Included {
                first,
                last,
                to_address: self.all_to,
                to_first: first,
            })
            .collect()
    }

    /// What is left of a range: the pieces between the holes.
    fn without_excluded(&self, range: &Included) -> Vec<Included> {
        let mut holes: Vec<(u16, u16)> = self
            .excluded
            .iter()
            .filter(|(first, last)| *first <= range.last && *last >= range.first)
            .copied()
            .collect();
        holes.sort_unstable();
        let mut pieces = Vec::new();
        let piece = |first: u16, last: u16| Included {
            first,
            last,
            to_address: range.to_address,
            // What does not fit is told by the rule, not by a number that wraps.
            to_first: range.to_first.saturating_add(first - range.first),
        };
        let mut next = Some(range.first);
        for (first, last) in holes {
            let Some(start) = next else { break };
            if first > start {
                pieces.push(piece(start, first - 1));
            }
            next = last.checked_add(1).map(|after| after.max(start));
        }
        if let Some(start) = next.filter(|start| *start <= range.last) {
            pieces.push(piece(start, range.last));
        }
        pieces
    }
}

/// `[ADDR][%IFACE]`; an address of `*` or none at all stands for every one.
fn binding(text: &str) -> Option<(Option<IpAddr>, Option<String>)> {
    let (address, interface) = match text.split_once('%') {
        Some((address, interface)) => (address, Some(interface)),
        None => (text, None),
    };
    let usable = |name: &str| !name.is_empty() && name.len() < INTERFACE_BYTES;
    if !interface.is_none_or(usable) {
        return None;
    }
    let address = match address {
        "" | "*" => None,
        address => Some(address_of(address)?),
    };
    Some((address, interface.map(str::to_owned)))
}

/// What follows the colon of a range.
fn target(text: &str, from: (u16, u16)) -> Option<(Option<IpAddr>, (u16, u16))> {
    if let Some((address, range)) = text.rsplit_once('/') {
        return Some((Some(address_of(address)?), range_of(range)?));
    }
    match range_of(text) {
        Some(range) => Some((None, range)),
        None => Some((Some(address_of(text)?), from)),
    }
}

fn range_of(text: &str) -> Option<(u16, u16)> {
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (port(first)?, port(last)?),
        None => (port(text)?, port(text)?),
    };
    (first <= last).then_some((first, last))
}

/// In decimal, as strtoul(3) reads it; 0 is read here and refused with the rule, which tells what it was to be.
fn port(text: &str) -> Option<u16> {
    decimal(text)
}

/// An address, in brackets or without.
fn address_of(text: &str) -> Option<IpAddr> {
    let inner = match text.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?,
        None => text,
    };
    inner.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

/// Room for an interface's name with the zero at its end (linux/if.h, IFNAMSIZ).
const INTERFACE_BYTES: usize = 16;

#[cfg(test)]
#[path = "spec_tests.rs"]
mod tests;
