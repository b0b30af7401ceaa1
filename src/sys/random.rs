//! Randomness of the kernel: getrandom(2).

use std::io;

/// Fills `bytes` from the kernel's pool; waits only on a machine that has just booted.
pub fn fill(bytes: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        // SAFETY: pointer and length describe `rest`, which is ours to write for the length of the call.
        let got = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
        match usize::try_from(got) {
            Ok(got) => filled += got,
            Err(_) => match io::Error::last_os_error() {
                interrupted if interrupted.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
        }
    }
    Ok(())
}

/// The secret that keys hash tables, sequence numbers and ids.
pub fn seed() -> io::Result<[u64; 4]> {
    let mut bytes = [[0; 8]; 4];
    fill(bytes.as_flattened_mut())?;
    Ok(bytes.map(u64::from_ne_bytes))
}

/// A unicast hardware address that no manufacturer owns (IEEE 802 locally administered).
pub fn hardware_address() -> io::Result<[u8; 6]> {
    let mut address = [0; 6];
    fill(&mut address)?;
    address[0] = address[0] & 0b1111_1100 | 0b0000_0010;
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differs_each_time() {
        assert_ne!(seed().unwrap(), seed().unwrap());
        let address = hardware_address().unwrap();
        assert_eq!(address[0] & 0b11, 0b10, "{address:02x?} is not unicast and local");
    }
}
