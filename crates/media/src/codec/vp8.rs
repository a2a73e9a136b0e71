//! VP8 (RFC 7741). A decoder may start at the first packet of a key frame.

use super::inspect::{Inspection, Starts};

/// Looks at the payloads of one track.
#[derive(Debug, Default)]
pub(super) struct Vp8 {
    starts: Starts,
}

impl Vp8 {
    /// `None` for a payload that violates the format.
    pub(super) fn inspect(&mut self, time: u64, payload: &[u8]) -> Option<Inspection> {
        let &descriptor = payload.first()?;
        let frame = payload.get(descriptor_length(payload)?..)?;
        let &first = frame.first()?;
        // S set and partition 0: the packet begins the frame (4.2). P clear: it is a key frame (4.3).
        if descriptor & 0x17 != 0x10 || first & 1 != 0 {
            return Some(Inspection::default());
        }
        // RFC 6386 9.1: three bytes of frame tag, the start code, width and height with their scales.
        if frame.get(3..6).is_some_and(|code| code != [0x9d, 0x01, 0x2a]) {
            return None;
        }
        let side = |at: usize| {
            let bytes = frame.get(at..)?.first_chunk::<2>()?;
            Some(u16::from_le_bytes(*bytes) & 0x3fff)
        };
        let start = self.starts.begin(time);
        Some(Inspection { start, keyframe: true, size: side(6).zip(side(8)), ..Inspection::default() })
    }
}

/// S bit of the descriptor's first byte: a partition begins.
pub(crate) const BEGINS_PARTITION: u8 = 0x10;

/// Bytes of the descriptor (RFC 7741 4.2).
pub(crate) fn descriptor_length(payload: &[u8]) -> Option<usize> {
    if payload.first()? & 0x80 == 0 {
        return Some(1);
    }
    let flags = *payload.get(1)?;
    let mut length = 2;
    if flags & 0x80 != 0 {
        // The M bit of the picture id says whether it has a second byte.
        length += if payload.get(length)? & 0x80 != 0 { 2 } else { 1 };
    }
    length += usize::from(flags & 0x40 != 0); // TL0PICIDX
    length += usize::from(flags & 0x30 != 0); // TID and KEYIDX share one
    Some(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Codec, Inspector};

    /// The beginning of a key frame of 640x480, scales set.
    const KEY: [u8; 11] = [0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x80, 0x42, 0xe0, 0x81, 0x00];

    fn inspect(payload: &[u8]) -> Inspection {
        Inspector::new(Codec::Vp8).inspect(0, payload)
    }

    fn key(descriptor: &[u8]) -> Vec<u8> {
        [descriptor, &KEY].concat()
    }

    #[test]
    fn key_frames_start_whatever_the_descriptor() {
        for (rule, descriptor) in [
            ("no extension", &[0x10][..]),
            ("non-reference", &[0x30]),
            ("no fields", &[0x90, 0x00]),
            ("short picture id", &[0x90, 0x80, 0x7f]),
            ("long picture id", &[0x90, 0x80, 0xff, 0xff]),
            ("TL0PICIDX", &[0x90, 0x40, 0x01]),
            ("TID", &[0x90, 0x20, 0x01]),
            ("KEYIDX", &[0x90, 0x10, 0x01]),
            ("TID and KEYIDX", &[0x90, 0x30, 0x01]),
            ("everything", &[0x90, 0xf0, 0x81, 0x23, 0x01, 0x21]),
        ] {
            let expected = Inspection { start: true, keyframe: true, size: Some((640, 480)), ..Inspection::default() };
            assert_eq!(inspect(&key(descriptor)), expected, "{rule}");
        }
    }

    #[test]
    fn other_packets_do_not_start() {
        for (rule, payload) in [
            ("a later packet of the frame", key(&[0x00])),
            ("another partition", key(&[0x11])),
            ("the reserved partitions too", key(&[0x14])),
            ("an interframe", vec![0x10, 0x31, 0x02, 0x00]),
            ("an interframe of one byte", vec![0x10, 0x31]),
        ] {
            assert_eq!(inspect(&payload), Inspection::default(), "{rule}");
        }
    }

    #[test]
    fn payloads_that_violate_the_format() {
        for (rule, payload) in [
            ("nothing at all", &[][..]),
            ("a descriptor alone", &[0x10]),
            ("half a descriptor", &[0x90]),
            ("an extension alone", &[0x90, 0x00]),
            ("no picture id", &[0x90, 0x80]),
            ("half a picture id", &[0x90, 0x80, 0x80]),
            ("a descriptor that ends the packet", &[0x90, 0xf0, 0x81, 0x23, 0x01, 0x21]),
            ("a wrong start code", &[0x10, 0x10, 0x02, 0x00, 0x9d, 0x01, 0x2b, 0x80, 0x02, 0xe0, 0x01]),
        ] {
            assert_eq!(inspect(payload), Inspection::BROKEN, "{rule}");
        }
    }

    #[test]
    fn a_key_frame_cut_short_has_no_size() {
        let found = inspect(&key(&[0x10])[..9]);
        assert!(found.start && found.size.is_none());
    }

    #[test]
    fn one_start_for_each_time() {
        let mut inspector = Inspector::new(Codec::Vp8);
        let found = [1, 1, 2].map(|time| inspector.inspect(time, &key(&[0x10])).start);
        assert_eq!(found, [true, false, true]);
    }
}
