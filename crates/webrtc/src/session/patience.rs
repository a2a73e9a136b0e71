//! How long a viewer waits for a stream that nobody publishes.

use std::time::{Duration, Instant};

use whipstitch_stream::{Running, StreamKey};

/// The patience of one viewer. It does not wear out while a publisher is expected: a process that is to run is worth
/// waiting for, and its child may be away for long.
pub(crate) struct Patience {
    most: Duration,
    running: Running,
    /// When a publisher was last seen to be expected.
    expected: Option<Instant>,
}

impl Patience {
    /// So much of it; `running` knows who is expected.
    pub(crate) fn new(most: Duration, running: Running) -> Patience {
        Patience { most, running, expected: None }
    }

    /// When it ends, of a viewer who has waited since then.
    pub(super) fn ends(&self, since: Instant) -> Instant {
        self.expected.map_or(since, |expected| expected.max(since)) + self.most
    }

    /// Whether there is more of it, as a publisher of the stream is expected: then it begins anew.
    pub(super) fn is_renewed(&mut self, now: Instant, stream: &StreamKey) -> bool {
        let is_expected = self.running.is_expected(stream);
        if is_expected {
            self.expected = Some(now);
        }
        is_expected
    }
}
