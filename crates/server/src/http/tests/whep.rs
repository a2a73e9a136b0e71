//! `protocol.md` 3.2.

use super::*;

#[tokio::test]
async fn every_row_of_the_endpoint() {
    let site = Site::open().await;
    for (method, target, fields, body, status, has) in [
        ("OPTIONS", "/whep/a", &[][..], "", 200, "accept-post"),
        ("POST", "/whep/a", &[SDP_TYPE], OFFER, 201, "location"),
        ("POST", "/whep/a", &[], OFFER, 415, "accept-post"),
        ("POST", "/whep/a%20b", &[SDP_TYPE], OFFER, 400, "content-type"),
        ("GET", "/whep/a", &[], "", 200, "content-type"),
        ("HEAD", "/whep/a", &[], "", 200, "content-type"),
        ("PUT", "/whep/a", &[], "", 405, "allow"),
        ("PATCH", "/whep/a", &[], "", 405, "allow"),
        ("DELETE", "/whep/a", &[], "", 405, "allow"),
    ] {
        let answer = site.ask(method, target, fields, body).await;
        assert_eq!(answer.status, status, "{method} {target}: {answer:?}");
        assert!(answer.field(has).is_some(), "{method} {target} lacks {has}: {answer:?}");
        answer.check();
    }
    assert_eq!(site.ask("DELETE", "/whep/a", &[], "").await.field("allow"), Some("OPTIONS, GET, HEAD, POST"));
}

/// WHEP -04 4.2: discovery.
#[tokio::test]
async fn get_and_head_tell_that_this_is_an_endpoint() {
    let site = Site::open().await;
    for method in ["GET", "HEAD"] {
        let answer = site.ask(method, "/whep/a", &[], "").await;
        assert_eq!(answer.field("content-type"), Some("application/sdp"), "{method}");
        assert_eq!(answer.field("content-length"), Some("0"), "{method}");
    }
}

#[tokio::test]
async fn an_offer_is_answered_inside_the_prefix_that_was_called() {
    let site = Site::open().await;
    let answer = site.ask("POST", "/whep/a", &[SDP_TYPE], OFFER).await;
    assert_eq!(answer.field("location"), Some("/whep/a/secret"));
    assert_eq!(site.media.asked(), ["watch a \"v=0\\r\\n\" [127.0.0.1:4000] None"]);
}

#[tokio::test]
async fn an_empty_offer_goes_to_the_judge_of_offers() {
    let site = Site::open().await;
    *site.media.refusal.lock().unwrap() = Some(Refusal::Syntax("empty".to_owned()));
    assert_eq!(site.ask("POST", "/whep/a", &[SDP_TYPE], "").await.status, 400);
    assert_eq!(site.media.asked().len(), 1);
}
