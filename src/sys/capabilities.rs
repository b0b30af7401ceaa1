//! Capabilities of this thread: capabilities(7), linux/capability.h.

use std::io;

/// Keeps CAP_NET_BIND_SERVICE, where it is held, and gives up every other capability for good: bounding and ambient set
/// included, and nothing that is executed later gets any back. For a process that has one thread; others keep theirs.
pub fn keep_only_low_ports() -> io::Result<()> {
    let low_ports = 1 << NET_BIND_SERVICE;
    keep(low_ports, low_ports)
}

/// The same, and what it takes to become another user; once that is done, none is left. Nothing is inheritable.
pub fn keep_low_ports_and_users() -> io::Result<()> {
    keep(1 << NET_BIND_SERVICE | 1 << SETUID | 1 << SETGID, 0)
}

/// Gives up every capability.
pub fn keep_none() -> io::Result<()> {
    keep(0, 0)
}

/// Whether this thread may mount what it likes in a mount namespace of its own.
pub fn has_sys_admin() -> io::Result<bool> {
    Ok(get()?[0].effective & (1 << SYS_ADMIN) != 0)
}

fn keep(kept: u32, inheritable: u32) -> io::Result<()> {
    nix::sys::prctl::set_no_new_privs()?;
    // SAFETY: takes numbers only.
    let cleared = unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) };
    check(cleared.into())?;
    for capability in (0..u64::BITS).filter(|capability| *capability >= u32::BITS || kept & (1 << capability) == 0) {
        // SAFETY: takes numbers only.
        let dropped = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(capability), 0, 0, 0) };
        match check(dropped.into()) {
            // Beyond the last that the kernel knows.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => break,
            dropped => dropped?,
        }
    }
    let held = get()?[0].permitted & kept;
    let low = Data {
        effective: held,
        permitted: held,
        inheritable: held & inheritable,
    };
    set([low, Data::default()])
}

fn get() -> io::Result<[Data; 2]> {
    let mut header = HEADER;
    let mut data = [Data::default(); 2];
    // SAFETY: version 3 reads the header and writes two of `Data`, which are there.
    check(unsafe { libc::syscall(libc::SYS_capget, &raw mut header, data.as_mut_ptr()) })?;
    Ok(data)
}

fn set(data: [Data; 2]) -> io::Result<()> {
    let mut header = HEADER;
    // SAFETY: version 3 reads the header and two of `Data`, which are there.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw mut header, data.as_ptr()) })
}

fn check(result: libc::c_long) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// `struct __user_cap_header_struct`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct Header {
    version: u32,
    pid: libc::c_int,
}

/// `struct __user_cap_data_struct`: 32 of the capabilities.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// _LINUX_CAPABILITY_VERSION_3, of the calling thread.
const HEADER: Header = Header {
    version: 0x2008_0522,
    pid: 0,
};

/// CAP_SETGID, CAP_SETUID, CAP_NET_BIND_SERVICE and CAP_SYS_ADMIN.
const SETGID: u32 = 6;
const SETUID: u32 = 7;
const NET_BIND_SERVICE: u32 = 10;
const SYS_ADMIN: u32 = 21;
