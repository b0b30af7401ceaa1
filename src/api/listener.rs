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
}

impl OwnerListener {
    /// Listens on `socket` for processes of the user `owner`, and of root.
    pub fn new(socket: UnixListener, owner: u32) -> Self {
        Self { socket, owner }
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
                    Ok(true) => return (stream, address),
                    Ok(false) | Err(_) => tracing::warn!("a connection of another user was closed"),
                },
                Err(error) => {
                    tracing::warn!(%error, "the API's socket");
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
