//! What the log says of origins: each time one stands otherwise than it was last said.

use std::collections::BTreeMap;
use std::time::Instant;

use tracing::{info, warn};

use super::machine::{Origins, Standing};
use super::record::Origin;
use crate::record::OriginId;

/// Lines of one turn; how many more there would be is said. A site whose network breaks loses all its origins at once.
const MOST_LINES: usize = 20;

/// One origin stands otherwise than before.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Change {
    origin: Origin,
    before: Option<Standing>,
    standing: Standing,
}

/// What was said last of each origin there is.
#[derive(Debug, Default)]
pub(crate) struct News {
    told: BTreeMap<OriginId, Standing>,
}

impl News {
    /// Notes how all stand and tells who stands otherwise; of one that nothing was heard of yet it tells nothing.
    fn changes(&mut self, origins: &Origins, now: Instant) -> Vec<Change> {
        let mut changes = Vec::new();
        for (record, standing, _) in origins.candidates(now) {
            let origin = &record.origin;
            let before = self.told.get(&origin.id).copied();
            if before == Some(standing) {
                continue;
            }
            self.told.insert(origin.id.clone(), standing);
            if before.is_some() || standing != Standing::Suspect {
                changes.push(Change { origin: origin.clone(), before, standing });
            }
        }
        self.told.retain(|id, _| origins.origin(id).is_some());
        changes
    }

    /// Writes what is new into the log, and notes it.
    pub(crate) fn tell(&mut self, origins: &Origins, now: Instant) {
        let changes = self.changes(origins, now);
        for Change { origin, before, standing } in changes.iter().take(MOST_LINES) {
            let (id, url, kind) = (origin.id.as_str(), origin.url.as_str(), origin.kind.word());
            let was = before.map_or("unknown", Standing::word);
            match standing {
                Standing::Up => info!(origin = id, url, kind, was, "an origin is up"),
                Standing::Draining => info!(origin = id, url, was, "an origin drains: it gets no new streams"),
                Standing::Suspect => {
                    warn!(origin = id, url, was, "an origin is suspect: it is late, or refused to be asked")
                }
                Standing::Gone => {
                    warn!(origin = id, url, was, "an origin is gone: it gets nothing until it answers again")
                }
            }
        }
        if let Some(more) = changes.len().checked_sub(MOST_LINES).filter(|more| *more > 0) {
            warn!(more, "as many more origins stand otherwise now");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::probe::Probed;
    use super::super::record::Kind;
    use super::super::record::tests::record;
    use super::*;

    fn said(news: &mut News, origins: &Origins, now: Instant) -> Vec<(String, Standing)> {
        let changes = news.changes(origins, now).into_iter();
        changes.map(|change| (change.origin.id.as_str().to_owned(), change.standing)).collect()
    }

    #[test]
    fn each_state_of_an_origin_is_said_once() {
        let (start, mut news, mut origins) = (Instant::now(), News::default(), Origins::default());
        origins.heard(record("a"), Duration::ZERO, start).unwrap();
        let at = |seconds| start + Duration::from_secs(seconds);
        let a = |standing| vec![("a".to_owned(), standing)];
        assert_eq!(said(&mut news, &origins, start), a(Standing::Up));
        assert_eq!(said(&mut news, &origins, at(1)), []);
        assert_eq!(said(&mut news, &origins, at(4)), a(Standing::Suspect));
        assert_eq!(said(&mut news, &origins, at(6)), a(Standing::Gone));
        assert_eq!(said(&mut news, &origins, at(7)), []);
        origins.heard(record("a"), Duration::ZERO, at(8)).unwrap();
        assert_eq!(said(&mut news, &origins, at(8)), a(Standing::Up));
        origins.remove(&OriginId::parse("a").unwrap());
        assert_eq!(said(&mut news, &origins, at(9)), [], "its goodbye has a line of its own");
        origins.heard(record("a"), Duration::ZERO, at(10)).unwrap();
        assert_eq!(said(&mut news, &origins, at(10)), a(Standing::Up), "it is new again");
    }

    #[test]
    fn one_that_is_given_and_never_answers_is_said_to_be_gone() {
        let (start, mut news, mut origins) = (Instant::now(), News::default(), Origins::default());
        let given = Origin::given(Origin::url("http://10.0.0.2:1").unwrap(), Kind::Whip).unwrap();
        let id = given.id.clone();
        origins.give(given).unwrap();
        for _ in 0..2 {
            assert_eq!(said(&mut news, &origins, start), [], "it may answer yet");
            origins.probed(&id, &Probed::Silent, start);
        }
        origins.probed(&id, &Probed::Silent, start);
        assert_eq!(said(&mut news, &origins, start), [("10.0.0.2:1".to_owned(), Standing::Gone)]);
    }
}
