//! System calls that no crate wraps safely; the only `unsafe` of the crate.
//!
//! Each file is one subject and hands out owned descriptors, always close-on-exec. Nothing here decides anything:
//! the callers, `netns`, `uplink`, `host`, `helper` and `container`, do.

#![allow(unsafe_code)]

pub mod capabilities;
pub mod clock;
pub mod code;
pub mod datagrams;
pub mod descriptors;
pub mod error_queue;
pub mod ethtool;
pub mod mapping;
pub mod namespace;
pub mod options;
pub mod packet;
pub mod packet_ring;
pub mod pidfd;
pub mod plain_tap;
pub mod process;
pub mod random;
pub mod readiness;
pub mod tun;
