//! The binary: the hidden commands by which our processes start each other, and the command line.

use std::process::ExitCode;

use gangplank::{cli, container, helper, netns};

fn main() -> ExitCode {
    match std::env::args_os().nth(1).as_deref().and_then(|word| word.to_str()) {
        Some("helper") => helper::start::main(),
        Some("agent") => netns::agent::main(),
        Some("join") => netns::join::main(),
        Some("monitor") => cli::monitor_main(),
        Some("init") => container::init::main(std::env::args_os().skip(2)).into(),
        Some("demo-serve") => cli::demo::serve_main(),
        Some("demo-get") => cli::demo::get_main(),
        _ => cli::main(),
    }
}
