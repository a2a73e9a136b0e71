//! `GET /metrics`: numbers for Prometheus. `docs/metrics.md` names each; a test compares the two.
//!
//! What HTTP counts is counted here. What media counts is asked for at each scrape: the workers' own integers, summed up.
//! A worker that does not answer in time is shown as down, and its part of every sum is what it told last, so that no
//! counter ever goes back.

pub(crate) mod families;
mod media;

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::State as FromState;
use axum::http::Method;
use axum::http::header::{self, HeaderValue};
use axum::response::{IntoResponse, Response};
use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, TextEncoder};
use whipstitch_client::load::{Usage, usage};
use whipstitch_ffmpeg::process::{Exec, LegFailure, Processes};
use whipstitch_stream::StreamKey;

use super::error::{CAPS, Counted, Error};
use super::mounts::MOUNTS;
use super::request::{Named, Request};
use super::{State, streams};
use crate::media::{Measured, Media, Role};
use families::Families;
use media::Last;

/// Streams that have labels of their own. Those that come later are `other`: whoever may publish must not make the number
/// of series grow without bound (S1-B6).
const NAMES: usize = 100;

/// Upper bounds in seconds: answers are made in about a millisecond, and given up after 5 s.
const DURATIONS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0];

/// The counters of HTTP, and what the last scrape left.
pub(super) struct Metrics {
    started: SystemTime,
    requests: IntCounterVec,
    durations: HistogramVec,
    caps: IntCounterVec,
    mismatches: IntCounterVec,
    names: Mutex<HashSet<String>>,
    last: Mutex<Last>,
}

/// What one request was.
pub(super) struct Counting<'a> {
    /// The route's pattern; none if there is no such route.
    pub(super) route: Option<&'a str>,
    pub(super) method: &'a Method,
    /// What the handler found the URL to name.
    pub(super) named: &'a Named,
    pub(super) took: Duration,
    pub(super) response: &'a Response,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let counter = |name, help, labels: &[&str]| {
            IntCounterVec::new(Opts::new(name, help), labels).expect("the names are well-formed")
        };
        let durations = HistogramOpts::new(
            "whipstitch_http_request_duration_seconds",
            "From a request's head to its answer, by what it was for.",
        );
        let durations = HistogramVec::new(durations.buckets(DURATIONS.to_vec()), &["route"]);
        let metrics = Self {
            started: SystemTime::now(),
            requests: counter(
                "whipstitch_http_requests_total",
                "HTTP requests, by what they were for, status and stream.",
                &["route", "code", "stream"],
            ),
            durations: durations.expect("the names are well-formed and the bounds rise"),
            caps: counter(
                "whipstitch_cap_rejections_total",
                "Requests refused because a bound was reached.",
                &["role", "stream", "reason"],
            ),
            mismatches: counter(
                "whipstitch_codec_mismatches_total",
                "Offers refused because not one codec was known to both sides.",
                &["role", "stream", "codec"],
            ),
            names: Mutex::default(),
            last: Mutex::default(),
        };
        // Series that begin with their first event hide that event from `rate()`.
        for role in ["publisher", "subscriber"] {
            for reason in CAPS {
                metrics.caps.with_label_values(&[role, "", reason]);
            }
            for codec in ["video", "audio"] {
                metrics.mismatches.with_label_values(&[role, "", codec]);
            }
        }
        metrics
    }

    /// Counts a request that was answered.
    pub(super) fn count(&self, media: &dyn Media, request: &Counting<'_>) {
        let route = purpose(request.route, request.method);
        let stream = self.label(media, request.named.stream());
        let code = request.response.status();
        self.requests.with_label_values(&[route, code.as_str(), &stream]).inc();
        self.durations.with_label_values(&[route]).observe(request.took.as_secs_f64());
        let Some(counted) = request.response.extensions().get::<Counted>() else { return };
        let Some(role) = mount(request.route).map(|(role, _)| word(role)) else { return };
        if let Some(cap) = counted.cap {
            self.caps.with_label_values(&[role, &stream, cap]).inc();
        }
        for codec in &counted.lacking {
            self.mismatches.with_label_values(&[role, &stream, &codec.to_ascii_lowercase()]).inc();
        }
    }

    /// The name as a label: of streams somebody publishes, or did when they were first asked about, and of a bounded
    /// number of them.
    fn label(&self, media: &dyn Media, stream: Option<&StreamKey>) -> String {
        let Some(stream) = stream else { return String::new() };
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let known = names.contains(stream.as_str())
            || (names.len() < NAMES && media.knows(stream) && names.insert(stream.to_string()));
        if known { stream.to_string() } else { "other".to_owned() }
    }

    fn write(&self, measured: Measured, process: &Process, children: &Children) -> Result<String, Error> {
        let vectors: [&dyn Collector; 4] = [&self.requests, &self.durations, &self.caps, &self.mismatches];
        let mut families: Vec<MetricFamily> = vectors.into_iter().flat_map(Collector::collect).collect();
        let mut more = Families::default();
        self.last.lock().unwrap_or_else(PoisonError::into_inner).tell(measured, &mut more);
        tell_of(process, self.started, &mut more);
        children.tell(&mut more);
        families.extend(more.into_inner());
        families.retain(|family| !family.get_metric().is_empty());
        TextEncoder::new().encode_to_string(&families).map_err(|_| Error::Internal)
    }
}

/// What every command of this program says of its process. Reads files of the system: not for a thread that must not wait.
pub(crate) fn tell_of_process(started: SystemTime, families: &mut Families) {
    tell_of(&Process::read(), started, families);
}

fn tell_of(process: &Process, started: SystemTime, families: &mut Families) {
    families.gauge(
        "whipstitch_build_info",
        "The version; always 1.",
        [(vec![("version", env!("CARGO_PKG_VERSION"))], 1.0)],
    );
    let started = started.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
    families.gauge(
        "whipstitch_process_start_time_seconds",
        "When the server started, as Unix time.",
        [(vec![], started)],
    );
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        let tasks = runtime.metrics().num_alive_tasks();
        families.gauge("whipstitch_tasks", "Tasks of the control plane that have not ended.", [(vec![], tasks as f64)]);
    }
    let Some(Used { usage, files }) = &process.0 else { return };
    families.counter(
        "whipstitch_process_cpu_seconds_total",
        "CPU time used, user and system.",
        [(vec![], usage.cpu.as_secs_f64())],
    );
    families.gauge("whipstitch_process_resident_memory_bytes", "Resident memory.", [(vec![], usage.memory as f64)]);
    families.gauge("whipstitch_process_open_fds", "Open file descriptors.", [(vec![], *files as f64)]);
}

/// What the process uses, as far as the system tells.
struct Process(Option<Used>);

struct Used {
    usage: Usage,
    files: usize,
}

impl Process {
    fn read() -> Self {
        let files = || Some(std::fs::read_dir("/proc/self/fd").ok()?.count());
        Self(usage(std::process::id()).ok().zip(files()).map(|(usage, files)| Used { usage, files }))
    }
}

/// FFmpeg processes, by what they do and how they ended. None has a label of its own: there may be a thousand. Of the streams
/// that they feed some have.
#[derive(Default)]
struct Children {
    states: Vec<(Exec, usize)>,
    ends: BTreeMap<&'static str, u64>,
    failures: Vec<LegFailure>,
}

impl Children {
    fn read(processes: Option<&Processes>) -> Self {
        processes
            .map(|all| Self { states: all.count(), ends: all.ends(), failures: all.leg_failures() })
            .unwrap_or_default()
    }

    fn tell(&self, families: &mut Families) {
        families.gauge(
            "whipstitch_ffmpeg_processes",
            "FFmpeg processes, by what they do.",
            self.states.iter().map(|(exec, count)| (vec![("state", exec.word())], *count as f64)),
        );
        families.counter(
            "whipstitch_ffmpeg_ends_total",
            "Children of FFmpeg processes that ended or could not be started, by how.",
            self.ends.iter().map(|(how, count)| (vec![("reason", *how)], *count as f64)),
        );
        families.counter(
            "whipstitch_ffmpeg_leg_failures_total",
            "Children that ended unordered while they fed a stream, by stream, what they sent there and how they ended.",
            self.failures.iter().map(|one| {
                (vec![("stream", one.stream.as_str()), ("leg", one.leg), ("reason", one.reason)], one.count as f64)
            }),
        );
    }
}

/// `GET /metrics`
pub(super) async fn scrape(FromState(state): FromState<State>, request: Request) -> Result<Response, Error> {
    if let Some(response) = streams::before(&state, &request)? {
        return Ok(response);
    }
    let counted = state.clone();
    let write = move |media: &dyn Media| {
        let children = Children::read(counted.0.settings.processes.as_ref());
        counted.0.metrics.write(media.measure(), &Process::read(), &children)
    };
    let text = state.ask(write).await??;
    let media_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, media_type)], text).into_response())
}

fn word(role: Role) -> &'static str {
    match role {
        Role::Publisher => "publisher",
        Role::Subscriber => "subscriber",
    }
}

/// The role a route of WHIP or WHEP is for, and whether it is a session's.
fn mount(route: Option<&str>) -> Option<(Role, bool)> {
    let is = |mount: &&super::Mount| [Some(mount.endpoint), Some(mount.session)].contains(&route);
    MOUNTS.iter().find(is).map(|mount| (mount.role, route == Some(mount.session)))
}

/// What a request is for, in one word of a fixed set.
fn purpose(route: Option<&str>, method: &Method) -> &'static str {
    match (mount(route), method) {
        (Some(_), &Method::OPTIONS) => "options",
        (Some((Role::Publisher, false)), &Method::POST) => "publish",
        (Some((Role::Publisher, _)), &Method::DELETE) => "unpublish",
        (Some((Role::Subscriber, false)), &Method::POST) => "subscribe",
        (Some((Role::Subscriber, true)), &Method::DELETE) => "unsubscribe",
        (Some((_, true)), &Method::PATCH) => "trickle",
        (Some(_), &Method::GET | &Method::HEAD) => "probe",
        (Some(_), _) => "other",
        (None, _) => match route {
            None => "none",
            Some("/metrics") => "metrics",
            Some("/healthz" | "/readyz") => "health",
            Some("/openapi.json" | "/docs" | "/docs/{file}") => "docs",
            Some(route) if route.starts_with("/api/") => "api",
            Some(_) => "page",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_what_they_are_for() {
        for (route, method, expected) in [
            ("/whip/{stream}", Method::POST, "publish"),
            ("/rtc/v1/whep", Method::POST, "subscribe"),
            ("/whip/{stream}", Method::DELETE, "unpublish"),
            ("/whip/{stream}/{session}", Method::DELETE, "unpublish"),
            ("/whip/{stream}/whep/{session}", Method::DELETE, "unsubscribe"),
            ("/api/v3/whep/{stream}/{session}", Method::PATCH, "trickle"),
            ("/whep/{stream}", Method::OPTIONS, "options"),
            ("/whep/{stream}", Method::HEAD, "probe"),
            ("/whep/{stream}", Method::DELETE, "other"),
            ("/api/v1/streams", Method::GET, "api"),
            ("/watch/{stream}", Method::GET, "page"),
        ] {
            assert_eq!(purpose(Some(route), &method), expected, "{method} {route}");
        }
        assert_eq!(purpose(None, &Method::GET), "none");
    }
}
