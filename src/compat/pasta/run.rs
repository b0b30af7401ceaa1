//! The life of one: from its options to serving, and back to nothing.
//!
//! Without a command and without `-f` a copy of the process goes into the background and serves, and the first one waits
//! until the last thing is done that can fail: interface, addresses, routes and every port that was named. Its status is
//! what callers take for readiness: it says to the copy that it is going to end well, which nothing but SIGKILL can change
//! any more, and without that word nobody is served. Then the copy lets go of the caller's streams, for a caller may wait
//! for their end.
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

use nix::sys::signal::{Signal, raise};
use nix::sys::wait::waitpid;
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout, setsid};
use tokio::signal::unix::{self, SignalKind, signal};
use tokio::sync::Mutex;

use super::banner::banner;
use super::command::Hearing;
use super::config;
use super::control::{Control, Listener, Trace};
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
use crate::netns::outpost::{self, Chores, Garrison, SocketTables};
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
    if report.read_exact(&mut [0]).is_ok() && process::hold_signals().is_ok() && report.write_all(b"1").is_ok() {
        return ExitCode::SUCCESS;
    }
    drop(report);
    // It has said why.
    let _ = waitpid(child, None);
    ExitCode::FAILURE
}

/// The status with which it ends. `report` is told that it serves.
fn live(options: &Options, report: Option<UnixStream>) -> u8 {
    match serve(options, report) {
        Ok(End::Status(status)) => status,
        Ok(End::Interrupted) => {
            // By it, so that a shell that waits for us gives up, too.
            process::default_signals();
            let _ = raise(Signal::SIGINT);
            1
        }
        Err(error) => {
            print::err(&format!("{error}\n"));
            1
        }
    }
}

/// How it ends when nothing has failed.
enum End {
    Status(u8),
    /// By the terminal's signal, as the original, which does not catch it.
    Interrupted,
}

fn serve(options: &Options, report: Option<UnixStream>) -> Result<End, RunError> {
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
    let Served {
        userns,
        netns,
        mut life,
    } = target::find(options)?;
    // After the command, which keeps what it was given.
    mooring::raise_descriptor_limit();
    let in_background = report.is_some();
    if in_background {
        // EPERM: we lead a group already, which does as well.
        let _ = setsid();
        process::ignore(&DEAF_TO);
    }
    let control = control(options)?;
    let recorder = recorder(options);
    let last = LastOpened::open();
    let files = Files {
        pid_file: pid_file.as_mut(),
        socket: control.as_ref().map(Control::trace),
    };
    // In one without users nobody can make a folder: there is one of our own for that.
    let shelter = userns.as_ref().filter(|_| target::has_users(options));
    let shelter = shelter.map(OwnedFd::try_clone).transpose()?;
    let outpost = config::outpost(options, &plan);
    let (line, inside, garrison) = outpost::establish(&outpost, userns, netns, files)?;
    // Whatever follows, these end after everything else. The interface last of all: removing it takes the kernel far
    // longer than giving ports back, and whoever starts the container again wants those.
    let _interface = line.as_ref().map(|line| line.fd.try_clone()).transpose()?;
    let _recall = garrison.recall()?;
    let cell = Cell {
        resolver_file: config::reads_resolver_file(&plan),
        another_user: runas.is_some(),
        may_chroot: options.chroot_fallback,
    };
    cell.enter(shelter)?;
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
        let mut signals = Signals::listen(&mut life, in_background)?;
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
        if let Some(mut report) = report
            && let Err(error) = report.write_all(b"1").and_then(|()| report.read_exact(&mut [0]))
        {
            // Whoever started us has seen another end: then nobody is to be served.
            tracing::info!(%error, "nobody waits any more");
            return Ok(End::Status(1));
        }
        let life = settle(life, in_background, last)?;
        tokio::select! {
            status = life.over() => Ok(End::Status(status)),
            end = signals.any() => Ok(end),
            () = lost(mooring.as_ref()) => {
                tracing::warn!("the interface in the namespace is gone");
                Ok(End::Status(0))
            }
            () = follow(&ports) => Ok(End::Status(0)),
            () = asked(requests.as_ref(), &ports) => Ok(End::Status(0)),
        }
    })
}

/// The files that go with us, in the outpost's hands.
struct Files<'f> {
    pid_file: Option<&'f mut PidFile>,
    socket: Option<Trace>,
}

impl Chores for Files<'_> {
    fn arrive(&mut self) {
        if let Some(file) = &mut self.pid_file {
            file.close();
        }
    }

    fn settle(&mut self) -> io::Result<()> {
        Cell::forbid_system_calls_but_removing().map_err(io::Error::other)
    }

    fn leave(&mut self) {
        if let Some(file) = &self.pid_file {
            file.remove();
        }
        if let Some(socket) = &self.socket {
            socket.remove();
        }
    }
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

/// The signals that end it well; with a command in the foreground, those of the terminal are the command's, if it hears of
/// them.
struct Signals {
    terminate: unix::Signal,
    /// None in the background, where it is nobody's.
    interrupt: Option<unix::Signal>,
    quit: unix::Signal,
    command: Option<Hearing>,
}

impl Signals {
    fn listen(life: &mut Life, in_background: bool) -> io::Result<Self> {
        let interrupt = (!in_background).then(|| signal(SignalKind::interrupt()));
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: interrupt.transpose()?,
            quit: signal(SignalKind::quit())?,
            command: match life {
                Life::Command(command) => Some(command.hearing()),
                Life::Process(_) | Life::Path(_) | Life::Unbound => None,
            },
        })
    }

    async fn any(&mut self) -> End {
        loop {
            let signal = tokio::select! {
                _ = self.terminate.recv() => return End::Status(0),
                () = heard(self.interrupt.as_mut()) => Signal::SIGINT,
                _ = self.quit.recv() => Signal::SIGQUIT,
            };
            match &self.command {
                None => return End::Status(0),
                Some(command) if !command.misses(signal) => {}
                // It ends with us.
                Some(_) if signal == Signal::SIGINT => return End::Interrupted,
                Some(_) => return End::Status(0),
            }
        }
    }
}

async fn heard(signal: Option<&mut unix::Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// What does not end it in the background, with a container's network. The original is the first process of a namespace
/// there, which lives through all that it does not handle (pid_namespaces(7)).
const DEAF_TO: [Signal; 5] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGALRM,
];

/// As often as the original looks.
const SCAN_PERIOD: Duration = Duration::from_secs(1);
