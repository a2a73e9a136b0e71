//! Two hundred readers for a minute, and one that hardly ever says that it is alive.

use std::time::{Duration, Instant};

use whipstitch_client::load::{LoadOptions, Publisher, ReadersOptions, readers, usage};
use whipstitch_interop::Gateway;

use super::lasting::stays_with_one_sign_of_life;

/// Readers come and go for so long.
const COMING: Duration = Duration::from_secs(60);

/// Those over UDP that vanish do so within the first part of it: they are noticed after 90 s.
const VANISHING: Duration = Duration::from_secs(25);

/// From the last that vanishes to the end of its session: 90 s of silence, looked at every 5 s, and room for a busy machine.
const SILENCE: Duration = Duration::from_secs(110);

/// Growth that is no leak: the allocator's own.
const SLACK_KIB: u64 = 8 * 1024;

/// What the gateway holds.
#[derive(Debug)]
struct Held {
    memory_kib: u64,
    descriptors: usize,
    subscribers: f64,
    sessions: f64,
}

async fn held(gateway: &Gateway) -> Held {
    let pid = gateway.process().id();
    let memory_kib = usage(pid.unsigned_abs()).expect("it runs").memory / 1024;
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").count();
    let metrics = reqwest::get(gateway.url("/metrics")).await.expect("an answer").text().await.expect("text");
    let sum = |name: &str| {
        let samples = metrics.lines().filter(|line| line.split([' ', '{']).next() == Some(name));
        samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    };
    assert_eq!(sum("whipstitch_worker_panics_total"), 0.0);
    let (subscribers, sessions) = (sum("whipstitch_subscribers"), sum("whipstitch_sessions"));
    Held { memory_kib, descriptors, subscribers, sessions }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_readers_come_and_go_for_a_minute_and_leave_nothing_behind() {
    // A block of ports rests for 10 s: more of them than usual, so that none is waited for.
    let gateway = Gateway::serve(&["--rtp-ports", "20000-29999"]);
    let load = LoadOptions {
        bitrate: 200_000,
        gop: Duration::from_secs(1),
        ..LoadOptions::new(Some(gateway.url("/whip/crowd")), "")
    };
    let whip = gateway.url("/whip/crowd");
    let publisher = Publisher::start(&whip, &load, Instant::now(), Default::default()).await.expect("a publisher");
    let live = |line: &str| (line.contains("session connected") && line.contains("publisher")).then_some(());
    gateway.process().line(Duration::from_secs(20), "a publisher", live);
    let before = held(&gateway).await;

    let lasting = tokio::spawn(stays_with_one_sign_of_life(gateway.rtsp("", "crowd")));
    let crowd = ReadersOptions {
        rtsp_url: gateway.rtsp("", "crowd"),
        sdp_url: gateway.url("/whip/crowd/sdp"),
        readers: 200,
        duration: COMING,
        vanishing: VANISHING,
        seed: 1,
    };
    let crowd = tokio::spawn(readers(crowd));
    tokio::time::sleep(COMING / 2).await;
    let busy = held(&gateway).await;
    let report = crowd.await.expect("it counts what fails");
    println!("{report:#?}\nbusy: {busy:?}");
    assert_eq!((report.failed, &report.first_error), (0, &None));
    assert_eq!((report.lost, report.misplaced, report.corrupt, report.starved), (0, 0, 0, 0));
    assert!(report.attached.iter().all(|attached| *attached > 300) && report.stalled > 50, "all ways were gone");
    // What the readers themselves were too slow for, with two hundred of them in one process.
    assert!(report.missing * 1000 < report.packets, "{} of {}", report.missing, report.packets);
    assert!(report.slowest < Duration::from_secs(2), "{:?}", report.slowest);
    lasting.await.expect("a player that pings every 65 s stays");

    let end = Instant::now() + SILENCE;
    let after = loop {
        let now = held(&gateway).await;
        if now.subscribers == 0.0 && now.sessions == before.sessions && now.descriptors <= before.descriptors + 4 {
            break now;
        }
        assert!(Instant::now() < end, "before: {before:?}, in the end: {now:?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    println!("before: {before:?}, after: {after:?}");
    assert!(after.memory_kib <= busy.memory_kib + SLACK_KIB, "busy: {busy:?}, after: {after:?}");
    publisher.close().await;
    assert_eq!(gateway.stop().code(), Some(0), "{}", gateway.process().said());
}
