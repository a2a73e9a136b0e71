//! Which origin a request goes to.

use std::time::Duration;

use thiserror::Error;
use tokio::time::Instant;
use tracing::info;

use super::{Counters, State, locked, now};
use crate::origins::{Origin, Standing, best};
use crate::record::{OriginId, Role};
use crate::registry::{Claimed, Failure, Token};

/// Origins of one stream that are tried until the client is sent away: each was found gone only now.
const TRIES: usize = 4;

/// Without any origin they are asked for so often at most, however many requests come.
const FRESH: Duration = Duration::from_millis(100);

/// The origin of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picked {
    /// Whom to ask.
    pub origin: Origin,
    /// The stream was claimed for it just now: [`State::answered`] must hear what came of it.
    pub claimed_now: bool,
    /// Names that claim.
    pub(crate) token: Option<Token>,
    /// Who had the stream before, and seemed gone.
    pub(crate) lost: Option<OriginId>,
}

/// Why there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NoOrigin {
    /// No origin is alive and takes sessions.
    #[error("no origin is alive and takes sessions")]
    None,
    /// Which origin has the stream cannot be known now.
    #[error("the registry is away, and which origin has this stream is not known")]
    RegistryAway,
}

impl State {
    /// The origin that has the stream, while it is alive; else one that gets it.
    ///
    /// # Errors
    /// There is none, or it cannot be known.
    pub async fn pick(&self, stream: &str, role: Role) -> Result<Picked, NoOrigin> {
        let picked = self.picked(stream, role).await;
        if picked.is_err() {
            Counters::add(&self.counters.nowhere);
        }
        picked
    }

    async fn picked(&self, stream: &str, role: Role) -> Result<Picked, NoOrigin> {
        let mut lost: Option<OriginId> = None;
        // Who had it before this proxy claimed it for anybody.
        let mut before = None;
        for _ in 0..TRIES {
            let asked = Instant::now();
            let mut wanted = self.wanted_for(stream, lost.as_ref());
            if wanted.is_none() && lost.is_none() && self.list(asked.checked_sub(FRESH)).await.is_ok() {
                // The first origin of all may have registered with another proxy a moment ago.
                wanted = self.wanted_for(stream, None);
            }
            let Claimed { holder, token } = match self.claimed(stream, wanted, lost.as_ref()).await {
                Ok(Ok(claimed)) => claimed,
                Ok(Err(no_origin)) => return Err(no_origin),
                Err(_) => return self.remembered(stream),
            };
            locked(&self.claims).learn(stream, &holder, asked);
            match self.usable(&holder, role, asked).await {
                Ok(Some(origin)) => {
                    if let (Some(before), Some(_)) = (&before, &token) {
                        Counters::add(&self.counters.reclaimed);
                        info!(
                            stream,
                            from = OriginId::as_str(before),
                            to = holder.as_str(),
                            "a stream has another origin"
                        );
                    }
                    return Ok(Picked { origin, claimed_now: token.is_some(), token, lost: before });
                }
                Ok(None) => {
                    if token.is_none() {
                        before = Some(holder.clone());
                    }
                    lost = Some(holder);
                }
                Err(_) => return self.remembered(stream),
            }
        }
        Err(NoOrigin::None)
    }

    /// The origin that has the stream, while it is alive; else the one that would get it now, and does not: for questions,
    /// which anybody may ask of any name.
    ///
    /// # Errors
    /// There is none, or it cannot be known.
    pub async fn look(&self, stream: &str, role: Role) -> Result<Origin, NoOrigin> {
        let asked = Instant::now();
        let holder = match self.asked(self.registry.claim_of(stream).await) {
            Ok(holder) => holder,
            Err(_) => return self.remembered(stream).map(|picked| picked.origin),
        };
        if let Some(holder) = &holder {
            match self.usable(holder, role, asked).await {
                Ok(Some(origin)) => return Ok(origin),
                Ok(None) => {}
                Err(_) => return self.remembered(stream).map(|picked| picked.origin),
            }
        }
        let mut wanted = self.wanted_for(stream, holder.as_ref());
        if wanted.is_none() && self.list(asked.checked_sub(FRESH)).await.is_ok() {
            wanted = self.wanted_for(stream, holder.as_ref());
        }
        let origins = locked(&self.origins);
        wanted.and_then(|id| origins.origin(&id).cloned()).ok_or(NoOrigin::None)
    }

    /// Who is to have a stream that nobody has: who had it when this proxy heard last, as the registry may have lost that;
    /// else the best.
    fn wanted_for(&self, stream: &str, lost: Option<&OriginId>) -> Option<OriginId> {
        let remembered = locked(&self.claims).holder(stream, Instant::now()).cloned();
        let (origins, now) = (locked(&self.origins), now());
        let remembered = remembered.filter(|id| {
            Some(id) != lost
                && !origins.is_failed(id)
                && origins.standing(id, now).is_some_and(|it| it <= Standing::Suspect)
        });
        remembered.or_else(|| best(&origins, stream, lost, now).map(|origin| origin.id.clone()))
    }

    /// Asks who has the stream, or claims it for `wanted`.
    async fn claimed(
        &self,
        stream: &str,
        wanted: Option<OriginId>,
        lost: Option<&OriginId>,
    ) -> Result<Result<Claimed, NoOrigin>, Failure> {
        let may_claim = !self.reach.is_settling() || locked(&self.claims).holder(stream, Instant::now()).is_some();
        let answer = match (&wanted, lost) {
            (Some(wanted), None) if may_claim => self.registry.claim(stream, wanted).await.map(Some),
            (Some(wanted), Some(lost)) => self.registry.reclaim(stream, lost, wanted).await.map(Some),
            (None, Some(_)) => return Ok(Err(NoOrigin::None)),
            (_, None) => match self.registry.claim_of(stream).await {
                // So that whoever made the claim does not take it back.
                Ok(Some(holder)) => self.registry.claim(stream, &holder).await.map(Some),
                other => other.map(|_| None),
            },
        };
        let nobody = if wanted.is_some() { NoOrigin::RegistryAway } else { NoOrigin::None };
        self.asked(answer).map(|claimed| claimed.ok_or(nobody))
    }

    /// The origin, if a request may go there; looked at again if somebody failed to connect to it.
    async fn usable(&self, id: &OriginId, role: Role, asked: Instant) -> Result<Option<Origin>, Failure> {
        if matches!(locked(&self.origins).standing(id, now()), None | Some(Standing::Gone)) {
            // Others may have heard of it since this proxy did: before a stream moves the registry is asked.
            self.list(Some(asked)).await?;
        }
        let failed = {
            let origins = locked(&self.origins);
            origins.origin(id).filter(|_| origins.is_failed(id)).cloned()
        };
        if let Some(origin) = failed {
            let probed = self.probe.probe(&origin, false).await;
            locked(&self.origins).probed(id, &probed, now());
        }
        let (origins, now) = (locked(&self.origins), now());
        let is_left = match origins.standing(id, now) {
            None | Some(Standing::Gone) => true,
            // It refuses publishers itself: its stream begins anew where it can last.
            Some(Standing::Draining) => {
                role == Role::Publisher && origins.is_stopping(id) && best(&origins, "", None, now).is_some()
            }
            Some(Standing::Up | Standing::Suspect) => false,
        };
        Ok(origins.origin(id).filter(|_| !is_left).cloned())
    }

    /// What is known while nobody can be asked.
    fn remembered(&self, stream: &str) -> Result<Picked, NoOrigin> {
        let holder = locked(&self.claims).holder(stream, Instant::now()).cloned();
        let (origins, now) = (locked(&self.origins), now());
        let alive = holder.filter(|id| {
            let standing = origins.standing(id, now);
            !origins.is_failed(id) && standing.is_some_and(|standing| standing != Standing::Gone)
        });
        let origin = alive.and_then(|id| origins.origin(&id).cloned());
        origin
            .map(|origin| Picked { origin, claimed_now: false, token: None, lost: None })
            .ok_or(NoOrigin::RegistryAway)
    }

    /// Could not connect to an origin: it gets nothing new until it was looked at, and if that fails too its streams go
    /// to others.
    pub fn failed(&self, origin: &OriginId) {
        locked(&self.origins).failed(origin);
    }

    /// What came of a request that went to the origin picked: a claim that was made for it and led to nothing is taken
    /// back, to whom had the stream before, unless somebody else has counted on it meanwhile.
    pub async fn answered(&self, stream: &str, picked: &Picked, ok: bool) {
        let Some(token) = &picked.token else { return };
        let (id, asked) = (&picked.origin.id, Instant::now());
        if ok {
            let claim = [(stream.to_owned(), id.clone())];
            if let Ok(holders) = self.asked(self.registry.refresh_claims(&claim).await)
                && let Some(holder) = holders.first()
            {
                locked(&self.claims).renewed(stream, holder, asked);
            }
        } else {
            locked(&self.claims).forget(stream);
            // When it cannot be taken back now, it ends by itself.
            let _ = self.asked(self.registry.release(stream, id, token, picked.lost.as_ref()).await);
        }
    }
}
