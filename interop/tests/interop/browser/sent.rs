//! Chromium watches what FFmpeg sends over RTSP: as it is, again after its death, transcoded and brought back.

use std::process::Command;
use std::time::Duration;

use whipstitch_interop::{Gateway, Process};

use super::driver::Browser;
use super::watching::{published, seen_without_sound, watched};
use crate::sending::{ffmpeg, is_live};

const SOON: Duration = Duration::from_secs(40);

const TCP: [&str; 2] = ["-rtsp_transport", "tcp"];

#[tokio::test]
async fn chromium_sees_and_hears_what_ffmpeg_sends_and_stays_when_it_is_killed() {
    let gateway = Gateway::serve(&[]);
    let url = gateway.rtsp("", "cam");
    let sender = ffmpeg(&url, "libopus", &TCP);
    is_live(&gateway);
    let viewer = Browser::chromium("rtsp-viewer").await;
    viewer.open(&gateway.url("/watch/cam")).await;
    let seen = watched(&viewer, "watch-rtsp").await;
    assert_eq!((&*seen.codec, seen.size), ("video/H264", (640, 360)));
    viewer.evaluate("window.first = whipstitch.pc").await;
    drop(sender);
    viewer.until("a pause", SOON, "return whipstitch.state === 'stalled'").await;
    let _again = ffmpeg(&url, "libopus", &TCP);
    viewer.until("pictures again", SOON, "return whipstitch.state === 'playing'").await;
    watched(&viewer, "watch-rtsp-again").await;
    assert_eq!(viewer.evaluate("return first === whipstitch.pc").await, true, "in the same session");
}

#[tokio::test]
async fn chromium_says_that_it_cannot_play_aac_and_shows_the_picture() {
    let gateway = Gateway::serve(&[]);
    let _sender = ffmpeg(&gateway.rtsp("", "cam"), "aac", &TCP);
    is_live(&gateway);
    let viewer = Browser::chromium("aac-viewer").await;
    viewer.open(&gateway.url("/watch/cam")).await;
    seen_without_sound(&viewer, "watch-aac").await;
    let said = "const silent = document.getElementById('silent'); return !silent.hidden && silent.innerText;";
    let said = viewer.until("why there is no sound", SOON, said).await;
    assert_eq!(said, "no sound: browsers cannot play AAC");
}

/// WebRTC in, through FFmpeg, WebRTC out: the picture comes as VP8 and leaves as H.264.
#[tokio::test]
async fn what_a_browser_publishes_comes_back_transcoded() {
    let gateway = Gateway::serve(&[]);
    let publisher = Browser::chromium("vp8").await;
    publisher.open(&gateway.url("/publish/cam?auto=1&codec=VP8")).await;
    published(&publisher, "publish-vp8").await;
    let mut transcoder = Command::new("ffmpeg");
    transcoder.args(["-v", "warning", "-nostdin", "-rtsp_transport", "tcp", "-i", &gateway.rtsp("", "cam")]);
    transcoder.args(["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "30"]);
    transcoder.args(["-pix_fmt", "yuv420p", "-vf", "scale=320:180", "-r", "15", "-c:a", "copy"]);
    transcoder.args(["-f", "rtsp", "-rtsp_transport", "tcp", &gateway.rtsp("", "cam-h264")]);
    let _transcoder = Process::start("ffmpeg", &transcoder);
    is_live(&gateway);
    let viewer = Browser::chromium("transcoded").await;
    viewer.open(&gateway.url("/watch/cam-h264")).await;
    let seen = watched(&viewer, "watch-transcoded").await;
    assert_eq!((&*seen.codec, seen.size), ("video/H264", (320, 180)));
}
