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

/// The gateway, with a disk that fails while a file is there.
fn serve_from_failing(data: &Path, failing: &Path) -> Gateway {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/processes/failing.c");
    let library = failing.with_extension("so");
    let built =
        Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).arg("-ldl").status();
    assert!(built.expect("the C compiler that links Rust").success());
    let mut program = whipstitch_interop::program();
    program.env("LD_PRELOAD", &library).env("FAILING_FOLDER", data).env("FAILING_WHILE", failing);
    Gateway::start(program, "serve", &["--token", TOKEN, "--data", data.to_str().expect("a name in UTF-8")])
}

#[tokio::test]
async fn a_disk_that_fails_is_told_as_that_and_neither_stops_nor_loses_anything() {
    let (data, beside) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let failing = beside.path().join("failing");
    let gateway = serve_from_failing(data.path(), &failing);
    define(&gateway, clock("runs", json!({}))).await;
    ask(&gateway, Method::PUT, "/process/runs/metadata/note", Some(json!("before"))).await;
    until(&gateway, "runs", "progress", gets_on).await;
    let pid = child(&gateway, 0).await;

    std::fs::write(&failing, "").expect("a file");
    for (method, path, body) in [
        (Method::PUT, "/process/runs/metadata/note", Some(json!("during"))),
        (Method::POST, "/process", Some(clock("more", json!({})))),
        (Method::PUT, "/process/runs", Some(json!({ "reference": "during" }))),
        (Method::DELETE, "/process/runs", None),
    ] {
        let (status, said) = try_ask(&gateway, method.clone(), path, body).await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR, "{method} {path}: {said}");
        assert_eq!(said["message"], "Not stored", "{method} {path}: {said}");
        let said = said["details"][0].as_str().unwrap_or_default();
        assert!(said.contains("Input/output error") && !said.contains("space"), "{method} {path}: {said}");
    }
    assert_eq!(try_ask(&gateway, Method::GET, "/process/more", None).await.0, StatusCode::NOT_FOUND);
    let runs = ask(&gateway, Method::GET, "/process/runs", None).await;
    assert_eq!((&runs["reference"], &runs["metadata"]["note"]), (&json!(""), &json!("before")));
    assert_eq!(children(&gateway), [pid], "the same child");

    std::fs::remove_file(&failing).expect("it is there");
    ask(&gateway, Method::PUT, "/process/runs/metadata/note", Some(json!("after"))).await;
    drop(gateway);
    let gateway = serve(data.path());
    until(&gateway, "runs", "the process again", is_running).await;
    assert_eq!(ask(&gateway, Method::GET, "/process/runs/metadata/note", None).await, "after");
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
    assert!(said.to_string().contains("no space left"), "{said}");
    let (status, said) =
        try_ask(&gateway, Method::POST, "/process", Some(clock("more", json!({ "kept": "y".repeat(100_000) })))).await;
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
