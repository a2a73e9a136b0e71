//! RTP and RTCP as bytes: a client's own reading of RFC 3550, 4585, 4588 and 8285.

/// An RTP packet, unprotected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rtp {
    pub(crate) pt: u8,
    pub(crate) marker: bool,
    pub(crate) seq: u16,
    pub(crate) time: u32,
    pub(crate) ssrc: u32,
    /// One-byte header extensions (RFC 8285 4.2).
    pub(crate) extensions: Vec<(u8, Vec<u8>)>,
    pub(crate) payload: Vec<u8>,
    /// Bytes of padding behind the payload.
    pub(crate) padding: u8,
}

impl Rtp {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let first = 0x80 | u8::from(!self.extensions.is_empty()) << 4 | u8::from(self.padding > 0) << 5;
        let mut bytes = vec![first, u8::from(self.marker) << 7 | self.pt];
        bytes.extend(self.seq.to_be_bytes());
        bytes.extend(self.time.to_be_bytes());
        bytes.extend(self.ssrc.to_be_bytes());
        if !self.extensions.is_empty() {
            let mut elements = Vec::new();
            for (id, value) in &self.extensions {
                elements.push(id << 4 | (value.len() as u8 - 1));
                elements.extend(value);
            }
            elements.resize(elements.len().next_multiple_of(4), 0);
            bytes.extend([0xbe, 0xde]);
            bytes.extend((elements.len() as u16 / 4).to_be_bytes());
            bytes.extend(elements);
        }
        bytes.extend(&self.payload);
        if self.padding > 0 {
            bytes.resize(bytes.len() + usize::from(self.padding) - 1, 0);
            bytes.push(self.padding);
        }
        bytes
    }

    /// Reads a packet of the server, which never sends CSRCs or padding (protocol.md 9.2).
    #[track_caller]
    pub(crate) fn parse(bytes: &[u8]) -> Rtp {
        assert_eq!(bytes[0] & 0xef, 0x80, "version 2, no padding, no CSRC: {bytes:02x?}");
        let mut extensions = Vec::new();
        let mut at = 12;
        if bytes[0] & 0x10 != 0 {
            assert_eq!(u16_at(bytes, 12), 0xbede, "the one-byte form");
            let end = 16 + 4 * usize::from(u16_at(bytes, 14));
            at = 16;
            while at < end {
                let (id, length) = (bytes[at] >> 4, usize::from(bytes[at] & 15) + 1);
                if id == 0 {
                    at += 1;
                    continue;
                }
                extensions.push((id, bytes[at + 1..at + 1 + length].to_vec()));
                at += 1 + length;
            }
            assert_eq!(at, end, "elements fill the extension: {bytes:02x?}");
        }
        Rtp {
            pt: bytes[1] & 0x7f,
            marker: bytes[1] & 0x80 != 0,
            seq: u16_at(bytes, 2),
            time: u32_at(bytes, 4),
            ssrc: u32_at(bytes, 8),
            extensions,
            payload: bytes[at..].to_vec(),
            padding: 0,
        }
    }

    /// The value of a header extension.
    pub(crate) fn extension(&self, id: u8) -> Option<&[u8]> {
        self.extensions.iter().find(|(other, _)| *other == id).map(|(_, value)| &value[..])
    }
}

pub(crate) const SR: u8 = 200;
pub(crate) const RR: u8 = 201;
pub(crate) const SDES: u8 = 202;
pub(crate) const BYE: u8 = 203;
pub(crate) const APP: u8 = 204;
/// Transport layer feedback (RFC 4585 6.2): FMT 1 is NACK, 15 transport-wide congestion control.
pub(crate) const RTPFB: u8 = 205;
/// Payload-specific feedback (RFC 4585 6.3): FMT 1 is PLI, 4 FIR, 15 REMB.
pub(crate) const PSFB: u8 = 206;
pub(crate) const XR: u8 = 207;

/// One packet of a compound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rtcp {
    pub(crate) kind: u8,
    /// Count of reports or feedback message type.
    pub(crate) count: u8,
    /// What is behind the first four bytes.
    pub(crate) body: Vec<u8>,
}

impl Rtcp {
    pub(crate) fn new(kind: u8, count: u8, body: Vec<u8>) -> Rtcp {
        assert!(body.len().is_multiple_of(4));
        Rtcp { kind, count, body }
    }

    /// A receiver report without blocks, which begins what a client sends.
    pub(crate) fn rr(sender: u32) -> Rtcp {
        Rtcp::new(RR, 0, sender.to_be_bytes().to_vec())
    }

    pub(crate) fn pli(sender: u32, media: u32) -> Rtcp {
        Rtcp::new(PSFB, 1, [sender.to_be_bytes(), media.to_be_bytes()].concat())
    }

    pub(crate) fn fir(sender: u32, media: u32, number: u8) -> Rtcp {
        Rtcp::new(PSFB, 4, [sender.to_be_bytes(), [0; 4], media.to_be_bytes(), [number, 0, 0, 0]].concat())
    }

    /// A NACK of these packets, one entry each.
    pub(crate) fn nack(sender: u32, media: u32, missing: &[u16]) -> Rtcp {
        let mut body = [sender.to_be_bytes(), media.to_be_bytes()].concat();
        missing.iter().for_each(|seq| body.extend([seq.to_be_bytes(), [0, 0]].concat()));
        Rtcp::new(RTPFB, 1, body)
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let words = (self.body.len() / 4) as u16;
        [&[0x80 | self.count, self.kind][..], &words.to_be_bytes(), &self.body].concat()
    }

    /// Reads a compound of the server: every length adds up, and only the last packet is padded (RFC 3550 6.4.1).
    #[track_caller]
    pub(crate) fn parse_all(mut bytes: &[u8]) -> Vec<Rtcp> {
        let mut all = Vec::new();
        while !bytes.is_empty() {
            let (packet, rest) = bytes.split_at(4 + 4 * usize::from(u16_at(bytes, 2)));
            let padding = if packet[0] & 0x20 == 0 { 0 } else { packet.last().copied().map_or(0, usize::from) };
            assert!(packet[0] >> 6 == 2 && (padding == 0 || rest.is_empty()), "{bytes:02x?}");
            let body = packet[4..packet.len() - padding].to_vec();
            all.push(Rtcp { kind: packet[1], count: packet[0] & 31, body });
            bytes = rest;
        }
        all
    }

    /// A word of the body: 0 is the sender's SSRC, 1 in feedback the media's.
    pub(crate) fn word(&self, index: usize) -> u32 {
        u32_at(&self.body, 4 * index)
    }

    pub(crate) fn is(&self, kind: u8, count: u8) -> bool {
        (self.kind, self.count) == (kind, count)
    }

    /// The sequence numbers a NACK names.
    pub(crate) fn nacked(&self) -> Vec<u16> {
        assert!(self.is(RTPFB, 1));
        let entries = self.body[8..].chunks(4).map(|entry| (u16_at(entry, 0), u16_at(entry, 2)));
        let named = |(pid, mask): (u16, u16)| {
            let following = (0..16).filter(move |bit| mask >> bit & 1 == 1).map(move |bit| pid.wrapping_add(bit + 1));
            std::iter::once(pid).chain(following)
        };
        entries.flat_map(named).collect()
    }

    /// What transport-wide feedback says of each packet: whether it has come
    /// (draft-holmer-rmcat-transport-wide-cc-extensions-01 3.1).
    pub(crate) fn transport(&self) -> Vec<(u16, bool)> {
        assert!(self.is(RTPFB, 15));
        let (base, count) = (u16_at(&self.body, 8), usize::from(u16_at(&self.body, 10)));
        let mut came = Vec::new();
        for at in (16..).step_by(2) {
            if came.len() >= count {
                break;
            }
            let chunk = u16_at(&self.body, at);
            match chunk >> 14 {
                0 | 1 => came.extend(vec![chunk >> 13 & 3 != 0; usize::from(chunk & 0x1fff)]),
                2 => came.extend((0..14).rev().map(|bit| chunk >> bit & 1 != 0)),
                _ => came.extend((0..7).rev().map(|pair| chunk >> (2 * pair) & 3 != 0)),
            }
        }
        came.truncate(count);
        came.into_iter().enumerate().map(|(at, came)| (base.wrapping_add(at as u16), came)).collect()
    }

    /// The CNAMEs of a source description by SSRC.
    pub(crate) fn cnames(&self) -> Vec<(u32, String)> {
        assert_eq!(self.kind, SDES);
        let mut all = Vec::new();
        let mut at = 0;
        for _ in 0..self.count {
            let ssrc = u32_at(&self.body, at);
            assert_eq!(self.body[at + 4], 1, "RFC 3550 6.5.1: CNAME");
            let length = usize::from(self.body[at + 5]);
            all.push((ssrc, String::from_utf8(self.body[at + 6..at + 6 + length].to_vec()).expect("text")));
            // The end of the list, then up to the next word.
            at = (at + 6 + length + 1).next_multiple_of(4);
        }
        all
    }
}

/// A compound of these packets.
pub(crate) fn compound(packets: &[Rtcp]) -> Vec<u8> {
    packets.iter().flat_map(Rtcp::bytes).collect()
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
