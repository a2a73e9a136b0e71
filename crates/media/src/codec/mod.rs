//! The codecs the gateway forwards, and what their payloads say about where a decoder may start.
//!
//! [`Inspector`] looks at every packet of one track, in the order of arrival, and answers what the hub must know:
//! may a decoder start here, is this a key picture, how large is the picture, does the payload break its format. One file
//! per codec; each is total over its bytes and keeps a bounded state.

use std::fmt;

pub(crate) mod av1;
mod bits;
pub mod h264;
pub mod h265;
mod inspect;
pub(crate) mod vp8;
pub(crate) mod vp9;

pub(crate) use inspect::aggregated;
pub use inspect::{Inspection, Inspector};

/// Audio or video: the two kinds of track.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// An audio track.
    Audio,
    /// A video track.
    Video,
}

/// A codec by its RTP payload format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// RFC 6184.
    H264,
    /// RFC 7798.
    H265,
    /// RFC 7741.
    Vp8,
    /// RFC 9628.
    Vp9,
    /// AOM "RTP Payload Format for AV1" v1.0.
    Av1,
    /// RFC 7587.
    Opus,
    /// RFC 3551 4.5.14.
    Pcmu,
    /// RFC 3551 4.5.14.
    Pcma,
    /// RFC 3551 4.5.2.
    G722,
    /// AAC in `mpeg4-generic` (RFC 3640). Bridges carry it; browsers do not.
    Aac {
        /// RTP clock rate in Hz, the sampling rate of its `a=rtpmap`.
        clock_rate: u32,
        /// Channels of its `a=rtpmap`.
        channels: u8,
    },
}

impl Kind {
    /// Both kinds.
    pub const ALL: [Kind; 2] = [Kind::Audio, Kind::Video];

    /// `audio` or `video`, as in `m=` lines, logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Audio => "audio",
            Kind::Video => "video",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Codec {
    /// Every codec that WebRTC has, in no order of preference.
    pub const ALL: [Codec; 9] = [
        Codec::H264,
        Codec::H265,
        Codec::Vp8,
        Codec::Vp9,
        Codec::Av1,
        Codec::Opus,
        Codec::Pcmu,
        Codec::Pcma,
        Codec::G722,
    ];

    /// The encoding name of `a=rtpmap`, as registered.
    pub const fn name(self) -> &'static str {
        match self {
            Codec::H264 => "H264",
            Codec::H265 => "H265",
            Codec::Vp8 => "VP8",
            Codec::Vp9 => "VP9",
            Codec::Av1 => "AV1",
            Codec::Opus => "opus",
            Codec::Pcmu => "PCMU",
            Codec::Pcma => "PCMA",
            Codec::G722 => "G722",
            Codec::Aac { .. } => "MPEG4-GENERIC",
        }
    }

    /// The codec of [`ALL`](Self::ALL) with an `a=rtpmap` encoding name, which is compared without case (RFC 8866 6.6).
    pub fn from_name(name: &str) -> Option<Codec> {
        Codec::ALL.into_iter().find(|codec| codec.name().eq_ignore_ascii_case(name))
    }

    /// Whether WebRTC has it, and so viewers in browsers.
    pub const fn is_in_webrtc(self) -> bool {
        !matches!(self, Codec::Aac { .. })
    }

    /// Audio or video.
    pub const fn kind(self) -> Kind {
        match self {
            Codec::H264 | Codec::H265 | Codec::Vp8 | Codec::Vp9 | Codec::Av1 => Kind::Video,
            Codec::Opus | Codec::Pcmu | Codec::Pcma | Codec::G722 | Codec::Aac { .. } => Kind::Audio,
        }
    }

    /// RTP clock rate in Hz. Opus is 48000 whatever the audio's own rate (RFC 7587 4.1); G.722 is 8000 by an old
    /// mistake that was kept (RFC 3551 4.5.2).
    pub const fn clock_rate(self) -> u32 {
        match self {
            Codec::H264 | Codec::H265 | Codec::Vp8 | Codec::Vp9 | Codec::Av1 => 90_000,
            Codec::Opus => 48_000,
            Codec::Pcmu | Codec::Pcma | Codec::G722 => 8_000,
            Codec::Aac { clock_rate, .. } => clock_rate,
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
