//! gangplank: docker0 for a user without root.
//!
//! One helper per user and network owns a Linux bridge inside a user namespace. Containers hang on it by veth, get an
//! address and a gateway; whatever leaves the bridge is carried to the host's ordinary sockets by a user-mode TCP/IP
//! stack built on smoltcp, and published ports come in the same way. No root, no setuid helper, no iptables.
//!
//! # The map
//!
//! Arrows point down only: binary → shell → core. `tests/layering.rs` keeps it so, and keeps the core pure.
//!
//! | layer | module | what lives there |
//! | --- | --- | --- |
//! | shell | [`cli`] | commands and what they print |
//! | shell | [`compat`] | other programs' command lines, slirp4netns; the engine that they share, and their confinement |
//! | shell | [`container`] | a command in namespaces of its own: init, monitor, `exec` |
//! | shell | [`helper`] | the supervisor of one network, and the driver of its data plane: a worker for each core |
//! | shell | [`api`] | typed requests between commands and helper, and its stream of events |
//! | shell | [`netns`] | namespaces, rtnetlink, the agent that owns the bridge |
//! | shell | [`host`] | the host's sockets, listeners and resolvers |
//! | shell | [`uplink`] | the descriptor over which frames pass between bridge and stack; cables |
//! | shell | [`sys`] | system calls; the only `unsafe` |
//! | core | [`network`] | subnets, address pools, published ports, names |
//! | core | [`stack`] | frames in, host traffic out, and back |
//! | core | [`policy`] | where a destination leads |
//!
//! The core takes input and time and returns output. It makes no system call, reads no clock, starts no thread, draws no
//! randomness of its own, and is tested with a simulated container and a virtual clock. The shell owns descriptors, time
//! and processes and takes no protocol decision.
//!
//! # Processes and privilege
//!
//! ```text
//!  gangplank CLI ──HTTP/JSON on a unix socket──▶ helper   the user, in the host's network namespace, no privilege
//!      │                                           │  socketpair; requests, and descriptors by SCM_RIGHTS
//!      │                                           ▼
//!      │                                         agent    root of a user namespace of its own, whose only other
//!      │                                           │      content is the bridge; ends with the helper
//!      ▼                                  bridge ── veth ── container A (eth0)
//!    monitor ── parent of a command          │ └─── veth ── container B (eth0)
//!               that `run` started        uplink: a TAP, or a veth with a packet socket; the
//!                                         helper has the descriptor
//! ```
//!
//! A container's user namespace is a child of the agent's, so its root can touch neither the bridge nor the agent. A
//! namespace of a *sibling* user namespace (podman's, `unshare -r`) is out of every veth's reach: a short-lived process
//! joins it, makes a TAP there and hands its descriptor over, and a [cable](uplink::cable) carries frames between it and
//! a TAP on the bridge.
//!
//! A [personality](compat) has neither network nor agent: one process serves one namespace over one TAP in it, with the
//! same data plane.
//!
//! All of them are this one binary; `main.rs` tells them apart by their name or first argument.
//!
//! # One packet's journey
//!
//! A container writes 64 KB to a TCP connection. Its kernel makes one superframe with a partial checksum (the interface's
//! MTU is 1500; cutting is left to whoever can't take it whole), which crosses veth and bridge and waits in the
//! uplink, here a TAP (the other two kinds: [`uplink`]).
//!
//! 1. [`helper::driver`] wakes and reads it with its offload header ([`uplink::Tap`]) into its one frame buffer.
//! 2. [`stack::Engine::handle_frame`] checks every length and that the container speaks with its own addresses, finds the
//!    flow in its table, and lets that flow's own smoltcp interface see the packet: the bytes are in the flow's ring.
//! 3. [`stack::Engine::poll_action`] says that the flow has bytes to *drain*; the driver lends the ring to the host socket's
//!    `write`. What the host does not take stays in the ring and is missing from the window: that is all the back-pressure.
//! 4. [`stack::Engine::poll_transmit`] writes the acknowledgement into the driver's other buffer; it goes to the TAP.
//!
//! The answer comes as readiness of the host socket: `read` *fills* the flow's ring, and `poll_transmit` makes superframes of
//! it, each a multiple of the container's segment size and below 64 KB with its Ethernet header (one byte more, and the
//! kernel cuts it in software). The kernel cuts nothing until it must: the container's own stack takes the superframe whole.
//!
//! What one container says to another the kernel's bridge carries, after a look at whose addresses it bears
//! (`netns::agent::ingress`); while containers are kept apart, the stack passes on what a link allows ([`stack::Links`]).
//!
//! There may be several workers, each a thread with a queue of the uplink, an engine and flows of its own: a flow stays
//! with the one that answered its first packet, and its frames come there ([`helper::driver`], [`stack::Directory`]).
//!
//! # The loop contract
//!
//! After any `handle_*`, `drain` or `fill`: `poll_action` until `None`, `poll_transmit` until `None`, then wait until
//! `poll_timeout` or the next input. The driver is the only caller; see there for how turns are bounded.
//!
//! # House rules
//!
//! `unsafe` only in [`sys`], with a safety note for each block. Time is an input: [`sys::clock`] is the one place that
//! reads it. Input from a container can never panic us or make us wait. Errors are one small enum an operation, and their
//! text says what to do. The words *flow*, *initiating* and *target side*, *endpoint* and *our* address mean the same in
//! code, logs and documentation.

pub mod api;
pub mod cli;
pub mod compat;
pub mod container;
pub mod helper;
pub mod host;
pub mod netns;
pub mod network;
pub mod policy;
pub mod stack;
pub mod sys;
pub mod uplink;
