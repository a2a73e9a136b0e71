//! `protocol.md` 3.1 with the overrides of design 1.2 and 1.4.

use super::*;

#[tokio::test]
async fn every_row_of_the_endpoint() {
    let site = Site::open().await;
    let large = "a".repeat(64 * 1024 + 1);
    for (method, target, fields, body, status, has) in [
        (
            "OPTIONS",
            "/whip/a",
            &["origin: http://x", "access-control-request-method: POST"][..],
            "",
            200,
            "accept-post",
        ),
        ("OPTIONS", "/whip/a", &[], "", 200, "allow"),
        ("POST", "/whip/a", &[SDP_TYPE], OFFER, 201, "location"),
        ("POST", "/whip/a/", &[SDP_TYPE], OFFER, 201, "location"),
        ("POST", "/whip/a", &["content-type: APPLICATION/SDP; charset=utf-8"], OFFER, 201, "etag"),
        ("POST", "/whip/a", &[SDP_TYPE, "accept: text/html"], OFFER, 201, "accept-patch"),
        ("POST", "/whip/a", &[SDP_TYPE, "content-encoding: identity"], OFFER, 201, "etag"),
        ("POST", "/whip/a", &[], OFFER, 415, "accept-post"),
        ("POST", "/whip/a", &["content-type: application/json"], OFFER, 415, "accept-post"),
        ("POST", "/whip/a", &["content-type: application/sdpx"], OFFER, 415, "accept-post"),
        ("POST", "/whip/a", &[SDP_TYPE, "content-encoding: gzip"], OFFER, 415, "content-type"),
        ("POST", "/whip/a", &[SDP_TYPE], &large, 413, "content-type"),
        ("POST", "/whip/a%20b", &[SDP_TYPE], OFFER, 400, "content-type"),
        ("POST", "/whip/..", &[SDP_TYPE], OFFER, 400, "content-type"),
        ("POST", "/whip/a%2Fb", &[SDP_TYPE], OFFER, 400, "content-type"),
        ("POST", "/whip/%FF", &[SDP_TYPE], OFFER, 400, "content-type"),
        ("POST", "/whip/%00", &[SDP_TYPE], OFFER, 400, "content-type"),
        ("GET", "/whip/a", &[], "", 204, "date"),
        ("HEAD", "/whip/a", &[], "", 204, "date"),
        ("GET", "/whip/a%20b", &[], "", 400, "content-type"),
        ("PUT", "/whip/a", &[SDP_TYPE], OFFER, 405, "allow"),
        ("PATCH", "/whip/a", &[FRAGMENT_TYPE], FRAGMENT, 405, "allow"),
        ("DELETE", "/whip/a", &[], "", 404, "content-type"),
        ("POST", "/whip", &[SDP_TYPE], OFFER, 404, "content-type"),
        ("POST", "/whip/a/b/c", &[SDP_TYPE], OFFER, 404, "content-type"),
    ] {
        let answer = site.ask(method, target, fields, body).await;
        assert_eq!(answer.status, status, "{method} {target} {fields:?}: {answer:?}");
        assert!(answer.field(has).is_some(), "{method} {target} {fields:?} lacks {has}: {answer:?}");
        assert!(answer.field("link").is_none());
        answer.check();
        if status >= 400 {
            answer.problem();
        }
    }
}

#[tokio::test]
async fn an_accepted_offer_says_what_every_client_needs() {
    let site = Site::open().await;
    let answer = site.ask("POST", "/whip/my.Stream-1?token=x&a=b", &[SDP_TYPE, "user-agent: OBS"], OFFER).await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.field("location"), Some("/whip/my.Stream-1/secret"));
    assert_eq!(answer.field("etag"), Some("\"tag\""));
    assert_eq!(answer.field("content-type"), Some("application/sdp"));
    assert_eq!(answer.field("accept-patch"), Some("application/trickle-ice-sdpfrag"));
    assert_eq!(answer.field("cache-control"), Some("no-store"));
    assert_eq!(answer.body, "v=0\r\ns=answer\r\n");
    assert_eq!(site.media.asked(), ["publish my.Stream-1 \"v=0\\r\\n\" [127.0.0.1:4000] Some(\"OBS\")"]);
}

#[tokio::test]
async fn methods_are_named_as_clients_look_for_them() {
    let site = Site::open().await;
    let options = site.ask("OPTIONS", "/whip/a", &[], "").await;
    assert_eq!(options.field("allow"), Some("OPTIONS, GET, HEAD, POST, DELETE"));
    assert_eq!(options.field("accept-post"), Some("application/sdp"));
    let methods = options.field("access-control-allow-methods").unwrap();
    assert!(methods.contains("PATCH") && methods.contains("OPTIONS"), "{methods}");
    assert_eq!(site.ask("PUT", "/whip/a", &[], "").await.field("allow"), options.field("allow"));
}

#[tokio::test]
async fn what_the_media_plane_refuses_has_its_status() {
    let retry_after = Duration::from_millis(1200);
    for (refusal, status, after) in [
        (Refusal::Syntax("line 3".to_owned()), 400, None),
        (Refusal::Unusable("no ICE".to_owned()), 422, None),
        (Refusal::Conflict { retry_after }, 409, Some("2")),
        (Refusal::Held, 409, None),
        (Refusal::NotLive { retry_after: Duration::ZERO }, 409, Some("1")),
        (Refusal::Busy { retry_after: Duration::from_secs(3) }, 503, Some("3")),
    ] {
        let site = Site::open().await;
        *site.media.refusal.lock().unwrap() = Some(refusal.clone());
        let answer = site.ask("POST", "/whip/a", &[SDP_TYPE], OFFER).await;
        assert_eq!((answer.status, answer.field("retry-after")), (status, after), "{refusal:?}");
        answer.check();
        let problem = answer.problem();
        if refusal == Refusal::Held {
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains("process of this server feeds this stream"), "{detail}");
        }
        if let Refusal::Syntax(text) | Refusal::Unusable(text) = refusal {
            assert_eq!(problem["detail"], text);
        }
    }
}

#[tokio::test]
async fn a_body_that_is_no_text_is_400() {
    let site = Site::open().await;
    let mut client = site.connect().await;
    client.send(&site.request("POST", "/whip/a", &[SDP_TYPE, "content-length: 3"], "")).await;
    client.stream.write_all(b"v=\xff").await.unwrap();
    assert_eq!(client.answer("POST").await.status, 400);
    assert!(site.media.asked().is_empty());
}

/// A preflight carries no token; RFC 9725 4.7.1.
#[tokio::test]
async fn options_never_need_a_token() {
    let site = Site::start(with_token()).await;
    for target in [
        "/whip/a",
        "/whep/a",
        "/whip/a/b",
        "/api/v1/streams",
        "/api/v1/sessions",
        "/api/v1/sessions/x",
        "/",
        "/healthz",
    ] {
        let answer = site.ask("OPTIONS", target, &["origin: http://x"], "").await;
        assert_eq!(answer.status, 200, "{target}");
        answer.check();
    }
}

#[tokio::test]
async fn delete_ends_the_current_publisher() {
    let site = Site::open().await;
    site.media.live.lock().unwrap().insert("a".to_owned());
    assert_eq!(site.ask("DELETE", "/whip/a", &[], "").await.status, 200);
    assert_eq!(site.media.asked(), ["close a"]);
    assert_eq!(site.ask("DELETE", "/whip/a", &[], "").await.status, 404);
    let foreign = site.ask("DELETE", "/whip/a", &["origin: http://evil.example"], "").await;
    assert_eq!(foreign.status, 401);
}
