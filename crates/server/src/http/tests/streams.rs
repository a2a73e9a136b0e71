//! Lists and statistics.

use whipstitch_media::codec::Codec;
use whipstitch_stream::stats::StreamStats;

use super::*;
use crate::media::{SessionReport, SessionStats};

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
    let stats = SessionStats {
        since: Instant::now().checked_sub(Duration::from_secs(age)).unwrap(),
        connected: false,
        remote: None,
        user_agent: None,
        codecs: Vec::new(),
        packets: 0,
        bytes: 0,
        lost: 0,
        nacks: 0,
        resent: 0,
        keyframe_requests: 0,
        rtt: None,
    };
    SessionReport { session: SessionId(id), stream: StreamKey::parse(stream).unwrap(), role, stats }
}

#[tokio::test]
async fn sessions_are_listed_by_stream_and_age_with_all_that_is_known() {
    let site = Site::open().await;
    assert_eq!(json(&site.ask("GET", "/api/v1/sessions", &[], "").await), serde_json::json!({ "sessions": [] }));

    let mut told = session(0xab, "a", Role::Publisher, 30);
    told.stats.connected = true;
    told.stats.remote = Some("192.0.2.7:5000".parse().unwrap());
    told.stats.user_agent = Some("OBS".to_owned());
    told.stats.codecs = vec![Codec::H264, Codec::Opus];
    told.stats.packets = 300;
    told.stats.bytes = 4000;
    told.stats.lost = 100;
    told.stats.nacks = 5;
    told.stats.resent = 4;
    told.stats.keyframe_requests = 3;
    told.stats.rtt = Some(Duration::from_micros(12_340));
    let (a, b) = (report("a"), report("b"));
    *site.media.streams.lock().unwrap() = vec![
        StreamReport { subscribers: vec![session(3, "b", Role::Subscriber, 50)], ..b },
        StreamReport {
            subscribers: vec![session(2, "a", Role::Subscriber, 10), session(1, "a", Role::Subscriber, 20)],
            publisher: Some(told),
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
    let expected = serde_json::json!({
        "session": "00000000000000ab",
        "stream": "a",
        "role": "publisher",
        "since": since,
        "connected": true,
        "remote": "192.0.2.7:5000",
        "user_agent": "OBS",
        "codecs": ["H264", "opus"],
        "packets": 300,
        "bytes": 4000,
        "lost": 100,
        "loss": 0.25,
        "rtt_ms": 12.3,
        "nacks": 5,
        "resent": 4,
        "keyframe_requests": 3,
    });
    assert_eq!(list[0], expected);
    assert_eq!((&list[1]["remote"], &list[1]["rtt_ms"]), (&serde_json::Value::Null, &serde_json::Value::Null));
    assert_eq!(site.ask("POST", "/api/v1/sessions", &[], "").await.status, 405);
}
