//! The last steps of a process that becomes the command: directory, death with the parent, no new privileges, signals,
//! PATH.
//!
//! Only failures return. Exit codes as shells and Docker have them: 127 when there is no such command, 126 when there
//! is one that cannot be executed.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{AccessFlags, Pid, access, getppid};

use super::channel::Order;
use super::{Failure, OUR_FAILURE};
use crate::sys::process;

/// Becomes the command; `here` is where the process was before it entered the namespaces.
pub(super) fn exec(order: &Order, here: Option<PathBuf>, argv: &[OsString]) -> Failure {
    let Some((name, arguments)) = argv.split_first() else {
        return Failure::ours("nothing to run", "give a command");
    };
    if let Err(failure) = enter_directory(order.workdir.as_deref(), here).and_then(|()| confine(order.parent)) {
        return failure;
    }
    let program = match find(name, env::var_os("PATH").as_deref().unwrap_or(OsStr::new(DEFAULT_PATH))) {
        Ok(program) => program,
        Err(failure) => return failure,
    };
    process::default_signals();
    // std's exec empties the signal mask.
    let error = Command::new(program).arg0(name).args(arguments).exec();
    refused(name, &error)
}

fn enter_directory(asked: Option<&Path>, here: Option<PathBuf>) -> Result<(), Failure> {
    if let Some(directory) = asked {
        return env::set_current_dir(directory)
            .map_err(|error| Failure::ours(format_args!("working directory {}", directory.display()), error));
    }
    // By path, not by descriptor: the directory may be one that is hidden inside.
    here.map_or(Err(io::ErrorKind::NotFound.into()), env::set_current_dir)
        .or_else(|_| env::set_current_dir("/"))
        .map_err(|error| Failure::ours("working directory /", error))
}

/// Nothing that is executed from here on gains privileges, and the parent's end is ours.
fn confine(parent: i32) -> Result<(), Failure> {
    let failed = |error: Errno| Failure::ours("cannot confine the command", error);
    prctl::set_no_new_privs().map_err(failed)?;
    // Changes of credentials clear it (prctl(2)), therefore after the namespaces.
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(failed)?;
    if getppid() != Pid::from_raw(parent) {
        return Err(Failure {
            code: OUR_FAILURE,
            message: "the monitor is gone".to_owned(),
        });
    }
    Ok(())
}

/// The file that `name` means: itself if it has a slash, else the first executable one along `path`.
fn find(name: &OsStr, path: &OsStr) -> Result<PathBuf, Failure> {
    if name.is_empty() {
        return Err(not_found(name));
    }
    if name.as_bytes().contains(&b'/') {
        return Ok(PathBuf::from(name));
    }
    let candidates = || {
        env::split_paths(path)
            .map(|directory| directory.join(name))
            .filter(|file| file.is_file())
    };
    match candidates().find(|file| access(file, AccessFlags::X_OK).is_ok()) {
        Some(program) => Ok(program),
        None if candidates().next().is_some() => Err(not_executable(name, &Errno::EACCES)),
        None => Err(not_found(name)),
    }
}

fn refused(name: &OsStr, error: &io::Error) -> Failure {
    if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) {
        return not_found(name);
    }
    not_executable(name, &error)
}

fn not_found(name: &OsStr) -> Failure {
    Failure {
        code: 127,
        message: format!("{}: command not found", name.display()),
    }
}

fn not_executable(name: &OsStr, error: &dyn std::fmt::Display) -> Failure {
    Failure {
        code: 126,
        message: format!("{}: cannot be executed: {error}", name.display()),
    }
}

/// Where commands are looked for when PATH is not set, as execvp(3) of glibc has it.
const DEFAULT_PATH: &str = "/bin:/usr/bin";
