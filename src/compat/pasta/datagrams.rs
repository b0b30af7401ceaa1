//! Datagrams past the stack: each client has a socket of its own on the other side, over which it is answered.
//!
//! Whoever asks once, as for a name, asks from another port the next time: when there are too many, the one that has been
//! silent longest makes room.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

use crate::sys::datagrams;

/// Who asks, and which address of ours, if that is known: it is answered from there.
type Client = (SocketAddr, Option<IpAddr>);

/// Those who talk over one socket.
#[derive(Debug, Default)]
pub struct Conversations {
    known: Mutex<BTreeMap<Client, Conversation>>,
}

#[derive(Debug)]
struct Conversation {
    socket: Arc<UdpSocket>,
    answering: AbortHandle,
    /// When it was last heard, from either side.
    heard: Instant,
}

impl Conversations {
    /// Sends what came from `client` on, over its socket or a new one that `open` gives; answers leave by `answers`.
    pub async fn deliver<F>(
        self: &Arc<Self>,
        client: Client,
        payload: &[u8],
        answers: Arc<UdpSocket>,
        open: impl FnOnce() -> F,
    ) where
        F: Future<Output = io::Result<UdpSocket>>,
    {
        let known = self.known().get_mut(&client).map(Conversation::hear);
        let socket = match known {
            Some(socket) => socket,
            None => match self.begin(client, answers, open).await {
                Ok(socket) => socket,
                Err(error) => return tracing::debug!(%error, client = %client.0, "a datagram was lost"),
            },
        };
        // ECONNREFUSED is about an earlier one; what does not fit is lost as on any wire.
        let _ = socket.send(payload).await;
    }

    async fn begin<F>(
        self: &Arc<Self>,
        client: Client,
        answers: Arc<UdpSocket>,
        open: impl FnOnce() -> F,
    ) -> io::Result<Arc<UdpSocket>>
    where
        F: Future<Output = io::Result<UdpSocket>>,
    {
        if self.known().len() >= MOST_CLIENTS {
            self.make_room();
        }
        let socket = Arc::new(open().await?);
        let mut known = self.known();
        // Another datagram of the client may have been quicker.
        if let Some(known) = known.get_mut(&client) {
            return Ok(known.hear());
        }
        let conversations = Arc::clone(self);
        let answered = Arc::clone(&socket);
        let answering = tokio::spawn(async move {
            conversations.answer(&answered, &answers, client).await;
            conversations.known().remove(&client);
        });
        known.insert(
            client,
            Conversation {
                socket: Arc::clone(&socket),
                answering: answering.abort_handle(),
                heard: Instant::now(),
            },
        );
        Ok(socket)
    }

    /// Carries answers back until nothing has been heard for a while; whoever asks again then begins anew.
    async fn answer(&self, socket: &UdpSocket, answers: &UdpSocket, client: Client) {
        loop {
            let Some(heard) = self.heard(client) else { return };
            match timeout_at(heard + IDLE, socket.readable()).await {
                Ok(_) => {}
                // It may have asked meanwhile.
                Err(_) if self.heard(client).is_some_and(|last| last > heard) => continue,
                Err(_) => return,
            }
            BUFFER.with_borrow_mut(|buffer| {
                for _ in 0..ANSWERS_PER_TURN {
                    match socket.try_recv(buffer) {
                        // What finds no room is lost as on any wire.
                        Ok(len) => drop(datagrams::send(answers, client.1, client.0, &buffer[..len], None)),
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                        // Nobody listens there (ECONNREFUSED), of which a client of ours can't be told.
                        Err(error) => tracing::debug!(%error, client = %client.0, "a conversation past the stack"),
                    }
                }
            });
            if let Some(known) = self.known().get_mut(&client) {
                known.hear();
            }
        }
    }

    fn heard(&self, client: Client) -> Option<Instant> {
        self.known().get(&client).map(|known| known.heard)
    }

    /// Ends the one that has been silent longest.
    fn make_room(&self) {
        let mut known = self.known();
        let silent = known.iter().min_by_key(|(_, known)| known.heard);
        if let Some(client) = silent.map(|(client, _)| *client)
            && let Some(ended) = known.remove(&client)
        {
            ended.answering.abort();
        }
    }

    /// Ends all of them; none holds the socket of answers any longer.
    pub fn end(&self) {
        for conversation in std::mem::take(&mut *self.known()).into_values() {
            conversation.answering.abort();
        }
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<Client, Conversation>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Conversation {
    fn hear(&mut self) -> Arc<UdpSocket> {
        self.heard = Instant::now();
        Arc::clone(&self.socket)
    }
}

thread_local! {
    /// One for all of a thread's, as no answer waits in it.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; DATAGRAM_BYTES]);
}

/// RFC 4787 REQ-5: two minutes at least.
const IDLE: Duration = Duration::from_secs(180);

/// Clients of one port that are remembered.
const MOST_CLIENTS: usize = 1024;

/// Answers taken from one socket in one turn.
const ANSWERS_PER_TURN: usize = 64;

/// The largest UDP payload.
const DATAGRAM_BYTES: usize = 65_535;
