//! Numbers that a container cannot guess: hash keys, initial sequence numbers, stand-in ports.
//!
//! Not for secrets. All of it grows from the seed given to [`Engine::new`](super::Engine::new), so that a test with a
//! fixed seed always sees the same numbers.

use ahash::RandomState;

/// A keyed hash of a counter.
#[derive(Debug)]
pub(super) struct Random {
    key: RandomState,
    drawn: u64,
}

impl Random {
    pub(super) fn new([a, b, c, d]: [u64; 4]) -> Self {
        Self {
            key: RandomState::with_seeds(a, b, c, d),
            drawn: 0,
        }
    }

    /// The next number.
    pub(super) fn draw(&mut self) -> u64 {
        self.drawn += 1;
        self.key.hash_one(self.drawn)
    }

    /// A port outside the well-known ones.
    pub(super) fn port(&mut self) -> u16 {
        const FIRST: u64 = 1024;
        let port = FIRST + self.draw() % (u64::from(u16::MAX) + 1 - FIRST);
        u16::try_from(port).unwrap_or(u16::MAX)
    }

    /// A key for one more hash table.
    pub(super) fn hash_key(&mut self) -> RandomState {
        RandomState::with_seeds(self.draw(), self.draw(), self.draw(), self.draw())
    }
}
