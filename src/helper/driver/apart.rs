//! Clients of a published port that are not led to the container by us, but handed to somebody: those on the host's own
//! loopback, where a personality has sockets inside the container for them.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, TcpStream};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::stack::PublishId;

/// Where they go. What finds no room is lost: a connection is closed, a datagram dropped.
#[derive(Debug, Clone)]
pub struct Apart {
    clients: mpsc::Sender<ApartClient>,
}

/// What one of them brings.
#[derive(Debug)]
pub enum ApartClient {
    /// A connection.
    Stream(PublishId, TcpStream),
    /// A datagram: who sent it, and to which address, if the port is bound to several.
    Datagram(PublishId, SocketAddr, Option<IpAddr>, Bytes),
}

impl Apart {
    /// A channel and its receiver.
    pub fn channel() -> (Self, mpsc::Receiver<ApartClient>) {
        let (clients, receiver) = mpsc::channel(QUEUED);
        (Self { clients }, receiver)
    }
}

/// The ports whose clients are kept apart.
#[derive(Debug, Default)]
pub(super) struct Kept(BTreeMap<PublishId, Apart>);

impl Kept {
    pub(super) fn set(&mut self, id: PublishId, apart: Apart) {
        self.0.insert(id, apart);
    }

    pub(super) fn forget(&mut self, id: PublishId) {
        self.0.remove(&id);
    }

    /// Whoever is to have what comes to `id` from `client`.
    pub(super) fn taker(&self, id: PublishId, client: SocketAddr) -> Option<&Apart> {
        self.0.get(&id).filter(|_| client.ip().to_canonical().is_loopback())
    }
}

impl Apart {
    pub(super) fn stream(&self, id: PublishId, stream: mio::net::TcpStream) {
        let _ = self.clients.try_send(ApartClient::Stream(id, stream.into()));
    }

    pub(super) fn datagrams<'d>(
        &self,
        id: PublishId,
        client: SocketAddr,
        asked: Option<IpAddr>,
        datagrams: impl Iterator<Item = &'d [u8]>,
    ) {
        for datagram in datagrams {
            let bytes = Bytes::copy_from_slice(datagram);
            let _ = self.clients.try_send(ApartClient::Datagram(id, client, asked, bytes));
        }
    }
}

/// Clients that may wait.
const QUEUED: usize = 1024;
