//! H.264 (RFC 6184), packetization modes 0 and 1: single NAL units, STAP-A, FU-A.
//!
//! A decoder may start where a sequence parameter set comes, with the picture of the same RTP time. Before an IDR picture
//! that comes without one, or without a picture parameter set, the latest sets are to be put.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::bits::{Bits, without_emulation_prevention};
use super::inspect::{Inspection, Starts, Units, aggregate, aggregated};
use crate::format::{Parameters, parameter};

const IDR: u8 = 5;
const SPS: u8 = 7;
const PPS: u8 = 8;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;

/// STAP-A with the highest NRI, which parameter sets have anyway.
const STAP_A_HEADER: u8 = 0x78;

/// The kinds of parameter sets, as bits.
const HAS_SPS: u8 = 1;
const HAS_PPS: u8 = 2;

/// The longest parameter set that is kept. Real ones have 10 to 60 bytes, with scaling lists up to 300.
const MAX_SET: usize = 512;

/// Picture parameter sets that are kept, of different ids. Encoders make one, some two; four of the longest with an SPS
/// would not fit a packet, but real ones do.
const MAX_PPS: usize = 4;

/// The largest payload of parameter sets that is put into a stream: it has to fit a packet of 1200 bytes.
const MAX_PAYLOAD: usize = 1100;

/// The latest parameter sets of a track: one SPS and up to four PPS, of at most 512 bytes each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParameterSets {
    sps: Vec<u8>,
    /// With the id each begins with, oldest first.
    pps: Vec<(u32, Vec<u8>)>,
    size: Option<(u16, u16)>,
}

impl ParameterSets {
    /// None known.
    pub fn new() -> Self {
        Self::default()
    }

    /// Those of `sprop-parameter-sets` (RFC 6184 8.1) in the text of an `a=fmtp`.
    pub fn from_format(format: &str) -> Self {
        let mut sets = Self::new();
        for set in parameter(format, "sprop-parameter-sets").unwrap_or_default().split(',') {
            if let Ok(nal) = BASE64_STANDARD.decode(set.trim()) {
                sets.insert(&nal);
            }
        }
        sets
    }

    /// Takes a NAL unit; anything but a parameter set, and one that is too long, is ignored. A new SPS forgets the PPS of
    /// the one before. Tells whether the sets are others now.
    pub fn insert(&mut self, nal: &[u8]) -> bool {
        if nal.len() > MAX_SET {
            return false;
        }
        match nal.first().map(|header| header & 0x1f) {
            Some(SPS) if self.sps != nal => {
                *self = Self { sps: nal.to_vec(), pps: Vec::new(), size: picture_size(nal) };
                true
            }
            Some(PPS) => self.insert_pps(nal),
            _ => false,
        }
    }

    fn insert_pps(&mut self, nal: &[u8]) -> bool {
        let Some(id) = nal.get(1..).and_then(|body| Bits::new(body).exp_golomb()) else { return false };
        if self.pps.iter().any(|(_, kept)| kept == nal) {
            return false;
        }
        self.pps.retain(|(kept, _)| *kept != id);
        if self.pps.len() == MAX_PPS {
            self.pps.remove(0);
        }
        self.pps.push((id, nal.to_vec()));
        true
    }

    /// The sequence parameter set, a NAL unit without start code.
    pub fn sps(&self) -> Option<&[u8]> {
        (!self.sps.is_empty()).then_some(&*self.sps)
    }

    /// The picture parameter sets, NAL units without start code.
    pub fn pps(&self) -> impl Iterator<Item = &[u8]> {
        self.pps.iter().map(|(_, pps)| &**pps)
    }

    /// Width and height in pixels.
    pub fn size(&self) -> Option<(u16, u16)> {
        self.size
    }

    /// The format parameters of a track with these sets, made of those its publisher named (RFC 6184 8.1): with
    /// `packetization-mode=1`, since sets are put into the stream as STAP-A, and with what the sets say as soon as both
    /// kinds are known.
    pub fn format(&self, published: &str) -> String {
        let mut format = Parameters::of(published);
        format.set("packetization-mode", "1");
        if let [_, profile, constraints, level, ..] = *self.sps {
            format.set("profile-level-id", format!("{profile:02x}{constraints:02x}{level:02x}"));
        }
        let sets: Vec<String> =
            self.sps().into_iter().chain(self.pps()).map(|set| BASE64_STANDARD.encode(set)).collect();
        format.set("sprop-parameter-sets", if self.is_whole() { sets.join(",") } else { String::new() });
        format.into_text()
    }

    /// Whether there is one of each kind.
    pub fn is_whole(&self) -> bool {
        !self.sps.is_empty() && !self.pps.is_empty()
    }

    /// SPS and PPS as one STAP-A payload; `None` if one of them is missing or they do not fit a packet.
    pub fn payload(&self) -> Option<Arc<[u8]>> {
        if !self.is_whole() {
            return None;
        }
        let mut payload = vec![STAP_A_HEADER];
        aggregate(&mut payload, &self.sps);
        self.pps().for_each(|pps| aggregate(&mut payload, pps));
        (payload.len() <= MAX_PAYLOAD).then(|| payload.into())
    }
}

/// Looks at the payloads of one track.
#[derive(Debug)]
pub(super) struct H264 {
    pub(super) sets: ParameterSets,
    /// The sets are others than when this was asked last.
    pub(super) changed: bool,
    starts: Starts,
}

impl H264 {
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
        let (&header, body) = payload.split_first()?;
        // RFC 6184 1.3: the forbidden bit says that the unit is damaged.
        if header & 0x80 != 0 {
            return None;
        }
        let mut found = Units { needs: HAS_SPS | HAS_PPS, ..Units::default() };
        match header & 0x1f {
            1..=23 => self.unit(payload, &mut found)?,
            STAP_A => {
                if body.is_empty() {
                    return None;
                }
                for unit in aggregated(body) {
                    self.unit(unit?, &mut found)?;
                }
            }
            FU_A => fragment(body, &mut found)?,
            // STAP-B, MTAP and FU-B belong to the interleaved mode; the rest is reserved.
            _ => return None,
        }
        Some(found)
    }

    /// A whole NAL unit.
    fn unit(&mut self, unit: &[u8], found: &mut Units) -> Option<()> {
        let (&header, body) = unit.split_first()?;
        if header & 0x80 != 0 {
            return None;
        }
        match header & 0x1f {
            SPS => {
                self.changed |= self.sets.insert(unit);
                found.sps = true;
                found.set = true;
                found.brings |= HAS_SPS;
            }
            PPS => {
                self.changed |= self.sets.insert(unit);
                found.brings |= HAS_PPS;
            }
            IDR => {
                found.key = true;
                found.first_key |= begins_picture(body);
            }
            1..=23 => {}
            _ => return None,
        }
        Some(())
    }
}

/// A part of a NAL unit (RFC 6184 5.8); it may be empty.
fn fragment(body: &[u8], found: &mut Units) -> Option<()> {
    let (&header, body) = body.split_first()?;
    let (begins, ends) = (header & 0x80 != 0, header & 0x40 != 0);
    if begins && ends {
        return None;
    }
    match header & 0x1f {
        // Too long for one packet, and so for us; but a decoder may start with it.
        SPS => {
            found.sps = begins;
            found.set = begins;
            found.brings = found.needs;
        }
        PPS => found.brings = found.needs,
        IDR => {
            found.key = true;
            found.first_key = begins && begins_picture(body);
        }
        1..=23 => {}
        _ => return None,
    }
    Some(())
}

/// Whether a slice is the first of its picture: first_mb_in_slice (7.3.3) is zero, which is a single one bit.
fn begins_picture(slice: &[u8]) -> bool {
    slice.first().is_some_and(|byte| byte & 0x80 != 0)
}

/// Width and height after cropping, from an SPS (H.264 7.3.2.1.1, 7.4.2.1.1).
fn picture_size(sps: &[u8]) -> Option<(u16, u16)> {
    let raw = without_emulation_prevention(sps.get(1..)?, MAX_SET);
    let mut bits = Bits::new(&raw);
    let profile = bits.number(8)?;
    bits.skip(16)?; // constraint flags, level
    bits.exp_golomb()?; // id
    let chroma = if has_chroma_format(profile) { chroma_and_scaling(&mut bits)? } else { 1 };
    bits.exp_golomb()?; // log2_max_frame_num_minus4
    picture_order_count(&mut bits)?;
    bits.exp_golomb()?; // max_num_ref_frames
    bits.skip(1)?; // gaps_in_frame_num_value_allowed_flag
    let width = bits.exp_golomb()?.checked_add(1)?.checked_mul(16)?;
    let map_units = bits.exp_golomb()?.checked_add(1)?;
    let fields = if bits.flag()? { 1 } else { 2 };
    let height = map_units.checked_mul(16 * fields)?;
    if fields == 2 {
        bits.skip(1)?; // mb_adaptive_frame_field_flag
    }
    bits.skip(1)?; // direct_8x8_inference_flag
    let (mut across, mut down) = (0, 0);
    if bits.flag()? {
        let (unit_x, unit_y) = match chroma {
            1 => (2, 2),
            2 => (2, 1),
            _ => (1, 1),
        };
        across = bits.exp_golomb()?.checked_add(bits.exp_golomb()?)?.checked_mul(unit_x)?;
        down = bits.exp_golomb()?.checked_add(bits.exp_golomb()?)?.checked_mul(unit_y * fields)?;
    }
    Some((width.checked_sub(across)?.try_into().ok()?, height.checked_sub(down)?.try_into().ok()?))
}

/// The profiles whose SPS tells the chroma format (7.3.2.1.1).
fn has_chroma_format(profile: u32) -> bool {
    matches!(profile, 100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128 | 138 | 139 | 134 | 135)
}

/// Chroma format and scaling lists; gives ChromaArrayType.
fn chroma_and_scaling(bits: &mut Bits<'_>) -> Option<u32> {
    let chroma = bits.exp_golomb()?;
    let separate_planes = chroma == 3 && bits.flag()?;
    bits.exp_golomb()?; // bit depths
    bits.exp_golomb()?;
    bits.skip(1)?; // qpprime_y_zero_transform_bypass_flag
    if bits.flag()? {
        for list in 0..if chroma == 3 { 12 } else { 8 } {
            if bits.flag()? {
                scaling_list(bits, if list < 6 { 16 } else { 64 })?;
            }
        }
    }
    Some(if separate_planes { 0 } else { chroma })
}

fn scaling_list(bits: &mut Bits<'_>, size: usize) -> Option<()> {
    let (mut last, mut next) = (8i32, 8i32);
    for _ in 0..size {
        if next != 0 {
            next = last.wrapping_add(bits.signed_exp_golomb()?).rem_euclid(256);
        }
        last = if next == 0 { last } else { next };
    }
    Some(())
}

fn picture_order_count(bits: &mut Bits<'_>) -> Option<()> {
    match bits.exp_golomb()? {
        0 => {
            bits.exp_golomb()?;
        }
        1 => {
            bits.skip(1)?;
            bits.signed_exp_golomb()?;
            bits.signed_exp_golomb()?;
            // At most 255 by the standard; more run into the end of the bits.
            for _ in 0..bits.exp_golomb()? {
                bits.signed_exp_golomb()?;
            }
        }
        _ => {}
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Codec, Inspector};

    /// x264, High 4.0, 1920x1080 with cropping.
    const SPS_1080: &[u8] = &[
        0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44, 0x00, 0x00, 0x03, 0x00, 0x04,
        0x00, 0x00, 0x03, 0x00, 0xf0, 0x3c, 0x60, 0xc6, 0x58,
    ];
    /// Constrained baseline 3.1, 640x360.
    const SPS_360: &[u8] = &[0x67, 0x42, 0xc0, 0x1f, 0xd9, 0x00, 0xa0, 0x2f, 0xf9, 0x50];
    const PPS_0: &[u8] = &[0x68, 0xce, 0x3c, 0x80];

    fn stap(units: &[&[u8]]) -> Vec<u8> {
        let mut payload = vec![STAP_A_HEADER];
        units.iter().for_each(|unit| aggregate(&mut payload, unit));
        payload
    }

    fn inspect(payload: &[u8]) -> Inspection {
        Inspector::new(Codec::H264).inspect(0, payload)
    }

    #[test]
    fn one_packet_alone() {
        let full = stap(&[SPS_360, PPS_0, &[0x65, 0x88, 0x84]]);
        for (rule, payload, start, keyframe, bare) in [
            ("a sequence parameter set starts", SPS_360, true, true, false),
            ("a picture parameter set does not", PPS_0, false, false, false),
            ("an IDR slice alone is bare", &[0x65, 0x88, 0x84], false, true, true),
            ("not if it is not the first of its picture", &[0x65, 0x40, 0x84], false, true, false),
            ("a P slice is nothing", &[0x41, 0x9a, 0x02], false, false, false),
            ("an access unit delimiter is nothing", &[0x09, 0x10], false, false, false),
            ("SEI is nothing", &[0x06, 0x05, 0x01, 0x00, 0x80], false, false, false),
            ("sets and IDR in one STAP-A", &full, true, true, false),
            ("delimiter, sets and SEI in one", &stap(&[&[9, 0x10], SPS_360, PPS_0, &[6, 5, 1]]), true, true, false),
            ("an IDR in STAP-A", &stap(&[&[6, 5, 1], &[0x65, 0x88]]), false, true, true),
            ("the beginning of a fragmented IDR", &[0x7c, 0x85, 0x88, 0x84], false, true, true),
            ("another slice's beginning", &[0x7c, 0x85, 0x40, 0x84], false, true, false),
            ("its middle", &[0x7c, 0x05, 0x88, 0x84], false, true, false),
            ("its end", &[0x7c, 0x45, 0x88], false, true, false),
            ("a fragmented parameter set", &[0x7c, 0x87, 0x42, 0xc0], true, true, false),
            ("its end does not start", &[0x7c, 0x47, 0x42, 0xc0], false, false, false),
            ("an empty fragment is legal", &[0x7c, 0x41], false, false, false),
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
            ("forbidden bit", &[0xe5, 0x88]),
            ("type 0", &[0x60, 0x88]),
            ("STAP-B", &[0x79, 0, 0, 0, 2, 0x41, 0x9a]),
            ("MTAP16", &[0x7a, 0, 0, 0]),
            ("MTAP24", &[0x7b, 0, 0, 0]),
            ("FU-B", &[0x7d, 0x85, 0, 0, 0x88]),
            ("type 30", &[0x7e, 0]),
            ("type 31", &[0x7f, 0]),
            ("STAP-A without units", &[0x78]),
            ("STAP-A with half a size", &[0x78, 0]),
            ("STAP-A with an empty unit", &[0x78, 0, 0, 0, 1, 9]),
            ("STAP-A that overruns", &[0x78, 0, 3, 0x41, 0x9a]),
            ("STAP-A with a byte left over", &[0x78, 0, 2, 0x41, 0x9a, 0]),
            ("STAP-A in STAP-A", &[0x78, 0, 4, 0x78, 0, 1, 9]),
            ("FU-A in STAP-A", &[0x78, 0, 3, 0x7c, 0x85, 0x88]),
            ("a damaged unit in STAP-A", &[0x78, 0, 2, 0xc1, 0x9a]),
            ("FU-A without its header", &[0x7c]),
            ("FU-A that begins and ends", &[0x7c, 0xc5, 0x88]),
            ("FU-A of STAP-A", &[0x7c, 0x98, 0, 1, 9]),
        ] {
            assert_eq!(inspect(payload), Inspection::BROKEN, "{rule}");
        }
    }

    #[test]
    fn one_start_for_each_time() {
        let mut inspector = Inspector::new(Codec::H264);
        for (time, payload, start) in [
            (1, SPS_360, true),
            (1, PPS_0, false),
            (1, SPS_360, false),
            (2, SPS_360, true),
            (1, SPS_360, false), // late, of the older picture
            (2, SPS_360, false),
        ] {
            let found = inspector.inspect(time, payload);
            assert_eq!((found.start, found.bare), (start, false), "at {time}");
        }
    }

    #[test]
    fn only_the_first_slice_of_an_idr_without_sets_is_bare() {
        let mut inspector = Inspector::new(Codec::H264);
        inspector.inspect(1, SPS_360);
        inspector.inspect(1, PPS_0);
        assert!(!inspector.inspect(1, &[0x65, 0x88]).bare, "its sets came with it");
        let found =
            [(2, 0x88), (2, 0x40), (2, 0x88), (3, 0x88)].map(|(time, byte)| inspector.inspect(time, &[0x65, byte]));
        assert_eq!(found.map(|found| found.bare), [true, false, false, true]);
        assert!(found.iter().all(|found| found.keyframe && !found.start));
    }

    #[test]
    fn an_idr_with_one_kind_of_sets_is_bare() {
        let idr: &[u8] = &[0x65, 0x88, 0x84];
        for (rule, packets, starts) in [
            ("the start before it", vec![SPS_360.to_vec(), idr.to_vec()], vec![true, false]),
            ("in one packet, the sets put in are the start", vec![stap(&[SPS_360, idr])], vec![true]),
            ("a picture parameter set starts nothing", vec![PPS_0.to_vec(), idr.to_vec()], vec![false, false]),
        ] {
            let mut inspector = Inspector::new(Codec::H264);
            inspector.inspect(1, SPS_360);
            // As long as the other kind is not known, a decoder cannot start with both in one packet.
            let both = inspector.inspect(2, &stap(&[SPS_360, idr]));
            assert_eq!((both.start, both.bare, both.keyframe), (false, true, true));
            inspector.inspect(3, PPS_0);
            let found: Vec<_> = packets.iter().map(|packet| inspector.inspect(4, packet)).collect();
            assert_eq!(found.iter().map(|found| found.start).collect::<Vec<_>>(), starts, "{rule}");
            assert!(found.last().is_some_and(|last| last.bare), "{rule}");
            assert!(!inspector.inspect(4, idr).bare, "{rule}: once");
        }
        let mut inspector = Inspector::new(Codec::H264);
        [SPS_360, PPS_0].iter().for_each(|set| assert!(!inspector.inspect(1, set).bare));
        // It may be another than the one known.
        assert!(inspector.inspect(2, &[0x7c, 0x87, 0x42, 0xc0]).start);
        assert!(!inspector.inspect(2, idr).bare);
    }

    #[test]
    fn parameter_sets_become_a_payload_that_starts() {
        let mut inspector = Inspector::new(Codec::H264);
        assert_eq!(inspector.parameter_sets(), None);
        inspector.inspect(1, SPS_360);
        assert_eq!(inspector.parameter_sets(), None, "the picture parameter set is missing");
        inspector.inspect(1, PPS_0);
        let sets = inspector.parameter_sets().expect("both are known");
        assert_eq!(*sets, *stap(&[SPS_360, PPS_0]));
        assert!(inspect(&sets).start);
    }

    #[test]
    fn a_new_sequence_parameter_set_forgets_the_pictures_of_the_old() {
        let mut sets = ParameterSets::new();
        for nal in [SPS_360, PPS_0, SPS_360] {
            sets.insert(nal);
        }
        assert_eq!(sets.pps().count(), 1);
        sets.insert(SPS_1080);
        assert_eq!((sets.sps(), sets.pps().count()), (Some(SPS_1080), 0));
    }

    #[test]
    fn parameter_sets_are_bounded() {
        let mut sets = ParameterSets::new();
        sets.insert(SPS_360);
        let mut long = SPS_1080.to_vec();
        long.resize(MAX_SET + 1, 0);
        sets.insert(&long);
        assert_eq!(sets.sps(), Some(SPS_360));
        // Ids 0 to 6: 1, 010, 011, 00100, 00101, 00110, 00111.
        for id in [0x80u8, 0x40, 0x60, 0x20, 0x28, 0x30, 0x38] {
            sets.insert(&[0x68, id, 1]);
            sets.insert(&[0x68, id, 2]);
        }
        let kept: Vec<_> = sets.pps().collect();
        assert_eq!(kept, [[0x68, 0x20, 2], [0x68, 0x28, 2], [0x68, 0x30, 2], [0x68, 0x38, 2]]);
        for id in [0x20u8, 0x28, 0x30, 0x38] {
            let mut pps = vec![0x68, id];
            pps.resize(MAX_SET, 3);
            sets.insert(&pps);
        }
        assert_eq!(sets.payload(), None, "larger than a packet");
    }

    #[test]
    fn parameter_sets_are_read_from_the_format() {
        let format = "packetization-mode=1; Sprop-Parameter-Sets=Z0LAH9kAoC/5UA==,aM48gA==;profile-level-id=42c01f";
        let sets = ParameterSets::from_format(format);
        assert_eq!((sets.sps(), sets.pps().next()), (Some(SPS_360), Some(PPS_0)));
        for nothing in ["", "sprop-parameter-sets=", "sprop-parameter-sets=!,,", "sprop-parameter-sets"] {
            assert_eq!(ParameterSets::from_format(nothing), ParameterSets::new());
        }
        let mut inspector = Inspector::with_format(Codec::H264, format);
        assert!(inspector.inspect(1, &[0x65, 0x88]).bare);
        assert!(inspector.parameter_sets().is_some());
    }

    #[test]
    fn picture_sizes() {
        assert_eq!(inspect(SPS_1080).size, Some((1920, 1080)));
        assert_eq!(inspect(SPS_360).size, Some((640, 360)));
        for length in 1..SPS_360.len() - 1 {
            assert_eq!(picture_size(&SPS_360[..length]), None, "cut to {length} bytes");
        }
    }

    #[test]
    fn what_the_sets_say_is_merged_into_the_publishers_parameters() {
        let mut sets = ParameterSets::new();
        let published =
            "level-asymmetry-allowed=1;packetization-mode=0; Profile-Level-Id=640028;sprop-parameter-sets=Z0L,";
        assert_eq!(sets.format(""), "packetization-mode=1");
        assert_eq!(sets.format(published), "level-asymmetry-allowed=1;packetization-mode=1;Profile-Level-Id=640028");
        assert!(sets.insert(SPS_360));
        let half = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42c01f";
        assert_eq!(sets.format(published), half, "half of the sets is worse than none");
        assert!(sets.insert(PPS_0) && !sets.insert(PPS_0) && !sets.insert(SPS_360));
        let whole = format!("{half};sprop-parameter-sets=Z0LAH9kAoC/5UA==,aM48gA==");
        assert_eq!(sets.format(published), whole);
        assert_eq!(ParameterSets::from_format(&whole), sets);
        assert!(sets.insert(SPS_1080), "and forgets the PPS");
        assert!(!sets.is_whole() && sets.format(published).ends_with("profile-level-id=640028"));
    }
}
