//! Datagrams past the stack: each client has a socket of its own on the other side, over which it is answered.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::task::AbortHandle;
use tokio::time::timeout;

/// Those who talk over one socket.
#[derive(Debug, Default)]
pub struct Conversations {
    known: Mutex<BTreeMap<SocketAddr, Conversation>>,
}

#[derive(Debug)]
struct Conversation {
    socket: Arc<UdpSocket>,
    answering: AbortHandle,
}

impl Conversations {
    /// Sends what came from `client` on, over its socket or a new one that `open` gives; answers leave by `answers`.
    pub async fn deliver<F>(
        self: &Arc<Self>,
        client: SocketAddr,
        payload: &[u8],
        answers: Arc<UdpSocket>,
        open: impl FnOnce() -> F,
    ) where
        F: Future<Output = io::Result<UdpSocket>>,
    {
        let known = self.known().get(&client).map(|known| Arc::clone(&known.socket));
        let socket = match known {
            Some(socket) => socket,
            None => match self.begin(client, answers, open).await {
                Ok(socket) => socket,
                Err(error) => return tracing::debug!(%error, %client, "a datagram was lost"),
            },
        };
        // ECONNREFUSED is about an earlier one; what does not fit is lost as on any wire.
        let _ = socket.send(payload).await;
    }

    async fn begin<F>(
        self: &Arc<Self>,
        client: SocketAddr,
        answers: Arc<UdpSocket>,
        open: impl FnOnce() -> F,
    ) -> io::Result<Arc<UdpSocket>>
    where
        F: Future<Output = io::Result<UdpSocket>>,
    {
        if self.known().len() >= MOST_CLIENTS {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        let socket = Arc::new(open().await?);
        let mut known = self.known();
        // Another datagram of the client may have been quicker.
        if let Some(known) = known.get(&client) {
            return Ok(Arc::clone(&known.socket));
        }
        let conversations = Arc::clone(self);
        let answered = Arc::clone(&socket);
        let answering = tokio::spawn(async move {
            answer(&answered, &answers, client).await;
            conversations.known().remove(&client);
        });
        let answering = answering.abort_handle();
        known.insert(
            client,
            Conversation {
                socket: Arc::clone(&socket),
                answering,
            },
        );
        Ok(socket)
    }

    /// Ends all of them; none holds the socket of answers any longer.
    pub fn end(&self) {
        for conversation in std::mem::take(&mut *self.known()).into_values() {
            conversation.answering.abort();
        }
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<SocketAddr, Conversation>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Carries answers back until there has been none for a while; whoever asks again then begins anew.
async fn answer(socket: &UdpSocket, answers: &UdpSocket, client: SocketAddr) {
    // Its pages are the kernel's until they are written to.
    let mut buffer = vec![0; DATAGRAM_BYTES];
    while let Ok(received) = timeout(IDLE, socket.recv(&mut buffer)).await {
        match received {
            // What does not fit is lost as on any wire.
            Ok(len) => drop(answers.send_to(&buffer[..len], client).await),
            // Nobody listens there (ECONNREFUSED), of which a client of ours can't be told.
            Err(error) => tracing::debug!(%error, %client, "a conversation past the stack"),
        }
    }
}

/// RFC 4787 REQ-5: two minutes at least.
const IDLE: Duration = Duration::from_secs(180);

/// Clients of one port.
const MOST_CLIENTS: usize = 1024;

/// The largest UDP payload.
const DATAGRAM_BYTES: usize = 65_535;
