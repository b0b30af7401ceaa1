//! The controlling terminal, when the job we belong to is the one in its foreground.
//!
//! The command stays in our process group: the terminal's signals reach it as they reach us, a pipeline such as
//! `gangplank run … | less` remains one job, and the shell's job control needs nothing from us. Only two things are
//! left to do here: stop with a command that stopped itself, and take the foreground back from a command that died
//! while it had it (an interactive shell, killed).

use std::fs::File;

use nix::sys::signal::{SigSet, Signal, raise};
use nix::unistd::{Pid, getpgrp, tcgetpgrp, tcsetpgrp};

/// A terminal with our process group in its foreground.
#[derive(Debug)]
pub(super) struct Terminal {
    tty: File,
    group: Pid,
}

impl Terminal {
    /// The controlling terminal, unless there is none or somebody else is in its foreground.
    pub(super) fn controlling() -> Option<Self> {
        let tty = File::open("/dev/tty").ok()?;
        let group = getpgrp();
        (tcgetpgrp(&tty) == Ok(group)).then_some(Self { tty, group })
    }

    /// Stops this process as its command has stopped, so that the shell notices; returns when it is continued.
    pub(super) fn suspend(&self) {
        // Cannot fail: the signal exists and may always be sent to oneself.
        let _ = raise(Signal::SIGSTOP);
    }

    /// Puts our group back into the foreground.
    pub(super) fn take_back(&self) {
        if tcgetpgrp(&self.tty) == Ok(self.group) {
            return;
        }
        // From the background this raises SIGTTOU, unless it is blocked (tcsetpgrp(3)).
        let blocked = SigSet::from(Signal::SIGTTOU).thread_block();
        if blocked.is_ok() {
            // A terminal that is gone needs nobody in its foreground.
            let _ = tcsetpgrp(&self.tty, self.group);
        }
    }
}
