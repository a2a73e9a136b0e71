//! Durations in buckets that are at most 3 % wide: quantiles of a run of any length in a few kilobytes.

use std::time::Duration;

/// Buckets for each power of two.
const STEPS: u64 = 32;
/// Powers of two above the exact range: up to 2^37 µs, more than a day.
const POWERS: usize = 32;

/// See the module. The unit is a microsecond.
#[derive(Clone, Debug, Default)]
pub(crate) struct Histogram {
    /// Empty until something was recorded.
    buckets: Vec<u64>,
    count: u64,
}

impl Histogram {
    pub(crate) fn record(&mut self, value: Duration) {
        if self.buckets.is_empty() {
            self.buckets = vec![0; STEPS as usize * (POWERS + 1)];
        }
        let last = self.buckets.len() - 1;
        let bucket = bucket(u64::try_from(value.as_micros()).unwrap_or(u64::MAX)).min(last);
        self.buckets[bucket] += 1;
        self.count += 1;
    }

    pub(crate) fn merge(&mut self, other: &Histogram) {
        if self.buckets.is_empty() {
            self.buckets.clone_from(&other.buckets);
        } else {
            self.buckets.iter_mut().zip(&other.buckets).for_each(|(mine, theirs)| *mine += theirs);
        }
        self.count += other.count;
    }

    /// The smallest value that at least this share (0 to 1) of all values does not exceed, rounded down to its bucket.
    /// `None` without values.
    pub(crate) fn quantile(&self, share: f64) -> Option<Duration> {
        let wanted = ((self.count as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        let index = self.buckets.iter().position(|count| {
            seen += count;
            seen >= wanted
        })?;
        Some(Duration::from_micros(lower_bound(index)))
    }
}

/// Values below 32 have a bucket each; above, each power of two has 32.
fn bucket(value: u64) -> usize {
    if value < STEPS {
        return value as usize;
    }
    let power = u64::from(value.ilog2() - STEPS.ilog2());
    (STEPS * (power + 1) + (value >> power) - STEPS) as usize
}

fn lower_bound(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < STEPS {
        return bucket;
    }
    let power = bucket / STEPS - 1;
    (bucket % STEPS + STEPS) << power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_contiguous_and_three_percent_wide() {
        let mut previous = 0;
        for value in 0..200_000u64 {
            let index = bucket(value);
            assert!(index == previous || index == previous + 1, "{value}");
            previous = index;
            let low = lower_bound(index);
            assert!(low <= value && (value - low) * 32 <= value, "{value} in the bucket of {low}");
        }
    }

    #[test]
    fn quantiles_of_a_thousand_values() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        let mut other = Histogram::default();
        for value in 1..=1000 {
            let target = if value % 2 == 0 { &mut histogram } else { &mut other };
            target.record(Duration::from_micros(value));
        }
        histogram.merge(&other);
        for (share, exact) in [(0.0, 1), (0.5, 500), (0.95, 950), (0.99, 990), (1.0, 1000)] {
            let found = histogram.quantile(share).expect("values").as_micros();
            assert!(found <= exact && exact * 31 / 32 <= found, "{share}: {found} for {exact}");
        }
        histogram.record(Duration::MAX);
        assert!(histogram.quantile(1.0) > Some(Duration::from_secs(3600)));
    }
}
