//! The units in a payload, and how pieces of them are written, codec by codec.

use crate::codec::{Codec, aggregated, av1, vp8, vp9};

use super::MAX_PAYLOAD;

/// FU-A and STAP-A (RFC 6184 5.7.1, 5.8).
const FU_A: u8 = 28;
const STAP_A: u8 = 24;

/// FU and AP (RFC 7798 4.4.2, 4.4.3).
const FU: u8 = 49;
const AP: u8 = 48;

/// The bits of a fragmentation unit's header, in H.264 and H.265.
const BEGINS: u8 = 0x80;
const ENDS: u8 = 0x40;

/// A unit or a part of one: what is cut must not be put together with what belongs to another.
#[derive(Debug)]
pub(super) struct Part<'a> {
    pub(super) form: Form,
    /// It has the unit's first byte.
    pub(super) begins: bool,
    /// It has the last.
    pub(super) ends: bool,
    /// Without headers of the payload format.
    pub(super) bytes: &'a [u8],
}

/// How pieces of a unit are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A NAL unit with this header.
    H264(u8),
    /// Likewise.
    H265([u8; 2]),
    /// A frame of VP8 or VP9 with a descriptor before each piece.
    Frame {
        /// Before the first piece.
        first: Vec<u8>,
        /// Before the others.
        later: Vec<u8>,
        /// What the first byte of the last piece has besides.
        last: u8,
    },
    /// An OBU; `opens` a coded video sequence.
    Av1 {
        /// The N bit, for the first piece.
        opens: bool,
    },
}

impl Form {
    /// Whether a part of this form may go on with what is left of that one.
    pub(super) fn continues(&self, rest: &Form) -> bool {
        match (self, rest) {
            (Form::H264(one), Form::H264(other)) => one & 0x1f == other & 0x1f,
            (Form::H265([one, _]), Form::H265([other, _])) => one >> 1 == other >> 1,
            _ => true,
        }
    }

    /// Bytes of the unit that a piece has room for.
    pub(super) fn room(&self) -> usize {
        let header = match self {
            Form::H264(_) => 2,
            Form::H265(_) => 3,
            Form::Frame { first, later, .. } => first.len().max(later.len()),
            Form::Av1 { .. } => 1,
        };
        // A descriptor of VP9 may have hundreds of bytes, but is never cut.
        MAX_PAYLOAD.saturating_sub(header).max(MAX_PAYLOAD / 2)
    }

    /// A piece of a unit: its first, its last, both or neither.
    pub(super) fn write(&self, begins: bool, ends: bool, bytes: &[u8]) -> Vec<u8> {
        let mut payload = Vec::with_capacity(MAX_PAYLOAD);
        let fragment = (if begins { BEGINS } else { 0 }) | (if ends { ENDS } else { 0 });
        match self {
            Form::H264(header) if begins && ends => payload.push(*header),
            Form::H264(header) => payload.extend([header & 0xe0 | FU_A, fragment | header & 0x1f]),
            Form::H265(header) if begins && ends => payload.extend(header),
            Form::H265([high, low]) => payload.extend([high & 0x81 | FU << 1, *low, fragment | high >> 1 & 0x3f]),
            Form::Frame { first, later, last } => {
                payload.extend(if begins { first } else { later });
                if let Some(flags) = payload.first_mut().filter(|_| ends) {
                    *flags |= last;
                }
            }
            Form::Av1 { opens } => {
                // 4.4: Z, Y, one element without its length, N.
                let continued = u8::from(!begins) << 7 | u8::from(!ends) << 6;
                payload.push(continued | 1 << 4 | u8::from(*opens && begins) << 3);
            }
        }
        payload.extend_from_slice(bytes);
        payload
    }
}

/// The units of a payload; `None` if there is no way to cut it. `marker`: the packet ends a picture.
pub(super) fn take_apart(codec: Codec, payload: &[u8], marker: bool) -> Option<Vec<Part<'_>>> {
    match codec {
        Codec::H264 => h264(payload),
        Codec::H265 => h265(payload),
        Codec::Vp8 => Some(vec![vp8(payload, marker)?]),
        Codec::Vp9 => Some(vec![vp9(payload)?]),
        Codec::Av1 => av1(payload),
        Codec::Opus | Codec::Pcmu | Codec::Pcma | Codec::G722 | Codec::Aac { .. } => None,
    }
}

fn h264(payload: &[u8]) -> Option<Vec<Part<'_>>> {
    let whole = |unit| {
        let (&header, bytes) = <[u8]>::split_first(unit)?;
        Some(Part { form: Form::H264(header), begins: true, ends: true, bytes })
    };
    let (&indicator, body) = payload.split_first()?;
    match indicator & 0x1f {
        1..=23 => Some(vec![whole(payload)?]),
        STAP_A => aggregated(body).map(|unit| whole(unit?)).collect(),
        FU_A if indicator & 0x80 == 0 => {
            let (&header, bytes) = body.split_first().filter(|(header, _)| matches!(*header & 0x1f, 1..=23))?;
            Some(vec![fragment(Form::H264(indicator & 0xe0 | header & 0x1f), header, bytes)?])
        }
        _ => None,
    }
}

fn h265(payload: &[u8]) -> Option<Vec<Part<'_>>> {
    let whole = |unit| {
        let (header, bytes) = <[u8]>::split_first_chunk::<2>(unit)?;
        Some(Part { form: Form::H265(*header), begins: true, ends: true, bytes })
    };
    let (&[high, low], body) = payload.split_first_chunk::<2>()?;
    match high >> 1 & 0x3f {
        AP => aggregated(body).map(|unit| whole(unit?)).collect(),
        FU if high & 0x80 == 0 => {
            let (&header, bytes) = body.split_first().filter(|(header, _)| *header & 0x3f < AP)?;
            Some(vec![fragment(Form::H265([high & 0x81 | (header & 0x3f) << 1, low]), header, bytes)?])
        }
        0..AP => Some(vec![whole(payload)?]),
        _ => None,
    }
}

/// A fragmentation unit; none both begins and ends (RFC 6184 5.8, RFC 7798 4.4.3).
fn fragment(form: Form, header: u8, bytes: &[u8]) -> Option<Part<'_>> {
    let (begins, ends) = (header & BEGINS != 0, header & ENDS != 0);
    (!begins || !ends).then_some(Part { form, begins, ends, bytes })
}

fn vp8(payload: &[u8], marker: bool) -> Option<Part<'_>> {
    let (descriptor, bytes) = payload.split_at_checked(vp8::descriptor_length(payload)?)?;
    let flags = *descriptor.first()?;
    let later = with_flags(descriptor, flags & !vp8::BEGINS_PARTITION);
    let form = Form::Frame { first: descriptor.to_vec(), later, last: 0 };
    Some(Part { form, begins: flags & vp8::BEGINS_PARTITION != 0, ends: marker, bytes })
}

fn vp9(payload: &[u8]) -> Option<Part<'_>> {
    let descriptor = vp9::Descriptor::read(payload)?;
    let flags = descriptor.flags;
    let begins = flags & vp9::BEGINS_FRAME != 0;
    let (whole, bytes) = payload.split_at_checked(descriptor.len)?;
    // What tells of the layers is told once.
    let short = flags & !(vp9::BEGINS_FRAME | vp9::ENDS_FRAME | vp9::SCALABILITY);
    let later = with_flags(payload.get(..descriptor.before_structure)?, short);
    let first = with_flags(whole, flags & !vp9::ENDS_FRAME);
    let form = Form::Frame { first, later, last: vp9::ENDS_FRAME };
    Some(Part { form, begins, ends: flags & vp9::ENDS_FRAME != 0, bytes })
}

fn with_flags(descriptor: &[u8], flags: u8) -> Vec<u8> {
    let mut descriptor = descriptor.to_vec();
    if let Some(first) = descriptor.first_mut() {
        *first = flags;
    }
    descriptor
}

fn av1(payload: &[u8]) -> Option<Vec<Part<'_>>> {
    let (&header, rest) = payload.split_first()?;
    let (continues, continued, opens) = (header & 0x80 != 0, header & 0x40 != 0, header & 0x08 != 0);
    let elements: Vec<&[u8]> = av1::elements(header, rest).collect::<Option<_>>()?;
    let last = elements.len().checked_sub(1)?;
    let parts = elements.into_iter().enumerate().map(|(at, bytes)| Part {
        form: Form::Av1 { opens: opens && at == 0 },
        begins: at > 0 || !continues,
        ends: at < last || !continued,
        bytes,
    });
    Some(parts.collect())
}
