//! What is watched of a running child: whether it gets on, and what it uses.

use std::time::Instant;

use super::{Limits, Rules};
use crate::process::order::Limit;

#[derive(Debug)]
pub(super) struct Watch {
    /// When it last got further, or may have begun to.
    progress: Instant,
    /// Since when it has been above each limit.
    cpu: Option<Instant>,
    memory: Option<Instant>,
}

impl Watch {
    pub(super) fn new(now: Instant) -> Self {
        Self { progress: now, cpu: None, memory: None }
    }

    pub(super) fn progress(&mut self, now: Instant) {
        self.progress = now;
    }

    pub(super) fn last_progress(&self) -> Instant {
        self.progress
    }

    /// When it counts as stale; never while what it reads from is not there.
    pub(super) fn stale_at(&self, rules: &Rules, waiting: bool) -> Option<Instant> {
        rules.stale_timeout.filter(|_| !waiting).and_then(|timeout| self.progress.checked_add(timeout))
    }

    /// Which limit it has been above for too long.
    pub(super) fn usage(&mut self, now: Instant, limits: &Limits, cpu: f64, memory: u64) -> Option<Limit> {
        let above = |since: &mut Option<Instant>, above: bool| {
            if !above {
                *since = None;
            }
            above && now.saturating_duration_since(*since.get_or_insert(now)) >= limits.wait
        };
        let over_cpu = above(&mut self.cpu, limits.cpu.is_some_and(|limit| cpu > limit));
        let over_memory = above(&mut self.memory, limits.memory.is_some_and(|limit| memory > limit));
        match (over_cpu, over_memory) {
            (true, _) => Some(Limit::Cpu),
            (false, true) => Some(Limit::Memory),
            (false, false) => None,
        }
    }
}
