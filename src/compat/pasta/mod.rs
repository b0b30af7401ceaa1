//! pasta and pesto: one network namespace that looks like the host, as podman, buildah and RootlessKit start it.
//!
//! Command line, output, exit codes and behaviour are those of the release of 2026-10. What differs on purpose:
//!
//! - resolvers are read again when resolv.conf changes;
//! - `pesto` may add what is there and delete what is not, so that a start can be repeated; its protocol is ours;
//! - what can't be looked at is not taken for gone (the original ends when descriptors run out);
//! - a network namespace by path is served whoever of ours rules it, without `--userns`;
//! - the control socket and the PID file go with us;
//! - a command that hears of an interrupt is served on, one that does not ends with us;
//! - `--no-tcp` alone is no error; nothing is forwarded by TCP then.
//!
//! | file | what |
//! | --- | --- |
//! | [`command_line`], [`known`], [`refused`], [`addresses`] | how it is said |
//! | [`options`], [`spec`] | what was said |
//! | [`rule`], [`table`] | what is forwarded, and how that changes |
//! | [`facts`], [`plan`], [`config`] | what it means on this host: addresses, routes, the engine's settings |
//! | [`target`], [`command`], [`watch`] | who is served |
//! | [`ports`], [`scan`], [`local`], [`datagrams`] | rules carried out, the loopback's by sockets inside |
//! | [`sieve`], [`log`] | what is kept off, recorded, told |
//! | [`run`], [`pid_file`] | the life of it |
//! | [`control`], [`pesto`] | changes while it runs |

mod addresses;
pub mod banner;
pub mod command;
pub mod command_line;
pub mod config;
pub mod control;
pub mod datagrams;
pub mod facts;
mod help;
mod known;
pub mod local;
pub mod log;
pub mod options;
pub mod pesto;
pub mod pid_file;
pub mod plan;
pub mod ports;
pub mod privilege;
pub mod refused;
pub mod rule;
pub mod run;
pub mod scan;
pub mod sieve;
pub mod spec;
pub mod table;
pub mod target;
pub mod watch;

use std::ffi::OsString;
use std::process::ExitCode;

use crate::compat::print;
use command_line::Asked;
use refused::OptionError;

/// The program: `arguments` begin with the name by which it was called.
pub fn main(arguments: Vec<OsString>) -> ExitCode {
    let mut arguments = arguments.into_iter();
    let name = arguments.next().unwrap_or_default().to_string_lossy().into_owned();
    match command_line::parse(arguments) {
        Ok(Asked::Help) => print::out(&help::usage(&name)),
        Ok(Asked::Version) => print::out(&facts::version("pasta")),
        Ok(Asked::Run(options)) => run::start(&options),
        Err(OptionError::Usage(misread)) => print::err(&format!("{name}: {misread}\n{}", help::usage(&name))),
        Err(error) => print::err(&format!("{error}\n")),
    }
}
