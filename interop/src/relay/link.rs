//! One direction of a bad path: when each datagram leaves, or that it does not.
//!
//! It knows no socket and no clock, and the same seed gives the same fate to the same datagrams.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What a path does to datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weather {
    /// The least time each takes.
    pub delay: Duration,
    /// How much more it may take: evenly spread, each its own, so that those that come closer together overtake each other.
    pub spread: Duration,
    /// How many of a thousand are lost.
    pub loss: u32,
    /// How many are on their way at once. Those that come when it is full are lost.
    pub room: usize,
}

/// What became of the datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fates {
    /// Left at the other end.
    pub passed: u64,
    /// Of them, those that another one had overtaken.
    pub overtaken: u64,
    /// Lost by chance.
    pub lost: u64,
    /// Lost because there was no room.
    pub overflowed: u64,
}

/// One direction, and what is on its way.
#[derive(Debug)]
pub(crate) struct Link<T> {
    weather: Weather,
    dice: Dice,
    /// By when it leaves and how many came before it.
    waiting: BTreeMap<(Instant, u64), T>,
    came: u64,
    /// One more than the last of those that left, in the order in which they came.
    newest: u64,
    fates: Fates,
}

impl<T> Link<T> {
    /// An empty one.
    pub(crate) fn new(weather: Weather, seed: u64) -> Link<T> {
        Link { weather, dice: Dice::new(seed), waiting: BTreeMap::new(), came: 0, newest: 0, fates: Fates::default() }
    }

    /// A datagram comes.
    pub(crate) fn handle(&mut self, now: Instant, datagram: T) {
        // Always both, so that one datagram's fate does not depend on another's.
        let (loss, late) = (self.dice.below(1000), self.dice.below(self.weather.spread.as_micros() as u64 + 1));
        let number = self.came;
        self.came += 1;
        if loss < u64::from(self.weather.loss) {
            self.fates.lost += 1;
        } else if self.waiting.len() >= self.weather.room {
            self.fates.overflowed += 1;
        } else {
            self.waiting.insert((now + self.weather.delay + Duration::from_micros(late), number), datagram);
        }
    }

    /// The next datagram that has left by now; ask again until there is none.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<T> {
        let ((_, number), datagram) = self.waiting.first_entry().filter(|first| first.key().0 <= now)?.remove_entry();
        self.fates.passed += 1;
        self.fates.overtaken += u64::from(number < self.newest);
        self.newest = self.newest.max(number + 1);
        Some(datagram)
    }

    /// When the next one leaves.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.waiting.keys().next().map(|(at, _)| *at)
    }

    /// What became of them so far.
    pub(crate) fn fates(&self) -> Fates {
        self.fates
    }
}

/// xorshift64*: small, and the same on every machine.
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) % bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const ROUGH: Weather =
        Weather { delay: Duration::from_millis(100), spread: Duration::from_millis(20), loss: 50, room: 100 };

    /// What leaves when, in milliseconds, of 10 000 datagrams that come one each millisecond.
    fn run(weather: Weather, seed: u64) -> (Vec<(u64, u64)>, Fates) {
        let (start, mut link) = (Instant::now(), Link::new(weather, seed));
        let mut left = Vec::new();
        for at in 0..11_000 {
            let now = start + at as u32 * MS;
            while let Some(datagram) = link.poll(now) {
                left.push((datagram, at));
            }
            if at < 10_000 {
                link.handle(now, at);
            }
            assert!(link.deadline().is_none_or(|deadline| deadline > now));
        }
        (left, link.fates())
    }

    #[test]
    fn each_takes_the_delay_and_at_most_the_spread_more() {
        let (left, fates) = run(Weather { loss: 0, room: 1000, ..ROUGH }, 1);
        assert_eq!((left.len() as u64, fates.passed), (10_000, 10_000));
        assert!(left.iter().all(|(came, at)| (100..=120).contains(&(at - came))));
        let quick = left.iter().filter(|(came, at)| at - came < 110).count();
        assert!((4500..5500).contains(&quick), "{quick} of 10 000 in the first half of the spread");
    }

    #[test]
    fn those_that_come_closer_together_than_the_spread_overtake_each_other() {
        let (left, fates) = run(Weather { room: 1000, ..ROUGH }, 1);
        let mut newest = 0;
        let mut overtaken = 0;
        for (came, _) in left {
            overtaken += u64::from(came < newest);
            newest = newest.max(came);
        }
        assert_eq!(fates.overtaken, overtaken);
        assert!(overtaken > 5000, "{overtaken} of 10 000");
        let (left, fates) = run(Weather { spread: Duration::ZERO, ..ROUGH }, 1);
        assert!(left.is_sorted() && fates.overtaken == 0);
    }

    #[test]
    fn as_many_as_are_to_be_lost_are() {
        let fates = run(Weather { room: 1000, ..ROUGH }, 1).1;
        assert!((400..600).contains(&fates.lost), "{fates:?}");
        assert_eq!(fates.passed + fates.lost, 10_000);
    }

    #[test]
    fn a_full_path_loses_what_comes() {
        let (left, fates) = run(Weather { spread: Duration::ZERO, loss: 0, room: 50, ..ROUGH }, 1);
        // Of every 100 that come while the first of them is on its way, the first 50 find room.
        assert_eq!((fates.passed, fates.overflowed), (5000, 5000));
        assert!(left.iter().all(|(came, _)| came % 100 < 50), "{left:?}");
    }

    #[test]
    fn the_same_seed_gives_the_same_fate() {
        assert_eq!(run(ROUGH, 7), run(ROUGH, 7));
        assert_ne!(run(ROUGH, 7), run(ROUGH, 8));
    }
}
