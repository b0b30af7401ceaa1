//! A TAP without offload headers, by the crate `tun-tap`.
//!
//! For machines whose TAP driver takes nothing but TUNSETIFF; [`super::tun`] makes the other ones. Made by the agent in
//! the network namespace that the calling thread is in; read and written by `uplink`.

use std::io;
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};

use tun_tap::{Iface, Mode};

use super::tun::{TapError, check_name, interface_error, open_device};

/// Makes the interface in the network namespace of this thread, down; it goes when the descriptor is closed.
pub fn create(name: &str) -> Result<OwnedFd, TapError> {
    // The crate cuts a name that is too long, and does not say whether device or interface was refused.
    check_name(name)?;
    drop(open_device()?);
    let interface = Iface::without_packet_info(name, Mode::Tap);
    let fd = interface.map_err(|error: io::Error| interface_error(name, error, "a TAP interface"))?;
    // SAFETY: the interface gives its only descriptor away, open and close-on-exec.
    Ok(unsafe { OwnedFd::from_raw_fd(fd.into_raw_fd()) })
}
