//! Offers that are answered: what reaches the origin, what reaches the client, and what is known afterwards.

use std::sync::Arc;

use http::{Method, StatusCode};

use super::kit::*;
use crate::record::Role;
use crate::signal::{Kind, Signal, Signalling};
use crate::trust::Trust;

#[tokio::test]
async fn an_offer_reaches_the_origin_as_it_is_and_its_answer_the_client_with_our_candidates() {
    let origin = Script::start(|_| created()).await;
    let stage = Stage::of(&[(&origin.url, Kind::Whipstitch)]);
    let response = stage.ask(post("/whip/cam?token=t", OFFER)).await.expect("an answer");

    let heard = origin.nth(0).await;
    assert_eq!(heard.line, "POST /whip/cam?token=t");
    assert_eq!(heard.body, OFFER.as_bytes());
    for (name, value) in [
        ("content-type", Some("application/sdp")),
        ("authorization", Some("Bearer secret")),
        ("x-forwarded-for", Some("203.0.113.7")),
        ("x-forwarded-proto", Some("https")),
        ("x-forwarded-host", Some("proxy.example.net")),
        ("host", origin.url.as_str().strip_prefix("http://").map(|rest| rest.trim_end_matches('/'))),
    ] {
        assert_eq!(heard.field(name), value, "{name}");
    }

    let session = stage.known.session();
    assert_eq!(response.status(), StatusCode::CREATED);
    assert_eq!(field(&response, "location"), Some(format!("/whip/cam/{}", session.id.as_str()).as_str()));
    assert_eq!(field(&response, "content-type"), Some("application/sdp"));
    assert_eq!(field(&response, "etag"), Some("\"1\""));
    assert_eq!(field(&response, "cache-control"), Some("no-store"));
    let ours = "a=candidate:1 1 udp 2130706431 198.51.100.1 18000 typ host";
    let expected = answer("127.0.0.1 9000").replace("a=candidate:1 1 udp 2130706431 127.0.0.1 9000 typ host", ours);
    assert_eq!(body(&response), expected);

    assert_eq!((session.stream.as_str(), session.role, session.origin.as_str()), ("cam", Role::Publisher, "origin-0"));
    assert_eq!(session.rtc.to_string(), "127.0.0.1:9000");
    assert_eq!(session.generations, [generation("orgn", "clnt")]);
    assert_eq!(session.resource, origin.url.join("/whip/cam/at-origin").expect("a URL").as_str());
    assert_eq!(session.etag.as_deref(), Some("\"1\""));
    assert_eq!(stage.known.said(), ["origin-0 for cam: good"]);
}

#[tokio::test]
async fn offers_of_real_clients_pass_byte_for_byte() {
    let origin = Script::start(|_| created()).await;
    let stage = Stage::of(&[(&origin.url, Kind::Whipstitch)]);
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../webrtc/tests/fixtures/offers");
    let files = std::fs::read_dir(folder).expect("fixtures").map(|file| file.expect("a file").path());
    let mut files: Vec<_> = files.filter(|file| file.extension().is_some_and(|extension| extension == "sdp")).collect();
    files.sort();
    let has = |name: &str| files.iter().any(|file| file.to_string_lossy().contains(name));
    assert!(["obs-32.sdp", "ffmpeg-8.0.sdp", "chromium", "firefox", "gstreamer", "aiortc"].into_iter().all(has));
    for (index, file) in files.iter().enumerate() {
        let offer = std::fs::read_to_string(file).expect("a fixture");
        let response = stage.ask(post("/whip/cam", &offer)).await;
        assert_eq!(response.map(|response| response.status()), Ok(StatusCode::CREATED), "{}", file.display());
        assert_eq!(origin.nth(index).await.body, offer.as_bytes(), "{}", file.display());
    }
}

#[tokio::test]
async fn every_shape_of_url_is_mapped_to_what_the_origin_speaks_and_its_session_stays_inside() {
    let origin = Script::on("[::1]:0", |_| created()).await;
    for (kind, url, line, prefix) in [
        (Kind::Whipstitch, "/whip/cam/", "POST /whip/cam", "/whip/cam/"),
        (Kind::Whipstitch, "/whip/cam/whep", "POST /whep/cam", "/whip/cam/whep/"),
        (
            Kind::Whip,
            "/rtc/v1/whip/?app=show&stream=cam&token=t",
            "POST /whip/show.cam?token=t",
            "/rtc/v1/whip/show.cam/",
        ),
        (Kind::Whip, "/api/v3/whep/cam", "POST /whep/cam", "/api/v3/whep/cam/"),
        (Kind::Srs, "/whip/cam", "POST /rtc/v1/whip/?app=live&stream=cam", "/whip/cam/"),
        (
            Kind::Srs,
            "/rtc/v1/whep/?app=live&stream=cam&eip=1",
            "POST /rtc/v1/whep/?app=live&stream=cam&eip=1",
            "/rtc/v1/whep/cam/",
        ),
    ] {
        let before = origin.heard().len();
        let stage = Stage::of(&[(&origin.url, kind)]);
        let response = stage.ask(post(url, OFFER)).await.expect("an answer");
        assert_eq!(origin.nth(before).await.line, line);
        let location = field(&response, "location").expect("a URL");
        assert_eq!(location, format!("{prefix}{}", stage.known.session().id.as_str()), "{url}");
        assert_eq!(stage.known.session().rtc.to_string(), "[::1]:9000", "media goes where HTTP is");
    }
}

#[tokio::test]
async fn a_session_is_found_again_however_its_location_is_written() {
    for (location, resource) in [
        ("/whip/cam/x", Some("/whip/cam/x")),
        ("cam/x", Some("/whip/cam/x")),
        ("https://elsewhere.example/whip/cam/x", Some("/whip/cam/x")),
        (
            "/rtc/v1/whip/?action=delete&token=t&app=live&stream=cam&session=a:b",
            Some("/rtc/v1/whip/?action=delete&token=t&app=live&stream=cam&session=a:b"),
        ),
        ("", None),
        ("/whip/cam", None),
    ] {
        let origin = Script::start(move |_| says(201, &[("location", location)], &answer("127.0.0.1 9000"))).await;
        let stage = Stage::of(&[(&origin.url, Kind::Whip)]);
        stage.session().await;
        let expected = resource.map(|path| origin.url.join(path).expect("a URL").to_string());
        assert_eq!(stage.known.session().resource, expected.unwrap_or_default(), "{location}");
    }
    let silent = Script::start(|_| says(200, &[], &answer("127.0.0.1 9000"))).await;
    let stage = Stage::of(&[(&silent.url, Kind::Whip)]);
    let url = stage.session().await;
    assert_eq!(stage.known.session().resource, "");
    let ended = stage.ask(request(Method::DELETE, &url, "", &[])).await.expect("an answer");
    assert_eq!(ended.status(), StatusCode::OK, "the proxy's part ends");
    assert!(stage.known.sessions.lock().expect("unbroken").is_empty());
    assert_eq!(silent.heard().len(), 1);
}

#[tokio::test]
async fn where_an_origin_takes_media_is_what_it_registered_else_what_it_answers() {
    let origin = Script::start(|_| says(201, &[], &answer("10.1.2.3 9000"))).await;
    let stage = Stage::of(&[(&origin.url, Kind::Whip)]);
    stage.session().await;
    assert_eq!(stage.known.session().rtc.to_string(), "127.0.0.1:9000");
    let without = answer("x").replace("a=candidate:1 1 udp 2130706431 x typ host\r\n", "");
    let origin = Script::start(move |_| says(201, &[], &without)).await;
    let known = Known::of(&[(&origin.url, Kind::Whip)]);
    known.registered("10.9.8.7:1234");
    let stage = Stage::with(known);
    let response = stage.ask(post("/whep/cam", OFFER)).await.expect("an answer");
    assert_eq!(stage.known.session().rtc.to_string(), "10.9.8.7:1234");
    assert!(body(&response).contains("198.51.100.1 18000 typ host\r\na=end-of-candidates"), "{}", body(&response));
}

#[tokio::test]
async fn a_redirect_goes_to_the_origin_and_only_for_offers() {
    let origin = Script::start(|_| created()).await;
    let known = Arc::new(Known::of(&[(&origin.url, Kind::Srs)]));
    let signal = Signal::new(Arc::clone(&known), Signalling::Redirect, &Trust::nobody()).expect("a client");
    let response = signal.answer(post("/whip/cam?token=t", OFFER)).await.expect("an answer");
    assert_eq!(response.status(), StatusCode::TEMPORARY_REDIRECT);
    let expected = origin.url.join("/rtc/v1/whip/?app=live&stream=cam&token=t").expect("a URL");
    assert_eq!(field(&response, "location"), Some(expected.as_str()));
    assert!(known.said().is_empty(), "the claim is neither taken back nor more than one: the origin has said nothing");
    assert!(origin.heard().is_empty());
    let unknown = signal.answer(request(Method::PATCH, "/whip/cam/0123456789abcdef0123456789abcdef", "", &[])).await;
    assert_eq!(unknown.err().map(|refused| refused.status()), Some(StatusCode::NOT_FOUND));
}

#[tokio::test]
async fn what_else_is_asked_of_an_endpoint_is_the_origins_to_answer() {
    let link = "<turn:t:3478>; rel=\"ice-server\"; username=\"u\"; credential=\"c\"; credential-type=\"password\"";
    let origin = Script::start(move |heard| match heard.line.split(' ').next() {
        Some("OPTIONS") => says(200, &[("link", link), ("x-own", "1")], ""),
        Some("HEAD") => says(200, &[("content-type", "application/sdp")], ""),
        Some("DELETE") => says(403, &[("content-type", "application/problem+json")], "{\"title\":\"no\"}"),
        _ => says(204, &[], ""),
    })
    .await;
    let stage = Stage::of(&[(&origin.url, Kind::Whip)]);
    let ask = |method: Method, fields: &[(&'static str, &str)]| stage.ask(request(method, "/whip/cam", "", fields));

    let options = ask(Method::OPTIONS, &[("authorization", "Bearer t")]).await.expect("an answer");
    assert_eq!((options.status(), field(&options, "link")), (StatusCode::OK, Some(link)));
    assert_eq!(field(&options, "accept-post"), Some("application/sdp"));
    assert_eq!(origin.nth(0).await.field("authorization"), Some("Bearer t"));
    let preflight = [("origin", "https://page.example"), ("access-control-request-method", "POST")];
    let preflight = ask(Method::OPTIONS, &preflight).await.expect("an answer");
    assert_eq!((preflight.status(), field(&preflight, "link")), (StatusCode::OK, None));
    assert_eq!(origin.heard().len(), 1, "a preflight is nobody's question");

    assert_eq!(ask(Method::GET, &[]).await.expect("an answer").status(), StatusCode::NO_CONTENT);
    assert_eq!(ask(Method::HEAD, &[]).await.expect("an answer").status(), StatusCode::OK);
    let refused = ask(Method::DELETE, &[]).await.expect("an answer");
    assert_eq!((refused.status(), body(&refused)), (StatusCode::FORBIDDEN, "{\"title\":\"no\"}"));
    assert_eq!(
        stage.known.said(),
        ["origin-0 is looked at for cam"; 4],
        "no stream is claimed by asking, and so none given back"
    );
    let put = ask(Method::PUT, &[]).await.err().map(|refused| refused.status());
    assert_eq!(put, Some(StatusCode::METHOD_NOT_ALLOWED));

    let nobody = Stage::of(&[]);
    let options = nobody.ask(request(Method::OPTIONS, "/whip/cam", "", &[])).await.expect("an answer");
    assert_eq!(options.status(), StatusCode::OK, "clients take a failure for the end");
}
