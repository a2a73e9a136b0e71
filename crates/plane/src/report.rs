//! What a worker tells about its sessions and streams when it is asked. Copies of counters; nothing here is live.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use whipstitch_media::Codec;
pub use whipstitch_stream::stats::Counters;
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
    /// What it is and did.
    pub stats: SessionStats,
}

/// One session at one moment.
#[derive(Debug, Clone)]
pub struct SessionStats {
    /// When it began.
    pub since: Instant,
    /// Since when media can flow: DTLS is done.
    pub connected: Option<Instant>,
    /// When the first packet of media came or went.
    pub first_media: Option<Instant>,
    /// The bound address.
    pub remote: Option<SocketAddr>,
    /// What it speaks: `webrtc`, `rtsp` or `rtp`, which is plain.
    pub protocol: &'static str,
    /// What carries datagrams to and from there: `udp` or `tcp`.
    pub transport: Option<&'static str>,
    /// The SRTP protection profile, once agreed, by its name in RFC 5764 or 7714.
    pub srtp: Option<&'static str>,
    /// What the client called itself in HTTP.
    pub user_agent: Option<String>,
    /// The codecs in use.
    pub codecs: Vec<Codec>,
    /// Bits a second sent to a subscriber over the last second, headers included; a publisher's is its tracks'.
    pub bitrate: Option<u64>,
    /// The share of packets lost lately, 0 to 1: of our last report to a publisher, of a subscriber's last to us.
    pub loss: Option<f32>,
    /// Interarrival jitter, likewise.
    pub jitter: Option<Duration>,
    /// Round-trip time, when a report has told it.
    pub rtt: Option<Duration>,
    /// What it counted since its start.
    pub counters: Counters,
}

impl SessionStats {
    /// A session of WebRTC of which nothing but its beginning is known.
    pub fn new(since: Instant) -> SessionStats {
        SessionStats {
            since,
            connected: None,
            first_media: None,
            remote: None,
            protocol: "webrtc",
            transport: None,
            srtp: None,
            user_agent: None,
            codecs: Vec::new(),
            bitrate: None,
            loss: None,
            jitter: None,
            rtt: None,
            counters: Counters::default(),
        }
    }
}
