//! What happens each second, whoever asks: origins are listed, probed, and what could not be written is.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::warn;

use super::{Counters, State, locked, now};
use crate::origins::{Origin, Probe, Standing};
use crate::record::{OriginId, Session, SessionId};
use crate::registry::{Away, MOST_AT_ONCE, Refreshed};

/// Between two lists of origins.
const EACH: Duration = Duration::from_secs(1);

/// Origins that are probed at the same time.
const PROBES_AT_ONCE: usize = 64;

/// Sessions that are written or looked after in one turn: with 100 a call, a second's worth.
const MOST_A_TURN: usize = 10_000;

pub(super) async fn run(state: Weak<State>) {
    let mut ticks = interval(EACH);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_odd = false;
    let mut probing = JoinSet::new();
    loop {
        ticks.tick().await;
        let Some(state) = state.upgrade() else { return };
        let was_away = state.is_away();
        let listed = state.list(None).await;
        is_odd = !is_odd;
        if is_odd && probing.is_empty() {
            let due = locked(&state.origins).to_probe(listed.is_err(), now());
            probing.spawn(probe_all(Arc::clone(&state), due));
        }
        while probing.try_join_next().is_some() {}
        state.tidy();
        if listed.is_ok() {
            if was_away {
                state.look_after_all().await;
            }
            state.write_rest().await;
        }
    }
}

async fn probe_all(state: Arc<State>, due: Vec<(Origin, bool)>) {
    let mut asked = JoinSet::new();
    for (origin, detect) in due {
        if asked.len() >= PROBES_AT_ONCE {
            asked.join_next().await;
        }
        let state = Arc::clone(&state);
        asked.spawn(async move {
            let probed = Probe::probe(&*state.probe, &origin, detect).await;
            locked(&state.origins).probed(&origin.id, &probed, now());
        });
    }
    while asked.join_next().await.is_some() {}
}

impl State {
    /// Asks for all origins, unless somebody did since then.
    pub(super) async fn list(&self, since: Option<Instant>) -> Result<(), Away> {
        let mut listed = self.listing.lock().await;
        if let (Some(since), Some(at)) = (since, *listed)
            && at >= since
        {
            return Ok(());
        }
        let asked = Instant::now();
        let listing = self.asked(self.registry.origins().await)?;
        let (mut origins, now) = (locked(&self.origins), now());
        let waited = asked.elapsed();
        let ids: BTreeSet<OriginId> = listing.origins.iter().map(|listed| listed.record.origin.id.clone()).collect();
        let mut left_out = 0;
        for one in listing.origins {
            // As old as it was when the registry looked, and that was after it was asked.
            left_out += usize::from(origins.heard(one.record, one.age + waited, now).is_err());
        }
        origins.listed(&ids, &listing.drained, asked.into_std());
        if left_out > 0 {
            warn!(left_out, "there are too many origins");
        }
        *listed = Some(asked);
        Ok(())
    }

    fn tidy(&self) {
        let time = Instant::now();
        let counts = {
            let mut kept = locked(&self.kept);
            kept.sweep(time);
            kept.by_origin()
        };
        let mut origins = locked(&self.origins);
        origins.sweep(time.into_std());
        origins.count(|id| counts.get(id).copied().unwrap_or_default());
        let gone = if self.is_away() { origins.gone(time.into_std()) } else { BTreeSet::new() };
        drop(origins);
        let mut claims = locked(&self.claims);
        claims.sweep(time);
        claims.forget_of(&gone);
    }

    /// The registry is back, and may have lost everything.
    async fn look_after_all(&self) {
        let all = locked(&self.kept).all();
        self.look_after(all.into_iter().take(MOST_A_TURN).collect()).await;
    }

    /// Writes what could not be written, and tells what has ended.
    async fn write_rest(&self) {
        let ends = locked(&self.kept).take_ends();
        for id in ends {
            // What fails again is noted again.
            self.end(&id).await;
        }
        let rest = locked(&self.kept).unwritten(MOST_A_TURN);
        for session in rest {
            self.write(&session).await;
            if self.is_away() {
                return;
            }
        }
    }

    /// The relay says that these are used.
    pub(super) async fn used(&self, ids: &[SessionId]) {
        let sessions = locked(&self.kept).used(ids, Instant::now());
        self.look_after(sessions).await;
    }

    /// Makes records and claims of sessions last on, and writes again what is missing.
    async fn look_after(&self, sessions: Vec<Arc<Session>>) {
        for some in sessions.chunks(MOST_AT_ONCE) {
            let Ok(what) = self.asked(self.registry.refresh(some).await) else { return };
            for (session, what) in some.iter().zip(what) {
                match what {
                    Refreshed::Kept => {}
                    Refreshed::Missing => self.write(session).await,
                    Refreshed::Ended => self.ended_elsewhere(&session.id),
                }
            }
        }
        let streams: BTreeSet<(String, OriginId)> =
            sessions.iter().map(|session| (session.stream.clone(), session.origin.clone())).collect();
        self.renew(streams).await;
    }

    /// An origin named streams that it has.
    pub(super) async fn named(&self, origin: &OriginId, streams: Vec<String>) {
        if self.is_away() {
            let (mut claims, now) = (locked(&self.claims), Instant::now());
            streams.iter().for_each(|stream| claims.confirmed(stream, origin, now));
        }
        self.renew(streams.into_iter().map(|stream| (stream, origin.clone())).collect()).await;
    }

    /// Renews the claims that are due, of origins that are not gone.
    async fn renew(&self, streams: BTreeSet<(String, OriginId)>) {
        let due: Vec<_> = {
            let (claims, origins, time) = (locked(&self.claims), locked(&self.origins), Instant::now());
            let is_alive = |id: &OriginId| {
                origins.standing(id, time.into_std()).is_some_and(|standing| standing != Standing::Gone)
            };
            streams.into_iter().filter(|(stream, id)| claims.is_due(stream, id, time) && is_alive(id)).collect()
        };
        for some in due.chunks(MOST_AT_ONCE) {
            let asked = Instant::now();
            let Ok(holders) = self.asked(self.registry.refresh_claims(some).await) else { return };
            let mut claims = locked(&self.claims);
            for ((stream, origin), holder) in some.iter().zip(holders) {
                if holder != *origin {
                    Counters::add(&self.counters.conflicts);
                }
                claims.renewed(stream, &holder, asked);
            }
        }
    }
}
