//! An FFmpeg that is not there, too old, or told not to.

use std::os::unix::fs::PermissionsExt as _;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use whipstitch_interop::Gateway;

use super::kit::{TOKEN, ask, children, clock, define, gets_on, try_ask, until};

fn failed(state: &Value) -> bool {
    state["exec"] == "failed"
}

#[tokio::test]
async fn without_an_ffmpeg_a_process_has_failed_and_says_why() {
    let gateway = Gateway::serve(&["--token", TOKEN, "--ffmpeg", "/nowhere/ffmpeg"]);
    define(&gateway, clock("lost", json!({}))).await;
    let state = until(&gateway, "lost", "a failure", failed).await;
    assert_eq!(state["order"], "start", "{state}");
    let said = state["last_logline"].as_str().unwrap_or_default();
    assert!(said.contains("there is no program `/nowhere/ffmpeg`"), "{state}");
    let (status, said) = try_ask(&gateway, Method::GET, "/skills", None).await;
    assert!(!status.is_success() && said.to_string().contains("/nowhere/ffmpeg"), "{status} {said}");
    // It is tried again and again, and that is one line in the log for a minute.
    until(&gateway, "lost", "more starts", |state| state["restarts"].as_u64() > Some(2)).await;
    let log = gateway.process().said();
    let told: Vec<&str> = log.lines().filter(|line| line.contains("process{id=") && line.contains("child")).collect();
    assert!(matches!(told[..], [line] if line.contains("a child cannot be started")), "{told:#?}");
}

#[tokio::test]
async fn an_ffmpeg_that_is_too_old_is_told_by_its_version() {
    let folder = tempfile::tempdir().expect("a folder");
    let old = folder.path().join("ffmpeg");
    let script = "#!/bin/sh\necho 'ffmpeg version 3.4.8-0ubuntu0.2 Copyright (c) 2000-2020 the FFmpeg developers'\n";
    std::fs::write(&old, script).expect("a script");
    std::fs::set_permissions(&old, std::fs::Permissions::from_mode(0o755)).expect("ours");
    let gateway = Gateway::serve(&["--token", TOKEN, "--ffmpeg", old.to_str().expect("UTF-8")]);
    define(&gateway, clock("old", json!({}))).await;
    let state = until(&gateway, "old", "a failure", failed).await;
    let said = state["last_logline"].as_str().unwrap_or_default();
    assert!(said.contains("3.4") && said.contains('4'), "{state}");
}

#[tokio::test]
async fn a_definition_of_datarhei_core_is_taken_as_it_is_and_runs() {
    // Its documentation's example: the fields it has, none that are ours.
    let definition = json!({
        "id": "some_process",
        "type": "ffmpeg",
        "reference": "",
        "input": [{ "id": "0", "address": "testsrc2=rate=25:size=640x360", "options": ["-f", "lavfi", "-re"] }],
        "output": [{ "id": "0", "address": "-", "options": ["-codec:v", "libx264", "-r", "25", "-g", "50", "-pix_fmt", "yuv420p", "-f", "null"],
                     "cleanup": [{ "pattern": "memfs:/**", "max_files": 0, "max_file_age_seconds": 0, "purge_on_delete": true }] }],
        "options": ["-err_detect", "ignore_err"],
        "autostart": true,
        "reconnect": true,
        "reconnect_delay_seconds": 15,
        "stale_timeout_seconds": 30,
        "limits": { "cpu_usage": 0.0, "memory_mbytes": 0, "waitfor_seconds": 0 },
    });
    let gateway = Gateway::serve(&["--token", TOKEN]);
    let (status, answer) = try_ask(&gateway, Method::POST, "/process", Some(definition.clone())).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    for (field, value) in definition.as_object().expect("an object") {
        assert_eq!(&answer[field], value, "{field}");
    }
    let state = until(&gateway, "some_process", "progress", gets_on).await;
    assert_eq!(state["progress"]["outputs"][0]["codec"], "h264", "{state:#}");
    assert_eq!(state["progress"]["inputs"][0]["width"], 640, "{state:#}");
    let probe = ask(&gateway, Method::GET, "/process/some_process/probe", None).await;
    assert_eq!(
        (&probe["streams"][0]["type"], &probe["streams"][0]["height"]),
        (&json!("video"), &json!(360)),
        "{probe:#}"
    );
    ask(&gateway, Method::DELETE, "/process/some_process", None).await;
    assert_eq!(children(&gateway), Vec::<i32>::new());
}
