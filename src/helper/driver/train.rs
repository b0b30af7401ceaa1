//! Datagrams of one size from one endpoint to another, gathered while frames are read and sent with one system call.
//!
//! The kernel cuts them again at the last moment (UDP_SEGMENT, udp(7)), so that its own work is done once for many; on the
//! wire nothing differs. Nothing waits for company: what was gathered leaves when the frames that were there are read.

use std::net::SocketAddr;
use std::num::NonZeroU16;

use crate::stack::ClientSocket;

/// What is gathered.
#[derive(Debug, Default)]
pub(super) struct Train {
    way: Option<(ClientSocket, SocketAddr)>,
    payload: Vec<u8>,
    /// Bytes of the first datagram.
    size: usize,
    /// The last one was shorter, and only the last may be.
    whole: bool,
    count: usize,
    frame: Vec<u8>,
}

impl Train {
    /// Takes a datagram on, if it may travel with those that are there.
    pub(super) fn join(&mut self, socket: ClientSocket, target: SocketAddr, payload: &[u8]) -> bool {
        let joins = self.way == Some((socket, target))
            && !self.whole
            && self.count < MOST
            && (1..=self.size).contains(&payload.len())
            && self.payload.len() + payload.len() <= MOST_BYTES;
        if joins {
            self.payload.extend_from_slice(payload);
            self.count += 1;
            self.whole = payload.len() < self.size;
        }
        joins
    }

    /// Begins anew with a datagram and the frame that it came in.
    pub(super) fn begin(&mut self, socket: ClientSocket, target: SocketAddr, payload: &[u8], frame: &[u8]) {
        self.payload.clear();
        self.frame.clear();
        self.payload.extend_from_slice(payload);
        self.frame.extend_from_slice(frame);
        self.way = Some((socket, target));
        (self.size, self.whole, self.count) = (payload.len(), payload.is_empty(), 1);
    }

    /// Where to, if there is anything; afterwards there is not.
    pub(super) fn depart(&mut self) -> Option<(ClientSocket, SocketAddr)> {
        self.way.take()
    }

    /// All payload, one datagram after the other.
    pub(super) fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Bytes of one datagram, where there are several.
    pub(super) fn segment(&self) -> Option<NonZeroU16> {
        let several = self.count > 1;
        NonZeroU16::new(u16::try_from(self.size).ok()?).filter(|_| several)
    }

    /// The first one's frame, for whoever has to be told that it went nowhere.
    pub(super) fn frame(&self) -> &[u8] {
        &self.frame
    }
}

/// UDP_MAX_SEGMENTS of linux/udp.h before Linux 6.9.
const MOST: usize = 64;

/// Below 64 KiB with the headers of either family.
const MOST_BYTES: usize = 65_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::PublishId;

    #[test]
    fn one_size_one_way_and_a_shorter_last() {
        let (here, there) = (
            ClientSocket::Published(PublishId(1)),
            SocketAddr::from(([192, 0, 2, 1], 9)),
        );
        let elsewhere = SocketAddr::from(([192, 0, 2, 1], 10));
        let mut train = Train::default();
        assert!(!train.join(here, there, b"1234"), "there is none");
        assert_eq!(train.depart(), None);
        train.begin(here, there, b"1234", b"frame");
        assert_eq!((train.segment(), train.frame()), (None, &b"frame"[..]));
        assert!(train.join(here, there, b"5678"));
        assert!(!train.join(here, elsewhere, b"5678"));
        assert!(!train.join(ClientSocket::Published(PublishId(2)), there, b"5678"));
        assert!(!train.join(here, there, b"56789"), "longer than the first");
        assert!(!train.join(here, there, b""), "a datagram of nothing would be lost");
        assert!(train.join(here, there, b"9"));
        assert!(!train.join(here, there, b"9"), "only the last may be shorter");
        assert_eq!(train.depart(), Some((here, there)));
        assert_eq!(
            (train.payload(), train.segment()),
            (&b"123456789"[..], NonZeroU16::new(4))
        );
        assert_eq!(train.depart(), None);
    }

    #[test]
    fn as_many_as_one_call_takes() {
        let (here, there) = (
            ClientSocket::Published(PublishId(1)),
            SocketAddr::from(([192, 0, 2, 1], 9)),
        );
        let joined = |size: usize| {
            let mut train = Train::default();
            train.begin(here, there, &vec![0; size], b"");
            1 + (0..1000)
                .take_while(|_| train.join(here, there, &vec![0; size]))
                .count()
        };
        assert_eq!((joined(64), joined(1400), joined(40_000)), (64, 46, 1));
    }
}
