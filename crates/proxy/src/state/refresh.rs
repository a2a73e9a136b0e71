//! What happens each second, whoever asks: origins are listed and probed. What the registry is told is told by another task, so
//! that however much that is, nobody here seems dead for it.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{info, warn};

use super::writing::each;
use super::{Counters, State, locked, now};
use crate::origins::{News, Origin, Probe, Standing};
use crate::record::OriginId;
use crate::registry::{Failure, MOST_AT_ONCE};

/// Between two lists of origins.
const EACH: Duration = Duration::from_secs(1);

/// Origins that are probed at the same time.
const PROBES_AT_ONCE: usize = 64;

pub(super) async fn run(state: Weak<State>) {
    let mut ticks = interval(EACH);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut is_odd, mut probing) = (false, JoinSet::new());
    let (mut told, mut news) = (Told::default(), News::default());
    loop {
        ticks.tick().await;
        let Some(state) = state.upgrade() else { return };
        let listed = state.list(None).await;
        told.tell(&state);
        is_odd = !is_odd;
        if is_odd && probing.is_empty() {
            let due = locked(&state.origins).to_probe(listed.is_err(), now());
            probing.spawn(probe_all(Arc::clone(&state), due));
        }
        while probing.try_join_next().is_some() {}
        state.tidy();
        news.tell(&locked(&state.origins), now());
    }
}

/// What the log says of the registry: at most a line each second, however often it comes and goes.
#[derive(Debug, Default)]
struct Told {
    is_away: bool,
    returns: u64,
}

impl Told {
    fn tell(&mut self, state: &State) {
        let (is_away, returns) = (state.is_away(), state.reach.returns());
        if is_away && !self.is_away {
            warn!("the registry is away: live sessions go on, new ones only where that is safe");
        } else if returns != self.returns {
            info!(times = returns - self.returns, "the registry is back");
        }
        (self.is_away, self.returns) = (is_away, returns);
    }
}

async fn probe_all(state: Arc<State>, due: Vec<(Origin, bool)>) {
    each(due, PROBES_AT_ONCE, |(origin, detect)| {
        let state = Arc::clone(&state);
        async move {
            let probed = Probe::probe(&*state.probe, &origin, detect).await;
            locked(&state.origins).probed(&origin.id, &probed, now());
        }
    })
    .await;
}

impl State {
    /// Asks for all origins, unless somebody did since then.
    pub(super) async fn list(&self, since: Option<Instant>) -> Result<(), Failure> {
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
        let sessions = {
            let mut kept = locked(&self.kept);
            kept.sweep(time);
            kept.all()
        };
        let mut counts = HashMap::<_, u32>::new();
        sessions.iter().for_each(|session| *counts.entry(&session.origin).or_default() += 1);
        let mut origins = locked(&self.origins);
        origins.sweep(time.into_std());
        origins.count(|id| counts.get(id).copied().unwrap_or_default());
        let gone = if self.is_away() { origins.gone(time.into_std()) } else { BTreeSet::new() };
        drop(origins);
        let mut claims = locked(&self.claims);
        claims.sweep(time);
        claims.forget_of(&gone);
    }

    /// An origin named streams that it has.
    pub(super) async fn named(&self, origin: &OriginId, streams: Vec<String>) {
        if self.is_away() {
            let (mut claims, now) = (locked(&self.claims), Instant::now());
            streams.iter().for_each(|stream| claims.confirmed(stream, origin, now));
        }
        let named = streams.into_iter().map(|stream| (stream, origin.clone())).collect();
        for some in self.due(named).chunks(MOST_AT_ONCE) {
            self.renew(some).await;
            if self.is_away() {
                return;
            }
        }
    }

    /// Those claims of origins that are not gone which the registry has to hear of again.
    pub(super) fn due(&self, streams: BTreeSet<(String, OriginId)>) -> Vec<(String, OriginId)> {
        let (claims, origins, time) = (locked(&self.claims), locked(&self.origins), Instant::now());
        let is_alive =
            |id: &OriginId| origins.standing(id, time.into_std()).is_some_and(|standing| standing != Standing::Gone);
        streams.into_iter().filter(|(stream, id)| claims.is_due(stream, id, time) && is_alive(id)).collect()
    }

    /// Renews claims, at most [`MOST_AT_ONCE`].
    pub(super) async fn renew(&self, some: &[(String, OriginId)]) {
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
