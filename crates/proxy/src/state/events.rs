//! What the relay tells, from its own threads, and what is done about it.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, Weak};

use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

use super::{Counters, Ended, State, locked};
use crate::ice::Pair;
use crate::record::SessionId;
use crate::registry::Away;

/// Pairs that are looked up at the same time; others wait, as many as [`EVENTS`](super) holds.
const LOOKUPS: usize = 64;

/// What the relay said.
#[derive(Debug)]
pub(super) enum Event {
    Used(Vec<SessionId>),
    Ended(SessionId, Ended),
}

impl State {
    /// A client's check names a pair that the relay does not know. The answer is an installed session, or that it is
    /// unknown; while the registry is away there is none. `false`: nobody will look, ask again later. Never blocks.
    pub fn wanted(&self, pair: Pair) -> bool {
        self.counted(self.lookups.try_send(pair).is_ok())
    }

    /// These sessions had an authentic check or a datagram of their origin in the last 10 s. Never blocks.
    pub fn in_use(&self, ids: Vec<SessionId>) {
        self.counted(self.events.try_send(Event::Used(ids)).is_ok());
    }

    /// The relay has no such session any more. Never blocks.
    pub fn relay_ended(&self, id: SessionId, ended: Ended) {
        self.counted(self.events.try_send(Event::Ended(id, ended)).is_ok());
    }

    fn counted(&self, has_room: bool) -> bool {
        if !has_room {
            Counters::add(&self.counters.dropped);
        }
        has_room
    }

    async fn look_up(&self, pair: &Pair) {
        match self.asked(self.registry.by_pair(pair).await) {
            Ok(Some(session)) => {
                Counters::add(&self.counters.found);
                let session = Arc::new(session);
                // Kept first: what the relay says of it must find it.
                let is_kept = locked(&self.kept).put(Arc::clone(&session), Instant::now());
                if is_kept && self.install(&session) {
                    locked(&self.kept).written(&session);
                } else if is_kept {
                    locked(&self.kept).forget(&session.id);
                }
            }
            Ok(None) => {
                Counters::add(&self.counters.unknown);
                if let Some(relay) = self.relay() {
                    relay.unknown(pair);
                }
            }
            Err(Away) => {}
        }
    }
}

/// What to do about what the relay told, one after the other; until the state is dropped, and with it the other end.
pub(super) async fn run(state: Weak<State>, mut told: mpsc::Receiver<Event>) {
    while let Some(event) = told.recv().await {
        let Some(state) = state.upgrade() else { return };
        match event {
            Event::Used(ids) => state.used(&ids).await,
            Event::Ended(id, ended) => {
                locked(&state.kept).forget(&id);
                if ended == Ended::Closed {
                    state.end(&id).await;
                }
            }
        }
    }
}

/// Looks up what is wanted, each pair once at a time.
pub(super) async fn look_up(state: Weak<State>, mut wanted: mpsc::Receiver<Pair>) {
    let places = Arc::new(Semaphore::new(LOOKUPS));
    let under_way = Arc::new(Mutex::new(HashSet::<Pair>::new()));
    while let Some(pair) = wanted.recv().await {
        let Some(state) = state.upgrade() else { return };
        if !locked(&under_way).insert(pair.clone()) {
            continue;
        }
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let under_way = Arc::clone(&under_way);
        tokio::spawn(async move {
            state.look_up(&pair).await;
            locked(&under_way).remove(&pair);
            drop(place);
        });
    }
}
