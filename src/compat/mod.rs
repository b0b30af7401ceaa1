//! Other programs' command lines, spoken by this binary: a symlink with their name, or their name as first argument.
//!
//! A personality only turns its own language into a configuration of the [`mooring`], the engine that all of them share,
//! and obeys its original's rules where they differ from ours: what it is called with ([`getopt`]), what it prints, how it
//! ends. What an original does wrong is not copied.

pub mod confine;
pub mod getopt;
pub mod mooring;
pub mod pasta;
pub mod print;
pub mod slirp4netns;

/// What strtol(3) passes over before a number: isspace(3) of the C locale.
const BLANKS: [char; 6] = [' ', '\t', '\n', '\x0b', '\x0c', '\r'];
