//! Features of an interface, as `ethtool -K` sets them: linux/ethtool.h, net/ethtool/ioctl.c.
//!
//! For the agent, whose network namespace has the interface. Requests are rows of 32-bit words, as all of the structures
//! used here are.

use std::io;
use std::os::fd::AsRawFd;

use socket2::{Domain, Socket, Type};

/// Switches a feature off, so that the kernel does itself what it would have left to the interface; nothing to do if this
/// kernel knows no such feature.
pub fn switch_off(ifname: &str, feature: &str) -> io::Result<()> {
    let socket = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
    let Some(bit) = features(&socket, ifname)?.iter().position(|name| name == feature) else {
        return Ok(());
    };
    let words = bit / 32 + 1;
    // struct ethtool_sfeatures: for each 32 features which are meant, and which of them shall be on.
    let mut request = vec![0; 2 + 2 * words];
    request[0] = SFEATURES;
    request[1] = u32::try_from(words).map_err(io::Error::other)?;
    request[2 * words] = 1 << (bit % 32);
    ask(&socket, ifname, &mut request)
}

/// The names of all features, by number.
fn features(socket: &Socket, ifname: &str) -> io::Result<Vec<String>> {
    // struct ethtool_sset_info, with its 64-bit mask of the sets asked for.
    let mut sizes = [GSSET_INFO, 0, 0, 0, 0];
    let mask = (1u64 << FEATURES).to_ne_bytes();
    let (low, high) = mask.split_at(4);
    sizes[2] = u32::from_ne_bytes(low.try_into().map_err(io::Error::other)?);
    sizes[3] = u32::from_ne_bytes(high.try_into().map_err(io::Error::other)?);
    ask(socket, ifname, &mut sizes)?;
    let count = sizes[4];
    // struct ethtool_gstrings.
    let mut request = vec![0; 3 + count as usize * NAME_WORDS];
    request[..3].copy_from_slice(&[GSTRINGS, FEATURES, count]);
    ask(socket, ifname, &mut request)?;
    Ok(request[3..].chunks(NAME_WORDS).map(name).collect())
}

fn name(words: &[u32]) -> String {
    let bytes = words.iter().flat_map(|word| word.to_ne_bytes());
    bytes.take_while(|byte| *byte != 0).map(char::from).collect()
}

fn ask(socket: &Socket, ifname: &str, request: &mut [u32]) -> io::Result<()> {
    // SAFETY: ifreq is plain data, valid when all zero.
    let mut carrier: libc::ifreq = unsafe { std::mem::zeroed() };
    if ifname.len() >= carrier.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in carrier.ifr_name.iter_mut().zip(ifname.bytes()) {
        *to = libc::c_char::try_from(from).map_err(io::Error::other)?;
    }
    carrier.ifr_ifru.ifru_data = request.as_mut_ptr().cast();
    // SAFETY: SIOCETHTOOL reads one ifreq, and reads and writes the request behind it, whose length the callers make the
    // one that its first words say; the descriptor is open.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut carrier) };
    if result >= 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// ETHTOOL_GSTRINGS, ETHTOOL_GSSET_INFO, ETHTOOL_SFEATURES.
const GSTRINGS: u32 = 0x1b;
const GSSET_INFO: u32 = 0x37;
const SFEATURES: u32 = 0x3b;
/// ETH_SS_FEATURES.
const FEATURES: u32 = 4;
/// ETH_GSTRING_LEN (32 bytes) in words.
const NAME_WORDS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_names_its_features() {
        let features = features_of("lo").unwrap();
        assert!(
            features.iter().any(|name| name == "tx-udp-segmentation"),
            "{features:?}"
        );
        assert!(features_of("no-such-link").is_err());
    }

    fn features_of(ifname: &str) -> io::Result<Vec<String>> {
        features(&Socket::new(Domain::UNIX, Type::DGRAM, None)?, ifname)
    }
}
