//! The sessions that ended lately, with when and why. One list for all workers, touched once in a session's life.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::report::SessionReport;

/// How long an ended session is remembered.
const LATELY: Duration = Duration::from_secs(600);

/// How many are: beyond it the oldest goes early. About half a megabyte.
const MOST: usize = 1024;

/// A session that has ended.
#[derive(Clone, Debug)]
pub struct ClosedSession {
    /// What it was, and its last counters.
    pub report: SessionReport,
    /// Why, as the word of [`whipstitch_stream::CloseReason`].
    pub reason: &'static str,
    /// When.
    pub at: Instant,
}

/// The list; clones are the same one.
#[derive(Clone, Default)]
pub(crate) struct Closed(Arc<Mutex<VecDeque<ClosedSession>>>);

impl Closed {
    /// Remembers a session.
    pub(crate) fn add(&self, closed: ClosedSession) {
        let mut list = self.list();
        if list.len() == MOST {
            list.pop_front();
        }
        list.push_back(closed);
    }

    /// Those of the last ten minutes, the latest first.
    pub(crate) fn lately(&self, now: Instant) -> Vec<ClosedSession> {
        let mut list = self.list();
        list.retain(|closed| now.saturating_duration_since(closed.at) < LATELY);
        list.iter().rev().cloned().collect()
    }

    fn list(&self) -> MutexGuard<'_, VecDeque<ClosedSession>> {
        // Nothing in here panics half-way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use whipstitch_stream::{SessionId, StreamKey};

    use super::*;
    use crate::report::{Role, SessionStats};

    fn closed(session: u64, at: Instant) -> ClosedSession {
        let report = SessionReport {
            session: SessionId(session),
            stream: StreamKey::parse("cam").unwrap(),
            role: Role::Publisher,
            stats: SessionStats::new(at),
        };
        ClosedSession { report, reason: "by_peer", at }
    }

    #[test]
    fn the_latest_stands_first_and_what_is_old_is_forgotten() {
        let (list, start) = (Closed::default(), Instant::now());
        list.add(closed(1, start));
        list.add(closed(2, start + Duration::from_secs(1)));
        let shown = |now| list.lately(now).iter().map(|closed| closed.report.session.0).collect::<Vec<_>>();
        assert_eq!(shown(start + Duration::from_secs(2)), [2, 1]);
        assert_eq!(shown(start + LATELY), [2]);
        assert!(shown(start + LATELY + Duration::from_secs(1)).is_empty());
    }

    #[test]
    fn the_list_is_bounded() {
        let (list, now) = (Closed::default(), Instant::now());
        for session in 0..MOST as u64 + 5 {
            list.add(closed(session, now));
        }
        let lately = list.lately(now);
        assert_eq!((lately.len(), lately[0].report.session.0), (MOST, MOST as u64 + 4));
    }
}
