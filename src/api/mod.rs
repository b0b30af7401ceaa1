//! Typed requests between commands and helper: HTTP with JSON bodies on the network's unix socket.
//!
//! Paths are those that [`client::Client`] asks for; the helper's `routes` module serves the same. Every refusal is a
//! [`types::Problem`] with one line that says what to do.

pub mod client;
pub mod event_stream;
pub mod events;
pub mod inspect;
pub mod listener;
pub mod timestamp;
pub mod types;
