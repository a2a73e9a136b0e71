//! How often something may happen, for each of many: token buckets with time as an argument.
//!
//! A bucket is one instant, the moment it would be full again, so a bucket that is full is no entry at all and the table
//! holds only who asked lately.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Swept first at this size; small tables are not worth it.
const SMALL: usize = 1024;
/// Between two sweeps of a table that is full all the same.
const SWEEP: Duration = Duration::from_secs(1);

/// How often one may: `burst` at once, `per_second` from then on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    /// Tokens that come back in a second; 0 is no limit.
    pub per_second: u32,
    /// Tokens a bucket holds, at least one.
    pub burst: u32,
}

/// The buckets of everybody, at most `most` of them. Who comes when the table is full, of buckets that are not, shares
/// one more bucket with all others who do: those that were there before notice nothing.
#[derive(Debug)]
pub(crate) struct Rates<K> {
    rate: Rate,
    most: usize,
    /// When each bucket is full again.
    full_at: HashMap<K, Instant>,
    shared: Instant,
    sweep_at: usize,
    swept: Instant,
}

impl<K: Eq + Hash> Rates<K> {
    pub(crate) fn new(rate: Rate, most: usize, now: Instant) -> Self {
        Self { rate, most, full_at: HashMap::new(), shared: now, sweep_at: SMALL.min(most), swept: now }
    }

    /// Takes a token.
    ///
    /// # Errors
    /// There is none; the next one comes after this time.
    pub(crate) fn take(&mut self, key: K, now: Instant) -> Result<(), Duration> {
        if self.rate.per_second == 0 {
            return Ok(());
        }
        self.make_room(&key, now);
        let (rate, is_full) = (self.rate, self.full_at.len() >= self.most);
        match self.full_at.get_mut(&key) {
            Some(full_at) => rate.take(full_at, now),
            None if !is_full => {
                let mut full_at = now;
                let taken = rate.take(&mut full_at, now);
                self.full_at.insert(key, full_at);
                taken
            }
            None => rate.take(&mut self.shared, now),
        }
    }

    /// Whether there is a token, without taking it.
    ///
    /// # Errors
    /// As [`take`](Self::take) has them.
    pub(crate) fn look(&self, key: &K, now: Instant) -> Result<(), Duration> {
        if self.rate.per_second == 0 {
            return Ok(());
        }
        let is_full = self.full_at.len() >= self.most;
        let mut full_at = self.full_at.get(key).copied().unwrap_or(if is_full { self.shared } else { now });
        self.rate.take(&mut full_at, now)
    }

    /// Forgets the buckets that are full, where a new one may not fit. Each sweep of a growing table is paid for by the
    /// entries that came since the last.
    fn make_room(&mut self, key: &K, now: Instant) {
        let len = self.full_at.len();
        let is_due = len < self.most || now.saturating_duration_since(self.swept) >= SWEEP;
        if len >= self.sweep_at && is_due && !self.full_at.contains_key(key) {
            self.full_at.retain(|_, full_at| *full_at > now);
            self.sweep_at = (2 * self.full_at.len()).max(SMALL).min(self.most);
            self.swept = now;
        }
    }
}

impl Rate {
    fn take(self, full_at: &mut Instant, now: Instant) -> Result<(), Duration> {
        let one = Duration::from_secs(1) / self.per_second;
        let missing = full_at.saturating_duration_since(now) + one;
        match missing.checked_sub(one * self.burst.max(1)) {
            None | Some(Duration::ZERO) => {
                *full_at = now + missing;
                Ok(())
            }
            Some(wait) => Err(wait),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 10, burst: 3 };

    fn taken(rates: &mut Rates<u32>, key: u32, now: Instant) -> usize {
        (0..100).filter(|_| rates.take(key, now).is_ok()).count()
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_what_comes_back() {
        let start = Instant::now();
        let mut rates = Rates::new(RATE, 8, start);
        assert_eq!(taken(&mut rates, 1, start), 3);
        assert_eq!(taken(&mut rates, 2, start), 3, "everybody has a bucket");
        assert_eq!(taken(&mut rates, 1, start + Duration::from_millis(99)), 0);
        assert_eq!(taken(&mut rates, 1, start + Duration::from_millis(250)), 2);
        assert_eq!(taken(&mut rates, 1, start + Duration::from_secs(60)), 3, "and no more than it holds");
    }

    #[test]
    fn the_time_told_is_when_the_next_token_is_there() {
        let start = Instant::now();
        let mut rates = Rates::new(RATE, 8, start);
        taken(&mut rates, 1, start);
        let wait = rates.take(1, start + Duration::from_millis(30)).unwrap_err();
        assert_eq!(wait, Duration::from_millis(70));
        let then = start + Duration::from_millis(30) + wait;
        assert!(rates.take(1, then - Duration::from_nanos(1)).is_err());
        assert!(rates.look(&1, then - Duration::from_nanos(1)).is_err());
        assert!((0..3).all(|_| rates.look(&1, then).is_ok()), "to look costs nothing");
        assert!(rates.take(1, then).is_ok());
        assert!(rates.take(1, then).is_err(), "one, and asking too early has cost nothing");
    }

    #[test]
    fn no_rate_is_no_limit() {
        let start = Instant::now();
        let mut rates = Rates::new(Rate::default(), 8, start);
        assert_eq!(taken(&mut rates, 1, start), 100);
        assert!(rates.full_at.is_empty());
    }

    #[test]
    fn a_full_table_forgets_full_buckets_and_newcomers_share_one() {
        let start = Instant::now();
        let mut rates = Rates::new(RATE, 4, start);
        for key in 0..4 {
            assert_eq!(taken(&mut rates, key, start), 3);
        }
        assert_eq!(taken(&mut rates, 4, start) + taken(&mut rates, 5, start), 3, "of both together");
        assert_eq!(rates.full_at.len(), 4);
        let later = start + Duration::from_millis(200);
        assert_eq!(taken(&mut rates, 0, later), 2, "who was there before notices nothing");
        let much_later = start + Duration::from_secs(2);
        assert_eq!(taken(&mut rates, 5, much_later), 3, "its own");
        assert_eq!(rates.full_at.len(), 1);
    }

    #[test]
    fn a_flood_of_addresses_does_not_grow_the_table() {
        let start = Instant::now();
        let mut rates = Rates::new(RATE, 65_536, start);
        for n in 0..300_000u32 {
            let _ = rates.take(n, start + Duration::from_micros(u64::from(n) * 10));
        }
        // Each bucket is full again after 100 ms: 10 000 of them are not at a time.
        assert!(rates.full_at.len() <= 25_000, "{}", rates.full_at.len());
    }
}
