//! A gateway's API of processes, and the children it has.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use whipstitch_interop::Gateway;

/// For what takes some seconds, on a machine that runs other tests as well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Of the gateways here, all rights.
pub(crate) const TOKEN: &str = "owner";

/// Asks the API of processes, whatever it answers.
pub(crate) async fn try_ask(gateway: &Gateway, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
    let request = reqwest::Client::new().request(method, gateway.url(&format!("/api/v3{path}"))).bearer_auth(TOKEN);
    let request = match body {
        Some(body) => request.json(&body),
        None => request,
    };
    let response = request.send().await.expect("an answer");
    let (status, text) = (response.status(), response.text().await.expect("a body"));
    (status, serde_json::from_str(&text).unwrap_or_else(|_| panic!("{path}: {status} {text}")))
}

/// What it answers to a request that is taken.
pub(crate) async fn ask(gateway: &Gateway, method: Method, path: &str, body: Option<Value>) -> Value {
    let (status, answer) = try_ask(gateway, method, path, body).await;
    assert!(status.is_success(), "{path}: {status} {answer}");
    answer
}

pub(crate) async fn define(gateway: &Gateway, definition: Value) {
    ask(gateway, Method::POST, "/process", Some(definition)).await;
}

pub(crate) async fn command(gateway: &Gateway, id: &str, word: &str) {
    ask(gateway, Method::PUT, &format!("/process/{id}/command"), Some(json!({ "command": word }))).await;
}

pub(crate) async fn state(gateway: &Gateway, id: &str) -> Value {
    ask(gateway, Method::GET, &format!("/process/{id}/state"), None).await
}

/// Waits until the state of a process is like that; gives it.
pub(crate) async fn until(gateway: &Gateway, id: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let state = state(gateway, id).await;
        if is_so(&state) {
            return state;
        }
        assert!(Instant::now() < deadline, "{what}: {state:#}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

pub(crate) fn is_running(state: &Value) -> bool {
    state["exec"] == "running"
}

/// Frames were written.
pub(crate) fn gets_on(state: &Value) -> bool {
    state["progress"]["frame"].as_u64().is_some_and(|frame| frame > 5)
}

/// A process that makes pictures and throws them away, with these fields besides.
pub(crate) fn clock(id: &str, more: Value) -> Value {
    let mut definition = json!({
        "id": id,
        "input": [{ "id": "clock", "address": "testsrc=size=64x36:rate=5", "options": ["-re", "-f", "lavfi"] }],
        "output": [{ "id": "nowhere", "address": "-", "options": ["-f", "null"] }],
        "options": ["-hide_banner"],
        "reconnect": true,
        "reconnect_delay_seconds": 1,
    });
    let fields = definition.as_object_mut().expect("an object");
    fields.extend(more.as_object().expect("an object").clone());
    definition
}

/// The children of a gateway, also those that have ended and were not waited for.
pub(crate) fn children(gateway: &Gateway) -> Vec<i32> {
    let parent = gateway.process().id().to_string();
    let listed = Command::new("pgrep").args(["-P", &parent]).output().expect("pgrep");
    String::from_utf8_lossy(&listed.stdout).lines().filter_map(|line| line.parse().ok()).collect()
}

/// Waits for a child that is another one.
pub(crate) async fn child(gateway: &Gateway, besides: i32) -> i32 {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(pid) = children(gateway).into_iter().find(|pid| *pid != besides) {
            return pid;
        }
        assert!(Instant::now() < deadline, "no child");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub(crate) fn signal(pid: i32, signal: &str) {
    let sent = Command::new("kill").args([signal, &pid.to_string()]).status().expect("kill");
    assert!(sent.success());
}

pub(crate) fn is_there(pid: i32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}
