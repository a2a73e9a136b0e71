//! The RTP header in front of a payload: what it says, how long it is, which extensions it has room for.
//!
//! A header is a pure function of the packet, its number and the configuration, so that a packet sent again without RTX
//! is byte for byte what it was. Sequence number and SSRC are left to the sealer, which alone knows the nonce they make.

use whipstitch_media::Extensions;

use super::config::ExtensionIds;

/// An RTP header without CSRCs and extensions (RFC 3550 5.1).
pub(super) const FIXED: usize = 12;

/// A datagram never grows beyond this because of extensions (`protocol.md` 9.2): 1200 bytes pass every path there is
/// (RFC 8831 and QUIC count on 1200, too). A packet that is longer without any is the publisher's choice and is sent.
const MAX_WITH_EXTENSIONS: usize = 1200;

/// Largest identifier of a one-byte element (RFC 8285 4.2); 15 ends the parsing.
const MAX_ID: u8 = 14;

/// Longest data of a one-byte element.
const MAX_DATA: usize = 16;

/// The header extension elements of one packet, in the order of their worth.
#[derive(Clone, Copy, Default)]
pub(super) struct Elements<'a> {
    mid: Option<(u8, &'a [u8])>,
    orientation: Option<(u8, u8)>,
    audio_level: Option<(u8, u8)>,
}

impl<'a> Elements<'a> {
    /// Those that were negotiated and that the packet has, as many as fit into the datagram with `others` bytes: the
    /// fixed header, payload and protection. What is worth least goes first.
    pub(super) fn of(ids: &'a ExtensionIds, packet: &Extensions, mid: bool, others: usize) -> Elements<'a> {
        let pair = |id: Option<u8>, value: Option<u8>| id.filter(writable).zip(value);
        let mut elements = Elements {
            mid: ids.mid.as_ref().filter(|_| mid).and_then(|(id, mid)| writable_mid(*id, mid.as_bytes())),
            orientation: pair(ids.orientation, packet.orientation),
            audio_level: pair(ids.audio_level, packet.audio_level),
        };
        let drops: [fn(&mut Elements<'_>); 3] = [
            |elements| elements.audio_level = None,
            |elements| elements.orientation = None,
            |elements| {
                elements.mid = None;
            },
        ];
        for drop in drops {
            if elements.is_empty() || others + elements.len() <= MAX_WITH_EXTENSIONS {
                break;
            }
            drop(&mut elements);
        }
        elements
    }

    fn is_empty(&self) -> bool {
        self.mid.is_none() && self.orientation.is_none() && self.audio_level.is_none()
    }

    /// Bytes of the extension block with its own header and padding; 0 without elements.
    fn len(&self) -> usize {
        if self.is_empty() {
            return 0;
        }
        let mid = self.mid.map_or(0, |(_, mid)| 1 + mid.len());
        let bytes = [self.orientation, self.audio_level].into_iter().flatten().count() * 2;
        4 + (mid + bytes).next_multiple_of(4)
    }

    /// Writes the block into exactly `len` bytes.
    fn write(&self, block: &mut [u8]) {
        let words = (block.len() / 4 - 1) as u16;
        // RFC 8285 4.2: the one-byte form; 0 is padding.
        block.fill(0);
        block[..2].copy_from_slice(&[0xbe, 0xde]);
        block[2..4].copy_from_slice(&words.to_be_bytes());
        let mut at = 4;
        if let Some((id, mid)) = self.mid {
            block[at] = id << 4 | (mid.len() - 1) as u8;
            block[at + 1..][..mid.len()].copy_from_slice(mid);
            at += 1 + mid.len();
        }
        for (id, value) in [self.orientation, self.audio_level].into_iter().flatten() {
            block[at..at + 2].copy_from_slice(&[id << 4, value]);
            at += 2;
        }
    }
}

fn writable(id: &u8) -> bool {
    (1..=MAX_ID).contains(id)
}

fn writable_mid(id: u8, mid: &[u8]) -> Option<(u8, &[u8])> {
    (writable(&id) && (1..=MAX_DATA).contains(&mid.len())).then_some((id, mid))
}

/// Everything of a header but sequence number and SSRC.
#[derive(Clone, Copy)]
pub(super) struct Header<'a> {
    pub(super) pt: u8,
    pub(super) marker: bool,
    pub(super) time: u32,
    pub(super) elements: Elements<'a>,
}

impl Header<'_> {
    /// Bytes.
    pub(super) fn len(&self) -> usize {
        FIXED + self.elements.len()
    }

    /// Writes it to the front of a buffer of at least `len` bytes and returns `len`.
    pub(super) fn write(&self, buffer: &mut [u8]) -> usize {
        let (fixed, rest) = buffer.split_at_mut(FIXED);
        let len = self.elements.len();
        // RFC 3550 5.1: version 2, no padding, no CSRCs.
        fixed[0] = if len > 0 { 0x90 } else { 0x80 };
        fixed[1] = u8::from(self.marker) << 7 | self.pt;
        fixed[2..4].fill(0);
        fixed[4..8].copy_from_slice(&self.time.to_be_bytes());
        fixed[8..12].fill(0);
        if len > 0 {
            self.elements.write(&mut rest[..len]);
        }
        FIXED + len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(mid: &str) -> ExtensionIds {
        ExtensionIds { mid: Some((4, mid.to_owned())), audio_level: Some(1), orientation: Some(13) }
    }

    const BOTH: Extensions = Extensions { audio_level: Some(0xaa), orientation: Some(0xbb) };

    fn written(ids: &ExtensionIds, packet: &Extensions, mid: bool, others: usize) -> Vec<u8> {
        let elements = Elements::of(ids, packet, mid, others);
        let header = Header { pt: 96, marker: true, time: 0x0102_0304, elements };
        let mut buffer = vec![0xee; header.len()];
        assert_eq!(header.write(&mut buffer), buffer.len());
        buffer
    }

    #[test]
    fn a_header_without_extensions_has_twelve_bytes() {
        let expected = [0x80, 0x80 | 96, 0, 0, 1, 2, 3, 4, 0, 0, 0, 0];
        assert_eq!(written(&ExtensionIds::default(), &BOTH, true, 100), expected);
        assert_eq!(written(&ids("v"), &Extensions::default(), false, 100), expected);
    }

    #[test]
    fn negotiated_elements_are_written_in_the_one_byte_form() {
        let written = written(&ids("v0"), &BOTH, true, 100);
        assert_eq!(written[0], 0x90);
        assert_eq!(written[12..], [0xbe, 0xde, 0, 2, 0x41, b'v', b'0', 0xd0, 0xbb, 0x10, 0xaa, 0]);
    }

    #[test]
    fn elements_that_do_not_fit_1200_bytes_are_left_out_the_least_first() {
        // mid 3 bytes, orientation 2, level 2: blocks of 12, 12 and 8 bytes.
        for (others, block) in [
            (1188, &[0xbe, 0xde, 0, 2, 0x41, b'v', b'0', 0xd0, 0xbb, 0x10, 0xaa, 0][..]),
            (1189, &[0xbe, 0xde, 0, 1, 0x41, b'v', b'0', 0]),
            (1192, &[0xbe, 0xde, 0, 1, 0x41, b'v', b'0', 0]),
            (1193, &[]),
            (1400, &[]),
        ] {
            assert_eq!(&written(&ids("v0"), &BOTH, true, others)[12..], block, "{others} bytes");
        }
        // Without a mid the orientation alone is as long as both.
        assert_eq!(written(&ids("v0"), &BOTH, false, 1192).len(), 20);
        assert_eq!(written(&ids("v0"), &BOTH, false, 1193).len(), 12);
    }

    #[test]
    fn what_the_one_byte_form_cannot_say_is_not_written() {
        for id in [0, 15, 16, 255] {
            let ids = ExtensionIds { mid: Some((id, "v".into())), audio_level: Some(id), orientation: Some(id) };
            assert_eq!(written(&ids, &BOTH, true, 100).len(), 12, "identifier {id}");
        }
        for mid in ["", "seventeen letters"] {
            assert_eq!(written(&ids(mid), &Extensions::default(), true, 100).len(), 12, "mid {mid:?}");
        }
        assert_eq!(written(&ids("sixteen letters."), &Extensions::default(), true, 100).len(), 12 + 4 + 20);
    }
}
