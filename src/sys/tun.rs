//! TAP interfaces: linux/if_tun.h, Documentation/networking/tuntap.rst.
//!
//! Every TAP made here carries `struct virtio_net_hdr` (10 bytes, little-endian) before each frame, so that superframes
//! and partial checksums pass; see `stack::Offload` ([`super::plain_tap`] makes those without). Made by the agent, by `join` and by `line`, in the network namespace that
//! the calling thread is in; read and written by `uplink`.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use nix::net::if_::if_nametoindex;
use serde::{Deserialize, Serialize};

/// What the kernel may leave to the reader of a TAP (TUNSETOFFLOAD); whatever is written, it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct OffloadBits {
    /// Partial checksums (TUN_F_CSUM).
    pub checksum: bool,
    /// TCP superframes over IPv4 (TUN_F_TSO4).
    pub tso4: bool,
    /// TCP superframes over IPv6 (TUN_F_TSO6).
    pub tso6: bool,
    /// UDP superframes over both (TUN_F_USO4, TUN_F_USO6; since Linux 6.2).
    pub uso: bool,
}

/// A TAP interface; it goes when its descriptor is closed.
#[derive(Debug)]
pub struct Tap {
    /// Where frames are read and written.
    pub fd: OwnedFd,
    /// What the kernel agreed to.
    pub offload: OffloadBits,
}

/// The descriptor of a TAP that may have existed before, and may outlive it.
#[derive(Debug)]
pub struct Attached {
    /// Where frames are read and written.
    pub fd: OwnedFd,
    /// What the kernel agreed to; without an offload header, nothing.
    pub offload: Option<OffloadBits>,
    /// The interface's own hardware address.
    pub mac: [u8; 6],
}

/// Why there is no TAP interface.
#[derive(Debug, thiserror::Error)]
pub enum TapError {
    /// The device node is missing.
    #[error("/dev/net/tun: no such file; load the module (modprobe tun), or let the device into this sandbox")]
    Missing,
    /// The device node is not for us.
    #[error("/dev/net/tun: permission denied; allow it with: chmod 0666 /dev/net/tun (a udev rule keeps it so)")]
    Forbidden,
    /// The device node has no driver.
    #[error("/dev/net/tun: no driver behind it; load the module (modprobe tun)")]
    NoDriver,
    /// The device node can't be opened for another reason.
    #[error("/dev/net/tun: {0}")]
    Open(#[source] io::Error),
    /// An interface has this name.
    #[error("an interface named {name} exists there already")]
    Exists {
        /// The name asked for.
        name: String,
    },
    /// An interface that is no TAP has this name.
    #[error("an interface named {name} exists there already, and is not a TAP")]
    OtherKind {
        /// The name asked for.
        name: String,
    },
    /// No interface can have this name.
    #[error(
        "'{name}' can't be the name of an interface: 1 to 15 bytes without '/', ':', '%' or space, and not '.' or '..'"
    )]
    BadName {
        /// The name asked for.
        name: String,
    },
    /// A descriptor that was given is of something else.
    #[error("the descriptor that was given is not a TAP's: {0}")]
    NotATap(#[source] io::Error),
    /// The namespace's owner is not us.
    #[error("this network namespace does not let us make interfaces: it belongs to another user namespace")]
    NotOurs,
    /// The kernel's TAP driver lacks something.
    #[error("the TAP driver refuses {step}: {source}")]
    Driver {
        /// What was asked of it.
        step: &'static str,
        /// What it said.
        source: io::Error,
    },
}

impl Tap {
    /// Makes the interface in the network namespace of this thread, down, with as many offloads as `wanted` and the
    /// kernel have in common.
    pub fn create(name: &str, wanted: OffloadBits) -> Result<Self, TapError> {
        let device = open_device()?;
        make_interface(&device, name, MAKE)?;
        Self::set_up(device, wanted)
    }

    /// Attaches to the interface of this name if it exists, persistent and used by nobody, or makes it. An offload header
    /// is turned on, whatever the interface had before; where the driver has none, frames are plain.
    pub fn attach(name: &str, wanted: OffloadBits) -> Result<Attached, TapError> {
        let device = open_device()?;
        if join_interface(&device, name, TAP_FLAGS).is_ok()
            && let Ok(Self { fd, offload }) = Self::set_up(device, wanted)
        {
            return Attached::new(fd, Some(offload));
        }
        let device = open_device()?;
        join_interface(&device, name, TAP_FLAGS & !OFFLOAD_HEADER)?;
        Attached::new(device.into(), None)
    }

    /// Makes an interface with up to `count` queues, as many as the kernel gives; also returns those behind the first.
    ///
    /// The kernel spreads flows over them and has each come over the queue that it was last answered from
    /// (drivers/net/tun.c, tun_automq_select_queue).
    pub fn create_queues(name: &str, wanted: OffloadBits, count: usize) -> Result<(Self, Vec<OwnedFd>), TapError> {
        if count <= 1 {
            return Ok((Self::create(name, wanted)?, Vec::new()));
        }
        let device = open_device()?;
        match make_interface(&device, name, MAKE | MULTI_QUEUE) {
            // A driver that has no queues to choose from.
            Err(TapError::Driver { .. }) => return Ok((Self::create(name, wanted)?, Vec::new())),
            made => made?,
        }
        let tap = Self::set_up(device, wanted)?;
        let mut others = Vec::new();
        for _ in 1..count {
            let queue = open_device()?;
            if make_interface(&queue, name, TAP_FLAGS | MULTI_QUEUE).is_err() {
                break;
            }
            others.push(queue.into());
        }
        Ok((tap, others))
    }

    /// What holds for the interface whatever the number of its queues.
    fn set_up(device: File, wanted: OffloadBits) -> Result<Self, TapError> {
        // One header's size and byte order for all machines, so that two TAPs can be joined without a look inside.
        driver(
            "the size of the offload header",
            &device,
            libc::TUNSETVNETHDRSZ,
            HEADER_LEN,
        )?;
        driver("a little-endian offload header", &device, libc::TUNSETVNETLE, 1)?;
        let offload = agree_offload(wanted, |flags| set_offload(&device, flags))?;
        Ok(Self {
            fd: device.into(),
            offload,
        })
    }
}

impl Attached {
    /// Takes over the descriptor of a TAP that somebody else has made and set up.
    pub fn adopt(fd: OwnedFd, wanted: OffloadBits) -> Result<Self, TapError> {
        let file = File::from(fd);
        // SAFETY: ifreq is plain data, valid when all zero.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        // SAFETY: TUNGETIFF writes one ifreq, which `request` is; the descriptor is open.
        let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNGETIFF, &raw mut request) };
        if result != 0 {
            return Err(TapError::NotATap(io::Error::last_os_error()));
        }
        // SAFETY: TUNGETIFF has filled in the flags.
        let flags = unsafe { request.ifr_ifru.ifru_flags }.cast_unsigned();
        if flags & OFFLOAD_HEADER == 0 {
            return Self::new(file.into(), None);
        }
        let Tap { fd, offload } = Tap::set_up(file, wanted)?;
        Self::new(fd, Some(offload))
    }

    fn new(fd: OwnedFd, offload: Option<OffloadBits>) -> Result<Self, TapError> {
        // SAFETY: ifreq is plain data, valid when all zero.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        // SAFETY: a TAP's descriptor writes one ifreq for SIOCGIFHWADDR, which `request` is; the descriptor is open.
        let result = unsafe { libc::ioctl(fd.as_raw_fd(), libc::SIOCGIFHWADDR, &raw mut request) };
        if result != 0 {
            return Err(TapError::Driver {
                step: "the hardware address",
                source: io::Error::last_os_error(),
            });
        }
        // SAFETY: SIOCGIFHWADDR has filled in the hardware address.
        let address = unsafe { request.ifr_ifru.ifru_hwaddr }.sa_data;
        let mut mac = [0; 6];
        for (to, from) in mac.iter_mut().zip(address) {
            *to = u8::from_ne_bytes(from.to_ne_bytes());
        }
        Ok(Self { fd, offload, mac })
    }
}

impl OffloadBits {
    /// All of them.
    pub const ALL: Self = Self {
        checksum: true,
        tso4: true,
        tso6: true,
        uso: true,
    };

    /// The next poorer set to try; `None` when there is nothing left to give up.
    fn step_down(self) -> Option<Self> {
        match self {
            Self { uso: true, .. } => Some(Self { uso: false, ..self }),
            Self { tso6: true, .. } => Some(Self { tso6: false, ..self }),
            Self { tso4: true, .. } => Some(Self { tso4: false, ..self }),
            Self { checksum: true, .. } => Some(Self::default()),
            Self { .. } => None,
        }
    }

    fn flags(self) -> libc::c_uint {
        let bit = |set: bool, flag| if set { flag } else { 0 };
        bit(self.checksum, libc::TUN_F_CSUM)
            | bit(self.tso4, libc::TUN_F_TSO4)
            | bit(self.tso6, libc::TUN_F_TSO6)
            | bit(self.uso, libc::TUN_F_USO4 | libc::TUN_F_USO6)
    }
}

/// Opens the device that a TAP is made with.
pub(super) fn open_device() -> Result<File, TapError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(libc::O_NONBLOCK);
    options.open("/dev/net/tun").map_err(open_error)
}

fn open_error(error: io::Error) -> TapError {
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENOTDIR) => TapError::Missing,
        Some(libc::EACCES | libc::EPERM) => TapError::Forbidden,
        Some(libc::ENODEV | libc::ENXIO) => TapError::NoDriver,
        _ => TapError::Open(error),
    }
}

/// Attaches to the interface of that name, or makes it; one with several queues takes nothing but another queue.
fn join_interface(device: &File, name: &str, flags: u16) -> Result<(), TapError> {
    let joined = match make_interface(device, name, flags) {
        Err(error) if is_invalid(&error) => make_interface(device, name, flags | MULTI_QUEUE),
        joined => joined,
    };
    match joined {
        // Of a TUN's name, or that of any other interface (drivers/net/tun.c, tun_set_iff).
        Err(error) if is_invalid(&error) && if_nametoindex(name).is_ok() => {
            Err(TapError::OtherKind { name: name.to_owned() })
        }
        joined => joined,
    }
}

fn is_invalid(error: &TapError) -> bool {
    matches!(error, TapError::Driver { source, .. } if source.raw_os_error() == Some(libc::EINVAL))
}

fn make_interface(device: &File, name: &str, flags: u16) -> Result<(), TapError> {
    check_name(name)?;
    // SAFETY: ifreq is plain data, valid when all zero.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = libc::c_char::try_from(from).map_err(|_| TapError::BadName { name: name.to_owned() })?;
    }
    request.ifr_ifru.ifru_flags = flags.cast_signed();
    // SAFETY: TUNSETIFF reads and writes one ifreq, which `request` is; the descriptor is open.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    if result == 0 {
        return Ok(());
    }
    let source = io::Error::last_os_error();
    Err(interface_error(name, source, "a TAP interface with an offload header"))
}

/// One byte of an ifreq's name stays 0 to end it; a '%' would be the kernel's to fill in.
pub(super) fn check_name(name: &str) -> Result<(), TapError> {
    let fits = (1..libc::IFNAMSIZ).contains(&name.len()) && name.bytes().all(is_name_byte);
    if !fits || matches!(name, "." | "..") {
        return Err(TapError::BadName { name: name.to_owned() });
    }
    Ok(())
}

/// What TUNSETIFF said.
pub(super) fn interface_error(name: &str, source: io::Error, step: &'static str) -> TapError {
    match source.raw_os_error() {
        Some(libc::EBUSY | libc::EEXIST) => TapError::Exists { name: name.to_owned() },
        Some(libc::EPERM) => TapError::NotOurs,
        _ => TapError::Driver { step, source },
    }
}

/// Tries `wanted` and then ever poorer sets until `set` takes one.
fn agree_offload(
    wanted: OffloadBits,
    mut set: impl FnMut(libc::c_uint) -> io::Result<()>,
) -> Result<OffloadBits, TapError> {
    let mut offload = wanted;
    while let Err(source) = set(offload.flags()) {
        offload = offload.step_down().ok_or(TapError::Driver {
            step: "any offload setting, even none",
            source,
        })?;
    }
    Ok(offload)
}

fn set_offload(device: &File, flags: libc::c_uint) -> io::Result<()> {
    // SAFETY: TUNSETOFFLOAD takes a number; the descriptor is open.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETOFFLOAD, flags) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn driver(step: &'static str, device: &File, request: libc::Ioctl, value: libc::c_int) -> Result<(), TapError> {
    // SAFETY: only called with requests that read one int, which `value` is; the descriptor is open.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), request, &raw const value) };
    if result == 0 {
        Ok(())
    } else {
        Err(TapError::Driver {
            step,
            source: io::Error::last_os_error(),
        })
    }
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'/' | b'%' | b':')
}

/// IFF_TAP | IFF_NO_PI | IFF_VNET_HDR.
const TAP_FLAGS: u16 = 0x0002 | 0x1000 | OFFLOAD_HEADER;

/// IFF_VNET_HDR.
const OFFLOAD_HEADER: u16 = 0x4000;

/// With IFF_TUN_EXCL: make one, never attach to one that exists.
const MAKE: u16 = TAP_FLAGS | 0x8000;

/// IFF_MULTI_QUEUE.
const MULTI_QUEUE: u16 = 0x0100;

/// Size of `struct virtio_net_hdr` without `num_buffers`.
const HEADER_LEN: libc::c_int = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_up_one_offload_at_a_time() {
        let steps: Vec<_> = std::iter::successors(Some(OffloadBits::ALL), |bits| bits.step_down()).collect();
        let flags: Vec<_> = steps.iter().map(|bits| bits.flags()).collect();
        assert_eq!(flags, [0x67, 0x07, 0x03, 0x01, 0x00]);
    }

    #[test]
    fn agrees_on_what_the_kernel_knows() {
        let all = OffloadBits::ALL;
        let no_uso = OffloadBits { uso: false, ..all };
        let only_v4 = OffloadBits { tso6: false, ..no_uso };
        let only_checksum = OffloadBits { tso4: false, ..only_v4 };
        for (known, agreed) in [
            (0x67, all),
            (0x0f, no_uso),
            // A kernel with TUN_F_USO6 and not USO4 does not exist; both or none is asked for.
            (0x4f, no_uso),
            (0x03, only_v4),
            (0x05, only_checksum),
            (0x01, only_checksum),
            (0x00, OffloadBits::default()),
        ] {
            assert_eq!(
                agree_offload(all, |flags| kernel(known, flags)).unwrap(),
                agreed,
                "{known:#x}"
            );
        }
        let wanted = agree_offload(only_v4, |flags| kernel(0x7f, flags)).unwrap();
        assert_eq!(wanted, only_v4, "never more than wanted");
        let mut asked = Vec::new();
        let refused = agree_offload(all, |flags| {
            asked.push(flags);
            Err(io::Error::from_raw_os_error(libc::EINVAL))
        });
        assert_eq!(asked, [0x67, 0x07, 0x03, 0x01, 0x00]);
        let line = refused.unwrap_err().to_string();
        assert!(line.contains("even none"), "{line}");
    }

    /// TUNSETOFFLOAD of a kernel that knows these bits (drivers/net/tun.c, set_offload).
    fn kernel(known: libc::c_uint, flags: libc::c_uint) -> io::Result<()> {
        if flags & !known == 0 {
            Ok(())
        } else {
            Err(io::Error::from_raw_os_error(libc::EINVAL))
        }
    }

    #[test]
    fn says_what_helps_against_a_closed_device() {
        for (errno, helps) in [
            (libc::ENOENT, "modprobe tun"),
            (libc::EACCES, "chmod 0666 /dev/net/tun"),
            (libc::EPERM, "chmod 0666 /dev/net/tun"),
            (libc::ENXIO, "modprobe tun"),
            (libc::EMFILE, "open files"),
        ] {
            let line = open_error(io::Error::from_raw_os_error(errno)).to_string();
            assert!(
                line.starts_with("/dev/net/tun: ") && line.contains(helps),
                "{errno}: {line}"
            );
        }
    }
}
