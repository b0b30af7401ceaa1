//! The socket on which `pesto` asks for changes: our own protocol, since only the command line is an interface.
//!
//! One request and one answer a connection, each a line of JSON. A request is a list of steps, which are taken in order, all
//! or none; an empty list only looks. Requests come from the user who runs pasta, or from root.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Mutex;

use super::ports::Ports;
use super::table::{Step, Table};

/// What is asked.
#[derive(Debug, Serialize, Deserialize)]
pub struct Request {
    /// The changes, in order.
    pub steps: Vec<Step>,
}

/// What is answered.
#[derive(Debug, Serialize, Deserialize)]
pub enum Answer {
    /// It was done.
    Done {
        /// The rules before.
        before: Table,
        /// The rules now.
        after: Table,
    },
    /// It was refused, and nothing has changed.
    Refused(String),
}

/// The bound socket; its file goes when it is dropped, or when its [`Trace`] is removed.
#[derive(Debug)]
pub struct Control {
    listener: StdListener,
    trace: Trace,
}

/// The file of a socket.
#[derive(Debug, Clone)]
pub struct Trace {
    path: PathBuf,
    /// Its device and number.
    file: (u64, u64),
}

impl Control {
    /// Binds `path`; a socket that nobody answers at any more is replaced.
    pub fn bind(path: &Path) -> io::Result<Self> {
        let stale = std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
        if stale && StdStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
            // Another start may have been quicker, or it is not ours to remove: then binding tells.
            let _ = std::fs::remove_file(path);
        }
        let listener = StdListener::bind(path)?;
        listener.set_nonblocking(true)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        let trace = Trace {
            // Whoever serves may go elsewhere.
            path: std::path::absolute(path)?,
            file: identity(path)?,
        };
        Ok(Self { listener, trace })
    }

    /// What is left of it, for somebody else to remove.
    pub fn trace(&self) -> Trace {
        self.trace.clone()
    }

    /// Its listener, on the current runtime.
    pub fn listener(&self) -> io::Result<Listener> {
        UnixListener::from_std(self.listener.try_clone()?).map(Listener)
    }
}

/// Where requests come in.
#[derive(Debug)]
pub struct Listener(UnixListener);

impl Listener {
    /// Serves for ever.
    pub async fn serve(&self, ports: Arc<Mutex<Ports>>) {
        loop {
            match self.0.accept().await {
                Ok((stream, _)) => {
                    let ports = Arc::clone(&ports);
                    tokio::spawn(async move {
                        // Whoever asked and does not wait for the answer needs none.
                        let _ = tokio::time::timeout(PATIENCE, answer(stream, &ports)).await;
                    });
                }
                Err(error) => {
                    tracing::debug!(%error, "a request has to wait");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }
}

impl Trace {
    /// Removes it. A successor may have one of its own there already. (The original leaves a file that nobody answers
    /// at.)
    pub fn remove(&self) {
        if identity(&self.path).is_ok_and(|file| file == self.file) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.trace.remove();
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = std::fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

async fn answer(stream: UnixStream, ports: &Mutex<Ports>) -> io::Result<()> {
    let uid = stream.peer_cred()?.uid();
    if uid != 0 && uid != nix::unistd::geteuid().as_raw() {
        return Ok(());
    }
    let (reader, mut writer) = stream.into_split();
    let mut line = Vec::new();
    BufReader::new(reader.take(LONGEST_REQUEST))
        .read_until(b'\n', &mut line)
        .await?;
    let answer = match serde_json::from_slice::<Request>(&line) {
        Ok(request) => change(ports, &request).await,
        Err(error) => Answer::Refused(format!("no request of pesto's: {error}")),
    };
    let mut text = serde_json::to_vec(&answer)?;
    text.push(b'\n');
    writer.write_all(&text).await
}

async fn change(ports: &Mutex<Ports>, request: &Request) -> Answer {
    let mut ports = ports.lock().await;
    let before = ports.table().clone();
    let after = match before.after(&request.steps) {
        Ok(after) => after,
        Err(error) => return Answer::Refused(error.to_string()),
    };
    if after != before
        && let Err(error) = ports.apply(after.clone()).await
    {
        return Answer::Refused(error.to_string());
    }
    Answer::Done { before, after }
}

/// How long a request may take; binding every port there is takes a second or two.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes of a request: a step for each of some thousand ports.
const LONGEST_REQUEST: u64 = 4 << 20;

/// Between two tries to accept while that fails.
const RETRY: Duration = Duration::from_millis(100);
