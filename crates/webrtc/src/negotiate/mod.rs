//! Offers of WHIP publishers and WHEP viewers: parsed, judged, answered (RFC 9725, WHEP -04, RFC 3264, RFC 9143).
//!
//! Text goes in, plans and text come out; nothing here has a socket, a clock or a session. [`Offer::parse`] judges what
//! both roles share (the transport), [`plan_publisher`] and [`plan_viewer`] choose codecs and header extensions, and
//! [`answer_publisher`] and [`answer_viewer`] write what was chosen. A session configures the engine from the plan, so
//! the engine never sees SDP. [`parse_fragment`] and [`write_fragment`] are the same for trickle and ICE restart.
//! The SDP grammar is the crate `sdp-types`; strangers' bytes give an [`OfferError`], never a panic.

mod answer;
mod candidates;
pub mod exercise;
mod formats;
mod fragment;
mod offer;
mod publisher;
mod section;
#[cfg(test)]
mod tests;
mod viewer;

use std::fmt;

pub use answer::{Local, Sender, answer_publisher, answer_viewer};
pub use fragment::{Fragment, parse_fragment, write_fragment};
pub use offer::Offer;
pub use publisher::{PublisherMedia, PublisherPlan, plan_publisher};
pub(crate) use viewer::best;
pub use viewer::{ViewerFormat, ViewerMedia, ViewerPlan, check_viewer, plan_viewer};

/// Why an offer or a fragment is refused. The text is meant for the person behind the client: what is wrong, where, and
/// what to do about it. It never repeats an ICE password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OfferError {
    /// The text breaks the grammar or its limits: HTTP 400.
    #[error("{0}")]
    Syntax(String),
    /// The text is SDP, but nothing can be agreed on it: HTTP 422.
    #[error("{0}")]
    Unusable(String),
    /// The text is SDP, but not one codec is known to both sides: HTTP 422.
    #[error("{text}")]
    Codec {
        /// What a viewer lacks, or the kinds of a publisher's sections that have nothing for us.
        lacking: Vec<&'static str>,
        /// For the person.
        text: String,
    },
}

/// The ICE credentials of one side, for one generation (RFC 8839 5.4). The debug form hides the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// 4 to 256 ice-chars.
    pub ufrag: String,
    /// 22 to 256 ice-chars; a secret.
    pub pwd: String,
}

impl Credentials {
    /// Judges credentials of a peer; the error says which of the two is wrong and how, without repeating it.
    fn check(ufrag: &str, pwd: &str) -> Result<Credentials, String> {
        check_ice_chars("ice-ufrag", ufrag, 4)?;
        check_ice_chars("ice-pwd", pwd, 22)?;
        Ok(Credentials { ufrag: ufrag.to_owned(), pwd: pwd.to_owned() })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("ufrag", &self.ufrag).field("pwd", &"…").finish()
    }
}

/// RFC 8839 5.4: `ice-char = ALPHA / DIGIT / "+" / "/"`, at most 256 of them.
fn check_ice_chars(name: &str, value: &str, shortest: usize) -> Result<(), String> {
    let length = value.len();
    if !(shortest..=256).contains(&length) {
        return Err(format!("a={name} has {length} characters; RFC 8839 5.4 wants {shortest} to 256"));
    }
    if !value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/') {
        return Err(format!("a={name} has characters other than letters, digits, + and / (RFC 8839 5.4)"));
    }
    Ok(())
}

/// Our part in the DTLS handshake (RFC 8842 5): decided by the offer's `a=setup`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DtlsRole {
    /// We send the ClientHello; the answer says `active`. Only if the offer says `passive`, as FFmpeg's does.
    Client,
    /// We wait for it; the answer says `passive`.
    Server,
}

/// The RTP header extensions known here (RFC 8285). What is negotiated with whom is decided by the plans.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Extension {
    /// The section a packet belongs to (RFC 9143 15).
    Mid,
    /// The simulcast encoding a packet belongs to (RFC 8852).
    Rid,
    /// The simulcast encoding an RTX packet repairs (RFC 8852).
    RepairedRid,
    /// Transport-wide sequence number (draft-holmer-rmcat-transport-wide-cc-extensions-01).
    TransportCc,
    /// Absolute send time. Recognised, but negotiated with nobody: it only serves REMB, which is not sent.
    AbsSendTime,
    /// Audio level of the packet (RFC 6464).
    AudioLevel,
    /// Rotation of the camera (3GPP TS 26.114 7.4.5). Not negotiated with publishers: then browsers rotate the picture
    /// themselves, and every consumer of the stream sees it upright.
    Orientation,
}

impl Extension {
    /// Every extension, in no order of preference.
    pub const ALL: [Extension; 7] = [
        Extension::Mid,
        Extension::Rid,
        Extension::RepairedRid,
        Extension::TransportCc,
        Extension::AbsSendTime,
        Extension::AudioLevel,
        Extension::Orientation,
    ];

    /// The URI of `a=extmap`, as registered.
    pub const fn uri(self) -> &'static str {
        match self {
            Extension::Mid => "urn:ietf:params:rtp-hdrext:sdes:mid",
            Extension::Rid => "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
            Extension::RepairedRid => "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
            Extension::TransportCc => "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
            Extension::AbsSendTime => "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
            Extension::AudioLevel => "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
            Extension::Orientation => "urn:3gpp:video-orientation",
        }
    }

    /// The extension of an `a=extmap` URI, compared byte for byte.
    pub fn from_uri(uri: &str) -> Option<Extension> {
        Extension::ALL.into_iter().find(|extension| extension.uri() == uri)
    }
}
