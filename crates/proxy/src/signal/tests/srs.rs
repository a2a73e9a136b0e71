//! SRS on either side: its JSON envelope, its URLs, and its `Location` with a query.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::kit::*;
use crate::record::Role;
use crate::signal::Kind;

fn envelope(app: &str) -> String {
    let url = format!("webrtc://proxy.example.net/{app}/cam?secret=s");
    json!({"api": "http://proxy.example.net:1985/rtc/v1/play/", "tid": "aa", "streamurl": url, "clientip": null, "sdp": OFFER}).to_string()
}

#[tokio::test]
async fn the_envelope_of_srs_is_kept_byte_for_byte_around_our_answer() {
    let sdp = Value::from(answer("10.0.0.2 8000")).to_string();
    let said = format!("{{\"code\":0, \"server\":\"vid-1\",\n \"sdp\":{sdp},\"sessionid\":\"orgn:clnt\",\"x\":1.0}}");
    let expected = said.replace("10.0.0.2 8000", "198.51.100.1 18000");
    let origin = Script::start(move |_| says(200, &[("content-type", "application/json")], &said)).await;
    let stage = Stage::of(&[(&origin.url, Kind::Srs)]);
    let asked = envelope("live");
    let response = stage.ask(post("/rtc/v1/play/?x=y", &asked)).await.expect("an answer");
    assert_eq!((response.status(), body(&response)), (StatusCode::OK, expected.as_str()));
    assert_eq!(field(&response, "content-type"), Some("application/json"));
    let heard = origin.nth(0).await;
    assert_eq!((heard.line.as_str(), heard.body.as_slice()), ("POST /rtc/v1/play/?x=y", asked.as_bytes()));
    let session = stage.known.session();
    assert_eq!((session.stream.as_str(), session.role, session.rtc.port()), ("cam", Role::Viewer, 8000));
    assert_eq!(session.generations, [generation("orgn", "clnt")]);
    assert_eq!(stage.known.said(), ["origin-0 for cam: good"]);
}

#[tokio::test]
async fn what_srs_refuses_in_its_envelope_is_no_session() {
    for said in ["{\"code\":400}", "{\"code\":0}", "nonsense"] {
        let origin = Script::start(move |_| says(200, &[], said)).await;
        let stage = Stage::of(&[(&origin.url, Kind::Srs)]);
        let response = stage.ask(post("/rtc/v1/publish/", &envelope("live"))).await.expect("the origin's answer");
        assert_eq!((response.status(), body(&response)), (StatusCode::OK, said));
        assert_eq!(stage.known.said(), ["origin-0 for cam: nothing"]);
        assert!(stage.known.session_ids().is_empty());
    }
    let origin = Script::start(|_| says(200, &[], "{\"code\":0,\"sdp\":\"v=0\"}")).await;
    let stage = Stage::of(&[(&origin.url, Kind::Srs)]);
    let refused = stage.ask(post("/rtc/v1/publish/", &envelope("live"))).await.expect_err("no session");
    assert_eq!(refused.status(), StatusCode::BAD_GATEWAY);
}

#[tokio::test]
async fn an_origin_without_envelope_gets_the_offer_alone_and_the_client_an_envelope() {
    let origin = Script::start(|_| created()).await;
    let stage = Stage::of(&[(&origin.url, Kind::Whipstitch)]);
    let response = stage.ask(post("/rtc/v1/publish/", &envelope("show"))).await.expect("an answer");
    assert_eq!((response.status(), field(&response, "content-type")), (StatusCode::OK, Some("application/json")));
    let reply: Value = serde_json::from_slice(response.body()).expect("JSON");
    assert_eq!((&reply["code"], &reply["sessionid"]), (&json!(0), &json!("orgn:clnt")));
    let sdp = answer("198.51.100.1 18000");
    assert_eq!(reply["sdp"], json!(sdp));
    let heard = origin.nth(0).await;
    assert_eq!((heard.line.as_str(), heard.body.as_slice()), ("POST /whip/show.cam?secret=s", OFFER.as_bytes()));
    assert_eq!(heard.field("content-type"), Some("application/sdp"));
    assert_eq!(stage.known.session().role, Role::Publisher);
    let options = stage.ask(request(Method::OPTIONS, "/rtc/v1/play/", "", &[])).await.expect("an answer");
    assert_eq!(options.status(), StatusCode::OK);
    let got = stage.ask(request(Method::GET, "/rtc/v1/play/", "", &[])).await.err().map(|refused| refused.status());
    assert_eq!(got, Some(StatusCode::METHOD_NOT_ALLOWED));
}

/// S4-R3 to R6: SRS gives one URL to all its sessions, with a query that tells them apart, and knows no PATCH.
#[tokio::test]
async fn a_session_at_srs_is_ended_at_the_location_with_its_query() {
    let location = "/rtc/v1/whip/?action=delete&token=abc&app=live&stream=cam&session=orgn:clnt";
    let origin = Script::start(move |heard| match heard.line.split(' ').next() {
        Some("POST") => {
            says(201, &[("location", location), ("content-type", "application/sdp")], &answer("10.0.0.2 8000"))
        }
        Some("DELETE") => says(200, &[], ""),
        _ => says(404, &[], ""),
    })
    .await;
    let stage = Stage::of(&[(&origin.url, Kind::Srs)]);
    let response = stage.ask(post("/rtc/v1/whip/?app=live&stream=cam", OFFER)).await.expect("a session");
    assert_eq!(origin.nth(0).await.line, "POST /rtc/v1/whip/?app=live&stream=cam");
    let url = field(&response, "location").expect("a URL").to_owned();
    assert_eq!(url, format!("/rtc/v1/whip/cam/{}", stage.known.session().id.as_str()), "no query: OBS would drop it");
    let patched =
        stage.ask(request(Method::PATCH, &url, "a=ice-ufrag:clnt\r\n", &[])).await.expect("the origin's answer");
    assert_eq!(patched.status(), StatusCode::NOT_FOUND);
    let ended = stage.ask(request(Method::DELETE, &url, "", &[])).await.expect("an answer");
    assert_eq!(ended.status(), StatusCode::OK);
    assert_eq!(origin.nth(2).await.line, format!("DELETE {location}"));
    assert!(stage.known.session_ids().is_empty());
}
