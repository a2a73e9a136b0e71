//! What the registry is told of sessions: new records, ends, and that what is used lasts on. One task, so that nothing else
//! waits for it, with a bounded number of calls under way, so that thousands of records are not thousands of round trips.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{State, locked};
use crate::record::{OriginId, Session, SessionId};
use crate::registry::{MOST_AT_ONCE, Refreshed};

/// Between two turns if nobody wakes the task: what was refused is tried again.
const EACH: Duration = Duration::from_secs(1);

/// Calls that are under way at the same time.
const AT_ONCE: usize = 32;

pub(super) async fn run(state: Weak<State>, wake: Arc<Notify>) {
    let mut ticks = interval(EACH);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut returned = Returned::default();
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = wake.notified() => {}
        }
        let Some(state) = state.upgrade() else { return };
        // Whoever lists the origins finds out that it is back.
        if !state.is_away() {
            returned.look(&state);
            state.write_all().await;
        }
    }
}

/// What was done about the registry's return.
#[derive(Debug, Default)]
struct Returned {
    times: u64,
    last: Option<Instant>,
}

impl Returned {
    /// The registry may have lost everything each time it was away. One that comes and goes many times a second is believed to
    /// have lost it once a second at most.
    fn look(&mut self, state: &State) {
        let times = state.reach.returns();
        if times != self.times && self.last.is_none_or(|last| last.elapsed() >= EACH) {
            (self.times, self.last) = (times, Some(Instant::now()));
            locked(&state.claims).all_due();
            locked(&state.kept).all_due();
        }
    }
}

/// Does something with each, for so many at a time.
pub(super) async fn each<T, F>(all: impl IntoIterator<Item = T>, at_once: usize, mut begin: impl FnMut(T) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut under_way = JoinSet::new();
    for one in all {
        while under_way.len() >= at_once {
            under_way.join_next().await;
        }
        under_way.spawn(begin(one));
    }
    while under_way.join_next().await.is_some() {}
}

fn in_chunks<T: Clone>(all: &[T]) -> Vec<Vec<T>> {
    all.chunks(MOST_AT_ONCE).map(<[T]>::to_vec).collect()
}

impl State {
    /// One turn: everything that is to be said. What finds the registry away is said in a later one.
    async fn write_all(self: &Arc<Self>) {
        self.tell_ends().await;
        let used = locked(&self.kept).to_look_after();
        // Claims first: after the registry has lost them, streams that nobody claims could get another origin.
        let streams: BTreeSet<(String, OriginId)> =
            used.iter().map(|session| (session.stream.clone(), session.origin.clone())).collect();
        let due = in_chunks(&self.due(streams));
        each(due, AT_ONCE, |some| {
            let state = Arc::clone(self);
            async move { state.renew(&some).await }
        })
        .await;
        each(in_chunks(&used), AT_ONCE, |some| {
            let state = Arc::clone(self);
            async move { state.look_after(&some).await }
        })
        .await;
        let unwritten = locked(&self.kept).unwritten(Instant::now());
        each(unwritten, AT_ONCE, |session| {
            let state = Arc::clone(self);
            async move {
                if !state.is_away() {
                    state.write(&session).await;
                }
            }
        })
        .await;
    }

    async fn tell_ends(self: &Arc<Self>) {
        let ends: Vec<SessionId> = locked(&self.kept).take_ends().into_iter().collect();
        each(in_chunks(&ends), AT_ONCE, |some| {
            let state = Arc::clone(self);
            async move { state.end(&some).await }
        })
        .await;
    }

    /// Makes records of sessions last on, and notes what is missing: that is written in the same turn.
    async fn look_after(&self, sessions: &[Arc<Session>]) {
        if self.is_away() {
            return;
        }
        let Ok(what) = self.asked(self.registry.refresh(sessions).await) else { return };
        for (session, what) in sessions.iter().zip(what) {
            match what {
                Refreshed::Kept => locked(&self.kept).looked_after(session),
                Refreshed::Missing => locked(&self.kept).missing(session),
                Refreshed::Ended => self.ended_elsewhere(&session.id),
            }
        }
    }
}
