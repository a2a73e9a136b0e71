//! Sessions from their 201 to their end, and the end of the server, as clients see them.

use crate::kit::{FRAGMENT, Live, SDP, Site, changed, offers};

/// protocol.md 3.1 and 3.3: DELETE is 200, media ends with a DTLS close, the URL is a tombstone, the slot is free.
#[test]
fn delete_ends_a_session_at_once_and_its_url_stays_good_for_delete() {
    let site = Site::start();
    let publisher = site.live("cam", "obs-32");
    site.ask("GET", publisher.url(), &[], "").is(204);
    let second = site.post("/whip/cam", &offers::offer("obs-32")).is(409);
    assert!(second.field("retry-after").is_some_and(|seconds| seconds.parse::<u32>().is_ok()), "{second:?}");
    assert_eq!(second.detail(), "somebody is publishing this stream already");

    let ended = site.ask("DELETE", publisher.url(), &["If-Match: \"of-something-else\""], "").is(200);
    assert!(ended.body.is_empty());
    site.until(|| publisher.is_closed());
    site.ask("DELETE", publisher.url(), &[], "").is(200);
    site.ask("GET", publisher.url(), &[], "").is(404);
    site.ask("DELETE", "/whip/cam/0123456789abcdef0123456789abcdef", &[], "").is(404);
    let next = site.post("/whip/cam", &offers::offer("obs-32")).is(201);
    assert_ne!(next.etag(), publisher.accepted.etag());
}

/// protocol.md 3.1 and design.md 1.1: a stopping server takes nobody new and says when to come back, and says goodbye
/// to those it has.
#[test]
fn a_stopping_server_answers_503_and_says_goodbye() {
    let mut site = Site::start();
    let publisher = site.live("cam", "obs-32");
    // A connection from before, as a browser holds one.
    let mut connection = site.connect();
    connection.request("GET", "/readyz", &[], "");
    connection.answer("GET").is(200);
    let stopping = site.stop();
    site.until(|| site.post("/whep/nobodys", "v=0").status == 503);
    for target in ["/whip/other", "/whep/cam"] {
        connection.request("POST", target, &[SDP], offers::offer("obs-32"));
        let answer = connection.answer("POST").is(503);
        assert!(answer.field("retry-after").is_some_and(|seconds| seconds.parse::<u32>().is_ok()), "{answer:?}");
    }
    site.until(|| publisher.is_closed());
    site.wait(stopping).expect("it stops");
    assert!(connection.is_closed());
}

/// protocol.md 2 item 4.
#[test]
fn a_client_that_waits_for_100_continue_is_told_to_go_on() {
    let site = Site::start();
    let offer = offers::offer("obs-32");
    let mut connection = site.connect();
    let head = format!(
        "POST /whip/cam HTTP/1.1\r\nHost: {}\r\n{SDP}\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        site.http(),
        offer.len()
    );
    connection.send(head);
    assert_eq!(connection.answer("POST").status, 100);
    connection.send(&offer);
    connection.answer("POST").is(201);
}

/// protocol.md 4.1 and 4.2 on a session that is connected: a restart changes tag and credentials and nothing else.
#[test]
fn a_connected_session_lives_through_an_ice_restart() {
    let site = Site::start();
    let publisher = site.live("cam", "obs-32");
    let fragment =
        "a=ice-ufrag:ABCD\r\na=ice-pwd:0123456789012345678901\r\nm=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:1\r\n";
    let tag = format!("If-Match: {}", publisher.accepted.etag());
    let restarted = site.ask("PATCH", publisher.url(), &[FRAGMENT, &tag], fragment).is(200);
    assert_eq!(restarted.field("content-type"), Some("application/trickle-ice-sdpfrag"));
    let one_changed = changed(fragment, &[("ABCD", "EFGH")]);
    site.ask("PATCH", publisher.url(), &[FRAGMENT, "If-Match: *"], &one_changed).is(400);
    site.ask("PATCH", publisher.url(), &[FRAGMENT, "If-Match: *"], fragment).is(204);
    site.ask("PATCH", publisher.url(), &[FRAGMENT, &tag], fragment).is(412);
    assert!(!publisher.is_closed() && site.stream("cam")["live"] == true);
}

/// protocol.md 3.2: viewers that come first are told to come again, unless the operator lets them wait.
#[test]
fn viewers_that_come_before_the_publisher_wait_where_they_may() {
    let offer = offers::offer("chromium-156-viewer");
    let refused = Site::configured("when_offline = 'reject'").post("/whep/cam", &offer).is(409);
    assert!(refused.field("retry-after").is_some_and(|seconds| seconds.parse::<u32>().is_ok()), "{refused:?}");

    let site = Site::configured("when_offline = 'wait'");
    let viewer = Live::connect(&site, "/whep/cam", &offer);
    site.ask("GET", viewer.url(), &[], "").is(204);
    let listed = site.stream("cam");
    assert_eq!((&listed["live"], &listed["publisher"]), (&false.into(), &serde_json::Value::Null), "{listed}");
    // Through a proxy on this machine, from elsewhere: that somebody waits for a stream is not for everybody.
    for target in ["/api/v1/streams", "/api/v1/streams/cam", "/api/v1/sessions"] {
        let answer = site.ask("GET", target, &["X-Forwarded-For: 192.0.2.7"], "");
        assert!([401, 403].contains(&answer.status), "{target}: {answer:?}");
    }
    // Somebody waiting does not hold the stream, and goes on when it begins.
    let _publisher = site.live("cam", "chromium-156-publisher");
    assert!(!viewer.is_closed());
    site.ask("GET", viewer.url(), &[], "").is(204);
    assert_eq!(site.stream("cam")["subscribers"].as_array().map(Vec::len), Some(1));
}
