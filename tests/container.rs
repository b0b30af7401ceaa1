//! Real commands in real namespaces, as an unprivileged user, with everything but the helper.
//!
//! The code under test starts copies of its own binary, forks, and changes its signal mask, none of which suits a
//! test harness with threads. So this binary has personalities like gangplank's own, chosen before `main`: `init` and
//! `monitor` are the real ones, `driver` is a command line without a network. The agent is an `unshare -Ur sleep`; the
//! "helper" appends what it is asked to a file.

#![expect(
    clippy::unwrap_used,
    clippy::unwrap_in_result,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::exit,
    reason = "all of it is test code; the driver's output and exit code are a command line's"
)]
#![expect(
    unsafe_code,
    reason = "a constructor in .init_array chooses the personality before the harness starts"
)]

use std::error::Error;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::Duration;

use gangplank::api::types::Created;
use gangplank::container::exec::Exec;
use gangplank::container::{Helper, Job, RunError, exec, init, monitor};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

#[test]
fn the_exit_code_is_the_commands() {
    let host = Host::new();
    for (command, code) in [
        (&["true"][..], 0),
        (&["sh", "-c", "exit 7"], 7),
        (&["sh", "-c", "kill -TERM $$"], 143),
        (&["sh", "-c", "kill -KILL $$"], 137),
        (&["/etc/passwd"], 126),
        (&["/etc"], 126),
        (&["no-such-command"], 127),
        (&["/no/such/command"], 127),
        (&[""], 127),
    ] {
        let output = host.run(command);
        assert_eq!(output.status.code(), Some(code), "{command:?}: {output:?}");
        assert_eq!(host.events().last(), Some(&format!("exited {code}")), "{command:?}");
        let lines = text(&output.stderr).lines().count();
        assert_eq!(
            lines,
            usize::from(code == 126 || code == 127),
            "{command:?}: {output:?}"
        );
    }
}

#[test]
fn a_path_that_cannot_be_searched_is_not_found_rather_than_forbidden() {
    let host = Host::new();
    let mut job = host.job(&["no-such-command"]);
    job.env = vec!["PATH=/root:/usr/bin:/bin".to_owned()];
    assert_eq!(host.drive("run", &job).output().unwrap().status.code(), Some(127));
}

#[test]
fn the_container_has_its_own_names() {
    let host = Host::new();
    assert_eq!(text(&host.run(&["cat", "/etc/hosts"]).stdout), HOSTS);
    assert_eq!(text(&host.run(&["cat", "/etc/resolv.conf"]).stdout), RESOLV_CONF);
    assert_eq!(text(&host.run(&["uname", "-n"]).stdout), "ship\n");
    assert_eq!(
        text(&host.run(&["sh", "-c", "echo $HOSTNAME; id -u; id -g"]).stdout),
        "ship\n0\n0\n"
    );
    assert_ne!(
        fs::read_to_string("/etc/hosts").unwrap(),
        HOSTS,
        "the host's file was changed"
    );
    // It is the container's to write, as Docker has it.
    let output = host.run(&["sh", "-c", "echo 10.0.0.9 other >> /etc/hosts && tail -n 1 /etc/hosts"]);
    assert_eq!(text(&output.stdout), "10.0.0.9 other\n", "{output:?}");
}

#[test]
fn files_that_the_host_lacks_are_there_all_the_same() {
    let host = Host::new();
    // A host whose /etc/resolv.conf leads nowhere and which has no /etc/hosts.
    let script = format!(
        "mount -t tmpfs none /etc && ln -s /run/nowhere /etc/resolv.conf && echo kept > /etc/other
         unshare -Ur sleep 1000 </dev/null >/dev/null 2>&1 & agent=$!
         for i in $(seq 200); do grep -q sleep /proc/$agent/comm && break; sleep 0.02; done
         AGENT=$agent {} driver run '{}' cat /etc/hosts /etc/resolv.conf /etc/other; code=$?
         kill $agent; exit $code",
        host.program(),
        serde_json::to_string(&Spec::of(&host, &host.job(&[]))).unwrap(),
    );
    let output = unprivileged("unshare")
        .args(["-Urm", "sh", "-c", &script])
        .output()
        .unwrap();
    assert_eq!(
        text(&output.stdout),
        format!("{HOSTS}{RESOLV_CONF}kept\n"),
        "{output:?}"
    );
}

#[test]
fn the_helpers_directory_is_hidden_for_good() {
    let host = Host::new();
    fs::write(host.hidden().join("api.sock"), "secret").unwrap();
    let hidden = host.hidden();
    let hidden = hidden.to_str().unwrap();
    assert_eq!(text(&host.run(&["ls", "-A", hidden]).stdout), "");
    for attempt in [
        format!("umount {hidden}; cat {hidden}/api.sock"),
        format!("umount -l {hidden}; cat {hidden}/api.sock"),
        format!("unshare -m sh -c 'umount {hidden}; cat {hidden}/api.sock'"),
        format!(
            "mkdir /tmp/x$$; mount --bind $(dirname {hidden}) /tmp/x$$; cat /tmp/x$$/hidden/api.sock; rmdir /tmp/x$$"
        ),
        format!("touch {hidden}/mine && echo secret"),
        "cat api.sock".to_owned(),
    ] {
        let job = host.job(&["sh", "-c", &attempt]);
        let output = host.drive("run", &job).current_dir(hidden).output().unwrap();
        assert_eq!(text(&output.stdout), "", "{attempt}: {output:?}");
    }
}

#[test]
fn the_command_starts_clean() {
    let host = Host::new();
    let job = host.job(&[
        "sh",
        "-c",
        "ls /proc/self/fd | tr '\\n' ' '; grep -E 'NoNewPrivs|SigBlk|SigIgn' /proc/self/status; env",
    ]);
    let script = "exec 10</etc/passwd 251</etc/passwd; trap '' INT QUIT; exec \"$0\" \"$@\"";
    let mut shell = unprivileged("bash");
    let mut inner = host.drive("run", &job);
    shell.args(["-c", script]).arg(host.program()).args(inner.get_args());
    let output = shell
        .env("GANGPLANK_NETWORK", "gp7")
        .env("SEEN", "yes")
        .output()
        .unwrap();
    let seen = text(&output.stdout);
    assert!(seen.starts_with("0 1 2 3 "), "the 3 is ls's own: {seen}");
    assert_eq!(
        seen.lines().next().unwrap().split(' ').count(),
        5,
        "stray descriptors: {seen}"
    );
    for line in [
        "NoNewPrivs:\t1",
        "SigBlk:\t0000000000000000",
        "SEEN=yes",
        "HOSTNAME=ship",
    ] {
        assert!(seen.contains(line), "no {line:?} in {seen}");
    }
    let ignored = seen.lines().find_map(|line| line.strip_prefix("SigIgn:\t")).unwrap();
    // The two that the C library keeps for itself, 32 and 33, are as they were inherited.
    assert_eq!(u64::from_str_radix(ignored, 16).unwrap() & !(0b11 << 31), 0, "{seen}");
    assert!(!seen.contains("GANGPLANK_"), "{seen}");
    inner.env("K", "old");
    let mut job = host.job(&["sh", "-c", "echo $K $EMPTY.; pwd"]);
    (job.env, job.workdir) = (vec!["K=a=b".to_owned(), "EMPTY=".to_owned()], Some("/usr".into()));
    assert_eq!(
        text(&host.drive("run", &job).env("K", "old").output().unwrap().stdout),
        "a=b .\n/usr\n"
    );
    job.workdir = Some("/no/such/place".into());
    let output = host.drive("run", &job).output().unwrap();
    assert_eq!(output.status.code(), Some(125), "{output:?}");
    assert!(
        text(&output.stderr).contains("working directory /no/such/place"),
        "{output:?}"
    );
}

#[test]
fn root_inside_is_nobody_for_the_network() {
    let host = Host::new();
    // The network's user namespace is the parent: neither joining nor signalling by capability works from below.
    let attempt = format!(
        "nsenter -t {0} -U true || nsenter -t {0} -n true || ls /proc/{0}/root/",
        host.agent.0.id()
    );
    let output = host.run(&["sh", "-c", &attempt]);
    assert_ne!(output.status.code(), Some(0), "{output:?}");
    let output = host.run(&[
        "readlink",
        "/proc/self/ns/net",
        "/proc/self/ns/user",
        "/proc/self/ns/mnt",
        "/proc/self/ns/uts",
    ]);
    let inside = text(&output.stdout);
    for (kind, inside) in ["net", "user", "mnt", "uts"].iter().zip(inside.lines()) {
        for pid in ["self".to_owned(), host.agent.0.id().to_string()] {
            let outside = fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
            assert_ne!(
                outside.to_str(),
                Some(inside),
                "the {kind} namespace of {pid} is shared"
            );
        }
    }
}

#[test]
fn a_refusal_of_the_helper_ends_it() {
    let host = Host::new();
    let mut job = host.job(&["sh", "-c", "echo ran"]);
    job.created.name = REFUSED.to_owned();
    let output = host.drive("run", &job).output().unwrap();
    assert_eq!(
        (output.status.code(), text(&output.stdout).as_str()),
        (Some(125), ""),
        "{output:?}"
    );
    assert_eq!(text(&output.stderr), "the helper refuses\n");
    assert_eq!(host.events().last().unwrap(), "exited 125");
    assert!(host.gone_within(host.attached_pid(), 1000));
}

#[test]
fn a_network_that_is_gone_is_said() {
    let host = Host::new();
    let mut job = host.job(&["true"]);
    job.created.agent_pid = i32::MAX;
    let output = host.drive("run", &job).output().unwrap();
    assert_eq!(output.status.code(), Some(125), "{output:?}");
    assert!(text(&output.stderr).contains("network's user namespace"), "{output:?}");
}

#[test]
fn signals_are_passed_on() {
    let host = Host::new();
    let script = "trap 'exit 9' TERM; trap 'echo usr1' USR1; echo up; while :; do sleep 0.05; done";
    let mut driver = host
        .drive("run", &host.job(&["sh", "-c", script]))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(driver.stdout.take().unwrap());
    assert_eq!(line(&mut output), "up");
    kill(pid(&driver), Signal::SIGUSR1).unwrap();
    assert_eq!(line(&mut output), "usr1");
    kill(pid(&driver), Signal::SIGTERM).unwrap();
    assert_eq!(driver.wait().unwrap().code(), Some(9));
}

#[test]
fn a_killed_monitor_takes_the_command_along() {
    let host = Host::new();
    let mut driver = host.drive("run", &host.job(&["sh", "-c", "echo up; exec sleep 1000"]));
    let mut driver = driver.stdout(Stdio::piped()).spawn().unwrap();
    assert_eq!(line(&mut BufReader::new(driver.stdout.take().unwrap())), "up");
    driver.kill().unwrap();
    driver.wait().unwrap();
    assert!(host.gone_within(host.attached_pid(), 1000));
}

#[test]
fn what_the_command_left_behind_ends_with_it() {
    let host = Host::new();
    let script = "setsid sh -c 'trap \"\" TERM HUP; sleep 1000' >/dev/null 2>&1 & echo $!
                  (unshare -U sleep 1000 >/dev/null 2>&1 & echo $!); sleep 0.2; exit 3";
    let output = host.run(&["sh", "-c", script]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let left: Vec<i32> = text(&output.stdout).lines().map(|pid| pid.parse().unwrap()).collect();
    assert_eq!(left.len(), 2, "{output:?}");
    for pid in left {
        assert!(host.gone_within(pid, 200), "{pid} still runs");
    }
}

#[test]
fn exec_is_in_the_same_place() {
    let host = Host::new();
    let show =
        "readlink /proc/self/ns/net /proc/self/ns/user /proc/self/ns/mnt /proc/self/ns/uts; cat /etc/hosts; uname -n";
    let script = format!("{show}; echo up; exec sleep 1000");
    let mut driver = host
        .drive("run", &host.job(&["sh", "-c", &script]))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(driver.stdout.take().unwrap());
    let mut there = String::new();
    while !there.ends_with("up\n") {
        assert_ne!(output.read_line(&mut there).unwrap(), 0, "{there}");
    }
    let target = host.attached_pid();
    let exec = |command: &[&str]| {
        host.drive(&format!("exec={target}"), &host.job(command))
            .output()
            .unwrap()
    };
    assert_eq!(text(&exec(&["sh", "-c", &format!("{show}; echo up")]).stdout), there);
    assert_eq!(
        text(&exec(&["sh", "-c", "echo $HOSTNAME; id -u; pwd"]).stdout)
            .lines()
            .next(),
        Some("ship")
    );
    assert_eq!(exec(&["sh", "-c", "exit 7"]).status.code(), Some(7));
    assert_eq!(exec(&["no-such-command"]).status.code(), Some(127));
    // A daemon that exec left behind is the container's, and ends with it.
    let daemon = exec(&["sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 & echo $!"]);
    let daemon: i32 = text(&daemon.stdout).trim().parse().unwrap();
    assert!(!host.gone_within(daemon, 50));
    kill(Pid::from_raw(target), Signal::SIGTERM).unwrap();
    assert_eq!(driver.wait().unwrap().code(), Some(143));
    assert!(host.gone_within(daemon, 200));
    let output = exec(&["true"]);
    assert_eq!(output.status.code(), Some(125), "{output:?}");
    assert!(text(&output.stderr).contains("has ended"), "{output:?}");
    let host_process = host
        .drive(&format!("exec={}", std::process::id()), &host.job(&["id"]))
        .output()
        .unwrap();
    assert_eq!(
        host_process.status.code(),
        Some(125),
        "joined the host: {host_process:?}"
    );
}

#[test]
fn a_detached_command_outlives_its_command_line() {
    let host = Host::new();
    let script = "echo out; echo err >&2; ls /proc/self/fd | wc -l; sleep 0.5; exit 5";
    let output = host.drive("detach", &host.job(&["sh", "-c", script])).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(
        !host.events().iter().any(|event| event.starts_with("exited")),
        "it had ended before the answer"
    );
    let monitor: i32 = text(&output.stdout).trim().parse().unwrap();
    let command = host.attached_pid();
    let session = nix::unistd::getsid(Some(Pid::from_raw(command))).unwrap();
    assert_eq!(session.as_raw(), monitor, "the monitor leads its own session");
    assert!(host.gone_within(monitor, 3000));
    assert_eq!(host.events().last().unwrap(), "exited 5");
    assert_eq!(fs::read_to_string(host.log()).unwrap(), "out\nerr\n4\n");
}

#[test]
fn a_detached_command_that_cannot_start_is_said_at_once() {
    let host = Host::new();
    let output = host.drive("detach", &host.job(&["no-such-command"])).output().unwrap();
    assert_eq!(
        (output.status.code(), text(&output.stdout).as_str()),
        (Some(127), ""),
        "{output:?}"
    );
    assert_eq!(text(&output.stderr), "no-such-command: command not found\n");
    let mut refused = host.job(&["true"]);
    refused.created.name = REFUSED.to_owned();
    let output = host.drive("detach", &refused).output().unwrap();
    assert_eq!(
        (output.status.code(), text(&output.stderr).as_str()),
        (Some(125), "the helper refuses\n")
    );
}

#[test]
fn a_terminal_is_shared_as_one_job() {
    let script = "trap 'echo caught; exit 4' INT; echo up; while :; do sleep 0.05; done";
    let seen = on_a_terminal("both", &["sh", "-c", script]);
    assert_eq!(seen, "up\nstopped\ncontinued\ncaught\nexit 4\n");
}

#[test]
fn a_command_that_stops_itself_stops_the_job() {
    let seen = on_a_terminal("none", &["sh", "-c", "echo up; kill -STOP $$; echo on; exit 6"]);
    assert_eq!(seen, "up\nstopped\ncontinued\non\nexit 6\n");
}

#[test]
fn a_shell_that_dies_with_the_terminal_gives_it_back() {
    let seen = on_a_terminal("none", &["bash", "--norc", "-ic", "kill -KILL $$"]);
    assert!(seen.ends_with("exit 137\n") && !seen.contains("lost"), "{seen}");
}

/// What a terminal shows of a command in its foreground, with the keys Ctrl-Z and Ctrl-C pressed (`both`) or not.
fn on_a_terminal(keys: &str, command: &[&str]) -> String {
    let host = Host::new();
    let driver = host.drive("run", &host.job(command));
    let mut python = unprivileged("/usr/bin/python3");
    python
        .args(["-c", TERMINAL_SESSION, keys])
        .arg(host.program())
        .args(driver.get_args());
    let output = python.output().unwrap();
    assert!(output.stderr.is_empty(), "{output:?}");
    text(&output.stdout)
}

/// A shell's part, played by Python: a job in the foreground of a new terminal, which is continued when it stops and
/// must have the foreground when it ends.
const TERMINAL_SESSION: &str = r#"
import os, pty, select, signal, sys, time
pid, master = pty.fork()
if pid == 0:
    # A session leader's children are a job that the terminal can stop.
    job = os.fork()
    if job == 0:
        os.setpgid(0, 0)
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        os.tcsetpgrp(0, os.getpid())
        signal.signal(signal.SIGTTOU, signal.SIG_DFL)
        os.execv(sys.argv[2], sys.argv[2:])
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    while True:
        _, status = os.waitpid(job, os.WUNTRACED)
        if os.WIFSTOPPED(status):
            os.write(1, b"stopped\n")
            time.sleep(0.2)
            os.write(1, b"continued\n")
            os.killpg(job, signal.SIGCONT)
        else:
            if os.tcgetpgrp(0) != job: os.write(1, b"the terminal is lost\n")
            os.write(1, b"exit %d\n" % os.waitstatus_to_exitcode(status))
            os._exit(0)
def expect(word, seen=b"", until=time.monotonic() + 60):
    while word not in seen and time.monotonic() < until:
        if select.select([master], [], [], 0.1)[0]:
            try: data = os.read(master, 4096)
            except OSError: break
            seen += data
    return seen.replace(b"\r", b"").replace(b"^Z", b"").replace(b"^C", b"").decode()
out = ""
if sys.argv[1] == "both":
    out += expect(b"up"); time.sleep(0.2); os.write(master, b"\x1a")
    out += expect(b"continued"); time.sleep(0.2); os.write(master, b"\x03")
out += expect(b"exit")
out = "\n".join(l for l in out.split("\n") if l)
print(out)
"#;

/// An agent to hang containers under, and the directories of a network.
struct Host {
    agent: Agent,
    directory: tempfile::TempDir,
}

struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Host {
    fn new() -> Self {
        let directory = tempfile::tempdir_in("/tmp").unwrap();
        let agent = unprivileged("unshare").args(["-Ur", "sleep", "1000"]).spawn().unwrap();
        let agent = Agent(agent);
        let host = Self { agent, directory };
        fs::create_dir(host.hidden()).unwrap();
        for path in [host.directory.path(), &host.hidden()] {
            chown(path, Some(user()), Some(user())).unwrap();
        }
        let id = host.agent.0.id();
        let map = || fs::read_to_string(format!("/proc/{id}/uid_map")).unwrap_or_default();
        assert!(
            eventually(5000, || map().split_whitespace().last() == Some("1")),
            "no user namespace"
        );
        // The gid map follows, then unshare becomes sleep.
        assert!(eventually(5000, || fs::read_to_string(format!("/proc/{id}/comm"))
            .is_ok_and(|name| name == "sleep\n")));
        host
    }

    fn hidden(&self) -> PathBuf {
        self.directory.path().join("hidden")
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    fn job(&self, command: &[&str]) -> Job {
        let created = Created {
            id: "b9ffb0800ca5".to_owned(),
            name: "web".to_owned(),
            hostname: "ship".to_owned(),
            ip: [172, 17, 0, 2].into(),
            gateway: [172, 17, 0, 1].into(),
            agent_pid: i32::try_from(self.agent.0.id()).unwrap(),
            hosts: HOSTS.to_owned(),
            resolv_conf: RESOLV_CONF.to_owned(),
            variables: vec!["DB_NAME=/web/db".to_owned(), "OVER=link".to_owned()],
            log: self.log(),
            hidden: self.hidden(),
        };
        Job {
            created,
            command: command.iter().map(OsString::from).collect(),
            env: Vec::new(),
            workdir: None,
        }
    }

    fn run(&self, command: &[&str]) -> Output {
        self.drive("run", &self.job(command)).output().unwrap()
    }

    /// This very binary, as the driver.
    fn drive(&self, how: &str, job: &Job) -> Command {
        let mut command = unprivileged("/proc/self/exe");
        command
            .args(["driver", how, &serde_json::to_string(&Spec::of(self, job)).unwrap()])
            .args(&job.command);
        command.stdin(Stdio::null());
        command
    }

    /// A path of this binary that others may execute too.
    fn program(&self) -> String {
        let copy = self.directory.path().join("program");
        if !copy.exists() {
            fs::copy("/proc/self/exe", &copy).unwrap();
        }
        copy.to_str().unwrap().to_owned()
    }

    fn events(&self) -> Vec<String> {
        let events = fs::read_to_string(self.directory.path().join("events")).unwrap_or_default();
        events.lines().map(str::to_owned).collect()
    }

    fn attached_pid(&self) -> i32 {
        let events = self.events();
        let attached = events.iter().rev().find_map(|event| event.strip_prefix("attach "));
        attached.expect("nothing was attached").parse().unwrap()
    }

    fn gone_within(&self, pid: i32, milliseconds: u64) -> bool {
        eventually(milliseconds, || {
            // Who is nobody's child here may be a zombie for as long as process 1 likes.
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            status.is_empty() || status.contains("State:\tZ")
        })
    }
}

fn eventually(milliseconds: u64, mut check: impl FnMut() -> bool) -> bool {
    (0..=milliseconds / 10).any(|_| {
        let done = check();
        if !done {
            sleep(Duration::from_millis(10));
        }
        done
    })
}

/// As a user without rights, whoever runs the tests.
fn unprivileged(program: &str) -> Command {
    let mut command = Command::new(program);
    if nix::unistd::geteuid().is_root() {
        command.uid(user()).gid(user());
    }
    command.current_dir("/tmp");
    command
}

fn user() -> u32 {
    let own = nix::unistd::geteuid();
    if own.is_root() { 65534 } else { own.as_raw() }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn line(reader: &mut impl BufRead) -> String {
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap())
}

/// What the driver is told, as JSON.
#[derive(serde::Serialize, serde::Deserialize)]
struct Spec {
    created: Created,
    env: Vec<String>,
    workdir: Option<PathBuf>,
    events: PathBuf,
}

impl Spec {
    fn of(host: &Host, job: &Job) -> Self {
        Self {
            created: job.created.clone(),
            env: job.env.clone(),
            workdir: job.workdir.clone(),
            events: host.directory.path().join("events"),
        }
    }
}

/// A helper that writes down what it is asked, and refuses containers of one name.
struct Notes {
    events: File,
    refuses: bool,
}

impl Notes {
    fn open(context: &str) -> Result<Self, Box<dyn Error>> {
        let (events, name) = context.split_once('\n').ok_or("no context")?;
        Ok(Self {
            events: File::options().append(true).create(true).open(events)?,
            refuses: name == REFUSED,
        })
    }
}

impl Helper for Notes {
    fn attach(&mut self, pid: i32) -> Result<(), Box<dyn Error>> {
        writeln!(self.events, "attach {pid}")?;
        if self.refuses {
            Err("the helper refuses".into())
        } else {
            Ok(())
        }
    }

    fn exited(&mut self, code: u8) {
        writeln!(self.events, "exited {code}").unwrap();
    }
}

fn drive(mut arguments: impl Iterator<Item = OsString>) -> Result<u8, RunError> {
    let how = arguments.next().unwrap().into_string().unwrap();
    let mut spec: Spec = serde_json::from_str(arguments.next().unwrap().to_str().unwrap()).unwrap();
    if let Ok(agent) = std::env::var("AGENT") {
        spec.created.agent_pid = agent.parse().unwrap();
    }
    let context = format!("{}\n{}", spec.events.display(), spec.created.name);
    let job = Job {
        created: spec.created,
        command: arguments.collect(),
        env: spec.env,
        workdir: spec.workdir,
    };
    match how.as_str() {
        "run" => monitor::run(&job, &mut Notes::open(&context).unwrap()),
        "detach" => monitor::detach(&job, &context).map(|pid| {
            println!("{pid}");
            0
        }),
        _ => exec::exec(&Exec {
            pid: how.strip_prefix("exec=").unwrap().parse().unwrap(),
            hostname: job.created.hostname,
            command: job.command,
            env: job.env,
            workdir: job.workdir,
        }),
    }
}

extern "C" fn personality() {
    let mut arguments = std::env::args_os().skip(1);
    let code = match arguments.next().as_deref().and_then(std::ffi::OsStr::to_str) {
        Some("init") => init::main(arguments),
        Some("monitor") => monitor::detached_main(arguments, Notes::open),
        Some("driver") => drive(arguments).unwrap_or_else(|error| {
            eprintln!("{error}");
            error.code()
        }),
        _ => return,
    };
    std::process::exit(code.into())
}

#[used]
// SAFETY: the section holds pointers to functions that the C library calls once before main.
#[unsafe(link_section = ".init_array")]
static PERSONALITY: extern "C" fn() = personality;

const HOSTS: &str = "172.17.0.2\tship\n127.0.0.1\tlocalhost\n";
const RESOLV_CONF: &str = "nameserver 172.17.0.1\n";
const REFUSED: &str = "refused";
