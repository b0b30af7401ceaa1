//! The life of one: from its options to serving, and back to nothing.
//!
//! What can fail comes first, while nothing has been said to anybody; the ready byte comes last, when API socket and
//! confinement are in place. It ends with status 0 when the exit descriptor is hung up, and by the signal that it was
//! sent, as a program without handlers would; the API's socket goes first.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::process::ExitCode;

use nix::sys::signal::{Signal, raise};
use tokio::signal::unix::{SignalKind, signal};

use super::api::{Server, SocketError};
use super::banner::banner;
use super::network;
use super::options::{Options, Target};
use super::target::{Served, TargetError, serve};
use super::{complain, say};
use crate::compat::confine::{ConfineError, Confinement};
use crate::compat::mooring::{self, Mooring};
use crate::sys::descriptors::HangUp;
use crate::sys::{code, descriptors, process};

/// Why it does not run.
#[derive(Debug, thiserror::Error)]
pub(super) enum RunError {
    /// A descriptor that was named is not open.
    #[error("{0} {1}: {2}")]
    Descriptor(&'static str, RawFd, io::Error),
    /// Nobody to serve.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The API's socket can't be bound.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// It can't be confined.
    #[error(transparent)]
    Confine(#[from] ConfineError),
    /// The kernel refused something ordinary.
    #[error("the system refused: {0}")]
    System(#[from] io::Error),
    /// The interface was deleted, or failed.
    #[error("the TAP is lost")]
    Lost,
}

impl RunError {
    /// What the original says behind the reason, by which callers know at which stage it was.
    pub(super) fn aftermath(&self) -> &'static [&'static str] {
        match self {
            Self::Target(_) => &["child failed(1)"],
            Self::Descriptor(..) => &[],
            Self::Socket(_) | Self::Confine(_) | Self::System(_) | Self::Lost => {
                &["do_slirp is exiting", "do_slirp failed", "parent failed"]
            }
        }
    }
}

/// Serves until it is told to end.
pub(super) fn run(options: &Options) -> Result<ExitCode, RunError> {
    log_warnings();
    mooring::raise_descriptor_limit();
    let exit = inherit("exit-fd", options.exit_fd, options)?;
    let ready = inherit("ready-fd", options.ready_fd, options)?;
    if options.ready_fd == Some(libc::STDOUT_FILENO) {
        // Whoever reads it there is to have the byte and the end, as on any other descriptor.
        descriptors::silence_standard_streams();
    }
    let Served { line, userns } = serve(options)?;
    say(&banner(options));
    let server = options.api_socket.as_deref().map(Server::bind).transpose()?;
    let confinement = Confinement {
        sandbox: options.sandbox,
        seccomp: options.seccomp,
    };
    let maps = File::open("/proc/self/maps");
    // Only now: a path that was named may lead through what we were born with (/proc/self/fd/5, /dev/fd/5/api.sock).
    let ours = [&exit, &ready, &userns].into_iter().flatten().map(OwnedFd::as_fd);
    let ours = ours.chain(maps.iter().map(File::as_fd)).chain([line.fd.as_fd()]);
    let ours = ours.chain(server.iter().flat_map(Server::descriptors));
    descriptors::close_inherited(&ours.map(|fd| fd.as_raw_fd()).collect::<Vec<_>>())?;
    confinement.leave_the_file_system(userns)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ending = runtime.block_on(async {
        let signals = Signals::listen()?;
        let exit = exit.map(HangUp::watch).transpose()?;
        let mooring = Mooring::start(network::settings(options), line)?;
        if let Some(server) = &server {
            server.serve(mooring.clone(), network::Addresses::of(options.cidr).guest)?;
        }
        confinement.forbid_system_calls()?;
        if let Some(ready) = ready {
            // A caller that is gone need not be told.
            let _ = File::from(ready).write_all(b"1");
        }
        if let Ok(maps) = maps {
            // What only the start needed may stay mapped: it costs memory, nothing else.
            let _ = code::forget_listed(maps);
        }
        Ok::<_, RunError>(wait(exit, signals, &mooring).await)
    })?;
    // The socket first: whoever sees us gone is not to find it.
    drop(server);
    match ending {
        Ending::ExitDescriptor => {
            complain("exitfd event");
            complain("do_slirp is exiting");
            Ok(ExitCode::SUCCESS)
        }
        Ending::Signal(number) => {
            drop(runtime);
            process::default_signals();
            let _ = raise(number);
            Ok(ExitCode::FAILURE)
        }
        Ending::Lost => Err(RunError::Lost),
    }
}

/// Why it ends.
enum Ending {
    ExitDescriptor,
    Signal(Signal),
    Lost,
}

async fn wait(exit: Option<HangUp>, mut signals: Signals, mooring: &Mooring) -> Ending {
    let hung_up = async {
        match exit {
            Some(exit) => exit.come().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = hung_up => Ending::ExitDescriptor,
        number = signals.any() => Ending::Signal(number),
        () = mooring.ended() => Ending::Lost,
    }
}

/// The signals that would end us anyway, and now find us in time to remove the socket.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    /// None where it is ignored.
    interrupt: Option<tokio::signal::unix::Signal>,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: match process::ignores(libc::SIGINT) {
                true => None,
                false => Some(signal(SignalKind::interrupt())?),
            },
        })
    }

    async fn any(&mut self) -> Signal {
        let interrupted = async {
            match &mut self.interrupt {
                Some(interrupt) => interrupt.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => Signal::SIGTERM,
            _ = interrupted => Signal::SIGINT,
        }
    }
}

/// A copy of a descriptor that we were born with: it may be named twice, and be one of the standard streams. The copy has
/// none of the numbers that were named, so that one that is not open does not seem to be.
fn inherit(option: &'static str, number: Option<RawFd>, options: &Options) -> Result<Option<OwnedFd>, RunError> {
    let Some(number) = number else { return Ok(None) };
    let tap = match options.target {
        Target::Descriptor(number) => Some(number),
        Target::Process { .. } | Target::Path { .. } => None,
    };
    let named = [options.exit_fd, options.ready_fd, tap];
    let highest = named.into_iter().flatten().fold(libc::STDERR_FILENO, RawFd::max);
    descriptors::copy(number, highest)
        .map(Some)
        .map_err(|error| RunError::Descriptor(option, number, error))
}

fn log_warnings() {
    let log = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_writer(io::stderr)
        .with_ansi(false)
        .with_target(false);
    // Fails only where a log is set up already, which will do.
    let _ = log.try_init();
}
