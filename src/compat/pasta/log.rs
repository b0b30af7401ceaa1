//! Where remarks go: to standard error until we are in the background, and to the log file if there is one.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::options::Loudness;

/// A log file that does not grow beyond a size: its older half makes room.
#[derive(Debug)]
pub struct LogFile {
    file: File,
    size: u64,
    most: u64,
}

impl LogFile {
    /// Begins a log at `path`, of `most` bytes.
    pub fn create(path: &Path, most: u64) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)?;
        Ok(Self { file, size: 0, most })
    }

    fn make_room(&mut self) -> io::Result<()> {
        let mut kept = Vec::new();
        self.file
            .seek(SeekFrom::Start(self.size.saturating_sub(self.most / 2)))?;
        self.file.read_to_end(&mut kept)?;
        // From the next whole line on.
        let start = kept.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(&kept[start..])?;
        self.size = u64::try_from(kept.len() - start).unwrap_or(u64::MAX);
        Ok(())
    }
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let coming = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if self.size.saturating_add(coming) > self.most {
            self.make_room()?;
        }
        let written = self.file.write(bytes)?;
        self.size += u64::try_from(written).unwrap_or(0);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Sends what is traced from now on to the file, or to standard error.
pub fn begin(loudness: Loudness, file: Option<LogFile>) {
    let level = match loudness {
        Loudness::Quiet => tracing::Level::ERROR,
        Loudness::Normal => tracing::Level::WARN,
        Loudness::Debug => tracing::Level::DEBUG,
    };
    let log = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(false)
        .with_target(false);
    // Fails only where a log is set up already, which will do.
    let _ = match file {
        // Whoever wants a file wants to read something there.
        Some(file) => {
            let shared = Shared(Arc::new(Mutex::new(file)));
            let level = level.max(tracing::Level::INFO);
            log.with_max_level(level).with_writer(move || shared.clone()).try_init()
        }
        None => log.with_writer(io::stderr).try_init(),
    };
}

#[derive(Debug, Clone)]
struct Shared(Arc<Mutex<LogFile>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// As the original's.
pub const DEFAULT_SIZE: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_lines_make_room() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut log = LogFile::create(&path, 100).unwrap();
        for number in 0..40 {
            writeln!(log, "line {number}").unwrap();
            assert!(std::fs::metadata(&path).unwrap().len() <= 100);
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("line ") && text.ends_with("line 39\n"), "{text}");
    }
}
