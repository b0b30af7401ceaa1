//! The uplink: the port of the bridge whose frames the helper has, of the first kind that this machine allows.
//!
//! A TAP is a port itself. A packet socket needs a veth pair: one end is the port, the other, in the same namespace,
//! has the socket bound to it and nothing else to do. It has no address and answers no ARP, and what is not sent to its
//! own hardware address the kernel drops after the socket has seen it. Each kind is tried whole, and what it leaves is
//! removed before the next. Reading and writing is `uplink`'s.

use std::os::fd::{AsFd, OwnedFd};

use rtnetlink::packet_route::link::{InfoData, InfoVeth};
use rtnetlink::{LinkMessageBuilder, LinkUnspec, LinkVeth};

use super::bridge::{Bridge, GROUP};
use crate::netns::netlink::{ask, index_of, switch_off_ipv6_of};
use crate::netns::refusal::Refusal;
use crate::sys::plain_tap;
use crate::sys::tun::{OffloadBits, Tap};
use crate::sys::{ethtool, packet};
use crate::uplink::UplinkKind;

/// The uplink as it was made.
#[derive(Debug)]
pub(super) struct Uplink {
    pub(super) kind: UplinkKind,
    /// Name of the port.
    pub(super) ifname: String,
    /// For each queue one, or two packet sockets.
    pub(super) queues: Vec<OwnedFd>,
    pub(super) offload: OffloadBits,
    /// Kinds that were tried before, each with what was said.
    pub(super) refused: Vec<String>,
}

/// The descriptors of each queue, and what is left to their readers.
type End = (Vec<OwnedFd>, OffloadBits);

impl Bridge {
    /// Makes the first that works of the kinds that were asked for.
    pub(super) async fn make_uplink(&self) -> Result<Uplink, Refusal> {
        let ifname = self.free_name(UPLINK, UPLINK_ELSE);
        let mut refused = Vec::new();
        for kind in &self.spec.uplinks {
            let made = match kind {
                UplinkKind::Tap => self.make_tap(ifname).await,
                UplinkKind::TapPlain => self.make_plain_tap(ifname).await,
                UplinkKind::Packet => self.make_packet(ifname).await,
            };
            match made {
                Ok((queues, offload)) => {
                    return Ok(Uplink {
                        kind: *kind,
                        ifname: ifname.to_owned(),
                        queues,
                        offload,
                        refused,
                    });
                }
                Err(refusal) => refused.push(format!("{}: {refusal}", kind.word())),
            }
        }
        Err(Refusal::NoUplink(refused.join(" | ")))
    }

    /// On failure the interface goes with its descriptor.
    async fn make_tap(&self, ifname: &str) -> Result<End, Refusal> {
        let (tap, others) = Tap::create_queues(ifname, self.spec.offload, self.spec.queues)?;
        self.add_port(ifname).await?;
        let queues = std::iter::once(tap.fd).chain(others).collect();
        Ok((queues, tap.offload))
    }

    /// On failure the interface goes with its descriptor.
    async fn make_plain_tap(&self, ifname: &str) -> Result<End, Refusal> {
        let fd = plain_tap::create(ifname)?;
        self.add_port(ifname).await?;
        Ok((vec![fd], OffloadBits::default()))
    }

    async fn make_packet(&self, ifname: &str) -> Result<End, Refusal> {
        let far = self.free_name(FAR, FAR_ELSE);
        self.make_pair(ifname, far).await?;
        let connected = self.connect_packet(ifname, far).await;
        if connected.is_err() {
            // One end takes the other along.
            self.remove_quietly(ifname).await;
        }
        connected
    }

    async fn make_pair(&self, port: &str, far: &str) -> Result<(), Refusal> {
        let mtu = u32::from(self.spec.mtu);
        let peer = LinkMessageBuilder::<LinkUnspec>::default().name(far);
        let peer = peer.mtu(mtu).arp(false).build();
        let pair = LinkMessageBuilder::<LinkVeth>::new(port, far);
        let pair = pair.mtu(mtu).link_group(GROUP);
        let pair = pair.set_info_data(InfoData::Veth(InfoVeth::Peer(peer))).build();
        match ask("making a veth", self.handle.link().add(pair).execute()).await {
            Err(refusal) if refusal.errno() == Some(libc::EOPNOTSUPP) => Err(Refusal::NoVeth),
            result => result,
        }
    }

    async fn connect_packet(&self, port: &str, far: &str) -> Result<End, Refusal> {
        switch_off_ipv6_of(far);
        let index = index_of(&self.handle, far).await?;
        let up = LinkUnspec::new_with_index(index).up().build();
        ask("bringing the uplink up", self.handle.link().set(up).execute()).await?;
        // After it is up: an interface that goes down takes its sockets' frames along.
        let sockets = vec![packet::open(index)?, packet::open(index)?];
        // A veth leaves everything to its other end, but the socket there may have no word for it. Before the port is up.
        let uso = self.spec.offload.uso && sockets.iter().all(|fd| packet::takes_udp_superframes(fd.as_fd()));
        if !uso && let Err(error) = ethtool::switch_off(port, UDP_SEGMENTATION) {
            tracing::warn!("{port}: the kernel does not cut UDP superframes, and they are lost: {error}");
        }
        self.add_port(port).await?;
        let offload = OffloadBits {
            uso,
            ..OffloadBits::ALL
        };
        Ok((sockets, offload))
    }

    /// A name that is not the bridge's own.
    fn free_name(&self, name: &'static str, otherwise: &'static str) -> &'static str {
        if self.spec.name == name { otherwise } else { name }
    }
}

/// What an interface says that takes UDP superframes (since Linux 4.18).
const UDP_SEGMENTATION: &str = "tx-udp-segmentation";
/// Name of the port.
const UPLINK: &str = "uplink";
/// Its name on a bridge that is called so itself.
const UPLINK_ELSE: &str = "uplink0";
/// Name of a pair's other end, where the packet socket is.
const FAR: &str = "stack";
/// Its name beside a bridge that is called so itself.
const FAR_ELSE: &str = "stack0";
