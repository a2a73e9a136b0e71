//! What a worker tells about its sessions and streams when it is asked. Copies of counters; nothing here is live.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use whipstitch_media::Codec;
use whipstitch_stream::stats::StreamStats;
use whipstitch_stream::{SessionId, StreamKey};

/// The two roles towards a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Sends media to us (WHIP).
    Publisher,
    /// Gets media from us (WHEP).
    Subscriber,
}

impl Role {
    /// The word for logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Publisher => "publisher",
            Role::Subscriber => "subscriber",
        }
    }
}

/// Everything one worker has to tell.
#[derive(Debug, Default)]
pub struct Report {
    /// The sessions on the worker.
    pub sessions: Vec<SessionReport>,
    /// The streams that live on the worker.
    pub streams: Vec<(StreamKey, StreamStats)>,
    /// Datagrams that no session wanted.
    pub strays: u64,
    /// Datagrams that the kernel refused to take.
    pub refused: u64,
}

/// One session.
#[derive(Debug, Clone)]
pub struct SessionReport {
    /// Its public name.
    pub session: SessionId,
    /// Its stream.
    pub stream: StreamKey,
    /// Publisher or subscriber.
    pub role: Role,
    /// Its counters.
    pub stats: SessionStats,
}

/// Counters of one session since its start.
#[derive(Debug, Clone)]
pub struct SessionStats {
    /// When it began.
    pub since: Instant,
    /// Media can flow: DTLS is done.
    pub connected: bool,
    /// The bound address.
    pub remote: Option<SocketAddr>,
    /// What the client called itself in HTTP.
    pub user_agent: Option<String>,
    /// The codecs in use.
    pub codecs: Vec<Codec>,
    /// RTP packets received from a publisher or sent to a subscriber, repairs included.
    pub packets: u64,
    /// Their bytes, headers included, as SRTP.
    pub bytes: u64,
    /// Packets lost towards us or, from receiver reports, towards the subscriber.
    pub lost: u64,
    /// NACKs sent (publisher) or received (subscriber), counted in packets asked for.
    pub nacks: u64,
    /// Packets sent again.
    pub resent: u64,
    /// Keyframe requests sent (publisher) or received (subscriber).
    pub keyframe_requests: u64,
    /// Round-trip time, when a report has told it.
    pub rtt: Option<Duration>,
}
