//! To which of the host's addresses the clients of a published port have come, so that each is answered from there: whoever
//! asks one address takes no answer from another.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

/// What is known of those who came last.
#[derive(Debug, Default)]
pub(super) struct Asked {
    young: HashMap<SocketAddr, IpAddr>,
    /// Full, and gone when the other one is.
    old: HashMap<SocketAddr, IpAddr>,
}

impl Asked {
    /// `client` has come to `address`.
    pub(super) fn note(&mut self, client: SocketAddr, address: IpAddr) {
        if self.young.get(&client) == Some(&address) {
            return;
        }
        if self.young.len() >= MOST {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(client, address);
    }

    /// To where `client` came last.
    pub(super) fn by(&self, client: SocketAddr) -> Option<IpAddr> {
        self.young.get(&client).or_else(|| self.old.get(&client)).copied()
    }
}

/// Clients of one port; as many again are remembered for a while.
const MOST: usize = 16_384;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_known() {
        let client = |number: u32| SocketAddr::from((number.to_be_bytes(), 53));
        let address = |number: u8| IpAddr::from([192, 0, 2, number]);
        let mut asked = Asked::default();
        asked.note(client(1), address(1));
        asked.note(client(1), address(2));
        assert_eq!((asked.by(client(1)), asked.by(client(2))), (Some(address(2)), None));
        let most = u32::try_from(MOST).unwrap();
        for number in 2..2 + most {
            asked.note(client(number), address(3));
        }
        assert_eq!(asked.by(client(1)), Some(address(2)));
        for number in 2 + most..2 + 2 * most {
            asked.note(client(number), address(3));
        }
        assert_eq!(asked.by(client(1)), None);
        assert_eq!(asked.by(client(1 + 2 * most)), Some(address(3)));
    }
}
