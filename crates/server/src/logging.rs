//! The log: lines on standard error, filtered by `WHIPSTITCH_LOG`, and a [`Brake`] for lines that strangers can cause.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
pub(crate) use whipstitch_net::brake::Brake;

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
