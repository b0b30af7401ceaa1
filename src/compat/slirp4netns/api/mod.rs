//! The API: forwarded ports, asked for in JSON over a unix socket, one request a connection.
//!
//! [`request`] takes a message apart, [`forwards`] knows what is forwarded, this file serves the socket. Each client is a
//! task of its own: one that says nothing, or is slow, keeps nobody waiting but itself, and not for long.

mod forwards;
mod request;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{UnlinkatFlags, unlinkat};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

use self::forwards::Forwards;
use self::request::{Reading, read, refusal};
use crate::compat::mooring::Mooring;

/// Why the socket can't be bound, in the original's words.
#[derive(Debug, thiserror::Error)]
pub(super) enum SocketError {
    /// There is something that is no socket.
    #[error("api_bindlisten: bind: {}: there is something that is not a socket; name another path", .0.display())]
    NotASocket(PathBuf),
    /// The kernel refused.
    #[error("api_bindlisten: bind: {0}")]
    Bind(&'static str),
}

/// The bound socket; it goes when this is dropped.
#[derive(Debug)]
pub(super) struct Server {
    listener: StdUnixListener,
    /// The directory that it is in, and its name there: in a sandbox the path leads nowhere.
    directory: File,
    name: OsString,
}

impl Server {
    /// Binds `path`, for ourselves alone; a socket that an earlier life left there is removed.
    pub(super) fn bind(path: &Path) -> Result<Self, SocketError> {
        match fs::symlink_metadata(path) {
            Ok(found) if found.file_type().is_socket() => fs::remove_file(path).map_err(bind_error)?,
            Ok(_) => return Err(SocketError::NotASocket(path.to_owned())),
            // What is wrong with the path, bind will say.
            Err(_) => {}
        }
        let before = umask(Mode::from_bits_truncate(0o177));
        let bound = StdUnixListener::bind(path);
        umask(before);
        let listener = bound.map_err(bind_error)?;
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            Some(_) | None => Path::new("."),
        };
        let opened = listener.set_nonblocking(true).and_then(|()| File::open(parent));
        match opened {
            Ok(directory) => Ok(Self {
                listener,
                directory,
                name: path.file_name().unwrap_or_default().to_owned(),
            }),
            Err(error) => {
                // It has just been made, by us.
                let _ = fs::remove_file(path);
                Err(bind_error(error))
            }
        }
    }

    /// What it holds open.
    pub(super) fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        [self.listener.as_fd(), self.directory.as_fd()]
    }

    /// Serves on the current runtime. `guest` is whom ports lead to where nobody is named.
    pub(super) fn serve(&self, mooring: Mooring, guest: Ipv4Addr) -> io::Result<()> {
        let listener = UnixListener::from_std(self.listener.try_clone()?)?;
        tokio::spawn(accept(listener, Arc::new(Forwards::new(mooring, guest))));
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have been removed, or have been replaced by somebody who was in a hurry.
        let _ = unlinkat(&self.directory, self.name.as_os_str(), UnlinkatFlags::NoRemoveDir);
    }
}

async fn accept(listener: UnixListener, forwards: Arc<Forwards>) {
    let mut clients: Vec<AbortHandle> = Vec::new();
    loop {
        match listener.accept().await {
            Ok((client, _)) => {
                clients.retain(|client| !client.is_finished());
                if clients.len() >= MOST_CLIENTS {
                    clients.remove(0).abort();
                }
                clients.push(tokio::spawn(attend(client, Arc::clone(&forwards))).abort_handle());
            }
            // No descriptor is left: they come back as flows end.
            Err(_) => tokio::time::sleep(BREATHER).await,
        }
    }
}

async fn attend(mut client: UnixStream, forwards: Arc<Forwards>) {
    let answer = match hear(&mut client, forwards.guest(), PATIENCE).await {
        Ok(Reading::Asked(request)) => forwards.answer(request).await,
        Ok(Reading::Refused(why)) => refusal(why),
        // Gone.
        Ok(Reading::More) | Err(_) => return,
    };
    // Whoever does not take the answer does not want it.
    let _ = tokio::time::timeout(PATIENCE, client.write_all(answer.as_bytes())).await;
}

/// Reads until there is a request, however many pieces it comes in; what has come when patience ends is all of it.
async fn hear(client: &mut UnixStream, guest: Ipv4Addr, patience: Duration) -> io::Result<Reading> {
    let deadline = Instant::now() + patience;
    let mut message = Vec::new();
    let mut piece = [0; request::LONGEST + 1];
    loop {
        let count = match timeout_at(deadline, client.read(&mut piece)).await {
            Ok(read) => read?,
            Err(_) => 0,
        };
        message.extend_from_slice(piece.get(..count).unwrap_or_default());
        match read(&message, count == 0, guest) {
            Reading::More => {}
            reading @ (Reading::Asked(_) | Reading::Refused(_)) => return Ok(reading),
        }
    }
}

fn bind_error(error: io::Error) -> SocketError {
    let errno = error.raw_os_error().map(Errno::from_raw);
    SocketError::Bind(errno.map_or("cannot be bound", Errno::desc))
}

/// Clients at a time; beyond that, the one that came first has had its time.
const MOST_CLIENTS: usize = 128;

/// How long a client may take to say what it wants, and to hear the answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Until another client is looked for, after there was no descriptor for one.
const BREATHER: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_without_an_end_is_refused_in_the_end() {
        for begun in ["", "{\"execute\":"] {
            let (mut client, mut ours) = UnixStream::pair().unwrap();
            client.write_all(begun.as_bytes()).await.unwrap();
            let heard = hear(&mut ours, Ipv4Addr::LOCALHOST, Duration::from_millis(1)).await;
            assert_eq!(heard.unwrap(), Reading::Refused("cannot parse JSON"), "{begun}");
        }
    }
}
