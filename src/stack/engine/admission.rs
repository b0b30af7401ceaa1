//! Who may send, and where an address is that is to be reached.
//!
//! On a bridge the shell says who is attached ([`Senders::Attached`]); nothing is learnt. Where the uplink is one network
//! namespace's own interface ([`Senders::Guest`]) whatever comes is that namespace's, and it configures itself: its
//! addresses are learnt as they are used, so many of them, and the one not heard of for longest is forgotten.

use std::net::IpAddr;

use smoltcp::wire::EthernetAddress;

use super::Engine;
use crate::stack::counters::Discard;
use crate::stack::types::{Attachment, Senders};

impl Engine {
    /// Checks that the owner of `mac` may send from `address`.
    pub(super) fn admit(&mut self, mac: EthernetAddress, address: IpAddr) -> Result<(), Discard> {
        let refused = match self.containers.check_source(mac, address) {
            Ok(()) => return Ok(()),
            Err(refused) => refused,
        };
        let guest = self.config.senders != Senders::Attached && self.config.policy.may_be_a_guest(address);
        if !guest || !mac.is_unicast() || mac == self.config.gateway_mac {
            return Err(refused);
        }
        self.learn(Attachment { mac, address });
        Ok(())
    }

    /// Something is meant for `address`, from which nobody may have sent so far.
    pub(super) fn expect(&mut self, address: IpAddr) {
        let Senders::Guest { mac } = self.config.senders else {
            return;
        };
        if self.containers.get(address).is_none() && self.config.policy.may_be_a_guest(address) {
            let mac = self.containers.heard_last().unwrap_or(mac);
            self.learn(Attachment { mac, address });
        }
    }

    fn learn(&mut self, attachment: Attachment) {
        if let Some(forgotten) = self.containers.learn(attachment) {
            self.detach(forgotten);
        }
    }
}
