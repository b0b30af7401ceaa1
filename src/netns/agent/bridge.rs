//! The bridge and its ports, in the agent's network namespace.
//!
//! Every change is undone when a later part of it fails, so that a port is whole or not there. Ports are numbered, not
//! named after containers: names of interfaces are short and containers' are not. All links are in one group, so that
//! one request removes them all.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rtnetlink::packet_route::link::{
    BridgeStpState, InfoBridge, InfoData, InfoVeth, LinkAttribute, LinkInfo, LinkMessage,
};
use rtnetlink::packet_route::neighbour::{NeighbourFlags, NeighbourState};
use rtnetlink::{Handle, LinkBridge, LinkBridgePort, LinkMessageBuilder, LinkUnspec, LinkVeth};

use super::ingress::Guards;
use super::uplink::Uplink;
use crate::netns::channel::BridgeView;
use crate::netns::namespace::{Identity, Namespace};
use crate::netns::netlink::{
    ask, configure, connect, forgo_pacing, forgo_queue, index_of, links, name_of, set_ipv6_of, set_sysctl,
    switch_off_ipv6_of, until_it_carries, visit,
};
use crate::netns::refusal::Refusal;
use crate::netns::spec::{InterfaceSpec, NetworkSpec};
use crate::sys::random;
use crate::sys::tun::Tap;

/// The bridge and what hangs on it.
#[derive(Debug)]
pub(super) struct Bridge {
    pub(super) handle: Handle,
    home: Namespace,
    pub(super) spec: NetworkSpec,
    index: u32,
    /// Ports that were made on request, each with the namespace whose processes end with the network.
    ports: BTreeMap<String, Option<Identity>>,
    made: u32,
    /// Frames with wrong addresses at ports that have gone.
    spoofed: u64,
    /// `None` where the kernel cannot look at what comes in.
    guards: Option<Guards>,
}

impl Bridge {
    /// Makes bridge and uplink in the namespace of this process.
    pub(super) async fn create(spec: NetworkSpec) -> Result<(Self, Uplink), Refusal> {
        switch_off_ipv6();
        let handle = connect().map_err(|error| Refusal::kernel("opening netlink", &error))?;
        let home = fs::File::open("/proc/self/ns/net")
            .map(OwnedFd::from)
            .and_then(Namespace::from_fd);
        let home = home.map_err(|error| Refusal::kernel("opening our own namespace", &error))?;
        let index = make_bridge(&handle, &spec).await?;
        let bridge = Self {
            handle,
            home,
            spec,
            index,
            ports: BTreeMap::new(),
            made: 0,
            spoofed: 0,
            guards: open_guards(),
        };
        let uplink = bridge.make_uplink().await?;
        Ok((bridge, uplink))
    }

    /// Connects a network namespace by a veth; returns the port's name. Its processes end with the network if it is
    /// `owned`.
    pub(super) async fn attach(
        &mut self,
        netns: &Namespace,
        spec: &InterfaceSpec,
        owned: bool,
    ) -> Result<String, Refusal> {
        if netns.identity() == self.home.identity() {
            return Err(Refusal::OwnNamespace);
        }
        let port = self.next_name("veth");
        self.make_veth(&port, netns.as_fd(), spec).await?;
        let result = self.connect_veth(&port, netns.as_fd(), spec, owned).await;
        self.keep_or_remove(&port, result).await?;
        self.ports.insert(port.clone(), owned.then(|| netns.identity()));
        Ok(port)
    }

    /// Makes a TAP on the bridge, for one end of a cable; returns it and the port's name.
    pub(super) async fn cable(&mut self, spec: &InterfaceSpec) -> Result<(String, Tap), Refusal> {
        let port = self.next_name("tap");
        let tap = Tap::create(&port, self.spec.offload).map_err(Refusal::cable)?;
        // On failure the TAP goes with its descriptor.
        let added = self.add_container_port(&port, spec).await.map(drop);
        added.inspect_err(|_| self.forget_guard(&port))?;
        self.ports.insert(port.clone(), None);
        Ok((port, tap))
    }

    /// Removes a port; one whose namespace took it along is removed already.
    pub(super) async fn detach(&mut self, port: &str) -> Result<(), Refusal> {
        if !self.ports.contains_key(port) {
            return Err(Refusal::NoSuchPort(port.to_owned()));
        }
        self.spoofed += self.spoofed(Some(port));
        self.remove(port).await?;
        self.ports.remove(port);
        Ok(())
    }

    /// Lets containers reach each other, or not; all of them, or nothing has changed.
    pub(super) async fn set_icc(&mut self, icc: bool) -> Result<(), Refusal> {
        for port in self.ports.keys() {
            match self.isolate(port, !icc).await {
                Ok(()) => {}
                // It went with its namespace.
                Err(refusal) if refusal.errno() == Some(libc::ENODEV) => {}
                Err(refusal) => {
                    for port in self.ports.keys() {
                        // Worth no more words than what has failed.
                        let _ = self.isolate(port, !self.spec.icc).await;
                    }
                    return Err(refusal);
                }
            }
        }
        self.spec.icc = icc;
        Ok(())
    }

    /// How many frames with an address of somebody else's came in at a port, or at all so far.
    pub(super) fn spoofed(&mut self, port: Option<&str>) -> u64 {
        let Some(guards) = &mut self.guards else { return 0 };
        // A port that has just gone has nothing to tell.
        let mut at = |port: &str| guards.spoofed(port).unwrap_or_default();
        match port {
            Some(port) => at(port),
            None => self.spoofed + self.ports.keys().map(|port| at(port)).sum::<u64>(),
        }
    }

    /// Describes the bridge.
    pub(super) async fn view(&self) -> Result<BridgeView, Refusal> {
        let mut view = BridgeView {
            name: self.spec.name.clone(),
            id: String::new(),
            stp: false,
            interfaces: vec![],
        };
        for link in links(&self.handle).await? {
            if link.header.index == self.index {
                describe(&mut view, &link);
            } else if is_port_of(&link, self.index) {
                view.interfaces.extend(name_of(&link).map(str::to_owned));
            }
        }
        Ok(view)
    }

    /// The owned namespaces that are still there: a veth goes with its namespace, so the number in our books was not
    /// given to another meanwhile.
    pub(super) async fn owned(&self) -> Vec<Identity> {
        let Ok(links) = links(&self.handle).await else {
            return Vec::new();
        };
        let alive = links.iter().filter_map(name_of);
        alive
            .filter_map(|name| self.ports.get(name).copied().flatten())
            .collect()
    }

    /// Removes all links at once.
    pub(super) async fn destroy(self) -> Result<(), Refusal> {
        let mut group = LinkMessage::default();
        group.attributes.push(LinkAttribute::Group(GROUP));
        ask(
            "removing the bridge",
            self.handle.link().del_with_message(group).execute(),
        )
        .await
    }

    async fn make_veth(&self, port: &str, netns: BorrowedFd<'_>, spec: &InterfaceSpec) -> Result<(), Refusal> {
        let mtu = u32::from(spec.mtu);
        let peer = LinkMessageBuilder::<LinkUnspec>::default().name(spec.ifname.as_str());
        let peer = peer
            .address(spec.mac.to_vec())
            .mtu(mtu)
            .setns_by_fd(netns.as_raw_fd())
            .build();
        let veth = LinkMessageBuilder::<LinkVeth>::new(port, &spec.ifname)
            .mtu(mtu)
            .link_group(GROUP);
        let veth = veth.set_info_data(InfoData::Veth(InfoVeth::Peer(peer))).build();
        match ask("making a veth", self.handle.link().add(veth).execute()).await {
            // Our own names are counted up, so it is the container's that is taken.
            Err(refusal) if refusal.errno() == Some(libc::EEXIST) => Err(Refusal::InterfaceExists(spec.ifname.clone())),
            Err(refusal) if refusal.errno() == Some(libc::EPERM) => Err(Refusal::NotADescendant),
            result => result,
        }
    }

    async fn connect_veth(
        &mut self,
        port: &str,
        netns: BorrowedFd<'_>,
        spec: &InterfaceSpec,
        owned: bool,
    ) -> Result<(), Refusal> {
        let inside = visit(self.home.as_fd(), netns, || {
            set_ipv6_of(spec);
            if owned {
                forgo_pacing();
            }
            connect()
        });
        let inside = inside
            .flatten()
            .map_err(|error| Refusal::CannotJoin(error.to_string()))?;
        let index = index_of(&inside, &spec.ifname).await?;
        configure(&inside, index, spec).await?;
        let port = self.add_container_port(port, spec).await?;
        until_it_carries(&self.handle, port).await;
        until_it_carries(&inside, index).await;
        Ok(())
    }

    /// Makes an interface a port of the bridge.
    pub(super) async fn add_port(&self, port: &str) -> Result<(), Refusal> {
        let index = self.enslave(port).await?;
        forgo_queue(&self.handle, index).await;
        self.bring_up(index).await
    }

    /// The same for a container, which may send from its own hardware address alone.
    ///
    /// A locked port drops what comes from an address that the bridge does not know to be there, and this one is entered
    /// by hand (br_handle_frame_finish; since Linux 5.16, older kernels pass the flag over, and the stack is what checks).
    /// It forwards nothing before all of that is said. Returns its index.
    async fn add_container_port(&mut self, port: &str, spec: &InterfaceSpec) -> Result<u32, Refusal> {
        let index = self.enslave(port).await?;
        let flags = LinkBridgePort::new(index).isolated(!self.spec.icc).learning(false);
        let flags = flags.locked(true).build();
        ask("locking the port", self.handle.link().set_port(flags).execute()).await?;
        let address = self.handle.neighbours().add_bridge(index, &spec.mac);
        let address = address.state(NeighbourState::Noarp).flags(NeighbourFlags::Controller);
        ask("telling the bridge who is at the port", address.replace().execute()).await?;
        self.guard(port, spec);
        self.bring_up(index).await?;
        Ok(index)
    }

    /// Where the kernel cannot, the stack checks what concerns it.
    fn guard(&mut self, port: &str, spec: &InterfaceSpec) {
        let Some(guards) = &mut self.guards else { return };
        if let Err(error) = guards.post(port, spec) {
            self.guards = None;
            warn_unguarded(&error);
        }
    }

    async fn enslave(&self, port: &str) -> Result<u32, Refusal> {
        let index = index_of(&self.handle, port).await?;
        let link = LinkUnspec::new_with_index(index)
            .mtu(self.spec.mtu.into())
            .link_group(GROUP);
        let link = link.controller(self.index).build();
        ask("adding the port to the bridge", self.handle.link().set(link).execute()).await?;
        Ok(index)
    }

    async fn bring_up(&self, index: u32) -> Result<(), Refusal> {
        let up = LinkUnspec::new_with_index(index).up().build();
        ask("bringing the port up", self.handle.link().set(up).execute()).await
    }

    async fn isolate(&self, port: &str, isolated: bool) -> Result<(), Refusal> {
        let index = index_of(&self.handle, port).await?;
        let flags = LinkBridgePort::new(index).isolated(isolated).build();
        ask("isolating the port", self.handle.link().set_port(flags).execute()).await
    }

    async fn keep_or_remove(&mut self, port: &str, result: Result<(), Refusal>) -> Result<(), Refusal> {
        if result.is_err() {
            self.remove_quietly(port).await;
            self.forget_guard(port);
        }
        result
    }

    /// After something has failed that is worth more words than this.
    pub(super) async fn remove_quietly(&self, port: &str) {
        if let Err(error) = self.delete(port).await {
            tracing::warn!("half a port is left behind: {error}");
        }
    }

    async fn remove(&mut self, port: &str) -> Result<(), Refusal> {
        let removed = self.delete(port).await;
        self.forget_guard(port);
        removed
    }

    async fn delete(&self, port: &str) -> Result<(), Refusal> {
        match index_of(&self.handle, port).await {
            Ok(index) => ask("removing the port", self.handle.link().del(index).execute()).await,
            Err(refusal) if refusal.errno() == Some(libc::ENODEV) => Ok(()),
            Err(refusal) => Err(refusal),
        }
    }

    /// Only now, so that nothing comes in unseen.
    fn forget_guard(&mut self, port: &str) {
        if let Some(guards) = &mut self.guards
            && let Err(error) = guards.dismiss(port)
        {
            tracing::warn!("{port}: what guarded it is left behind: {error}");
        }
    }

    fn next_name(&mut self, kind: &str) -> String {
        loop {
            self.made += 1;
            let name = format!("{kind}{}", self.made);
            if name != self.spec.name {
                return name;
            }
        }
    }
}

fn open_guards() -> Option<Guards> {
    Guards::open().inspect_err(warn_unguarded).ok()
}

fn warn_unguarded(error: &io::Error) {
    tracing::warn!("the kernel does not look at what containers send each other: {error}; load nf_tables");
}

async fn make_bridge(handle: &Handle, spec: &NetworkSpec) -> Result<u32, Refusal> {
    let address = random::hardware_address().map_err(|error| Refusal::kernel("drawing an address", &error))?;
    // An address of its own, for else it would be the lowest of its ports' and change with them.
    let bridge = LinkBridge::new(&spec.name)
        .address(address.to_vec())
        .mtu(spec.mtu.into())
        .link_group(GROUP);
    let bridge = bridge
        .stp_state(BridgeStpState::Disabled)
        .forward_delay(0)
        .mcast_snooping(false)
        .build();
    match ask(
        &format!("making bridge {}", spec.name),
        handle.link().add(bridge).execute(),
    )
    .await
    {
        Ok(()) => {}
        Err(refusal) if refusal.errno() == Some(libc::EOPNOTSUPP) => {
            let missing = io::Error::other("the kernel has no bridges; load the module (modprobe bridge)");
            return Err(Refusal::kernel("making the bridge", &missing));
        }
        Err(refusal) => return Err(refusal),
    }
    let lo = index_of(handle, "lo").await?;
    ask(
        "bringing lo up",
        handle.link().set(LinkUnspec::new_with_index(lo).up().build()).execute(),
    )
    .await?;
    index_of(handle, &spec.name).await
}

/// Bridge and ports have no addresses; frames pass whatever is set here. The last two keep a loaded br_netfilter from
/// sending every frame through hooks that hold no rule.
fn switch_off_ipv6() {
    for conf in ["all", "default"] {
        switch_off_ipv6_of(conf);
    }
    for table in ["iptables", "ip6tables"] {
        set_sysctl(&format!("/proc/sys/net/bridge/bridge-nf-call-{table}"), "0");
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "two attributes of many")]
fn describe(view: &mut BridgeView, bridge: &LinkMessage) {
    let infos = bridge.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => infos.iter().find_map(|info| match info {
            LinkInfo::Data(InfoData::Bridge(infos)) => Some(infos),
            _ => None,
        }),
        _ => None,
    });
    for info in infos.into_iter().flatten() {
        match info {
            InfoBridge::BridgeId(id) => {
                let address: String = id.address.iter().map(|byte| format!("{byte:02x}")).collect();
                view.id = format!("{:04x}.{address}", id.priority);
            }
            InfoBridge::StpState(state) => view.stp = *state != BridgeStpState::Disabled,
            _ => {}
        }
    }
}

fn is_port_of(link: &LinkMessage, bridge: u32) -> bool {
    link.attributes.contains(&LinkAttribute::Controller(bridge))
}

/// The group of all our links (`ip link show group`), an arbitrary number: "gp" in ASCII.
pub(super) const GROUP: u32 = 0x6770;
