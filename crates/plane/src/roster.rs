//! The sessions there are, by their public names, so that whoever has to end one need not know who added it. Touched twice
//! in a session's life: when it is handed over, and by the guard that its worker drops with it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use whipstitch_stream::{SessionId, StreamKey};

use crate::notes::Ending;
use crate::report::Role;

/// What ends a session.
#[derive(Clone, Debug)]
pub(crate) struct Handle {
    pub(crate) worker: usize,
    pub(crate) role: Role,
    pub(crate) stream: StreamKey,
    pub(crate) ending: Ending,
}

/// The list; clones are the same one.
#[derive(Clone, Default)]
pub(crate) struct Roster(Arc<Mutex<HashMap<SessionId, Handle>>>);

impl Roster {
    /// Enters a session until the guard is dropped.
    pub(crate) fn enter(&self, session: SessionId, handle: Handle) -> Entered {
        self.list().insert(session, handle);
        Entered { roster: self.clone(), session }
    }

    /// How to end a session.
    pub(crate) fn find(&self, session: SessionId) -> Option<Handle> {
        self.list().get(&session).cloned()
    }

    /// The sessions of a stream in that role. Looks at every session there is.
    pub(crate) fn of(&self, stream: &StreamKey, role: Role) -> Vec<SessionId> {
        let list = self.list();
        let found = list.iter().filter(|(_, handle)| handle.role == role && handle.stream == *stream);
        found.map(|(session, _)| *session).collect()
    }

    fn list(&self) -> MutexGuard<'_, HashMap<SessionId, Handle>> {
        // Nothing in here panics half-way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session's entry in the list.
pub(crate) struct Entered {
    roster: Roster,
    session: SessionId,
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.roster.list().remove(&self.session);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_found_as_long_as_its_guard_lives() {
        let roster = Roster::default();
        let handle = Handle {
            worker: 1,
            role: Role::Subscriber,
            stream: StreamKey::parse("cam").unwrap(),
            ending: Ending::default(),
        };
        let entered = roster.enter(SessionId(1), handle);
        assert_eq!(roster.find(SessionId(1)).unwrap().worker, 1);
        assert!(roster.find(SessionId(2)).is_none());
        let cam = StreamKey::parse("cam").unwrap();
        assert_eq!(roster.of(&cam, Role::Subscriber), [SessionId(1)]);
        assert_eq!(roster.of(&cam, Role::Publisher), []);
        assert_eq!(roster.of(&StreamKey::parse("other").unwrap(), Role::Subscriber), []);
        drop(entered);
        assert!(roster.find(SessionId(1)).is_none());
    }
}
