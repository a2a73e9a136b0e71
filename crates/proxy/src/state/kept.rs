//! The sessions that this proxy opened or took over: what their records say, so that they can be written again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::record::{OriginId, Session, SessionId};

/// The relay says every 10 s which sessions are used and at once which have ended. One that it has not spoken of for so
/// long is not its any more, whatever was lost in between.
const FORGOTTEN: Duration = Duration::from_secs(120);

/// Sessions whose end the registry has not heard of. Beyond that they expire there by themselves.
const MOST_ENDS: usize = 10_000;

#[derive(Debug)]
struct Entry {
    session: Arc<Session>,
    used: Instant,
    is_written: bool,
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
        self.table.insert(session.id.clone(), Entry { session, used: now, is_written: false });
        true
    }

    pub(super) fn get(&self, id: &SessionId) -> Option<Arc<Session>> {
        self.table.get(id).map(|entry| Arc::clone(&entry.session))
    }

    pub(super) fn forget(&mut self, id: &SessionId) {
        self.table.remove(id);
    }

    /// The registry has this record. What was put since is another.
    pub(super) fn written(&mut self, session: &Arc<Session>) {
        if let Some(entry) = self.table.get_mut(&session.id)
            && Arc::ptr_eq(&entry.session, session)
        {
            entry.is_written = true;
        }
    }

    /// These are used: those of them that are known.
    pub(super) fn used(&mut self, ids: &[SessionId], now: Instant) -> Vec<Arc<Session>> {
        let known = ids.iter().filter_map(|id| {
            let entry = self.table.get_mut(id)?;
            entry.used = now;
            Some(Arc::clone(&entry.session))
        });
        known.collect()
    }

    pub(super) fn unwritten(&self, most: usize) -> Vec<Arc<Session>> {
        let unwritten = self.table.values().filter(|entry| !entry.is_written);
        unwritten.take(most).map(|entry| Arc::clone(&entry.session)).collect()
    }

    /// The registry may have lost everything: it is all to be looked after.
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

    pub(super) fn by_origin(&self) -> HashMap<OriginId, u32> {
        let mut counts = HashMap::new();
        self.table.values().for_each(|entry| *counts.entry(entry.session.origin.clone()).or_default() += 1);
        counts
    }

    pub(super) fn by_stream(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        self.table.values().for_each(|entry| *counts.entry(entry.session.stream.clone()).or_default() += 1);
        counts
    }

    pub(super) fn sweep(&mut self, now: Instant) {
        self.table.retain(|_, entry| now.saturating_duration_since(entry.used) < FORGOTTEN);
    }
}
