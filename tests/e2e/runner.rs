//! The runner outside the cases' hosts: makes each host, waits for its case within a time limit, shows what went wrong.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, geteuid};

use crate::Case;
use crate::host::Host;
use crate::process::{now, pause};
use crate::verdict::{Outcome, Trouble};

/// First argument of process 1 of a host.
pub(crate) const INIT: &str = "--init";
/// First argument of the process that runs the case.
pub(crate) const CASE: &str = "--case";

/// Runs the cases that the command line selects, each on a host of its own.
pub(crate) fn run(cases: &[Case]) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    let shared = match shared_folder() {
        Ok(folder) => folder,
        Err(trouble) => {
            println!("error: no folder for the tests under /tmp: {trouble:?}");
            return ExitCode::FAILURE;
        }
    };
    let again = Again::from_environment();
    let trials = cases
        .iter()
        .map(|(name, _)| trial(name, shared.path(), Arc::clone(&again)))
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Process 1 of a host: starts the case, buries orphans as an init does, ends with the case's code.
pub(crate) fn init(arguments: &[String]) -> ExitCode {
    let Ok(case) = Command::new("/proc/self/exe").arg(CASE).args(arguments).spawn() else {
        return ExitCode::from(FAILED);
    };
    let Ok(case) = i32::try_from(case.id()) else {
        return ExitCode::from(FAILED);
    };
    loop {
        match waitpid(None, None) {
            Ok(WaitStatus::Exited(pid, code)) if pid == Pid::from_raw(case) => {
                return ExitCode::from(u8::try_from(code).unwrap_or(FAILED));
            }
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == Pid::from_raw(case) => {
                println!("the case was killed by {signal}");
                return ExitCode::from(FAILED);
            }
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(_) => return ExitCode::from(FAILED),
        }
    }
}

/// Runs one case on the host that it finds itself on, then takes everything down and fails it for what is left.
pub(crate) fn case(arguments: &[String], cases: &[Case]) -> ExitCode {
    let [name, work] = arguments else {
        return ExitCode::from(FAILED);
    };
    let Some((_, body)) = cases.iter().find(|(known, _)| short(known) == name) else {
        return ExitCode::from(FAILED);
    };
    let outcome = on_host(Path::new(work), *body);
    let _ = std::io::stdout().flush();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Trouble::Failed(text)) => {
            println!("\nFAILED: {text}");
            ExitCode::from(FAILED)
        }
        Err(Trouble::Impossible(reason)) => {
            let written = fs::write(Path::new(work).join(REASON), reason);
            ExitCode::from(if written.is_ok() { IMPOSSIBLE } else { FAILED })
        }
    }
}

fn on_host(work: &Path, body: fn(&Host) -> Outcome) -> Outcome {
    let host = Host::prepare(work)?;
    let outcome = body(&host);
    if matches!(outcome, Err(Trouble::Impossible(_))) {
        return outcome;
    }
    let left = host.take_down();
    if outcome.is_err() || left.is_err() {
        host.show_logs();
    }
    outcome.and(left)
}

/// One case as libtest-mimic wants it.
fn trial(name: &'static str, shared: &Path, again: Arc<Again>) -> Trial {
    let name = short(name);
    let shared = shared.to_owned();
    Trial::ignorable_test(name, move || match play(name, &shared) {
        Err(failed) if again.permits() => {
            let why = failed.message().unwrap_or_default();
            println!("again: {name} failed, and is played once more:\n{why}");
            play(name, &shared)
        }
        played => played,
    })
}

/// How many failed cases may still be played once more. None, unless [`AGAIN`] says so: a gate that has to decide alone
/// is not to be stopped by one moment of a busy machine, and whoever works on the code wants to see each of them.
struct Again(AtomicU32);

impl Again {
    fn from_environment() -> Arc<Self> {
        let most = std::env::var(AGAIN).ok().and_then(|most| most.parse().ok());
        Arc::new(Self(AtomicU32::new(most.unwrap_or(0))))
    }

    fn permits(&self) -> bool {
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
            .is_ok()
    }
}

/// Makes the host, waits for the case, removes its files.
fn play(name: &str, shared: &Path) -> Result<Completion, Failed> {
    let work = tempfile::Builder::new().prefix("case-").tempdir_in(shared)?;
    fs::set_permissions(work.path(), fs::Permissions::from_mode(0o755))?;
    let transcript = work.path().join(TRANSCRIPT);
    let limit = if ["bulk::", "scale::", "uplinks::"]
        .iter()
        .any(|long| name.starts_with(long))
    {
        LONG_LIMIT
    } else {
        LIMIT
    };
    let status = unshared(name, work.path(), &File::create(&transcript)?, limit)?;
    let code = status.and_then(|status| status.code());
    match code.and_then(|code| u8::try_from(code).ok()) {
        Some(0) => Ok(Completion::Completed),
        Some(IMPOSSIBLE) => Ok(Completion::ignored_with(fs::read_to_string(work.path().join(REASON))?)),
        _ => {
            let transcript = fs::read_to_string(&transcript).unwrap_or_default();
            if let Some(reason) = no_namespaces(&transcript) {
                return Ok(Completion::ignored_with(reason));
            }
            let end = status.map_or(format!("not done after {limit:?}: killed"), |status| status.to_string());
            Err(format!("{transcript}\n[{end}]").into())
        }
    }
}

/// The case in its namespaces; `None` when it took too long and was killed with all its processes.
fn unshared(name: &str, work: &Path, transcript: &File, limit: Duration) -> Result<Option<ExitStatus>, Failed> {
    let mut command = Command::new("unshare");
    if !geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    let mut child = command
        .args([
            "--net",
            "--mount",
            "--ipc",
            "--pid",
            "--fork",
            "--kill-child=KILL",
            "--mount-proc",
            "--",
        ])
        .arg(std::env::current_exe()?)
        .args([INIT, name])
        .arg(work)
        .stdin(Stdio::null())
        .stdout(transcript.try_clone()?)
        .stderr(transcript.try_clone()?)
        .spawn()
        .map_err(|error| format!("`unshare` of util-linux is needed: {error}"))?;
    let deadline = now() + limit;
    while now() < deadline {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        pause(Duration::from_millis(10));
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}

/// Why this machine does not let the caller make a host, if that is what happened.
fn no_namespaces(transcript: &str) -> Option<String> {
    let line = transcript.lines().next().filter(|line| line.starts_with("unshare: "))?;
    Some(format!(
        "no namespaces here ({line}): see user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns"
    ))
}

/// A folder that every user may enter, with a copy of the binary that every user may run (the build folder may be
/// below one that is closed to others).
fn shared_folder() -> Result<tempfile::TempDir, Trouble> {
    let folder = tempfile::Builder::new().prefix("gangplank-e2e-").tempdir_in("/tmp")?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
    let binary = binary(folder.path());
    fs::copy(env!("CARGO_BIN_EXE_gangplank"), &binary)?;
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755))?;
    Ok(folder)
}

/// Where the copy of the binary is, seen from the shared folder.
pub(crate) fn binary(shared: &Path) -> PathBuf {
    shared.join("gangplank")
}

fn short(name: &str) -> &str {
    name.strip_prefix("e2e::").unwrap_or(name)
}

/// Cases at a time: each has its own kernel objects, and most of them wait most of the time.
const THREADS: usize = 2;
/// Time of one case; the slowest ordinary one needs a tenth of it where nothing else runs.
const LIMIT: Duration = Duration::from_secs(180);
/// Time of one case that moves a gibibyte or hundreds of containers, in a build without optimization.
const LONG_LIMIT: Duration = Duration::from_secs(600);
/// Exit codes of a case, between `--case` and the runner only.
const FAILED: u8 = 1;
const IMPOSSIBLE: u8 = 77;
/// Environment variable: so many failed cases of a run are played once more; each is shown, on a line with `again:`.
const AGAIN: &str = "GANGPLANK_E2E_AGAIN";
/// Files in a case's folder.
const TRANSCRIPT: &str = "transcript";
const REASON: &str = "reason";
