//! The binary; its commands come with the modules above the core.

fn main() {}
