//! pasta.

mod addresses;
pub mod config;
pub mod control;
pub mod datagrams;
pub mod facts;
pub mod local;
pub mod options;
pub mod pesto;
pub mod plan;
pub mod ports;
pub mod rule;
pub mod scan;
pub mod spec;
pub mod table;
