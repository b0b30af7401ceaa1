//! The file of `-P`: opened first, so that it can be refused, written last, and removed when we end.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The open file; it goes when this is dropped, or when its [`Trace`] is removed.
#[derive(Debug)]
pub struct PidFile {
    file: File,
    trace: Trace,
}

/// The file by its path.
#[derive(Debug, Clone)]
pub struct Trace {
    path: PathBuf,
    /// What is written there.
    pid: u32,
}

impl PidFile {
    /// Opens it, empty.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)?;
        let trace = Trace {
            // Whoever serves goes elsewhere.
            path: std::path::absolute(path)?,
            pid: std::process::id(),
        };
        Ok(Self { file, trace })
    }

    /// Writes who we are.
    pub fn write(&mut self) -> io::Result<()> {
        writeln!(self.file, "{}", self.trace.pid)
    }

    /// What is left of it, for somebody else to remove.
    pub fn trace(&self) -> Trace {
        self.trace.clone()
    }
}

impl Trace {
    /// Removes it, unless a successor has written its own there already.
    pub fn remove(&self) {
        let written = fs::read_to_string(&self.path);
        if written.is_ok_and(|text| text.trim() == self.pid.to_string()) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        self.trace.remove();
    }
}
