//! One face over the codecs: what a packet means for those who forward it.

use std::sync::Arc;

use super::av1::Av1;
use super::h264::H264;
use super::h265::H265;
use super::vp8::Vp8;
use super::vp9::Vp9;
use super::{Codec, h264, h265};

/// What one payload says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// A decoder may start at this very packet: the first packet, in order of arrival, of what a key picture needs. At most
    /// one start for each RTP time.
    pub start: bool,
    /// The packet belongs to a key picture, as far as it shows: the start, or a slice of it.
    pub keyframe: bool,
    /// A key picture begins here, but its packets so far, this one included, did not bring all the parameter sets it needs.
    /// A decoder that starts at this RTP time needs [`Inspector::parameter_sets`] in front of this packet, with the same
    /// time. Unless the time has had its start before, they are the start then, also instead of this packet.
    pub bare: bool,
    /// Width and height in pixels, when this payload tells.
    pub size: Option<(u16, u16)>,
    /// The payload violates its format: to be dropped. Everything else is unset then.
    pub broken: bool,
}

impl Inspection {
    pub(super) const BROKEN: Self = Self { start: false, keyframe: false, bare: false, size: None, broken: true };

    /// Audio: every packet starts.
    const AUDIO: Self = Self { start: true, keyframe: true, bare: false, size: None, broken: false };
}

/// Looks at the payloads of one track, in the order of arrival. Its state is a few times and, for H.264 and H.265, the
/// latest parameter sets, which are bounded.
#[derive(Debug)]
pub struct Inspector {
    codec: Codec,
    state: State,
}

#[derive(Debug)]
enum State {
    Audio,
    H264(H264),
    H265(H265),
    Vp8(Vp8),
    Vp9(Vp9),
    Av1(Av1),
}

impl Inspector {
    /// For a track of this codec.
    pub fn new(codec: Codec) -> Self {
        Self::with_format(codec, "")
    }

    /// For a track of this codec with these format parameters (`a=fmtp` without the payload type): parameter sets given
    /// there count as known. What cannot be read is ignored.
    pub fn with_format(codec: Codec, format: &str) -> Self {
        let state = match codec {
            Codec::Opus | Codec::Pcmu | Codec::Pcma | Codec::G722 | Codec::Aac { .. } => State::Audio,
            Codec::H264 => State::H264(H264::new(h264::ParameterSets::from_format(format))),
            Codec::H265 => State::H265(H265::new(h265::ParameterSets::from_format(format))),
            Codec::Vp8 => State::Vp8(Vp8::default()),
            Codec::Vp9 => State::Vp9(Vp9::default()),
            Codec::Av1 => State::Av1(Av1::default()),
        };
        Self { codec, state }
    }

    /// The codec it was made for.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// Looks at one payload with its extended RTP time. An empty payload is broken in every format.
    pub fn inspect(&mut self, time: u64, payload: &[u8]) -> Inspection {
        if payload.is_empty() {
            return Inspection::BROKEN;
        }
        let inspection = match &mut self.state {
            State::Audio => Some(Inspection::AUDIO),
            State::H264(h264) => h264.inspect(time, payload),
            State::H265(h265) => h265.inspect(time, payload),
            State::Vp8(vp8) => vp8.inspect(time, payload),
            State::Vp9(vp9) => vp9.inspect(time, payload),
            State::Av1(av1) => av1.inspect(time, payload),
        };
        inspection.unwrap_or(Inspection::BROKEN)
    }

    /// The latest parameter sets as one payload of the track's format, ready to be sent before a [`bare`] key picture;
    /// `None` if they are not known, or the codec has none.
    ///
    /// [`bare`]: Inspection::bare
    pub fn parameter_sets(&self) -> Option<Arc<[u8]>> {
        match &self.state {
            State::H264(h264) => h264.sets.payload(),
            State::H265(h265) => h265.sets.payload(),
            State::Audio | State::Vp8(_) | State::Vp9(_) | State::Av1(_) => None,
        }
    }

    /// The format parameters (`a=fmtp` without the payload type) of the track as it runs: those its publisher named, with
    /// what the latest parameter sets say.
    pub fn format(&self, published: &str) -> String {
        match &self.state {
            State::H264(h264) => h264.sets.format(published),
            State::H265(h265) => h265.sets.format(published),
            State::Audio | State::Vp8(_) | State::Vp9(_) | State::Av1(_) => published.to_owned(),
        }
    }

    /// Whether [`format`](Self::format) has everything a decoder is to be set up with: for H.264 and H.265 the sets.
    pub fn is_whole(&self) -> bool {
        match &self.state {
            State::H264(h264) => h264.sets.is_whole(),
            State::H265(h265) => h265.sets.is_whole(),
            State::Audio | State::Vp8(_) | State::Vp9(_) | State::Av1(_) => true,
        }
    }

    /// Whether [`format`](Self::format) may say something else than when this was asked last.
    pub fn take_changed(&mut self) -> bool {
        match &mut self.state {
            State::H264(h264) => std::mem::take(&mut h264.changed),
            State::H265(h265) => std::mem::take(&mut h265.changed),
            State::Audio | State::Vp8(_) | State::Vp9(_) | State::Av1(_) => false,
        }
    }
}

/// The RTP times that have had their start. A few are kept, so that a packet of an older picture that comes in between
/// does not make the newer one start again; no more, so that a clock that was set back can start anew.
#[derive(Debug, Default)]
pub(super) struct Starts {
    times: [Option<u64>; 4],
    next: usize,
    /// The kinds of parameter sets that came with the picture of this time: the one looked at last.
    brought: (u64, u8),
}

impl Starts {
    /// Whether this time had its start.
    pub(super) fn contains(&self, time: u64) -> bool {
        self.times.contains(&Some(time))
    }

    /// Marks a time; `false` if it had its start before.
    pub(super) fn begin(&mut self, time: u64) -> bool {
        if self.contains(time) {
            return false;
        }
        if let Some(slot) = self.times.get_mut(self.next) {
            *slot = Some(time);
        }
        self.next = (self.next + 1) % self.times.len();
        true
    }

    /// What a packet of these units is: a start where parameter sets come that begin a picture; a bare key picture where
    /// one begins without all of them. `known`: the latest sets can be put before it, and it has them then. `size` is the
    /// picture's, if the packet has it.
    pub(super) fn judge(
        &mut self,
        time: u64,
        units: &Units,
        known: impl FnOnce() -> bool,
        size: Option<(u16, u16)>,
    ) -> Inspection {
        let begins = units.set && self.begin(time);
        let brought = units.brings | if self.brought.0 == time { self.brought.1 } else { 0 };
        let bare = units.first_key && brought & units.needs != units.needs;
        let known = bare && known();
        self.brought = (time, if known { units.needs } else { brought });
        if known {
            self.begin(time);
        }
        Inspection { start: begins && (known || !bare), keyframe: begins || units.key, bare, size, broken: false }
    }
}

/// What the NAL units of one packet are, H.264's and H.265's alike.
#[derive(Default)]
pub(super) struct Units {
    /// The kinds of parameter sets that a decoder needs to start, a bit each.
    pub(super) needs: u8,
    /// Those that are in the packet; all, where one is fragmented, since it cannot be told from those known.
    pub(super) brings: u8,
    /// A parameter set that a decoder may start with: sequence, and in H.265 video.
    pub(super) set: bool,
    /// A sequence parameter set, which has the picture's size.
    pub(super) sps: bool,
    /// A slice of a key picture (IDR, IRAP), or a part of one.
    pub(super) key: bool,
    /// The first slice of a key picture, from its beginning.
    pub(super) first_key: bool,
}

/// The elements of an aggregation packet: each a 16-bit size and as many bytes (RFC 6184 5.7.1, RFC 7798 4.4.2). `None`
/// for an element that is empty or overruns, after which there is no more.
pub(crate) fn aggregated(mut rest: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let element = rest.split_first_chunk::<2>().and_then(|(size, after)| {
            let (element, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*size)))?;
            rest = after;
            (!element.is_empty()).then_some(element)
        });
        if element.is_none() {
            rest = &[];
        }
        Some(element)
    })
}

/// Appends an element of an aggregation packet. Parameter sets are far below the limit of 65535 bytes.
pub(super) fn aggregate(payload: &mut Vec<u8>, element: &[u8]) {
    payload.extend_from_slice(&(element.len() as u16).to_be_bytes());
    payload.extend_from_slice(element);
}
