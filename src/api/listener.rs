//! The helper's side of the socket: only the user who runs the helper is heard.

use std::io;

use axum::serve::Listener;
use tokio::net::unix::SocketAddr;
use tokio::net::{UnixListener, UnixStream};

/// A unix socket that drops connections of other users; the directory's mode keeps them out already.
#[derive(Debug)]
pub struct OwnerListener {
    socket: UnixListener,
    owner: u32,
    /// It could not accept; said once until it can again, for containers can take the last descriptor.
    starved: bool,
}

impl OwnerListener {
    /// Listens on `socket` for processes of the user `owner`, and of root.
    pub fn new(socket: UnixListener, owner: u32) -> Self {
        Self {
            socket,
            owner,
            starved: false,
        }
    }

    fn is_welcome(&self, stream: &UnixStream) -> io::Result<bool> {
        let uid = stream.peer_cred()?.uid();
        Ok(uid == self.owner || uid == 0)
    }
}

impl Listener for OwnerListener {
    type Io = UnixStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (UnixStream, SocketAddr) {
        loop {
            match self.socket.accept().await {
                Ok((stream, address)) => match self.is_welcome(&stream) {
                    Ok(true) => {
                        self.starved = false;
                        return (stream, address);
                    }
                    Ok(false) | Err(_) => tracing::warn!("a connection of another user was closed"),
                },
                Err(error) => {
                    if !std::mem::replace(&mut self.starved, true) {
                        tracing::warn!(%error, "commands have to wait");
                    }
                    // Descriptors have run out, most likely: give them time to come back.
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

/// Between two tries to accept while that fails.
const RETRY: std::time::Duration = std::time::Duration::from_millis(100);
