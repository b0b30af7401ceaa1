//! A packet socket with offload headers: packet(7), linux/if_packet.h, net/packet/af_packet.c.
//!
//! It receives every frame that arrives at one interface and sends into it, each behind the same 10 bytes as a TAP's
//! ([`super::tun`]). Made by the agent, who may (CAP_NET_RAW over its own network namespace), and used by the helper,
//! who may not need to: rights are asked for when the socket is made.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use socket2::{Domain, Protocol, Socket, Type};

/// Why there is no packet socket.
#[derive(Debug, thiserror::Error)]
pub enum PacketError {
    /// The kernel was built without.
    #[error("packet sockets: the kernel has none; load the module (modprobe af_packet)")]
    Missing,
    /// We are root of the namespace, so it is somebody around us who forbids it.
    #[error("packet sockets: permission denied; a sandbox around us forbids them (seccomp, or a dropped CAP_NET_RAW)")]
    Forbidden,
    /// The offload header is as the machine's processor writes numbers, the other uplinks' is little-endian.
    #[error("packet sockets: their offload header is not read on big-endian machines")]
    BigEndian,
    /// The kernel refused a step.
    #[error("packet sockets: the kernel refuses {step}: {source}")]
    Kernel {
        /// What was asked of it.
        step: &'static str,
        /// What it said.
        source: io::Error,
    },
}

/// Opens one on the interface with this number, in the network namespace of this thread.
pub fn open(ifindex: u32) -> Result<OwnedFd, PacketError> {
    if cfg!(target_endian = "big") {
        return Err(PacketError::BigEndian);
    }
    let socket = make()?;
    set(&socket, "an offload header", libc::PACKET_VNET_HDR)?;
    // What we send ourselves is not told to us in any case; this keeps out what the kernel says by itself (Linux 4.20).
    set(&socket, "to hear only what arrives", libc::PACKET_IGNORE_OUTGOING)?;
    // As much as the host allows everybody (net.core.rmem_max, wmem_max): the kernel cuts the wish down to that.
    let refused = |step| move |source| PacketError::Kernel { step, source };
    socket
        .set_recv_buffer_size(BUFFER)
        .map_err(refused("a receive buffer"))?;
    socket.set_send_buffer_size(BUFFER).map_err(refused("a send buffer"))?;
    bind(&socket, ifindex).map_err(refused("to bind to the interface"))?;
    Ok(socket.into())
}

/// Whether this machine has any, in the network namespace of this thread.
pub fn probe() -> Result<(), PacketError> {
    make().map(drop)
}

/// Without a protocol it hears nothing until it is bound, so that no other interface's frames are in its queue.
fn make() -> Result<Socket, PacketError> {
    let kind = Type::RAW.nonblocking().cloexec();
    Socket::new(Domain::PACKET, kind, None::<Protocol>).map_err(socket_error)
}

fn socket_error(error: io::Error) -> PacketError {
    match error.raw_os_error() {
        Some(libc::EAFNOSUPPORT | libc::EPROTONOSUPPORT | libc::ESOCKTNOSUPPORT) => PacketError::Missing,
        Some(libc::EPERM | libc::EACCES) => PacketError::Forbidden,
        _ => PacketError::Kernel {
            step: "a socket",
            source: error,
        },
    }
}

fn set(socket: &Socket, step: &'static str, option: libc::c_int) -> Result<(), PacketError> {
    let on: libc::c_int = 1;
    // SAFETY: only called with options that read one int, which `on` is; the descriptor is open.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            option,
            (&raw const on).cast(),
            INT_LEN,
        )
    };
    if result == 0 {
        return Ok(());
    }
    Err(PacketError::Kernel {
        step,
        source: io::Error::last_os_error(),
    })
}

fn bind(socket: &Socket, ifindex: u32) -> io::Result<()> {
    // SAFETY: sockaddr_ll is plain data, valid when all zero.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = AF_PACKET;
    address.sll_protocol = ETH_P_ALL.to_be();
    address.sll_ifindex = i32::try_from(ifindex).map_err(io::Error::other)?;
    // SAFETY: pointer and length describe `address`, a sockaddr_ll as the family says; the descriptor is open.
    let result = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), ADDRESS_LEN) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Bytes wished for in each direction: 64 superframes, as many as the driver takes in a turn.
const BUFFER: usize = 64 * 64 * 1024;
/// AF_PACKET as a family is written in an address.
const AF_PACKET: libc::sa_family_t = 17;
/// Every protocol; linux/if_ether.h.
const ETH_P_ALL: u16 = 0x0003;
/// Sizes as the kernel wants them.
const INT_LEN: libc::socklen_t = 4;
const ADDRESS_LEN: libc::socklen_t = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_constants_are_the_headers() {
        assert_eq!(libc::c_int::from(AF_PACKET), libc::AF_PACKET);
        assert_eq!(libc::c_int::from(ETH_P_ALL), libc::ETH_P_ALL);
        assert_eq!(usize::try_from(ADDRESS_LEN).unwrap(), size_of::<libc::sockaddr_ll>());
        assert_eq!(usize::try_from(INT_LEN).unwrap(), size_of::<libc::c_int>());
    }

    #[test]
    fn says_what_helps() {
        for (errno, helps) in [
            (libc::EAFNOSUPPORT, "modprobe af_packet"),
            (libc::EPERM, "a sandbox around us"),
            (libc::EMFILE, "open files"),
        ] {
            let line = socket_error(io::Error::from_raw_os_error(errno)).to_string();
            assert!(
                line.starts_with("packet sockets: ") && line.contains(helps),
                "{errno}: {line}"
            );
        }
    }
}
