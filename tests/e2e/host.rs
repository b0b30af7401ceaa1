//! The host of one case: a small machine with a user, seen from its root. `ground.sh` draws it.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::process::{PATIENCE, Program, Ran, finish, until, words};
use crate::verdict::{Outcome, Trouble, fail, holds};
use crate::{json, runner};

/// The host's address on the way out.
pub(crate) const HOST: &str = "198.51.100.1";
/// The machine outside, with a second address of its own and a third one for clients.
pub(crate) const OUTSIDE: &str = "198.51.100.2";
pub(crate) const OUTSIDE_TOO: &str = "198.51.100.3";
pub(crate) const CLIENT: &str = "198.51.100.77";
/// The same in IPv6.
pub(crate) const HOST6: &str = "2001:db8:51::1";
pub(crate) const OUTSIDE6: &str = "2001:db8:51::2";
pub(crate) const CLIENT6: &str = "2001:db8:51::77";

/// A host that is ready for `gangplank`.
#[derive(Debug)]
pub(crate) struct Host {
    work: PathBuf,
    /// How a command becomes the user's.
    user: Vec<String>,
    gangplank: PathBuf,
    machine: Machine,
    taps: bool,
    python: String,
    before: Footprint,
}

impl Host {
    /// Lays the ground and checks that this machine allows what the cases need.
    pub(crate) fn prepare(work: &Path) -> Outcome<Self> {
        let python = programs_are_there()?;
        for (name, text) in [
            ("ground.sh", include_str!("ground.sh")),
            ("peer.py", include_str!("peer.py")),
        ] {
            fs::write(work.join(name), text)?;
        }
        let root = maps_every_uid()?;
        let machine = Machine::wanted()?;
        let mut ground = Command::new("sh");
        ground
            .arg("-eu")
            .arg(work.join("ground.sh"))
            .arg(work)
            .arg(if root { UID } else { "0" })
            .args((machine == Machine::NoTun).then_some("no-tun"));
        finish(ground, LIMIT)?.ok()?;
        let Some(shared) = work.parent() else {
            fail!("a case's folder is in the shared one")
        };
        let mut host = Self {
            work: work.to_owned(),
            user: become_user(root, work),
            gangplank: runner::binary(shared),
            machine,
            taps: false,
            python,
            before: Footprint::default(),
        };
        host.machine_allows_it()?;
        host.before = Footprint::take(&host)?;
        Ok(host)
    }

    /// Runs `gangplank` as the user; the line is split at blanks.
    pub(crate) fn gangplank(&self, line: &str) -> Outcome<Ran> {
        self.gangplank_words(&words(line), LIMIT)
    }

    /// The same with the words as they are.
    pub(crate) fn gangplank_words(&self, words: &[impl AsRef<OsStr>], limit: Duration) -> Outcome<Ran> {
        let mut command = self.as_user(&self.gangplank.to_string_lossy());
        command.args(words);
        finish(command, limit)
    }

    /// Runs `gangplank` in the background.
    pub(crate) fn gangplank_start(&self, name: &str, line: &str) -> Outcome<Program> {
        let mut command = self.as_user(&self.gangplank.to_string_lossy());
        command.args(words(line));
        Program::start(command, self.log(name))
    }

    /// Runs a program as the user on the host.
    pub(crate) fn user(&self, line: &str) -> Outcome<Ran> {
        finish(self.as_user_line(line), LIMIT)
    }

    /// Starts a program as the user on the host; its output is called `name`.
    pub(crate) fn user_start(&self, name: &str, line: &str) -> Outcome<Program> {
        Program::start(self.as_user_line(line), self.log(name))
    }

    /// Runs a program on the machine outside.
    pub(crate) fn outside(&self, line: &str) -> Outcome<Ran> {
        finish(self.outside_line(line), LIMIT)
    }

    /// The same with a time limit of its own.
    pub(crate) fn outside_within(&self, limit: Duration, line: &str) -> Outcome<Ran> {
        finish(self.outside_line(line), limit)
    }

    /// Starts a program on the machine outside and waits until it is ready.
    pub(crate) fn outside_server(&self, name: &str, peer: &str) -> Outcome<Program> {
        let program = Program::start(self.outside_line(&self.peer(peer)), self.log(name))?;
        program.says("ready")?;
        Ok(program)
    }

    /// Starts a program of `peer.py` on the host's own loopback or addresses and waits until it is ready.
    pub(crate) fn host_server(&self, name: &str, peer: &str) -> Outcome<Program> {
        self.root_server(name, &self.peer(peer))
    }

    /// Starts a program of the case's root and waits until it is ready.
    pub(crate) fn root_server(&self, name: &str, line: &str) -> Outcome<Program> {
        let program = Program::start(self.root_line(line), self.log(name))?;
        program.says("ready")?;
        Ok(program)
    }

    /// Runs a program as the case's root on the host.
    pub(crate) fn root(&self, line: &str) -> Outcome<Ran> {
        finish(self.root_line(line), LIMIT)
    }

    /// The line that runs one of the programs of `peer.py`.
    pub(crate) fn peer(&self, line: &str) -> String {
        format!("{} -u {} {line}", self.python, self.work.join("peer.py").display())
    }

    /// The Python that every user can run.
    pub(crate) fn python(&self) -> &str {
        &self.python
    }

    /// The binary under test.
    pub(crate) fn binary(&self) -> String {
        self.gangplank.display().to_string()
    }

    /// A folder of the user's.
    pub(crate) fn home(&self) -> PathBuf {
        self.work.join("home")
    }

    /// The folder that everybody on this host may read.
    pub(crate) fn folder(&self) -> &Path {
        &self.work
    }

    /// `$XDG_RUNTIME_DIR/gangplank`.
    pub(crate) fn state(&self) -> PathBuf {
        self.work.join("run/gangplank")
    }

    /// Ends the case as impossible where all users are one: the caller's own, in a user namespace.
    pub(crate) fn needs_another_user(&self) -> Outcome {
        if maps_every_uid()? {
            return Ok(());
        }
        Err(Trouble::Impossible(
            "only root can run a case with two users".to_owned(),
        ))
    }

    /// Starts a detached container and waits until its command has said `ready`.
    pub(crate) fn container(&self, options: &str, name: &str, command: &str, ready: &str) -> Outcome<String> {
        let id = self
            .gangplank(&format!("run -d --name {name} {options} -- {command}"))?
            .ok()?;
        self.logged(name, ready)?;
        Ok(id)
    }

    /// Waits until `logs NAME` shows `text`.
    pub(crate) fn logged(&self, name: &str, text: &str) -> Outcome {
        until(PATIENCE, &format!("`logs {name}` shows {text:?}"), || {
            let ran = self.gangplank(&format!("logs {name}"))?;
            Ok(ran.stdout.contains(text) || ran.stderr.contains(text))
        })
    }

    /// What `network inspect` says about the network that commands make.
    pub(crate) fn network(&self, field: &str) -> Outcome<String> {
        let network = json::parse(&self.gangplank("network inspect gp0")?.ok()?)?;
        json::text(&network, field)
    }

    /// The address of a container.
    pub(crate) fn address(&self, name: &str) -> Outcome<String> {
        self.inspect(name, "{{ .NetworkSettings.IPAddress }}")
    }

    /// Its IPv6 address.
    pub(crate) fn address6(&self, name: &str) -> Outcome<String> {
        self.inspect(name, "{{ .NetworkSettings.GlobalIPv6Address }}")
    }

    /// Ends the case as impossible where the kernel has no IPv6.
    pub(crate) fn needs_ipv6(&self) -> Outcome {
        if Path::new("/proc/net/if_inet6").exists() {
            return Ok(());
        }
        Err(Trouble::Impossible("this kernel has no IPv6".to_owned()))
    }

    /// One `inspect` with a template.
    pub(crate) fn inspect(&self, name: &str, template: &str) -> Outcome<String> {
        self.gangplank_words(&["inspect", "--format", template, name], LIMIT)?
            .ok()
    }

    /// Ids of the processes on this host that are neither the case's own nor dead.
    pub(crate) fn processes(&self) -> Outcome<BTreeSet<String>> {
        Ok(Footprint::take(self)?.processes)
    }

    /// Waits until nothing is left of any network, files but logs included.
    pub(crate) fn nothing_left(&self, limit: Duration) -> Outcome {
        let mut left = String::new();
        let gone = until(limit, "nothing is left", || {
            left = Footprint::take(self)?.beyond(&self.before);
            Ok(left.is_empty())
        });
        gone.map_err(|_| Trouble::Failed(format!("left behind after {limit:?}:\n{left}")))
    }

    /// Takes every network down and checks that nothing is left.
    pub(crate) fn take_down(&self) -> Outcome {
        let networks = json::parse(&self.gangplank("network ls --format json")?.ok()?)?;
        for network in json::items(&networks) {
            let name = json::text(network, "name")?;
            self.gangplank(&format!("down --force --network {name}"))?.ok()?;
        }
        self.nobody_panicked()?;
        self.nothing_left(PATIENCE)
    }

    /// No log speaks of a panic, even of one that nobody noticed.
    fn nobody_panicked(&self) -> Outcome {
        for path in files(&self.state()) {
            let text = String::from_utf8_lossy(&fs::read(&path).unwrap_or_default()).into_owned();
            if let Some(line) = text.lines().find(|line| line.contains("panicked at")) {
                fail!("{}: {line}", path.display());
            }
        }
        Ok(())
    }

    /// Prints all logs: the networks' and the background programs'.
    pub(crate) fn show_logs(&self) {
        for folder in [self.state(), self.work.join("logs")] {
            for path in files(&folder) {
                let text = fs::read(&path).unwrap_or_default();
                println!("--- {}\n{}", path.display(), String::from_utf8_lossy(&text));
            }
        }
    }

    fn log(&self, name: &str) -> PathBuf {
        self.work.join("logs").join(name)
    }

    fn as_user_line(&self, line: &str) -> Command {
        let words = words(line);
        let mut command = self.as_user(&words[0]);
        command.args(&words[1..]);
        command
    }

    /// A command of the user, in the environment of a fresh login.
    fn as_user(&self, program: &str) -> Command {
        let mut command = Command::new(&self.user[0]);
        command.args(&self.user[1..]).arg("--");
        if self.machine == Machine::PlainTap && self.gangplank == Path::new(program) {
            command.args(words(&self.peer("without-offload-header")));
        }
        command.arg(program);
        self.surround(&mut command);
        command
    }

    fn root_line(&self, line: &str) -> Command {
        let words = words(line);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        self.surround(&mut command);
        command
    }

    fn outside_line(&self, line: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}/outside", self.work.display()))
            .arg("--")
            .args(words(line));
        self.surround(&mut command);
        command
    }

    fn surround(&self, command: &mut Command) {
        command
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LANG", "C.UTF-8")
            .env("HOME", self.home())
            .env("TMPDIR", self.work.join("tmp"))
            .env("XDG_RUNTIME_DIR", self.work.join("run"))
            .env("RUST_BACKTRACE", "1")
            .current_dir(self.home());
    }

    /// Ends the case as impossible where there are no TAPs with offload headers: for cables, for one.
    pub(crate) fn needs_taps(&self) -> Outcome {
        if self.taps {
            return Ok(());
        }
        Err(Trouble::Impossible(
            "an unprivileged user can't have TAPs with offload headers here".to_owned(),
        ))
    }

    /// Whether what `auto` finds here carries more than a frame at a time.
    pub(crate) fn has_superframes(&self) -> bool {
        self.machine != Machine::PlainTap
    }

    /// The user has what `gangplank` can't do without; /dev/net/tun is looked for and may be missing.
    fn machine_allows_it(&mut self) -> Outcome {
        if self.user("unshare --user --map-root-user --net true")?.code != 0 {
            return Err(Trouble::Impossible(
                "an unprivileged user may not make user namespaces here".to_owned(),
            ));
        }
        self.taps = self.machine != Machine::PlainTap && self.user("sh -c 'exec 3<>/dev/net/tun'")?.code == 0;
        Ok(())
    }
}

/// What the machine lacks, so that `auto` finds another uplink: `GANGPLANK_E2E_UPLINK` is `tap` (nothing, the default),
/// `tap-plain` or `packet`, and every case runs over that one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Machine {
    /// Nothing.
    Whole,
    /// Its TAPs know no offload headers.
    PlainTap,
    /// It has no /dev/net/tun.
    NoTun,
}

impl Machine {
    fn wanted() -> Outcome<Self> {
        Ok(match std::env::var("GANGPLANK_E2E_UPLINK").as_deref() {
            Err(_) | Ok("" | "auto" | "tap") => Self::Whole,
            Ok("tap-plain") => Self::PlainTap,
            Ok("packet") => Self::NoTun,
            Ok(other) => fail!("GANGPLANK_E2E_UPLINK is {other}: write tap, tap-plain or packet"),
        })
    }
}

/// What a network could leave behind.
#[derive(Debug, Default, PartialEq, Eq)]
struct Footprint {
    processes: BTreeSet<String>,
    mounts: BTreeSet<String>,
    links: BTreeSet<String>,
    sockets: BTreeSet<String>,
    files: BTreeSet<String>,
}

impl Footprint {
    fn take(host: &Host) -> Outcome<Self> {
        let own = std::process::id().to_string();
        let processes = fs::read_dir("/proc")?
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| name.parse::<u32>().is_ok() && *name != own && name != "1")
            .filter_map(|pid| alive(&pid))
            .collect();
        let mounts = fs::read_to_string("/proc/self/mountinfo")?
            .lines()
            .map(str::to_owned)
            .collect();
        let links = fs::read_to_string("/proc/self/net/dev")?
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(name, _)| name.trim().to_owned())
            .collect();
        let files = files(&host.state())
            .into_iter()
            .filter(|path| path.file_name() != Some(OsStr::new("log")));
        let files = files.map(|path| path.display().to_string()).collect();
        Ok(Self {
            processes,
            mounts,
            links,
            sockets: sockets()?,
            files,
        })
    }

    /// What is here and was not there, a line each.
    fn beyond(&self, before: &Self) -> String {
        let kinds = [
            ("process", &self.processes, &before.processes),
            ("mount", &self.mounts, &before.mounts),
            ("link", &self.links, &before.links),
            ("socket", &self.sockets, &before.sockets),
            ("file", &self.files, &before.files),
        ];
        let more = kinds
            .iter()
            .flat_map(|(kind, now, then)| now.difference(then).map(move |it| format!("  {kind} {it}\n")));
        more.collect()
    }
}

/// `PID command line` of a process that has not ended.
fn alive(pid: &str) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    if matches!(rest.trim_start().chars().next(), Some('Z' | 'X')) {
        return None;
    }
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let line = String::from_utf8_lossy(&line).replace('\0', " ");
    Some(format!("{pid} {}", line.trim_end()))
}

/// Listeners and bound sockets of the host's network: `tcp 0100007F:1F90`.
fn sockets() -> Outcome<BTreeSet<String>> {
    const LISTEN: &str = "0A";
    const UNCONNECTED: &str = "07";
    let mut found = BTreeSet::new();
    for table in ["tcp", "tcp6", "udp", "udp6", "unix"] {
        let text = fs::read_to_string(format!("/proc/self/net/{table}")).unwrap_or_default();
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            match (table, fields.as_slice()) {
                ("unix", [_, _, _, _, _, _, _, path, ..]) => _ = found.insert(format!("unix {path}")),
                (_, [_, local, _, LISTEN | UNCONNECTED, ..]) => _ = found.insert(format!("{table} {local}")),
                _ => {}
            }
        }
    }
    Ok(found)
}

/// All files and sockets below a folder that may not exist.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_folder {
                folders.push(entry.path())
            } else {
                found.push(entry.path())
            }
        }
    }
    found.sort();
    found
}

/// What the cases call, and where Python is for every user (not in somebody's home).
fn programs_are_there() -> Outcome<String> {
    let there = |name: &str| {
        let folders = ["/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"];
        folders
            .iter()
            .map(|folder| format!("{folder}/{name}"))
            .find(|path| Path::new(path).exists())
    };
    for name in [
        "ip",
        "curl",
        "ping",
        "tracepath",
        "traceroute",
        "dig",
        "getent",
        "setpriv",
        "nsenter",
        "unshare",
        "sha256sum",
    ] {
        if there(name).is_none() {
            return Err(Trouble::Impossible(format!("the program {name} is not installed")));
        }
    }
    // The distribution's own first: one below /usr/local may lead to somebody's home.
    let python = ["/usr/bin/python3", "/usr/local/bin/python3"]
        .into_iter()
        .find(|path| Path::new(path).exists());
    python
        .map(str::to_owned)
        .ok_or_else(|| Trouble::Impossible("the program python3 is not installed in /usr".to_owned()))
}

/// Whether the case's root is the machine's: then any uid can be the user's.
fn maps_every_uid() -> Outcome<bool> {
    let map = fs::read_to_string("/proc/self/uid_map")?;
    Ok(map
        .split_whitespace()
        .last()
        .and_then(|count| count.parse::<u64>().ok())
        .is_some_and(|count| count > 61000))
}

fn become_user(root: bool, work: &Path) -> Vec<String> {
    let line = if root {
        format!("setpriv --reuid {UID} --regid {UID} --clear-groups")
    } else {
        format!("nsenter --preserve-credentials --user={}/userns", work.display())
    };
    words(&line)
}

/// Fails unless the file belongs to this uid and is closed to others.
pub(crate) fn private(path: &Path, mode: u32) -> Outcome {
    let found = fs::symlink_metadata(path)?;
    holds(
        format!("{} has mode {mode:o}, not {:o}", path.display(), found.mode() & 0o777),
        found.mode() & 0o777 == mode,
    )
}

/// The user's uid; nobody has it.
const UID: &str = "61000";
/// Time for one command.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);
