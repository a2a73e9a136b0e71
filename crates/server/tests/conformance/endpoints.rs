//! The endpoints against the running server: the order of checks down to what only the media plane knows, and who gets
//! a stream (protocol.md 2, 3.1, 3.2, 4.3).

use std::sync::Barrier;

use crate::kit::{SDP, Site, changed, offers};

#[test]
fn a_deleted_publishers_place_is_free_at_once() {
    let site = Site::start();
    for round in 0..50 {
        let accepted = site.post("/whip/cam", &offers::offer("obs-32"));
        assert_eq!(accepted.status, 201, "round {round}: {}", accepted.text());
        site.ask("DELETE", accepted.location(), &[], "").is(200);
    }
}

#[test]
fn of_eight_publishers_at_once_one_has_the_stream() {
    let site = Site::start();
    let offer = offers::offer("obs-32");
    for round in 0..10 {
        let target = format!("/whip/cam{round}");
        let barrier = Barrier::new(8);
        let mut statuses: Vec<u16> = std::thread::scope(|scope| {
            let post = || {
                let mut connection = site.connect();
                barrier.wait();
                connection.request("POST", &target, &[SDP], &offer);
                connection.answer("POST").status
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(post)).collect();
            threads.into_iter().map(|thread| thread.join().expect("an answer")).collect()
        });
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 409, 409, 409, 409, 409, 409, 409]);
    }
}

/// design.md 1.4: a publisher that was silent for 2 s gives way to one that is there.
#[test]
fn a_silent_publisher_is_replaced_and_told_so() {
    // It is asked again and again, more often than one client may.
    let site = Site::with(|config| config.limits.requests.per_second = 0);
    let silent = site.live("cam", "obs-32");
    let offer = offers::offer("obs-32");
    let conflict = site.post("/whip/cam", &offer).is(409);
    assert!(conflict.field("retry-after").is_some());
    site.until(|| site.post("/whip/cam", &offer).status == 201);
    site.until(|| silent.is_closed());
    site.until(|| site.ask("GET", silent.url(), &[], "").status == 404);
    site.ask("DELETE", silent.url(), &[], "").is(200);
    site.post("/whip/cam", &offer).is(409);
}

/// design.md 1.2 over protocol.md 3.1.
#[test]
fn delete_on_the_endpoint_ends_the_current_publisher() {
    let site = Site::start();
    site.ask("DELETE", "/whip/cam", &[], "").is(404);
    let publisher = site.live("cam", "obs-32");
    site.ask("DELETE", "/whip/cam", &[], "").is(200);
    site.until(|| publisher.is_closed());
    site.until(|| site.ask("DELETE", "/whip/cam", &[], "").status == 404);
    site.ask("DELETE", publisher.url(), &[], "").is(200);
}

/// protocol.md 2 item 2: each request fails several checks, and the first in the order answers.
#[test]
fn checks_come_in_their_order_down_to_the_state() {
    let site = Site::configured("token = 'good'");
    let token = "Authorization: Bearer good";
    let good = offers::offer("obs-32");
    let _publisher = crate::kit::Live::connect(&site, "/whip/taken?token=good", &good);
    let watch = changed(&good, &[("a=sendonly", "a=recvonly")]);
    let large = "x".repeat(64 * 1024 + 1);
    let no_mux = changed(&good, &[("a=rtcp-mux\r\n", "")]);
    let taken = "/whip/taken";
    let idle = "/whep/idle";
    for (rule, method, target, fields, body, status) in [
        ("route", "PUT", "/what", &[][..], &*large, 404),
        ("method", "PUT", taken, &[], &large, 405),
        ("preflight", "OPTIONS", taken, &["Origin: http://a", "Access-Control-Request-Method: POST"], "", 200),
        ("no token", "POST", taken, &[], &large, 401),
        ("a wrong token", "POST", taken, &["Authorization: Bearer bad"], &large, 401),
        ("no token at all", "POST", taken, &["Authorization: Bearer"], &large, 400),
        ("size", "POST", taken, &[token], &large, 413),
        ("type", "POST", taken, &[token], "{}", 415),
        ("syntax", "POST", taken, &[token, SDP], "{}", 400),
        ("meaning", "POST", taken, &[token, SDP], &no_mux, 422),
        ("direction", "POST", taken, &[token, SDP], &watch, 422),
        ("state", "POST", taken, &[token, SDP], &good, 409),
        ("a viewer's syntax", "POST", idle, &[token, SDP], "{}", 400),
        ("a viewer's meaning", "POST", idle, &[token, SDP], &no_mux, 422),
        ("a viewer's direction", "POST", idle, &[token, SDP], &good, 422),
        ("a viewer's state", "POST", idle, &[token, SDP], &watch, 409),
    ] {
        let answer = site.ask(method, target, fields, body);
        assert_eq!(answer.status, status, "{rule}: {}", answer.text());
        assert_eq!(answer.field("www-authenticate").is_some(), status == 401 || rule == "no token at all", "{rule}");
    }
}

/// protocol.md 2 item 4: lengths known and unknown.
#[test]
fn an_offer_may_come_in_chunks() {
    let site = Site::start();
    let offer = offers::offer("firefox-153-publisher");
    let mut connection = site.connect();
    connection.request("POST", "/whip/cam", &[SDP, "Transfer-Encoding: chunked"], "");
    for piece in offer.as_bytes().chunks(700) {
        connection.send([format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat());
    }
    connection.send("0\r\n\r\n");
    connection.answer("POST").is(201);
}
