//! The pure core with simulated containers and a virtual clock.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::wildcard_enum_match_arm,
    reason = "tests fail by panicking, and know their numbers"
)]

mod closing;
mod datagrams;
mod dhcp;
mod dhcp_guest;
mod dhcp_malformed;
mod dhcp_names;
mod dhcp_range;
mod dhcpv6;
mod errors;
mod fragments;
mod guarding;
mod guest;
mod handling;
mod handshake;
mod hostile;
mod ipv6;
mod limits;
mod links;
mod neighbours;
mod net;
mod rings;
mod routers;
mod scale;
mod shards;
mod sim;
mod stream;
mod superframes;
mod timers;
