//! What a namespace's descriptor tells: ioctl_ns(2), linux/nsfs.h.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::sched::CloneFlags;

/// The user namespace that owns this one; EPERM when it is not ours or below.
pub fn owner(namespace: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: NS_GET_USERNS takes no argument; the descriptor is open while borrowed.
    let fd = unsafe { ioctl::get_userns(namespace.as_raw_fd()) }?;
    // SAFETY: the kernel has just made this descriptor for us, close-on-exec.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The parent of a user namespace; EPERM when it is not ours or below.
pub fn parent(namespace: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: NS_GET_PARENT takes no argument; the descriptor is open while borrowed.
    let fd = unsafe { ioctl::get_parent(namespace.as_raw_fd()) }?;
    // SAFETY: the kernel has just made this descriptor for us, close-on-exec.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The user who made a user namespace, as our own user namespace numbers users.
pub fn owner_uid(namespace: BorrowedFd<'_>) -> io::Result<libc::uid_t> {
    let mut uid = 0;
    // SAFETY: NS_GET_OWNER_UID writes one uid_t, which `uid` is; the descriptor is open while borrowed.
    unsafe { ioctl::get_owner_uid(namespace.as_raw_fd(), &raw mut uid) }?;
    Ok(uid)
}

/// Which kind of namespace it is.
pub fn kind(namespace: BorrowedFd<'_>) -> io::Result<CloneFlags> {
    // SAFETY: NS_GET_NSTYPE takes no argument; the descriptor is open while borrowed.
    let kind = unsafe { ioctl::get_nstype(namespace.as_raw_fd()) }?;
    Ok(CloneFlags::from_bits_retain(kind))
}

mod ioctl {
    /// NSIO of linux/nsfs.h.
    const NSIO: u8 = 0xb7;
    nix::ioctl_none!(get_userns, NSIO, 1);
    nix::ioctl_none!(get_parent, NSIO, 2);
    nix::ioctl_none!(get_nstype, NSIO, 3);
    nix::ioctl_read_bad!(get_owner_uid, nix::request_code_none!(NSIO, 4), libc::uid_t);
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn tells_of_our_own() {
        let net = File::open("/proc/self/ns/net").unwrap();
        assert_eq!(kind(net.as_fd()).unwrap(), CloneFlags::CLONE_NEWNET);
        let user = owner(net.as_fd()).unwrap();
        assert_eq!(kind(user.as_fd()).unwrap(), CloneFlags::CLONE_NEWUSER);
        owner_uid(user.as_fd()).unwrap();
        let parent = parent(user.as_fd()).unwrap_err();
        assert_eq!(
            parent.raw_os_error(),
            Some(libc::EPERM),
            "nobody sees above their own user namespace"
        );
    }
}
