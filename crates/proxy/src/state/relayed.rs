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
        let ended = match reason {
            EndReason::Closed => Ended::Closed,
            // What was deleted the registry has heard of; the others may live on at another proxy.
            EndReason::Deleted | EndReason::Idle | EndReason::OriginGone => Ended::Idle,
        };
        self.relay_ended(id, ended);
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
