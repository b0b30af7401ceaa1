//! Namespaces, rtnetlink and the agent.
//!
//! The only module that makes or enters namespaces and speaks netlink, but for `compat::confine`, which leaves for one that is
//! empty. The helper calls [`Agent`], [`Namespace`] and
//! [`host_facts()`]; the binary runs [`agent`] and [`join`] as processes of their own, because entering a namespace
//! changes a whole process and the helper must stay where the host's network is.
//!
//! # How a container is reached
//!
//! - Its network namespace is owned by the network's user namespace or one below: the agent makes a veth, for its
//!   capabilities reach down ([`Agent::attach`]).
//! - It is owned by a sibling, another user namespace of the same user: nobody has privilege over both sides. A
//!   process that joins it makes a TAP there ([`join::make_interface`]), the agent makes one on the bridge ([`Agent::cable`]), and
//!   the helper carries frames between the two (`uplink::cable`).
//! - It is served alone, without a bridge, as slirp4netns and pasta do it: a child that joins it opens a TAP there, and
//!   that is all there is ([`line::tie`]).
//!
//! Sources: user_namespaces(7), network_namespaces(7), rtnetlink(7), veth(4), linux/if_bridge.h.

pub mod agent;
mod channel;
mod handle;
mod host_facts;
mod host_view;
pub mod inhabitants;
pub mod join;
pub mod line;
mod namespace;
mod netlink;
mod new_routes;
mod nftables;
pub mod outpost;
mod refusal;
mod spec;
mod watch;

pub use channel::BridgeView;
pub use handle::{Agent, AgentError, CableEnd, UplinkEnd};
pub use host_facts::{HostFactsError, host_facts, nameservers};
pub use host_view::{HostLink, HostView, ViewedRoute};
pub use namespace::{Identity, Kinship, Namespace, OpenError, members};
pub use new_routes::NewRoutes;
pub use refusal::Refusal;
pub use spec::{InterfaceSpec, NetworkSpec};
pub use watch::Watch;
