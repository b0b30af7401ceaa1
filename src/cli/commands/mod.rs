//! What the commands do: arguments to requests, answers to output. One file per family, as in [`args`](super::args).

pub(super) mod containers;
mod look;
mod network;
mod ports;

pub(super) use containers::OUR_FAILURE;
pub use containers::monitor_main;

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use super::args::{Cli, Command, NetworkCommand};
use super::session::{Session, SessionError};
use super::{doctor, manual};
use crate::api::types::NetworkOptions;
use crate::helper::place::Root;

/// Carries out a command.
pub(super) fn run(cli: &Cli) -> Result<ExitCode, Failed> {
    let xdg = std::env::var_os("XDG_RUNTIME_DIR");
    let root = Root::choose(cli.global.runtime_dir.as_deref(), xdg.as_deref());
    let session = Session::new(root, &cli.global.network);
    match &cli.command {
        Command::Up(up) => network::up(&session, up),
        Command::Down(down) => network::down(&session, down),
        Command::Network(NetworkCommand::Create(create)) => network::create(&session, create),
        Command::Network(NetworkCommand::Update(change)) => network::update(&session, change),
        Command::Network(NetworkCommand::Rm(remove)) => network::remove(&session, remove),
        Command::Network(NetworkCommand::Ls(list)) => look::networks(&session, list),
        Command::Network(NetworkCommand::Inspect(inspect)) => look::network(&session, inspect),
        Command::Show(show) => look::show(&session, show),
        Command::Run(run) => containers::run(&session, run),
        Command::Attach(attach) => containers::attach(&session, attach),
        Command::Detach(detach) => containers::detach(&session, detach),
        Command::Exec(exec) => containers::exec(&session, exec),
        Command::Stop(stop) => containers::stop(&session, stop),
        Command::Rm(remove) => containers::remove(&session, remove),
        Command::Logs(logs) => containers::logs(&session, logs),
        Command::Wait(wait) => containers::wait(&session, wait),
        Command::Publish(publish) => ports::publish(&session, publish),
        Command::Unpublish(unpublish) => ports::unpublish(&session, unpublish),
        Command::Port(port) => ports::port(&session, port),
        Command::Ps(ps) => look::ps(&session, ps),
        Command::Inspect(inspect) => look::inspect(&session, inspect),
        Command::Events(events) => look::events(&session, events),
        Command::Doctor(doctor) => look::doctor(doctor),
        Command::ProbeNamespaces => match doctor::probe_namespaces() {
            Ok(Ok(())) => Ok(ExitCode::SUCCESS),
            Ok(Err(refused)) => print(refused).map(|()| ExitCode::SUCCESS),
            Err(error) => Err(Failed::said(error)),
        },
        Command::Completions(completions) => print_bytes(&manual::completions(completions.shell)),
        Command::Man => print_bytes(&manual::page()?),
        Command::Demo => super::demo::run(),
    }
}

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    /// The helper, or the way to it.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// Standard output, most of the time.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// One line that says what to do.
    #[error("{0}")]
    Said(String),
    /// Every line has been said already.
    #[error("")]
    Reported,
}

impl Failed {
    pub(super) fn said(message: impl Display) -> Self {
        Self::Said(message.to_string())
    }
}

/// Settings of a network that a command starts because it needs one.
fn in_passing() -> NetworkOptions {
    NetworkOptions {
        transient: true,
        ..NetworkOptions::default()
    }
}

/// Does the same to each of several names; one that fails does not keep the others.
fn collect(names: &[String], mut act: impl FnMut(&str) -> Result<(), Failed>) -> Result<ExitCode, Failed> {
    let mut failed = false;
    for name in names {
        match act(name) {
            Ok(()) => {}
            Err(Failed::Io(error)) => return Err(error.into()),
            Err(error) => {
                complain(&error);
                failed = true;
            }
        }
    }
    if failed {
        Err(Failed::Reported)
    } else {
        Ok(ExitCode::SUCCESS)
    }
}

/// One line of result.
pub(super) fn print(line: impl Display) -> Result<(), Failed> {
    Ok(writeln!(io::stdout(), "{line}")?)
}

/// A whole text.
fn print_bytes(text: &[u8]) -> Result<ExitCode, Failed> {
    io::stdout().write_all(text)?;
    Ok(ExitCode::SUCCESS)
}

/// One line of complaint, as Docker begins them.
pub(super) fn complain(error: &impl Display) {
    // Nowhere to say that stderr is closed.
    let _ = writeln!(io::stderr(), "Error: {error}");
}
