//! A command in namespaces of its own, of which the network's is going to be served.
//!
//! The child is a copy of this process in new user, network, mount, IPC and UTS namespaces and, unless that is not wanted, a
//! new process-id namespace with a /proc of its own, in which it is the first: when it ends, so does everything that it
//! has started. It waits until the network is there and becomes the command, as root of its user namespace and the
//! caller outside.

use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::CloneFlags;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, execvp, getegid, geteuid, gethostname, sethostname};

use super::options::Options;
use super::target::{TargetError, description};
use crate::compat::print;
use crate::netns::{Namespace, OpenError};
use crate::sys::pidfd::PidFd;
use crate::sys::process;

/// The child.
#[derive(Debug)]
pub struct Command {
    pid: Pid,
    process: PidFd,
    go: UnixStream,
    hearing: Hearing,
}

/// What the command makes of signals.
///
/// The first process of a namespace is sent no signal that it has no handler for (pid_namespaces(7)), be it the
/// terminal's interrupt. In ours it has to be asked whether it has heard of it.
#[derive(Debug, Default)]
pub struct Hearing {
    /// Its proc_pid_status(5), open, as nothing is found by path later; none where it is not the first.
    status: Option<File>,
}

/// Makes the namespaces; returns those of users and of the network, too.
pub fn prepare(words: &[OsString], options: &Options) -> Result<(Command, OwnedFd, OwnedFd), TargetError> {
    let own_pids = !options.no_pidns;
    let mut flags = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWIPC;
    flags |= CloneFlags::CLONE_NEWUTS;
    if !options.netns_only {
        flags |= CloneFlags::CLONE_NEWUSER;
    }
    if own_pids {
        flags |= CloneFlags::CLONE_NEWPID;
    }
    let words = if words.is_empty() { shell() } else { plain(words) };
    let (pid, go) = process::spawn_copy_in(flags, |go| run(&words, own_pids, go))
        .map_err(|error| TargetError::New(description(&error)))?;
    let failed = |what: &str, error: &io::Error| TargetError::SetUp(format!("{what}: {}", description(error)));
    let process = PidFd::open(pid.as_raw()).map_err(|error| failed("Couldn't watch the command", &error))?;
    if !options.netns_only {
        map_root(pid).map_err(|error| failed("Couldn't configure user mappings", &error))?;
    }
    let open = |kind: &str, open: fn(&Path) -> _| {
        let namespace: Result<Namespace, OpenError> = open(Path::new(&format!("/proc/{pid}/ns/{kind}")));
        namespace.map_err(|error| TargetError::SetUp(error.to_string()))
    };
    let userns = open("user", Namespace::user_at)?;
    let netns = open("net", Namespace::net_at)?;
    // Without it, the command is taken to hear.
    let status = File::open(format!("/proc/{pid}/status")).ok().filter(|_| own_pids);
    let command = Command {
        pid,
        process,
        go,
        hearing: Hearing { status },
    };
    Ok((command, userns.into(), netns.into()))
}

impl Command {
    /// The network is there.
    pub fn go(&mut self) {
        // A child that has died is seen to have ended.
        let _ = self.go.write_all(b"1");
    }

    /// What it makes of signals; for one who asks.
    pub fn hearing(&mut self) -> Hearing {
        std::mem::take(&mut self.hearing)
    }

    /// Waits for its end and returns its status as a shell has it: 128 and the number for a signal.
    pub async fn ended(self) -> u8 {
        if let Err(error) = self.process.ended().await {
            tracing::warn!(%error, "the command can't be watched");
        }
        match waitpid(self.pid, None) {
            Ok(WaitStatus::Exited(_, status)) => u8::try_from(status & 0xff).unwrap_or(u8::MAX),
            Ok(WaitStatus::Signaled(_, signal, _)) => u8::try_from(128 + signal as i32).unwrap_or(u8::MAX),
            Ok(_) | Err(_) => 1,
        }
    }
}

impl Hearing {
    /// Whether the kernel keeps the signal from it, which has said neither what to do then nor to do nothing.
    pub fn misses(&self, signal: Signal) -> bool {
        let Some(mut status) = self.status.as_ref() else {
            return false;
        };
        let mut text = String::new();
        let read = status.rewind().and_then(|()| status.read_to_string(&mut text));
        // One that can't be read belongs to a command that has ended.
        read.is_ok() && !has_chosen(&text, signal)
    }
}

/// Whether the signal is caught or ignored, by proc_pid_status(5).
fn has_chosen(status: &str, signal: Signal) -> bool {
    let sets = status
        .lines()
        .filter_map(|line| line.strip_prefix("SigIgn:").or(line.strip_prefix("SigCgt:")));
    let mut sets = sets.filter_map(|set| u64::from_str_radix(set.trim(), 16).ok());
    sets.any(|set| set & 1 << (signal as i32 - 1) != 0)
}

/// Root inside is the caller outside, and nobody else exists (user_namespaces(7)).
fn map_root(pid: Pid) -> io::Result<()> {
    for (file, text) in [
        ("setgroups", "deny".to_owned()),
        ("uid_map", format!("0 {} 1", geteuid())),
        ("gid_map", format!("0 {} 1", getegid())),
    ] {
        fs::write(format!("/proc/{pid}/{file}"), text)?;
    }
    Ok(())
}

/// What is executed, and the words that it sees.
struct Words {
    program: CString,
    arguments: Vec<CString>,
}

fn plain(words: &[OsString]) -> Words {
    let arguments: Vec<CString> = words.iter().map(|word| c_string(word)).collect();
    Words {
        program: arguments.first().cloned().unwrap_or_default(),
        arguments,
    }
}

/// The user's shell, as a login shell (the dash before its name).
fn shell() -> Words {
    let shell = std::env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into());
    let name = Path::new(&shell).file_name().unwrap_or(&shell);
    let mut dashed = OsString::from("-");
    dashed.push(name);
    Words {
        program: c_string(&shell),
        arguments: vec![c_string(&dashed)],
    }
}

/// No word of a command line has a zero in it.
fn c_string(word: &OsStr) -> CString {
    CString::new(word.to_os_string().into_vec()).unwrap_or_else(|_| {
        let bytes = word.as_bytes();
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        CString::new(&bytes[..end]).unwrap_or_default()
    })
}

/// The child's life up to the command.
fn run(words: &Words, own_pids: bool, mut go: UnixStream) -> u8 {
    // Nobody may be left to serve us, and nobody to hear of the end.
    let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
    let mut word = [0];
    if go.read_exact(&mut word).is_err() {
        return 1;
    }
    drop(go);
    let whole = MsFlags::MS_SLAVE | MsFlags::MS_REC;
    let mounted = mount(None::<&str>, "/", None::<&str>, whole, None::<&str>);
    if own_pids {
        let proc = || mount(Some("proc"), "/proc", Some("proc"), HARMLESS, None::<&str>);
        if let Err(error) = mounted.and_then(|()| proc()) {
            print::err(&format!("Couldn't mount /proc: {}\n", error.desc()));
        }
    }
    name_host();
    // As in the original: ping needs no privilege inside.
    let _ = fs::write("/proc/sys/net/ipv4/ping_group_range", "0 0");
    // As in the original, what was to be ignored is: `nohup pasta …`.
    process::restore_signals();
    let error = match execvp(&words.program, &words.arguments) {
        Err(error) => error,
        Ok(never) => match never {},
    };
    // As in the original, an empty word is no file.
    let error = if words.program.is_empty() { Errno::ENOENT } else { error };
    print::err(&format!("Failed to start command or shell: {}\n", error.desc()));
    1
}

/// As in the original: a prompt shows where one is, and no lock that names host and process is taken for the host's own.
fn name_host() {
    let Ok(name) = gethostname() else { return };
    let mut ours = OsString::from("pasta-");
    ours.push(name);
    let bytes = ours.as_bytes();
    // What can't be set stays as it is.
    let _ = sethostname(OsStr::from_bytes(&bytes[..bytes.len().min(LONGEST_HOSTNAME)]));
}

/// Linux's own limit (gethostname(2)).
const LONGEST_HOSTNAME: usize = 64;

/// What a mount of /proc needs none of.
const HARMLESS: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV).union(MsFlags::MS_NOEXEC);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_caught_or_ignored_is_chosen() {
        let status = "SigBlk:\t0000000000000002\nSigIgn:\t0000000000000004\nSigCgt:\t0000000000004000\n";
        assert!(has_chosen(status, Signal::SIGQUIT), "ignored");
        assert!(has_chosen(status, Signal::SIGTERM), "caught");
        assert!(!has_chosen(status, Signal::SIGINT), "blocked is put off");
        assert!(!Hearing::default().misses(Signal::SIGINT), "not the first");
    }
}
