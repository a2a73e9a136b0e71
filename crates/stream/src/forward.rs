//! What leaves a stream towards its subscribers.

use std::time::Instant;

use whipstitch_media::time::Ntp;
use whipstitch_media::{Codec, Kind, Packet};

use crate::track::PerKind;

/// A packet on the stream's own timeline.
#[derive(Clone, Debug)]
pub struct Forwarded {
    /// What the payload is; a track goes on with another codec when another publisher comes.
    pub codec: Codec,
    /// `seq` and `time` continue from one publisher to the next. The payload is empty only where padding of the publisher
    /// arrived after its number was given away: sent on, it keeps the place from looking like a loss.
    pub packet: Packet,
    /// A decoder may start at this packet; true for all audio. Never set on a packet that comes late.
    pub start: bool,
}

impl Forwarded {
    /// Which track it belongs to.
    pub fn kind(&self) -> Kind {
        self.codec.kind()
    }
}

/// What a stream forwards at one go, in order; shared by the workers.
#[derive(Clone, Debug, Default)]
pub struct Burst {
    /// The packets, audio and video as they came.
    pub packets: Vec<Forwarded>,
    /// How each track's timeline relates to wall-clock time.
    pub clocks: PerKind<Option<Clock>>,
}

/// The relation of a track's timeline to time: at the instant `at`, it stood at the RTP time `time`, which is `ntp` in
/// wall-clock. From the publisher's last sender reports once every track has one, else from the times of arrival.
///
/// The clocks of both tracks are of one make, so a sender report made from each of them synchronises audio and video.
/// `ntp` runs at the publisher's pace, from the gateway's time at the publisher's first report: good for reports, not to
/// be compared with the gateway's own clock. Between two publishers, or two reports, it may step back a little.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Wall-clock time of the point.
    pub ntp: Ntp,
    /// RTP time of the point on the stream's timeline.
    pub time: u64,
    /// When the point was, or would have been, passed here.
    pub at: Instant,
}

impl Clock {
    /// Wall-clock and RTP time at `now`, for a sender report; `rate` is the codec's clock rate in Hz. An instant before the
    /// point counts as the point.
    pub fn read(&self, now: Instant, rate: u32) -> (Ntp, u64) {
        let elapsed = now.saturating_duration_since(self.at);
        (self.ntp + elapsed, self.time.wrapping_add(whipstitch_media::time::ticks(elapsed, rate)))
    }
}
