//! Other programs' command lines, spoken by this binary: a symlink with their name, or their name as first argument.

pub mod getopt;
pub mod pasta;
