//! Links between containers that don't reach each other otherwise: who may talk to whom, at which ports.
//!
//! A table that the shell replaces as a whole whenever containers, links or exposed ports change. In Docker's words the
//! *parent* is the container that has the link, the *child* the one that it leads to: the parent opens, the child answers.

use std::net::IpAddr;

/// The rules of one network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinkRules {
    /// Whether containers are kept apart, so that links need somebody who carries them.
    pub isolated: bool,
    /// One for each link and family.
    pub links: Vec<LinkRule>,
}

/// What one container may open at another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkRule {
    /// The address of the one that may.
    pub parent: IpAddr,
    /// The address of the other, of the same family.
    pub child: IpAddr,
    /// Where.
    pub ports: Vec<LinkPort>,
}

/// A port at the end of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkPort {
    /// What is spoken there.
    pub protocol: LinkProtocol,
    /// Its number.
    pub port: u16,
}

/// What links carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LinkProtocol {
    /// RFC 9293.
    Tcp,
    /// RFC 768.
    Udp,
}
