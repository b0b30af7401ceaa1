//! Options of sockets whose value is an int, by the numbers of the C headers: those that nix does not know.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd};

/// Reads an option.
pub fn option(socket: &impl AsFd, level: libc::c_int, name: libc::c_int) -> io::Result<libc::c_int> {
    let mut value: libc::c_int = 0;
    let mut len = INT_LEN;
    // SAFETY: value and length live for the whole call, and the value is as long as the length says.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            name,
            (&raw mut value).cast(),
            &raw mut len,
        )
    };
    if result == 0 {
        Ok(value)
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Sets an option.
pub fn set_option(socket: &impl AsFd, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: the value lives for the whole call and is as long as said.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            INT_LEN,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[expect(clippy::cast_possible_truncation, reason = "4 bytes")]
const INT_LEN: libc::socklen_t = size_of::<libc::c_int>() as libc::socklen_t;

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn what_is_set_can_be_read() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        set_option(&socket, libc::IPPROTO_IP, libc::IP_TTL, 17).unwrap();
        assert_eq!(option(&socket, libc::IPPROTO_IP, libc::IP_TTL).unwrap(), 17);
        assert!(set_option(&socket, libc::IPPROTO_IP, libc::IP_TTL, 256).is_err());
        assert!(option(&socket, libc::IPPROTO_IP, -1).is_err());
    }
}
