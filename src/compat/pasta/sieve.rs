//! Wrappers around the line: a sieve for protocols that are switched off, and a recorder of what passes.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::options::Options;
use crate::stack::{Offload, PartialChecksum};
use crate::sys::clock;
use crate::uplink::{FRAME_BYTES, FrameError, Uplink, UplinkKind};

/// What does not come through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Holes {
    ipv4: bool,
    ipv6: bool,
    tcp: bool,
    udp: bool,
    icmp: bool,
    ndp: bool,
    /// Router solicitations: nobody is advertised.
    ra: bool,
}

/// A line on which some frames are lost in silence.
#[derive(Debug)]
pub struct Sieve {
    line: Box<dyn Uplink>,
    stopped: Holes,
}

/// A line whose frames are written to a file in pcap format, superframes as they are, but for checksums that were left to
/// whoever sends them on.
#[derive(Debug)]
pub struct Recorder {
    line: Box<dyn Uplink>,
    file: File,
}

impl Holes {
    /// What the command line switches off. A namespace that is configured has no use for advertisements.
    pub fn of(options: &Options) -> Self {
        Self {
            ipv4: options.ipv6_only,
            ipv6: options.ipv4_only,
            tcp: options.off.tcp,
            udp: options.off.udp,
            icmp: options.off.icmp,
            ndp: options.off.ndp || options.off.icmp,
            ra: options.off.ra || options.config_net,
        }
    }

    /// Whether a frame is lost.
    fn stop(self, frame: &[u8]) -> bool {
        let Some(kind) = frame.get(12..14) else { return false };
        let (protocol, header) = match kind {
            ARP => return self.ipv4,
            IPV4 if self.ipv4 => return true,
            IPV6 if self.ipv6 => return true,
            IPV4 => (
                frame.get(23),
                frame.get(14).map_or(0, |byte| usize::from(byte & 0xf) * 4),
            ),
            IPV6 => (frame.get(20), IPV6_HEADER),
            _ => return false,
        };
        match protocol.copied() {
            Some(6) => self.tcp,
            Some(17) => self.udp,
            Some(1) => self.icmp,
            Some(58) => match frame.get(14 + header).copied() {
                // RFC 4861 section 4: solicitations of routers, and all else that it defines.
                Some(133) => self.ra || self.ndp,
                Some(134..=137) => self.ndp,
                Some(_) | None => self.icmp,
            },
            Some(_) | None => false,
        }
    }
}

impl Sieve {
    /// Puts a sieve over the line, if anything is to be stopped.
    pub fn over(line: Box<dyn Uplink>, stopped: Holes) -> Box<dyn Uplink> {
        if stopped == Holes::default() {
            line
        } else {
            Box::new(Self { line, stopped })
        }
    }
}

impl Uplink for Sieve {
    fn kind(&self) -> UplinkKind {
        self.line.kind()
    }

    fn recv(&self, buffer: &mut [u8]) -> Result<(Offload, usize), FrameError> {
        loop {
            let (offload, len) = self.line.recv(buffer)?;
            if !self.stopped.stop(buffer.get(..len).unwrap_or_default()) {
                return Ok((offload, len));
            }
        }
    }

    fn lend(&self, buffer: &mut [u8], handle: &mut dyn FnMut(Offload, &[u8])) -> Result<(), FrameError> {
        self.line.lend(buffer, &mut |offload, frame| {
            if !self.stopped.stop(frame) {
                handle(offload, frame);
            }
        })
    }

    fn send_parts(&self, offload: Offload, parts: [&[u8]; 2]) -> Result<(), FrameError> {
        self.line.send_parts(offload, parts)
    }

    fn lost(&self) -> u64 {
        self.line.lost()
    }
}

impl AsFd for Sieve {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.line.as_fd()
    }
}

impl Recorder {
    /// Begins the file, for its owner alone: it holds what others say in confidence.
    pub fn create(path: &Path) -> io::Result<File> {
        let mut options = File::options();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
        // Magic number, version 2.4, zone and accuracy, the longest record, Ethernet (pcap-savefile(5)).
        let words: [u32; 6] = [0xa1b2_c3d4, 2 | 4 << 16, 0, 0, LONGEST_RECORD, 1];
        file.write_all(&words.map(u32::to_ne_bytes).concat())?;
        Ok(file)
    }

    /// Records what passes over the line.
    pub fn over(line: Box<dyn Uplink>, file: File) -> Box<dyn Uplink> {
        Box::new(Self { line, file })
    }

    fn record(&self, offload: Offload, [start, rest]: [&[u8]; 2]) {
        let (seconds, micros) = clock::wall();
        let len = u32::try_from(start.len() + rest.len()).unwrap_or(LONGEST_RECORD);
        let head = [seconds, micros, len, len].map(u32::to_ne_bytes).concat();
        let mut record = [&head, start, rest].concat();
        if let (Some(partial), Some(frame)) = (offload.partial_checksum, record.get_mut(head.len()..)) {
            complete(frame, partial);
        }
        // In one write, so that two threads don't mix theirs; a full disk stops nobody.
        let _ = (&self.file).write_all(&record);
    }
}

impl Uplink for Recorder {
    fn kind(&self) -> UplinkKind {
        self.line.kind()
    }

    fn recv(&self, buffer: &mut [u8]) -> Result<(Offload, usize), FrameError> {
        let (offload, len) = self.line.recv(buffer)?;
        self.record(offload, [buffer.get(..len).unwrap_or_default(), &[]]);
        Ok((offload, len))
    }

    fn lend(&self, buffer: &mut [u8], handle: &mut dyn FnMut(Offload, &[u8])) -> Result<(), FrameError> {
        self.line.lend(buffer, &mut |offload, frame| {
            self.record(offload, [frame, &[]]);
            handle(offload, frame);
        })
    }

    fn send_parts(&self, offload: Offload, parts: [&[u8]; 2]) -> Result<(), FrameError> {
        self.record(offload, parts);
        self.line.send_parts(offload, parts)
    }

    fn lost(&self) -> u64 {
        self.line.lost()
    }
}

impl AsFd for Recorder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.line.as_fd()
    }
}

/// Makes a whole checksum of a partial one, which holds the pseudo-header's sum (RFC 1071 section 1); one whose place is not
/// in the frame stays.
fn complete(frame: &mut [u8], PartialChecksum { start, offset }: PartialChecksum) {
    let start = usize::from(start);
    let place = start + usize::from(offset);
    let sum: u32 = frame.get(start..).map_or(0, |covered| {
        let words = covered.chunks(2);
        let word = |pair: &[u8]| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |byte| u32::from(*byte));
        words.map(word).sum()
    });
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = !((sum & 0xffff) + (sum >> 16)) & 0xffff;
    // UDP has another meaning for zero (RFC 768), and to all others the two are the same.
    let sum = if sum == 0 { 0xffff } else { sum };
    if let Some(bytes) = frame.get_mut(place..place + 2) {
        bytes.copy_from_slice(&sum.to_be_bytes()[2..]);
    }
}

/// EtherTypes (RFC 9542 appendix B).
const IPV4: &[u8] = &[0x08, 0x00];
const ARP: &[u8] = &[0x08, 0x06];
const IPV6: &[u8] = &[0x86, 0xdd];

/// RFC 8200 section 3.
const IPV6_HEADER: usize = 40;

/// A superframe.
const LONGEST_RECORD: u32 = {
    assert!(FRAME_BYTES < 1 << 17);
    1 << 17
};

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: &[u8], protocol_at: usize, protocol: u8, icmp: u8) -> Vec<u8> {
        let mut frame = vec![0; 80];
        frame[12..14].copy_from_slice(kind);
        frame[14] = 0x45;
        frame[protocol_at] = protocol;
        frame[54] = icmp;
        frame
    }

    /// RFC 1071 section 3's numbers, and what an odd length, zero and a place outside are.
    #[test]
    fn checksums_are_completed() {
        let completed = |bytes: &[u8], start, offset| {
            let mut frame = bytes.to_vec();
            complete(&mut frame, PartialChecksum { start, offset });
            frame
        };
        let numbers = [0xee, 0x00, 0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(completed(&numbers, 2, 8), numbers, "no room for it");
        let whole = completed(&[&numbers[..], &[0, 0]].concat(), 2, 8);
        assert_eq!(whole[10..], [0x22, 0x0d]);
        assert_eq!(completed(&[1, 0, 0, 0, 5], 0, 2), [1, 0, 0xf9, 0xff, 5], "odd");
        assert_eq!(completed(&[0xff, 0xff, 0, 0], 0, 2), [0xff, 0xff, 0xff, 0xff]);
        assert_eq!(completed(&[1, 2], 7, 0), [1, 2]);
    }

    #[test]
    fn stops_what_is_switched_off() {
        let off = |change: fn(&mut Options)| {
            let mut options = Options::default();
            change(&mut options);
            Holes::of(&options)
        };
        let tcp = frame(IPV4, 23, 6, 0);
        let udp6 = frame(IPV6, 20, 17, 0);
        let solicitation = frame(IPV6, 20, 58, 133);
        let neighbour = frame(IPV6, 20, 58, 135);
        let echo6 = frame(IPV6, 20, 58, 128);
        let nothing = off(|_| {});
        for frame in [&tcp, &udp6, &solicitation, &neighbour, &echo6] {
            assert!(!nothing.stop(frame));
        }
        assert!(off(|options| options.off.tcp = true).stop(&tcp));
        assert!(!off(|options| options.off.tcp = true).stop(&udp6));
        assert!(off(|options| options.off.udp = true).stop(&udp6));
        assert!(off(|options| options.ipv4_only = true).stop(&udp6));
        assert!(off(|options| options.ipv6_only = true).stop(&tcp));
        let configured = off(|options| options.config_net = true);
        assert!(configured.stop(&solicitation) && !configured.stop(&neighbour));
        let no_icmp = off(|options| options.off.icmp = true);
        assert!(no_icmp.stop(&echo6) && no_icmp.stop(&neighbour));
        assert!(!no_icmp.stop(&[]), "what is no frame is not judged here");
    }
}
