//! Typed requests between commands and helper.

pub mod types;
