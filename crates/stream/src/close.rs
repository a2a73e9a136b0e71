//! Why a session ended: a value, not an error.

use std::fmt;

/// Why a session ended. The same word is the log field, the metric label and the API value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// The peer said goodbye (DTLS close_notify).
    ByPeer,
    /// DELETE on the session's URL, or an operator's request.
    ByRequest,
    /// No connectivity: never established, or consent and media stopped.
    IceTimeout,
    /// The DTLS handshake failed, or the certificate was not the one announced.
    DtlsFailure,
    /// Connected, but nothing was sent or received for too long.
    Idle,
    /// The gateway is shutting down.
    Drained,
    /// Another publisher took the stream.
    Replaced,
    /// The publisher changed to something that was not negotiated with this subscriber.
    CodecChanged,
    /// The publisher went away and did not come back.
    StreamEnded,
    /// The peer broke a protocol; the text says which rule, and is for the log only.
    Protocol(&'static str),
}

/// The word for a session that broke an invariant and was dropped: it has no [`CloseReason`], for nothing was decided.
pub const BROKEN: &str = "broken";

impl CloseReason {
    /// Every word there is, [`BROKEN`] included.
    pub const WORDS: [&'static str; 11] = [
        "by_peer",
        "by_request",
        "ice_timeout",
        "dtls_failure",
        "idle",
        "drained",
        "replaced",
        "codec_changed",
        "stream_ended",
        "protocol",
        BROKEN,
    ];

    /// The word, snake_case, from a small fixed set.
    pub const fn as_str(self) -> &'static str {
        match self {
            CloseReason::ByPeer => "by_peer",
            CloseReason::ByRequest => "by_request",
            CloseReason::IceTimeout => "ice_timeout",
            CloseReason::DtlsFailure => "dtls_failure",
            CloseReason::Idle => "idle",
            CloseReason::Drained => "drained",
            CloseReason::Replaced => "replaced",
            CloseReason::CodecChanged => "codec_changed",
            CloseReason::StreamEnded => "stream_ended",
            CloseReason::Protocol(_) => "protocol",
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CloseReason::Protocol(rule) => write!(f, "protocol: {rule}"),
            reason => f.write_str(reason.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_those_of_the_reasons() {
        let reasons = [
            CloseReason::ByPeer,
            CloseReason::ByRequest,
            CloseReason::IceTimeout,
            CloseReason::DtlsFailure,
            CloseReason::Idle,
            CloseReason::Drained,
            CloseReason::Replaced,
            CloseReason::CodecChanged,
            CloseReason::StreamEnded,
            CloseReason::Protocol("rule"),
        ];
        let words: Vec<_> = reasons.into_iter().map(CloseReason::as_str).chain([BROKEN]).collect();
        assert_eq!(words, CloseReason::WORDS);
    }
}
