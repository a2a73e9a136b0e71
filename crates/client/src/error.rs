//! What can go wrong with a session, and how one ends.

use std::fmt;
use std::io;
use std::time::Duration;

/// Why a session could not be made or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The endpoint is not a URL this client can speak to.
    #[error("{url}: not a usable endpoint ({reason})")]
    Url {
        /// The URL as given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No HTTP answer: refused, reset, timed out, not HTTP.
    #[error("{url}: no answer: {source}")]
    Http {
        /// The URL that was called.
        url: String,
        /// The HTTP client's error.
        source: reqwest::Error,
    },
    /// The endpoint answered with a status other than 201 (or, for DELETE, 200 and 204).
    #[error("{url}: refused with {status}{}", appended(.detail))]
    Refused {
        /// The URL that was called.
        url: String,
        /// HTTP status code.
        status: u16,
        /// `Retry-After` in seconds, if the server named one.
        retry_after: Option<Duration>,
        /// The first part of the body (problem+json), for people.
        detail: String,
    },
    /// A 201 that cannot be used: no Location, an answer that does not parse, no codec in common.
    #[error("{url}: unusable answer: {reason}")]
    Answer {
        /// The URL that was called.
        url: String,
        /// What is missing or wrong.
        reason: String,
    },
    /// No connection within the time allowed.
    #[error("not connected after {after:?}: {stage} did not complete")]
    ConnectTimeout {
        /// How long was waited after the answer.
        after: Duration,
        /// `ICE` or `DTLS`.
        stage: &'static str,
    },
    /// The session ended before or while it was used.
    #[error("session ended: {0}")]
    Closed(CloseReason),
    /// The local UDP socket failed.
    #[error("UDP socket: {0}")]
    Socket(#[from] io::Error),
    /// The WebRTC engine gave up: a DTLS alert, a foreign certificate, a broken rule.
    #[error("WebRTC: {0}")]
    Engine(#[from] str0m::RtcError),
    /// A packet was written for a kind of track that was not negotiated.
    #[error("no {0:?} track was negotiated")]
    NoTrack(whipstitch_media::Kind),
}

fn appended(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": {text}") }
}

/// How a session that was once connected ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The gateway sent a DTLS close_notify.
    ByPeer,
    /// No answer to ICE consent checks any more.
    IceTimeout,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CloseReason::ByPeer => "by_peer",
            CloseReason::IceTimeout => "ice_timeout",
        })
    }
}
