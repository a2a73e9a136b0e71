//! Programs send streams over RTSP: FFmpeg and GStreamer.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use whipstitch_interop::{Gateway, Process};

/// For a program to start, on a machine that runs other tests as well.
const PATIENCE: Duration = Duration::from_secs(40);

/// FFmpeg that sends a moving test picture as H.264, a keyframe each second, and a tone in this codec. `transport`: its
/// options for that.
pub(crate) fn ffmpeg(url: &str, audio: &str, transport: &[&str]) -> Process {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "warning", "-nostdin", "-re", "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=30"]);
    ffmpeg.args(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-pix_fmt", "yuv420p"]);
    ffmpeg.args(["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "30", "-b:v", "2M"]);
    ffmpeg.args(["-c:a", audio, "-progress", "pipe:1", "-f", "rtsp"]).args(transport);
    Process::start("ffmpeg", ffmpeg.arg(url))
}

/// What ffprobe sees of a stream.
fn probed(url: &str) -> String {
    let mut ffprobe = Command::new("ffprobe");
    ffprobe.args([
        "-v",
        "error",
        "-rtsp_transport",
        "tcp",
        "-show_entries",
        "stream=codec_name,width,height,sample_rate",
    ]);
    let probe = Process::start("ffprobe", ffprobe.args(["-of", "compact=p=0", url]));
    assert_eq!(probe.end(PATIENCE).code(), Some(0), "{}", probe.said());
    probe.said()
}

pub(crate) fn is_live(gateway: &Gateway) {
    gateway
        .process()
        .line(PATIENCE, "a publisher", |line| line.contains("a publisher over RTSP is live").then_some(()));
}

async fn told(gateway: &Gateway, path: &str) -> Value {
    let response = reqwest::get(gateway.url(path)).await.expect("an answer");
    response.json().await.expect("JSON")
}

#[tokio::test]
async fn what_ffmpeg_sends_by_its_defaults_is_a_stream_like_any_other() {
    let gateway = Gateway::serve(&[]);
    let url = gateway.rtsp("", "cam");
    // It asks for UDP first, is answered 461, and goes on over TCP.
    let sender = ffmpeg(&url, "aac", &[]);
    is_live(&gateway);
    let said = probed(&url);
    assert!(said.contains("codec_name=h264|width=640|height=360"), "{said}");
    assert!(said.contains("codec_name=aac|sample_rate=48000"), "{said}");
    let cam = told(&gateway, "/api/v1/streams/cam").await;
    let publisher = &cam["publisher"];
    assert_eq!((&publisher["protocol"], &publisher["transport"]), (&"rtsp".into(), &"tcp".into()), "{cam}");
    assert!(publisher["user_agent"].as_str().is_some_and(|agent| agent.starts_with("Lavf")), "{cam}");
    assert_eq!((&publisher["video"]["width"], &publisher["lost"]), (&640.into(), &0.into()), "{cam}");
    assert!(publisher["audio"]["unplayable"].as_str().is_some_and(|why| why.contains("publish Opus")), "{cam}");

    let second = ffmpeg(&url, "aac", &["-rtsp_transport", "tcp"]);
    assert_ne!(second.end(PATIENCE).code(), Some(0));
    assert!(second.said().contains("The stream is being published already"), "{}", second.said());

    assert_eq!(sender.stop(PATIENCE).code(), Some(255), "as FFmpeg ends at a signal: {}", sender.said());
    gateway.process().line(PATIENCE, "the end", |line| {
        (line.contains("session closed") && line.contains("by_request")).then_some(())
    });
}

#[test]
fn a_sender_shows_a_token_that_may_publish() {
    const TOKEN: &str = "open-sesame";
    let gateway = Gateway::serve(&["--token", TOKEN]);
    let stranger = ffmpeg(&gateway.rtsp("x:wrong@", "cam"), "libopus", &["-rtsp_transport", "tcp"]);
    assert_ne!(stranger.end(PATIENCE).code(), Some(0));
    assert!(stranger.said().contains("401 Unauthorized"), "{}", stranger.said());
    let _friend = ffmpeg(&gateway.rtsp(&format!("x:{TOKEN}@"), "cam"), "libopus", &["-rtsp_transport", "tcp"]);
    is_live(&gateway);
}

#[test]
fn gstreamer_sends_as_well() {
    let gateway = Gateway::serve(&[]);
    let url = gateway.rtsp("", "gst");
    let mut gst = Command::new("gst-launch-1.0");
    gst.args(["-e", "rtspclientsink", &format!("location={url}"), "protocols=tcp", "name=out"]);
    gst.args(["videotestsrc", "is-live=true", "!", "video/x-raw,width=640,height=360,framerate=30/1", "!"]);
    gst.args(["x264enc", "tune=zerolatency", "key-int-max=30", "!", "out."]);
    gst.args(["audiotestsrc", "is-live=true", "!", "audioconvert", "!", "opusenc", "!", "out."]);
    let _sender = Process::start("gst-launch-1.0", &gst);
    is_live(&gateway);
    let said = probed(&url);
    assert!(said.contains("codec_name=h264|width=640|height=360") && said.contains("codec_name=opus"), "{said}");
}
