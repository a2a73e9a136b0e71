//! Clients whose network lets no UDP out (RFC 6544): everything over TCP, from the answer to the API.

use std::time::Duration;

use whipstitch_client::load::{self, LoadOptions};
use whipstitch_client::{whep, whip};

use crate::kit::Site;

fn url(site: &Site, target: &str) -> String {
    format!("http://{}{target}", site.http())
}

#[test]
fn a_publisher_and_its_viewers_over_tcp_lose_nothing_on_any_worker() {
    let site = Site::with(|config| config.workers = 3);
    let run = load::run(LoadOptions {
        tcp: true,
        viewers: 9,
        full_viewers: 9,
        duration: Duration::from_secs(2),
        joins_per_second: 100.0,
        // Another start would end what a viewer is replayed, and leave out the rest of it.
        gop: Duration::from_secs(60),
        obeys_keyframe_requests: false,
        ..LoadOptions::new(Some(url(&site, "/whip/load")), url(&site, "/whep/load"))
    });
    let report = site.wait(run).expect("the publisher lives");
    assert_eq!((report.joined, report.ended_early), (9, 0), "\n{report}");
    assert_eq!((report.lost, report.reordered, report.duplicates), (0, 0, 0), "\n{report}");
    assert_eq!((report.corrupt, report.misplaced), (0, 0), "\n{report}");
}

#[test]
fn the_api_says_who_came_over_tcp() {
    let site = Site::start();
    let publish =
        |stream: &str, tcp| whip::Options { tcp, ..whip::Options::new(url(&site, &format!("/whip/{stream}"))) };
    let watch = whep::Options { tcp: true, ..whep::Options::new(url(&site, "/whep/over-udp")) };
    let sessions = site.wait(async {
        let udp = whip::Publisher::connect(&publish("over-udp", false)).await.expect("a publisher");
        let tcp = whip::Publisher::connect(&publish("over-tcp", true)).await.expect("a publisher");
        (udp, tcp, whep::Player::connect(&watch).await.expect("a player"))
    });
    let answer = site.ask("GET", "/api/v1/sessions", &[], "").is(200);
    let listed: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
    let mut transports: Vec<(&str, &str, &str)> = listed["sessions"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| [&one["stream"], &one["role"], &one["transport"]].map(|value| value.as_str().expect("a word")))
        .map(|[stream, role, transport]| (stream, role, transport))
        .collect();
    transports.sort_unstable();
    let expected =
        [("over-tcp", "publisher", "tcp"), ("over-udp", "publisher", "udp"), ("over-udp", "subscriber", "tcp")];
    assert_eq!(transports, expected);
    drop(sessions);
}
