//! `serve --join`: this server as an origin of proxies. Each of them hears every two seconds where it is and how much it
//! does, until it says goodbye. A proxy that is away misses that, nothing else.

use std::net::SocketAddr;
use std::num::NonZero;
use std::time::{Duration, Instant};

use nix::unistd::gethostname;
use reqwest::{Client, StatusCode, Url};
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};
use whipstitch_client::load::usage;
use whipstitch_proxy::OriginId;
use whipstitch_proxy::origins::{Load, MOST_STREAMS};
use whipstitch_proxy::trust::Trust;
use whipstitch_webrtc::Gateway;

use crate::config::Config;
use crate::credentials::{Token, random_hex};

/// Between two heartbeats. A proxy takes one that is silent for three of them for gone.
const INTERVAL: Duration = Duration::from_secs(2);
/// For a proxy that refuses who we are: only an operator can change that, and every try costs it a look at a secret.
const REFUSED: Duration = Duration::from_secs(30);
/// For a proxy to answer one.
const PATIENCE: Duration = Duration::from_millis(1500);
/// For all of them to hear the goodbye: the server is waiting.
const GOODBYE: Duration = Duration::from_secs(1);

/// What the server does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Serving,
    Draining,
    Ending,
}

/// The heartbeats of a server that has joined; they end with it.
pub(crate) struct Joined {
    phase: watch::Sender<Phase>,
    beating: JoinHandle<()>,
}

impl Joined {
    /// Begins to send heartbeats to the proxies of the configuration; `None` if there are none.
    pub(crate) fn start(config: &Config, gateway: &Gateway, http: SocketAddr) -> Option<Self> {
        if config.join.is_empty() {
            return None;
        }
        let rtc = gateway.local_addrs().first().map(|rtc| SocketAddr::new(config.rtc.ip(), rtc.port()));
        let origin = Origin {
            id: config
                .origin_id
                .clone()
                .unwrap_or_else(|| name(&gethostname().unwrap_or_default().to_string_lossy(), http.port())),
            http: format!("http://{http}"),
            rtc: rtc.map(|rtc| rtc.to_string()),
            instance: random_hex::<8>(),
            sessions_capacity: u32::try_from(config.limits.viewers).unwrap_or(u32::MAX),
        };
        // With no file of its own there is nothing to be wrong with.
        let trust = Trust::of_this_machine(None).unwrap_or_else(|_| Trust::nobody());
        let client = match trust.client().timeout(PATIENCE).build() {
            Ok(client) => client,
            Err(error) => {
                warn!(%error, "cannot join a proxy");
                return None;
            }
        };
        info!(origin = origin.id.as_str(), proxies = config.join.len(), "joining");
        let proxies =
            config.join.iter().map(|url| Proxy::new(url, &client, config.secret.as_ref(), &origin.id)).collect();
        let (phase, told) = watch::channel(Phase::Serving);
        let beating = tokio::spawn(beat(origin, gateway.clone(), proxies, told));
        Some(Self { phase, beating })
    }

    /// New sessions are refused from now on: proxies are to send none.
    pub(crate) fn drain(&self) {
        self.phase.send_replace(Phase::Draining);
    }

    /// Says goodbye. Takes a second at most.
    pub(crate) async fn end(self) {
        self.phase.send_replace(Phase::Ending);
        let _ = self.beating.await;
    }
}

/// What of a heartbeat stays the same.
struct Origin {
    id: OriginId,
    http: String,
    rtc: Option<String>,
    instance: String,
    sessions_capacity: u32,
}

/// The JSON of `POST /api/v1/origins`.
#[derive(Serialize)]
struct Heartbeat<'a> {
    id: &'a str,
    http: &'a str,
    rtc: Option<&'a str>,
    kind: &'static str,
    load: Load,
    streams: Vec<String>,
    draining: bool,
    interval_seconds: f64,
    instance: &'a str,
}

/// Host and port: what names a server among the origins of a site. What a host name may not be called there is left out.
fn name(host: &str, port: u16) -> OriginId {
    let legal = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let host: String = host.chars().filter(legal).take(64).collect();
    let host = if host.is_empty() { "origin" } else { &host };
    OriginId::parse(&format!("{host}:{port}")).expect("letters, digits and a port")
}

/// One heartbeat after the other.
async fn beat(origin: Origin, gateway: Gateway, proxies: Vec<Proxy>, mut phase: watch::Receiver<Phase>) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut meter = Meter::default();
    let mut names = Names::default();
    let mut courses = vec![Course::default(); proxies.len()];
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            changed = phase.changed() => {
                // Nobody is left to say goodbye for when the server was dropped.
                if changed.is_err() || *phase.borrow() == Phase::Ending {
                    break;
                }
            }
        }
        let draining = *phase.borrow() == Phase::Draining;
        let asked = gateway.clone();
        // Asking the workers may take them half a second.
        let Ok(reading) = tokio::task::spawn_blocking(move || Reading::take(&asked)).await else { break };
        let heartbeat = Heartbeat {
            id: origin.id.as_str(),
            http: &origin.http,
            rtc: origin.rtc.as_deref(),
            kind: "whipstitch",
            load: meter.load(&reading, cores(), origin.sessions_capacity),
            streams: names.some(reading.live),
            draining,
            interval_seconds: INTERVAL.as_secs_f64(),
            instance: &origin.instance,
        };
        let body = serde_json::to_vec(&heartbeat).expect("strings and numbers are JSON");
        let mut sent = JoinSet::new();
        let now = Instant::now();
        for (at, proxy) in proxies.iter().cloned().enumerate().filter(|(at, _)| courses[*at].is_due(now)) {
            let body = body.clone();
            sent.spawn(async move { (at, proxy.send(body).await) });
        }
        while let Some(Ok((at, health))) = sent.join_next().await {
            if courses[at].heard(health, Instant::now()) {
                proxies[at].log(health);
            }
        }
    }
    let goodbyes: JoinSet<()> = proxies.into_iter().map(Proxy::goodbye).collect();
    let _ = tokio::time::timeout(GOODBYE, goodbyes.join_all()).await;
}

/// The cores this process may use; the system may change that while it runs.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

/// A proxy's admin listener.
#[derive(Clone)]
struct Proxy {
    url: Url,
    own: Url,
    client: Client,
    secret: Option<Token>,
}

/// How the last heartbeat went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Good,
    Away,
    Refused(StatusCode),
}

/// How it goes with one proxy.
#[derive(Clone, Copy, Debug, Default)]
struct Course {
    health: Option<Health>,
    /// Not before then.
    next: Option<Instant>,
}

impl Course {
    /// Whether this turn's heartbeat goes there.
    fn is_due(&self, now: Instant) -> bool {
        self.next.is_none_or(|next| next <= now)
    }

    /// So went the last one. Says whether that is new.
    fn heard(&mut self, health: Health, now: Instant) -> bool {
        self.next = health.is_final().then(|| now + REFUSED);
        self.health.replace(health) != Some(health)
    }
}

impl Health {
    /// Whether the proxy would say the same whenever it is asked.
    fn is_final(self) -> bool {
        matches!(self, Self::Refused(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN))
    }
}

impl Proxy {
    fn new(base: &Url, client: &Client, secret: Option<&Token>, id: &OriginId) -> Self {
        let url = base.join("/api/v1/origins").expect("a path is a reference");
        let own = base.join(&format!("/api/v1/origins/{}", id.as_str())).expect("an id is a path");
        Self { url, own, client: client.clone(), secret: secret.cloned() }
    }

    fn with_secret(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        match &self.secret {
            Some(secret) => request.bearer_auth(secret.reveal()),
            None => request,
        }
    }

    async fn send(&self, body: Vec<u8>) -> Health {
        let request = self.client.post(self.url.clone()).header("content-type", "application/json").body(body);
        match self.with_secret(request).send().await {
            Ok(answer) if answer.status().is_success() => Health::Good,
            Ok(answer) => Health::Refused(answer.status()),
            Err(_) => Health::Away,
        }
    }

    async fn goodbye(self) {
        let _ = self.with_secret(self.client.delete(self.own.clone())).send().await;
    }

    /// Says how it is now.
    fn log(&self, health: Health) {
        let proxy = self.url.authority();
        match health {
            Health::Good => info!(proxy, "joined"),
            trouble => warn!(proxy, "{}", in_words(trouble, self.secret.is_some())),
        }
    }
}

/// What is wrong, and what to do about it.
fn in_words(health: Health, has_secret: bool) -> String {
    let again = REFUSED.as_secs();
    match health {
        Health::Good => "joined".to_owned(),
        Health::Away => "the proxy does not answer; heartbeats go on".to_owned(),
        Health::Refused(StatusCode::UNAUTHORIZED) if !has_secret => {
            format!("the proxy wants a --secret, and this server has none; it is asked again each {again} s")
        }
        Health::Refused(StatusCode::UNAUTHORIZED) => {
            format!("the proxy has another --secret; it is asked again each {again} s")
        }
        Health::Refused(StatusCode::FORBIDDEN) => format!(
            "the proxy has no --secret and takes origins of its own machine only; it is asked again each {again} s"
        ),
        Health::Refused(StatusCode::CONFLICT) => {
            "another server has this one's name: each needs one of its own (--origin-id, or its host name)".to_owned()
        }
        Health::Refused(status @ (StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED)) => format!(
            "this is no admin listener of a proxy ({status}): --join wants its --admin address, such as http://10.0.0.1:12025"
        ),
        Health::Refused(status) => format!("the proxy refuses this origin ({status}); heartbeats go on"),
    }
}

/// What a heartbeat is made of, as it is at one moment.
struct Reading {
    at: Instant,
    cpu: Option<Duration>,
    /// Bytes that media workers ever sent; `None` if one did not tell.
    sent: Option<u64>,
    sessions: usize,
    /// Names of streams somebody publishes.
    live: Vec<String>,
}

impl Reading {
    fn take(gateway: &Gateway) -> Self {
        let measured = gateway.measure();
        let told_all = measured.workers.len() == measured.all;
        let list = gateway.directory().list();
        let live = list.into_iter().filter(|entry| entry.publisher.is_some_and(|publisher| publisher.live));
        Self {
            at: Instant::now(),
            cpu: usage(std::process::id()).ok().map(|usage| usage.cpu),
            sent: told_all.then(|| measured.workers.iter().map(|worker| worker.sent.bytes).sum()),
            sessions: measured.counts.publishers + measured.counts.subscribers,
            live: live.map(|entry| entry.key.to_string()).collect(),
        }
    }
}

/// Makes rates of two readings.
#[derive(Default)]
struct Meter {
    last: Option<(Instant, Option<Duration>, Option<u64>)>,
    load: Load,
}

impl Meter {
    fn load(&mut self, reading: &Reading, cores: usize, sessions_capacity: u32) -> Load {
        let last = self.last.replace((reading.at, reading.cpu, reading.sent));
        // What cannot be read is as it was.
        if let Some((at, cpu, sent)) = last {
            let seconds = reading.at.saturating_duration_since(at).as_secs_f64().max(0.001);
            if let (Some(before), Some(now)) = (cpu, reading.cpu) {
                let used = now.saturating_sub(before).as_secs_f64() / seconds;
                self.load.cpu = (used / cores as f64).clamp(0.0, 1.0) as f32;
            }
            if let (Some(before), Some(now)) = (sent, reading.sent) {
                self.load.egress_bps = (now.saturating_sub(before) as f64 * 8.0 / seconds) as u64;
            }
        }
        self.load.sessions = u32::try_from(reading.sessions).unwrap_or(u32::MAX);
        self.load.sessions_capacity = sessions_capacity;
        self.load.streams = u32::try_from(reading.live.len()).unwrap_or(u32::MAX);
        self.load
    }
}

/// As many names as go into a heartbeat; whoever has more tells all of them in turn.
#[derive(Default)]
struct Names {
    from: usize,
}

impl Names {
    fn some(&mut self, mut live: Vec<String>) -> Vec<String> {
        live.sort_unstable();
        if live.len() <= MOST_STREAMS {
            self.from = 0;
            return live;
        }
        let from = self.from % live.len();
        self.from = from + MOST_STREAMS;
        live.rotate_left(from);
        live.truncate(MOST_STREAMS);
        live
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(at: Instant, cpu_ms: u64, sent: Option<u64>) -> Reading {
        Reading { at, cpu: Some(Duration::from_millis(cpu_ms)), sent, sessions: 3, live: vec!["cam".to_owned()] }
    }

    #[test]
    fn load_is_what_was_used_between_two_readings() {
        let start = Instant::now();
        let mut meter = Meter::default();
        let first = meter.load(&reading(start, 5000, Some(1000)), 4, 10);
        assert_eq!((first.cpu, first.egress_bps, first.sessions, first.sessions_capacity), (0.0, 0, 3, 10));
        let second = meter.load(&reading(start + INTERVAL, 9000, Some(251_000)), 4, 10);
        assert_eq!((second.cpu, second.egress_bps, second.streams), (0.5, 1_000_000, 1));
        let unread = meter.load(&reading(start + 2 * INTERVAL, 99_000, None), 4, 10);
        assert_eq!((unread.cpu, unread.egress_bps), (1.0, 1_000_000), "a worker that does not tell sends on");
    }

    #[test]
    fn a_proxy_that_refuses_the_secret_is_asked_rarely_and_as_usual_once_it_takes_it() {
        let (start, mut course) = (Instant::now(), Course::default());
        let refused = Health::Refused(StatusCode::UNAUTHORIZED);
        assert!(course.is_due(start));
        assert!(course.heard(refused, start), "said once");
        assert!(!course.is_due(start + INTERVAL) && !course.is_due(start + REFUSED - INTERVAL));
        assert!(course.is_due(start + REFUSED));
        assert!(!course.heard(refused, start + REFUSED), "and not again");
        assert!(course.heard(Health::Good, start + 2 * REFUSED));
        assert!(course.is_due(start + 2 * REFUSED), "as usual from then on");
        assert!(course.heard(Health::Away, start + 2 * REFUSED) && course.is_due(start + 2 * REFUSED));
    }

    #[test]
    fn a_proxy_that_refuses_is_told_of_in_words_that_help() {
        for (status, has_secret, words) in [
            (401, false, "wants a --secret"),
            (401, true, "another --secret"),
            (403, false, "has no --secret"),
            (404, true, "--admin address"),
            (405, true, "--admin address"),
            (409, true, "--origin-id"),
            (500, true, "500"),
        ] {
            let health = Health::Refused(StatusCode::from_u16(status).unwrap());
            assert!(in_words(health, has_secret).contains(words), "{status}");
        }
    }

    #[test]
    fn more_streams_than_a_heartbeat_holds_are_told_in_turn() {
        let all: Vec<String> = (0..2500).map(|n| format!("{n:04}")).collect();
        let mut names = Names::default();
        let told: std::collections::BTreeSet<String> = (0..3).flat_map(|_| names.some(all.clone())).collect();
        assert_eq!(told.len(), 2500);
        assert_eq!(names.some(all).len(), MOST_STREAMS);
        assert_eq!(names.some(vec!["b".to_owned(), "a".to_owned()]), ["a", "b"]);
    }

    #[test]
    fn a_server_is_named_by_its_host_and_port() {
        assert_eq!(name("cam-1.example.net", 8555).as_str(), "cam-1.example.net:8555");
        assert_eq!(name("büro <b>", 80).as_str(), "brob:80");
        assert_eq!(name("", 1).as_str(), "origin:1");
    }
}
