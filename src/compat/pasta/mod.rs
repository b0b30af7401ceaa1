//! pasta.

mod addresses;
pub mod options;
pub mod rule;
pub mod spec;
pub mod table;
