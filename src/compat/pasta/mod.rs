//! pasta.

mod addresses;
pub mod options;
pub mod plan;
pub mod rule;
pub mod spec;
pub mod table;
