//! The offload header that travels with each frame: `struct virtio_net_hdr` of `linux/virtio_net.h`.
//!
//! With it the kernel hands over superframes of up to 64 KB with a partial checksum and takes the same back, while
//! the containers keep an MTU of 1500. This file is only the header's encoding and the check that it fits its frame;
//! `uplink` puts it before each frame, the engine acts on it. A container writes this header itself when its
//! interface is a TAP, so no field of it is trusted. Source: virtio 1.2, section 5.1.6 (the 10 bytes that stand
//! before `num_buffers`, little-endian).

/// What is left for the receiver of a frame to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Offload {
    /// The transport checksum holds only the pseudo-header's sum: complete it over the bytes from `csum_start`,
    /// into the two bytes at `csum_start + csum_offset`. `None`: the checksum is complete or absent.
    pub partial_checksum: Option<PartialChecksum>,
    /// The kernel has verified the checksum (VIRTIO_NET_HDR_F_DATA_VALID).
    pub verified: bool,
    /// The frame is a superframe, to be cut into segments of `gso_size` bytes of payload.
    pub gso: Option<Gso>,
    /// Nothing of the header's: the frame was put together here of fragments.
    pub assembled: bool,
}

/// Where a partial checksum stands; bytes from the start of the Ethernet header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartialChecksum {
    /// First byte that the sum covers.
    pub start: u16,
    /// Where the sum goes, counted from `start`.
    pub offset: u16,
}

/// How to cut a superframe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gso {
    /// Into what.
    pub kind: GsoType,
    /// Bytes of payload of one segment, headers not counted; never 0.
    pub size: u16,
    /// Bytes of all headers, a hint (the kernel looks for itself).
    pub headers: u16,
    /// The segments carry ECN's CWR (VIRTIO_NET_HDR_GSO_ECN).
    pub ecn: bool,
}

/// VIRTIO_NET_HDR_GSO_*.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GsoType {
    /// TCP over IPv4.
    TcpV4,
    /// TCP over IPv6.
    TcpV6,
    /// UDP datagrams of equal size, the last may be shorter (since Linux 6.2).
    UdpL4,
}

/// Why a header was refused; the frame behind it is dropped and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OffloadError {
    /// A superframe of a kind that we did not agree to.
    #[error("unknown superframe type {0:#04x}")]
    UnknownType(u8),
    /// A superframe cut into nothing.
    #[error("superframe with segments of 0 bytes")]
    EmptySegments,
    /// Every segment needs a checksum of its own.
    #[error("superframe without a partial checksum")]
    NoChecksum,
    /// The checksum's place is not in the frame.
    #[error("partial checksum outside the frame")]
    ChecksumOutside,
    /// The headers are longer than the frame.
    #[error("headers longer than the frame")]
    HeadersOutside,
}

impl Offload {
    /// Of a frame that was put together here.
    pub const ASSEMBLED: Self = Self {
        partial_checksum: None,
        verified: false,
        gso: None,
        assembled: true,
    };

    /// Bytes of the header before each frame.
    pub const LEN: usize = 10;

    /// Reads the header; [`validate`](Self::validate) it against its frame before use.
    pub fn decode(header: &[u8; Self::LEN]) -> Result<Self, OffloadError> {
        let [flags, gso_type, h0, h1, s0, s1, start0, start1, offset0, offset1] = *header;
        let partial_checksum = (flags & NEEDS_CSUM != 0).then(|| PartialChecksum {
            start: u16::from_le_bytes([start0, start1]),
            offset: u16::from_le_bytes([offset0, offset1]),
        });
        let gso = decode_gso(gso_type, u16::from_le_bytes([s0, s1]), u16::from_le_bytes([h0, h1]))?;
        Ok(Self {
            partial_checksum,
            verified: flags & DATA_VALID != 0,
            gso,
            assembled: false,
        })
    }

    /// Writes the header.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut flags = 0;
        let (mut start, mut offset) = ([0; 2], [0; 2]);
        if let Some(checksum) = self.partial_checksum {
            flags |= NEEDS_CSUM;
            start = checksum.start.to_le_bytes();
            offset = checksum.offset.to_le_bytes();
        }
        if self.verified {
            flags |= DATA_VALID;
        }
        let (mut gso_type, mut headers, mut size) = (GSO_NONE, [0; 2], [0; 2]);
        if let Some(gso) = self.gso {
            gso_type = gso.kind.code() | if gso.ecn { GSO_ECN } else { 0 };
            headers = gso.headers.to_le_bytes();
            size = gso.size.to_le_bytes();
        }
        [
            flags, gso_type, headers[0], headers[1], size[0], size[1], start[0], start[1], offset[0], offset[1],
        ]
    }

    /// Whether the header can be true of a frame of `len` bytes, Ethernet header included.
    pub fn validate(&self, len: usize) -> Result<(), OffloadError> {
        if let Some(PartialChecksum { start, offset }) = self.partial_checksum
            && usize::from(start) + usize::from(offset) + CHECKSUM_LEN > len
        {
            return Err(OffloadError::ChecksumOutside);
        }
        let Some(gso) = self.gso else { return Ok(()) };
        if self.partial_checksum.is_none() {
            return Err(OffloadError::NoChecksum);
        }
        if usize::from(gso.headers) > len {
            return Err(OffloadError::HeadersOutside);
        }
        Ok(())
    }
}

impl GsoType {
    fn code(self) -> u8 {
        match self {
            Self::TcpV4 => GSO_TCPV4,
            Self::TcpV6 => GSO_TCPV6,
            Self::UdpL4 => GSO_UDP_L4,
        }
    }
}

fn decode_gso(code: u8, size: u16, headers: u16) -> Result<Option<Gso>, OffloadError> {
    let kind = match code & !GSO_ECN {
        GSO_NONE if code == GSO_NONE => return Ok(None),
        GSO_TCPV4 => GsoType::TcpV4,
        GSO_TCPV6 => GsoType::TcpV6,
        GSO_UDP_L4 if code == GSO_UDP_L4 => GsoType::UdpL4,
        // Also VIRTIO_NET_HDR_GSO_UDP, fragments of one datagram (3): never agreed to. ECN is a flag of TCP alone.
        _ => return Err(OffloadError::UnknownType(code)),
    };
    if size == 0 {
        return Err(OffloadError::EmptySegments);
    }
    Ok(Some(Gso {
        kind,
        size,
        headers,
        ecn: code & GSO_ECN != 0,
    }))
}

/// VIRTIO_NET_HDR_F_NEEDS_CSUM.
const NEEDS_CSUM: u8 = 1;
/// VIRTIO_NET_HDR_F_DATA_VALID.
const DATA_VALID: u8 = 2;
/// VIRTIO_NET_HDR_GSO_NONE.
const GSO_NONE: u8 = 0;
/// VIRTIO_NET_HDR_GSO_TCPV4.
const GSO_TCPV4: u8 = 1;
/// VIRTIO_NET_HDR_GSO_TCPV6.
const GSO_TCPV6: u8 = 4;
/// VIRTIO_NET_HDR_GSO_UDP_L4.
const GSO_UDP_L4: u8 = 5;
/// VIRTIO_NET_HDR_GSO_ECN.
const GSO_ECN: u8 = 0x80;
/// Bytes of a checksum.
const CHECKSUM_LEN: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    const SUPERFRAME: [u8; 10] = [1, 1, 54, 0, 0xb4, 0x05, 34, 0, 16, 0];

    #[test]
    fn reads_and_writes_what_the_kernel_writes() {
        let offload = Offload::decode(&SUPERFRAME).unwrap();
        assert_eq!(
            offload,
            Offload {
                partial_checksum: Some(PartialChecksum { start: 34, offset: 16 }),
                gso: Some(Gso {
                    kind: GsoType::TcpV4,
                    size: 1460,
                    headers: 54,
                    ecn: false
                }),
                ..Offload::default()
            }
        );
        assert_eq!(offload.encode(), SUPERFRAME);
        assert_eq!(offload.validate(65_000), Ok(()));
        assert_eq!(Offload::decode(&[0; 10]), Ok(Offload::default()));
        assert_eq!(Offload::default().encode(), [0; 10]);
        assert!(Offload::decode(&[2, 0, 0, 0, 0, 0, 0, 0, 0, 0]).unwrap().verified);
    }

    #[test]
    fn every_kind_survives_the_round_trip() {
        for kind in [GsoType::TcpV4, GsoType::TcpV6, GsoType::UdpL4] {
            for ecn in [false, true] {
                let gso = Some(Gso {
                    kind,
                    size: 1,
                    headers: 0xffff,
                    ecn,
                });
                let partial_checksum = Some(PartialChecksum {
                    start: 0x1234,
                    offset: 0xfedc,
                });
                let offload = Offload {
                    partial_checksum,
                    verified: true,
                    gso,
                    assembled: false,
                };
                let expected = if ecn && kind == GsoType::UdpL4 {
                    Err(OffloadError::UnknownType(0x85))
                } else {
                    Ok(offload)
                };
                assert_eq!(Offload::decode(&offload.encode()), expected);
            }
        }
    }

    #[test]
    fn refuses_every_type_it_does_not_know() {
        for code in 0..=u8::MAX {
            let decoded = Offload::decode(&[1, code, 0, 0, 1, 0, 0, 0, 0, 0]);
            match code {
                0 | 1 | 4 | 5 | 0x81 | 0x84 => assert!(decoded.is_ok(), "{code:#x}"),
                _ => assert_eq!(decoded, Err(OffloadError::UnknownType(code))),
            }
        }
    }

    #[test]
    fn refuses_hostile_headers() {
        let at = |index: usize, value: [u8; 2]| {
            let mut header = SUPERFRAME;
            header[index..index + 2].copy_from_slice(&value);
            header
        };
        let fate = |header: [u8; 10], len| Offload::decode(&header).and_then(|offload| offload.validate(len));
        let checksum_end = 34 + 16 + 2;
        for (what, header, len, expected) in [
            (
                "segments of 0 bytes",
                at(4, [0, 0]),
                1514,
                Err(OffloadError::EmptySegments),
            ),
            ("segments of 1 byte", at(4, [1, 0]), 1514, Ok(())),
            ("segments of 65535 bytes", at(4, [0xff, 0xff]), 1514, Ok(())),
            ("headers as long as the frame", at(2, [54, 0]), 54, Ok(())),
            (
                "headers longer than the frame",
                at(2, [55, 0]),
                54,
                Err(OffloadError::HeadersOutside),
            ),
            (
                "longest headers",
                at(2, [0xff, 0xff]),
                65_534,
                Err(OffloadError::HeadersOutside),
            ),
            ("checksum at the very end", at(2, [0, 0]), checksum_end, Ok(())),
            (
                "checksum half outside",
                at(2, [0, 0]),
                checksum_end - 1,
                Err(OffloadError::ChecksumOutside),
            ),
            (
                "checksum starts outside",
                at(6, [0xff, 0xff]),
                1514,
                Err(OffloadError::ChecksumOutside),
            ),
            (
                "checksum offset outside",
                at(8, [0xff, 0xff]),
                1514,
                Err(OffloadError::ChecksumOutside),
            ),
            (
                "superframe without checksum",
                at(0, [0, 1]),
                1514,
                Err(OffloadError::NoChecksum),
            ),
            (
                "superframe said to be verified",
                at(0, [2, 1]),
                1514,
                Err(OffloadError::NoChecksum),
            ),
            ("no frame at all", SUPERFRAME, 0, Err(OffloadError::ChecksumOutside)),
            ("unknown flags are for others", at(0, [0xfd, 1]), 1514, Ok(())),
        ] {
            assert_eq!(fate(header, len), expected, "{what}");
        }
        let both = Offload {
            partial_checksum: Some(PartialChecksum {
                start: u16::MAX,
                offset: u16::MAX,
            }),
            ..Offload::default()
        };
        assert_eq!(both.validate(65_549), Err(OffloadError::ChecksumOutside));
    }
}
