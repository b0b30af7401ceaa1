//! The life of one: from its options to serving, and back to nothing.
//!
//! Without a command and without `-f` a copy of the process goes into the background and serves, and the first one waits
//! until the last thing is done that can fail: interface, addresses, routes and every port that was named. Its status is
//! what callers take for readiness. Then the copy lets go of the caller's streams, for a caller may wait for their end.
//!
//! Order of a start: every file that has a path; whatever needs a single thread (the copy, the command's namespaces, the
//! outpost), and of that the file system's end last; then runtime, data plane and ports; then less privilege, the PID
//! file, readiness, and few system calls. Files that go with us the outpost removes, for it can still see them.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::wait::waitpid;
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout, setsid};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Mutex;

use super::banner::banner;
use super::config;
use super::control::{Control, Listener};
use super::facts::{self, Names};
use super::local::Locals;
use super::log::{self, LogFile};
use super::options::{Loudness, Options, Target};
use super::pid_file::PidFile;
use super::plan::{Facts, Plan, PlanError, plan};
use super::ports::{Harbour, ListenError, Ports};
use super::privilege::{self, PrivilegeError};
use super::scan::Scanner;
use super::sieve::{Holes, Recorder, Sieve};
use super::table::{Table, TableError};
use super::target::{self, Life, Served, TargetError, description};
use crate::compat::confine::{Cell, ConfineError};
use crate::compat::mooring::{self, Mooring};
use crate::compat::print;
use crate::helper::driver::Apart;
use crate::netns::line::LineError;
use crate::netns::outpost::{self, Garrison, SocketTables};
use crate::netns::{HostView, Refusal};
use crate::sys::tun::Attached;
use crate::sys::{code, descriptors, process};

/// Why it does not run.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Table(#[from] TableError),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Privilege(#[from] PrivilegeError),
    #[error("Couldn't read the host's addresses and routes: {0}")]
    Facts(Refusal),
    #[error("{0}\nFailed to set up tap device in namespace")]
    Line(#[from] LineError),
    #[error("Couldn't open {what} file {}: {why}", path.display())]
    File {
        what: &'static str,
        path: PathBuf,
        why: &'static str,
    },
    #[error("Failed to bind UNIX domain socket: {0}")]
    Socket(&'static str),
    #[error("{0}\nFailed to sandbox process, exiting")]
    Confine(#[from] ConfineError),
    #[error("The system refused: {0}")]
    System(#[from] io::Error),
}

/// Starts to serve, and returns when that is over, or goes on in the background.
pub fn start(options: &Options) -> ExitCode {
    for remark in &options.remarks {
        print::err(&format!("{remark}\n"));
    }
    // Descriptors that somebody left open are nobody's business here.
    let _ = descriptors::close_inherited(&[]);
    if options.foreground || matches!(options.target, Target::Command(_)) {
        return ExitCode::from(live(options, None));
    }
    let (child, mut report) = match process::spawn_copy(|report| live(options, Some(report))) {
        Ok(copied) => copied,
        Err(error) => return print::err(&format!("Failed to go into the background: {error}\n")),
    };
    let mut word = [0];
    if report.read_exact(&mut word).is_ok() {
        return ExitCode::SUCCESS;
    }
    // It has said why.
    let _ = waitpid(child, None);
    ExitCode::FAILURE
}

/// The status with which it ends. `report` is told that it serves.
fn live(options: &Options, report: Option<UnixStream>) -> u8 {
    serve(options, report).unwrap_or_else(|error| {
        print::err(&format!("{error}\n"));
        1
    })
}

fn serve(options: &Options, report: Option<UnixStream>) -> Result<u8, RunError> {
    log::begin(options.loudness, log_file(options)?);
    tracing::info!("pasta {}, process {}", env!("CARGO_PKG_VERSION"), std::process::id());
    let mut pid_file = options.pid_file.as_deref().map(pid_file).transpose()?;
    let runas = privilege::choose(options.runas.as_deref())?;
    let names = Names::of_host();
    let view = look_at_host()?;
    let plan = plan(
        options,
        Facts {
            view: &view,
            nameservers: &names.servers,
            ephemeral: facts::ephemeral_ports(),
        },
    )?;
    let table = Table::default().after(&plan.steps)?;
    let host = Scanner::new(facts::socket_tables());
    let Served { userns, netns, life } = target::find(options)?;
    // After the command, which keeps what it was given.
    mooring::raise_descriptor_limit();
    if report.is_some() {
        // EPERM: we lead a group already, which does as well.
        let _ = setsid();
    }
    let control = control(options)?;
    let recorder = recorder(options);
    let last = LastOpened::open();
    let traces = (
        pid_file.as_ref().map(PidFile::trace),
        control.as_ref().map(Control::trace),
    );
    let farewell = || {
        if let Some(pid_file) = traces.0 {
            pid_file.remove();
        }
        if let Some(socket) = traces.1 {
            socket.remove();
        }
    };
    let privilege = userns.as_ref().map(OwnedFd::try_clone).transpose()?;
    let outpost = config::outpost(options, &plan);
    let (line, inside, garrison) = outpost::establish(&outpost, userns, netns, farewell)?;
    // Whatever follows, these end after everything else. The interface last of all: removing it takes the kernel far
    // longer than giving ports back, and whoever starts the container again wants those.
    let _interface = line.as_ref().map(|line| line.fd.try_clone()).transpose()?;
    let _recall = garrison.recall()?;
    let cell = Cell {
        resolver_file: config::reads_resolver_file(&plan),
        another_user: runas.is_some(),
        may_chroot: options.chroot_fallback,
    };
    cell.enter(privilege)?;
    let start = Start {
        options,
        plan: &plan,
        names: &names,
        table,
        host,
        recorder,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut signals = Signals::listen(matches!(life, Life::Command(_)))?;
        let requests = control.as_ref().map(Control::listener).transpose()?;
        let Running { ports, mooring } = start.moor(line, inside, garrison).await?;
        if let Some(runas) = runas {
            privilege::become_them(runas)?;
        }
        if let Some(file) = &mut pid_file {
            file.write()?;
        }
        start.say(&ports);
        let ports = Arc::new(Mutex::new(ports));
        let in_background = report.is_some();
        if let Some(mut report) = report {
            // Nobody waits any more: then nobody is to be served, as whoever started us is gone.
            report.write_all(b"1")?;
        }
        let life = settle(life, in_background, last)?;
        tokio::select! {
            status = life.over() => Ok(status),
            () = signals.any() => Ok(0),
            () = lost(mooring.as_ref()) => {
                tracing::warn!("the interface in the namespace is gone");
                Ok(0)
            }
            () = follow(&ports) => Ok(0),
            () = asked(requests.as_ref(), &ports) => Ok(0),
        }
    })
}

/// What a start knows.
struct Start<'o> {
    options: &'o Options,
    plan: &'o Plan,
    names: &'o Names,
    table: Table,
    host: Scanner,
    recorder: Option<File>,
}

/// What it comes to.
struct Running {
    ports: Ports,
    mooring: Option<Mooring>,
}

impl Start<'_> {
    /// Data plane and ports.
    async fn moor(
        &self,
        line: Option<Attached>,
        inside: SocketTables,
        garrison: Garrison,
    ) -> Result<Running, RunError> {
        let options = self.options;
        let mooring = line
            .map(|line| {
                let settings = config::settings(options, self.plan, self.names);
                Mooring::start_over(settings, line, |line| {
                    let line = match self.recorder.as_ref().and_then(|file| file.try_clone().ok()) {
                        Some(file) => Recorder::over(line, file),
                        None => line,
                    };
                    Sieve::over(line, Holes::of(options))
                })
            })
            .transpose()?;
        let outpost = garrison.open()?;
        let guest = config::guest(self.plan);
        // Without an interface there is nothing else to be led to.
        let to_loopback = options.host_lo_to_ns_lo || options.splice_only;
        let locals = (!options.no_splice).then(|| {
            let (apart, clients) = Apart::channel();
            let locals = Locals::serve(outpost.clone(), guest, to_loopback, clients);
            (apart, locals)
        });
        let mut ports = Ports::new(Harbour {
            mooring: mooring.clone(),
            outpost,
            locals,
            guest,
            free: options.freebind,
            has_ipv6: crate::host::listen::has_ipv6() && options.wants_v6(),
            inside: Scanner::new(inside),
            host: self.host.try_clone()?,
        });
        ports.apply(self.table.clone()).await?;
        Ok(Running { ports, mooring })
    }

    fn say(&self, ports: &Ports) {
        let options = self.options;
        let wanted = options.loudness != Loudness::Quiet && !matches!(options.target, Target::Command(_));
        if wanted {
            let mac = config::mac(options);
            let told = config::told(options, self.plan, self.names);
            print::err(&banner(options, self.plan, &told, mac, ports.table()));
        }
    }
}

/// What is opened while there are files.
struct LastOpened {
    null: Option<File>,
    maps: Option<File>,
}

impl LastOpened {
    fn open() -> Self {
        Self {
            null: File::options().read(true).write(true).open("/dev/null").ok(),
            maps: File::open("/proc/self/maps").ok(),
        }
    }
}

/// The last things before it is left alone.
fn settle(mut life: Life, in_background: bool, last: LastOpened) -> Result<Life, RunError> {
    if let Some(null) = last.null.filter(|_| in_background) {
        // Whoever waits for the end of a stream is not kept.
        let _ = dup2_stdin(&null)
            .and_then(|()| dup2_stdout(&null))
            .and_then(|()| dup2_stderr(&null));
    }
    // As the original: neither core nor descriptors are anybody's but root's.
    let _ = nix::sys::prctl::set_dumpable(false);
    if let Life::Command(command) = &mut life {
        command.go();
    }
    Cell::forbid_system_calls()?;
    if let Some(Err(error)) = last.maps.map(code::forget_listed) {
        tracing::debug!(%error, "what only the start needed stays mapped");
    }
    Ok(life)
}

/// Follows what listens, as long as a rule says so; until then it sleeps.
async fn follow(ports: &Mutex<Ports>) {
    let changed = ports.lock().await.changed();
    loop {
        if !ports.lock().await.follows() {
            changed.notified().await;
            continue;
        }
        tokio::time::sleep(SCAN_PERIOD).await;
        let mut ports = ports.lock().await;
        if ports.follows() {
            ports.follow().await;
        }
    }
}

async fn asked(requests: Option<&Listener>, ports: &Arc<Mutex<Ports>>) {
    match requests {
        Some(requests) => requests.serve(Arc::clone(ports)).await,
        None => std::future::pending().await,
    }
}

async fn lost(mooring: Option<&Mooring>) {
    match mooring {
        Some(mooring) => mooring.ended().await,
        None => std::future::pending().await,
    }
}

fn look_at_host() -> Result<HostView, RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(HostView::gather()).map_err(RunError::Facts)
}

fn control(options: &Options) -> Result<Option<Control>, RunError> {
    let bound = options.conf_path.as_deref().map(Control::bind).transpose();
    bound.map_err(|error| RunError::Socket(description(&error)))
}

fn log_file(options: &Options) -> Result<Option<LogFile>, RunError> {
    let Some(path) = options.log_file.as_deref() else {
        return Ok(None);
    };
    let size = options.log_size.unwrap_or(log::DEFAULT_SIZE);
    let opened = LogFile::create(path, size).map_err(|error| file_error("log", path, &error));
    opened.map(Some)
}

fn pid_file(path: &Path) -> Result<PidFile, RunError> {
    PidFile::open(path).map_err(|error| file_error("PID", path, &error))
}

/// Whoever can't record serves all the same.
fn recorder(options: &Options) -> Option<File> {
    let path = options.pcap.as_deref()?;
    let created = Recorder::create(path);
    if let Err(error) = &created {
        let why = description(error);
        print::err(&format!("Couldn't open pcap file {}: {why}\n", path.display()));
    }
    created.ok()
}

fn file_error(what: &'static str, path: &Path, error: &io::Error) -> RunError {
    RunError::File {
        what,
        path: path.to_owned(),
        why: description(error),
    }
}

/// The signals that end it well; with a command in the foreground, those of the terminal are the command's alone.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    of_command: bool,
}

impl Signals {
    fn listen(of_command: bool) -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            of_command,
        })
    }

    async fn any(&mut self) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => {}
                _ = self.quit.recv() => {}
            }
            if !self.of_command {
                return;
            }
        }
    }
}

/// As often as the original looks.
const SCAN_PERIOD: Duration = Duration::from_secs(1);
