//! What the relay tells, from its own threads, and what is done about it.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, Weak};

use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

use super::{Counters, Ended, State, locked};
use crate::ice::Pair;
use crate::record::SessionId;

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

    /// The relay had it no more when it said so; a client that has come back since has it there again.
    fn heard_of_end(&self, id: SessionId, ended: Ended) {
        let relay = self.relay();
        let mut kept = locked(&self.kept);
        if ended == Ended::Closed {
            kept.forget(&id);
            kept.end_later(id);
        } else {
            kept.forget_unless(&id, || relay.is_some_and(|relay| relay.has(&id)));
        }
    }

    async fn look_up(&self, pair: &Pair) {
        match self.asked(self.registry.by_pair(pair).await) {
            Ok(Some(session)) => {
                Counters::add(&self.counters.found);
                let session = Arc::new(session);
                if self.take_in(&session) {
                    locked(&self.kept).written(&session);
                }
            }
            Ok(None) => {
                Counters::add(&self.counters.unknown);
                if let Some(relay) = self.relay() {
                    relay.unknown(pair);
                }
            }
            Err(_) => {}
        }
    }
}

/// What to do about what the relay told; until the state is dropped, and with it the other end. Waits for nothing else: the
/// registry is told by the task that writes.
pub(super) async fn run(state: Weak<State>, mut told: mpsc::Receiver<Event>) {
    while let Some(event) = told.recv().await {
        let Some(state) = state.upgrade() else { return };
        match event {
            Event::Used(ids) => locked(&state.kept).used(&ids, Instant::now()),
            Event::Ended(id, ended) => state.heard_of_end(id, ended),
        }
        state.wake.notify_one();
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
