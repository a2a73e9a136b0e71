//! Origins that fail, refuse, or say what cannot be used.

use std::sync::Arc;

use http::{Method, StatusCode};
use tokio::sync::Notify;
use url::Url;

use super::kit::*;
use crate::sdp::MOST_BYTES;
use crate::signal::{Kind, NoOrigin, Refused, Signal};

/// As many as may be.
const HOPS: &str = "1.1 whipstitch-proxy, 1.1 whipstitch-proxy,1.1 whipstitch-proxy, 1.1 whipstitch-proxy";

/// A port where nobody listens.
async fn nobody() -> Url {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    Url::parse(&format!("http://{}", listener.local_addr().expect("an address"))).expect("a URL")
}

#[tokio::test]
async fn whatever_an_origin_refuses_with_is_passed_on() {
    for (status, fields, text) in [
        (401, &[("www-authenticate", "Bearer realm=\"whipstitch\"")][..], "{\"detail\":\"a token is needed\"}"),
        (403, &[], "no"),
        (404, &[], ""),
        (409, &[("retry-after", "3"), ("content-type", "application/problem+json")], "{\"status\":409}"),
        (415, &[("accept-post", "application/sdp")], "type"),
        (422, &[], "offer"),
        (429, &[("retry-after", "1")], ""),
        (500, &[], "oops"),
        (503, &[("retry-after", "5")], "stopping"),
        (204, &[], ""),
        (202, &[], "later"),
    ] {
        let origin = Script::start(move |_| says(status, fields, text)).await;
        let stage = Stage::of(&[(&origin.url, Kind::Whip)]);
        let response = stage.ask(post("/whip/cam", OFFER)).await.expect("the origin's answer");
        assert_eq!((response.status().as_u16(), body(&response)), (status, text));
        for (name, value) in fields {
            assert_eq!(field(&response, name), Some(*value), "{status}");
        }
        assert_eq!(stage.known.said(), ["origin-0 for cam: nothing"], "{status}");
        assert!(stage.known.sessions.lock().expect("unbroken").is_empty());
    }
}

#[tokio::test]
async fn an_sdp_that_is_no_answer_does_not_get_through() {
    let origin = Script::start(|_| says(406, &[("content-type", "application/sdp")], &answer("10.0.0.2 1"))).await;
    let stage = Stage::of(&[(&origin.url, Kind::Whip)]);
    let response = stage.ask(post("/whep/cam", OFFER)).await.expect("the origin's answer");
    assert_eq!((response.status(), body(&response)), (StatusCode::NOT_ACCEPTABLE, ""));
    assert_eq!(field(&response, "content-type"), None);
}

#[tokio::test]
async fn an_origin_that_sends_on_says_where_in_full() {
    let origin = Script::start(|_| says(307, &[("location", "/whip/other")], "")).await;
    let stage = Stage::of(&[(&origin.url, Kind::Whip)]);
    let response = stage.ask(post("/whip/cam", OFFER)).await.expect("the origin's answer");
    assert_eq!(response.status(), StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(field(&response, "location"), Some(origin.url.join("/whip/other").expect("a URL").as_str()));
}

/// An origin that has begun a session and says something unusable about it hears DELETE.
#[tokio::test]
async fn an_answer_that_cannot_be_used_is_502_and_the_session_at_the_origin_ends() {
    let good = answer("127.0.0.1 9000");
    for unusable in [
        String::new(),
        "garbage".to_owned(),
        good.replace("a=ice-pwd", "a=x"),
        good.replace(":orgn", ":o"),
        good.replace(" udp ", " tcp "),
        "v=0\r\n".repeat(3),
    ] {
        let said = unusable.clone();
        let origin = Script::start(move |_| says(201, &[("location", "/whip/cam/at-origin")], &said)).await;
        let stage = Stage::of(&[(&origin.url, Kind::Whip)]);
        let refused = stage.ask(post("/whip/cam", OFFER)).await.expect_err("no session");
        assert_eq!(refused.status(), StatusCode::BAD_GATEWAY, "{unusable}");
        assert!(refused.retry_after().is_some());
        let ended = origin.nth(1).await;
        assert_eq!(
            (ended.line.as_str(), ended.field("authorization")),
            ("DELETE /whip/cam/at-origin", Some("Bearer secret"))
        );
        assert_eq!(stage.known.said(), ["origin-0 for cam: nothing"]);
        assert!(stage.known.sessions.lock().expect("unbroken").is_empty());
    }
}

#[tokio::test]
async fn a_reply_over_the_bound_or_cut_off_or_no_http_is_502() {
    let long = "x".repeat(MOST_BYTES + 1);
    let chunked =
        format!("HTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{long}\r\n0\r\n\r\n", long.len());
    let declared = "HTTP/1.1 201 Created\r\ncontent-length: 999999999\r\n\r\n";
    let cut = "HTTP/1.1 201 Created\r\ncontent-length: 100\r\n\r\nv=0\r\n";
    for text in [chunked.as_str(), declared, cut, "SIP/2.0 200 OK\r\n\r\n", "", "HTTP/1.1 201"] {
        let said = Says::Bytes(text.as_bytes().to_vec());
        let origin = Script::start(move |_| said.clone()).await;
        let other = Script::start(|_| created()).await;
        let stage = Stage::of(&[(&origin.url, Kind::Whip), (&other.url, Kind::Whip)]);
        let refused = stage.ask(post("/whip/cam", OFFER)).await.expect_err("no session");
        assert_eq!(refused.status(), StatusCode::BAD_GATEWAY, "{:.40}", text);
        assert_eq!(stage.known.said(), ["origin-0 for cam: nothing"]);
        assert!(other.heard().is_empty(), "what was sent once may have had its effect: {:.40}", text);
    }
}

#[tokio::test]
async fn an_origin_that_says_nothing_is_504() {
    let origin = Script::start(|_| Says::Nothing).await;
    let stage = Stage::of(&[(&origin.url, Kind::Whip)]).impatient();
    let refused = stage.ask(post("/whip/cam", OFFER)).await.expect_err("no session");
    assert_eq!(refused.status(), StatusCode::GATEWAY_TIMEOUT);
    assert!(refused.retry_after().is_some());
    let stage = Stage::of(&[(&origin.url, Kind::Whip)]);
    assert_eq!(stage.signal.patience, std::time::Duration::from_secs(5), "S4-B5");
}

#[tokio::test]
async fn where_nobody_listens_another_origin_is_asked_once() {
    let (dead, alive) = (nobody().await, Script::start(|_| created()).await);
    let stage = Stage::of(&[(&dead, Kind::Whip), (&alive.url, Kind::Whip)]);
    stage.session().await;
    assert_eq!(stage.known.session().origin.as_str(), "origin-1");
    let said = stage.known.said();
    assert_eq!(said, ["origin-0 for cam: nothing", "origin-0 failed", "origin-1 for cam: good"]);

    let others = [nobody().await, nobody().await, alive.url.clone()];
    let kinds: Vec<_> = others.iter().map(|url| (url, Kind::Whip)).collect();
    let stage = Stage::of(&kinds);
    let refused = stage.ask(post("/whip/cam", OFFER)).await.expect_err("no session");
    assert_eq!(refused.status(), StatusCode::BAD_GATEWAY, "two are enough for one request");

    for (no_origin, expected) in [(NoOrigin::None, Refused::NoOrigin), (NoOrigin::RegistryAway, Refused::RegistryAway)]
    {
        let stage = Stage::with(Known { no_origin: Some(no_origin), ..Known::default() });
        let refused = stage.ask(post("/whip/cam", OFFER)).await.expect_err("no session");
        assert_eq!(refused, expected);
        assert_eq!((refused.status(), refused.retry_after().is_some()), (StatusCode::SERVICE_UNAVAILABLE, true));
    }
}

#[tokio::test]
async fn who_cannot_be_told_leaves_nothing_behind_at_the_origin() {
    // No room for another session.
    let origin = Script::start(|_| created()).await;
    let stage = Stage::with(Known { is_full: true, ..Known::of(&[(&origin.url, Kind::Whip)]) });
    let refused = stage.ask(post("/whip/cam", OFFER)).await.expect_err("no session");
    assert_eq!((&refused, refused.status()), (&Refused::Full, StatusCode::SERVICE_UNAVAILABLE));
    assert_eq!(origin.nth(1).await.line, "DELETE /whip/cam/at-origin");

    // The client has gone before it could be told.
    let origin = Script::start(|_| created()).await;
    let known = Known { hold: Some(Notify::new()), ..Known::of(&[(&origin.url, Kind::Whip)]) };
    let stage = Stage::with(known);
    let signal: Arc<Signal<Known>> = Arc::clone(&stage.signal);
    let asking = tokio::spawn(async move { signal.answer(post("/whip/cam", OFFER)).await.is_ok() });
    origin.nth(0).await;
    stage.known.reached_hold().await;
    asking.abort();
    assert_eq!(origin.nth(1).await.line, "DELETE /whip/cam/at-origin");
    assert!(stage.known.session_ids().is_empty());

    // It has gone when all that is left is to say whose the stream is.
    let origin = Script::start(|_| created()).await;
    let known = Known { late: Some(Notify::new()), ..Known::of(&[(&origin.url, Kind::Whip)]) };
    let stage = Stage::with(known);
    let signal: Arc<Signal<Known>> = Arc::clone(&stage.signal);
    let asking = tokio::spawn(async move { signal.answer(post("/whip/cam", OFFER)).await.is_ok() });
    stage.known.late.as_ref().expect("it is late").notified().await;
    assert_eq!(stage.known.session_ids().len(), 1);
    asking.abort();
    assert_eq!(origin.nth(1).await.line, "DELETE /whip/cam/at-origin");
    assert!(stage.known.session_ids().is_empty(), "it is not kept here either");
}

/// S4-B5: choosing counts, too.
#[tokio::test]
async fn who_cannot_say_in_time_which_origin_it_is_is_waited_for_as_long_as_a_request_may_take() {
    let stage = Stage::with(Known { is_undecided: true, ..Known::default() }).impatient();
    for method in [Method::POST, Method::GET] {
        let mut asked = post("/whip/cam", OFFER);
        asked.method = method;
        assert_eq!(stage.ask(asked).await.err(), Some(Refused::RegistryAway));
    }
}

#[tokio::test]
async fn what_is_no_offer_goes_nowhere() {
    let origin = Script::start(|_| created()).await;
    let stage = Stage::of(&[(&origin.url, Kind::Whip)]);
    let without = OFFER.replace("a=ice-pwd", "a=x");
    for (url, text, status) in [
        ("/whip/cam", "", StatusCode::BAD_REQUEST),
        ("/whip/cam", "garbage", StatusCode::BAD_REQUEST),
        ("/whip/cam", without.as_str(), StatusCode::UNPROCESSABLE_ENTITY),
        ("/whip/a%20b", OFFER, StatusCode::BAD_REQUEST),
        ("/rtc/v1/whip/?app=live", OFFER, StatusCode::BAD_REQUEST),
        ("/rtc/v1/publish/", OFFER, StatusCode::BAD_REQUEST),
        ("/rtc/v1/publish/", "{\"sdp\":\"v=0\",\"streamurl\":\"webrtc://h/live/cam\"}", StatusCode::BAD_REQUEST),
        ("/elsewhere", OFFER, StatusCode::NOT_FOUND),
    ] {
        let refused = stage.ask(post(url, text)).await.expect_err("no session");
        assert_eq!(refused.status(), status, "{url} {text}");
    }
    let mut nowhere = post("/whip/cam", OFFER);
    nowhere.candidates.clear();
    assert_eq!(stage.ask(nowhere).await.err(), Some(Refused::NoAddress));
    let mut round = post("/whip/cam", OFFER);
    round.headers.insert("via", http::HeaderValue::from_static(HOPS));
    assert_eq!(stage.ask(round).await.err(), Some(Refused::Loop));
    assert!(origin.heard().is_empty() && stage.known.said().is_empty(), "no stream was claimed for it");
}

/// S4-B6.
#[tokio::test]
async fn no_error_tells_of_origins_descriptions_or_secrets() {
    let dead = nobody().await;
    let garbage = Script::start(|_| says(201, &[], "v=0\r\na=ice-pwd:topsecret")).await;
    let silent = Script::start(|_| Says::Nothing).await;
    for (url, port) in [(&dead, dead.port()), (&garbage.url, garbage.url.port()), (&silent.url, silent.url.port())] {
        let stage = Stage::of(&[(url, Kind::Whip)]).impatient();
        let refused = stage.ask(post("/whip/cam?token=hidden", OFFER)).await.expect_err("no session");
        let text = refused.to_string();
        let port = port.expect("a port").to_string();
        for secret in ["127.0.0.1", port.as_str(), "origin-0", "topsecret", "hidden", "ice-pwd", "http://", PWD] {
            assert!(!text.contains(secret), "{text}");
        }
        assert_eq!(refused.origin().map(crate::OriginId::as_str), Some("origin-0"), "the log may know");
    }
}
