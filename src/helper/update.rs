//! Changing a network while it runs.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::failure::Failure;
use super::lifecycle::blocking;
use super::state;
use super::supervisor::Supervisor;
use crate::api::types::NetworkUpdate;

impl Supervisor {
    /// Makes a change, for running containers too; one that cannot be made leaves everything as it was.
    pub(super) async fn update(&self, NetworkUpdate { icc }: NetworkUpdate) -> Result<(), Failure> {
        let Some(icc) = icc else {
            return Err(Failure::bad("nothing to change: say --icc=true or --icc=false"));
        };
        // One change at a time: the last one told to bridge and stack is the one that is shown.
        let state = self.lock().await;
        if self.is_ending() {
            return Err(Failure::ending());
        }
        let agent = Arc::clone(&self.agent);
        blocking(move || agent.set_icc(icc).map_err(Failure::failed)).await?;
        self.icc.store(icc, Ordering::Relaxed);
        self.tell_links(&state);
        let written = state::load(&self.place).map_or(Ok(()), |mut saved| {
            saved.options.icc = icc;
            state::save(&self.place, &saved)
        });
        if let Err(error) = written {
            tracing::warn!(%error, "the change is made, but not written down");
        }
        Ok(())
    }
}
