//! SDP where it is no offer: what RTSP and plain RTP describe media with (RFC 8866, RFC 2326 C.1).
//!
//! [`write()`] makes the text that a player of a running stream gets, [`read()`] understands what a sender announces; both
//! speak in [`Section`]s. [`plain::Offer`] is for who brings an offer of plain RTP. The grammar is `sdp-types`'; [`text`] has the bounds and the look-ups that offers of WebRTC,
//! which are negotiated elsewhere, go by as well. Everything here is total over any text.

pub mod plain;
mod read;
pub mod text;
mod write;

pub use read::{Error, read};
pub use write::{Header, write};

use crate::Codec;

/// One audio or video section: one codec under one payload type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// What its packets are.
    pub codec: Codec,
    /// Their payload type, 0 to 127.
    pub pt: u8,
    /// The port of its RTP; RTCP has the next. 0 where SETUP is to say (RFC 2326 C.1.4).
    pub port: u16,
    /// The format parameters: the text after the payload type in `a=fmtp`. May be empty.
    pub format: String,
    /// `a=control`: the URL for SETUP, mostly relative (RFC 2326 C.1.1).
    pub control: Option<String>,
}

impl Section {
    /// A section of this codec with the payload type that is usual for it and without a port.
    pub fn of(codec: Codec, format: &str) -> Section {
        Section { codec, pt: payload_type(codec), port: 0, format: format.to_owned(), control: None }
    }
}

/// The payload type a codec has where we choose: the assigned ones (RFC 3551 6), else 96 for video and 111 for audio.
pub const fn payload_type(codec: Codec) -> u8 {
    match codec {
        Codec::Pcmu => 0,
        Codec::Pcma => 8,
        Codec::G722 => 9,
        Codec::Opus | Codec::Aac { .. } => 111,
        Codec::H264 | Codec::H265 | Codec::Vp8 | Codec::Vp9 | Codec::Av1 => 96,
    }
}

/// The codec of a payload type that has no `a=rtpmap` (RFC 3551 6).
pub const fn assigned(pt: u8) -> Option<Codec> {
    match pt {
        0 => Some(Codec::Pcmu),
        8 => Some(Codec::Pcma),
        9 => Some(Codec::G722),
        _ => None,
    }
}

/// The codec of [`Codec::ALL`] that an `a=rtpmap` names, with the clock rate and channels it has to have.
pub fn mapped(map: &sdp_types::RtpMap) -> Option<Codec> {
    let codec = Codec::from_name(&map.encoding_name)?;
    let channels = map.encoding_params.as_deref().unwrap_or("1");
    let channels_fit = match codec {
        // RFC 7587 7: always 2, whatever is inside. Hand-written offers leave it out.
        Codec::Opus => channels == "2" || map.encoding_params.is_none(),
        _ => channels == "1",
    };
    (map.clock_rate == codec.clock_rate() && channels_fit).then_some(codec)
}
