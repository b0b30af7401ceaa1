//! slirp4netns: one network namespace, user-mode, as RootlessKit, podman and buildah start it.
//!
//! Command line, output, exit codes and the JSON API are those of slirp4netns 1.3.3; so are the addresses (gateway +2,
//! resolver +3, guest +100) and what is open by default. The namespace sees the clients of a forwarded port by their own
//! address, as with the original; those on the host's loopback by the gateway's. What differs on purpose:
//!
//! - output is not held back until the end, and an error ends its line;
//! - an API request may come in pieces, every value is checked, and a client that says nothing holds nobody up;
//! - `list_hostfwd` answers in the shape of the manual and in that of the binary;
//! - a socket's path is only cleared of sockets, and SIGTERM removes ours;
//! - confinement is tighter ([`confine`](super::confine));
//! - with `--disable-dns` nothing goes to the host's network by the resolver's address;
//! - `--target-type=bess` (User Mode Linux) is not offered.
//!
//! [`options`] is what was said, [`network`] what it means for the stack, [`target`] who is served, [`api`] the ports,
//! [`run`] the life of it.

mod api;
mod banner;
mod help;
mod network;
mod options;
mod run;
mod target;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use options::{Options, Stop};

/// The program: `arguments` begin with the name by which it was called.
pub fn main(arguments: Vec<OsString>) -> ExitCode {
    let mut arguments = arguments.into_iter();
    let name = arguments.next().unwrap_or_default().to_string_lossy().into_owned();
    match options::parse(arguments, say) {
        Ok(options) => start(&options),
        Err(Stop::Help) => {
            say(&help::usage(&name));
            ExitCode::SUCCESS
        }
        Err(Stop::Version) => {
            say(help::VERSION);
            ExitCode::SUCCESS
        }
        Err(Stop::Misread(misread)) => {
            complain(format_args!("{name}: {misread}"));
            say(&help::usage(&name));
            ExitCode::FAILURE
        }
        Err(Stop::Usage(why)) => {
            if let Some(why) = why {
                complain(why);
            }
            say(&help::usage(&name));
            ExitCode::FAILURE
        }
        Err(Stop::Refused(why)) => {
            complain(why);
            ExitCode::FAILURE
        }
    }
}

fn start(options: &Options) -> ExitCode {
    match run::run(options) {
        Ok(code) => code,
        Err(error) => {
            complain(&error);
            for line in error.aftermath() {
                complain(line);
            }
            ExitCode::FAILURE
        }
    }
}

/// Says a line to whoever started us; standard output is theirs, and may be closed.
fn say(line: &str) {
    let mut stdout = io::stdout().lock();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

/// Says a line on standard error, which callers show to people.
fn complain(line: impl std::fmt::Display) {
    // Nobody is left to be told.
    let _ = writeln!(io::stderr(), "{line}");
}
