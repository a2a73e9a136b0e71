//! What an attacker's machine sends to a proxy moves nobody's media and makes the proxy send nothing: neither to the
//! attacker, nor to an address that the attacker took the name of.

use std::time::{Duration, Instant};

use whipstitch_interop::{Gateway, Host, Lan, Process, Proxy};

use super::{PATIENCE, more_pictures, pictures};
use crate::clients::{client_on, script};

/// What a viewer does not see, on a machine that runs other tests as well.
const UNNOTICED: u64 = 2000;

/// Datagrams of each kind that `attack.py` sends.
const EACH: f64 = 200.0;

/// Requests that it makes up the names for.
const FLOOD: f64 = 5000.0;

/// What one network may have one worker look up in a second.
const LOOKUPS: f64 = 128.0;

/// Lines of the log that thousands of datagrams may lead to.
const LINES: usize = 20;

fn start(host: &Host, name: &str, args: &[&str]) -> Process {
    Process::start(name, &host.inside(script(name).args(args)))
}

/// The value of a metric, by its name and labels.
fn metric(page: &str, name: &str) -> f64 {
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {page}"))
}

fn dropped(page: &str, reason: &str) -> f64 {
    metric(page, &format!("whipstitch_proxy_datagrams_dropped_total{{reason=\"{reason}\"}}"))
}

#[test]
fn an_attacker_moves_no_media_gets_none_and_reflects_none() {
    let lan = Lan::new();
    let [edge, home, viewer, sender, attacker, bystander] = [11, 21, 31, 32, 66, 77].map(|number| lan.host(number));
    let http = home.at(8555).to_string();
    let rtc = home.at(8189).to_string();
    let _origin = Gateway::inside(home.network(), &["--http", &http, "--rtc", &rtc, "--open-publish"]);
    let (entry, media) = (edge.at(11985).to_string(), edge.at(18000).to_string());
    let proxy =
        Proxy::inside(edge.network(), &["--http", &entry, "--rtc", &media, "--origin", &format!("http://{http}")]);
    let metrics = || edge.ask("GET", &proxy.admin("/metrics"), &[], "").body;

    let publisher = client_on(&sender, "aiortc_publish", &format!("http://{entry}/whip/scene"), &["--video", "VP8"]);
    let whep = format!("http://{entry}/whep/scene");
    publisher.line(PATIENCE, "a connection", |line| (line == "state connected").then_some(()));
    let capture = start(&viewer, "capture", &["18000"]);
    capture.line(PATIENCE, "its ears", |line| (line == "ready").then_some(()));
    let victim = client_on(&viewer, "aiortc_watch", &whep, &[]);
    more_pictures(&victim, "pictures before the attack", 0, 60);
    let (port, check) = capture.line(PATIENCE, "a check", |line| {
        let (port, bytes) = line.strip_prefix("check ")?.split_once(' ')?;
        Some((port.to_owned(), bytes.to_owned()))
    });
    let at = format!("{}:{port}", viewer.ip());
    let third = bystander.ip().to_string();
    let target = [&*media, "--captured", &check, "--victim", &at, "--bystander", &third];

    // What is allowed is counted, moves its own media, and is answered: so would be what is not.
    let before = metrics();
    let own = start(&attacker, "attack", &[&media, "--own", &whep]);
    own.line(PATIENCE, "answers to its own checks", |line| (line == "own session: 2 answers").then_some(()));
    assert_eq!(own.end(PATIENCE).code(), Some(0));
    let moved = "whipstitch_proxy_addresses_moved_total";
    let allowed = metrics();
    assert_eq!(metric(&allowed, moved) - metric(&before, moved), 2.0, "a session of one's own moves");
    assert_eq!(
        dropped(&allowed, "replayed") - dropped(&before, "replayed"),
        1.0,
        "even one's own check from elsewhere"
    );

    let counts = [&attacker, &bystander].map(|host| (host, host.count_udp(edge.ip())));
    let seen = pictures(&victim);
    let (begun, lines) = (Instant::now(), proxy.process().said().lines().count());
    let elsewhere = start(&attacker, "attack", &target);
    elsewhere.line(PATIENCE, "the end of the attack", |line| (line == "came back 0").then_some(()));
    // The same from the machine of the viewer: other ports of the same address.
    let beside = start(&viewer, "attack", &target);
    beside.line(PATIENCE, "the end of the attack from beside", |line| (line == "came back 0").then_some(()));
    let took = begun.elapsed();
    let pause = more_pictures(&victim, "pictures after the attack", pictures(&victim).max(seen), 30);
    let after = metrics();
    eprintln!("attacked for {took:?}: longest pause {pause} ms");
    assert!(pause < UNNOTICED, "the viewer's pictures go on: {pause} ms");
    for (host, rules) in &counts {
        assert_eq!(host.counted(rules), 0, "datagrams from the proxy to {}", host.ip());
    }

    let grown = |name: &str| metric(&after, name) - metric(&allowed, name);
    assert_eq!(grown(moved), 0.0, "no address moved");
    assert_eq!(grown("whipstitch_proxy_origin_sockets_opened_total"), 0.0, "no socket was opened");
    assert_eq!(grown("whipstitch_proxy_worker_panics_total"), 0.0);
    let begun = grown("whipstitch_proxy_sessions_begun_total");
    assert_eq!(begun, 0.0, "no session began");
    for (reason, at_least) in
        [("replayed", 2.0 * EACH), ("integrity", 4.0 * EACH), ("unbound", 1.5 * EACH), ("malformed", EACH)]
    {
        let dropped = dropped(&after, reason) - dropped(&allowed, reason);
        eprintln!("{reason}: {dropped}");
        assert!(dropped >= at_least, "dropped as {reason}: {dropped} of at least {at_least}");
    }
    let nobody = ["unknown_pair", "lookup_pending", "lookups_full"];
    let nobody: f64 = nobody.iter().map(|reason| dropped(&after, reason) - dropped(&allowed, reason)).sum();
    assert!(nobody >= 2.0 * FLOOD * 0.9, "requests of nobody's sessions: {nobody}");
    let looked = grown("whipstitch_proxy_session_lookups_total");
    let workers = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    // Two addresses, in each second that had begun.
    let most = LOOKUPS * workers * 2.0 * (took.as_secs_f64().ceil() + 1.0);
    eprintln!("looked up {looked} of {nobody}, at most {most}");
    assert!(looked <= most, "look-ups: {looked} of at most {most}");
    let said = proxy.process().said().lines().count() - lines;
    assert!(said <= LINES, "the log has {said} more lines");
    assert_eq!(edge.ask("GET", &format!("http://{entry}/readyz"), &[], "").status, 200, "the proxy goes on");
    assert!(took < Duration::from_secs(60), "{took:?}");
}
