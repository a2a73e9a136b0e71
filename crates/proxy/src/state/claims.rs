//! What this proxy heard last of who has which stream: for lists, for renewing, and for the time while the registry is away.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use crate::record::OriginId;
use crate::registry::CLAIM;

/// Streams that are remembered. One more is not until others have expired: then it cannot be served while the registry is
/// away. About 20 MB.
const MOST: usize = 100_000;

/// Between two renewals of one claim.
const RENEWAL: Duration = Duration::from_secs(10);

/// What is remembered of one stream.
#[derive(Debug, Clone)]
pub(super) struct Holding {
    origin: OriginId,
    until: Instant,
    renewed: Instant,
    is_due: bool,
}

#[derive(Debug, Default)]
pub(super) struct Claims {
    table: HashMap<String, Holding>,
}

impl Claims {
    /// The registry said at `asked`, or later, that this origin has it.
    pub(super) fn learn(&mut self, stream: &str, origin: &OriginId, asked: Instant) {
        let (until, now) = (asked + CLAIM, Instant::now());
        if let Some(holding) = self.table.get_mut(stream) {
            if holding.origin != *origin {
                holding.renewed = asked;
            }
            holding.origin = origin.clone();
            holding.until = until;
            return;
        }
        if self.table.len() >= MOST {
            self.sweep(now);
        }
        if self.table.len() < MOST {
            self.table
                .insert(stream.to_owned(), Holding { origin: origin.clone(), until, renewed: asked, is_due: false });
        }
    }

    /// It was renewed, just so.
    pub(super) fn renewed(&mut self, stream: &str, origin: &OriginId, asked: Instant) {
        self.learn(stream, origin, asked);
        if let Some(holding) = self.table.get_mut(stream) {
            (holding.renewed, holding.is_due) = (asked, false);
        }
    }

    /// Nobody has it.
    pub(super) fn forget(&mut self, stream: &str) {
        self.table.remove(stream);
    }

    /// These origins are gone: while nobody can be asked, others may have given their streams to somebody else.
    pub(super) fn forget_of(&mut self, gone: &BTreeSet<OriginId>) {
        self.table.retain(|_, holding| !gone.contains(&holding.origin));
    }

    /// Who has it, as far as that is known and may be believed.
    pub(super) fn holder(&self, stream: &str, now: Instant) -> Option<&OriginId> {
        self.table.get(stream).filter(|holding| holding.until > now).map(|holding| &holding.origin)
    }

    /// The origin itself says that it has the stream: while nobody else can be asked, that is as good as a claim.
    pub(super) fn confirmed(&mut self, stream: &str, origin: &OriginId, now: Instant) {
        if self.holder(stream, now).is_none_or(|holder| holder == origin) {
            self.learn(stream, origin, now);
        }
    }

    /// Whether the registry has to hear again that this origin has the stream.
    pub(super) fn is_due(&self, stream: &str, origin: &OriginId, now: Instant) -> bool {
        self.table.get(stream).is_none_or(|holding| {
            holding.is_due
                || holding.origin != *origin
                || holding.until <= now
                || now.saturating_duration_since(holding.renewed) >= RENEWAL
        })
    }

    /// The registry may have lost everything: it has to hear of all of them.
    pub(super) fn all_due(&mut self) {
        self.table.values_mut().for_each(|holding| holding.is_due = true);
    }

    /// All that are known, in no order.
    pub(super) fn all(&self, now: Instant) -> Vec<(String, OriginId)> {
        let known = self.table.iter().filter(|(_, holding)| holding.until > now);
        known.map(|(stream, holding)| (stream.clone(), holding.origin.clone())).collect()
    }

    /// How many, those that expired a moment ago included.
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn sweep(&mut self, now: Instant) {
        self.table.retain(|_, holding| holding.until > now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn claims_are_believed_for_their_time_and_an_origin_may_only_confirm_its_own() {
        let (a, b) = (OriginId::parse("a").unwrap(), OriginId::parse("b").unwrap());
        let (mut claims, start) = (Claims::default(), Instant::now());
        claims.learn("cam", &a, start);
        assert!(!claims.is_due("cam", &a, start) && claims.is_due("cam", &b, start));
        assert!(claims.is_due("cam", &a, start + RENEWAL));
        claims.confirmed("cam", &b, start + Duration::from_secs(59));
        assert_eq!(claims.holder("cam", start + Duration::from_secs(59)), Some(&a));
        assert_eq!(claims.holder("cam", start + CLAIM), None);
        claims.confirmed("cam", &b, start + CLAIM);
        assert_eq!(claims.holder("cam", start + CLAIM), Some(&b));
        claims.sweep(start + CLAIM + CLAIM);
        assert!(claims.table.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_so_many_are_remembered() {
        let (a, mut claims, start) = (OriginId::parse("a").unwrap(), Claims::default(), Instant::now());
        (0..=MOST).for_each(|n| claims.learn(&n.to_string(), &a, start));
        assert_eq!(claims.table.len(), MOST);
        tokio::time::advance(CLAIM).await;
        claims.learn("cam", &a, start + CLAIM);
        assert_eq!(claims.table.len(), 1);
    }
}
