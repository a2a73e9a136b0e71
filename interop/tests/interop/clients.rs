//! Real clients that are no browsers publish and watch: aiortc, GStreamer's webrtcbin, FFmpeg's WHIP muxer.
//!
//! Each is a short script in `clients/`, which says on its output what the tests wait for.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use whipstitch_interop::{Gateway, Host, Process, python};

/// From starting a script to what it is to say, on a machine that runs other tests as well.
const PATIENCE: Duration = Duration::from_secs(40);

/// What the scripts publish.
const SIZE: &str = "320x240";

/// Starts `clients/<script>.py` for a URL, with further options.
pub(crate) fn client(script: &str, url: &str, options: &[&str]) -> Process {
    Process::start(script, &command(script, url, options))
}

/// The same on a machine of a test's own.
pub(crate) fn client_on(host: &Host, script: &str, url: &str, options: &[&str]) -> Process {
    Process::start(script, &host.inside(&command(script, url, options)))
}

fn command(name: &str, url: &str, options: &[&str]) -> Command {
    let mut command = script(name);
    command.arg(url).args(options);
    command
}

/// `clients/<name>.py` without arguments.
pub(crate) fn script(name: &str) -> Command {
    let mut command = python();
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(name).with_extension("py"));
    command
}

/// Waits until a client says what it decodes: pictures of this size, and sound that is more than silence, at this rate.
fn decodes(watcher: &Process, size: &str, rate: u32) {
    let (pictures, sound) = (format!("video {size}"), format!("audio {rate} Hz"));
    watcher.line(PATIENCE, "pictures", |line| (line == pictures).then_some(()));
    watcher.line(PATIENCE, "sound", |line| (line == sound).then_some(()));
}

/// Asks a client to stop, which it does with a DELETE of its own.
fn stops(client: &Process) {
    assert_eq!(client.stop(PATIENCE).code(), Some(0), "{}", client.said());
    assert!(client.said().contains("deleted"), "{}", client.said());
}

/// Waits until the gateway says that a stream is live with pictures of the scripts' size, and in which codecs.
async fn live(gateway: &Gateway, stream: &str, token: Option<&str>) -> Value {
    let http = reqwest::Client::new();
    let wait = async {
        loop {
            let mut request = http.get(gateway.url(&format!("/api/v1/streams/{stream}")));
            if let Some(token) = token {
                request = request.bearer_auth(token);
            }
            let text = request.send().await.expect("an answer").text().await.expect("an answer");
            // Not JSON of a stream until there is one.
            let mut known: Value = serde_json::from_str(&text).unwrap_or_default();
            let video = &known["publisher"]["video"];
            if known["live"] == true && video["width"] == 320 && video["height"] == 240 {
                return known["publisher"]["codecs"].take();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{stream} does not get live"))
}

/// One client publishes, another watches, both end by themselves.
async fn is_published_and_watched(publisher: (&str, &[&str]), codecs: Value, watcher: (&str, &[&str]), rate: u32) {
    let gateway = Gateway::serve(&[]);
    let publisher = client(publisher.0, &gateway.url("/whip/real"), publisher.1);
    let mut said = live(&gateway, "real", None).await;
    said.as_array_mut().expect("a list").sort_by_key(Value::to_string);
    assert_eq!(said, codecs);
    let watcher = client(watcher.0, &gateway.url("/whep/real"), watcher.1);
    decodes(&watcher, SIZE, rate);
    stops(&watcher);
    stops(&publisher);
}

#[tokio::test]
async fn aiortc_publishes_vp8_and_g722_and_gstreamer_watches() {
    let publisher = ("aiortc_publish", &["--video", "VP8", "--audio", "G722"][..]);
    let watcher = ("gst_watch", &["--video", "VP8", "--audio", "G722"][..]);
    is_published_and_watched(publisher, json!(["G722", "VP8"]), watcher, 16_000).await;
}

#[tokio::test]
async fn aiortc_publishes_h264_and_pcma_and_aiortc_watches() {
    let publisher = ("aiortc_publish", &["--video", "H264", "--audio", "PCMA"][..]);
    is_published_and_watched(publisher, json!(["H264", "PCMA"]), ("aiortc_watch", &[]), 8_000).await;
}

#[test]
fn aiortc_watches_the_demo() {
    let gateway = Gateway::demo(&[]);
    let watcher = client("aiortc_watch", &gateway.url("/whep/demo"), &[]);
    decodes(&watcher, "1280x720", 48_000);
    stops(&watcher);
}

#[tokio::test]
async fn aiortc_and_gstreamer_bring_a_token_or_are_refused() {
    const TOKEN: &str = "open-sesame";
    let gateway = Gateway::serve(&["--token", TOKEN]);
    let (publish, watch) = (gateway.url("/whip/real"), gateway.url("/whep/real"));
    for (script, url) in [("aiortc_publish", &publish), ("gst_publish", &publish), ("aiortc_watch", &watch)] {
        let stranger = client(script, url, &["--token", "wrong"]);
        stranger.line(PATIENCE, "refusal", |line| line.starts_with("refused 401").then_some(()));
        assert_ne!(stranger.end(PATIENCE).code(), Some(0));
    }
    let publisher = client("aiortc_publish", &publish, &["--token", TOKEN]);
    live(&gateway, "real", Some(TOKEN)).await;
    for script in ["aiortc_watch", "gst_watch"] {
        let watcher = client(script, &watch, &["--token", TOKEN]);
        decodes(&watcher, SIZE, 48_000);
        stops(&watcher);
    }
    stops(&publisher);
}

#[tokio::test]
async fn gstreamer_publishes_h264_and_opus_and_aiortc_watches() {
    is_published_and_watched(("gst_publish", &[]), json!(["H264", "opus"]), ("aiortc_watch", &[]), 48_000).await;
}

#[tokio::test]
async fn gstreamer_publishes_vp8_and_pcmu_and_aiortc_watches() {
    let publisher = ("gst_publish", &["--video", "VP8", "--audio", "PCMU"][..]);
    is_published_and_watched(publisher, json!(["PCMU", "VP8"]), ("aiortc_watch", &[]), 8_000).await;
}

#[tokio::test]
async fn gstreamer_publishes_vp9_and_pcma_and_gstreamer_watches() {
    let options = &["--video", "VP9", "--audio", "PCMA"][..];
    is_published_and_watched(("gst_publish", options), json!(["PCMA", "VP9"]), ("gst_watch", options), 8_000).await;
}

#[tokio::test]
async fn gstreamer_publishes_h265_and_g722_and_gstreamer_watches() {
    let options = &["--video", "H265", "--audio", "G722"][..];
    is_published_and_watched(("gst_publish", options), json!(["G722", "H265"]), ("gst_watch", options), 16_000).await;
}

#[tokio::test]
async fn ffmpeg_publishes_and_gstreamer_watches() {
    is_published_and_watched(("ffmpeg_publish", &[]), json!(["H264", "opus"]), ("gst_watch", &[]), 48_000).await;
}

#[tokio::test]
async fn ffmpeg_publishes_with_a_token_and_aiortc_watches() {
    let gateway = Gateway::serve(&["--token", "open-sesame"]);
    let token = &["--token", "open-sesame"];
    let publisher = client("ffmpeg_publish", &gateway.url("/whip/real"), token);
    live(&gateway, "real", Some(token[1])).await;
    let watcher = client("aiortc_watch", &gateway.url("/whep/real"), token);
    decodes(&watcher, SIZE, 48_000);
    stops(&watcher);
    stops(&publisher);
}
