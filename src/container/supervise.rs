//! Waiting for a command as its parent: signals are passed on, stops are shared, orphans are reaped.
//!
//! Which signals are passed on: those that somebody sent to *us*. What the terminal sends goes to the whole process
//! group, the command included, so passing it on would double it; `ssi_code` tells the two apart (signalfd(2), the
//! kernel's own are SI_KERNEL). Called by `monitor` and `exec`.

use std::io;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd, siginfo};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::terminal::Terminal;

/// The state of our process while it waits; dropping it puts the signal mask back.
#[derive(Debug)]
pub(super) struct Supervisor {
    signals: SignalFd,
    before: SigSet,
    terminal: Option<Terminal>,
}

impl Supervisor {
    /// From now on signals wait for [`Supervisor::wait`] instead of ending us. Call it before the command can begin.
    pub(super) fn new() -> io::Result<Self> {
        let mut wanted: SigSet = FORWARDED.into_iter().collect();
        wanted.add(Signal::SIGCHLD);
        let before = wanted.thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_BLOCK)?;
        let signals = SignalFd::with_flags(&wanted, SfdFlags::SFD_CLOEXEC)?;
        Ok(Self {
            signals,
            before,
            terminal: Terminal::controlling(),
        })
    }

    /// Waits until `child` has ended and returns its exit code, 128+n for a signal.
    pub(super) fn wait(&self, child: Pid) -> io::Result<u8> {
        loop {
            if let Some(code) = self.reap(child)? {
                if let Some(terminal) = &self.terminal {
                    terminal.take_back();
                }
                return Ok(code);
            }
            match self.signals.read_signal() {
                Ok(Some(info)) => forward(&info, child),
                Ok(None) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Takes note of every child that has ended or stopped; SIGCHLD does not say how many.
    fn reap(&self, child: Pid) -> io::Result<Option<u8>> {
        let mut code = None;
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG | WaitPidFlag::WUNTRACED)) {
                Ok(WaitStatus::Exited(pid, status)) if pid == child => code = u8::try_from(status & 0xff).ok(),
                Ok(WaitStatus::Signaled(pid, signal, _)) if pid == child => code = Some(signal_code(signal)),
                Ok(WaitStatus::Stopped(pid, _)) if pid == child => self.stop_with(child),
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(code),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Without a terminal nobody would continue us: then the command stops alone.
    fn stop_with(&self, child: Pid) {
        if let Some(terminal) = &self.terminal {
            terminal.suspend();
            let _ = kill(child, Signal::SIGCONT);
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        // Cannot fail: it is a mask that was in force before.
        let _ = self.before.thread_set_mask();
    }
}

/// The exit code that stands for an end by `signal`.
fn signal_code(signal: Signal) -> u8 {
    u8::try_from(128 + signal as i32).unwrap_or(u8::MAX)
}

fn forward(info: &siginfo, child: Pid) {
    let signal = i32::try_from(info.ssi_signo)
        .ok()
        .and_then(|number| Signal::try_from(number).ok());
    let from_somebody = info.ssi_code <= 0;
    if let Some(signal) = signal.filter(|signal| from_somebody && FORWARDED.contains(signal)) {
        // It may have ended just now, which the next round sees.
        let _ = kill(child, signal);
    }
}

/// What a supervisor or a person sends to a process to tell it something.
const FORWARDED: [Signal; 7] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGWINCH,
];
