//! What survives, and that nothing else does.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::json;
use whipstitch_interop::Gateway;

use super::kit::{
    PATIENCE, TOKEN, ask, child, children, clock, command, define, gets_on, is_running, is_there, state, try_ask, until,
};

fn serve(data: &Path) -> Gateway {
    Gateway::serve(&["--token", TOKEN, "--data", data.to_str().expect("a name in UTF-8")])
}

#[tokio::test]
async fn a_server_that_is_killed_leaves_no_child_and_starts_what_ran_with_its_metadata() {
    let data = tempfile::tempdir().expect("a folder");
    let gateway = serve(data.path());
    define(&gateway, clock("runs", json!({ "reference": "mine", "kept": [1, { "as": "it came" }] }))).await;
    define(&gateway, clock("stands", json!({}))).await;
    let note = json!({ "by": "somebody", "numbers": [1, 2.5, null] });
    ask(&gateway, Method::PUT, "/process/runs/metadata/note", Some(note.clone())).await;
    until(&gateway, "runs", "progress", gets_on).await;
    command(&gateway, "stands", "stop").await;
    let left = children(&gateway);
    assert_eq!(left.len(), 1, "{left:?}");

    // SIGKILL.
    drop(gateway);
    let deadline = Instant::now() + PATIENCE;
    while left.iter().any(|pid| is_there(*pid)) {
        assert!(Instant::now() < deadline, "{left:?} go on without the server");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    let gateway = serve(data.path());
    until(&gateway, "runs", "progress", gets_on).await;
    let runs = ask(&gateway, Method::GET, "/process/runs", None).await;
    assert_eq!((&runs["reference"], &runs["metadata"]["note"]), (&json!("mine"), &note));
    assert_eq!(runs["config"]["kept"], json!([1, { "as": "it came" }]));
    let stands = state(&gateway, "stands").await;
    assert_eq!((&stands["order"], &stands["exec"]), (&json!("stop"), &json!("finished")));
    assert_eq!(children(&gateway).len(), 1);
    let last = children(&gateway);
    assert_eq!(gateway.stop().code(), Some(0), "{}", gateway.process().said());
    assert!(!last.iter().any(|pid| is_there(*pid)), "a child outlived a server that stopped in order");
}

/// A file system of its own, so small that it can be filled.
struct Small {
    folder: tempfile::TempDir,
}

impl Small {
    fn mount() -> Small {
        let folder = tempfile::tempdir().expect("a folder");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=600k", "tmpfs"]).arg(folder.path()).status();
        assert!(mounted.is_ok_and(|status| status.success()), "this needs root");
        Small { folder }
    }

    /// Leaves no room.
    fn fill(&self) {
        let filler = self.folder.path().join("filler");
        let written =
            Command::new("dd").args(["if=/dev/zero", "bs=1k"]).arg(format!("of={}", filler.display())).output();
        assert!(!written.expect("dd").status.success(), "it is full in the end");
    }

    fn clear(&self) {
        std::fs::remove_file(self.folder.path().join("filler")).expect("it was filled");
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.folder.path()).status();
    }
}

#[tokio::test]
async fn a_full_disk_is_said_and_neither_stops_nor_loses_anything() {
    let disk = Small::mount();
    let gateway = serve(disk.folder.path());
    define(&gateway, clock("runs", json!({}))).await;
    ask(&gateway, Method::PUT, "/process/runs/metadata/note", Some(json!("before"))).await;
    until(&gateway, "runs", "progress", gets_on).await;
    let pid = child(&gateway, 0).await;

    disk.fill();
    let large = json!("x".repeat(100_000));
    let (status, said) = try_ask(&gateway, Method::PUT, "/process/runs/metadata/note", Some(large)).await;
    assert_eq!(status, StatusCode::INSUFFICIENT_STORAGE, "{said}");
    assert!(said.to_string().contains("full"), "{said}");
    let (status, said) =
        try_ask(&gateway, Method::POST, "/process", Some(clock("more", json!({ "reference": "y".repeat(100_000) }))))
            .await;
    assert_eq!(status, StatusCode::INSUFFICIENT_STORAGE, "{said}");
    assert_eq!(try_ask(&gateway, Method::GET, "/process/more", None).await.0, StatusCode::NOT_FOUND);
    let before = state(&gateway, "runs").await["progress"]["frame"].as_u64().expect("frames");
    until(&gateway, "runs", "more pictures", |state| state["progress"]["frame"].as_u64() > Some(before)).await;
    assert_eq!(children(&gateway), [pid], "the same child");
    assert_eq!(ask(&gateway, Method::GET, "/process/runs/metadata/note", None).await, "before");

    disk.clear();
    ask(&gateway, Method::PUT, "/process/runs/metadata/note", Some(json!("after"))).await;
    drop(gateway);
    let gateway = serve(disk.folder.path());
    until(&gateway, "runs", "the process again", is_running).await;
    assert_eq!(ask(&gateway, Method::GET, "/process/runs/metadata/note", None).await, "after");
}

/// What the gateway holds.
#[derive(Debug)]
struct Held {
    memory_kib: u64,
    descriptors: usize,
    threads: usize,
    ports: u64,
}

async fn held(gateway: &Gateway) -> Held {
    let process = format!("/proc/{}", gateway.process().id());
    let status = std::fs::read_to_string(format!("{process}/status")).expect("it runs");
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a resident set");
    let count = |folder: &str| std::fs::read_dir(format!("{process}/{folder}")).expect("it runs").count();
    let stats = ask(gateway, Method::GET, "/webrtc/stats", None).await;
    Held {
        memory_kib: memory.trim().trim_end_matches(" kB").parse().expect("a number"),
        descriptors: count("fd"),
        threads: count("task"),
        ports: stats["udp_ports_in_use"].as_u64().expect("a number"),
    }
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
    for number in 0..MANY {
        command(&gateway, &format!("many-{number}"), "stop").await;
    }
    assert_eq!(children(&gateway), Vec::<i32>::new(), "children, or some that nobody waited for");
    let deadline = Instant::now() + PATIENCE;
    let after = loop {
        let now = held(&gateway).await;
        if now.descriptors <= before.descriptors + 4 && now.ports <= before.ports && now.threads <= before.threads + 8 {
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
