//! Session URLs: trickle, ICE restart and teardown at the origin that answered, whatever happens to the others.

use http::{Method, StatusCode};

use super::kit::*;
use crate::signal::{Kind, Refused};

const FRAGMENT: &str = "a=ice-ufrag:clnt\na=ice-pwd:0123456789abcdefghijkl\nm=audio 9 RTP/AVP 0\na=mid:0\na=candidate:1 1 UDP 1 10.9.9.9 9 typ host\n";

fn restart(ufrag: &str) -> String {
    FRAGMENT.replace(":clnt", &format!(":{ufrag}"))
}

/// Answers offers with a session, and all that is about it with `reply`.
async fn origin(reply: impl Fn(&Heard) -> Says + Send + Sync + 'static) -> Script {
    Script::start(move |heard| if heard.line.starts_with("POST") { created() } else { reply(heard) }).await
}

#[tokio::test]
async fn a_trickle_request_goes_to_the_origin_as_it_is() {
    let origin = origin(|_| says(204, &[], "")).await;
    let stage = Stage::of(&[(&origin.url, Kind::Whip)]);
    let url = stage.session().await;
    let fields = [("if-match", "\"1\""), ("content-type", "application/trickle-ice-sdpfrag")];
    let response = stage.ask(request(Method::PATCH, &url, FRAGMENT, &fields)).await.expect("an answer");
    assert_eq!((response.status(), field(&response, "etag")), (StatusCode::NO_CONTENT, None));
    let heard = origin.nth(1).await;
    assert_eq!((heard.line.as_str(), heard.body.as_slice()), ("PATCH /whip/cam/at-origin", FRAGMENT.as_bytes()));
    assert_eq!(heard.field("if-match"), Some("\"1\""));
    assert_eq!(heard.field("content-type"), Some("application/trickle-ice-sdpfrag"));
    assert_eq!(stage.known.session().generations.len(), 1);

    for (status, fields) in [(412, &[][..]), (428, &[]), (404, &[]), (503, &[("retry-after", "2")])] {
        let origin = self::origin(move |_| says(status, fields, "why")).await;
        let stage = Stage::of(&[(&origin.url, Kind::Whip)]);
        let url = stage.session().await;
        let response = stage.ask(request(Method::PATCH, &url, FRAGMENT, &[])).await.expect("the origin's answer");
        assert_eq!((response.status().as_u16(), body(&response)), (status, "why"));
    }
}

/// S4-B18.
#[tokio::test]
async fn an_ice_restart_is_known_before_the_client_hears_of_it() {
    let said = "a=ice-lite\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\na=ice-ufrag:newo\r\na=ice-pwd:0123456789abcdefghijkl\r\n\
                a=candidate:1 1 udp 2130706431 10.0.0.2 9000 typ host\r\na=end-of-candidates\r\n";
    let fields = [("etag", "\"2\""), ("content-type", "application/trickle-ice-sdpfrag")];
    let origin = origin(move |_| says(200, &fields, said)).await;
    let stage = Stage::of(&[(&origin.url, Kind::Whip)]);
    let url = stage.session().await;
    let response =
        stage.ask(request(Method::PATCH, &url, &restart("newc"), &[("if-match", "*")])).await.expect("an answer");
    assert_eq!((response.status(), field(&response, "etag")), (StatusCode::OK, Some("\"2\"")));
    assert_eq!(field(&response, "content-type"), Some("application/trickle-ice-sdpfrag"));
    let expected = said.replace("10.0.0.2 9000", "198.51.100.1 18000");
    assert_eq!(body(&response), expected);
    let session = stage.known.session();
    assert_eq!(session.generations, [generation("orgn", "clnt"), generation("newo", "newc")]);
    assert_eq!(session.etag.as_deref(), Some("\"2\""));
}

#[tokio::test]
async fn a_restart_that_cannot_be_used_changes_nothing() {
    for (said, asked) in [
        ("garbage", restart("newc")),
        ("a=ice-ufrag:newo\r\n", restart("newc")),
        ("m=audio 9 RTP/AVP 0\r\n", "{}".to_owned()),
    ] {
        let origin = origin(move |_| says(200, &[], said)).await;
        let stage = Stage::of(&[(&origin.url, Kind::Whip)]);
        let url = stage.session().await;
        let refused = stage.ask(request(Method::PATCH, &url, &asked, &[])).await.expect_err("no restart");
        assert_eq!(refused.status(), StatusCode::BAD_GATEWAY, "{said}");
        assert_eq!(stage.known.session().generations.len(), 1, "{said}");
    }
}

/// S4-B3.
#[tokio::test]
async fn an_end_is_the_origins_to_confirm() {
    for (status, ends) in [(200, true), (204, true), (404, true), (401, false), (503, false)] {
        let origin = origin(move |_| says(status, &[], "")).await;
        let stage = Stage::of(&[(&origin.url, Kind::Whip)]);
        let url = stage.session().await;
        let response = stage.ask(request(Method::DELETE, &format!("{url}?token=t"), "", &[])).await.expect("an answer");
        assert_eq!(response.status().as_u16(), status);
        assert_eq!(origin.nth(1).await.line, "DELETE /whip/cam/at-origin?token=t");
        assert_eq!(stage.known.session_ids().is_empty(), ends, "{status}");
    }
}

#[tokio::test]
async fn a_session_is_under_its_own_url_only() {
    let origin = origin(|_| says(200, &[], "")).await;
    let stage = Stage::of(&[(&origin.url, Kind::Whip)]);
    let url = stage.session().await;
    let id = url.rsplit('/').next().expect("an id").to_owned();
    let unknown = "0123456789abcdef0123456789abcdef";
    for url in [
        format!("/whep/cam/{id}"),
        format!("/whip/other/{id}"),
        format!("/whip/cam/whep/{id}"),
        format!("/whip/cam/{unknown}"),
        "/whip/cam/x".to_owned(),
    ] {
        for method in [Method::PATCH, Method::DELETE, Method::GET] {
            let refused = stage.ask(request(method, &url, FRAGMENT, &[])).await.err();
            assert_eq!(refused, Some(Refused::NoSession), "{url}");
        }
    }
    assert_eq!(origin.heard().len(), 1, "nobody was asked");
    let options = stage.ask(request(Method::OPTIONS, &url, "", &[])).await.expect("an answer");
    assert_eq!(field(&options, "accept-patch"), Some("application/trickle-ice-sdpfrag"));
    let posted = stage.ask(post(&url, OFFER)).await.err().map(|refused| refused.status());
    assert_eq!(posted, Some(StatusCode::METHOD_NOT_ALLOWED));
}

#[tokio::test]
async fn an_origin_or_registry_that_is_away_ends_no_session() {
    let origin = Script::start(|heard| if heard.line.starts_with("POST") { created() } else { Says::Nothing }).await;
    let stage = Stage::of(&[(&origin.url, Kind::Whip)]).impatient();
    let url = stage.session().await;
    let refused = stage.ask(request(Method::DELETE, &url, "", &[])).await.expect_err("no answer");
    assert_eq!((refused.status(), refused.retry_after().is_some()), (StatusCode::GATEWAY_TIMEOUT, true));
    assert_eq!(stage.known.session_ids().len(), 1);
    let away = Stage::with(Known { is_away: true, ..Known::default() });
    let refused = away.ask(request(Method::PATCH, &url, FRAGMENT, &[])).await.err();
    assert_eq!(refused, Some(Refused::RegistryAway));
}

#[tokio::test]
async fn clients_of_the_media_core_find_their_manners() {
    let origin = origin(|heard| says(if heard.line.starts_with("DELETE") { 200 } else { 204 }, &[], "")).await;
    let stage = Stage::of(&[(&origin.url, Kind::Whipstitch)]);
    let response = stage.ask(post("/api/v3/whip/cam", OFFER)).await.expect("a session");
    let url = field(&response, "location").expect("a URL").to_owned();
    let trickled = stage.ask(request(Method::PATCH, &url, FRAGMENT, &[])).await.expect("an answer");
    assert_eq!(trickled.status(), StatusCode::NO_CONTENT);
    assert_eq!(origin.nth(1).await.field("if-match"), Some("*"));
    for _ in 0..2 {
        let ended = stage.ask(request(Method::DELETE, &url, "", &[])).await.expect("an answer");
        assert_eq!(ended.status(), StatusCode::NO_CONTENT, "also when there is nothing to end");
    }
    assert_eq!(origin.heard().len(), 3);
}
