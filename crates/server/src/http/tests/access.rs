//! Access over every route. The decision itself has its table in `crate::access`; here it is that every route asks,
//! asks for the right thing, and asks before it tells anything.

use super::aliases::{SHAPES, Shape};
use super::*;

/// Every route but those of WHIP and WHEP: method, target, what it needs.
const ROUTES: &[(&str, &str, Option<Right>)] = &[
    ("GET", "/whip/a/sdp", Some(Right::Play)),
    ("HEAD", "/whip/a/sdp", Some(Right::Play)),
    ("GET", "/api/v3/webrtc/stats", Some(Right::Observe)),
    ("GET", "/api/v1/streams", Some(Right::Observe)),
    ("GET", "/api/v1/streams/a", Some(Right::Observe)),
    ("POST", "/api/v1/streams/a/rtp", Some(Right::Publish)),
    ("GET", "/api/v1/streams/a/rtp", Some(Right::Publish)),
    ("HEAD", "/api/v1/streams/a/rtp", Some(Right::Publish)),
    ("DELETE", "/api/v1/streams/a/rtp", Some(Right::Publish)),
    ("GET", "/api/v1/sessions", Some(Right::Observe)),
    ("HEAD", "/api/v1/sessions", Some(Right::Observe)),
    ("GET", "/api/v1/sessions/0000000000000007", Some(Right::Observe)),
    ("DELETE", "/api/v1/sessions/0000000000000007", Some(Right::Control)),
    ("GET", "/api/v3/process", Some(Right::Control)),
    ("POST", "/api/v3/process", Some(Right::Control)),
    ("GET", "/api/v3/process/a", Some(Right::Control)),
    ("PUT", "/api/v3/process/a", Some(Right::Control)),
    ("DELETE", "/api/v3/process/a", Some(Right::Control)),
    ("GET", "/api/v3/process/a/config", Some(Right::Control)),
    ("GET", "/api/v3/process/a/state", Some(Right::Control)),
    ("GET", "/api/v3/process/a/report", Some(Right::Control)),
    ("GET", "/api/v3/process/a/probe", Some(Right::Control)),
    ("PUT", "/api/v3/process/a/command", Some(Right::Control)),
    ("GET", "/api/v3/process/a/metadata", Some(Right::Control)),
    ("GET", "/api/v3/process/a/metadata/k", Some(Right::Control)),
    ("PUT", "/api/v3/process/a/metadata/k", Some(Right::Control)),
    ("GET", "/api/v3/metadata", Some(Right::Control)),
    ("GET", "/api/v3/metadata/k", Some(Right::Control)),
    ("PUT", "/api/v3/metadata/k", Some(Right::Control)),
    ("GET", "/api/v3/skills", Some(Right::Control)),
    ("GET", "/api/v3/skills/reload", Some(Right::Control)),
    ("GET", "/metrics", Some(Right::Observe)),
    ("GET", "/openapi.json", Some(Right::Observe)),
    ("GET", "/docs", Some(Right::Observe)),
    ("HEAD", "/docs/swagger-ui.css", None),
    ("GET", "/healthz", None),
    ("GET", "/readyz", None),
    ("GET", "/", None),
    ("GET", "/watch", None),
    ("GET", "/publish", None),
    ("GET", "/processes", None),
    ("GET", "/watch/a", None),
    ("GET", "/publish/a", None),
    ("GET", "/assets/style.css", None),
];

/// Every route, those of WHIP and WHEP in all their shapes.
fn routes() -> Vec<(&'static str, String, Option<Right>)> {
    let mut routes: Vec<_> =
        ROUTES.iter().map(|(method, target, right)| (*method, (*target).to_owned(), *right)).collect();
    for Shape { role, endpoint, sessions, .. } in SHAPES {
        let (right, methods) = match role {
            Role::Publisher => (Right::Publish, &["POST", "GET", "HEAD", "DELETE"][..]),
            Role::Subscriber => (Right::Play, &["POST", "GET", "HEAD"][..]),
        };
        routes.extend(methods.iter().map(|method| (*method, (*endpoint).to_owned(), Some(right))));
        let session = ["GET", "HEAD", "PATCH", "DELETE"].into_iter();
        routes.extend(session.map(|method| (method, format!("{sessions}/secret"), Some(Right::Session(*role)))));
    }
    routes
}

/// Whether a URL is one of a route.
fn is_of(target: &str, path: &str) -> bool {
    let segments = |text: &str| -> Vec<String> {
        text.split('?').next().unwrap_or_default().trim_end_matches('/').split('/').map(str::to_owned).collect()
    };
    let (target, path) = (segments(target), segments(path));
    target.len() == path.len() && target.iter().zip(&path).all(|(target, path)| path.starts_with('{') || target == path)
}

#[test]
fn every_route_is_in_the_table() {
    for (path, _) in table() {
        assert!(routes().iter().any(|(_, target, _)| is_of(target, path)), "{path}: who may use it?");
    }
}

async fn ask(site: &Site, method: &str, target: &str, field: &str) -> Answer {
    let media_type = if method == "PATCH" { FRAGMENT_TYPE } else { SDP_TYPE };
    let body = if ["POST", "PATCH"].contains(&method) { OFFER } else { "" };
    let answer = site.ask(method, target, &[media_type, field], body).await;
    answer.check();
    answer
}

/// Whether access was what stopped it.
fn is_denied(answer: &Answer) -> bool {
    let challenged = answer.field("www-authenticate").is_some();
    assert_eq!(challenged, [401, 403].contains(&answer.status) || (answer.status == 400 && challenged), "{answer:?}");
    challenged
}

async fn site(policy: Policy) -> Site {
    let site = Site::start(policy).await;
    site.with_session(Role::Publisher, "a");
    site.with_session(Role::Subscriber, "a");
    site
}

#[tokio::test]
async fn every_route_asks_for_its_right() {
    use Right::{Control, Observe, Play, Publish};
    let sessions = [Right::Session(Role::Publisher), Right::Session(Role::Subscriber)];
    let foreign = "x-forwarded-for: 192.0.2.7";
    for (policy, field, denied) in [
        (nothing_configured(), "a: b", &[Control][..]),
        (nothing_configured(), foreign, &[Publish, Observe, Control]),
        (nothing_configured(), "origin: http://evil.example", &[Publish, Observe, Control]),
        (Policy { open_publish: true, ..nothing_configured() }, foreign, &[Observe, Control]),
        (nothing_configured(), "authorization: Bearer admin", &[]),
        (with_token(), "a: b", &[Publish, Play, Observe, Control]),
        (with_token(), "authorization: Bearer good", &[]),
        (with_token(), "authorization: Bearer bad", &[Publish, Play, sessions[0], sessions[1], Observe, Control]),
        (with_token(), "authorization: Bearer ", &[Publish, Play, sessions[0], sessions[1], Observe, Control]),
        (with_token(), "authorization: Basic Zm9v", &[Publish, Play, sessions[0], sessions[1], Observe, Control]),
    ] {
        let site = site(policy.clone()).await;
        for (method, target, right) in &routes() {
            let answer = ask(&site, method, target, field).await;
            let expected = right.is_some_and(|right| denied.contains(&right));
            assert_eq!(is_denied(&answer), expected, "{policy:?} {field}: {method} {target} {answer:?}");
            assert!(expected || answer.status < 308 || answer.status == 404, "{method} {target} {answer:?}");
        }
    }
}

#[tokio::test]
async fn a_challenge_is_worded_as_rfc_6750_says() {
    let site = site(with_token()).await;
    for (field, status, challenge) in [
        ("a: b", 401, "Bearer realm=\"whipstitch\""),
        ("authorization: Basic Zm9v", 401, "Bearer realm=\"whipstitch\""),
        ("authorization: Bearer bad", 401, "Bearer realm=\"whipstitch\", error=\"invalid_token\""),
        ("authorization: Bearer", 400, "Bearer realm=\"whipstitch\", error=\"invalid_request\""),
        ("authorization: Bearer a b", 400, "Bearer realm=\"whipstitch\", error=\"invalid_request\""),
    ] {
        let answer = ask(&site, "POST", "/whip/a", field).await;
        assert_eq!((answer.status, answer.field("www-authenticate")), (status, Some(challenge)), "{field}");
    }
    let site = self::site(nothing_configured()).await;
    let fields = [SDP_TYPE, "authorization: Bearer admin", "x-forwarded-for: 192.0.2.7"];
    let answer = site.ask("POST", "/whip/live", &fields, OFFER).await;
    assert_eq!(answer.status, 403);
    assert_eq!(answer.field("www-authenticate"), Some("Bearer realm=\"whipstitch\", error=\"insufficient_scope\""));
}

#[tokio::test]
async fn a_token_in_the_url_works_for_media_and_not_for_the_api() {
    let site = site(with_token()).await;
    for (method, target, right) in &routes() {
        let Some(right) = right else { continue };
        let target = if target.contains('?') { format!("{target}&") } else { format!("{target}?") };
        let answer = ask(&site, method, &format!("{target}token=good"), "a: b").await;
        // What a browser navigates to takes it as well.
        let api = [Right::Observe, Right::Control].contains(right) && !is_of(&target, "/docs");
        assert_eq!(is_denied(&answer), api && !is_of(&target, "/openapi.json"), "{method} {target}");
        let answer = ask(&site, method, &format!("{target}token=bad"), "authorization: Bearer good").await;
        assert!(!is_denied(&answer), "{method} {target}: the header wins");
    }
}

/// The same words whether the stream or session exists, is live, or has an illegal name.
#[tokio::test]
async fn who_has_no_access_learns_nothing() {
    for policy in [with_token(), nothing_configured()] {
        let site = site(policy).await;
        site.media.live.lock().unwrap().insert("live".to_owned());
        let fields = [SDP_TYPE, "x-forwarded-for: 192.0.2.7", "authorization: Bearer bad"];
        let places =
            ["/whip/", "/api/v3/whip/", "/rtc/v1/whip/?stream=", "/rtc/v1/whip/?app=%2F&stream=", "/api/v1/streams/"];
        for target in places {
            let method = if target == "/api/v1/streams/" { "GET" } else { "POST" };
            let mut answers = Vec::new();
            for stream in ["live", "other", "il%20legal"] {
                let answer = site.ask(method, &format!("{target}{stream}"), &fields, "").await;
                let kept = answer.fields.into_iter().filter(|(name, _)| name != "date");
                answers.push((answer.status, kept.collect::<Vec<_>>(), answer.body));
            }
            assert_eq!(answers[0].0, 401);
            assert_eq!(answers[0], answers[1], "{target}");
            assert_eq!(answers[0], answers[2], "{target}");
        }
    }
}

#[tokio::test]
async fn without_a_token_the_answer_says_how_to_get_in() {
    let site = site(nothing_configured()).await;
    let answer = site.ask("POST", "/whip/a", &[SDP_TYPE, "host: media.example:8555"], OFFER).await;
    assert_eq!(answer.status, 401);
    let detail = answer.problem()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("--token") && detail.contains("localhost"), "{detail}");
}

/// Not every place takes a token in its URL.
#[tokio::test]
async fn where_the_token_goes_is_said_to_who_sends_none_in_the_header() {
    let site = site(with_token()).await;
    for target in ["/api/v1/streams", "/api/v1/streams?token=secret", "/metrics"] {
        let problem = site.ask("GET", target, &[], "").await.problem();
        let told = "a token is needed; it goes into the header field Authorization: Bearer TOKEN";
        assert_eq!(problem["detail"], told, "{target}");
    }
    let wrong = site.ask("GET", "/api/v1/streams", &["authorization: Bearer other"], "").await;
    assert_eq!(wrong.problem()["detail"], "the token is wrong");
}
