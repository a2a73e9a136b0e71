//! What the admin listener shows as JSON: no URL of a session, no ufrag, no password.

use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;
use whipstitch_proxy::Role;
use whipstitch_proxy::origins::{Load, Seen};
use whipstitch_proxy::state::State;

/// Rows of one answer; how many more there are is said. Whoever has more of them wants the metrics.
const MOST: usize = 10_000;

#[derive(Serialize)]
pub(super) struct Origins {
    origins: Vec<Origin>,
    /// Whether the registry answers, and so whether what other proxies know is here.
    registry_up: bool,
}

#[derive(Serialize)]
struct Origin {
    id: String,
    http: String,
    rtc: Option<String>,
    kind: &'static str,
    state: &'static str,
    /// Of the configuration, rather than registered.
    given: bool,
    /// By an operator.
    drained: bool,
    load: Load,
    /// Since the last sign of life.
    silent_seconds: Option<f64>,
}

#[derive(Serialize)]
pub(super) struct Streams {
    streams: Vec<Stream>,
    more: usize,
}

#[derive(Serialize)]
struct Stream {
    name: String,
    origin: String,
    /// Through this proxy.
    sessions: usize,
}

#[derive(Serialize)]
pub(super) struct Sessions {
    sessions: Vec<Session>,
    more: usize,
}

#[derive(Serialize)]
struct Session {
    stream: String,
    role: &'static str,
    origin: String,
    rtc: String,
    created: String,
}

pub(super) fn origins(state: &State) -> Origins {
    let origins = state.origins().into_iter().map(origin).collect();
    Origins { origins, registry_up: !state.is_away() }
}

fn origin(seen: Seen) -> Origin {
    let record = seen.record;
    Origin {
        id: record.origin.id.as_str().to_owned(),
        http: record.origin.url.to_string(),
        rtc: record.origin.rtc.map(|rtc| rtc.to_string()),
        kind: record.origin.kind.word(),
        state: seen.standing.word(),
        given: seen.is_given,
        drained: seen.is_drained,
        load: record.load,
        silent_seconds: seen.silent.map(|silent| (silent.as_secs_f64() * 10.0).round() / 10.0),
    }
}

pub(super) fn streams(state: &State) -> Streams {
    let all = state.streams();
    let more = all.len().saturating_sub(MOST);
    let shown = all.into_iter().take(MOST).map(|seen| Stream {
        name: seen.stream,
        origin: seen.origin.as_str().to_owned(),
        sessions: seen.sessions,
    });
    Streams { streams: shown.collect(), more }
}

pub(super) fn sessions(state: &State) -> Sessions {
    let mut all = state.records();
    all.sort_by(|one, other| (&one.stream, one.created_ms).cmp(&(&other.stream, other.created_ms)));
    let more = all.len().saturating_sub(MOST);
    let shown = all.into_iter().take(MOST).map(|session| Session {
        stream: session.stream.clone(),
        role: word(session.role),
        origin: session.origin.as_str().to_owned(),
        rtc: session.rtc.to_string(),
        created: created(session.created_ms),
    });
    Sessions { sessions: shown.collect(), more }
}

fn word(role: Role) -> &'static str {
    match role {
        Role::Publisher => "publisher",
        Role::Viewer => "viewer",
    }
}

/// RFC 3339. What another proxy wrote may be any number: beyond the year 9999 it is no time.
fn created(ms: u64) -> String {
    let last = Duration::from_secs(253_402_300_799);
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(ms).min(last)).to_string()
}
