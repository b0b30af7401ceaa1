//! gangplank: docker0 for a user without root.

pub mod api;
pub mod container;
pub mod helper;
pub mod host;
pub mod netns;
pub mod network;
pub mod policy;
pub mod stack;
pub mod sys;
pub mod uplink;
