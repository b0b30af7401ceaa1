//! The helper's main: from an [`Errand`] on its standard input to a network that serves, and back to nothing.
//!
//! Readiness is told on standard output, one [`Outcome`] in JSON, after the last thing that can fail; then the stream
//! is closed, so that whoever waits for its end is not kept.

use std::fs::Permissions;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::middleware::from_fn_with_state;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};
use tokio::net::UnixListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::place::{Place, Root};
use super::quiet::Quiet;
use super::routes;
use super::state::{self, Lock};
use super::supervisor::{StartError, Supervisor};
use crate::api::listener::OwnerListener;
use crate::api::types::NetworkOptions;
use crate::sys::descriptors;

/// What a helper is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Errand {
    /// The directory of all networks.
    pub root: PathBuf,
    /// The network's name.
    pub network: String,
    /// Its settings.
    pub options: NetworkOptions,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The network serves.
    Ready,
    /// Another helper has it.
    AlreadyRunning,
    /// One line that says what to do.
    Failed(String),
}

/// The hidden command `helper`: reads its errand, answers, serves in the background.
pub fn main() -> ExitCode {
    if let Err(error) = descriptors::close_inherited(&[]) {
        return give_up(report, error);
    }
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(false)
        .with_target(false)
        .init();
    // Else it would be called "exe", as the link by which it was started.
    let _ = nix::sys::prctl::set_name(c"gangplank");
    // EPERM: we lead a process group already, which does as well.
    let _ = nix::unistd::setsid();
    let mut errand = Vec::new();
    let errand = io::stdin()
        .read_to_end(&mut errand)
        .and_then(|_| Ok(serde_json::from_slice(&errand)?));
    match errand {
        Ok(errand) => run(&errand, |outcome| {
            if let Outcome::Failed(why) = outcome {
                tracing::error!("not started: {why}");
            }
            report(outcome);
        }),
        Err(error) => give_up(report, error),
    }
}

/// Serves a network until it is told to end; `report` hears how the start went, once.
pub fn run(errand: &Errand, report: impl FnOnce(&Outcome)) -> ExitCode {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(start_and_serve(errand, report)),
        Err(error) => give_up(report, error),
    }
}

async fn start_and_serve(errand: &Errand, report: impl FnOnce(&Outcome)) -> ExitCode {
    let root = Root::choose(Some(&errand.root), None);
    let place = root.place(&errand.network);
    let lock = match take_lock(&place).await {
        Ok(Some(lock)) => lock,
        Ok(None) => {
            report(&Outcome::AlreadyRunning);
            return ExitCode::FAILURE;
        }
        Err(error) => return give_up(report, error),
    };
    raise_descriptor_limit();
    match begin(errand, &root, &place).await {
        Ok((supervisor, listener, signals)) => {
            report(&Outcome::Ready);
            tracing::info!(network = errand.network, "ready");
            serve(supervisor, listener, signals, &place).await;
            state::clear(&place, lock);
            ExitCode::SUCCESS
        }
        Err(error) => {
            state::clear(&place, lock);
            give_up(report, error)
        }
    }
}

fn give_up(report: impl FnOnce(&Outcome), why: impl ToString) -> ExitCode {
    report(&Outcome::Failed(why.to_string()));
    ExitCode::FAILURE
}

/// A network, the socket on which it is asked, and the signals that end it.
type Begun = (Arc<Supervisor>, UnixListener, Signals);

async fn begin(errand: &Errand, root: &Root, place: &Place) -> Result<Begun, StartError> {
    let signals = Signals::listen()?;
    let supervisor = Supervisor::start(root, place, &errand.network, &errand.options).await?;
    // A helper that was killed left its socket; we hold the lock, so it is nobody's.
    let socket = place.socket();
    let _ = std::fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket).and_then(|listener| {
        std::fs::set_permissions(&socket, Permissions::from_mode(0o600))?;
        Ok(listener)
    });
    match listener {
        Ok(listener) => Ok((supervisor, listener, signals)),
        Err(source) => {
            supervisor.end().await;
            Err(StartError::Socket { path: socket, source })
        }
    }
}

/// The signals that end a network; heard before it is said to be ready, so that none ends the helper alone.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn any(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "terminated by a signal",
            _ = self.interrupt.recv() => "interrupted",
        }
    }
}

async fn serve(supervisor: Arc<Supervisor>, listener: UnixListener, mut signals: Signals, place: &Place) {
    let owner = nix::unistd::Uid::effective().as_raw();
    let app = routes::router(Arc::clone(&supervisor));
    let app = app.layer(from_fn_with_state(Quiet::begin(), Quiet::note));
    let server = tokio::spawn(axum::serve(OwnerListener::new(listener, owner), app).into_future());
    let reason = tokio::select! {
        reason = signals.any() => reason,
        reason = supervisor.ending() => reason,
    };
    tracing::info!(reason, "ending");
    // From here on a new command finds no socket and starts a helper of its own.
    let _ = std::fs::remove_file(place.socket());
    supervisor.end().await;
    // Answers that are on their way get a moment to leave.
    tokio::time::sleep(LAST_ANSWERS).await;
    server.abort();
}

/// Takes the network's lock; none when another helper has it. Who only looks whether there is one has the lock for an
/// instant, on a busy machine for a longer one, and lets others look meanwhile.
async fn take_lock(place: &Place) -> io::Result<Option<Lock>> {
    let mut held = 0;
    for _ in 0..LOOKS {
        if let Some(lock) = Lock::take(&place.lock())? {
            return Ok(Some(lock));
        }
        held += usize::from(state::is_running(place));
        if held == LOCK_TRIES {
            break;
        }
        tokio::time::sleep(LOCK_PAUSE).await;
    }
    Ok(None)
}

/// Every flow costs a descriptor: take what the hard limit allows.
fn raise_descriptor_limit() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        tracing::warn!(%error, "the limit of open files stays low");
    }
}

fn report(outcome: &Outcome) {
    let mut stdout = io::stdout();
    // Nobody listens any more: then nobody needs to know.
    let _ = serde_json::to_writer(&mut stdout, outcome)
        .map_err(io::Error::from)
        .and_then(|()| stdout.flush());
    descriptors::silence_standard_streams();
}

/// How often the lock is tried while a helper has it, which may be about to end; how often at all; and how long apart.
const LOCK_TRIES: usize = 5;
const LOOKS: usize = 1000;
const LOCK_PAUSE: Duration = Duration::from_millis(4);

/// How long answers may take to leave before the socket's connections are cut.
const LAST_ANSWERS: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use std::fs::File;

    use nix::fcntl::{Flock, FlockArg};

    use super::*;

    #[tokio::test]
    async fn who_only_looks_is_waited_for() {
        let scratch = tempfile::tempdir().unwrap();
        let root = Root::choose(Some(&scratch.path().join("run")), None);
        root.make().unwrap();
        let place = root.place("gp0");
        place.make().unwrap();
        let looker = File::create(place.lock()).unwrap();
        let looker = Flock::lock(looker, FlockArg::LockSharedNonblock).unwrap();
        let longer_than_a_helper = LOCK_PAUSE * 20;
        let (lock, ()) = tokio::join!(take_lock(&place), async {
            tokio::time::sleep(longer_than_a_helper).await;
            drop(looker);
        });
        let lock = lock.unwrap().expect("nobody runs");
        assert!(take_lock(&place).await.unwrap().is_none(), "a helper does");
        drop(lock);
    }
}
