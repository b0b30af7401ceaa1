//! The host side of flows and mappings: ordinary sockets of the user who runs the helper.
//!
//! Everything here is non-blocking and edge-triggered: a socket remembers what readiness it was told of until the
//! kernel says that it would block. No protocol decision is taken here; the engine takes them all. The driver
//! (`helper::driver`) is the only caller.

pub mod echo;
pub mod errno;
mod failure;
mod handling;
pub mod listen;
pub mod outbound;
pub mod relay;
pub mod resolver;
pub mod tcp;
pub mod udp;
