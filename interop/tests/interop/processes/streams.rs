//! Streams into and out of a process, in the ways that are not the usual one.

use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;
use whipstitch_interop::{Gateway, Process};

use super::kit::{PATIENCE, TOKEN, child, children, command, define, gets_on, is_running, signal, until};
use crate::clients::client;
use crate::sending::ffmpeg;

/// What ffprobe finds of a stream of the gateway, once there is one.
async fn probed(gateway: &Gateway, stream: &str) -> String {
    let url = gateway.rtsp(&format!("x:{TOKEN}@"), stream);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut ffprobe = Command::new("ffprobe");
        ffprobe.args(["-v", "error", "-rtsp_transport", "tcp", "-show_entries", "stream=codec_name,width,height"]);
        let probe = Process::start("ffprobe", ffprobe.args(["-of", "compact=p=0", &url]));
        if probe.end(PATIENCE).code() == Some(0) {
            return probe.said();
        }
        assert!(Instant::now() < deadline, "{stream}: {}", probe.said());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

fn publisher(gateway: &Gateway, stream: &str) -> Process {
    let publisher = client("ffmpeg_publish", &gateway.url(&format!("/whip/{stream}")), &["--token", TOKEN]);
    publisher.line(PATIENCE, "that it publishes", |line| (line == "publishing").then_some(()));
    publisher
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_rtp_a_process_waits_for_its_publisher_and_feeds_a_stream() {
    let gateway = Gateway::serve(&["--token", TOKEN]);
    let wired = json!({ "enabled": true, "transport": "rtp" });
    let definition = json!({
        "id": "plain", "input": [], "output": [], "reconnect": true, "reconnect_delay_seconds": 1,
        "stale_timeout_seconds": 3, "whep_egress": wired,
        "whip_ingest": { "enabled": true, "transport": "rtp", "video_pt": 102, "audio_pt": 103 },
    });
    define(&gateway, definition).await;
    let waits = until(&gateway, "plain", "a child", is_running).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let still = until(&gateway, "plain", "the same child", is_running).await;
    assert!(
        still["runtime_seconds"].as_f64() > waits["runtime_seconds"].as_f64().map(|seconds| seconds + 3.0),
        "{still}"
    );
    let _publisher = publisher(&gateway, "plain");
    until(&gateway, "plain", "progress", gets_on).await;
    let described = async |query: &str| {
        let url = gateway.url(&format!("/whip/plain/sdp?token={TOKEN}{query}"));
        let response = reqwest::get(url).await.expect("an answer");
        (response.status().as_u16(), response.text().await.expect("a body"))
    };
    let (status, sdp) = described("&video_pt=102&audio_pt=103").await;
    assert_eq!(status, 200, "{sdp}");
    assert!(sdp.contains("a=rtpmap:102 H264/90000") && sdp.contains("a=rtpmap:103 opus/48000/2"), "{sdp}");
    assert_eq!(described("&video_pt=5").await.0, 400);
    probed(&gateway, "plain-out").await;
    // A child that says no goodbye gives its place up at once.
    let first = child(&gateway, 0).await;
    signal(first, "-KILL");
    child(&gateway, first).await;
    until(&gateway, "plain", "progress of the next", gets_on).await;
    let begun = Instant::now();
    let said = probed(&gateway, "plain-out").await;
    assert!(begun.elapsed() < Duration::from_secs(15), "the place of the killed one was kept: {:?}", begun.elapsed());
    assert!(said.contains("codec_name=h264|width=320|height=240") && said.contains("codec_name=opus"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tee_feeds_two_streams_and_a_third_process_reads_one_by_name() {
    let gateway = Gateway::serve(&["--token", TOKEN]);
    let tee = json!({
        "id": "tee", "reconnect": true, "reconnect_delay_seconds": 1,
        "input": [{ "address": "testsrc2=size=320x180:rate=15", "options": ["-re", "-f", "lavfi"] }],
        "output": [{ "address": "{whep:one}|{whep:two}",
                     "options": ["-map", "0:v", "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "15", "-pix_fmt", "yuv420p", "-f", "tee"] }],
    });
    // Defined first: it waits for what it reads.
    let smaller = json!({
        "id": "smaller", "reconnect": true, "reconnect_delay_seconds": 1,
        "input": [{ "address": "{whip:two}", "options": [] }],
        "output": [{ "address": "{whep:small}",
                     "options": ["-vf", "scale=160:-2", "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "15"] }],
    });
    define(&gateway, smaller).await;
    define(&gateway, tee).await;
    for (stream, size) in
        [("one", "width=320|height=180"), ("two", "width=320|height=180"), ("small", "width=160|height=90")]
    {
        let said = probed(&gateway, stream).await;
        assert!(said.contains(size), "{stream}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_starts_a_process_that_says_so_and_is_refused_by_one_that_does_not() {
    let gateway = Gateway::serve(&["--token", TOKEN]);
    for (id, starts) in [("ready", true), ("resting", false)] {
        let ingest = json!({ "enabled": true, "start_on_publish": starts });
        let output = json!([{ "address": "-", "options": ["-c", "copy", "-f", "null"] }]);
        let definition = json!({ "id": id, "autostart": false, "output": output, "whip_ingest": ingest });
        define(&gateway, definition).await;
    }
    let refused = client("ffmpeg_publish", &gateway.url("/whip/resting"), &["--token", TOKEN]);
    assert_ne!(refused.end(PATIENCE).code(), Some(0), "{}", refused.said());
    assert!(refused.said().contains("404"), "{}", refused.said());
    // Nor over RTSP.
    let refused = ffmpeg(&gateway.rtsp(&format!("x:{TOKEN}@"), "resting"), "libopus", &["-rtsp_transport", "tcp"]);
    assert_ne!(refused.end(PATIENCE).code(), Some(0), "{}", refused.said());
    assert!(refused.said().contains("403"), "{}", refused.said());
    let _publisher = publisher(&gateway, "ready");
    until(&gateway, "ready", "progress", gets_on).await;
    assert_eq!(children(&gateway).len(), 1);
}

/// What our own user is answered, and what another of this machine.
fn by_two_users(url: &str) -> (String, String) {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "-m", "10", "-o", "/dev/null", "-w", "%{http_code}", "-I", url]);
    let ours = curl.output().expect("curl");
    let theirs = curl.uid(65_534).output().expect("this needs root");
    let status = |answer: std::process::Output| String::from_utf8_lossy(&answer.stdout).into_owned();
    (status(ours), status(theirs))
}

#[tokio::test]
async fn what_the_arguments_of_a_child_show_is_good_for_no_other_user() {
    let gateway = Gateway::serve(&["--token", TOKEN]);
    let whip_ingest = json!({ "enabled": true, "transport": "rtp" });
    let nowhere = json!([{ "id": "nowhere", "address": "-", "options": ["-f", "null"] }]);
    define(&gateway, json!({ "id": "shown", "input": [], "output": nowhere, "whip_ingest": whip_ingest })).await;
    until(&gateway, "shown", "a child", is_running).await;
    let arguments = std::fs::read(format!("/proc/{}/cmdline", child(&gateway, 0).await)).expect("it runs");
    let arguments = String::from_utf8_lossy(&arguments).into_owned();
    let url = arguments.split('\0').find(|word| word.contains("/sdp?")).expect("where it reads").to_owned();
    assert!(url.contains("process="), "{url}");
    let (ours, theirs) = by_two_users(&url);
    assert!(ours != "401" && ours != "000" && theirs == "401", "{ours} for our own user, {theirs} for another");

    // What the log says of its stream (S2-R5, S2-R7).
    command(&gateway, "shown", "stop").await;
    let log = gateway.process().said();
    for words in ["WebRTC WHIP ingest registered for process", "WebRTC WHIP ingest torn down for process"] {
        let told: Vec<&str> = log.lines().filter(|line| line.contains(words)).collect();
        assert!(matches!(told[..], [line] if line.contains("id=\"shown\"")), "{words}: {told:#?}");
    }
}
