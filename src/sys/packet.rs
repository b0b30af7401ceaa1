//! A packet socket with offload headers: packet(7), linux/if_packet.h, net/packet/af_packet.c.
//!
//! It receives every frame that arrives at one interface and sends into it, each behind the same 10 bytes as a TAP's
//! ([`super::tun`]). Made by the agent, who may (CAP_NET_RAW over its own network namespace), and used by the helper,
//! who may not need to: rights are asked for when the socket is made.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

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
    set(socket.as_fd(), "an offload header", libc::PACKET_VNET_HDR, &ON)?;
    // What we send ourselves is not told to us in any case; this keeps out what the kernel says by itself (Linux 4.20).
    set(
        socket.as_fd(),
        "to hear only what arrives",
        libc::PACKET_IGNORE_OUTGOING,
        &ON,
    )?;
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

/// Whether the kernel has a word for UDP superframes in a packet socket's offload header (since Linux 6.2): it is given one,
/// and either finds the header invalid or loses the frame, for the interface must have no carrier yet.
pub fn takes_udp_superframes(socket: BorrowedFd<'_>) -> bool {
    let sent = SockRef::from(&socket).send(&UDP_SUPERFRAME);
    !sent.is_err_and(|error| error.raw_os_error() == Some(libc::EINVAL))
}

/// Frames that found no room since this was last asked (PACKET_STATISTICS).
pub fn losses(socket: BorrowedFd<'_>) -> io::Result<u32> {
    let mut statistics = libc::tpacket_stats {
        tp_packets: 0,
        tp_drops: 0,
    };
    let mut len = STATISTICS_LEN;
    // SAFETY: the kernel writes at most `len` bytes, which is the size of `statistics`; the descriptor is open.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            (&raw mut statistics).cast(),
            &raw mut len,
        )
    };
    if result == 0 {
        Ok(statistics.tp_drops)
    } else {
        Err(io::Error::last_os_error())
    }
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

/// Sets an option that reads a `T`.
pub(super) fn set<T: Copy>(
    socket: BorrowedFd<'_>,
    step: &'static str,
    option: libc::c_int,
    value: &T,
) -> Result<(), PacketError> {
    let len = libc::socklen_t::try_from(size_of::<T>()).unwrap_or(0);
    // SAFETY: pointer and length describe `value`, and the kernel only reads; the descriptor is open.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            option,
            ptr::from_ref(value).cast(),
            len,
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
/// An offload header for two segments of one byte, and two bytes from nobody to nobody.
const UDP_SUPERFRAME: [u8; 10 + 14 + 20 + 8 + 2] = {
    let mut frame = [0; 10 + 14 + 20 + 8 + 2];
    // VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_UDP_L4; 42 bytes of headers, the checksum 6 bytes behind byte 34.
    let header = [1, 5, 42, 0, 1, 0, 34, 0, 6, 0];
    let mut at = 0;
    while at < header.len() {
        frame[at] = header[at];
        at += 1;
    }
    // IPv4 with 20 bytes of header, 30 in all, UDP; its length of 10.
    frame[22] = 0x08;
    frame[24] = 0x45;
    frame[27] = 30;
    frame[32] = 64;
    frame[33] = 17;
    frame[49] = 10;
    frame
};
/// Options that are on or off take an int.
const ON: libc::c_int = 1;
/// AF_PACKET as a family is written in an address.
const AF_PACKET: libc::sa_family_t = 17;
/// Every protocol; linux/if_ether.h.
const ETH_P_ALL: u16 = 0x0003;
/// Sizes as the kernel wants them.
const STATISTICS_LEN: libc::socklen_t = 8;
const ADDRESS_LEN: libc::socklen_t = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_constants_are_the_headers() {
        assert_eq!(libc::c_int::from(AF_PACKET), libc::AF_PACKET);
        assert_eq!(libc::c_int::from(ETH_P_ALL), libc::ETH_P_ALL);
        assert_eq!(
            usize::try_from(STATISTICS_LEN).unwrap(),
            size_of::<libc::tpacket_stats>()
        );
        assert_eq!(usize::try_from(ADDRESS_LEN).unwrap(), size_of::<libc::sockaddr_ll>());
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
