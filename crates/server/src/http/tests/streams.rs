//! Lists and statistics.

use whipstitch_stream::stats::StreamStats;

use super::*;

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
