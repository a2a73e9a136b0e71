//! How each origin stands, by what was heard of it and when.
//!
//! | standing | when | gets |
//! |---|---|---|
//! | up | its last heartbeat is at most 1.5 intervals old; a given one: its last probe was answered | new streams |
//! | suspect | later than that; one failed to connect to it; the registry lists it no more | new streams only if nobody is up |
//! | draining | it said so, or an operator did | the streams it has |
//! | gone | three intervals without a heartbeat; a given one: three probes in a row; a failure that a probe confirmed | nothing; its streams go to others |
//!
//! A heartbeat or a probe that is answered brings one back from suspect and from gone; what a probe found unreachable,
//! a probe alone, as heartbeats may come through where requests do not.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::probe::Probed;
use super::record::{Kind, MOST_ORIGINS, Origin, OriginRecord};
use crate::record::OriginId;

/// One that is gone is shown in lists for so long.
const REMEMBERED: Duration = Duration::from_secs(60);

/// Probes in a row that a given origin leaves unanswered until it is gone.
const PROBES: u32 = 3;

/// May this origin be asked?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Standing {
    /// Yes.
    Up,
    /// If there is no better one.
    Suspect,
    /// For the streams it has.
    Draining,
    /// No.
    Gone,
}

impl Standing {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Up, Self::Suspect, Self::Draining, Self::Gone];

    /// As it is written in lists, metrics and logs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Suspect => "suspect",
            Self::Draining => "draining",
            Self::Gone => "gone",
        }
    }
}

/// There are [`MOST_ORIGINS`] already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany;

/// Another server calls itself by this id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unlike;

/// Origins by standing.
pub type Counted = BTreeMap<Standing, usize>;

/// What is known of one origin, for lists.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// Who, where, how much.
    pub record: OriginRecord,
    /// Whether it was given by the configuration rather than registered.
    pub is_given: bool,
    /// Whether an operator drains it.
    pub is_drained: bool,
    /// How it stands.
    pub standing: Standing,
    /// Since the last sign of life; `None` if there was none yet.
    pub silent: Option<Duration>,
}

/// What one knows of connecting to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Contact {
    Good,
    /// One failed; nobody has looked again.
    Failed,
    /// A probe failed as well.
    Unreachable,
}

#[derive(Debug)]
struct Entry {
    record: OriginRecord,
    is_given: bool,
    is_drained: bool,
    /// The last sign of life.
    heard: Option<Instant>,
    /// Probes in a row without an answer.
    missed: u32,
    contact: Contact,
    /// The registry does not list it any more.
    is_unlisted: bool,
    /// Sessions that this proxy has there.
    ours: u32,
}

impl Entry {
    fn standing(&self, now: Instant) -> Standing {
        let silent = self.heard.map(|heard| now.saturating_duration_since(heard));
        let is_gone = match (self.is_given, silent) {
            (true, _) => self.missed >= PROBES,
            (false, Some(silent)) => silent >= self.record.lease(),
            (false, None) => true,
        };
        if is_gone || self.contact == Contact::Unreachable {
            return Standing::Gone;
        }
        if self.record.draining || self.is_drained {
            return Standing::Draining;
        }
        let is_late = match (self.is_given, silent) {
            (true, silent) => self.missed > 0 || silent.is_none(),
            (false, silent) => silent.is_none_or(|silent| silent > self.record.late()) || self.is_unlisted,
        };
        if is_late || self.contact == Contact::Failed { Standing::Suspect } else { Standing::Up }
    }
}

/// All origins of one proxy.
#[derive(Debug, Default)]
pub struct Origins {
    table: BTreeMap<OriginId, Entry>,
}

impl Origins {
    /// Takes one of the configuration, of which nothing is known yet.
    ///
    /// # Errors
    /// There are too many.
    pub fn give(&mut self, origin: Origin) -> Result<(), TooMany> {
        let record = OriginRecord {
            origin,
            load: super::Load::default(),
            draining: false,
            interval: probe_interval(),
            instance: String::new(),
        };
        self.insert(record, true).map(|_| ())
    }

    /// A heartbeat, heard `age` ago by this proxy or another. An older one than the last changes nothing.
    ///
    /// # Errors
    /// There are too many.
    pub fn heard(&mut self, record: OriginRecord, age: Duration, now: Instant) -> Result<(), TooMany> {
        let at = now.checked_sub(age).unwrap_or(now);
        let entry = match self.table.get_mut(&record.origin.id) {
            Some(entry) if entry.heard.is_some_and(|heard| heard > at) => return Ok(()),
            Some(entry) => {
                entry.record = record;
                entry
            }
            None => self.insert_swept(record, now)?,
        };
        entry.heard = Some(at);
        entry.missed = 0;
        entry.is_unlisted = false;
        if entry.contact == Contact::Failed {
            entry.contact = Contact::Good;
        }
        Ok(())
    }

    /// Whether a heartbeat may be another server's than that which has its id: another run, elsewhere, while that one lives.
    ///
    /// # Errors
    /// It is.
    pub fn judge(&self, record: &OriginRecord, now: Instant) -> Result<(), Unlike> {
        let Some(entry) = self.table.get(&record.origin.id) else { return Ok(()) };
        let known = &entry.record;
        let is_other = known.instance != record.instance && known.origin.url != record.origin.url;
        let lives = !entry.is_given && matches!(entry.standing(now), Standing::Up | Standing::Draining);
        if is_other && lives { Err(Unlike) } else { Ok(()) }
    }

    /// The registry was asked at `asked` and lists these.
    pub fn listed(&mut self, ids: &BTreeSet<OriginId>, drained: &BTreeSet<OriginId>, asked: Instant) {
        for (id, entry) in &mut self.table {
            entry.is_drained = drained.contains(id);
            if !ids.contains(id) && entry.heard.is_some_and(|heard| heard < asked) {
                entry.is_unlisted = true;
            }
        }
    }

    /// One was asked whether it lives.
    pub fn probed(&mut self, id: &OriginId, probed: &Probed, now: Instant) {
        let Some(entry) = self.table.get_mut(id) else { return };
        match probed {
            Probed::Alive { draining, kind } => {
                entry.heard = Some(entry.heard.map_or(now, |heard| heard.max(now)));
                entry.missed = 0;
                entry.contact = Contact::Good;
                if entry.is_given {
                    entry.record.draining = *draining;
                    entry.record.origin.kind = kind.unwrap_or(entry.record.origin.kind);
                }
            }
            Probed::Silent => {
                entry.missed = entry.missed.saturating_add(1);
                if entry.contact == Contact::Failed {
                    entry.contact = Contact::Unreachable;
                }
            }
        }
    }

    /// One could not be connected to. A probe tells what that means.
    pub fn failed(&mut self, id: &OriginId) {
        if let Some(entry) = self.table.get_mut(id)
            && entry.contact == Contact::Good
        {
            entry.contact = Contact::Failed;
        }
    }

    /// Whether nobody has looked at it since it failed.
    #[must_use]
    pub fn is_failed(&self, id: &OriginId) -> bool {
        self.table.get(id).is_some_and(|entry| entry.contact == Contact::Failed)
    }

    /// An operator drains it, or no more. `false` if nobody knows it.
    pub fn drain(&mut self, id: &OriginId, on: bool) -> bool {
        let entry = self.table.get_mut(id);
        entry.map(|entry| entry.is_drained = on).is_some()
    }

    /// It said goodbye. One of the configuration stays; `false` if nobody knows it.
    pub fn remove(&mut self, id: &OriginId) -> bool {
        match self.table.get(id) {
            Some(entry) if entry.is_given => true,
            Some(_) => self.table.remove(id).is_some(),
            None => false,
        }
    }

    /// How many sessions this proxy has at each.
    pub fn count(&mut self, mut ours: impl FnMut(&OriginId) -> u32) {
        self.table.iter_mut().for_each(|(id, entry)| entry.ours = ours(id));
    }

    /// Forgets those that went a while ago.
    pub fn sweep(&mut self, now: Instant) {
        self.table.retain(|_, entry| {
            let silent = entry.heard.map(|heard| now.saturating_duration_since(heard));
            entry.is_given || silent.is_some_and(|silent| silent < entry.record.lease() + REMEMBERED)
        });
    }

    /// Whom to ask now whether they live: those of the configuration, those that failed, and those whose heartbeats
    /// cannot be heard while the registry is away.
    #[must_use]
    pub fn to_probe(&self, is_away: bool, now: Instant) -> Vec<(Origin, bool)> {
        let is_due = |entry: &&Entry| {
            let is_silent =
                entry.heard.is_none_or(|heard| now.saturating_duration_since(heard) >= entry.record.interval);
            entry.is_given || entry.contact != Contact::Good || (is_away && is_silent && self.remembers(entry, now))
        };
        let due = self.table.values().filter(is_due);
        due.map(|entry| (entry.record.origin.clone(), entry.is_given && entry.record.origin.kind == Kind::Whip))
            .collect()
    }

    /// One that was gone for long need not be asked for ever.
    fn remembers(&self, entry: &Entry, now: Instant) -> bool {
        entry.heard.is_some_and(|heard| now.saturating_duration_since(heard) < entry.record.lease() + REMEMBERED)
    }

    /// How it stands; `None` is not known at all.
    #[must_use]
    pub fn standing(&self, id: &OriginId, now: Instant) -> Option<Standing> {
        Some(self.table.get(id)?.standing(now))
    }

    /// The origin of this id.
    #[must_use]
    pub fn origin(&self, id: &OriginId) -> Option<&Origin> {
        Some(&self.table.get(id)?.record.origin)
    }

    /// Whether there is one for new streams, as far as is known: one that is given counts until it leaves a probe unanswered.
    #[must_use]
    pub fn has_usable(&self, now: Instant) -> bool {
        self.table.values().any(|entry| match entry.standing(now) {
            Standing::Up => true,
            Standing::Suspect => entry.heard.is_some() || entry.missed == 0,
            Standing::Draining | Standing::Gone => false,
        })
    }

    /// Those that are gone.
    #[must_use]
    pub fn gone(&self, now: Instant) -> BTreeSet<OriginId> {
        let gone = self.table.iter().filter(|(_, entry)| entry.standing(now) == Standing::Gone);
        gone.map(|(id, _)| id.clone()).collect()
    }

    /// Whether it takes no more sessions by its own word: it refuses them itself.
    #[must_use]
    pub fn is_stopping(&self, id: &OriginId) -> bool {
        self.table.get(id).is_some_and(|entry| entry.record.draining)
    }

    /// Everything about everyone, by id.
    #[must_use]
    pub fn list(&self, now: Instant) -> Vec<Seen> {
        let seen = |entry: &Entry| Seen {
            record: entry.record.clone(),
            is_given: entry.is_given,
            is_drained: entry.is_drained,
            standing: entry.standing(now),
            silent: entry.heard.map(|heard| now.saturating_duration_since(heard)),
        };
        self.table.values().map(seen).collect()
    }

    /// How many there are of each standing.
    #[must_use]
    pub fn counted(&self, now: Instant) -> Counted {
        let mut counted: Counted = Standing::ALL.into_iter().map(|standing| (standing, 0)).collect();
        for entry in self.table.values() {
            *counted.entry(entry.standing(now)).or_default() += 1;
        }
        counted
    }

    /// Records with their standing and the sessions that this proxy has there.
    pub(super) fn candidates(&self, now: Instant) -> impl Iterator<Item = (&OriginRecord, Standing, u32)> {
        self.table.values().map(move |entry| (&entry.record, entry.standing(now), entry.ours))
    }

    fn insert_swept(&mut self, record: OriginRecord, now: Instant) -> Result<&mut Entry, TooMany> {
        if self.table.len() >= MOST_ORIGINS {
            self.table.retain(|_, entry| entry.is_given || entry.standing(now) != Standing::Gone);
        }
        self.insert(record, false)
    }

    fn insert(&mut self, record: OriginRecord, is_given: bool) -> Result<&mut Entry, TooMany> {
        if self.table.len() >= MOST_ORIGINS {
            return Err(TooMany);
        }
        let entry = Entry {
            record,
            is_given,
            is_drained: false,
            heard: None,
            missed: 0,
            contact: Contact::Good,
            is_unlisted: false,
            ours: 0,
        };
        Ok(self.table.entry(entry.record.origin.id.clone()).or_insert(entry))
    }
}

/// Between two probes of the same origin.
pub(crate) const fn probe_interval() -> Duration {
    Duration::from_secs(2)
}

#[cfg(test)]
mod tests;
