//! Fifty processes for two minutes.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use whipstitch_client::load::usage;
use whipstitch_interop::Gateway;

use super::kit::{PATIENCE, TOKEN, ask, children, clock, command, define, state};

/// What the gateway holds.
#[derive(Debug)]
struct Held {
    memory_kib: u64,
    descriptors: usize,
    threads: usize,
    ports: u64,
    tasks: usize,
}

async fn held(gateway: &Gateway) -> Held {
    let pid = gateway.process().id();
    let count = |folder: &str| std::fs::read_dir(format!("/proc/{pid}/{folder}")).expect("it runs").count();
    let stats = ask(gateway, Method::GET, "/webrtc/stats", None).await;
    Held {
        memory_kib: usage(pid.unsigned_abs()).expect("it runs").memory / 1024,
        descriptors: count("fd"),
        threads: count("task"),
        ports: stats["udp_ports_in_use"].as_u64().expect("a number"),
        tasks: metric(gateway, "whipstitch_tasks").await,
    }
}

/// A metric without labels.
async fn metric(gateway: &Gateway, name: &str) -> usize {
    let request = reqwest::Client::new().get(gateway.url("/metrics")).bearer_auth(TOKEN);
    let page = request.send().await.expect("an answer").text().await.expect("a page");
    let value = page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.unwrap_or_else(|| panic!("no {name}: {page}"))
}

/// Growth that is no leak: the allocator's own, and logs that are kept.
const SLACK_KIB: u64 = 24 * 1024;

const MANY: usize = 50;

/// A different one each time, and the same ones in every run (Marsaglia's xorshift).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).expect("below the bound")
    }
}

/// One that runs on, one that ends by itself, one that cannot begin, one that feeds a stream by RTSP, one by RTP.
fn one_of_five(number: usize) -> serde_json::Value {
    let id = format!("many-{number}");
    let input = |address: &str| json!([{ "id": "in", "address": address, "options": ["-re", "-f", "lavfi"] }]);
    let feeds = |transport: &str| json!({ "output": [], "whep_egress": { "enabled": true, "transport": transport, "options": ["-c:v", "libx264", "-preset", "ultrafast"] } });
    let more = match number % 5 {
        0 => json!({}),
        1 => json!({ "input": input("testsrc=size=64x36:rate=5:duration=2") }),
        2 => json!({ "input": input("nothing=of=this") }),
        3 => feeds("rtsp"),
        _ => feeds("rtp"),
    };
    let mut definition = clock(&id, more);
    definition["autostart"] = json!(false);
    definition
}

#[tokio::test]
async fn fifty_processes_that_start_and_stop_for_two_minutes_leave_nothing_behind() {
    let data = tempfile::tempdir().expect("a folder");
    let gateway = Gateway::serve(&[
        "--token",
        TOKEN,
        "--data",
        data.path().to_str().expect("UTF-8"),
        "--rtp-ports",
        "30000-32399",
    ]);
    for number in 0..MANY {
        define(&gateway, one_of_five(number)).await;
    }
    let before = held(&gateway).await;
    let mut chance = Chance(0x9E37_79B9_7F4A_7C15);
    let (begin, mut commands, mut most) = (Instant::now(), 0, 0);
    let mut halfway = None;
    while begin.elapsed() < Duration::from_secs(120) {
        let id = format!("many-{}", chance.below(MANY));
        let word = ["start", "start", "stop", "stop", "restart", "reload"][chance.below(6)];
        command(&gateway, &id, word).await;
        commands += 1;
        most = most.max(children(&gateway).len());
        if halfway.is_none() && begin.elapsed() > Duration::from_secs(60) {
            halfway = Some(held(&gateway).await);
        }
        tokio::time::sleep(Duration::from_millis(20 + chance.below(100) as u64)).await;
    }
    let halfway = halfway.expect("a minute has passed");
    let busy = held(&gateway).await;
    assert!(halfway.tasks.max(busy.tasks) > before.tasks, "tasks: before {before:?}, then {halfway:?} and {busy:?}");
    for number in 0..MANY {
        command(&gateway, &format!("many-{number}"), "stop").await;
    }
    assert_eq!(children(&gateway), Vec::<i32>::new(), "children, or some that nobody waited for");
    let deadline = Instant::now() + PATIENCE;
    let after = loop {
        let now = held(&gateway).await;
        // Both times one connection asks, and others of before may not be closed yet.
        let (descriptors, tasks) = (before.descriptors + 4, before.tasks + 4);
        if now.descriptors <= descriptors
            && now.tasks <= tasks
            && now.ports <= before.ports
            && now.threads <= before.threads + 8
        {
            break now;
        }
        assert!(Instant::now() < deadline, "before: {before:?}, in the end: {now:?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    println!(
        "{commands} commands, at most {most} children at once\nbefore {before:?}\nhalfway {halfway:?}\nafter {after:?}"
    );
    assert!(commands > 200 && most > 5, "{commands} commands, {most} children");
    assert!(after.memory_kib <= halfway.memory_kib + SLACK_KIB, "halfway {halfway:?}, after {after:?}");
    for number in 0..MANY {
        let id = format!("many-{number}");
        let state = state(&gateway, &id).await;
        assert_eq!(state["order"], "stop", "{id}: {state}");
    }
    assert!(!gateway.process().said().contains("panicked"), "{}", gateway.process().said());
    assert_eq!(gateway.stop().code(), Some(0), "{}", gateway.process().said());
}
