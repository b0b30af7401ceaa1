//! The user-mode TCP/IP stack: frames in, host traffic out, and back.
//!
//! Pure: input and time go in, outputs come out. It makes no system call, reads no clock, starts no thread and draws no
//! randomness but from its seed; so every behaviour is tested with a simulated container and a virtual clock.
//! The driver in `helper` is its only caller; [`policy`](crate::policy) tells it where destinations lead.
//!
//! # One frame's journey
//!
//! [`Engine::handle_frame`] takes an Ethernet frame and its [`Offload`] header. The views in `frame` check every length,
//! `container` that the sender speaks with its own addresses. ARP for the gateway and echo requests to it are answered
//! from the `control` queue; what is meant for the outside becomes a [`Passage`] for the shell, or an [`Action`]. Fragments
//! wait in `fragments` for the rest of their datagram; the whole comes back to the shell, to be shown like any other frame.
//!
//! Who configures itself is answered from `dhcp` and `router`: the one thing that is heard of a sender without an address.
//!
//! Both families take the same way; what differs stands in few places: `frame` and `ipv6` take packets apart, `ends` writes
//! the headers of what is ours, `icmp` and `icmpv6` say what went wrong, `arp` (in the engine), `ndp` and `router` tell
//! containers where the gateway is.
//!
//! # TCP: one smoltcp interface for each flow
//!
//! smoltcp finds the socket of a packet by walking all sockets of an interface. So a flow is found in our own table
//! (`flow`) and has an interface, a socket set and a socket of its own (`tcp`), over a wire that carries one packet
//! (`device`) and builds it in the caller's buffer. A packet costs the same with one flow and with ten thousand.
//!
//! An outbound SYN is held, not answered: its headers are kept, [`Action::Connect`] goes out, and only
//! [`Engine::connected`] makes the interface and its rings and lets it see the SYN. So a refused connection is refused and
//! an unreachable one unreachable, a half-open flow costs some 400 bytes, and no paused SYN|ACK is needed in smoltcp.
//! What smoltcp lacks of RFC 5961, and what it must not see, is in `guard`.
//!
//! Towards the container, smoltcp builds superframes: the kernel at the other end of the uplink cuts them to the real
//! segment size and completes their checksums. Without such an uplink it builds plain segments.
//!
//! # Memory
//!
//! A flow's rings are as large as its speed wants and cost what it moves (`rings`): their pages come with the first byte,
//! go when the flow rests, and pass from one flow to the next. Where they lie is the shell's business ([`RingMemory`]).
//!
//! # Shards
//!
//! One engine serves a network, or several do, each on a core of its own and with flows of its own, which it found first
//! ([`Directory`]). Nothing else is shared.
//!
//! # Links
//!
//! Containers that the bridge keeps apart reach the exposed ports of those they are linked to through the stack, which
//! passes such frames on as they are ([`Links`], `engine::relay`).
//!
//! # Fairness and bounds
//!
//! Flows that may have something to send stand in one queue and get a frame each in turn, after the control queue. Each
//! flow is announced to the shell once, until the shell has looked. Every table and queue has a bound in [`Limits`] or
//! beside its constant. What containers hold is counted in a [`Ledger`] for the whole network; beyond a limit, the container
//! that has most loses what has been idle longest (`engine::room`), or the newcomer is refused. What waits in queues beyond
//! theirs is lost. Every deadline stands in one table (`timer`), and every state of a flow has one (`patience`).

mod associations;
mod container;
mod control;
mod counters;
mod datagram;
mod device;
mod dhcp;
mod directory;
mod ends;
mod engine;
mod flow;
mod fragments;
mod frame;
mod guard;
mod icmp;
mod icmpv6;
mod ipv6;
mod ledger;
mod links;
mod ndp;
mod offload;
mod patience;
mod random;
mod rings;
mod router;
mod segment;
mod space;
mod tcp;
mod timer;
mod types;
mod udp;

pub use counters::{Counters, Discard};
pub use dhcp::{AddressSource, Dhcp, Dhcpv6, Tenure};
pub use directory::{Directory, ShardId};
pub use engine::{Common, Engine};
pub use frame::{CACHE_LINE, OUT_BYTES, TCP_HEADERS};
pub use ledger::Ledger;
pub use links::Links;
pub use offload::{Gso, GsoType, Offload, OffloadError, PartialChecksum};
pub use rings::{Ring, RingId, RingMemory, RingSizes};
pub use types::{
    Action, Attachment, ClientSocket, Closing, Config, EchoId, Failure, Fault, FlowId, Handling, Ipv6, Limits,
    MappingId, Passage, Payload, PublishId, Refusal, Senders, Target, Transmit, Unconnected, Unreachable,
    UplinkCapabilities,
};
