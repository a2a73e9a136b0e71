//! Keyframe requests: many subscribers ask, the publisher hears one.
//!
//! The pacer merges what is asked for (protocol.md 8.2): requests are at least 500 ms apart; while one is outstanding
//! others join it; it is repeated until a key picture arrives, and after five without success only on new demand.
//! One pacer for each publisher's video; it is made anew when the publisher changes.

use std::time::{Duration, Instant};

/// Requests are never closer: encoders answer each with a large picture, and half a second is what browsers allow too.
pub const SPACING: Duration = Duration::from_millis(500);

/// Requests sent for one demand. OBS and FFmpeg ignore them all; asking them for ever would only be noise.
pub const ATTEMPTS: u32 = 5;

/// The longest round trip that is believed: a measurement gone wrong must not silence the requests.
const MAX_RTT: Duration = Duration::from_secs(2);

/// Decides when the publisher is asked for a key picture.
#[derive(Clone, Debug, Default)]
pub struct Pacer {
    state: State,
    /// When the publisher was asked last, whatever came of it.
    asked: Option<Instant>,
    rtt: Duration,
}

/// Transitions: `Quiet` -demand-> `Wanted`, attempt 1 -sent-> `Wanted`, attempt 2 … -sent-> `Spent` -its time passes->
/// `Quiet`; a key picture leads from each to `Quiet`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Nobody waits, or asking did not help.
    #[default]
    Quiet,
    /// This attempt is sent when it is due, unless a key picture comes before.
    Wanted { attempt: u32, due: Instant },
    /// The last attempt is out; demand joins it until then.
    Spent { until: Instant },
}

impl Pacer {
    /// Nobody has asked.
    pub const fn new() -> Self {
        Self { state: State::Quiet, asked: None, rtt: Duration::ZERO }
    }

    /// A subscriber needs a key picture.
    pub fn request(&mut self, now: Instant) {
        self.settle(now);
        if self.state == State::Quiet {
            let due = self.asked.map_or(now, |asked| now.max(asked + SPACING));
            self.state = State::Wanted { attempt: 1, due };
        }
    }

    /// A key picture has begun to arrive: everybody's demand is met.
    pub fn keyframe(&mut self) {
        self.state = State::Quiet;
    }

    /// The round-trip time to the publisher: a repetition waits for two of them, if that is longer than [`SPACING`].
    pub fn set_rtt(&mut self, rtt: Duration) {
        self.rtt = rtt.min(MAX_RTT);
    }

    /// Whether the publisher is to be asked now; `true` counts as asked.
    pub fn poll(&mut self, now: Instant) -> bool {
        self.settle(now);
        let State::Wanted { attempt, due } = self.state else { return false };
        if now < due {
            return false;
        }
        let next = now + SPACING.max(2 * self.rtt);
        self.asked = Some(now);
        self.state = if attempt < ATTEMPTS {
            State::Wanted { attempt: attempt + 1, due: next }
        } else {
            State::Spent { until: next }
        };
        true
    }

    /// When [`poll`](Self::poll) will say yes; `None` if nothing is wanted.
    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Wanted { due, .. } => Some(due),
            State::Quiet | State::Spent { .. } => None,
        }
    }

    fn settle(&mut self, now: Instant) {
        if matches!(self.state, State::Spent { until } if now >= until) {
            self.state = State::Quiet;
        }
    }
}
