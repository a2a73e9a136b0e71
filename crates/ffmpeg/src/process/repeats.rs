//! What happens again and again is told once, then counted: a process that cannot be started is tried once a second for
//! ever, and the log of the server is not for that alone. No clock: time is an argument. One [`Repeats`] for each process.

use std::time::{Duration, Instant};

/// Between two lines that say the same.
const BETWEEN: Duration = Duration::from_secs(60);

/// What is to be said of something that has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Telling {
    /// It is another thing than the last time.
    New,
    /// It is the same, so often since it was last told.
    Again(u64),
    /// The same, and that was told lately.
    Nothing,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    /// What happened last, when that was told, and how often it has happened since.
    last: Option<(String, Instant, u64)>,
}

impl Repeats {
    /// This has happened.
    pub(super) fn happened(&mut self, now: Instant, what: &str) -> Telling {
        match &mut self.last {
            Some((last, told, times)) if last == what => {
                *times += 1;
                if now.saturating_duration_since(*told) < BETWEEN {
                    return Telling::Nothing;
                }
                *told = now;
                Telling::Again(std::mem::take(times))
            }
            last => {
                *last = Some((what.to_owned(), now, 0));
                Telling::New
            }
        }
    }

    /// Whether it was the same the last time and was not told.
    pub(super) fn is_silent(&self) -> bool {
        self.last.as_ref().is_some_and(|(.., times)| *times > 0)
    }

    /// Somebody ordered otherwise: what comes next is told.
    pub(super) fn forget(&mut self) {
        self.last = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_told_once_a_minute_with_its_number() {
        let (mut repeats, begin) = (Repeats::default(), Instant::now());
        let told: Vec<_> = (0..150)
            .map(|second| (second, repeats.happened(begin + Duration::from_secs(second), "no disk")))
            .filter(|(_, telling)| *telling != Telling::Nothing)
            .collect();
        assert_eq!(told, [(0, Telling::New), (60, Telling::Again(60)), (120, Telling::Again(60))]);
        assert!(repeats.is_silent());
    }

    #[test]
    fn another_thing_is_told_at_once_and_so_is_the_same_after_an_order() {
        let (mut repeats, now) = (Repeats::default(), Instant::now());
        for (what, expected, silent) in [
            ("a", Telling::New, false),
            ("a", Telling::Nothing, true),
            ("b", Telling::New, false),
            ("a", Telling::New, false),
        ] {
            assert_eq!((repeats.happened(now, what), repeats.is_silent()), (expected, silent));
        }
        repeats.forget();
        assert_eq!(repeats.happened(now, "a"), Telling::New);
    }

    #[test]
    fn what_happens_rarely_is_told_each_time() {
        let (mut repeats, begin) = (Repeats::default(), Instant::now());
        repeats.happened(begin, "a");
        for hour in 1..5 {
            assert_eq!(repeats.happened(begin + hour * 60 * BETWEEN, "a"), Telling::Again(1));
        }
    }
}
