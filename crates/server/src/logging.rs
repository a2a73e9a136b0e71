//! The log: lines on standard error, filtered by `WHIPSTITCH_LOG`, and a brake for lines that strangers can cause.

use std::io::IsTerminal as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tracing_subscriber::EnvFilter;

/// How often one cause of garbage may be logged. Someone who sends nonsense must not be able to fill a disk; once a
/// second is still often enough to see an attack begin and end.
const PACE: Duration = Duration::from_secs(1);

/// Reads a filter such as `info` or `whipstitch=debug`.
///
/// # Errors
/// One line about what is wrong with it.
pub(crate) fn filter(text: &str) -> Result<EnvFilter, String> {
    // A bare word is a level or, to `EnvFilter`, the name of a module: a misspelt level would silence everything.
    for word in text.split(',').map(str::trim).filter(|word| !word.contains(['=', '['])) {
        let is_level = LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word));
        if !is_level && !word.starts_with("whipstitch") {
            return Err(format!("{word:?} is no level: {}", LEVELS.join(", ")));
        }
    }
    EnvFilter::try_new(text).map_err(|error| format!("{text:?} is no log filter: {error}"))
}

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Starts logging for the rest of the process. A second call (tests in one process) changes nothing.
pub fn start(text: &str) {
    let filter = filter(text).unwrap_or_else(|_| EnvFilter::new("info"));
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colour).with_writer(std::io::stderr).try_init();
}

/// Lets one line a second through for one cause and counts the others.
#[derive(Debug, Default)]
pub(crate) struct Brake(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: Option<Instant>,
    held_back: u64,
}

impl Brake {
    /// `Some(n)` when a line may be written now; `n` events passed silently since the last one.
    pub(crate) fn pass(&self, now: Instant) -> Option<u64> {
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
