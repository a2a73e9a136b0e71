//! Lists and statistics.

use whipstitch_media::codec::Codec;
use whipstitch_stream::PerKind;
use whipstitch_stream::stats::{StreamStats, TrackStats};

use super::*;
use crate::media::{Counters, SessionReport, SessionStats};

fn report(name: &str) -> StreamReport {
    StreamReport {
        key: StreamKey::parse(name).unwrap(),
        stats: Some(StreamStats::default()),
        publisher: None,
        live: false,
        subscribers: Vec::new(),
    }
}

fn json(answer: &Answer) -> serde_json::Value {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.field("content-type"), Some("application/json"));
    answer.check();
    serde_json::from_str(&answer.body).unwrap()
}

#[tokio::test]
async fn the_statistics_are_the_media_planes_numbers() {
    let site = Site::open().await;
    let numbers = json(&site.ask("GET", "/api/v3/webrtc/stats", &[], "").await);
    let expected = serde_json::json!({
        "active_streams": 1,
        "active_peers": 3,
        "active_publishers": 2,
        "udp_ports_in_use": 1,
    });
    assert_eq!(numbers, expected);
}

#[tokio::test]
async fn streams_are_listed_by_name_and_found_by_name() {
    let site = Site::open().await;
    assert_eq!(json(&site.ask("GET", "/api/v1/streams", &[], "").await), serde_json::json!({ "streams": [] }));
    *site.media.streams.lock().unwrap() = vec![report("b"), report("a")];
    let list = json(&site.ask("GET", "/api/v1/streams", &[], "").await);
    let names: Vec<_> = list["streams"].as_array().unwrap().iter().map(|stream| stream["name"].clone()).collect();
    assert_eq!(names, ["a", "b"]);
    let one = json(&site.ask("GET", "/api/v1/streams/b", &[], "").await);
    assert_eq!(one, list["streams"][1]);
    for (target, status) in [("/api/v1/streams/c", 404), ("/api/v1/streams/a%20b", 400)] {
        assert_eq!(site.ask("GET", target, &[], "").await.status, status, "{target}");
    }
    assert_eq!(site.ask("POST", "/api/v1/streams", &[], "").await.status, 405);
}

/// A session that began so many seconds ago and has told nothing yet.
fn session(id: u64, stream: &str, role: Role, age: u64) -> SessionReport {
    let stats = SessionStats::new(Instant::now().checked_sub(Duration::from_secs(age)).unwrap());
    SessionReport { session: SessionId(id), stream: StreamKey::parse(stream).unwrap(), role, stats }
}

fn counters() -> Counters {
    Counters {
        packets: 300,
        bytes: 4000,
        lost: 100,
        nacks: 5,
        resent: 4,
        rtx: 6,
        plis: 2,
        firs: 1,
        rejected: 0,
        unsealed: 0,
        skipped: 0,
    }
}

fn tracks() -> PerKind<Option<TrackStats>> {
    let audio = TrackStats {
        codec: Codec::Opus,
        size: None,
        fps: 50.0,
        bitrate: 64_000,
        packets: 50,
        bytes: 1000,
        lost: 0,
        duplicates: 0,
        broken: 0,
        misplaced: 0,
        keyframes: 0,
        keyframe_interval: None,
        b_frames: false,
    };
    let video = TrackStats {
        codec: Codec::H264,
        size: Some((1280, 720)),
        fps: 29.875,
        bitrate: 1_000_000,
        packets: 250,
        bytes: 3000,
        lost: 7,
        duplicates: 1,
        broken: 2,
        misplaced: 3,
        keyframes: 4,
        keyframe_interval: Some(Duration::from_secs(2)),
        b_frames: true,
    };
    PerKind { audio: Some(audio), video: Some(video) }
}

fn later(time: &str, seconds: u64) -> String {
    let time = humantime::parse_rfc3339(time).unwrap() + Duration::from_secs(seconds);
    humantime::format_rfc3339_seconds(time).to_string()
}

#[tokio::test]
async fn sessions_are_listed_by_stream_and_age_with_all_that_is_known() {
    let site = Site::open().await;
    assert_eq!(json(&site.ask("GET", "/api/v1/sessions", &[], "").await), serde_json::json!({ "sessions": [] }));

    let mut told = session(0xab, "a", Role::Publisher, 30);
    told.stats.connected = Some(told.stats.since + Duration::from_secs(1));
    told.stats.first_media = Some(told.stats.since + Duration::from_secs(2));
    told.stats.remote = Some("192.0.2.7:5000".parse().unwrap());
    told.stats.transport = Some("udp");
    told.stats.srtp = Some("SRTP_AEAD_AES_128_GCM");
    told.stats.user_agent = Some("OBS".to_owned());
    told.stats.codecs = vec![Codec::H264, Codec::Opus];
    told.stats.loss = Some(0.5);
    told.stats.jitter = Some(Duration::from_micros(1500));
    told.stats.counters = counters();
    told.stats.rtt = Some(Duration::from_micros(12_340));
    let (a, b) = (report("a"), report("b"));
    *site.media.streams.lock().unwrap() = vec![
        StreamReport { subscribers: vec![session(3, "b", Role::Subscriber, 50)], ..b },
        StreamReport {
            subscribers: vec![session(2, "a", Role::Subscriber, 10), session(1, "a", Role::Subscriber, 20)],
            publisher: Some(told),
            stats: Some(StreamStats { tracks: tracks(), ..StreamStats::default() }),
            ..a
        },
    ];
    let list = json(&site.ask("GET", "/api/v1/sessions/", &[], "").await);
    let list = list["sessions"].as_array().unwrap();
    let shown: Vec<_> = list.iter().map(|one| ["stream", "role", "session"].map(|name| one[name].clone())).collect();
    let expected = [
        ["a", "publisher", "00000000000000ab"],
        ["a", "subscriber", "0000000000000001"],
        ["a", "subscriber", "0000000000000002"],
        ["b", "subscriber", "0000000000000003"],
    ];
    assert_eq!(shown, expected);

    let since = list[0]["since"].as_str().unwrap();
    let age = std::time::SystemTime::now().duration_since(humantime::parse_rfc3339(since).unwrap()).unwrap();
    assert!((29..60).contains(&age.as_secs()), "{since}");
    let video = serde_json::json!({
        "codec": "H264",
        "unplayable": null,
        "width": 1280,
        "height": 720,
        "fps": 29.9,
        "bitrate": 1_000_000,
        "packets": 250,
        "bytes": 3000,
        "lost": 7,
        "dropped": 6,
        "keyframes": 4,
        "keyframe_interval_ms": 2000,
        "b_frames": true,
    });
    let audio = serde_json::json!({
        "codec": "opus",
        "unplayable": null,
        "width": null,
        "height": null,
        "fps": 50.0,
        "bitrate": 64_000,
        "packets": 50,
        "bytes": 1000,
        "lost": 0,
        "dropped": 0,
        "keyframes": 0,
        "keyframe_interval_ms": null,
        "b_frames": false,
    });
    let expected = serde_json::json!({
        "session": "00000000000000ab",
        "stream": "a",
        "role": "publisher",
        "state": "connected",
        "since": since,
        "connected": true,
        "connected_at": later(since, 1),
        "first_media_at": later(since, 2),
        "first_media_ms": 2000.0,
        "remote": "192.0.2.7:5000",
        "protocol": "webrtc",
        "transport": "udp",
        "srtp": "SRTP_AEAD_AES_128_GCM",
        "user_agent": "OBS",
        "codecs": ["H264", "opus"],
        "packets": 300,
        "bytes": 4000,
        "bitrate": 1_064_000,
        "lost": 100,
        "loss": 0.25,
        "recent_loss": 0.5,
        "jitter_ms": 1.5,
        "rtt_ms": 12.3,
        "nacks": 5,
        "resent": 4,
        "rtx": 6,
        "plis": 2,
        "firs": 1,
        "keyframe_requests": 3,
        "video": video,
        "audio": audio,
        "closed_at": null,
        "close_reason": null,
    });
    assert_eq!(list[0], expected);
    assert_eq!((&list[1]["remote"], &list[1]["rtt_ms"]), (&serde_json::Value::Null, &serde_json::Value::Null));
    assert_eq!(site.ask("POST", "/api/v1/sessions", &[], "").await.status, 405);
}

#[tokio::test]
async fn sessions_that_ended_lately_are_shown_with_when_and_why() {
    let site = Site::open().await;
    let at = Instant::now().checked_sub(Duration::from_secs(5)).unwrap();
    let mut ended = session(0xcd, "gone", Role::Subscriber, 60);
    ended.stats.connected = Some(ended.stats.since);
    ended.stats.counters = counters();
    *site.media.closed.lock().unwrap() = vec![ClosedSession { report: ended, reason: "ice_timeout", at }];
    *site.media.streams.lock().unwrap() =
        vec![StreamReport { subscribers: vec![session(1, "b", Role::Subscriber, 50)], ..report("b") }];

    let list = json(&site.ask("GET", "/api/v1/sessions?state=closed", &[], "").await);
    let one = &list["sessions"][0];
    assert_eq!(list["sessions"].as_array().unwrap().len(), 1);
    assert_eq!((&one["session"], &one["stream"]), (&"00000000000000cd".into(), &"gone".into()));
    assert_eq!((&one["state"], &one["connected"], &one["packets"]), (&"closed".into(), &false.into(), &300.into()));
    assert_eq!(one["close_reason"], "ice_timeout");
    assert_eq!(one["closed_at"], later(one["since"].as_str().unwrap(), 55));

    let open = json(&site.ask("GET", "/api/v1/sessions?state=open", &[], "").await);
    assert_eq!(open["sessions"][0]["session"], "0000000000000001");
    assert_eq!(open["sessions"][0]["state"], "connecting");
    assert_eq!(json(&site.ask("GET", "/api/v1/sessions/00000000000000cd", &[], "").await), *one);
    assert_eq!(json(&site.ask("GET", "/api/v1/sessions/0000000000000001", &[], "").await), open["sessions"][0]);
    for (target, status) in [
        ("/api/v1/sessions?state=dead", 400),
        ("/api/v1/sessions?state=open&state=closed", 400),
        ("/api/v1/sessions/0000000000000002", 404),
        ("/api/v1/sessions/x", 400),
    ] {
        assert_eq!(site.ask("GET", target, &[], "").await.status, status, "{target}");
    }
}
