//! Fragments from containers: put together in whatever order they come, and given up where they contradict each other,
//! come too late or are too many.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use gangplank::stack::{Attachment, Offload, Passage, ShardId};
use smoltcp::time::Duration;
use smoltcp::wire::{IpProtocol, Ipv4Packet, UdpPacket};

use crate::net::*;

const STEP: usize = 1480;

/// Bytes of the IP header and the one before it.
const HEADERS: usize = 34;

fn own() -> SocketAddrV4 {
    SocketAddrV4::new(ADDRESS, 5000)
}

fn outside() -> SocketAddrV4 {
    SocketAddrV4::new(OUTSIDE, 9)
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|byte| (byte * 7 % 251) as u8).collect()
}

/// The part of `whole`, a frame without options, that begins so many bytes behind its IP header.
fn part(whole: &[u8], id: u16, offset: usize, len: usize, more: bool) -> Vec<u8> {
    let mut frame = whole[..HEADERS].to_vec();
    frame.extend_from_slice(&whole[HEADERS + offset..][..len]);
    place(&mut frame, id, offset, more);
    frame
}

/// Says of which part of a datagram the packet in `frame` is.
fn place(frame: &mut [u8], id: u16, offset: usize, more: bool) {
    let len = frame.len() - 14;
    let mut packet = Ipv4Packet::new_unchecked(&mut frame[14..]);
    packet.set_total_len(len as u16);
    packet.set_ident(id);
    packet.set_dont_frag(false);
    packet.set_more_frags(more);
    packet.set_frag_offset(offset as u16);
    packet.fill_checksum();
}

/// All parts of `whole`, in order.
pub(crate) fn cut(whole: &[u8], id: u16, step: usize) -> Vec<Vec<u8>> {
    let len = whole.len() - HEADERS;
    let starts = (0..len).step_by(step);
    starts
        .map(|start| part(whole, id, start, step.min(len - start), start + step < len))
        .collect()
}

/// The same of IPv6, each part behind a fragment header.
fn cut6(whole: &[u8], id: u32, step: usize) -> Vec<Vec<u8>> {
    let body = &whole[54..];
    let starts = (0..body.len()).step_by(step);
    starts
        .map(|start| {
            let end = body.len().min(start + step);
            part6(whole[20], id, start, &body[start..end], end < body.len())
        })
        .collect()
}

fn part6(protocol: u8, id: u32, offset: usize, bytes: &[u8], more: bool) -> Vec<u8> {
    let mut body = vec![protocol, 0];
    body.extend_from_slice(&(offset as u16 | u16::from(more)).to_be_bytes());
    body.extend_from_slice(&id.to_be_bytes());
    body.extend_from_slice(bytes);
    ipv6(ADDRESS6, OUTSIDE6, IpProtocol::Ipv6Frag, 64, &body)
}

fn udp6(payload: &[u8]) -> Vec<u8> {
    let mut body = [&[0x13, 0x88, 0, 9, 0, 0, 0, 0], payload].concat();
    let mut datagram = UdpPacket::new_unchecked(&mut body[..]);
    datagram.set_len((8 + payload.len()) as u16);
    datagram.fill_checksum(&ADDRESS6.into(), &OUTSIDE6.into());
    ipv6(ADDRESS6, OUTSIDE6, IpProtocol::Udp, 64, &body)
}

/// Shows the parts; the frame that the last of them completes.
fn join(net: &mut Net, parts: &[Vec<u8>]) -> Vec<u8> {
    let (last, first) = parts.split_last().unwrap();
    for part in first {
        net.send(part);
    }
    completed(net, last)
}

fn completed(net: &mut Net, last: &[u8]) -> Vec<u8> {
    match net.pass(last) {
        Passage::Whole { frame } => frame,
        other => panic!("not whole: {other:?}"),
    }
}

/// What the whole asks of the shell: to whom, which bytes, how far.
fn sent(net: &mut Net, frame: &[u8]) -> (SocketAddr, Vec<u8>, u8) {
    match net.pass(frame) {
        Passage::Datagram {
            target,
            payload,
            handling,
            ..
        } => (target, payload.to_vec(), handling.time_to_live),
        other => panic!("no datagram: {other:?}"),
    }
}

#[test]
fn in_order_and_reversed_and_from_the_middle() {
    for len in [1473, 9000, 60_000, 65_507] {
        let (payload, mut net) = (pattern(len), Net::new());
        let whole = udp(own(), outside(), &payload);
        let mut parts = cut(&whole, 7, STEP);
        for turn in 0..3 {
            match turn {
                1 => parts.reverse(),
                2 => parts.rotate_left(1),
                _ => {}
            }
            let frame = join(&mut net, &parts);
            assert_eq!(sent(&mut net, &frame), (outside().into(), payload.clone(), 63), "{len}");
        }
        assert_eq!(net.count("reassembled"), 3);
        assert_eq!(
            net.count("frames_in"),
            3 * parts.len() as u64,
            "the last one as the whole"
        );
        assert_eq!(net.count("drop_fragment"), 0);
    }
}

#[test]
fn a_first_part_that_ends_within_the_udp_header() {
    // Ports and nothing else would be 4 bytes; 8 is the least that can be followed.
    let whole = udp(own(), outside(), &pattern(100));
    let mut net = Net::new();
    let mut parts = cut(&whole, 7, 8);
    parts.reverse();
    let frame = join(&mut net, &parts);
    assert_eq!(sent(&mut net, &frame).1, pattern(100));
    // A datagram of half a header is whole, and no datagram.
    let mut half = Net::new();
    let stub = ipv4(MAC, ADDRESS, OUTSIDE, IpProtocol::Udp, &[0; 12]);
    let frame = join(&mut half, &cut(&stub, 7, 8));
    half.send(&frame);
    assert_eq!(half.count("drop_truncated") + half.count("drop_port_zero"), 1);
}

#[test]
fn the_checksum_of_the_whole_is_verified() {
    let mut whole = udp(own(), outside(), &pattern(3000));
    whole[2000] ^= 1;
    let mut net = Net::new();
    let frame = join(&mut net, &cut(&whole, 7, STEP));
    net.send(&frame);
    assert_eq!(net.count("drop_checksum"), 1);
}

#[test]
fn pings_of_the_gateway_and_of_others() {
    let mut net = Net::new();
    let frame = join(&mut net, &cut(&ping(OUTSIDE, 1, 2, &pattern(8000)), 7, STEP));
    assert!(matches!(net.pass(&frame), Passage::Echo { sequence: 2, payload, .. } if payload == pattern(8000)));
    assert!(net.frames().is_empty());
    let frame = join(&mut net, &cut(&ping(GATEWAY, 1, 3, &pattern(60_000)), 8, STEP));
    net.send(&frame);
    let parts = net.frames();
    let mut reply = Vec::new();
    for part in &parts {
        let packet = Ipv4Packet::new_checked(&part[14..]).unwrap();
        assert_eq!(usize::from(packet.frag_offset()), reply.len());
        assert_eq!(packet.more_frags(), reply.len() + packet.payload().len() < 60_008);
        reply.extend_from_slice(packet.payload());
    }
    assert_eq!((parts.len(), reply[0], &reply[8..]), (41, 0, &pattern(60_000)[..]));
}

#[test]
fn what_comes_twice_must_be_the_same() {
    let whole = udp(own(), outside(), &pattern(4000));
    let parts = cut(&whole, 7, STEP);
    let mut net = Net::new();
    for part in [&parts[0], &parts[0], &parts[2], &parts[2], &parts[0]] {
        net.send(part);
    }
    let frame = completed(&mut net, &parts[1]);
    assert_eq!(sent(&mut net, &frame).1, pattern(4000));
    assert_eq!(net.count("drop_fragment"), 0);
    let mut other = parts[0].clone();
    other[100] ^= 1;
    spoiled("other bytes", &[&parts[0], &other], &parts[1..]);
}

/// The last of `contradiction` spoils the datagram, and the rest can't complete it.
fn spoiled(what: &str, contradiction: &[&Vec<u8>], rest: &[Vec<u8>]) {
    let mut net = Net::new();
    for part in contradiction {
        net.send(part);
    }
    assert_eq!(net.count("drop_fragment"), 1, "{what}");
    for part in rest.iter().chain(contradiction.iter().copied()) {
        net.send(part);
    }
    assert_eq!(net.count("reassembled"), 0, "{what}");
    let all = 1 + (rest.len() + contradiction.len()) as u64;
    assert_eq!(net.count("drop_fragment"), all, "{what}");
}

#[test]
fn overlaps_and_contradictions_spoil_the_datagram() {
    let whole = udp(own(), outside(), &pattern(4000));
    let parts = cut(&whole, 7, STEP);
    let of = |offset, len, more| part(&whole, 7, offset, len, more);
    spoiled("over its end", &[&parts[0], &of(STEP - 8, 800, true)], &parts[1..]);
    spoiled("over its start", &[&parts[1], &of(0, STEP + 8, true)], &parts[..1]);
    spoiled("around it", &[&of(800, 80, true), &parts[0]], &parts[1..]);
    spoiled("two ends", &[&of(800, 8, false), &parts[2]], &parts[..2]);
    spoiled("an end before what is there", &[&parts[1], &of(8, 8, false)], &parts);
    spoiled("more behind the end", &[&of(800, 8, false), &parts[1]], &parts[..1]);
    spoiled("no end at the end", &[&of(8, 16, false), &of(16, 8, true)], &parts);
}

#[test]
fn fragments_that_are_none() {
    let whole = udp(own(), outside(), &pattern(4000));
    let at = |offset, len| {
        let mut frame = whole[..HEADERS + len].to_vec();
        place(&mut frame, 7, offset, false);
        frame
    };
    let table = [
        ("not cut at 8", part(&whole, 7, 0, 1001, true)),
        ("nothing", part(&whole, 7, 0, 0, true)),
        ("nothing at the end", part(&whole, 7, 800, 0, false)),
        ("past 65,535", at(65_528, 8)),
        ("past 65,535 with its header", at(65_512, 8)),
    ];
    for (what, frame) in table {
        let mut net = Net::new();
        net.send(&frame);
        assert_eq!(net.count("drop_fragment"), 1, "{what}");
        assert_eq!(net.engine.poll_timeout(), None, "{what}: nothing is kept");
    }
    let mut net = Net::new();
    net.send(&at(65_504, 8));
    assert_eq!(net.count("drop_fragment"), 0, "to the last byte");
    let mut spoofed = part(&whole, 7, 0, 800, true);
    spoofed[11] = 3;
    net.send(&spoofed);
    assert_eq!(net.count("drop_spoofed"), 1);
    let offload = Offload {
        partial_checksum: Some(gangplank::stack::PartialChecksum { start: 34, offset: 6 }),
        ..Offload::default()
    };
    let frame = part(&whole, 7, 0, 800, true);
    assert_eq!(net.engine.handle_frame(net.now, offload, &frame), Passage::Done);
    assert_eq!(net.count("drop_malformed"), 1);
}

#[test]
fn a_hole_is_waited_for_and_then_not() {
    let whole = udp(own(), outside(), &pattern(4000));
    let parts = cut(&whole, 7, STEP);
    let mut net = Net::new();
    net.send(&parts[0]);
    net.pass_time(Duration::from_secs(29));
    net.send(&parts[2]);
    assert!(!net.rests_for(Duration::from_secs(2)), "the first one began it");
    net.wait(Duration::from_secs(1));
    assert_eq!((net.count("reassembly_expired"), net.engine.poll_timeout()), (1, None));
    net.send(&parts[1]);
    assert_eq!(net.count("reassembled"), 0);
    net.wait(Duration::from_secs(30));
    assert_eq!((net.count("reassembly_expired"), net.engine.poll_timeout()), (2, None));
}

#[test]
fn other_datagrams_are_others() {
    let mut net = Net::new();
    let own_too = SocketAddrV4::new(NEIGHBOUR, 5000);
    let parts = cut(&udp(own(), outside(), &pattern(2000)), 7, STEP);
    let same_id = cut(&udp(own_too, outside(), &pattern(2001)), 7, STEP);
    let next_id = cut(&udp(own(), outside(), &pattern(2002)), 8, STEP);
    let echo = cut(&ping(OUTSIDE, 1, 1, &pattern(2003)), 7, STEP);
    for parts in [&parts, &same_id, &next_id, &echo] {
        net.send(&parts[0]);
    }
    for (parts, len) in [(&same_id, 2001), (&parts, 2000), (&next_id, 2002)] {
        let frame = completed(&mut net, &parts[1]);
        assert_eq!(sent(&mut net, &frame).1, pattern(len));
    }
    let frame = completed(&mut net, &echo[1]);
    assert!(matches!(net.pass(&frame), Passage::Echo { .. }));
}

#[test]
fn who_floods_loses_its_own() {
    let mut net = Net::new();
    let kept = cut(
        &udp(SocketAddrV4::new(NEIGHBOUR, 1), outside(), &pattern(2000)),
        7,
        STEP,
    );
    net.send(&kept[0]);
    let whole = udp(own(), outside(), &pattern(2000));
    for id in 0..1000 {
        net.send(&part(&whole, id, 0, 8, true));
    }
    assert_eq!(net.count("reassembly_evicted"), 992);
    let last = part(&whole, 999, 8, 2000, false);
    let frame = completed(&mut net, &last);
    assert_eq!(sent(&mut net, &frame).1, pattern(2000));
    completed(&mut net, &kept[1]);
    net.wait(Duration::from_secs(30));
    assert_eq!(net.count("reassembly_expired"), 7);
}

#[test]
fn where_all_is_taken_who_has_most_loses() {
    let mut net = Net::new();
    for last in 0..9_u8 {
        let (address, mac) = (
            Ipv4Addr::new(172, 17, 1, 10 + last),
            mac_of(Ipv4Addr::new(0, 0, 0, 10 + last)),
        );
        net.engine.attach(Attachment {
            mac,
            address: address.into(),
        });
        let whole = ipv4(mac, address, OUTSIDE, IpProtocol::Udp, &pattern(2000));
        for id in 0..if last == 8 { 1 } else { 8 } {
            net.send(&part(&whole, id, 0, 8, true));
        }
    }
    assert_eq!(net.count("reassembly_evicted"), 1);
    let whole = ipv4(
        mac_of(Ipv4Addr::new(0, 0, 0, 18)),
        Ipv4Addr::new(172, 17, 1, 18),
        OUTSIDE,
        IpProtocol::Udp,
        &pattern(2000),
    );
    completed(&mut net, &part(&whole, 0, 8, 1992, false));
}

#[test]
fn what_a_container_left_goes_with_it() {
    let mut net = Net::new();
    let parts = cut(&udp(own(), outside(), &pattern(2000)), 7, STEP);
    net.send(&parts[0]);
    let attachment = Attachment {
        mac: MAC,
        address: ADDRESS.into(),
    };
    net.engine.detach(attachment);
    net.engine.attach(attachment);
    net.send(&parts[1]);
    net.wait(Duration::from_secs(30));
    assert_eq!((net.count("reassembled"), net.count("reassembly_expired")), (0, 1));
}

#[test]
fn the_whole_may_be_anothers() {
    let [mut first, mut second] = Net::shards();
    assert!(matches!(
        second.pass(&udp(own(), outside(), b"x")),
        Passage::Datagram { .. }
    ));
    let frame = join(&mut first, &cut(&udp(own(), outside(), &pattern(4000)), 7, STEP));
    assert_eq!(first.pass(&frame), Passage::Elsewhere { shard: ShardId(1) });
    assert_eq!(sent(&mut second, &frame).1, pattern(4000));
}

#[test]
fn a_last_hop_is_told_of_the_whole() {
    let mut net = Net::new();
    let mut whole = udp(own(), outside(), &pattern(2000));
    whole[22] = 1;
    let frame = join(&mut net, &cut(&whole, 7, STEP));
    net.send(&frame);
    assert_eq!((net.count("drop_ttl"), net.frames().len()), (1, 1));
}

#[test]
fn ipv6_in_any_order() {
    for len in [1500, 60_000, 65_527] {
        let mut net = Net::with_ipv6(|_| {});
        let target = SocketAddr::new(OUTSIDE6.into(), 9);
        let mut parts = cut6(&udp6(&pattern(len)), 7, 1448);
        for _ in 0..2 {
            let frame = join(&mut net, &parts);
            assert_eq!(sent(&mut net, &frame), (target, pattern(len), 63), "{len}");
            parts.reverse();
        }
    }
}

#[test]
fn an_atomic_fragment_waits_for_nobody() {
    let mut net = Net::with_ipv6(|_| {});
    let whole = udp6(b"hello");
    net.send(&part6(17, 7, 0, &pattern(80), true));
    let frame = part6(17, 7, 0, &whole[54..], false);
    assert_eq!(sent(&mut net, &frame).1, b"hello", "though others have its id");
    net.send(&part6(17, 7, 80, &pattern(80), true));
    assert_eq!(net.count("drop_fragment"), 0);
}

#[test]
fn ipv6_overlaps_and_offsets() {
    let mut net = Net::with_ipv6(|_| {});
    let parts = cut6(&udp6(&pattern(4000)), 7, 1448);
    net.send(&parts[0]);
    net.send(&part6(17, 7, 1440, &pattern(80), true));
    for part in &parts {
        net.send(part);
    }
    assert_eq!(net.count("reassembled"), 0);
    net.send(&part6(17, 8, 65_528, &pattern(8), false));
    assert_eq!(net.count("drop_fragment"), 2 + parts.len() as u64);
}

#[test]
fn what_may_not_be_cut() {
    let mut net = Net::with_ipv6(|_| {});
    let inner = [&[17, 0, 0, 1, 0, 0, 0, 9][..], &pattern(80)].concat();
    net.send(&part6(44, 7, 0, &inner[..40], true));
    net.send(&part6(44, 7, 40, &inner[40..], false));
    assert_eq!(net.count("drop_fragment"), 1, "a fragment in fragments");
    let atomic = [&[17, 0, 0, 0, 0, 0, 0, 9][..], &pattern(80)].concat();
    net.send(&part6(44, 8, 0, &atomic[..40], true));
    net.send(&part6(44, 8, 40, &atomic[40..], false));
    assert_eq!(net.count("drop_fragment"), 2, "an atomic one in fragments");
    let solicitation = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &GATEWAY6.octets()].concat();
    net.send(&part6(58, 9, 0, &solicitation[..16], true));
    net.send(&part6(58, 9, 16, &solicitation[16..], false));
    net.send(&part6(58, 10, 0, &solicitation, false));
    assert_eq!(net.count("drop_neighbour"), 2);
}
