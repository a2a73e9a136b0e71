//! What a gateway is told and what it answers.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use whipstitch_plane::{SessionReport, StartError, WorkerReport};
use whipstitch_stream::directory;
use whipstitch_stream::stats::StreamStats;
use whipstitch_stream::stream::Config as StreamConfig;
use whipstitch_stream::{SessionId, StreamKey};

use super::HalfOpen;
use crate::dtls::IdentityError;
use crate::negotiate::OfferError;

/// How a gateway is started.
#[derive(Debug, Clone)]
pub struct GatewayConfig {
    /// Where to listen, over UDP and TCP; port 0 takes any that is free for both. A wildcard IPv4 address brings `[::]` with it.
    pub rtc: SocketAddr,
    /// Media threads.
    pub workers: usize,
    /// How many streams and subscribers there may be, and what a second publisher meets.
    pub directory: directory::Config,
    /// How streams behave.
    pub stream: StreamConfig,
    /// What a viewer meets whose stream nobody publishes.
    pub when_offline: WhenOffline,
    /// How many sessions may be on their way through the handshake.
    pub half_open: HalfOpen,
    /// Whether a PATCH without `If-Match` may trickle; a restart needs one always (protocol.md 4.1).
    pub lenient_precondition: bool,
}

/// What a viewer meets whose stream nobody publishes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WhenOffline {
    /// It is refused: [`Refusal::NotLive`].
    #[default]
    Reject,
    /// It is answered and waits for a publisher. When nothing of the stream has come for so long, at the beginning or later,
    /// its session ends as idle. It counts as a viewer all the time, and its stream as one.
    Wait(Duration),
}

/// Why a gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// No certificate.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// No sockets or threads.
    #[error(transparent)]
    Plane(#[from] StartError),
}

/// A client that asks to publish or to watch.
#[derive(Debug, Clone)]
pub struct Join<'a> {
    /// The stream.
    pub stream: &'a StreamKey,
    /// The offer, not yet parsed.
    pub offer: &'a str,
    /// The addresses to announce, most reachable first.
    pub candidates: &'a [SocketAddr],
    /// Where the request came from.
    pub client: IpAddr,
    /// What the client calls itself.
    pub user_agent: Option<String>,
    /// Whose credential it showed, in the words of whoever checked it; see [`Gateway::subject`](super::Gateway::subject).
    pub subject: Option<Arc<str>>,
}

/// An offer was accepted: what the 201 needs.
#[derive(Debug)]
pub struct Accepted {
    /// The session's public name.
    pub session: SessionId,
    /// The secret last part of its URL.
    pub resource: String,
    /// Its entity tag, quoted.
    pub etag: String,
    /// The answer.
    pub answer: String,
}

/// The URL of a session of another protocol: what the 201 needs of it.
#[derive(Debug)]
pub struct SessionUrl {
    /// Its secret last part.
    pub resource: String,
    /// The session's entity tag, quoted.
    pub etag: String,
}

/// Why an offer was not accepted. Which status that is, HTTP decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The offer is not SDP; says where.
    Syntax(String),
    /// The offer cannot be used; says why and what would help.
    Unusable(String),
    /// Not one codec is known to both sides.
    Codec {
        /// The codecs of the stream that a viewer lacks; of a publisher the kinds (`video`, `audio`) without any.
        lacking: Vec<&'static str>,
        /// What would help.
        text: String,
    },
    /// Somebody publishes under this name.
    Conflict {
        /// When to try again.
        retry_after: Duration,
    },
    /// The stream is kept for a process of this server, which is to run.
    Held,
    /// Nobody publishes under this name.
    NotLive {
        /// When to try again.
        retry_after: Duration,
    },
    /// No room, or going down.
    Busy {
        /// When to try again.
        retry_after: Duration,
    },
}

impl From<OfferError> for Refusal {
    fn from(error: OfferError) -> Refusal {
        match error {
            OfferError::Syntax(text) => Refusal::Syntax(text),
            OfferError::Unusable(text) => Refusal::Unusable(text),
            OfferError::Codec { lacking, text } => Refusal::Codec { lacking, text },
        }
    }
}

/// There is no such session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no such session")]
pub struct NotFound;

/// One stream for the API.
#[derive(Debug, Clone)]
pub struct StreamReport {
    /// Its name.
    pub key: StreamKey,
    /// What the hub measured, if media came.
    pub stats: Option<StreamStats>,
    /// Its publisher, connected or connecting.
    pub publisher: Option<SessionReport>,
    /// Media may be watched.
    pub live: bool,
    /// Its subscribers.
    pub subscribers: Vec<SessionReport>,
}

/// True numbers of what there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Streams with a live publisher.
    pub streams: usize,
    /// Publishers' sessions.
    pub publishers: usize,
    /// Subscribers' sessions.
    pub subscribers: usize,
    /// Sessions of both kinds that are not through their handshake.
    pub half_open: usize,
}

/// Numbers for the metrics.
#[derive(Debug, Clone, Default)]
pub struct Measured {
    /// What there is.
    pub counts: Counts,
    /// Session URLs that lead to a session.
    pub urls: usize,
    /// The workers that answered in time, in any order.
    pub workers: Vec<WorkerReport>,
    /// How many workers there are.
    pub all: usize,
}
