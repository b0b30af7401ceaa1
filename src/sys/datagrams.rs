//! recvmmsg(2): several datagrams with one system call; and the address that a datagram came to and is to leave from.
//!
//! nix has a wrapper, which does not give the ancillary buffers back their size between two calls; this one keeps nothing
//! of the kernel's from one call to the next. Sources: recvmmsg(2), udp(7) and linux/udp.h for UDP_GRO; ip(7) and ipv6(7)
//! for IP_PKTINFO and IPV6_PKTINFO.

use std::io::{self, IoSlice};
use std::mem::size_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;

use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrLike, SockaddrStorage, sendmsg};

use super::options::set_option;

/// Datagrams as they were received last, and room for the next.
#[derive(Debug)]
pub struct Batch {
    /// A slot of [`SLOT`] bytes for each message; memory comes with the first use.
    buffer: Box<[u8]>,
    messages: Vec<Message>,
}

/// One message: a datagram, or several of `segment` bytes that came in together, of which the last may be shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// Who sent it.
    pub from: SocketAddr,
    /// The address of ours that it came to, where the socket [tells](tell_where_to).
    pub to: Option<IpAddr>,
    /// Bytes of payload.
    pub len: usize,
    /// Bytes of one datagram, where there are several.
    pub segment: Option<NonZeroU16>,
}

impl Batch {
    /// With room for [`MESSAGES`].
    pub fn new() -> Self {
        Self {
            buffer: vec![0; MESSAGES * SLOT].into_boxed_slice(),
            messages: Vec::with_capacity(MESSAGES),
        }
    }

    /// Takes what waits in a datagram socket, as much as there is room for; never waits.
    pub fn receive(&mut self, socket: &impl AsFd) -> io::Result<()> {
        self.messages.clear();
        // SAFETY: both are plain data, valid when all zero.
        let mut headers: [libc::mmsghdr; MESSAGES] = unsafe { std::mem::zeroed() };
        // SAFETY: as above.
        let mut names: [libc::sockaddr_storage; MESSAGES] = unsafe { std::mem::zeroed() };
        let mut controls = [Control([0; CONTROL]); MESSAGES];
        let mut parts = [libc::iovec {
            iov_base: ptr::null_mut(),
            iov_len: 0,
        }; MESSAGES];
        let slots = self.buffer.chunks_exact_mut(SLOT);
        for ((((header, name), control), part), slot) in headers
            .iter_mut()
            .zip(&mut names)
            .zip(&mut controls)
            .zip(&mut parts)
            .zip(slots)
        {
            part.iov_base = slot.as_mut_ptr().cast();
            part.iov_len = slot.len();
            header.msg_hdr.msg_name = ptr::from_mut(name).cast();
            header.msg_hdr.msg_namelen = NAME_LEN;
            header.msg_hdr.msg_iov = part;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = control.0.len();
        }
        // SAFETY: there are as many headers as said, and what they point to lives to the end of this function.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_fd().as_raw_fd(),
                headers.as_mut_ptr(),
                COUNT,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        for (header, name) in headers.iter().zip(&names).take(received) {
            let from = endpoint(name).ok_or(io::ErrorKind::InvalidData)?;
            let Told { to, segment } = told(&header.msg_hdr);
            self.messages.push(Message {
                from,
                to,
                len: (header.msg_len as usize).min(SLOT),
                segment,
            });
        }
        Ok(())
    }

    /// What was received.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// There was room for more than there was.
    pub fn is_short(&self) -> bool {
        self.messages.len() < MESSAGES
    }

    /// Payload of a message, and what is behind it in its slot.
    pub fn slot(&self, message: usize) -> &[u8] {
        let start = message * SLOT;
        self.buffer.get(start..start + SLOT).unwrap_or_default()
    }

    /// Copies the payload of a message into the slot of another, which was received before it; false if it does not fit.
    pub fn append(&mut self, message: usize, to: usize, at: usize) -> bool {
        let Some(Message { len, .. }) = self.messages.get(message).copied() else {
            return false;
        };
        let fits = to < message && at + len <= SLOT;
        if fits {
            let start = message * SLOT;
            self.buffer.copy_within(start..start + len, to * SLOT + at);
        }
        fits
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

/// Room for one message of ancillary data, aligned as the kernel wants it.
#[derive(Debug, Clone, Copy)]
#[repr(align(8))]
struct Control([u8; CONTROL]);

/// What is said about a message.
#[derive(Debug, Default)]
struct Told {
    to: Option<IpAddr>,
    segment: Option<NonZeroU16>,
}

fn told(header: &libc::msghdr) -> Told {
    let mut told = Told::default();
    // SAFETY: the kernel has filled in the header's ancillary buffer, which is still there.
    let mut message = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !message.is_null() {
        // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR give null or a whole header within the buffer.
        let found = unsafe { *message };
        // SAFETY: as above.
        let data = unsafe { libc::CMSG_DATA(message) };
        match (found.cmsg_level, found.cmsg_type) {
            (libc::SOL_UDP, libc::UDP_GRO) => {
                // SAFETY: a message of this kind carries an int (net/ipv4/udp.c, udp_cmsg_recv); it need not be aligned.
                let size = unsafe { data.cast::<libc::c_int>().read_unaligned() };
                told.segment = u16::try_from(size).ok().and_then(NonZeroU16::new);
            }
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                // SAFETY: a message of this kind carries the structure (ip(7)); it need not be aligned.
                let info = unsafe { data.cast::<libc::in_pktinfo>().read_unaligned() };
                // Of what is sent to many, the address of ours that an answer comes from.
                let address = Ipv4Addr::from(info.ipi_spec_dst.s_addr.to_ne_bytes());
                told.to = Some(address.into()).filter(|_| !address.is_unspecified());
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                // SAFETY: a message of this kind carries the structure (ipv6(7)); it need not be aligned.
                let info = unsafe { data.cast::<libc::in6_pktinfo>().read_unaligned() };
                let address = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                told.to = Some(address.into()).filter(|_| !address.is_multicast());
            }
            _ => {}
        }
        // SAFETY: `message` is of this header's buffer.
        message = unsafe { libc::CMSG_NXTHDR(header, message) };
    }
    told
}

/// Has a socket that is bound to every address of the family of `any` tell to which of them datagrams came.
pub fn tell_where_to(socket: &impl AsFd, any: IpAddr) -> io::Result<()> {
    match any {
        IpAddr::V4(_) => set_option(socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1),
        IpAddr::V6(_) => set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1),
    }
}

/// Sends a datagram, or several of `segment` bytes, `from` an address of ours or from whichever the kernel chooses.
pub fn send(
    socket: &impl AsFd,
    from: Option<IpAddr>,
    target: SocketAddr,
    payload: &[u8],
    segment: Option<NonZeroU16>,
) -> io::Result<()> {
    let (v4, v6) = (from.and_then(info4), from.and_then(info6));
    let v4 = v4.as_ref().map(ControlMessage::Ipv4PacketInfo);
    let info = v4.or(v6.as_ref().map(ControlMessage::Ipv6PacketInfo));
    let size = segment.map(NonZeroU16::get);
    let cut = size.as_ref().map(ControlMessage::UdpGsoSegments);
    let (parts, address) = ([IoSlice::new(payload)], SockaddrStorage::from(target));
    let number = socket.as_fd().as_raw_fd();
    let send = |said: &[ControlMessage<'_>]| sendmsg(number, &parts, said, MsgFlags::MSG_DONTWAIT, Some(&address));
    let sent = match (info, cut) {
        (None, None) => send(&[]),
        (Some(one), None) | (None, Some(one)) => send(&[one]),
        (Some(info), Some(cut)) => send(&[info, cut]),
    };
    Ok(sent.map(drop)?)
}

fn info4(from: IpAddr) -> Option<libc::in_pktinfo> {
    let IpAddr::V4(from) = from else { return None };
    Some(libc::in_pktinfo {
        ipi_ifindex: 0,
        ipi_spec_dst: libc::in_addr {
            s_addr: u32::from_ne_bytes(from.octets()),
        },
        ipi_addr: libc::in_addr { s_addr: 0 },
    })
}

fn info6(from: IpAddr) -> Option<libc::in6_pktinfo> {
    let IpAddr::V6(from) = from else { return None };
    Some(libc::in6_pktinfo {
        ipi6_addr: libc::in6_addr { s6_addr: from.octets() },
        ipi6_ifindex: 0,
    })
}

pub(super) fn endpoint(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
    // SAFETY: the storage is as large as any address, and the family in it says which it is.
    let address = unsafe { SockaddrStorage::from_raw(ptr::from_ref(name).cast(), None) }?;
    let v4 = address
        .as_sockaddr_in()
        .map(|v4| SocketAddr::from((v4.ip(), v4.port())));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| SocketAddr::V6((*v6).into())))
}

/// Messages received with one call.
pub const MESSAGES: usize = 16;
const COUNT: libc::c_uint = 16;

/// Bytes for one: the largest UDP payload, or as much as UDP_GRO gathers.
pub const SLOT: usize = 65_536;

/// Bytes of ancillary data of one: an int and an address, each with its header.
const CONTROL: usize = 64;

#[expect(clippy::cast_possible_truncation, reason = "128 bytes")]
const NAME_LEN: libc::socklen_t = size_of::<libc::sockaddr_storage>() as libc::socklen_t;

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, UdpSocket};

    use super::*;

    #[test]
    fn several_with_one_call_each_with_its_sender() {
        let receiver = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let senders: Vec<_> = (0..3)
            .map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap())
            .collect();
        let mut batch = Batch::new();
        // Twice: nothing of the first call may be left in the second.
        for round in 0..2 {
            for (number, sender) in senders.iter().enumerate() {
                sender
                    .send_to(&vec![7; number * 1000], receiver.local_addr().unwrap())
                    .unwrap();
            }
            batch.receive(&receiver).unwrap();
            let expected = senders.iter().enumerate().map(|(number, sender)| Message {
                from: sender.local_addr().unwrap(),
                to: None,
                len: number * 1000,
                segment: None,
            });
            assert_eq!(batch.messages(), expected.collect::<Vec<_>>(), "round {round}");
            assert!(batch.is_short());
        }
        let nothing = batch.receive(&receiver).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        assert!(batch.messages().is_empty());
    }

    #[test]
    fn an_answer_leaves_from_where_the_question_came_to() {
        let any = IpAddr::from(Ipv4Addr::UNSPECIFIED);
        let receiver = UdpSocket::bind((any, 0)).unwrap();
        tell_where_to(&receiver, any).unwrap();
        let port = receiver.local_addr().unwrap().port();
        for asked in [Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2)] {
            let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            sender.send_to(b"question", (asked, port)).unwrap();
            let mut batch = Batch::new();
            batch.receive(&receiver).unwrap();
            let Message { from, to, .. } = batch.messages()[0];
            assert_eq!(to, Some(asked.into()));
            send(&receiver, to, from, b"answer", None).unwrap();
            let (_, answered) = sender.recv_from(&mut [0; 10]).unwrap();
            assert_eq!(answered, SocketAddr::from((asked, port)));
        }
    }

    #[test]
    fn datagrams_can_be_joined() {
        let receiver = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        for byte in 0..3 {
            receiver.send_to(&[byte; 10], receiver.local_addr().unwrap()).unwrap();
        }
        let mut batch = Batch::new();
        batch.receive(&receiver).unwrap();
        assert!(batch.append(1, 0, 10) && batch.append(2, 0, 20));
        let expected = [[0; 10], [1; 10], [2; 10]];
        assert_eq!(batch.slot(0)[..30], *expected.as_flattened());
        assert!(!batch.append(1, 0, SLOT - 5), "there is no room");
        assert!(!batch.append(9, 0, 0), "there is no such message");
    }
}
