//! Commands and what they print.
//!
//! [`args`] is what was typed, [`commands`] what is done about it, [`output`] and [`template`] what is printed; a
//! [`session`] is the way to the network's helper.

pub mod args;
mod commands;
pub mod demo;
pub mod doctor;
mod image;
mod manual;
pub mod output;
mod session;
pub mod template;

use std::io::{self, Write};
use std::process::ExitCode;

use args::{BAD_USAGE, Global, NoCommand};
use commands::Failed;

pub use commands::monitor_main;

/// The command line.
pub fn main() -> ExitCode {
    let cli = match args::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(NoCommand::Help(text)) => {
            // A closed pipe is the reader's choice.
            let _ = io::stdout().write_all(text.as_bytes());
            return ExitCode::SUCCESS;
        }
        Err(NoCommand::Usage(text)) => {
            let _ = io::stderr().write_all(text.as_bytes());
            return ExitCode::from(BAD_USAGE);
        }
        Err(NoCommand::Refused(text)) => {
            commands::complain(&text);
            let runs = args::runs_a_program(std::env::args_os());
            return if runs {
                ExitCode::from(commands::OUR_FAILURE)
            } else {
                ExitCode::FAILURE
            };
        }
    };
    log(&cli.global);
    match commands::run(&cli) {
        Ok(code) => code,
        Err(Failed::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(Failed::Reported) => ExitCode::FAILURE,
        Err(error) => {
            commands::complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// The command's own remarks go to stderr, more of them with `-v`.
fn log(global: &Global) {
    let level = match (global.quiet, global.verbose) {
        (true, _) => tracing::Level::ERROR,
        (false, 0) => tracing::Level::WARN,
        (false, 1) => tracing::Level::INFO,
        (false, _) => tracing::Level::DEBUG,
    };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(io::stderr)
        .without_time()
        .with_target(false)
        .init();
}
