//! How much of everything there may be. Each number has its reason in `docs/operate.md`.

use whipstitch_stream::directory;
use whipstitch_stream::stream;
use whipstitch_webrtc::HalfOpen;

use crate::rates::Rate;

/// Caps and rates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Streams at once.
    pub streams: usize,
    /// Publishers at once.
    pub publishers: usize,
    /// Viewers at once, of all streams.
    pub viewers: usize,
    /// Viewers at once of one stream.
    pub viewers_per_stream: usize,
    /// RTSP connections at once.
    pub rtsp: whipstitch_rtsp::Bounds,
    /// FFmpeg processes that are defined.
    pub processes: usize,
    /// Sessions at once that are answered and not through their handshake.
    pub half_open: HalfOpen,
    /// What a publisher may send.
    pub publisher: stream::Rate,
    /// POST, PATCH and DELETE of one client address.
    pub requests: Rate,
    /// PATCH of one session.
    pub session: Rate,
}

impl Default for Limits {
    /// A whole school behind one address joins within seconds and every viewer trickles a handful of candidates; one
    /// client that goes round in circles costs a tenth of a core.
    fn default() -> Self {
        let places = directory::Config::default();
        Self {
            streams: places.streams,
            publishers: places.publishers,
            viewers: places.subscribers,
            viewers_per_stream: places.subscribers_per_stream,
            rtsp: whipstitch_rtsp::Bounds::default(),
            processes: 1000,
            half_open: HalfOpen::default(),
            publisher: stream::Rate::default(),
            requests: Rate { per_second: 100, burst: 3_000 },
            session: Rate { per_second: 5, burst: 50 },
        }
    }
}
