//! A wrapper around the line, for what the original tells a namespace that configures itself and the engine does not: IPv6
//! addresses by DHCPv6, and the namespace's own name.
//!
//! The engine's DHCP knows whom it has attached; here whoever asks is the one guest that there is. Questions of DHCPv6 are
//! answered before the engine sees them ([`super::dhcpv6`]); into its own answers of DHCPv4 go the options of `--hostname`
//! and `--fqdn` (RFC 2132 section 3.14, RFC 4702), as the original sends them: to everybody, asked for or not.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr, IpProtocol, Ipv4Packet, Ipv6Packet, Ipv6Repr,
    UdpPacket, UdpRepr,
};

use super::dhcpv6::{self, Offer};
use super::options::Options;
use crate::stack::Offload;
use crate::uplink::{FrameError, Uplink, UplinkKind};

/// What it says, and as whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greetings {
    /// By DHCPv6; none where that is not served.
    pub offer: Option<Offer>,
    /// Options for answers of DHCPv4.
    pub options: Vec<u8>,
    /// Our hardware address.
    pub mac: [u8; 6],
    /// Our address on the link.
    pub link_local: Ipv6Addr,
}

/// A line with somebody at the door.
#[derive(Debug)]
pub struct Greeter {
    line: Box<dyn Uplink>,
    greetings: Greetings,
}

impl Greeter {
    /// Puts it over the line, if it has anything to say.
    pub fn over(line: Box<dyn Uplink>, greetings: Greetings) -> Box<dyn Uplink> {
        if greetings.offer.is_none() && greetings.options.is_empty() {
            line
        } else {
            Box::new(Self { line, greetings })
        }
    }

    /// Whether a frame was a question of DHCPv6, which is dealt with then.
    fn greets(&self, frame: &[u8]) -> bool {
        if !is_question(frame) || self.greetings.offer.is_none() {
            return false;
        }
        if let Some(answer) = self.greetings.answer(frame) {
            // Whoever hears nothing asks again.
            let _ = self.line.send(Offload::default(), &answer);
        }
        true
    }
}

impl Greetings {
    /// The frame that answers one.
    fn answer(&self, frame: &[u8]) -> Option<Vec<u8>> {
        let frame = EthernetFrame::new_checked(frame).ok()?;
        let packet = Ipv6Packet::new_checked(frame.payload()).ok()?;
        let client = packet.src_addr();
        if !client.is_unicast_link_local() || !frame.src_addr().is_unicast() {
            return None;
        }
        // Its sum is not looked at: between its kernel and us nothing is lost, and it may be left to us to complete.
        let question = UdpPacket::new_checked(packet.payload()).ok()?;
        let message = self.offer.as_ref()?.answer(question.payload(), self.mac)?;
        Some(self.frame(frame.src_addr(), client, &message))
    }

    fn frame(&self, to: EthernetAddress, client: Ipv6Addr, message: &[u8]) -> Vec<u8> {
        let udp = UdpRepr {
            src_port: SERVER_PORT,
            dst_port: CLIENT_PORT,
        };
        let ip = Ipv6Repr {
            src_addr: self.link_local,
            dst_addr: client,
            next_header: IpProtocol::Udp,
            payload_len: udp.header_len() + message.len(),
            hop_limit: 255,
        };
        let ethernet = EthernetRepr {
            src_addr: EthernetAddress(self.mac),
            dst_addr: to,
            ethertype: EthernetProtocol::Ipv6,
        };
        let mut bytes = vec![0; EthernetFrame::<&[u8]>::header_len() + ip.buffer_len() + ip.payload_len];
        let mut frame = EthernetFrame::new_unchecked(&mut bytes[..]);
        ethernet.emit(&mut frame);
        let mut packet = Ipv6Packet::new_unchecked(frame.payload_mut());
        ip.emit(&mut packet);
        udp.emit(
            &mut UdpPacket::new_unchecked(packet.payload_mut()),
            &self.link_local.into(),
            &client.into(),
            message.len(),
            |payload| payload.copy_from_slice(message),
            &ChecksumCapabilities::default(),
        );
        bytes
    }

    /// The options of `--hostname` and `--fqdn`.
    pub fn options(options: &Options) -> Vec<u8> {
        // Nobody updates a DNS for it, and it is encoded (RFC 4702 section 2).
        let fqdn = options.fqdn.as_deref().and_then(dhcpv6::name);
        let fqdn = fqdn.map(|name| [&[0x04, 0xff, 0xff], &name[..]].concat());
        let hostname = options.hostname.as_ref().map(|name| name.as_bytes().to_vec());
        let known = [(HOSTNAME, hostname), (FQDN, fqdn)];
        let said = known.into_iter().filter_map(|(code, data)| {
            let data = data?;
            let len = u8::try_from(data.len()).ok()?;
            Some([&[code, len], &data[..]].concat())
        });
        said.flatten().collect()
    }

    /// The same answer of DHCPv4 with our options; none for what is to stay as it is.
    fn amend(&self, frame: &[u8]) -> Option<Vec<u8>> {
        let message = frame.get(MESSAGE..)?;
        let end = end_of_options(message)?;
        let mut amended = [&message[..end], &self.options[..], &[END]].concat();
        amended.resize(amended.len().max(LEAST), PAD);
        let mut bytes = [&frame[..MESSAGE], &amended[..]].concat();
        let len = u16::try_from(bytes.len() - ETHERNET).ok()?;
        let mut packet = Ipv4Packet::new_unchecked(bytes.get_mut(ETHERNET..)?);
        packet.set_total_len(len);
        packet.fill_checksum();
        let (source, target): (Ipv4Addr, Ipv4Addr) = (packet.src_addr(), packet.dst_addr());
        let mut datagram = UdpPacket::new_unchecked(packet.payload_mut());
        datagram.set_len(len - IPV4);
        datagram.fill_checksum(&source.into(), &target.into());
        Some(bytes)
    }
}

impl Uplink for Greeter {
    fn kind(&self) -> UplinkKind {
        self.line.kind()
    }

    fn recv(&self, buffer: &mut [u8]) -> Result<(Offload, usize), FrameError> {
        loop {
            let (offload, len) = self.line.recv(buffer)?;
            if !self.greets(buffer.get(..len).unwrap_or_default()) {
                return Ok((offload, len));
            }
        }
    }

    fn lend(&self, buffer: &mut [u8], handle: &mut dyn FnMut(Offload, &[u8])) -> Result<(), FrameError> {
        self.line.lend(buffer, &mut |offload, frame| {
            if !self.greets(frame) {
                handle(offload, frame);
            }
        })
    }

    fn send_parts(&self, offload: Offload, [start, rest]: [&[u8]; 2]) -> Result<(), FrameError> {
        if is_answer(start)
            && !self.greetings.options.is_empty()
            && let Some(amended) = self.greetings.amend(&[start, rest].concat())
        {
            return self.line.send(offload, &amended);
        }
        self.line.send_parts(offload, [start, rest])
    }

    fn lost(&self) -> u64 {
        self.line.lost()
    }
}

impl AsFd for Greeter {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.line.as_fd()
    }
}

/// To the group of servers (RFC 8415 section 7.1), of a client's port to a server's.
fn is_question(frame: &[u8]) -> bool {
    frame.get(12..14) == Some(&[0x86, 0xdd])
        && frame.get(20) == Some(&UDP)
        && frame.get(38..54) == Some(&ALL_SERVERS.octets())
        && frame.get(54..58) == Some(&[CLIENT_PORT.to_be_bytes(), SERVER_PORT.to_be_bytes()].concat())
}

/// From a server of DHCPv4 to a client, whole.
fn is_answer(start: &[u8]) -> bool {
    start.get(12..15) == Some(&[0x08, 0x00, 0x45])
        && start.get(23) == Some(&UDP)
        && start.get(34..38) == Some(&[0, 67, 0, 68])
}

/// Where the end of a message's options stands; none for a refusal, which has no more to say, and for what is torn.
fn end_of_options(message: &[u8]) -> Option<usize> {
    let mut at = OPTIONS;
    loop {
        match *message.get(at)? {
            END => return Some(at),
            PAD => at += 1,
            KIND if message.get(at + 2) == Some(&REFUSAL) => return None,
            _ => at += 2 + usize::from(*message.get(at + 1)?),
        }
    }
}

const ALL_SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);

/// RFC 8415 section 7.2.
const CLIENT_PORT: u16 = 546;
const SERVER_PORT: u16 = 547;

/// RFC 768's number.
const UDP: u8 = 17;

/// Bytes of headers, and where a message of DHCP stands behind them.
const ETHERNET: usize = 14;
const IPV4: u16 = 20;
const MESSAGE: usize = 14 + 20 + 8;

/// RFC 2131 section 3, RFC 1542 section 2.1: where options begin, and how long a message is at least.
const OPTIONS: usize = 240;
const LEAST: usize = 300;

/// RFC 2132, RFC 4702.
const PAD: u8 = 0;
const HOSTNAME: u8 = 12;
const KIND: u8 = 53;
const REFUSAL: u8 = 6;
const FQDN: u8 = 81;
const END: u8 = 255;

#[cfg(test)]
mod tests {
    use super::*;

    fn greetings() -> Greetings {
        let options = Options {
            hostname: Some("myhost".to_owned()),
            fqdn: Some("my.example".to_owned()),
            ..Options::default()
        };
        Greetings {
            offer: Some(Offer {
                address: "2001:db8:51::1".parse().unwrap(),
                dns: Vec::new(),
                search: Vec::new(),
                fqdn: None,
            }),
            options: Greetings::options(&options),
            mac: [2, 0, 0, 0, 0, 1],
            link_local: "fe80::1".parse().unwrap(),
        }
    }

    /// A question as a namespace's kernel sends it, made of an answer.
    fn question(client: &str, message: &[u8]) -> Vec<u8> {
        let client: Ipv6Addr = client.parse().unwrap();
        let mut frame = greetings().frame(EthernetAddress::BROADCAST, ALL_SERVERS, message);
        frame[22..38].copy_from_slice(&client.octets());
        frame[54..58].copy_from_slice(&[0x02, 0x22, 0x02, 0x23]);
        frame
    }

    #[test]
    fn questions_are_answered_where_they_came_from() {
        let asked = question("fe80::9", b"\x01abc\0\x01\0\x06client");
        assert!(is_question(&asked));
        let answer = greetings().answer(&asked).unwrap();
        let frame = EthernetFrame::new_checked(&answer[..]).unwrap();
        assert_eq!(
            frame.dst_addr(),
            EthernetAddress(greetings().mac),
            "the question's sender"
        );
        let packet = Ipv6Packet::new_checked(frame.payload()).unwrap();
        let (source, target) = (packet.src_addr(), packet.dst_addr());
        assert_eq!((source, target), (greetings().link_local, "fe80::9".parse().unwrap()));
        let datagram = UdpPacket::new_checked(packet.payload()).unwrap();
        assert_eq!((datagram.src_port(), datagram.dst_port()), (SERVER_PORT, CLIENT_PORT));
        assert!(datagram.verify_checksum(&source.into(), &target.into()));
        assert_eq!(datagram.payload()[..4], *b"\x02abc");
        assert_eq!(
            greetings().answer(&question("2001:db8::9", b"\x01abc\0\x01\0\x06client")),
            None
        );
    }

    #[test]
    fn nothing_else_is_a_question() {
        let asked = question("fe80::9", b"\x01abc\0\x01\0\x06client");
        for (at, byte) in [(12, 8), (20, 6), (53, 1), (55, 0), (57, 0)] {
            let mut other = asked.clone();
            other[at] = byte;
            assert!(!is_question(&other), "{at}");
        }
        for len in 0..asked.len() {
            let _ = is_question(&asked[..len]) && greetings().answer(&asked[..len]).is_some();
        }
    }

    fn offered(kind: u8) -> Vec<u8> {
        let mut message = vec![0; OPTIONS];
        message.extend([KIND, 1, kind, END]);
        message.resize(LEAST, PAD);
        let len = u16::try_from(message.len()).unwrap();
        let mut frame = vec![0; MESSAGE];
        frame[12..15].copy_from_slice(&[8, 0, 0x45]);
        frame[16..18].copy_from_slice(&(len + 28).to_be_bytes());
        frame[23] = UDP;
        frame[26..34].copy_from_slice(&[10, 0, 3, 2, 10, 0, 3, 15]);
        frame[34..38].copy_from_slice(&[0, 67, 0, 68]);
        frame[38..40].copy_from_slice(&(len + 8).to_be_bytes());
        [frame, message].concat()
    }

    #[test]
    fn names_go_into_answers_of_dhcpv4() {
        let frame = offered(2);
        assert!(is_answer(&frame));
        let amended = greetings().amend(&frame).unwrap();
        let said = b"\x35\x01\x02\x0c\x06myhost\x51\x0f\x04\xff\xff\x02my\x07example\0\xff";
        assert_eq!(amended[MESSAGE + OPTIONS..][..said.len()], *said);
        assert_eq!(amended.len(), MESSAGE + LEAST);
        let packet = Ipv4Packet::new_checked(&amended[ETHERNET..]).unwrap();
        assert!(packet.verify_checksum());
        let datagram = UdpPacket::new_checked(packet.payload()).unwrap();
        assert!(datagram.verify_checksum(&packet.src_addr().into(), &packet.dst_addr().into()));
        assert_eq!(greetings().amend(&offered(REFUSAL)), None);
        for len in 0..frame.len() {
            let _ = is_answer(&frame[..len]) && greetings().amend(&frame[..len]).is_some();
        }
    }

    #[test]
    fn nobody_stands_at_the_door_for_nothing() {
        assert!(Greetings::options(&Options::default()).is_empty());
        let torn = Options {
            fqdn: Some("..".to_owned()),
            ..Options::default()
        };
        assert!(Greetings::options(&torn).is_empty());
    }
}
