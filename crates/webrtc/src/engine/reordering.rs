//! How long a number is only waited for before its sender is asked: what seems missing may have been overtaken.
//!
//! A path that reorders would be asked for much that comes anyway, and a path that does not makes viewers wait for nothing.
//! So the wait is learned from what became of the numbers that were missing: how late those came that were only overtaken,
//! and how many were lost. Each counts a little less with every one after it, so a path that changes is learned anew within
//! a hundred of them. libwebrtc keeps a histogram of the same for its NACKs.

use std::time::Duration;

/// One bucket, and the shortest wait: packets of one burst overtake each other by less.
const STEP: Duration = Duration::from_millis(2);

/// Buckets of lateness. What comes later than 50 ms is taken for lost: to wait so long for all that is lost costs more than
/// some requests too many.
const BUCKETS: usize = 25;

/// The wait while nothing is known (protocol.md 8.2).
const UNKNOWN: Duration = Duration::from_millis(10);

/// The share of the newest outcome: what was seen 32 outcomes ago counts a third.
const NEWEST: f32 = 1.0 / 32.0;

/// Needless requests that are put up with: of all that is missing, and for each that is lost. The second is more where
/// hardly anything is overtaken: then all that is lost shall not wait for it.
const OF_ALL: f32 = 1.0 / 40.0;
const OF_LOST: f32 = 1.0 / 4.0;

/// What became of the numbers of one source that were missing.
pub(super) struct Reordering {
    /// The share of those that came this late, by buckets. What is left to 1 was lost.
    late: [f32; BUCKETS],
}

impl Default for Reordering {
    fn default() -> Reordering {
        let mut late = [0.0; BUCKETS];
        // As if all had been overtaken by just so much.
        late[bucket(UNKNOWN) - 1] = 1.0;
        Reordering { late }
    }
}

impl Reordering {
    /// A number came by itself, this long after it was missed.
    pub(super) fn overtaken(&mut self, late: Duration) {
        self.lost();
        if let Some(share) = self.late.get_mut(bucket(late)) {
            *share += NEWEST;
        }
    }

    /// A number was lost: it came because it was asked for, or never.
    pub(super) fn lost(&mut self) {
        self.late.iter_mut().for_each(|share| *share *= 1.0 - NEWEST);
    }

    /// Whether what comes this late makes anybody wait longer.
    pub(super) fn counts(late: Duration) -> bool {
        bucket(late) < BUCKETS
    }

    /// How long to wait, from 2 to 50 ms.
    pub(super) fn wait(&self) -> Duration {
        let lost = 1.0 - self.late.iter().sum::<f32>();
        let mut needless = OF_ALL.max(lost * OF_LOST);
        let last = self.late.iter().rposition(|share| {
            needless -= share;
            needless < 0.0
        });
        STEP * (last.unwrap_or(0) as u32 + 1)
    }
}

fn bucket(late: Duration) -> usize {
    (late.as_micros() / STEP.as_micros()) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// The wait in milliseconds after these outcomes; None is a loss.
    fn learned(reordering: &mut Reordering, outcomes: impl IntoIterator<Item = Option<u32>>) -> u128 {
        for late in outcomes {
            match late {
                Some(late) => reordering.overtaken(MS * late),
                None => reordering.lost(),
            }
        }
        reordering.wait().as_millis()
    }

    #[test]
    fn the_wait_is_as_long_as_nearly_all_that_is_overtaken_needs() {
        for (late, expected) in [(0..1, 2), (0..3, 4), (0..20, 20), (0..30, 30), (30..31, 32), (49..50, 50)] {
            let mut reordering = Reordering::default();
            let outcomes = (0..400).map(|n| Some(late.start + n % (late.end - late.start)));
            assert_eq!(learned(&mut reordering, outcomes), expected, "{late:?}");
        }
    }

    #[test]
    fn it_is_ten_milliseconds_at_first_and_no_longer_where_all_is_lost() {
        let mut reordering = Reordering::default();
        assert_eq!(learned(&mut reordering, []), 10);
        for n in 0..500 {
            assert!(learned(&mut reordering, [None]) <= 10, "{n}");
        }
        assert_eq!(learned(&mut reordering, []), 2);
    }

    #[test]
    fn one_that_was_overtaken_by_more_lengthens_it_at_once_and_is_forgotten() {
        let mut reordering = Reordering::default();
        assert_eq!(learned(&mut reordering, [Some(17)]), 18);
        assert_eq!(learned(&mut reordering, [Some(3); 40]), 10);
        assert_eq!(learned(&mut reordering, [Some(3); 400]), 4);
    }

    #[test]
    fn where_most_is_lost_it_does_not_wait_for_the_few_that_are_not() {
        let mut reordering = Reordering::default();
        let outcomes = (0..1000).map(|n| (n % 10 == 0).then_some(40));
        assert_eq!(learned(&mut reordering, outcomes), 2);
    }

    #[test]
    fn what_is_later_than_it_would_ever_wait_counts_as_lost() {
        let mut reordering = Reordering::default();
        assert_eq!(learned(&mut reordering, [Some(50); 500]), 2);
        assert!(Reordering::counts(49 * MS) && !Reordering::counts(50 * MS));
    }
}
