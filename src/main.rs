//! The binary: other programs' names that it answers to, the hidden commands by which our processes start each other, and the command line.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use gangplank::{cli, compat, container, helper, netns};

fn main() -> ExitCode {
    if let Some(personality) = personality() {
        return personality;
    }
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

/// By the name that we were called by (a symlink), or by the first argument, which then is that name.
fn personality() -> Option<ExitCode> {
    let mut arguments = std::env::args_os();
    let named = |argument: &OsString| {
        let name = Path::new(argument).file_name()?.to_str()?.to_owned();
        PERSONALITIES.iter().find(|(known, _)| *known == name)
    };
    if let Some((_, main)) = arguments.next().as_ref().and_then(named) {
        return Some(main(std::env::args_os().collect()));
    }
    let first = arguments.next()?;
    let (_, main) = PERSONALITIES.iter().find(|(known, _)| first == *known)?;
    Some(main(std::env::args_os().skip(1).collect()))
}

/// What a program does with its arguments, its name first.
type Main = fn(Vec<OsString>) -> ExitCode;

/// The programs that we can stand for.
const PERSONALITIES: [(&str, Main); 4] = [
    ("slirp4netns", compat::slirp4netns::main),
    ("pasta", compat::pasta::main),
    // As Debian calls the one that is built for newer processors.
    ("pasta.avx2", compat::pasta::main),
    ("pesto", compat::pasta::pesto::main),
];
