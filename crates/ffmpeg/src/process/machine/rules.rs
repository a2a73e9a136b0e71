//! How a child is kept, as its definition says.

use std::time::Duration;

/// How a child is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rules {
    /// Started again whenever it has ended, also well, while the order is to run.
    pub reconnect: bool,
    /// From its end to that start.
    pub reconnect_delay: Duration,
    /// One that makes no progress for so long is ended, and it counts as an end of its own. None: it may.
    pub stale_timeout: Option<Duration>,
    /// What it may use.
    pub limits: Limits,
}

/// What a child may use; one that is above for [`Limits::wait`] is ended.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
    /// Percent of the whole machine: 100 is all its processors.
    pub cpu: Option<f64>,
    /// Bytes that are resident.
    pub memory: Option<u64>,
    /// How long it may be above without a break. Zero: ended when it is first seen.
    pub wait: Duration,
}
