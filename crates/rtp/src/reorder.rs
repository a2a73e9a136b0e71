//! Packets of one track into the order of their numbers, for those who cannot put them there themselves.
//!
//! What comes in order passes at once and costs nothing. Behind a gap packets are held until what is missing comes, until
//! the first of them has waited too long, or until there are too many: then the gap stays one, and what comes of it later
//! is dropped. So there may be gaps in what passes, but never a step back.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Bounds of a [`Reorder`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Packets held; one more, and the gap before the first of them is passed.
    pub packets: usize,
    /// How long a packet is held.
    pub wait: Duration,
}

impl Default for Limits {
    /// A repair by NACK takes a round trip: 100 ms covers all but the worst paths, and is what FFmpeg waits by default
    /// (`max_delay`), so that it never sees both delays. 512 packets are 100 ms of 50 Mbit/s.
    fn default() -> Self {
        Self { packets: 512, wait: Duration::from_millis(100) }
    }
}

/// What is to become of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offered {
    /// It is the next: it passes now. Then whatever [`Reorder::pop`] gives.
    Next,
    /// It is held.
    Held,
    /// It is there already, or its place was passed: it is dropped.
    Dropped,
}

/// The packets of one track that wait for others.
#[derive(Debug)]
pub struct Reorder<T> {
    limits: Limits,
    /// The number that passes next; `None` before the first.
    next: Option<u64>,
    /// So does any above it.
    any: bool,
    /// By number, all above `next`.
    held: VecDeque<Held<T>>,
    /// Numbers that were passed without a packet.
    missing: u64,
}

#[derive(Debug)]
struct Held<T> {
    seq: u64,
    since: Instant,
    item: T,
}

impl<T> Reorder<T> {
    /// Nothing held; the first packet passes whatever its number.
    pub fn new(limits: Limits) -> Self {
        Self { limits, next: None, any: false, held: VecDeque::new(), missing: 0 }
    }

    /// Takes the number of a packet; `hold` makes what is kept if it has to wait.
    pub fn offer(&mut self, now: Instant, seq: u64, hold: impl FnOnce() -> T) -> Offered {
        match self.next {
            Some(next) if seq < next => return Offered::Dropped,
            Some(next) if seq > next && !self.any => {}
            _ => {
                self.any = false;
                self.next = seq.checked_add(1);
                return Offered::Next;
            }
        }
        // Mostly the newest; a search from the end finds its place in a step or two.
        let later = self.held.iter().rev().take_while(|held| held.seq >= seq).count();
        let place = self.held.len() - later;
        if self.held.get(place).is_some_and(|held| held.seq == seq) {
            return Offered::Dropped;
        }
        self.held.insert(place, Held { seq, since: now, item: hold() });
        Offered::Held
    }

    /// What passes at `now` of those held; ask again until `None`.
    pub fn pop(&mut self, now: Instant) -> Option<T> {
        let first = self.held.front()?;
        let next = self.next.unwrap_or(first.seq);
        if first.seq != next && self.held.len() <= self.limits.packets && self.deadline().is_some_and(|at| now < at) {
            return None;
        }
        let Held { seq, item, .. } = self.held.pop_front()?;
        self.missing += seq - next;
        self.next = seq.checked_add(1);
        Some(item)
    }

    /// When [`pop`](Self::pop) has something to give even if nothing comes.
    pub fn deadline(&self) -> Option<Instant> {
        self.held.iter().map(|held| held.since).min().map(|since| since + self.limits.wait)
    }

    /// Everything below this number has passed another way, or never will.
    pub fn skip_to(&mut self, seq: u64) {
        self.next = self.next.max(Some(seq));
        self.any = false;
        while self.held.front().is_some_and(|held| held.seq < seq) {
            self.held.pop_front();
        }
    }

    /// What is missing now will not come, and what was held for it is dropped: the next packet passes, whatever its number,
    /// unless it would be a step back.
    pub fn skip(&mut self) {
        self.any = true;
        self.held.clear();
    }

    /// Numbers that were passed without a packet.
    pub fn missing(&self) -> u64 {
        self.missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const LIMITS: Limits = Limits { packets: 4, wait: Duration::from_millis(100) };

    struct Scene {
        now: Instant,
        order: Reorder<u64>,
    }

    impl Scene {
        fn new() -> Self {
            Self { now: Instant::now(), order: Reorder::new(LIMITS) }
        }

        /// What passes when these come one after the other.
        fn passes(&mut self, numbers: &[u64]) -> Vec<u64> {
            let mut passed = Vec::new();
            for seq in numbers {
                if self.order.offer(self.now, *seq, || *seq) == Offered::Next {
                    passed.push(*seq);
                }
                passed.extend(self.rest());
            }
            passed
        }

        fn rest(&mut self) -> Vec<u64> {
            std::iter::from_fn(|| self.order.pop(self.now)).collect()
        }
    }

    #[test]
    fn what_comes_out_of_order_passes_in_order() {
        let mut scene = Scene::new();
        assert_eq!(scene.passes(&[10, 11, 13, 14, 12, 15]), [10, 11, 12, 13, 14, 15]);
        assert_eq!(scene.passes(&[18, 17]), []);
        assert_eq!(scene.passes(&[16]), [16, 17, 18]);
        assert_eq!((scene.order.missing(), scene.order.deadline()), (0, None));
    }

    #[test]
    fn repeats_and_what_comes_too_late_are_dropped() {
        let mut scene = Scene::new();
        assert_eq!(scene.passes(&[10, 10, 12, 12, 9, 11, 12, 11]), [10, 11, 12]);
    }

    #[test]
    fn a_gap_stays_one_after_the_wait() {
        let mut scene = Scene::new();
        assert_eq!(scene.passes(&[10, 12]), [10]);
        scene.now += 60 * MS;
        assert_eq!(scene.passes(&[15]), []);
        assert_eq!(scene.order.deadline(), Some(scene.now + 40 * MS), "of the first that waits");
        scene.now += 40 * MS;
        assert_eq!(scene.rest(), [12]);
        assert_eq!(scene.order.deadline(), Some(scene.now + 60 * MS));
        assert_eq!(scene.passes(&[11, 14, 13]), [13, 14, 15], "never a step back");
        assert_eq!(scene.order.missing(), 1);
    }

    #[test]
    fn no_more_are_held_than_the_limit() {
        let mut scene = Scene::new();
        assert_eq!(scene.passes(&[10, 12, 13, 14, 15]), [10]);
        assert_eq!(scene.passes(&[16]), [12, 13, 14, 15, 16], "the fifth makes them pass the gap");
        assert_eq!(scene.passes(&[1_000_000, u64::MAX]), []);
        assert_eq!(scene.order.held.len(), 2);
    }

    #[test]
    fn after_a_skip_any_number_passes_that_is_no_step_back() {
        let mut scene = Scene::new();
        scene.order.skip();
        assert_eq!(scene.passes(&[10, 11, 13]), [10, 11]);
        scene.order.skip();
        assert_eq!(scene.passes(&[9, 11, 13, 12]), [13], "nothing that came before, be it late or twice");
        assert_eq!(scene.passes(&[15, 14]), [14, 15], "and then the order counts again");
    }

    #[test]
    fn what_has_passed_another_way_is_not_waited_for() {
        let mut scene = Scene::new();
        assert_eq!(scene.passes(&[10, 13, 15]), [10]);
        scene.order.skip_to(15);
        assert_eq!(scene.rest(), [15]);
        assert_eq!(scene.passes(&[13, 14, 16]), [16]);
        scene.order.skip_to(3);
        assert_eq!(scene.passes(&[17]), [17], "never back");
    }
}
