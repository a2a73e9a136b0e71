//! Readers stay while the publisher goes and comes back; what a killed reader had is free again.

use std::time::Duration;

use whipstitch_interop::Gateway;

use super::kit::{Flash, PATIENCE, Recording, Way, demo};
use crate::clients::client;

/// Seconds that are recorded.
const RECORDED: u32 = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ffmpeg_records_through_the_death_and_return_of_its_publisher() {
    let gateway = Gateway::serve(&[]);
    let publish = || {
        let publisher = client("ffmpeg_publish", &gateway.url("/whip/cam"), &[]);
        publisher.line(PATIENCE, "that it publishes", |line| (line == "publishing").then_some(()));
        publisher
    };
    let publisher = publish();
    let live = |line: &str| (line.contains("session connected") && line.contains("publisher")).then_some(());
    gateway.process().line(PATIENCE, "a publisher", live);

    let folder = tempfile::tempdir().expect("a folder");
    let names = ["tcp.mkv", "udp.mkv", "sdp.mkv"];
    let recordings: Vec<_> = Way::ALL
        .into_iter()
        .zip(names.map(|name| folder.path().join(name)))
        .map(|(way, file)| (way, way.record(&gateway, "cam", RECORDED, &file), file))
        .collect();
    tokio::time::sleep(Duration::from_secs(6)).await;
    // SIGKILL: nobody says goodbye.
    drop(publisher);
    // One that is silent for 2 s gives way to the next.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let _publisher = publish();

    for (way, ffmpeg, file) in recordings {
        // The same process to the end: nobody starts it again here.
        assert_eq!(ffmpeg.end(PATIENCE).code(), Some(0), "{}", ffmpeg.said());
        let recording = Recording::open(&file, &Flash::Everywhere);
        assert!(recording.is_monotonic(), "{way:?}: {:?} {:?}", recording.video, recording.audio);
        let gaps = recording.gaps(0.5);
        let [(at, gap)] = gaps[..] else { panic!("{way:?}: {gaps:?}") };
        assert!((2.0..10.0).contains(&at) && (2.5..9.0).contains(&gap), "{way:?}: {gap} s at {at} s");
        let (count, earliest, latest) = recording.lips();
        println!("{way:?}: a gap of {gap:.2} s; {count} ticks from {earliest:.1} ms to {latest:.1} ms");
        assert!(count as f64 >= f64::from(RECORDED) - gap - 3.0, "{way:?}: {count} flashes with a tick");
    }
}

/// A block of four UDP ports that is free and begins even: none the kernel gives to whoever asks for any, and
/// not those that gateways beside this one lease, so that it stays free.
fn four_ports() -> u16 {
    let free = |port: u16| (port..port + 4).all(|port| std::net::UdpSocket::bind(("127.0.0.1", port)).is_ok());
    // Another run of these tests begins elsewhere.
    let begin = u16::try_from(std::process::id() % 2000).expect("below 2000");
    let blocks = (0..2000).map(|block| 12_000 + (begin + block) % 2000 * 4);
    blocks.into_iter().find(|port| free(*port)).expect("four free ports in a row")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_reader_had_that_is_killed_is_free_again_and_it_can_come_back() {
    let first = four_ports();
    let gateway = demo(&["--rtp-ports", &format!("{first}-{}", first + 3)]);
    let folder = tempfile::tempdir().expect("a folder");
    let sdp = gateway.url("/whip/demo/sdp");
    let subscribers = async || {
        let known = reqwest::get(gateway.url("/api/v1/streams/demo")).await.expect("an answer");
        let known: serde_json::Value = known.json().await.expect("JSON");
        known["subscribers"].as_array().map_or(0, Vec::len)
    };
    let readers: Vec<_> = [Way::Sdp, Way::RtspTcp]
        .map(|way| {
            let reader = way.record(&gateway, "demo", 600, &folder.path().join(format!("{way:?}.mkv")));
            (way, reader)
        })
        .into();
    let all = async {
        while subscribers().await < 2 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, all).await.expect("both read");
    assert_eq!(reqwest::get(&sdp).await.expect("an answer").status(), 503, "the only ports are leased");
    drop(readers);
    let gone = async {
        while subscribers().await > 0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        // Ports rest for 10 s.
        loop {
            let probe = Way::Sdp.input(&gateway, "ffprobe", "demo").output().expect("ffprobe");
            if probe.status.success() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("ports and sessions of the dead");
}
