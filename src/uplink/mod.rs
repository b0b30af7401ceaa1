//! The descriptor over which frames pass between bridge and stack.
//!
//! `netns` opens and configures the interfaces; this module only reads and writes. The helper has one uplink, of one of
//! three kinds:
//!
//! | kind | what it is | offloads | needs |
//! | --- | --- | --- | --- |
//! | [`Tap`] | a TAP with offload headers | all that the kernel has | /dev/net/tun |
//! | [`TapPlain`] | a TAP without | none | /dev/net/tun |
//! | [`Packet`] | packet sockets on the end of a veth pair | all | nothing |
//!
//! [`cable`] joins two TAPs where no veth can reach.
//!
//! # How a superframe travels
//!
//! A superframe is one `sk_buff` of up to 64 KB: the headers of its first segment, a `gso_size` to cut by, and in place of
//! the checksum the pseudo-header's sum. `struct virtio_net_hdr` (linux/virtio_net.h, our [`Offload`]) tells all of that, so
//! nobody has to cut it (`validate_xmit_skb`, net/core/dev.c) as long as everybody on its way can take it whole.
//!
//! *Out.* A container's TCP fills an `sk_buff` to what its interface allows (`gso_max_size`). `netif_skb_features` of a veth
//! says TSO and checksums; the bridge lets a superframe pass whatever the MTU (`is_skb_forwardable`); a TAP's features are
//! what TUNSETOFFLOAD agreed to. `tun_put_user` (drivers/net/tun.c) or `tpacket_rcv` (net/packet/af_packet.c) writes
//! header and frame, and one [`Uplink::lend`] has both. smoltcp copies the payload into the flow's ring, from which the host
//! socket's `write` takes it.
//!
//! *Back.* The host socket's `read` fills the flow's ring. smoltcp makes one packet of as many whole segments as
//! `stack::device` allows; `gso_size` is the MSS of the container's SYN, or what the MTU has room for if that is less; and
//! one [`Uplink::send`] has it. `tun_get_user` or `packet_snd` marks it as from an untrusted source (SKB_GSO_DODGY), for
//! which the veth has `tcp_gso_segment` count its segments anew, without cutting. The container's `tcp_v4_rcv` takes it as
//! one segment and acknowledges it once.
//!
//! What that relies on, each shown by a probe of `integration/probes/run` on the kernel at hand:
//!
//! | rule | decided in | probe |
//! | --- | --- | --- |
//! | a superframe crosses whole below 65,536 bytes, Ethernet header counted | `gso_features_check` | `superframes.whole_below_64k` |
//! | one byte more, and it is cut in software | `gso_features_check` | `superframes.cut_from_64k_on` |
//! | its last segment may be short | `tcp_gso_segment` | `superframes.last_segment_may_be_short` |
//! | a container's TCP sends near 64 KB at once, checksum left to us | `tcp_write_xmit` | `superframes.container_sends_superframes` |
//! | an MSS larger than the MTU's does not enlarge its segments, a smaller one counts | `tcp_sync_mss` | `superframes.larger_mss_changes_nothing` |
//! | it takes 64 KB as one segment | `tcp_v4_rcv` | `superframes.container_takes_it_whole` |
//! | what a TAP did not agree to, the kernel does before | `validate_xmit_skb` | `superframes.without_offload_the_kernel_cuts` |
//! | TSO and USO only with CSUM, USO4 only with USO6 | `set_offload` (tun) | `taps.tcp_offload_needs_checksum`, `taps.udp_offload_needs_checksum` |
//! | a refusal leaves what was agreed | `set_offload` (tun) | `taps.refused_offload_changes_nothing` |
//! | a TAP has several queues only if it was made so | `tun_set_iff` | `taps.queues_are_decided_at_first` |
//! | a flow comes to the queue over which it was answered last | `tun_automq_select_queue` | `taps.queue_follows_the_flow` |
//! | UDP_SEGMENT inside is one UDP_L4 frame here | `udp_send_skb` | `datagrams.container_sends_trains` |
//! | and back, for sockets with UDP_GRO and without | `udp_queue_rcv_skb` | `datagrams.container_takes_trains` |
//! | a packet socket carries TCP's superframes just so, both ways | `tpacket_rcv`, `packet_snd` | `packets.container_sends_superframes`, `packets.container_takes_superframes` |
//! | its ring holds offload headers too, and does not depend on net.core.rmem_max | `tpacket_rcv` | `packets.ring_has_offload_headers`, `packets.ring_is_not_bounded_by_rmem` |
//! | it refuses a long frame that is no superframe (EMSGSIZE) | `packet_snd` | `packets.long_frame_is_refused` |
//! | isolated ports hear only ports that are not (`icc=false`) | `should_deliver` | `ports.isolated_ports_hear_only_others` |
//! | a locked port lets frames in from the address that was entered for it, and no others | `br_handle_frame_finish` | `ports.locked_port_lets_one_address_in` |
//!
//! Shown as well, and not relied on so far: the way past the queueing discipline (`packets.bypass_carries_superframes`).

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use crate::stack::Offload;

pub mod cable;
mod frames;
mod kind;
mod packet;
mod tap;
mod tap_plain;

pub use cable::Cable;
pub use frames::FrameError;
pub use kind::UplinkKind;
pub use packet::Packet;
pub use tap::Tap;
pub use tap_plain::TapPlain;

/// A source and sink of Ethernet frames with their offload headers; never waits.
pub trait Uplink: AsFd + Send + Sync + std::fmt::Debug {
    /// Which kind it is.
    fn kind(&self) -> UplinkKind;

    /// Receives one frame into `buffer` and says how long it is. With room for [`FRAME_BYTES`] none is cut short.
    fn recv(&self, buffer: &mut [u8]) -> Result<(Offload, usize), FrameError>;

    /// Receives one frame and lends it to `handle`: where it lies, if the kernel has put it into memory of ours, or else
    /// in `buffer`.
    fn lend(&self, buffer: &mut [u8], handle: &mut dyn FnMut(Offload, &[u8])) -> Result<(), FrameError> {
        let (offload, len) = self.recv(buffer)?;
        handle(offload, buffer.get(..len).unwrap_or_default());
        Ok(())
    }

    /// Sends one frame; the kernel takes all of it or none.
    fn send(&self, offload: Offload, frame: &[u8]) -> Result<(), FrameError> {
        self.send_parts(offload, [frame, &[]])
    }

    /// The same with a frame that lies in two places.
    fn send_parts(&self, offload: Offload, parts: [&[u8]; 2]) -> Result<(), FrameError>;

    /// Frames on their way to us that found the queue full, as far as the kernel says so.
    fn lost(&self) -> u64 {
        0
    }
}

/// Takes over the descriptors of this kind, and makes a queue of each; of packet sockets, of every two.
pub fn open(kind: UplinkKind, fds: Vec<OwnedFd>) -> io::Result<Vec<Box<dyn Uplink>>> {
    match kind {
        UplinkKind::Tap => each(fds, Tap::new),
        UplinkKind::TapPlain => each(fds, TapPlain::new),
        UplinkKind::Packet => each(pairs(fds)?, Packet::new),
    }
}

fn each<D, U: Uplink + 'static>(fds: Vec<D>, new: impl Fn(D) -> io::Result<U>) -> io::Result<Vec<Box<dyn Uplink>>> {
    let boxed = |fd| Ok(Box::new(new(fd)?) as Box<dyn Uplink>);
    fds.into_iter().map(boxed).collect()
}

fn pairs(fds: Vec<OwnedFd>) -> io::Result<Vec<[OwnedFd; 2]>> {
    let mut fds = fds.into_iter();
    let mut pairs = Vec::new();
    while let Some(first) = fds.next() {
        let second = fds.next().ok_or(io::ErrorKind::InvalidInput)?;
        pairs.push([first, second]);
    }
    Ok(pairs)
}

/// The largest frame: 64 KB of IP and an Ethernet header, with room for a VLAN tag.
pub const FRAME_BYTES: usize = 65_536 + 18;
