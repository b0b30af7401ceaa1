//! What the network said about datagrams that a socket has sent: IP_RECVERR, IPV6_RECVERR and MSG_ERRQUEUE.
//!
//! The kernel keeps each ICMP error that belongs to a socket, with what its sender quoted, until it is fetched. Sources:
//! ip(7), ipv6(7), recvmsg(2); linux/errqueue.h; `ip_recv_error` in net/ipv4/ip_sockglue.c.

use std::io;
use std::mem::size_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;

use super::datagrams::endpoint;
use super::options::set_option;

/// One error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Who said it.
    pub origin: Origin,
    /// Where the datagram was to go.
    pub target: SocketAddr,
    /// Bytes of the datagram's payload that were quoted, at the start of the caller's buffer.
    pub len: usize,
}

/// Who said it, and what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Our own kernel, which has told the sender already.
    Local,
    /// Type and code of ICMP, from whom, and the MTU where one is told.
    Icmp {
        /// Type and code.
        message: (u8, u8),
        /// The machine that sent it.
        offender: Option<IpAddr>,
        /// Of "fragmentation needed".
        mtu: u32,
    },
    /// The same of ICMPv6.
    Icmpv6 {
        /// Type and code.
        message: (u8, u8),
        /// The machine that sent it.
        offender: Option<IpAddr>,
        /// Of "packet too big".
        mtu: u32,
    },
}

/// Asks for errors.
pub fn enable(socket: &impl AsFd, target: IpAddr) -> io::Result<()> {
    choose(socket, target, 1)
}

/// Asks for no more errors.
pub fn disable(socket: &impl AsFd, target: IpAddr) -> io::Result<()> {
    choose(socket, target, 0)
}

fn choose(socket: &impl AsFd, target: IpAddr, wanted: libc::c_int) -> io::Result<()> {
    match target {
        IpAddr::V4(_) => set_option(socket, libc::IPPROTO_IP, libc::IP_RECVERR, wanted),
        IpAddr::V6(_) => set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVERR, wanted),
    }
}

/// Takes the oldest error, with what was quoted in `buffer`; never waits.
pub fn receive(socket: &impl AsFd, buffer: &mut [u8]) -> io::Result<Report> {
    // SAFETY: plain data, valid when all zero.
    let mut name: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    // SAFETY: as above.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    let mut control = Control([0; CONTROL]);
    let mut part = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    header.msg_name = ptr::from_mut(&mut name).cast();
    header.msg_namelen = NAME_LEN;
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = control.0.len();
    let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
    // SAFETY: name, buffer and ancillary data are as long as said and live to the end of this function.
    let received = unsafe { libc::recvmsg(socket.as_fd().as_raw_fd(), &raw mut header, flags) };
    let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    Ok(Report {
        origin: origin(&header).ok_or(io::ErrorKind::InvalidData)?,
        target: endpoint(&name).ok_or(io::ErrorKind::InvalidData)?,
        len: received.min(buffer.len()),
    })
}

/// Ancillary data, aligned as the kernel wants it.
#[repr(align(8))]
struct Control([u8; CONTROL]);

fn origin(header: &libc::msghdr) -> Option<Origin> {
    // SAFETY: the kernel has filled in the header's ancillary buffer, which is still there.
    let mut message = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !message.is_null() {
        // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR give null or a whole header within the buffer.
        let found = unsafe { *message };
        let kind = (found.cmsg_level, found.cmsg_type);
        if kind == (libc::IPPROTO_IP, libc::IP_RECVERR) || kind == (libc::IPPROTO_IPV6, libc::IPV6_RECVERR) {
            let data = found.cmsg_len.saturating_sub(HEADER);
            if data < size_of::<libc::sock_extended_err>() {
                return None;
            }
            // SAFETY: a message of this kind carries the structure, whose length was looked at above.
            let error = unsafe { libc::CMSG_DATA(message) };
            // SAFETY: the bytes belong to the message, which is in the header's buffer until this function ends.
            return extended(unsafe { std::slice::from_raw_parts(error, data) });
        }
        // SAFETY: `message` is of this header's buffer.
        message = unsafe { libc::CMSG_NXTHDR(header, message) };
    }
    None
}

/// `struct sock_extended_err` and the address behind it: ee_errno u32, ee_origin u8, ee_type u8, ee_code u8, ee_pad u8,
/// ee_info u32, ee_data u32.
fn extended(data: &[u8]) -> Option<Origin> {
    let (error, offender) = data.split_first_chunk::<16>()?;
    let message = (error[5], error[6]);
    let mtu = u32::from_ne_bytes(*error[8..].first_chunk()?);
    let offender = address(offender);
    match error[4] {
        libc::SO_EE_ORIGIN_ICMP => Some(Origin::Icmp { message, offender, mtu }),
        libc::SO_EE_ORIGIN_ICMP6 => Some(Origin::Icmpv6 { message, offender, mtu }),
        _ => Some(Origin::Local),
    }
}

/// `struct sockaddr_in` or `sockaddr_in6`; family 0 where nobody is known.
fn address(bytes: &[u8]) -> Option<IpAddr> {
    let family = u16::from_ne_bytes(*bytes.first_chunk()?);
    match i32::from(family) {
        libc::AF_INET => Some(Ipv4Addr::from(*bytes.get(4..)?.first_chunk::<4>()?).into()),
        libc::AF_INET6 => Some(Ipv6Addr::from(*bytes.get(8..)?.first_chunk::<16>()?).into()),
        _ => None,
    }
}

/// Bytes of ancillary data: an error with a `sockaddr_in6` behind it is 44 and its header; what else a socket was asked
/// for (a time stamp, UDP_GRO) fits beside it.
const CONTROL: usize = 256;

/// Bytes of a message's header, on every machine with 64 bits a multiple of its alignment.
const HEADER: usize = size_of::<libc::cmsghdr>();

#[expect(clippy::cast_possible_truncation, reason = "128 bytes")]
const NAME_LEN: libc::socklen_t = size_of::<libc::sockaddr_storage>() as libc::socklen_t;

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn a_closed_port_says_so_with_what_was_sent() {
        for (any, closed, message) in [("127.0.0.1:0", "127.0.0.1:9", (3, 3)), ("[::1]:0", "[::1]:9", (1, 4))] {
            let Ok(socket) = UdpSocket::bind(any) else { continue };
            let closed: SocketAddr = closed.parse().unwrap();
            enable(&socket, closed.ip()).unwrap();
            let mut buffer = [0; 64];
            assert!(receive(&socket, &mut buffer).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock));
            socket.send_to(b"anybody there?", closed).unwrap();
            let report = receive(&socket, &mut buffer).unwrap();
            let (offender, mtu) = (Some(closed.ip()), 0);
            let origin = match closed {
                SocketAddr::V4(_) => Origin::Icmp { message, offender, mtu },
                SocketAddr::V6(_) => Origin::Icmpv6 { message, offender, mtu },
            };
            assert_eq!((report.origin, report.target), (origin, closed));
            assert_eq!(&buffer[..report.len], b"anybody there?");
        }
    }

    #[test]
    fn nonsense_is_no_error() {
        assert_eq!(extended(&[0; 15]), None);
        assert_eq!(address(&[]), None);
        assert_eq!(address(&[2, 0, 0, 0, 127]), None);
        assert_eq!(extended(&[0; 16]), Some(Origin::Local));
    }
}
