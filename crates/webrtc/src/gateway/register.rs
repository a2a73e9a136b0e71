//! The register of session URLs: what HTTP needs to know of a session, and its tombstone afterwards.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use whipstitch_plane::{Ending, Role};
use whipstitch_stream::{SessionId, StreamKey};

use crate::negotiate::Credentials;

/// OBS closes DTLS first and sends DELETE after: its URL must still be known (protocol.md 3.3, 15).
const TOMBSTONE: Duration = Duration::from_secs(60);

/// Tombstones at most; beyond it the oldest goes early. At 60 s each: 270 sessions ending a second.
const MAX_TOMBSTONES: usize = 16_384;

/// One live session as HTTP sees it.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) resource: String,
    pub(crate) session: SessionId,
    pub(crate) role: Role,
    pub(crate) stream: StreamKey,
    /// Who asked for it.
    pub(crate) subject: Option<Arc<str>>,
    pub(crate) worker: usize,
    /// How it is ended from outside.
    pub(crate) ending: Ending,
    /// `None` of a session of another protocol, which has nothing to be changed by a PATCH.
    pub(crate) ice: Option<Ice>,
}

/// What a PATCH changes.
#[derive(Debug, Clone)]
pub(crate) struct Ice {
    /// Without its quotes; one per ICE generation.
    pub(crate) etag: String,
    /// The peer's credentials of the current generation.
    pub(crate) remote: Credentials,
    /// What was announced, for a restart's fragment.
    pub(crate) candidates: Vec<SocketAddr>,
    /// The section that described the transport, for the same.
    pub(crate) tagged_mid: Option<String>,
}

#[derive(Default)]
struct Table {
    live: HashMap<String, Entry>,
    /// The URL of each live session.
    sessions: HashMap<SessionId, String>,
    dead: HashMap<String, (Role, StreamKey)>,
    burials: VecDeque<(Instant, String)>,
}

/// The register. Held by control only; a session touches it once, when it is dropped.
#[derive(Clone, Default)]
pub(crate) struct Register(Arc<Mutex<Table>>);

impl Register {
    /// Enters a session; it stays until the registration is dropped.
    pub(crate) fn insert(&self, entry: Entry) -> Registration {
        let resource = entry.resource.clone();
        let mut table = self.table();
        table.sessions.insert(entry.session, resource.clone());
        table.live.insert(resource.clone(), entry);
        Registration { register: self.clone(), resource }
    }

    /// `Some(Some)`: live. `Some(None)`: it was until lately. `None`: unknown under this role and stream.
    pub(crate) fn find(&self, role: Role, stream: &StreamKey, resource: &str) -> Option<Option<Entry>> {
        let mut table = self.table();
        table.exhume(Instant::now());
        if let Some(entry) = table.live.get(resource) {
            return (entry.role == role && entry.stream == *stream).then(|| Some(entry.clone()));
        }
        let (dead_role, dead_stream) = table.dead.get(resource)?;
        (*dead_role == role && dead_stream == stream).then_some(None)
    }

    /// Changes a live entry under the lock: restarts of one session take turns. `None` when it is gone.
    pub(crate) fn update<T>(&self, resource: &str, change: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        self.table().live.get_mut(resource).map(change)
    }

    /// A live session by its public name.
    pub(crate) fn session(&self, session: SessionId) -> Option<Entry> {
        let table = self.table();
        table.sessions.get(&session).and_then(|resource| table.live.get(resource)).cloned()
    }

    /// Makes the URL of a session that is about to end a tombstone, before its registration is dropped.
    pub(crate) fn bury(&self, resource: &str) {
        self.table().bury(resource, Instant::now());
    }

    /// How many URLs lead to a session.
    pub(crate) fn live(&self) -> usize {
        self.table().live.len()
    }

    /// Takes back the tombstone of a URL that nobody was told.
    pub(crate) fn forget(&self, resource: &str) {
        let mut table = self.table();
        table.dead.remove(resource);
        if let Some(index) = table.burials.iter().rposition(|(_, buried)| buried == resource) {
            table.burials.remove(index);
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing in here panics half-way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn bury(&mut self, resource: &str, now: Instant) {
        let Some(entry) = self.live.remove(resource) else { return };
        self.sessions.remove(&entry.session);
        self.dead.insert(resource.to_owned(), (entry.role, entry.stream));
        self.burials.push_back((now + TOMBSTONE, resource.to_owned()));
        self.exhume(now);
        if self.burials.len() > MAX_TOMBSTONES
            && let Some((_, oldest)) = self.burials.pop_front()
        {
            self.dead.remove(&oldest);
        }
    }

    fn exhume(&mut self, now: Instant) {
        while let Some((until, _)) = self.burials.front()
            && *until <= now
        {
            if let Some((_, resource)) = self.burials.pop_front() {
                self.dead.remove(&resource);
            }
        }
    }
}

/// A session's place in the register; dropping it leaves a tombstone.
pub(crate) struct Registration {
    register: Register,
    resource: String,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.register.bury(&self.resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(resource: &str, session: u64) -> Entry {
        Entry {
            resource: resource.into(),
            session: SessionId(session),
            role: Role::Publisher,
            stream: stream(),
            subject: None,
            worker: 1,
            ending: Ending::default(),
            ice: None,
        }
    }

    fn stream() -> StreamKey {
        StreamKey::parse("cam").unwrap()
    }

    #[test]
    fn a_url_is_valid_under_its_own_role_and_stream_only() {
        let register = Register::default();
        let _kept = register.insert(entry("r", 1));
        let other = StreamKey::parse("other").unwrap();
        assert!(matches!(register.find(Role::Publisher, &stream(), "r"), Some(Some(_))));
        assert!(register.find(Role::Subscriber, &stream(), "r").is_none());
        assert!(register.find(Role::Publisher, &other, "r").is_none());
    }

    #[test]
    fn a_dropped_session_leaves_a_tombstone_for_a_minute() {
        let register = Register::default();
        drop(register.insert(entry("r", 1)));
        assert!(matches!(register.find(Role::Publisher, &stream(), "r"), Some(None)));
        assert!(register.session(SessionId(1)).is_none());
        register.table().exhume(Instant::now() + TOMBSTONE);
        assert!(register.find(Role::Publisher, &stream(), "r").is_none());
    }

    #[test]
    fn a_url_that_nobody_was_told_leaves_nothing() {
        let register = Register::default();
        drop(register.insert(entry("told", 1)));
        drop(register.insert(entry("untold", 2)));
        register.forget("untold");
        register.forget("never-was");
        let table = register.table();
        assert_eq!((table.dead.len(), table.burials.len()), (1, 1));
    }

    #[test]
    fn tombstones_are_bounded() {
        let register = Register::default();
        for n in 0..MAX_TOMBSTONES as u64 + 5 {
            drop(register.insert(entry(&format!("r{n}"), n)));
        }
        let table = register.table();
        assert_eq!((table.dead.len(), table.burials.len(), table.live.len()), (MAX_TOMBSTONES, MAX_TOMBSTONES, 0));
    }
}
