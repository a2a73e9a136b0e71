//! VP9 (RFC 9628), flexible and non-flexible mode. A decoder may start at the first packet of a key picture's lowest
//! spatial layer.

use super::inspect::{Inspection, Starts};

const PICTURE_ID: u8 = 0x80;
const INTER_PREDICTED: u8 = 0x40;
const LAYERS: u8 = 0x20;
const FLEXIBLE: u8 = 0x10;
pub(crate) const BEGINS_FRAME: u8 = 0x08;
pub(crate) const ENDS_FRAME: u8 = 0x04;
pub(crate) const SCALABILITY: u8 = 0x02;

/// Looks at the payloads of one track.
#[derive(Debug, Default)]
pub(super) struct Vp9 {
    starts: Starts,
}

impl Vp9 {
    /// `None` for a payload that violates the format.
    pub(super) fn inspect(&mut self, time: u64, payload: &[u8]) -> Option<Inspection> {
        let descriptor = Descriptor::read(payload)?;
        let Descriptor { flags, spatial, size, .. } = descriptor;
        // What is left belongs to the frame, and there has to be some.
        let &frame = payload.get(descriptor.len)?;
        let begins_key = flags & (INTER_PREDICTED | BEGINS_FRAME) == BEGINS_FRAME && spatial == 0;
        let keyframe = begins_key && !tells_inter_frame(frame);
        let start = keyframe && self.starts.begin(time);
        Some(Inspection { start, keyframe, size, ..Inspection::default() })
    }
}

/// What stands before the frame (4.2).
pub(crate) struct Descriptor {
    /// Its first byte.
    pub(crate) flags: u8,
    spatial: u8,
    size: Option<(u16, u16)>,
    /// Bytes before the scalability structure, which is its last part.
    pub(crate) before_structure: usize,
    /// All its bytes.
    pub(crate) len: usize,
}

impl Descriptor {
    /// `None` if the payload ends before it does.
    pub(crate) fn read(payload: &[u8]) -> Option<Descriptor> {
        let mut bytes = Bytes { payload, at: 0 };
        let flags = bytes.take()?;
        if flags & PICTURE_ID != 0 && bytes.take()? & 0x80 != 0 {
            bytes.take()?;
        }
        let mut spatial = 0;
        if flags & LAYERS != 0 {
            spatial = bytes.take()? >> 1 & 0x07;
            if flags & FLEXIBLE == 0 {
                bytes.take()?; // TL0PICIDX
            }
        }
        if flags & FLEXIBLE != 0 && flags & INTER_PREDICTED != 0 {
            reference_indices(&mut bytes)?;
        }
        let before_structure = bytes.at;
        let size = if flags & SCALABILITY != 0 { scalability_structure(&mut bytes)? } else { None };
        Some(Descriptor { flags, spatial, size, before_structure, len: bytes.at })
    }
}

/// A payload that is read byte after byte.
struct Bytes<'a> {
    payload: &'a [u8],
    at: usize,
}

impl Bytes<'_> {
    fn take(&mut self) -> Option<u8> {
        let byte = self.payload.get(self.at).copied()?;
        self.at += 1;
        Some(byte)
    }
}

/// Whether the first byte of a frame says that it is predicted. FFmpeg leaves P clear on every packet, so the descriptor
/// alone would make each frame a key frame. A byte without the frame marker says nothing: the frame may be encrypted.
fn tells_inter_frame(byte: u8) -> bool {
    // VP9 6.2: frame_marker (2), profile (2, and one bit more for profile 3), show_existing_frame, frame_type.
    let shown_and_type = if byte & 0x30 == 0x30 { byte >> 1 } else { byte >> 2 };
    byte >> 6 == 0b10 && shown_and_type & 0b11 != 0
}

/// Up to three P_DIFF, each with a bit for more (4.2).
fn reference_indices(bytes: &mut Bytes<'_>) -> Option<()> {
    for _ in 0..3 {
        if bytes.take()? & 1 == 0 {
            return Some(());
        }
    }
    None
}

/// The scalability structure (4.2.1); gives the size of the largest layer, if sizes are there.
fn scalability_structure(bytes: &mut Bytes<'_>) -> Option<Option<(u16, u16)>> {
    let header = bytes.take()?;
    let mut size = None;
    if header & 0x10 != 0 {
        for _ in 0..=header >> 5 {
            let mut side = || Some(u16::from_be_bytes([bytes.take()?, bytes.take()?]));
            let layer = (side()?, side()?);
            size = size.max(Some(layer));
        }
    }
    if header & 0x08 != 0 {
        for _ in 0..bytes.take()? {
            // Each picture of the group: TID, U, R references, then as many P_DIFF.
            for _ in 0..bytes.take()? >> 2 & 0x03 {
                bytes.take()?;
            }
        }
    }
    Some(size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Codec, Inspector};

    fn inspect(payload: &[u8]) -> Inspection {
        Inspector::new(Codec::Vp9).inspect(0, payload)
    }

    #[test]
    fn one_packet_alone() {
        for (rule, payload, keyframe) in [
            ("B set, P clear", &[0x08, 0x82][..], true),
            ("and E: the whole frame", &[0x0c, 0x82], true),
            ("B clear: not the first", &[0x04, 0x82], false),
            ("P set: predicted", &[0x48, 0x86], false),
            ("P clear, but the frame is predicted", &[0x08, 0x86], false),
            ("or shows an older one", &[0x08, 0x88], false),
            ("a key frame of profile 3", &[0x08, 0xb1], true),
            ("a predicted one of profile 3", &[0x08, 0xb2], false),
            ("what cannot be read is believed", &[0x08, 0x44], true),
            ("short picture id", &[0x88, 0x11, 0x82], true),
            ("long picture id", &[0x88, 0x91, 0x23, 0x82], true),
            ("lowest layer, non-flexible", &[0xa8, 0x11, 0x00, 0x07, 0x82], true),
            ("upper layer, non-flexible", &[0xa8, 0x11, 0x03, 0x07, 0x82], false),
            ("lowest layer, flexible", &[0xb8, 0x11, 0x00, 0x82], true),
            ("upper layer, flexible", &[0xb8, 0x11, 0x02, 0x82], false),
            ("flexible with references", &[0xd8, 0x11, 0x03, 0x05, 0x02, 0x86], false),
        ] {
            let expected = Inspection { start: keyframe, keyframe, ..Inspection::default() };
            assert_eq!(inspect(payload), expected, "{rule}");
        }
    }

    #[test]
    fn sizes_come_with_the_scalability_structure() {
        // Three layers with sizes, a group of two pictures.
        let sizes = [1, 0x40, 0, 0xb4, 2, 0x80, 1, 0x68, 5, 0, 2, 0xd0];
        let group = [2, 0x04, 1, 0x18, 1, 2];
        let payload = [&[0x0a, 0x58][..], &sizes, &group, &[0x82]].concat();
        assert_eq!(inspect(&payload).size, Some((1280, 720)));
        assert!(inspect(&payload).start);
        assert_eq!(inspect(&payload[..payload.len() - 1]), Inspection::BROKEN, "no frame behind it");
        assert_eq!(inspect(&[0x0a, 0x00, 0x82]).size, None, "a structure without sizes");
    }

    #[test]
    fn payloads_that_violate_the_format() {
        for (rule, payload) in [
            ("nothing at all", &[][..]),
            ("a descriptor alone", &[0x08]),
            ("no picture id", &[0x88]),
            ("half a picture id", &[0x88, 0x80]),
            ("no layer", &[0xa8, 0x11]),
            ("no TL0PICIDX", &[0xa8, 0x11, 0x00]),
            ("no reference", &[0xd8, 0x11]),
            ("four references", &[0xd8, 0x11, 0x03, 0x03, 0x03, 0x02, 0x86]),
            ("no scalability structure", &[0x0a]),
            ("half a size", &[0x0a, 0x10, 0x05, 0x00, 0x02]),
            ("a group without pictures", &[0x0a, 0x08, 0x02, 0x04]),
        ] {
            assert_eq!(inspect(payload), Inspection::BROKEN, "{rule}");
        }
    }

    #[test]
    fn one_start_for_each_time() {
        let mut inspector = Inspector::new(Codec::Vp9);
        assert_eq!([1, 1, 2].map(|time| inspector.inspect(time, &[0x08, 0x82]).start), [true, false, true]);
    }
}
