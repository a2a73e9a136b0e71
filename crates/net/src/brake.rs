//! A brake for log lines that strangers can cause.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How often one cause of garbage may be logged. Someone who sends nonsense must not be able to fill a disk; once a
/// second is still often enough to see an attack begin and end.
const PACE: Duration = Duration::from_secs(1);

/// Lets one line a second through for one cause and counts the others.
#[derive(Debug, Default)]
pub struct Brake(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: Option<Instant>,
    held_back: u64,
}

impl Brake {
    /// `Some(n)` when a line may be written now; `n` events passed silently since the last one.
    pub fn pass(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if state.last.is_some_and(|last| now.saturating_duration_since(last) < PACE) {
            state.held_back += 1;
            return None;
        }
        state.last = Some(now);
        Some(std::mem::take(&mut state.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "some instant to begin with")]
    fn one_line_a_second_passes_and_tells_of_those_that_did_not() {
        let brake = Brake::default();
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(brake.pass(at(0)), Some(0));
        assert_eq!(brake.pass(at(0)), None);
        assert_eq!(brake.pass(at(999)), None);
        assert_eq!(brake.pass(at(1000)), Some(2));
        assert_eq!(brake.pass(at(1001)), None);
        assert_eq!(brake.pass(at(60_000)), Some(1));
        assert_eq!(brake.pass(at(61_000)), Some(0));
    }
}
