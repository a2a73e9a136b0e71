//! What a child did of late: FFmpeg's own figures are averages over its whole life.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// As datarhei Core averages.
const WINDOW: Duration = Duration::from_secs(30);

/// Between two samples, so that there are never more than [`WINDOW`] holds.
const STEP: Duration = Duration::from_secs(1);

/// Counters of the last [`WINDOW`].
#[derive(Default)]
pub(super) struct Rates {
    samples: VecDeque<Sample>,
    last: Option<Sample>,
}

#[derive(Clone, Copy)]
struct Sample {
    at: Instant,
    frames: u64,
    bytes: u64,
}

/// In a second.
#[derive(Clone, Copy, Default)]
pub(super) struct Rate {
    pub(super) frames: f64,
    pub(super) kbit: f64,
}

impl Rates {
    pub(super) fn add(&mut self, now: Instant, frames: u64, bytes: u64) {
        let sample = Sample { at: now, frames, bytes };
        self.last = Some(sample);
        if self.samples.back().is_none_or(|last| now.saturating_duration_since(last.at) >= STEP) {
            self.samples.push_back(sample);
        }
        while self.samples.front().is_some_and(|first| now.saturating_duration_since(first.at) > WINDOW) {
            self.samples.pop_front();
        }
    }

    /// Falls to nothing while no more comes.
    pub(super) fn at(&self, now: Instant) -> Rate {
        let recent = |sample: &&Sample| now.saturating_duration_since(sample.at) <= WINDOW;
        let (Some(first), Some(last)) = (self.samples.iter().find(recent), self.last) else { return Rate::default() };
        let seconds = now.saturating_duration_since(first.at).as_secs_f64();
        if seconds < STEP.as_secs_f64() {
            return Rate::default();
        }
        let rate = |from: u64, to: u64| to.saturating_sub(from) as f64 / seconds;
        Rate { frames: rate(first.frames, last.frames), kbit: rate(first.bytes, last.bytes) * 8.0 / 1000.0 }
    }
}
