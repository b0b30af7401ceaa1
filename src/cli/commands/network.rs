//! `up`, `down` and `network create|rm`: the network itself.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use super::{Failed, collect, print};
use crate::api::client::Client;
use crate::api::types::{Force, Network, NetworkOptions, NetworkUpdate};
use crate::cli::args::{Create, Down, NetworkChange, NetworkRemove, Settings, Up};
use crate::cli::session::{Session, SessionError};
use crate::helper::start::{self, Errand, Outcome};
use crate::helper::state;
use crate::sys::pidfd::PidFd;
use crate::sys::process;

/// `up`: fine when the network runs already with the same settings.
pub(super) fn up(session: &Session, up: &Up) -> Result<ExitCode, Failed> {
    let ready = ready_file(up.ready_fd)?;
    if up.foreground {
        return foreground(session, up, ready);
    }
    ensure(session, &up.settings)?;
    signal_ready(ready);
    Ok(ExitCode::SUCCESS)
}

/// `down`: returns when nothing is left.
pub(super) fn down(session: &Session, down: &Down) -> Result<ExitCode, Failed> {
    match end(session, down.force) {
        Err(Failed::Session(SessionError::NotRunning(name))) => {
            // Asked for and already so; a script's second `down` is no error.
            tracing::info!("network {name} was not running");
            Ok(ExitCode::SUCCESS)
        }
        outcome => outcome.map(|()| ExitCode::SUCCESS),
    }
}

/// `network create`: a network that is not there yet.
pub(super) fn create(session: &Session, create: &Create) -> Result<ExitCode, Failed> {
    let session = session.sibling(&create.name);
    // The first look spares a helper; the second is certain, whoever does the same meanwhile.
    if state::is_running(&session.place()) || !session.start(&create.settings.options())? {
        return Err(Failed::said(format!(
            "network {0} is there already; see `gangplank network inspect {0}`",
            create.name
        )));
    }
    print(&create.name)?;
    Ok(ExitCode::SUCCESS)
}

/// `network update`: at once, for running containers too.
pub(super) fn update(session: &Session, change: &NetworkChange) -> Result<ExitCode, Failed> {
    let name = change.name.as_deref().unwrap_or(session.network());
    session
        .sibling(name)
        .ask(|client| client.update(NetworkUpdate { icc: change.icc }))?;
    print(name)?;
    Ok(ExitCode::SUCCESS)
}

/// `network rm`: `down` by name.
pub(super) fn remove(session: &Session, remove: &NetworkRemove) -> Result<ExitCode, Failed> {
    collect(&remove.names, |name| {
        end(&session.sibling(name), remove.force)?;
        print(name)
    })
}

fn ensure(session: &Session, settings: &Settings) -> Result<(), Failed> {
    let options = settings.options();
    let running = session.ask_or_start(&options, Client::network)?;
    let differences = settings.differences(&running.options);
    if differences.is_empty() {
        // Started in passing, it would go with its last container; whoever says `up` wants it to stay.
        return if running.options.transient {
            Ok(session.ask(Client::keep)?)
        } else {
            Ok(())
        };
    }
    let (network, differences) = (session.network(), differences.join(", "));
    let otherwise = match settings.icc.filter(|icc| *icc != running.options.icc) {
        Some(icc) => format!("; --icc alone can be changed: gangplank network update {network} --icc={icc}"),
        None => String::new(),
    };
    Err(Failed::said(format!(
        "network {network} runs with other settings: {differences}; take it down first or choose another --network{otherwise}"
    )))
}

fn foreground(session: &Session, up: &Up, ready: Option<File>) -> Result<ExitCode, Failed> {
    session.root().make().map_err(SessionError::from)?;
    session.place().make().map_err(SessionError::from)?;
    let errand = errand(session, up.settings.options());
    let mut failed = None;
    let code = start::run(&errand, |outcome| match outcome {
        Outcome::Ready => signal_ready(ready),
        Outcome::AlreadyRunning => {
            failed = Some(Failed::said(format!(
                "network {0} runs already; take it down first: gangplank down",
                session.network()
            )));
        }
        Outcome::Failed(message) => failed = Some(Failed::said(message.clone())),
    });
    failed.map_or(Ok(code), Err)
}

fn errand(session: &Session, options: NetworkOptions) -> Errand {
    Errand {
        root: session.root().path().to_owned(),
        network: session.network().to_owned(),
        options,
    }
}

/// Asks a network to end and waits until its helper has.
fn end(session: &Session, force: bool) -> Result<(), Failed> {
    // Known before it is asked: one that ends meanwhile, by itself or because somebody else has asked, may answer no more.
    let seen = written_down(session);
    let found = find(session);
    let helper = match &found {
        Ok(network) => open(network.helper_pid),
        Err(_) => seen,
    };
    match found.and_then(|_| session.ask(|client| client.down(Force { force }))) {
        Ok(()) => {}
        Err(SessionError::NotRunning(_)) if helper.is_some() => {}
        Err(error) => return Err(error.into()),
    }
    match helper {
        Some((pid, process)) if !process.wait_ended(END_PATIENCE_MS)? => Err(Failed::said(format!(
            "the helper (pid {pid}) does not end; see {}",
            session.place().log().display()
        ))),
        Some(_) | None => Ok(()),
    }
}

/// The process of a network's helper, by what it has written down.
fn written_down(session: &Session) -> Option<(i32, PidFd)> {
    let place = session.place();
    let helper = open(state::load(&place)?.helper_pid)?;
    // Only then is it still its number.
    state::is_running(&place).then_some(helper)
}

fn open(pid: i32) -> Option<(i32, PidFd)> {
    Some((pid, PidFd::open(pid).ok()?))
}

/// The network, once a helper that is just starting can be asked; a helper that is just ending is waited for.
fn find(session: &Session) -> Result<Network, SessionError> {
    for _ in 0..LOOKS {
        match session.ask(Client::network) {
            Err(SessionError::NotRunning(_)) if state::is_running(&session.place()) => sleep(BETWEEN_LOOKS),
            outcome => return outcome,
        }
    }
    session.ask(Client::network)
}

/// The descriptor on which readiness is to be told; looked at before anything is started.
fn ready_file(fd: Option<i32>) -> Result<Option<File>, Failed> {
    let Some(number) = fd else { return Ok(None) };
    let fd = match number {
        1 => io::stdout().as_fd().try_clone_to_owned(),
        2 => io::stderr().as_fd().try_clone_to_owned(),
        other => process::adopt(other),
    };
    let fd =
        fd.map_err(|error| Failed::said(format!("--ready-fd {number}: {error}; open it, as in `{number}>FILE`")))?;
    Ok(Some(File::from(fd)))
}

/// Writes the one byte that whoever holds the other end waits for.
fn signal_ready(ready: Option<File>) {
    // Whoever has closed the other end does not wait.
    let _ = ready.map(|mut ready| ready.write_all(b"1"));
}

/// Longer than stopping every container may take, in milliseconds.
const END_PATIENCE_MS: u16 = 30_000;

/// How often a helper that holds its network but does not answer is looked for, and how long apart: as long as it may
/// take to end.
const LOOKS: usize = 1_500;
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);
