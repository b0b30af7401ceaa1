//! gangplank: docker0 for a user without root.

pub mod policy;
pub mod stack;
