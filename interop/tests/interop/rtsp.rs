//! FFmpeg and GStreamer read a stream over RTSP: the built-in test clip, 1280x720 with sound.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use whipstitch_interop::{Gateway, Process};

use crate::readers::kit::times;

/// For a program that records for some seconds, on a machine that runs other tests as well.
const PATIENCE: Duration = Duration::from_secs(40);

/// Seconds that are recorded.
const RECORDED: f64 = 5.0;

/// Pictures a second of the clip, and sounds.
const RATES: [f64; 2] = [30.0, 50.0];

fn ffprobe(url: &str, transport: &str) -> Process {
    let mut ffprobe = Command::new("ffprobe");
    ffprobe.args(["-v", "error", "-rtsp_transport", transport]);
    ffprobe.args(["-show_entries", "stream=codec_name,width,height,sample_rate,channels", "-of", "compact=p=0"]);
    Process::start("ffprobe", ffprobe.arg(url))
}

fn records(url: &str, transport: &str, file: &Path) -> Process {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-nostdin", "-rtsp_transport", transport, "-i", url]);
    let seconds = RECORDED.to_string();
    Process::start("ffmpeg", ffmpeg.args(["-t", &seconds, "-c", "copy", "-y"]).arg(file))
}

/// Waits until the demo's source publishes: a player of a stream nobody publishes is told so at once.
fn demo(flags: &[&str]) -> Gateway {
    let gateway = Gateway::demo(flags);
    gateway.process().line(PATIENCE, "a publisher", |line| {
        (line.contains("session connected") && line.contains("publisher")).then_some(())
    });
    gateway
}

#[test]
fn ffprobe_sees_both_tracks_over_tcp_and_udp() {
    let gateway = demo(&[]);
    let url = gateway.rtsp("", "demo");
    for url in [&url, &url.replace("/live/", "/")] {
        for transport in ["tcp", "udp"] {
            let probe = ffprobe(url, transport);
            assert_eq!(probe.end(PATIENCE).code(), Some(0), "{}", probe.said());
            let said = probe.said();
            assert!(said.contains("codec_name=h264|width=1280|height=720"), "{transport}: {said}");
            assert!(said.contains("codec_name=opus|sample_rate=48000|channels=2"), "{transport}: {said}");
        }
    }
}

#[test]
fn three_readers_at_once_record_everything_in_order() {
    let gateway = demo(&[]);
    let (url, folder) = (gateway.rtsp("", "demo"), tempfile::tempdir().expect("a folder"));
    let files = ["one.mp4", "two.mp4", "three.mp4"].map(|name| folder.path().join(name));
    let readers = [("tcp", &files[0]), ("udp", &files[1]), ("tcp", &files[2])];
    let readers = readers.map(|(transport, file)| records(&url, transport, file));
    for (reader, file) in readers.iter().zip(&files) {
        assert_eq!(reader.end(PATIENCE).code(), Some(0), "{}", reader.said());
        for (track, rate) in ["v:0", "a:0"].into_iter().zip(RATES) {
            let times = times(file, track);
            assert!(times.is_sorted_by(|one, next| one < next), "{track} of {}: {times:?}", file.display());
            let (first, last) = (times[0], times[times.len() - 1]);
            let expected = (last - first) * rate + 1.0;
            let count = times.len() as f64;
            assert!((count - expected).abs() <= expected * 0.01 + 1.0, "{track}: {count} packets for {expected}");
            // Sound begins at the live edge and pictures at the keyframe before, up to a second earlier.
            assert!(last - first > RECORDED - 1.5, "{track}: {first} to {last}");
        }
    }
    let closed = gateway.process().said().matches("session closed").count();
    assert!(closed >= 2, "a reader over TCP that has left is gone at once");
}

#[test]
fn a_reader_shows_a_token_where_one_is_needed_and_ends_with_the_server() {
    const TOKEN: &str = "open-sesame";
    let gateway = demo(&["--token", TOKEN]);
    for (credentials, stream) in [("", "demo"), ("x:wrong@", "demo"), ("", "nothing")] {
        let stranger = ffprobe(&gateway.rtsp(credentials, stream), "tcp");
        assert_ne!(stranger.end(PATIENCE).code(), Some(0));
        assert!(stranger.said().contains("401 Unauthorized"), "{credentials} {stream}: {}", stranger.said());
    }
    let nobody = ffprobe(&gateway.rtsp(&format!("x:{TOKEN}@"), "nothing"), "tcp");
    assert_ne!(nobody.end(PATIENCE).code(), Some(0));
    assert!(nobody.said().contains("404 Not Found"), "{}", nobody.said());
    let url = gateway.rtsp(&format!("x:{TOKEN}@"), "demo");
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-nostdin", "-progress", "pipe:1", "-rtsp_transport", "tcp", "-i", &url]);
    let reader = Process::start("ffmpeg", ffmpeg.args(["-c", "copy", "-f", "null", "-"]));
    reader.line(PATIENCE, "progress", |line| line.starts_with("progress=continue").then_some(()));
    assert_eq!(gateway.stop().code(), Some(0), "{}", gateway.process().said());
    assert_eq!(reader.end(PATIENCE).code(), Some(0), "{}", reader.said());
}

#[test]
fn gstreamer_plays_over_tcp_and_udp() {
    let gateway = demo(&[]);
    let url = gateway.rtsp("", "demo");
    for transport in ["tcp", "udp"] {
        let mut gst = Command::new("gst-launch-1.0");
        gst.args(["-v", "rtspsrc", &format!("location={url}"), &format!("protocols={transport}"), "!"]);
        gst.args(["rtph264depay", "!", "avdec_h264", "!", "fakesink", "silent=false"]);
        let gst = Process::start("gst-launch-1.0", &gst);
        // Ended by the test: where a pipeline ends by itself, GStreamer 1.22 now and then interrupts its own PAUSE and fails.
        let mut pictures = 0;
        gst.line(PATIENCE, "60 pictures", |line| {
            pictures += usize::from(line.contains("last-message = chain"));
            (pictures == 60).then_some(())
        });
    }
}
