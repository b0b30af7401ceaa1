//! The file of `-P`: opened first, so that it can be refused, written last, and removed when we end.
//!
//! It may be a pipe whose reader waits for the end, so nobody keeps it open: `pid=$(pasta -P /dev/stdout …)`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The file; it goes when this is dropped.
#[derive(Debug)]
pub struct PidFile {
    /// None once it is written.
    file: Option<File>,
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
        Ok(Self {
            file: Some(file),
            // Whoever serves goes elsewhere.
            path: std::path::absolute(path)?,
            pid: std::process::id(),
        })
    }

    /// Writes who we are, and closes it.
    pub fn write(&mut self) -> io::Result<()> {
        match self.file.take() {
            Some(mut file) => writeln!(file, "{}", self.pid),
            None => Ok(()),
        }
    }

    /// Closes it, for a copy of this process, which does not write it.
    pub fn close(&mut self) {
        self.file = None;
    }

    /// Removes it, unless a successor has written its own there already. What is no file of its own, a pipe or
    /// /dev/stdout, stays: a pipe is not even opened, which would wait for a writer (fifo(7)).
    pub fn remove(&self) {
        let is_file = fs::symlink_metadata(&self.path).is_ok_and(|found| found.is_file());
        let written = || fs::read_to_string(&self.path);
        if is_file && written().is_ok_and(|text| text.trim() == self.pid.to_string()) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        self.remove();
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;

    #[test]
    fn goes_unless_it_is_a_successors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pid");
        let mut file = PidFile::open(&path).unwrap();
        file.write().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        fs::write(&path, "1\n").unwrap();
        file.remove();
        assert!(path.exists());
        fs::write(&path, format!("{}\n", std::process::id())).unwrap();
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn a_pipe_is_neither_kept_nor_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        let reader = std::thread::spawn({
            let path = path.clone();
            // Returns when the last writer has closed it.
            move || fs::read_to_string(path).unwrap()
        });
        let mut file = PidFile::open(&path).unwrap();
        file.write().unwrap();
        assert_eq!(reader.join().unwrap(), format!("{}\n", std::process::id()));
        drop(file);
        assert!(path.exists());
    }
}
