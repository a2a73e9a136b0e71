//! What of one source is missing, and when its sender is asked for it (RFC 4585 6.2.1, protocol.md 8.2).
//!
//! A number is missing once a later one has come. It is asked for after a moment, since it may only be overtaken (how long
//! that takes on this path is learned: [`Reordering`]), and again after each time that an answer takes, growing by half. It is given up after [`AGE`], after [`TRIES`], or when the stream
//! could not place it any more. The engine's own register reaches 100 packets and asks five times: at 8 Mbit/s that is
//! 125 ms of a path.
//!
//! A sender that leaps in its numbers must not cause a flood of requests: what is missing is bounded by [`MOST`], and of a
//! leap that is longer nothing is asked for.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::reordering::Reordering;
use crate::egress::srtp::WINDOW;

/// Requests for one source are never closer, so that scattered losses share one packet.
const PACE: Duration = Duration::from_millis(10);

/// The shortest and the longest time that an answer is waited for before the number is asked for again.
const SOONEST: Duration = Duration::from_millis(20);
const LATEST: Duration = Duration::from_secs(1);

/// The time of an answer while nothing is known of it.
const UNKNOWN: Duration = Duration::from_millis(100);

/// After this a number is not asked for any more: no viewer waits so long.
const AGE: Duration = Duration::from_secs(1);

/// Requests for one number.
const TRIES: u32 = 10;

/// Numbers missing at once, the newest: half a second of 8 Mbit/s is 417 packets. A path that lost more is not to be filled
/// with resends.
const MOST: usize = 512;

/// Packets in doubt at once; beyond that the oldest is taken for an answer. As many come within a second of 800 packets on a
/// path where one in twelve is in doubt.
const DOUBTS: usize = 64;

/// How a packet came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// By RTX: as an answer.
    Repaired,
    /// Under its own number, and its sender resends by RTX: by itself.
    Itself,
    /// Under its own number, as its sender resends too.
    Either,
}

impl Came {
    /// `rtx` says whether the packet came by RTX, `resends_by_rtx` whether resends of its sender do.
    pub(super) fn by(rtx: bool, resends_by_rtx: bool) -> Came {
        match (rtx, resends_by_rtx) {
            (true, _) => Came::Repaired,
            (false, true) => Came::Itself,
            (false, false) => Came::Either,
        }
    }
}

/// A packet that came after it had been asked for, by itself or as an answer. If it comes again, that is the answer.
struct Doubt {
    index: u64,
    /// How long after it was missed it came.
    late: Duration,
    asked: Instant,
    came: Instant,
}

/// A number that has not come.
struct Gap {
    index: u64,
    /// When it was missed.
    since: Instant,
    /// When it is asked for, or given up.
    due: Instant,
    /// When it was asked for first.
    asked: Option<Instant>,
    tries: u32,
}

/// What is missing of one source.
#[derive(Default)]
pub(super) struct Missing {
    newest: Option<u64>,
    /// In the order of their numbers, [`MOST`] at most: then the oldest are given up.
    gaps: VecDeque<Gap>,
    /// No gap is due before.
    next: Option<Instant>,
    asked: Option<Instant>,
    /// How long answers take, smoothed: with the sender's own delay, and known where it reports nothing.
    answer: Option<Duration>,
    given_up: Option<u64>,
    reordering: Reordering,
    /// In the order of their coming, [`DOUBTS`] at most.
    doubts: VecDeque<Doubt>,
}

impl Missing {
    /// A packet has come, for the first time.
    pub(super) fn arrived(&mut self, now: Instant, index: u64, came: Came) {
        let newest = *self.newest.get_or_insert(index);
        if index <= newest {
            self.filled(now, index, came);
            return;
        }
        self.newest = Some(index);
        self.settle(now);
        if index - newest > MOST as u64 {
            self.gaps.clear();
            self.given_up = Some(index - 1);
        } else if index - newest > 1 {
            let missed = (index - newest - 1) as usize;
            self.give_up((self.gaps.len() + missed).saturating_sub(MOST));
            let due = now + self.reordering.wait();
            self.gaps.extend((newest + 1..index).map(|index| Gap { index, since: now, due, asked: None, tries: 0 }));
            self.wake(due);
        }
        let unplaceable = self.gaps.iter().take_while(|gap| gap.index + WINDOW <= index).count();
        self.give_up(unplaceable);
    }

    fn filled(&mut self, now: Instant, index: u64, came: Came) {
        let Ok(at) = self.gaps.binary_search_by_key(&index, |gap| gap.index) else { return };
        let Some(gap) = self.gaps.remove(at) else { return };
        let late = now.saturating_duration_since(gap.since);
        match (came, gap.asked) {
            (Came::Itself, _) | (Came::Either, None) => self.reordering.overtaken(late),
            (Came::Either, Some(asked)) if Reordering::counts(late) => {
                if self.doubts.len() == DOUBTS {
                    self.settle_first();
                }
                self.doubts.push_back(Doubt { index, late, asked, came: now });
            }
            (Came::Either | Came::Repaired, Some(asked)) => self.answered(asked, now),
            // Whether it was lost is not known: senders fill up with repairs of what they like.
            (Came::Repaired, None) => {}
        }
    }

    /// A packet has come for the second time under its own number.
    pub(super) fn came_again(&mut self, now: Instant, index: u64) {
        let Some(at) = self.doubts.iter().position(|doubt| doubt.index == index) else { return };
        if let Some(doubt) = self.doubts.remove(at) {
            self.took(doubt.asked, now);
            self.reordering.overtaken(doubt.late);
        }
    }

    /// Whether it matters that this packet comes again.
    pub(super) fn is_in_doubt(&self, index: u64) -> bool {
        self.doubts.iter().any(|doubt| doubt.index == index)
    }

    /// Takes for answers what has not come again for as long as anything is asked for.
    fn settle(&mut self, now: Instant) {
        while self.doubts.front().is_some_and(|doubt| now.saturating_duration_since(doubt.came) >= AGE) {
            self.settle_first();
        }
    }

    fn settle_first(&mut self) {
        if let Some(doubt) = self.doubts.pop_front() {
            self.answered(doubt.asked, doubt.came);
        }
    }

    /// What was lost came because it was asked for.
    fn answered(&mut self, asked: Instant, came: Instant) {
        self.took(asked, came);
        self.reordering.lost();
    }

    /// An answer took so long, from the first request on: which one was answered cannot be known, and the first one mostly is.
    fn took(&mut self, asked: Instant, came: Instant) {
        let took = came.saturating_duration_since(asked).min(LATEST);
        self.answer = Some(self.answer.map_or(took, |known| (known * 7 + took) / 8));
    }

    /// Puts what is to be asked for now into `numbers`. `rtt` is the round-trip time, if it was measured.
    pub(super) fn poll(&mut self, now: Instant, rtt: Option<Duration>, numbers: &mut Vec<u16>) {
        if self.next.is_none_or(|next| now < next) {
            return;
        }
        let wait = self.answer.max(rtt).map_or(UNKNOWN, |wait| (wait + wait / 8).clamp(SOONEST, LATEST));
        let (mut next, mut given_up) = (None::<Instant>, None);
        let before = numbers.len();
        self.gaps.retain_mut(|gap| {
            if gap.due <= now {
                if gap.tries == TRIES || now.saturating_duration_since(gap.since) >= AGE {
                    given_up = Some(gap.index);
                    self.reordering.lost();
                    return false;
                }
                gap.asked.get_or_insert(now);
                gap.due = now + (0..gap.tries).fold(wait, |wait, _| (wait + wait / 2).min(LATEST));
                gap.tries += 1;
                numbers.push(gap.index as u16);
            }
            next = Some(next.map_or(gap.due, |next| next.min(gap.due)));
            true
        });
        self.given_up = self.given_up.max(given_up);
        if numbers.len() > before {
            self.asked = Some(now);
        }
        self.next = None;
        next.into_iter().for_each(|next| self.wake(next));
    }

    /// When [`Missing::poll`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.next
    }

    /// The highest number that was given up since this was asked last.
    pub(super) fn take_given_up(&mut self) -> Option<u64> {
        self.given_up.take()
    }

    /// What is missing so far is nobody's concern any more.
    pub(super) fn forget(&mut self) {
        self.gaps.clear();
        self.doubts.clear();
        (self.next, self.given_up) = (None, None);
    }

    /// Gives up the oldest.
    fn give_up(&mut self, count: usize) {
        let last = self.gaps.drain(..count).next_back();
        self.given_up = self.given_up.max(last.map(|gap| gap.index));
    }

    fn wake(&mut self, at: Instant) {
        let at = self.asked.map_or(at, |asked| at.max(asked + PACE));
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }
}

#[cfg(test)]
mod tests;
