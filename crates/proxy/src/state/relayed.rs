//! The state and the relay know each other by a trait each, and here is which is which.

use std::sync::Arc;

use super::{Ended, Sessions, State};
use crate::ice::Pair;
use crate::record::{Session, SessionId};
use crate::relay::{EndReason, Events, Relay};

impl Events for State {
    fn wanted(&self, pair: Pair) -> bool {
        self.wanted(pair)
    }

    fn used(&self, ids: Vec<SessionId>) {
        self.in_use(ids);
    }

    fn ended(&self, id: SessionId, reason: EndReason) {
        tracing::debug!(session = ?id, reason = reason.as_str(), "the relay ended a session");
        // What was deleted the registry has heard of; every other end is this proxy's alone, also that by a goodbye of DTLS,
        // which anybody can write.
        self.relay_ended(id, Ended::Idle);
    }
}

impl Sessions for Relay {
    fn install(&self, session: Arc<Session>) -> bool {
        self.install(session).is_ok()
    }

    fn has(&self, id: &SessionId) -> bool {
        self.has(id)
    }

    fn unknown(&self, pair: &Pair) {
        self.unknown(pair);
    }

    fn end(&self, id: &SessionId) {
        self.end(id, EndReason::Deleted);
    }
}
