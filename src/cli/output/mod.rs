//! What commands print: values in, text out.
//!
//! No command prints by itself: each asks a function here for its whole output and writes it at once. `now` is an
//! argument, so the tables are tested to the letter. Layout and words are Docker's wherever Docker has them.

mod duration;
mod events;
mod filter;
mod format;
mod network;
mod ports;
mod ps;
mod table;

pub use events::{EVENT_KEYS, EventFormat, event, is_wanted};
pub use filter::{Filter, FilterError};
pub use format::{DocumentFormat, Format, documents};
pub use network::{network_document, networks, show};
pub use ports::{NoPublicPort, port, port_lines, port_list, published};
pub use ps::{PsView, ps};

pub(in crate::cli) use format::{Column, list};
