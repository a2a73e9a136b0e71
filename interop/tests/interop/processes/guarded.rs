//! What a process feeds is nobody else's, and its children are known, also where everybody may come.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use whipstitch_interop::Gateway;

use super::kit::{
    PATIENCE, TOKEN, child, children, clock, command, define, gets_on, is_running, signal, state, try_ask, until,
};
use crate::clients::client;
use crate::sending::ffmpeg;

/// A gateway that needs no token but for what changes something, and its folder.
fn open(more: &[&str]) -> (Gateway, tempfile::TempDir) {
    let data = tempfile::tempdir().expect("a folder");
    let file = data.path().join("admin-token");
    std::fs::write(&file, TOKEN).expect("a file");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("ours");
    let folder = data.path().to_str().expect("UTF-8");
    (Gateway::serve(&[&["--data", folder], more].concat()), data)
}

/// A process that feeds a stream.
fn film(id: &str, stream: &str, delay: u64) -> Value {
    let options =
        json!(["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "5", "-pix_fmt", "yuv420p"]);
    let output = json!([{ "id": "film", "address": format!("{{whep:{stream}}}"), "options": options }]);
    clock(id, json!({ "output": output, "reconnect_delay_seconds": delay }))
}

/// What a child shows.
fn credential(pid: i32) -> String {
    let words = std::fs::read(format!("/proc/{pid}/cmdline")).expect("it is there");
    let words = String::from_utf8_lossy(&words);
    let shown = words.split("?process=").nth(1).expect("it shows one").split(['\0', '&']).next();
    shown.expect("a credential").to_owned()
}

/// What FFmpeg says when it is not let in.
fn refused(url: &str) -> String {
    let sender = ffmpeg(url, "libopus", &["-rtsp_transport", "tcp"]);
    assert_ne!(sender.end(PATIENCE).code(), Some(0), "{}", sender.said());
    sender.said()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_else_publishes_what_a_process_feeds_while_it_is_ordered_to_run() {
    let (gateway, _data) = open(&["--on-conflict", "takeover"]);
    define(&gateway, film("p", "film", 4)).await;
    until(&gateway, "p", "progress", gets_on).await;
    let first = child(&gateway, 0).await;
    let old = credential(first);
    let rtsp = gateway.rtsp("", "film");
    assert!(refused(&rtsp).contains("455 The stream is kept"), "over RTSP");
    let whip = client("ffmpeg_publish", &gateway.url("/whip/film"), &[]);
    assert_ne!(whip.end(PATIENCE).code(), Some(0), "{}", whip.said());
    // FFmpeg has no words for 409.
    assert!(whip.said().contains("4XX Client Error, but not one of 40{0,1,3,4}"), "{}", whip.said());
    let plain =
        reqwest::Client::new().post(gateway.url("/api/v1/streams/film/rtp")).header("content-type", "application/sdp");
    let plain = plain
        .body("v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n");
    let plain = plain.send().await.expect("an answer");
    assert_eq!(plain.status(), StatusCode::CONFLICT, "plain RTP");
    let said = plain.text().await.expect("a body");
    assert!(said.contains("FFmpeg process of this server feeds this stream"), "{said}");
    let (status, said) = try_ask(&gateway, Method::POST, "/process", Some(film("q", "film", 1))).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{said}");
    assert!(said.to_string().contains("is fed by the process"), "{said}");

    // Between two children.
    signal(first, "-KILL");
    until(&gateway, "p", "no child", |state| state["pid"].is_null()).await;
    assert!(refused(&rtsp).contains("455"), "while no child runs");
    let second = child(&gateway, first).await;
    until(&gateway, "p", "progress of the next", gets_on).await;
    assert_ne!(credential(second), old);
    assert!(refused(&format!("{rtsp}?process={old}")).contains("401"), "with the credential of the last child");
    assert_eq!(state(&gateway, "p").await["pid"], second, "it went on");

    command(&gateway, "p", "stop").await;
    let stranger = ffmpeg(&rtsp, "libopus", &["-rtsp_transport", "tcp"]);
    stranger.line(PATIENCE, "that it sends", |line| line.starts_with("progress=continue").then_some(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_an_open_server_a_child_waits_for_its_publisher_and_others_do_not() {
    let (gateway, _data) = open(&[]);
    for transport in ["rtsp", "rtp"] {
        let id = format!("late-{transport}");
        let input = json!([{ "id": "late", "address": format!("{{whip:late,transport={transport}}}"), "options": [] }]);
        define(&gateway, clock(&id, json!({ "input": input }))).await;
        until(&gateway, &id, "a child", is_running).await;
    }
    let mut before = children(&gateway);
    let begun = std::time::Instant::now();
    let sdp = reqwest::get(gateway.url("/whip/late/sdp")).await.expect("an answer");
    assert_eq!(sdp.status(), StatusCode::CONFLICT);
    let took = begun.elapsed();
    assert!((Duration::from_secs(4)..Duration::from_secs(9)).contains(&took), "{took:?}");
    let old = reqwest::get(gateway.url("/whip/late/sdp?process=old")).await.expect("an answer");
    assert_eq!(old.status(), StatusCode::UNAUTHORIZED);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let mut after = children(&gateway);
    before.sort_unstable();
    after.sort_unstable();
    assert_eq!((before.len(), &before), (2, &after), "the same children, longer than anybody else may wait");
    let _publisher = ffmpeg(&gateway.rtsp("", "late"), "libopus", &["-rtsp_transport", "tcp"]);
    for id in ["late-rtsp", "late-rtp"] {
        until(&gateway, id, "progress", gets_on).await;
    }
}
