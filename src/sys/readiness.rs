//! Waiting for a descriptor that no library knows.

use std::io;
use std::os::fd::BorrowedFd;

use tokio::io::unix::AsyncFd;

/// Waits, in a tokio runtime, until there is something to read; reads nothing.
pub async fn readable(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: a borrowed descriptor stays open and the same for as long as it lives, and the `AsyncFd` goes before it.
    let fd = unsafe { AsyncFd::register(fd) }?;
    fd.readable().await?.retain_ready();
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[tokio::test]
    async fn waits_for_a_byte_and_leaves_it() {
        let (mut writer, reader) = UnixStream::pair().unwrap();
        tokio::select! {
            biased;
            result = readable(reader.as_fd()) => panic!("{result:?}"),
            () = tokio::task::yield_now() => {}
        }
        writer.write_all(b"x").unwrap();
        readable(reader.as_fd()).await.unwrap();
        readable(reader.as_fd()).await.unwrap();
    }
}
