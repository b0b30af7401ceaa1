//! The commands' side of a stream of events: lines of JSON out of the chunks of an answer that goes on.

use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use tokio::runtime::Runtime;

use super::client::ClientError;
use super::events::Event;

/// Events of a helper, one after the other; ends with the network, or when all that were asked for have been told.
#[derive(Debug)]
pub struct EventStream {
    /// It drives the connection while somebody waits.
    runtime: Runtime,
    body: Incoming,
    /// What has come of lines that were not yet taken.
    pending: Vec<u8>,
}

impl EventStream {
    pub(super) fn new(runtime: Runtime, body: Incoming) -> Self {
        Self {
            runtime,
            body,
            pending: Vec::new(),
        }
    }

    fn chunk(&mut self) -> Option<Result<Bytes, ClientError>> {
        let frame = self.runtime.block_on(self.body.frame())?;
        Some(
            frame
                .map_err(ClientError::Broken)
                .map(|frame| frame.into_data().unwrap_or_default()),
        )
    }
}

impl Iterator for EventStream {
    type Item = Result<Event, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.pending.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).map_err(|error| ClientError::Strange(error.to_string())));
            }
            match self.chunk()? {
                Ok(bytes) => self.pending.extend_from_slice(&bytes),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}
