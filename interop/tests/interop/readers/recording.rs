//! What FFmpeg records of a stream, every way there is, plays back as it was sent.

use std::time::Duration;

use serde_json::Value;
use whipstitch_interop::Gateway;

use super::kit::{Flash, PATIENCE, Recording, Way, demo};

/// Seconds that are recorded.
const RECORDED: u32 = 30;

/// What FFmpeg 5.1 remarks of every H.264 and Opus that it copies from RTP: it does not guess when the first pictures are to
/// be decoded, and Opus has no constant frame size. Neither is to be seen in the file.
const KNOWN: [&str; 2] = ["Timestamps are unset in a packet for stream 0", "codec frame size is not set"];

/// The built-in clip, which is what our client sends.
const RATES: [f64; 2] = [30.0, 50.0];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_ffmpegs_at_once_record_half_a_minute_with_every_picture_and_lips_in_time() {
    let gateway = demo(&[]);
    for way in Way::ALL {
        let said = way.probe(&gateway, "demo");
        assert!(said.contains("codec_name=h264|width=1280|height=720"), "{way:?}: {said}");
        assert!(said.contains("codec_name=opus|sample_rate=48000|channels=2"), "{way:?}: {said}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let names = ["tcp.mp4", "udp.mkv", "sdp.mp4"];
    let recordings: Vec<_> = Way::ALL
        .into_iter()
        .zip(names.map(|name| folder.path().join(name)))
        .map(|(way, file)| (way, way.record(&gateway, "demo", RECORDED, &file), file))
        .collect();
    reports_of_players_are_in_the_api(&gateway, "demo").await;
    for (way, ffmpeg, file) in recordings {
        assert_eq!(ffmpeg.end(PATIENCE).code(), Some(0), "{}", ffmpeg.said());
        let said = ffmpeg.said();
        let remark = said.lines().find(|line| !KNOWN.iter().any(|known| line.contains(known)));
        assert_eq!(remark, None, "{way:?}: FFmpeg has nothing else to remark");
        let recording = Recording::open(&file, &Flash::Clip);
        is_complete(way, &recording);
        let (count, earliest, latest) = recording.lips();
        println!("{way:?}: {count} ticks from {earliest:.1} ms to {latest:.1} ms");
        assert!(count >= RECORDED as usize - 2, "{way:?}: {count} flashes with a tick");
    }
    assert_eq!(gateway.stop().code(), Some(0), "{}", gateway.process().said());
}

fn is_complete(way: Way, recording: &Recording) {
    assert!(recording.is_monotonic(), "{way:?}: {:?} {:?}", recording.video, recording.audio);
    for (times, rate) in [&recording.video, &recording.audio].into_iter().zip(RATES) {
        let (count, expected) = (times.len() as f64, f64::from(RECORDED) * rate);
        assert!((count - expected).abs() <= expected * 0.01, "{way:?}: {count} packets, not {expected}");
        assert!(times[0].abs() < 0.1, "{way:?}: both begin at once, not at {}", times[0]);
    }
    assert_eq!(recording.gaps(0.05), [], "{way:?}");
}

/// Whoever reports what it gets, which FFmpeg does over UDP, is seen with loss, jitter and round trip.
async fn reports_of_players_are_in_the_api(gateway: &Gateway, stream: &str) {
    let url = gateway.url(&format!("/api/v1/streams/{stream}"));
    let told = async {
        loop {
            let known: Value = reqwest::get(&url).await.expect("an answer").json().await.expect("JSON");
            let subscribers = known["subscribers"].as_array().cloned().unwrap_or_default();
            let told = |one: &&Value| {
                let fields = ["recent_loss", "jitter_ms", "rtt_ms"];
                one["transport"] == "udp" && fields.iter().all(|field| one[field].is_number())
            };
            if let Some(one) = subscribers.iter().find(told) {
                return one.clone();
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let told = tokio::time::timeout(PATIENCE, told).await.expect("a player's report in the API");
    assert_eq!(told["recent_loss"], 0.0, "{told}");
    assert!(told["rtt_ms"].as_f64().is_some_and(|rtt| rtt < 1000.0), "{told}");
}
