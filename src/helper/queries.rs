//! What the helper tells of its network and containers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use smoltcp::wire::EthernetAddress;
use tokio::sync::mpsc;

use super::driver::Command;
use super::failure::Failure;
use super::lifecycle::{blocking, find};
use super::links;
use super::supervisor::Supervisor;
use crate::api::inspect::Inspect;
use crate::api::types::{Bridge, ContainerSummary, Network, NetworkOptions, PortMapping, Status};

impl Supervisor {
    /// The network.
    pub(super) async fn network(&self) -> Network {
        let counters = self.counters().await;
        let containers = self
            .lock()
            .await
            .containers
            .values()
            .filter(|container| container.link.is_some())
            .count();
        Network {
            name: self.name.clone(),
            options: NetworkOptions {
                subnet: Some(self.subnets.v4),
                subnet6: self.subnets.v6.into(),
                icc: self.icc.load(Ordering::Relaxed),
                transient: self.transient.load(Ordering::Relaxed),
                bridge: Some(self.bridge_name().to_owned()),
                // As asked for, though an uplink with one queue has one: who asks again is to hear the same.
                threads: self
                    .options
                    .threads
                    .or_else(|| u8::try_from(self.driver().threads()).ok()),
                ..self.options.clone()
            },
            subnet: self.subnets.v4,
            gateway: self.subnets.gateway.address,
            subnet6: self.subnets.v6,
            gateway6: self.subnets.gateway.address6,
            why: self.why.clone(),
            uplink: self.uplink.word().to_owned(),
            helper_pid: std::process::id().cast_signed(),
            agent_pid: self.agent.pid(),
            containers,
            counters,
        }
    }

    /// What the workers of the data plane have counted, together; empty when it has ended.
    async fn counters(&self) -> BTreeMap<String, u64> {
        let (reply, mut counted) = mpsc::unbounded_channel();
        self.command(Command::Counters(reply));
        let own = self.resolver.counters();
        let mut counters: BTreeMap<_, _> = own.map(|(name, count)| (name.to_owned(), count)).collect();
        while let Some((name, count)) = counted.recv().await {
            *counters.entry(name.to_owned()).or_default() += count;
        }
        counters.insert("drop_spoofed_at_ports".to_owned(), self.spoofed_at(None).await);
        counters
    }

    /// The bridge as the kernel shows it.
    pub(super) async fn bridge(&self) -> Result<Bridge, Failure> {
        let agent = Arc::clone(&self.agent);
        let view = blocking(move || agent.bridge().map_err(Failure::failed)).await?;
        Ok(Bridge {
            name: self.bridge_name().to_owned(),
            id: view.id,
            stp: view.stp,
            interfaces: view.interfaces,
        })
    }

    /// Lines of `ps`, youngest first as Docker lists them.
    pub(super) async fn list(&self, all: bool) -> Vec<ContainerSummary> {
        let state = self.lock().await;
        let listed = state
            .containers
            .values()
            .filter(|container| all || container.state.status == Status::Running);
        let mut lines: Vec<ContainerSummary> = listed.map(|container| container.summary()).collect();
        lines.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.name.cmp(&b.name)));
        lines
    }

    /// A container's ports.
    pub(super) async fn ports(&self, name: &str) -> Result<Vec<PortMapping>, Failure> {
        find(&*self.lock().await, name).map(|container| container.ports())
    }

    /// The variables that a container's commands are given: those of its links, then those that it was made with.
    pub(super) async fn environment(&self, name: &str) -> Result<Vec<String>, Failure> {
        let state = self.lock().await;
        let container = find(&state, name)?;
        let links::Told { variables, .. } = links::told(&state, &container.name, &container.links);
        Ok([variables.as_slice(), &container.wish.env].concat())
    }

    /// Docker's document about a container.
    pub(super) async fn inspect(&self, name: &str) -> Result<Inspect, Failure> {
        let port = {
            let state = self.lock().await;
            let container = find(&state, name)?;
            let link = container.link.as_ref().zip(container.lease);
            link.map(|(link, lease)| (link.port.clone(), lease.mac))
        };
        let spoofed = match port {
            Some((port, mac)) => self.spoofed_at(Some(port)).await + self.spoofed_by(mac).await,
            None => 0,
        };
        let state = self.lock().await;
        find(&state, name).map(|container| super::inspect::document(self, container, spoofed))
    }

    /// Frames with a wrong address that ended at a port of the bridge, or at all of them so far.
    async fn spoofed_at(&self, port: Option<String>) -> u64 {
        let agent = Arc::clone(&self.agent);
        let counted = blocking(move || agent.spoofed(port.as_deref()).map_err(Failure::failed)).await;
        // Whoever wants to know of the agent's end hears of it otherwise.
        counted.unwrap_or_default()
    }

    /// The same of those that came as far as the stack.
    async fn spoofed_by(&self, mac: EthernetAddress) -> u64 {
        let (reply, mut counted) = mpsc::unbounded_channel();
        self.command(Command::Spoofed(mac, reply));
        let mut all = 0;
        while let Some(count) = counted.recv().await {
            all += count;
        }
        all
    }
}
