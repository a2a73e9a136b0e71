//! H.265 (RFC 7798) without DONL: single NAL units, aggregation packets, fragmentation units.
//!
//! A decoder may start where video or sequence parameter sets come, with the picture of the same RTP time. Before an IRAP
//! picture that comes without one of the three kinds, the latest sets are to be put.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::bits::{Bits, without_emulation_prevention};
use super::inspect::{Inspection, Starts, Units, aggregate, aggregated};
use crate::format::{Parameters, parameter};

const VPS: u8 = 32;
const SPS: u8 = 33;
const PPS: u8 = 34;
const AP: u8 = 48;
const FU: u8 = 49;
const PACI: u8 = 50;

/// Header of an aggregation packet: type 48, layer 0, temporal id 0 (RFC 7798 4.4.2).
const AP_HEADER: [u8; 2] = [AP << 1, 1];

/// The longest parameter set that is kept. Real ones have 20 to 120 bytes.
const MAX_SET: usize = 512;

/// The largest payload of parameter sets that is put into a stream: it has to fit a packet of 1200 bytes.
const MAX_PAYLOAD: usize = 1100;

/// The latest parameter sets of a track: one of each kind, of at most 512 bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParameterSets {
    vps: Vec<u8>,
    sps: Vec<u8>,
    pps: Vec<u8>,
    size: Option<(u16, u16)>,
}

impl ParameterSets {
    /// None known.
    pub fn new() -> Self {
        Self::default()
    }

    /// Those of `sprop-vps`, `sprop-sps` and `sprop-pps` (RFC 7798 7.1) in the text of an `a=fmtp`.
    pub fn from_format(format: &str) -> Self {
        let mut sets = Self::new();
        for name in ["sprop-vps", "sprop-sps", "sprop-pps"] {
            for set in parameter(format, name).unwrap_or_default().split(',') {
                if let Ok(nal) = BASE64_STANDARD.decode(set.trim()) {
                    sets.insert(&nal);
                }
            }
        }
        sets
    }

    /// Takes a NAL unit; anything but a parameter set, and one that is too long, is ignored. Tells whether the sets are
    /// others now.
    pub fn insert(&mut self, nal: &[u8]) -> bool {
        let Some(kind) = nal.first().map(|header| header >> 1 & 0x3f) else { return false };
        if nal.len() > MAX_SET {
            return false;
        }
        let kept = match kind {
            VPS => &mut self.vps,
            SPS => &mut self.sps,
            PPS => &mut self.pps,
            _ => return false,
        };
        let changed = kept != nal;
        if changed {
            *kept = nal.to_vec();
            if kind == SPS {
                self.size = picture_size(nal);
            }
        }
        changed
    }

    /// The video parameter set, a NAL unit without start code.
    pub fn vps(&self) -> Option<&[u8]> {
        (!self.vps.is_empty()).then_some(&*self.vps)
    }

    /// The sequence parameter set, a NAL unit without start code.
    pub fn sps(&self) -> Option<&[u8]> {
        (!self.sps.is_empty()).then_some(&*self.sps)
    }

    /// The picture parameter set, a NAL unit without start code.
    pub fn pps(&self) -> Option<&[u8]> {
        (!self.pps.is_empty()).then_some(&*self.pps)
    }

    /// Width and height in pixels.
    pub fn size(&self) -> Option<(u16, u16)> {
        self.size
    }

    /// The format parameters of a track with these sets, made of those its publisher named (RFC 7798 7.1): with the sets
    /// as soon as all three are known.
    pub fn format(&self, published: &str) -> String {
        let mut format = Parameters::of(published);
        for (name, set) in [("sprop-vps", &self.vps), ("sprop-sps", &self.sps), ("sprop-pps", &self.pps)] {
            format.set(name, if self.is_whole() { BASE64_STANDARD.encode(set) } else { String::new() });
        }
        format.into_text()
    }

    /// Whether there is one of each kind.
    pub fn is_whole(&self) -> bool {
        !self.vps.is_empty() && !self.sps.is_empty() && !self.pps.is_empty()
    }

    /// All three as one aggregation packet; `None` if one is missing or they do not fit a packet.
    pub fn payload(&self) -> Option<Arc<[u8]>> {
        let mut payload = AP_HEADER.to_vec();
        for set in [self.vps()?, self.sps()?, self.pps()?] {
            aggregate(&mut payload, set);
        }
        (payload.len() <= MAX_PAYLOAD).then(|| payload.into())
    }
}

/// Looks at the payloads of one track.
#[derive(Debug)]
pub(super) struct H265 {
    pub(super) sets: ParameterSets,
    /// The sets are others than when this was asked last.
    pub(super) changed: bool,
    starts: Starts,
}

impl H265 {
    pub(super) fn new(sets: ParameterSets) -> Self {
        Self { sets, changed: true, starts: Starts::default() }
    }

    /// `None` for a payload that violates the format.
    pub(super) fn inspect(&mut self, time: u64, payload: &[u8]) -> Option<Inspection> {
        let found = self.find(payload)?;
        let size = if found.sps || found.first_key { self.sets.size() } else { None };
        Some(self.starts.judge(time, &found, || self.sets.payload().is_some(), size))
    }

    fn find(&mut self, payload: &[u8]) -> Option<Units> {
        let (header, body) = payload.split_first_chunk::<2>()?;
        let mut found = Units { needs: bit(VPS) | bit(SPS) | bit(PPS), ..Units::default() };
        match kind(*header)? {
            AP => {
                if body.is_empty() {
                    return None;
                }
                for unit in aggregated(body) {
                    self.unit(unit?, &mut found)?;
                }
            }
            FU => fragment(body, &mut found)?,
            // PACI (50) is not negotiated, and what is above is unspecified.
            PACI.. => return None,
            _ => self.unit(payload, &mut found)?,
        }
        Some(found)
    }

    /// A whole NAL unit.
    fn unit(&mut self, unit: &[u8], found: &mut Units) -> Option<()> {
        let (header, body) = unit.split_first_chunk::<2>()?;
        match kind(*header)? {
            set @ (VPS | SPS | PPS) => {
                self.changed |= self.sets.insert(unit);
                found.set |= set != PPS;
                found.sps |= set == SPS;
                found.brings |= bit(set);
            }
            16..=21 => {
                found.key = true;
                found.first_key |= begins_picture(body);
            }
            AP.. => return None,
            _ => {}
        }
        Some(())
    }
}

/// A part of a NAL unit (RFC 7798 4.4.3).
fn fragment(body: &[u8], found: &mut Units) -> Option<()> {
    let (&header, body) = body.split_first()?;
    let (begins, ends) = (header & 0x80 != 0, header & 0x40 != 0);
    if begins && ends {
        return None;
    }
    match header & 0x3f {
        // Too long for one packet, and so for us; but a decoder may start with it.
        set @ (VPS | SPS | PPS) => {
            found.set = begins && set != PPS;
            found.brings = found.needs;
        }
        16..=21 => {
            found.key = true;
            found.first_key = begins && begins_picture(body);
        }
        AP.. => return None,
        _ => {}
    }
    Some(())
}

/// A kind of parameter set as a bit.
const fn bit(set: u8) -> u8 {
    1 << (set - VPS)
}

/// The type of a NAL unit; `None` if the forbidden bit says that it is damaged (RFC 7798 1.1.4).
fn kind(header: [u8; 2]) -> Option<u8> {
    (header[0] & 0x80 == 0).then_some(header[0] >> 1)
}

/// Whether a slice is the first of its picture: first_slice_segment_in_pic_flag (H.265 7.3.6.1).
fn begins_picture(slice: &[u8]) -> bool {
    slice.first().is_some_and(|byte| byte & 0x80 != 0)
}

/// Width and height within the conformance window, from an SPS (H.265 7.3.2.2.1).
fn picture_size(sps: &[u8]) -> Option<(u16, u16)> {
    let raw = without_emulation_prevention(sps.get(2..)?, MAX_SET);
    let mut bits = Bits::new(&raw);
    bits.skip(4)?; // video parameter set id
    let sub_layers = bits.number(3)?; // sps_max_sub_layers_minus1
    bits.skip(1)?; // temporal id nesting
    profile_tier_level(&mut bits, sub_layers)?;
    bits.exp_golomb()?; // id
    let chroma = bits.exp_golomb()?;
    if chroma == 3 {
        bits.skip(1)?; // separate_colour_plane_flag
    }
    let (width, height) = (bits.exp_golomb()?, bits.exp_golomb()?);
    let (mut across, mut down) = (0, 0);
    if bits.flag()? {
        let (unit_x, unit_y) = match chroma {
            1 => (2, 2),
            2 => (2, 1),
            _ => (1, 1),
        };
        across = bits.exp_golomb()?.checked_add(bits.exp_golomb()?)?.checked_mul(unit_x)?;
        down = bits.exp_golomb()?.checked_add(bits.exp_golomb()?)?.checked_mul(unit_y)?;
    }
    Some((width.checked_sub(across)?.try_into().ok()?, height.checked_sub(down)?.try_into().ok()?))
}

/// 7.3.3, with general profile and level present.
fn profile_tier_level(bits: &mut Bits<'_>, sub_layers: u32) -> Option<()> {
    bits.skip(88 + 8)?;
    let mut length = 0;
    for _ in 0..sub_layers {
        length += if bits.flag()? { 88 } else { 0 };
        length += if bits.flag()? { 8 } else { 0 };
    }
    if sub_layers > 0 {
        bits.skip(2 * (8 - sub_layers as usize))?;
    }
    bits.skip(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Codec, Inspector};

    const VPS_0: &[u8] = &[
        0x40, 0x01, 0x0c, 0x01, 0xff, 0xff, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00,
        0x03, 0x00, 0x5d, 0x95, 0x98, 0x09,
    ];
    /// x265, Main 3.1, 1280x720.
    const SPS_720: &[u8] = &[
        0x42, 0x01, 0x01, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03, 0x00, 0x5d,
        0xa0, 0x02, 0x80, 0x80, 0x2d, 0x16, 0x59, 0x59, 0xa4, 0x93, 0x2b, 0xc0, 0x5a, 0x02, 0x00, 0x00, 0x03, 0x00,
        0x02, 0x00, 0x00, 0x03, 0x00, 0x3c, 0x10,
    ];
    const PPS_0: &[u8] = &[0x44, 0x01, 0xc1, 0x72, 0xb4, 0x62, 0x40];

    fn ap(units: &[&[u8]]) -> Vec<u8> {
        let mut payload = AP_HEADER.to_vec();
        units.iter().for_each(|unit| aggregate(&mut payload, unit));
        payload
    }

    fn inspect(payload: &[u8]) -> Inspection {
        Inspector::new(Codec::H265).inspect(0, payload)
    }

    #[test]
    fn one_packet_alone() {
        let idr: &[u8] = &[0x26, 0x01, 0xaf, 0x09];
        for (rule, payload, start, keyframe, bare) in [
            ("a video parameter set starts", VPS_0, true, true, false),
            ("a sequence parameter set starts", SPS_720, true, true, false),
            ("a picture parameter set does not", PPS_0, false, false, false),
            ("IDR_W_RADL (19) alone is bare", idr, false, true, true),
            ("not if it is not the first slice", &[0x26, 0x01, 0x2f], false, true, false),
            ("BLA_W_LP (16)", &[0x20, 0x01, 0x80], false, true, true),
            ("CRA (21)", &[0x2a, 0x01, 0x80], false, true, true),
            ("a reserved IRAP type (22) is nothing", &[0x2c, 0x01, 0x80], false, false, false),
            ("RASL_R (9) is nothing", &[0x12, 0x01, 0x80], false, false, false),
            ("TRAIL_R (1) is nothing", &[0x02, 0x01, 0xd0], false, false, false),
            ("a delimiter (35) is nothing", &[0x46, 0x01, 0x10], false, false, false),
            ("SEI (39) is nothing", &[0x4e, 0x01, 0x05], false, false, false),
            ("all in one aggregation packet", &ap(&[VPS_0, SPS_720, PPS_0, idr]), true, true, false),
            ("an aggregated IDR", &ap(&[&[0x4e, 1, 5], idr]), false, true, true),
            ("the beginning of a fragmented IDR", &[0x62, 0x01, 0x93, 0xaf], false, true, true),
            ("another slice's beginning", &[0x62, 0x01, 0x93, 0x2f], false, true, false),
            ("its middle", &[0x62, 0x01, 0x13, 0xaf], false, true, false),
            ("its end", &[0x62, 0x01, 0x53, 0xaf], false, true, false),
            ("a fragmented parameter set", &[0x62, 0x01, 0xa1, 0x01], true, true, false),
        ] {
            let expected = Inspection { start, keyframe, bare, ..inspect(payload) };
            assert_eq!(inspect(payload), expected, "{rule}");
            assert!(!expected.broken, "{rule}");
        }
    }

    #[test]
    fn payloads_that_violate_the_format() {
        for (rule, payload) in [
            ("nothing at all", &[][..]),
            ("half a header", &[0x26]),
            ("forbidden bit", &[0xa6, 0x01, 0xaf]),
            ("PACI", &[0x64, 0x01, 0x26, 0x00, 0xaf]),
            ("an unspecified type", &[0x7e, 0x01, 0xaf]),
            ("an aggregation packet without units", &[0x60, 0x01]),
            ("with half a size", &[0x60, 0x01, 0]),
            ("with an empty unit", &[0x60, 0x01, 0, 0]),
            ("with half a unit header", &[0x60, 0x01, 0, 1, 0x26]),
            ("that overruns", &[0x60, 0x01, 0, 4, 0x26, 0x01, 0xaf]),
            ("with bytes left over", &[0x60, 0x01, 0, 3, 0x26, 0x01, 0xaf, 0]),
            ("in another", &[0x60, 0x01, 0, 6, 0x60, 0x01, 0, 2, 0x26, 0x01]),
            ("a fragment without its header", &[0x62, 0x01]),
            ("a fragment that begins and ends", &[0x62, 0x01, 0xd3, 0xaf]),
            ("a fragment of a fragment", &[0x62, 0x01, 0xb1, 0xaf]),
        ] {
            assert_eq!(inspect(payload), Inspection::BROKEN, "{rule}");
        }
    }

    #[test]
    fn one_start_for_each_time() {
        let mut inspector = Inspector::new(Codec::H265);
        for (time, payload, start) in [
            (1, VPS_0, true),
            (1, SPS_720, false),
            (1, PPS_0, false),
            (2, SPS_720, true),
            (2, VPS_0, false),
            (2, PPS_0, false),
        ] {
            let found = inspector.inspect(time, payload);
            assert_eq!((found.start, found.bare), (start, false), "at {time}");
        }
        let idr = [0x26, 0x01, 0xaf];
        assert!(!inspector.inspect(2, &idr).bare, "its sets came with it");
        assert!(inspector.inspect(3, &idr).bare);
        assert!(!inspector.inspect(3, &idr).bare);
    }

    #[test]
    fn a_key_picture_with_some_of_its_sets_is_bare() {
        for (time, some) in [&[VPS_0][..], &[VPS_0, SPS_720], &[SPS_720, PPS_0], &[PPS_0]].into_iter().enumerate() {
            for together in [false, true] {
                let mut inspector = Inspector::new(Codec::H265);
                [VPS_0, SPS_720, PPS_0].iter().for_each(|set| assert!(!inspector.inspect(0, set).bare));
                let starts = some != [PPS_0];
                let found = if together {
                    let mut payload = AP_HEADER.to_vec();
                    some.iter().chain([&&[0x26, 0x01, 0xaf][..]]).for_each(|unit| aggregate(&mut payload, unit));
                    inspector.inspect(1, &payload)
                } else {
                    let first = inspector.inspect(1, some[0]);
                    assert_eq!((first.start, first.bare), (starts, false), "{time}");
                    some[1..].iter().for_each(|set| assert!(!inspector.inspect(1, set).start));
                    inspector.inspect(1, &[0x26, 0x01, 0xaf])
                };
                assert_eq!((found.bare, found.start), (true, together && starts), "{time}");
                assert!(!inspector.inspect(1, &[0x26, 0x01, 0xaf]).bare, "once");
            }
        }
    }

    #[test]
    fn parameter_sets_become_a_payload_that_starts() {
        let mut inspector = Inspector::new(Codec::H265);
        inspector.inspect(1, VPS_0);
        inspector.inspect(1, SPS_720);
        assert_eq!(inspector.parameter_sets(), None, "the picture parameter set is missing");
        inspector.inspect(1, PPS_0);
        let sets = inspector.parameter_sets().expect("all are known");
        assert_eq!(*sets, *ap(&[VPS_0, SPS_720, PPS_0]));
        assert!(inspect(&sets).start);
    }

    #[test]
    fn parameter_sets_are_read_from_the_format() {
        let encode = |nal: &[u8]| BASE64_STANDARD.encode(nal);
        let format = format!("sprop-vps={};sprop-sps={}; sprop-pps={}", encode(VPS_0), encode(SPS_720), encode(PPS_0));
        let sets = ParameterSets::from_format(&format);
        assert_eq!((sets.vps(), sets.sps(), sets.pps()), (Some(VPS_0), Some(SPS_720), Some(PPS_0)));
        assert_eq!(ParameterSets::from_format("sprop-sps=?").payload(), None);
    }

    #[test]
    fn what_the_sets_say_is_merged_into_the_publishers_parameters() {
        let mut sets = ParameterSets::new();
        let published = "profile-id=1;sprop-pps=AAAA;level-id=93";
        assert!(sets.insert(VPS_0) && sets.insert(SPS_720));
        assert_eq!(sets.format(published), "profile-id=1;level-id=93", "part of the sets is worse than none");
        assert!(sets.insert(PPS_0) && !sets.insert(PPS_0));
        let whole = sets.format(published);
        assert!(whole.starts_with("profile-id=1;sprop-pps=RAHBcrRiQA==;level-id=93;sprop-vps="), "{whole}");
        assert_eq!(ParameterSets::from_format(&whole), sets);
    }

    #[test]
    fn picture_sizes() {
        assert_eq!(inspect(SPS_720).size, Some((1280, 720)));
        for length in 2..22 {
            assert_eq!(picture_size(&SPS_720[..length]), None, "cut to {length} bytes");
        }
    }
}
