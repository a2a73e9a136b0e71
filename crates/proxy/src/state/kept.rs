//! The sessions that this proxy opened or took over: what their records say, so that they can be written again.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::record::{Session, SessionId};

/// The relay says every 10 s which sessions are used and at once which have ended. One that it has not spoken of for so
/// long is not its any more, whatever was lost in between.
const FORGOTTEN: Duration = Duration::from_secs(120);

/// Whoever puts a session here writes its record, or has failed to after so long: longer than the registry may take.
const WRITTEN: Duration = Duration::from_secs(1);

/// Sessions whose end the registry has not heard of. Beyond that they expire there by themselves. About 6 MB.
const MOST_ENDS: usize = 100_000;

/// What the registry is to be told of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Nothing,
    /// That its record lasts on, if it is there.
    Use,
    /// The record, by whoever put it here just now.
    New,
    /// The record.
    Record,
}

#[derive(Debug)]
struct Entry {
    session: Arc<Session>,
    used: Instant,
    due: Due,
}

#[derive(Debug)]
pub(super) struct Kept {
    table: HashMap<SessionId, Entry>,
    most: usize,
    ends: BTreeSet<SessionId>,
}

impl Kept {
    pub(super) fn new(most: usize) -> Self {
        Self { table: HashMap::new(), most, ends: BTreeSet::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn has_room(&self) -> bool {
        self.table.len() < self.most
    }

    /// Keeps it, or what is new of it. `false` if there is no room.
    pub(super) fn put(&mut self, session: Arc<Session>, now: Instant) -> bool {
        if !self.has_room() && !self.table.contains_key(&session.id) {
            return false;
        }
        self.table.insert(session.id.clone(), Entry { session, used: now, due: Due::New });
        true
    }

    pub(super) fn get(&self, id: &SessionId) -> Option<Arc<Session>> {
        self.table.get(id).map(|entry| Arc::clone(&entry.session))
    }

    pub(super) fn forget(&mut self, id: &SessionId) {
        self.table.remove(id);
    }

    /// Forgets what the datagram plane has no more. It may have taken a session in again since it said so.
    pub(super) fn forget_unless(&mut self, id: &SessionId, is_there: impl FnOnce() -> bool) {
        if !is_there() {
            self.forget(id);
        }
    }

    /// The registry has this record. What was put since is another.
    pub(super) fn written(&mut self, session: &Arc<Session>) {
        self.settle(session, &[Due::New, Due::Record], Due::Nothing);
    }

    /// The registry has heard that it is used.
    pub(super) fn looked_after(&mut self, session: &Arc<Session>) {
        self.settle(session, &[Due::Use], Due::Nothing);
    }

    /// The registry does not have it.
    pub(super) fn missing(&mut self, session: &Arc<Session>) {
        self.settle(session, &[Due::Use], Due::Record);
    }

    fn settle(&mut self, session: &Arc<Session>, from: &[Due], to: Due) {
        if let Some(entry) = self.table.get_mut(&session.id)
            && Arc::ptr_eq(&entry.session, session)
            && from.contains(&entry.due)
        {
            entry.due = to;
        }
    }

    /// These are used.
    pub(super) fn used(&mut self, ids: &[SessionId], now: Instant) {
        for id in ids {
            if let Some(entry) = self.table.get_mut(id) {
                entry.used = now;
                entry.due = entry.due.max(Due::Use);
            }
        }
    }

    /// The registry may have lost everything: it is all to be looked after.
    pub(super) fn all_due(&mut self) {
        self.table.values_mut().for_each(|entry| entry.due = entry.due.max(Due::Use));
    }

    pub(super) fn to_look_after(&self) -> Vec<Arc<Session>> {
        self.those(|entry| entry.due == Due::Use)
    }

    pub(super) fn unwritten(&self, now: Instant) -> Vec<Arc<Session>> {
        let is_late = |entry: &Entry| now.saturating_duration_since(entry.used) >= WRITTEN;
        self.those(|entry| entry.due == Due::Record || (entry.due == Due::New && is_late(entry)))
    }

    fn those(&self, is_it: impl Fn(&Entry) -> bool) -> Vec<Arc<Session>> {
        self.table.values().filter(|entry| is_it(entry)).map(|entry| Arc::clone(&entry.session)).collect()
    }

    pub(super) fn all(&self) -> Vec<Arc<Session>> {
        self.table.values().map(|entry| Arc::clone(&entry.session)).collect()
    }

    pub(super) fn end_later(&mut self, id: SessionId) {
        if self.ends.len() < MOST_ENDS {
            self.ends.insert(id);
        }
    }

    pub(super) fn take_ends(&mut self) -> BTreeSet<SessionId> {
        std::mem::take(&mut self.ends)
    }

    pub(super) fn sweep(&mut self, now: Instant) {
        self.table.retain(|_, entry| now.saturating_duration_since(entry.used) < FORGOTTEN);
    }
}
