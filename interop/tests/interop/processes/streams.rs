//! Streams into and out of a process, in the ways that are not the usual one.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;
use whipstitch_interop::{Gateway, Process};

use super::kit::{PATIENCE, TOKEN, define, gets_on, is_running, until};
use crate::clients::client;

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
        "stale_timeout_seconds": 3, "whip_ingest": wired, "whep_egress": wired,
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
    let said = probed(&gateway, "plain-out").await;
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
