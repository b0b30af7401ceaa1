//! Why agent or `join` did not do what they were asked; travels over the channel.

use std::io;

use serde::{Deserialize, Serialize};

use crate::sys::packet::PacketError;
use crate::sys::tun::TapError;

/// One line that says what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// No user namespace for us.
    #[error("{0}")]
    UserNamespace(String),
    /// No TAP: the device, the name or the driver.
    #[error("{0}")]
    Tap(String),
    /// No packet socket.
    #[error("{0}")]
    Packet(String),
    /// None of the uplinks asked for.
    #[error("no way between bridge and host: {0}")]
    NoUplink(String),
    /// No TAPs for the two ends of a cable, whatever the uplink.
    #[error("a container of another user namespace is reached by two TAPs: {0}")]
    Cable(String),
    /// No veth pairs.
    #[error("the kernel has no veth pairs; load the module (modprobe veth)")]
    NoVeth,
    /// The container has an interface of this name.
    #[error("the container has an interface named {0} already; choose another with --ifname")]
    InterfaceExists(String),
    /// The container has a way out already.
    #[error("the container has a default route already; attach it to one network only")]
    DefaultRouteExists,
    /// A veth does not reach the namespace.
    #[error("the container's network namespace does not belong to the network's user namespace")]
    NotADescendant,
    /// The namespace is the bridge's.
    #[error("that is the network's own namespace; attach a container's")]
    OwnNamespace,
    /// The namespace can't be entered.
    #[error("the container's namespaces can't be joined: {0}")]
    CannotJoin(String),
    /// No such port on the bridge.
    #[error("the bridge has no port named {0}")]
    NoSuchPort(String),
    /// A request that does not fit: a second network, an attachment before the first.
    #[error("the agent got a request out of order")]
    OutOfOrder,
    /// The kernel failed otherwise.
    #[error("{step}: {message}")]
    Kernel {
        /// What was tried.
        step: String,
        /// What the kernel said.
        message: String,
        /// Its error number, if it was one.
        errno: Option<i32>,
    },
}

impl Refusal {
    /// A step that the kernel refused.
    pub(super) fn kernel(step: &str, error: &io::Error) -> Self {
        Self::Kernel {
            step: step.to_owned(),
            message: error.to_string(),
            errno: error.raw_os_error(),
        }
    }

    /// A TAP for a cable that there is not.
    pub(super) fn cable(error: TapError) -> Self {
        Self::Cable(error.to_string())
    }

    /// The kernel's error number.
    pub(super) fn errno(&self) -> Option<i32> {
        match self {
            Self::Kernel { errno, .. } => *errno,
            Self::UserNamespace(_)
            | Self::Tap(_)
            | Self::Packet(_)
            | Self::NoUplink(_)
            | Self::Cable(_)
            | Self::NoVeth
            | Self::InterfaceExists(_)
            | Self::DefaultRouteExists
            | Self::NotADescendant
            | Self::OwnNamespace
            | Self::CannotJoin(_)
            | Self::NoSuchPort(_)
            | Self::OutOfOrder => None,
        }
    }
}

impl From<PacketError> for Refusal {
    fn from(error: PacketError) -> Self {
        Self::Packet(error.to_string())
    }
}

impl From<TapError> for Refusal {
    fn from(error: TapError) -> Self {
        Self::Tap(error.to_string())
    }
}
