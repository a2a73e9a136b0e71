//! AV1 (AOM "RTP Payload Format for AV1" v1.0). A decoder may start at a packet that opens a new coded video sequence with
//! its sequence header.

use super::bits::Bits;
use super::inspect::{Inspection, Starts};

const SEQUENCE_HEADER: u8 = 1;
const TEMPORAL_DELIMITER: u8 = 2;

/// Looks at the payloads of one track.
#[derive(Debug, Default)]
pub(super) struct Av1 {
    starts: Starts,
}

impl Av1 {
    /// `None` for a payload that violates the format.
    pub(super) fn inspect(&mut self, time: u64, payload: &[u8]) -> Option<Inspection> {
        let (&header, rest) = payload.split_first()?;
        let (continues, opens) = (header & 0x80 != 0, header & 0x08 != 0);
        // 4.4: the first packet of a coded video sequence does not continue anything.
        if continues && opens {
            return None;
        }
        let mut first = None;
        for element in elements(header, rest) {
            let element = element?;
            if first.is_none() && obu_type(element) != Some(TEMPORAL_DELIMITER) {
                first = Some(element);
            }
        }
        let first = first.filter(|_| !continues).unwrap_or_default();
        // OBU header: the forbidden bit (AV1 5.3.2).
        if first.first().is_some_and(|byte| byte & 0x80 != 0) {
            return None;
        }
        if obu_type(first) != Some(SEQUENCE_HEADER) {
            return Some(Inspection::default());
        }
        let start = opens && self.starts.begin(time);
        let size = obu_body(first).and_then(picture_size);
        Some(Inspection { start, keyframe: opens, size, ..Inspection::default() })
    }
}

/// The OBU elements behind the aggregation header of a packet; `None` for one that overruns, after which there is no more.
pub(crate) fn elements(header: u8, rest: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    Elements { rest, left: header >> 4 & 0x03, counted: header & 0x30 != 0 }
}

/// The OBU elements of a packet (4.3): each with its length before it, but the last without when they are counted.
struct Elements<'a> {
    rest: &'a [u8],
    left: u8,
    counted: bool,
}

impl<'a> Iterator for Elements<'a> {
    /// `None` for an element that overruns, after which there is no more.
    type Item = Option<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.counted && self.left == 0 || !self.counted && self.rest.is_empty() {
            return None;
        }
        let element = if self.counted && self.left == 1 {
            Some((self.rest, &[][..]))
        } else {
            leb128(self.rest).and_then(|(length, rest)| rest.split_at_checked(length))
        };
        self.left = self.left.saturating_sub(1);
        let Some((element, rest)) = element else {
            (self.rest, self.left) = (&[], 0);
            return Some(None);
        };
        self.rest = rest;
        Some(Some(element))
    }
}

/// A number in LEB128, of at most 8 bytes (AV1 4.10.5), and what follows it.
fn leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut number = 0u64;
    for (at, byte) in bytes.iter().enumerate().take(8) {
        number |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(number).ok()?, bytes.get(at + 1..)?));
        }
    }
    None
}

fn obu_type(obu: &[u8]) -> Option<u8> {
    obu.first().map(|header| header >> 3 & 0x0f)
}

/// What follows the header, the extension and the size, which should not be there (4.5).
fn obu_body(obu: &[u8]) -> Option<&[u8]> {
    let (&header, mut body) = obu.split_first()?;
    if header & 0x04 != 0 {
        body = body.get(1..)?;
    }
    if header & 0x02 != 0 {
        let (length, rest) = leb128(body)?;
        body = rest.get(..length).unwrap_or(rest);
    }
    Some(body)
}

/// The largest width and height, from a sequence header (AV1 5.5.1).
fn picture_size(sequence_header: &[u8]) -> Option<(u16, u16)> {
    let mut bits = Bits::new(sequence_header);
    bits.skip(3 + 1)?; // profile, still picture
    if bits.flag()? {
        bits.skip(5)?; // reduced header: one level
    } else {
        operating_points(&mut bits)?;
    }
    let (width_bits, height_bits) = (bits.number(4)? + 1, bits.number(4)? + 1);
    let mut side = |length| u16::try_from(bits.number(length)?.checked_add(1)?).ok();
    Some((side(width_bits)?, side(height_bits)?))
}

/// Timing, decoder model and operating points.
fn operating_points(bits: &mut Bits<'_>) -> Option<()> {
    let mut delay_bits = None;
    if bits.flag()? {
        bits.skip(64)?;
        if bits.flag()? {
            bits.exp_golomb()?;
        }
        if bits.flag()? {
            delay_bits = Some(2 * (bits.number(5)? as usize + 1));
            bits.skip(32 + 10)?;
        }
    }
    let initial_delay = bits.flag()?;
    for _ in 0..=bits.number(5)? {
        bits.skip(12)?;
        // Levels above 7 have a tier.
        if bits.number(5)? > 7 {
            bits.skip(1)?;
        }
        if let Some(delay_bits) = delay_bits
            && bits.flag()?
        {
            bits.skip(delay_bits + 1)?;
        }
        if initial_delay && bits.flag()? {
            bits.skip(4)?;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Codec, Inspector};

    /// A sequence header OBU without a size, of 1280x720: profile 0, one operating point, level 5, 11 and 10 bits for the
    /// sides.
    const HEADER: [u8; 9] = [0x08, 0x00, 0x00, 0x00, 0x2d, 0x4c, 0xff, 0xb3, 0xc0];

    fn inspect(payload: &[u8]) -> Inspection {
        Inspector::new(Codec::Av1).inspect(0, payload)
    }

    fn packet(header: u8, elements: &[&[u8]]) -> Vec<u8> {
        let mut payload = vec![header];
        for (at, element) in elements.iter().enumerate() {
            if at + 1 < elements.len() || header & 0x30 == 0 {
                payload.push(element.len() as u8);
            }
            payload.extend_from_slice(element);
        }
        payload
    }

    #[test]
    fn one_packet_alone() {
        let frame: &[u8] = &[0x30, 0x10, 0x00];
        for (rule, payload, start) in [
            ("N and a sequence header, two counted", packet(0x28, &[&HEADER, frame]), true),
            ("one counted", packet(0x18, &[&HEADER]), true),
            ("lengths only", packet(0x08, &[&HEADER, frame]), true),
            ("the frame goes on in the next packet", packet(0x68, &[&HEADER, frame]), true),
            ("after a temporal delimiter, which should not be there", packet(0x28, &[&[0x10], &HEADER]), true),
            ("N clear", packet(0x20, &[&HEADER, frame]), false),
            ("no sequence header", packet(0x18, &[frame]), false),
            ("it is not the first", packet(0x28, &[frame, &HEADER]), false),
            ("a continuation", packet(0x90, &[&HEADER]), false),
        ] {
            let found = inspect(&payload);
            assert_eq!((found.start, found.keyframe, found.broken), (start, start, false), "{rule}");
        }
    }

    #[test]
    fn payloads_that_violate_the_format() {
        for (rule, payload) in [
            ("nothing at all", &[][..]),
            ("a new sequence that continues", &[0x98, 0x08, 0x00]),
            ("an element that overruns", &[0x00, 0x03, 0x30, 0x10]),
            ("a counted one that overruns", &[0x20, 0x03, 0x30, 0x10]),
            ("the second of three missing", &[0x30, 0x01, 0x30]),
            ("a length without end", &[0x00, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01]),
            ("an absurd length", &[0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
            ("forbidden bit", &[0x10, 0xb0, 0x10]),
        ] {
            assert_eq!(inspect(payload), Inspection::BROKEN, "{rule}");
        }
    }

    #[test]
    fn picture_sizes() {
        assert_eq!(inspect(&packet(0x18, &[&HEADER])).size, Some((1280, 720)));
        let with_size = [&[0x0a, HEADER.len() as u8 - 1][..], &HEADER[1..]].concat();
        assert_eq!(inspect(&packet(0x18, &[&with_size])).size, Some((1280, 720)));
        let with_extension = [&[0x0c, 0x00][..], &HEADER[1..]].concat();
        assert_eq!(inspect(&packet(0x18, &[&with_extension])).size, Some((1280, 720)));
        // Reduced still picture header, level 0, 6 bits for each side: 64x48.
        let reduced = [0x08, 0x18, 0x15, 0x7f, 0xbc];
        assert_eq!(inspect(&packet(0x18, &[&reduced])).size, Some((64, 48)));
        for length in 0..7 {
            assert_eq!(picture_size(&HEADER[1..1 + length]), None, "cut to {length} bytes");
        }
    }

    #[test]
    fn one_start_for_each_time() {
        let mut inspector = Inspector::new(Codec::Av1);
        let payload = packet(0x18, &[&HEADER]);
        assert_eq!([1, 1, 2].map(|time| inspector.inspect(time, &payload).start), [true, false, true]);
    }
}
