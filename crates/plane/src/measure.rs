//! What a worker counts for the metrics: plain integers of its own, copied when it is asked. Nothing ever goes back:
//! what a session or a stream has counted is added to the worker's totals when it ends.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::time::Duration;

use whipstitch_stream::stats::Drops;

use crate::report::{Counters, Role};

/// One worker at one moment. Counts are those of its life.
#[derive(Clone, Debug, Default)]
pub struct WorkerReport {
    /// Its number.
    pub worker: usize,
    /// How long it runs.
    pub uptime: Duration,
    /// How much of that it worked instead of waiting for something to do.
    pub busy: Duration,
    /// Turns: how often it was woken, or went on without waiting.
    pub turns: u64,
    /// What its sockets took in.
    pub received: Traffic,
    /// What its sockets sent; calls are batches handed to a socket.
    pub sent: Traffic,
    /// Datagrams that no session wanted, and frames over TCP that were too long to be any.
    pub strays: u64,
    /// Datagrams the kernel refused for their destination.
    pub refused: u64,
    /// Datagrams the kernel had no room for.
    pub dropped: u64,
    /// Packets of bursts that did not reach another worker, whose mailbox was full.
    pub slow: u64,
    /// Commands, datagrams and connections that others had for this worker while its mailbox was full.
    pub mailbox_full: u64,
    /// Sessions that broke an invariant and were dropped.
    pub panics: u64,
    /// ICE user fragments by which sessions are found: one for each session, two during a restart.
    pub ufrags: usize,
    /// Addresses by which sessions are found here, those of other workers' sessions included.
    pub addresses: usize,
    /// TCP connections: those of its sessions, and those that no session has accepted yet.
    pub connections: usize,
    /// Packets of publishers that were dropped, by reason; of the streams that live here.
    pub drops: Drops,
    /// Its publishers' sessions.
    pub publishers: Totals,
    /// Its subscribers' sessions.
    pub subscribers: Totals,
}

/// Datagrams through the sockets of a worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Datagrams.
    pub datagrams: u64,
    /// Their payload bytes.
    pub bytes: u64,
    /// Calls that moved at least one.
    pub calls: u64,
}

/// All sessions of one role that a worker has or had.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// How many there are.
    pub sessions: u64,
    /// How many there ever were.
    pub begun: u64,
    /// Why those that are gone ended, by the word of [`whipstitch_stream::CloseReason`].
    pub closed: BTreeMap<&'static str, u64>,
    /// What they counted.
    pub counters: Counters,
    /// From the answer to the first address that passed a check.
    pub ice: Histogram,
    /// From there to the end of the DTLS handshake.
    pub dtls: Histogram,
    /// From there to the first packet of media.
    pub first_media: Histogram,
}

/// A part of a session's beginning, for the statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// From the answer to the first address that passed a check.
    Ice,
    /// From there to the end of the DTLS handshake.
    Dtls,
    /// From there to the first packet of media.
    FirstMedia,
}

/// How long something took, counted by upper bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Histogram {
    /// By [`BOUNDS`]: how many took at most so long and longer than the bound before. What took longer than the last
    /// bound is in `count` only.
    pub buckets: [u64; BOUNDS.len()],
    /// How many there were.
    pub count: u64,
    /// What they took together.
    pub sum: Duration,
}

/// Upper bounds in seconds: from a handshake on the same machine to the deadline of the setup.
pub const BOUNDS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0];

impl Histogram {
    /// Counts one.
    pub fn observe(&mut self, took: Duration) {
        self.count += 1;
        self.sum += took;
        if let Some(bucket) = BOUNDS.iter().position(|bound| took.as_secs_f64() <= *bound) {
            self.buckets[bucket] += 1;
        }
    }
}

impl AddAssign<&Histogram> for Histogram {
    fn add_assign(&mut self, other: &Histogram) {
        for (own, other) in self.buckets.iter_mut().zip(&other.buckets) {
            *own += other;
        }
        self.count += other.count;
        self.sum += other.sum;
    }
}

impl AddAssign<&Totals> for Totals {
    fn add_assign(&mut self, other: &Totals) {
        self.sessions += other.sessions;
        self.begun += other.begun;
        for (reason, count) in &other.closed {
            *self.closed.entry(reason).or_default() += count;
        }
        self.counters += other.counters;
        self.ice += &other.ice;
        self.dtls += &other.dtls;
        self.first_media += &other.first_media;
    }
}

impl Totals {
    /// Counts how long a part of a session's beginning took.
    pub(crate) fn took(&mut self, phase: Phase, took: Duration) {
        match phase {
            Phase::Ice => self.ice.observe(took),
            Phase::Dtls => self.dtls.observe(took),
            Phase::FirstMedia => self.first_media.observe(took),
        }
    }
}

impl WorkerReport {
    /// The totals of one role.
    pub fn totals(&self, role: Role) -> &Totals {
        match role {
            Role::Publisher => &self.publishers,
            Role::Subscriber => &self.subscribers,
        }
    }

    pub(crate) fn totals_mut(&mut self, role: Role) -> &mut Totals {
        match role {
            Role::Publisher => &mut self.publishers,
            Role::Subscriber => &mut self.subscribers,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_within_its_bucket_and_what_is_longer_is_counted_all_the_same() {
        let mut histogram = Histogram::default();
        for millis in [1, 5, 6, 20_000, 20_001] {
            histogram.observe(Duration::from_millis(millis));
        }
        assert_eq!((histogram.buckets[0], histogram.buckets[1], histogram.buckets[11]), (2, 1, 1));
        assert_eq!((histogram.count, histogram.sum), (5, Duration::from_millis(40_013)));
    }
}
