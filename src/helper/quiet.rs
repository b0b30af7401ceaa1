//! Nobody asks for anything: the code that starting and answering needed is let go of.
//!
//! A request passes through most of the program once (HTTP, JSON, netlink), and what stays mapped of it counts as the
//! helper's memory for all the hours in which only packets pass. It is back from the page cache before the next request
//! is read.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use tokio::sync::Notify;

use crate::sys::code;

/// Waits for quiet after each request. A request that goes on, such as a wait for an end, is quiet meanwhile.
#[derive(Debug, Clone, Default)]
pub(super) struct Quiet(Arc<Notify>);

impl Quiet {
    /// The network has just started: that was the first request.
    pub(super) fn begin() -> Self {
        let quiet = Self::default();
        quiet.0.notify_one();
        tokio::spawn(quiet.clone().keep());
        quiet
    }

    /// Passes a request on, and takes note of it.
    pub(super) async fn note(State(quiet): State<Self>, request: Request, next: Next) -> Response {
        quiet.0.notify_one();
        let response = next.run(request).await;
        quiet.0.notify_one();
        response
    }

    async fn keep(self) {
        loop {
            self.0.notified().await;
            while tokio::time::timeout(LONG_ENOUGH, self.0.notified()).await.is_ok() {}
            if let Err(error) = code::forget() {
                tracing::debug!(%error, "what only a request needs stays mapped");
            }
        }
    }
}

/// Longer than between the requests of one script.
const LONG_ENOUGH: Duration = Duration::from_millis(500);
