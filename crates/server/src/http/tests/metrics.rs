//! Metrics: what is counted, that labels are bounded, and that nothing ever goes back.

use super::*;
use crate::media::{Counters, WorkerReport};

/// The value of a series; the whole line but the number names it.
async fn value(site: &Site, series: &str) -> Option<f64> {
    let answer = site.ask("GET", "/metrics", &[], "").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.field("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let line = answer.body.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    Some(line.parse().unwrap())
}

fn requests(route: &str, code: u16, stream: &str) -> String {
    format!("whipstitch_http_requests_total{{code=\"{code}\",route=\"{route}\",stream=\"{stream}\"}}")
}

#[tokio::test]
async fn requests_are_counted_and_only_streams_that_are_published_are_named() {
    let site = Site::open().await;
    site.media.live.lock().unwrap().insert("cam".to_owned());
    for (target, times) in [("/whep/cam", 2), ("/whep/nobody", 1), ("/rtc/v1/whep?stream=cam", 1)] {
        for _ in 0..times {
            assert_eq!(site.ask("POST", target, &[SDP_TYPE], OFFER).await.status, 201, "{target}");
        }
    }
    // A name that was a label stays one: its counter must not end.
    site.media.live.lock().unwrap().clear();
    assert_eq!(site.ask("GET", "/whep/cam", &[], "").await.status, 200);
    assert_eq!(site.ask("POST", "/whep/cam", &[], OFFER).await.status, 415);
    site.ask("GET", "/nowhere/secret", &[], "").await;
    for (series, expected) in [
        (requests("subscribe", 201, "cam"), 3.0),
        (requests("subscribe", 201, "other"), 1.0),
        // Refused before anybody looked at the name.
        (requests("subscribe", 415, ""), 1.0),
        (requests("probe", 200, "cam"), 1.0),
        (requests("none", 404, ""), 1.0),
        ("whipstitch_http_request_duration_seconds_count{route=\"subscribe\"}".to_owned(), 5.0),
    ] {
        assert_eq!(value(&site, &series).await, Some(expected), "{series}");
    }
    let all = site.ask("GET", "/metrics", &[], "").await.body;
    assert!(!all.contains("nobody") && !all.contains("secret"), "{all}");
}

#[tokio::test]
async fn streams_beyond_the_first_hundred_share_a_label() {
    let site = Site::open().await;
    let names: Vec<String> = (0..101).map(|name| format!("s{name}")).collect();
    site.media.live.lock().unwrap().extend(names.iter().cloned());
    let mut client = site.connect().await;
    for name in &names {
        client.send(&site.request("GET", &format!("/whep/{name}"), &[], "")).await;
        assert_eq!(client.answer("GET").await.status, 200);
    }
    assert_eq!(value(&site, &requests("probe", 200, "s99")).await, Some(1.0));
    assert_eq!(value(&site, &requests("probe", 200, "s100")).await, None);
    assert_eq!(value(&site, &requests("probe", 200, "other")).await, Some(1.0));
}

#[tokio::test]
async fn every_bound_is_there_before_it_is_reached() {
    let site = Site::open().await;
    for role in ["publisher", "subscriber"] {
        for reason in ["global", "conflict", "draining", "overload", "rate"] {
            let series = format!("whipstitch_cap_rejections_total{{reason=\"{reason}\",role=\"{role}\",stream=\"\"}}");
            assert_eq!(value(&site, &series).await, Some(0.0), "{series}");
        }
    }
}

#[tokio::test]
async fn refusals_say_which_bound_was_reached_and_which_codec_was_missing() {
    let site = Site::open().await;
    site.media.live.lock().unwrap().insert("cam".to_owned());
    let retry_after = Duration::from_secs(1);
    for (refusal, target) in [
        (Refusal::Conflict { retry_after }, "/whip/cam"),
        (Refusal::Busy { retry_after }, "/whep/cam"),
        (Refusal::Codec { lacking: vec!["H264", "opus"], text: "nothing fits".to_owned() }, "/whep/cam"),
    ] {
        *site.media.refusal.lock().unwrap() = Some(refusal);
        assert!(site.ask("POST", target, &[SDP_TYPE], OFFER).await.status >= 400);
    }
    site.state.drain();
    site.ask("POST", "/whep/x", &[SDP_TYPE], OFFER).await;
    for series in [
        "whipstitch_cap_rejections_total{reason=\"conflict\",role=\"publisher\",stream=\"cam\"}",
        "whipstitch_cap_rejections_total{reason=\"global\",role=\"subscriber\",stream=\"cam\"}",
        "whipstitch_cap_rejections_total{reason=\"draining\",role=\"subscriber\",stream=\"\"}",
        "whipstitch_codec_mismatches_total{codec=\"h264\",role=\"subscriber\",stream=\"cam\"}",
        "whipstitch_codec_mismatches_total{codec=\"opus\",role=\"subscriber\",stream=\"cam\"}",
    ] {
        assert_eq!(value(&site, series).await, Some(1.0), "{series}");
    }
}

fn worker(worker: usize, uptime: u64, packets: u64, lost: u64) -> WorkerReport {
    let mut report = WorkerReport { worker, uptime: Duration::from_secs(uptime), ..WorkerReport::default() };
    report.publishers.counters = Counters { packets, lost, nacks: 5, ..Counters::default() };
    report
}

#[tokio::test]
async fn a_worker_that_does_not_answer_is_shown_as_down_and_takes_nothing_back() {
    let site = Site::open().await;
    let packets = "whipstitch_rtp_packets_total{direction=\"in\"}";
    let up = "whipstitch_worker_up{worker=\"1\"}";
    let answer = |workers: Vec<WorkerReport>| Measured { all: 2, workers, ..Measured::default() };
    for (workers, expected) in [
        (vec![worker(0, 1, 10, 0)], (10.0, 0.0)),
        (vec![worker(0, 2, 11, 0), worker(1, 2, 100, 0)], (111.0, 1.0)),
        (vec![worker(0, 3, 12, 0)], (112.0, 0.0)),
        (vec![], (112.0, 0.0)),
        (vec![worker(1, 4, 101, 0)], (113.0, 1.0)),
    ] {
        *site.media.measured.lock().unwrap() = answer(workers);
        assert_eq!((value(&site, packets).await, value(&site, up).await), (Some(expected.0), Some(expected.1)));
    }
    assert_eq!(value(&site, "whipstitch_nacks_total{direction=\"out\"}").await, Some(10.0));
}

#[tokio::test]
async fn a_packet_that_comes_late_takes_nothing_back() {
    let site = Site::open().await;
    for (uptime, lost, expected) in [(1, 5, 5.0), (2, 3, 5.0), (3, 7, 7.0)] {
        *site.media.measured.lock().unwrap() =
            Measured { all: 1, workers: vec![worker(0, uptime, 10, lost)], ..Measured::default() };
        assert_eq!(value(&site, "whipstitch_rtp_lost_packets_total{direction=\"in\"}").await, Some(expected));
    }
}
