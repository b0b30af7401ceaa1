//! DHCPv4: every way to be wrong.

use smoltcp::wire::{Ipv4Packet, UdpPacket};

use crate::dhcp::*;
use crate::net::*;

/// The options that are read.
const READ: [u8; 8] = [50, 52, 53, 54, 57, 61, 80, 255];

#[test]
fn options_go_on_where_there_was_room() {
    let overloaded = |overload: &[u8], file: &[u8], name: &[u8]| {
        let mut bytes = Message::new(REQUEST).with(52, overload).bytes();
        bytes[108..108 + file.len()].copy_from_slice(file);
        bytes[44..44 + name.len()].copy_from_slice(name);
        frame(MAC, NOBODY, ALL, &bytes)
    };
    let wish = [50, 4, 172, 17, 0, 2, 255];
    let twice = [50, 4, 172, 17, 0, 2, 52, 1, 1, 255];
    for (what, frame, expected) in [
        ("in the file's", overloaded(&[1], &wish, &[]), Some(ACK)),
        ("in the server's", overloaded(&[2], &[], &wish), Some(ACK)),
        ("in both", overloaded(&[3], &wish, &[255]), Some(ACK)),
        ("not said", overloaded(&[2], &wish, &[255]), Some(NAK)),
        ("in both the same", overloaded(&[3], &wish, &wish), None),
        ("in turn", overloaded(&[1], &twice, &[]), None),
        ("nowhere", overloaded(&[4], &wish, &[]), None),
        ("too long", overloaded(&[1, 2], &wish, &[]), None),
        ("without end", overloaded(&[1], &[50; 128], &[]), None),
        ("only padding", overloaded(&[3], &[0; 128], &[0; 64]), Some(NAK)),
    ] {
        assert_eq!(
            answer(&mut net(), &frame, MAC).map(|answer| answer.kind),
            expected,
            "{what}"
        );
    }
}

/// A message of every length, cut and filled up, whatever is in it: no panic, and nothing for anybody else.
#[test]
fn messages_of_every_length() {
    let whole = Message::new(REQUEST)
        .wishing(ADDRESS)
        .naming(GATEWAY)
        .with(61, &[1, 2, 0, 0, 0, 0, 2])
        .with(55, &[1, 3, 6, 12, 26, 119])
        .with(57, &[5, 0xdc])
        .bytes();
    let mut answers = 0;
    for len in 0..=600 {
        for fill in [0, 1, 50, 52, 53, 255] {
            let mut net = net();
            let mut bytes = whole[..len.min(whole.len())].to_vec();
            bytes.resize(len, fill);
            net.send(&frame(MAC, NOBODY, ALL, &bytes));
            let frames = net.frames();
            let dropped: u64 = ["drop_truncated", "drop_malformed", "drop_dhcp"]
                .map(|name| net.count(name))
                .iter()
                .sum();
            assert_eq!(frames.len() as u64 + dropped, 1, "{len} bytes, filled with {fill}");
            frames.iter().for_each(|frame| drop(read(frame, MAC)));
            answers += frames.len();
        }
    }
    assert!(answers > 6 * (600 - whole.len()), "most are whole: {answers}");
    // The frame itself, cut anywhere, and the datagram without the rest.
    let whole = frame(MAC, NOBODY, ALL, &whole);
    for len in 0..whole.len() {
        let mut net = net();
        net.send(&whole[..len]);
        assert_eq!(net.frames(), Vec::<Vec<u8>>::new(), "{len} bytes of the frame");
    }
}

#[test]
fn options_of_every_length() {
    for kind in 0..=255 {
        let mut net = net();
        let lengths = if READ.contains(&kind) { 1 } else { 51 };
        for len in (0..=255u8).step_by(lengths) {
            net.pass_time(EARNED);
            let data = vec![kind; len.into()];
            net.send_or_pass(&Message::new(DISCOVER).with(kind, &data).frame());
            net.frames().iter().for_each(|frame| drop(read(frame, MAC)));
            // The same, its length a lie.
            let mut bytes = Message::new(DISCOVER).bytes();
            bytes.pop();
            bytes.extend([kind, len]);
            net.send_or_pass(&frame(MAC, NOBODY, ALL, &bytes));
        }
    }
}

#[test]
fn more_options_than_there_are() {
    let mut message = Message::new(DISCOVER);
    message.options = vec![(224, vec![]); 255];
    assert!(ask(&mut net(), &message).is_some());
    message.options.push((224, vec![]));
    assert_eq!(ask(&mut net(), &message), None);
}

/// Every single byte of a request replaced by every value.
#[test]
fn every_byte_changed() {
    let whole = Message::new(REQUEST).wishing(ADDRESS).with(52, &[3]).bytes();
    for at in 0..whole.len() {
        let mut net = net();
        // The fields for names, where options may stand, are long.
        let values = if (44..236).contains(&at) { 17 } else { 1 };
        for value in (0..=255).step_by(values) {
            net.pass_time(EARNED);
            let mut bytes = whole.clone();
            bytes[at] = value;
            net.send_or_pass(&frame(MAC, NOBODY, ALL, &bytes));
            for frame in net.frames() {
                let packet = Ipv4Packet::new_checked(&frame[14..]).unwrap();
                assert!(UdpPacket::new_checked(packet.payload()).is_ok());
                let yours = &packet.payload()[8 + 16..8 + 20];
                assert!(yours == ADDRESS.octets() || yours == [0; 4], "byte {at} is {value}");
            }
        }
    }
}
