//! What the configuration changes about requests: names, web pages, session URLs, tokens.

use super::direct::Direct;
use super::*;
use crate::access::SessionAuth;
use crate::tokens::{Listed, Rights};

const REMOTE: &str = "192.0.2.1";

fn names(settings: &[&str]) -> Settings {
    let stream_names = settings.iter().map(|text| Pattern::parse(text).unwrap()).collect();
    Settings { stream_names, ..Settings::default() }
}

#[tokio::test]
async fn a_name_outside_the_patterns_is_not_found_by_those_who_may_know() {
    let direct = Direct::new(with_token(), names(&["cam-*", "studio"]));
    let good = "authorization: Bearer good";
    for (method, target, with, without) in [
        ("POST", "/whip/cam-1", 201, 401),
        ("POST", "/whep/studio", 201, 401),
        ("POST", "/whip/other", 404, 401),
        ("POST", "/rtc/v1/whep/?stream=other", 404, 401),
        ("POST", "/rtc/v1/whep/?app=cam-x&stream=other", 201, 401),
        ("GET", "/whep/other", 404, 401),
        ("DELETE", "/whip/other", 404, 401),
        ("PATCH", "/whip/other/secret", 404, 404),
        ("OPTIONS", "/whip/other", 200, 200),
        ("POST", "/whip/il%20legal", 400, 401),
    ] {
        let answer = direct.ask(REMOTE, method, target, &[SDP_TYPE, good], OFFER).await;
        assert_eq!(answer.status, with, "{method} {target}");
        answer.check();
        assert_eq!(direct.ask(REMOTE, method, target, &[SDP_TYPE], OFFER).await.status, without, "{method} {target}");
    }
}

#[tokio::test]
async fn with_a_list_of_origins_other_pages_may_look_and_change_nothing() {
    let origins = Origins::new(vec!["https://example.net".to_owned(), "http://localhost:3000".to_owned()]);
    let direct = Direct::new(nothing_configured(), Settings { origins, ..Settings::default() });
    direct.with_session(Role::Subscriber, "a");
    for (origin, listed, may) in [
        (None, false, true),
        (Some("https://example.net"), true, true),
        (Some("https://EXAMPLE.net"), true, true),
        (Some("http://localhost:3000"), true, true),
        (Some("http://localhost:8555"), false, true),
        (Some("https://localhost:8555"), false, true),
        (Some("http://localhost:8556"), false, false),
        (Some("http://example.net"), false, false),
        (Some("https://example.net.evil.example"), false, false),
        (Some("null"), false, false),
    ] {
        let field = origin.map(|origin| format!("origin: {origin}"));
        let fields: Vec<&str> = std::iter::once(SDP_TYPE).chain(field.as_deref()).collect();
        for (method, target, refused) in [
            ("POST", "/whep/a", true),
            ("PATCH", "/whep/a/secret", true),
            ("DELETE", "/whep/a/secret", true),
            ("DELETE", "/api/v1/sessions/0000000000000007", true),
            ("PUT", "/api/v3/process/a", true),
            ("GET", "/whep/a", false),
            ("OPTIONS", "/whep/a", false),
            ("GET", "/nowhere", false),
        ] {
            let answer = direct.ask(REMOTE, method, target, &fields, OFFER).await;
            let echoed = origin.filter(|_| listed);
            assert_eq!(answer.field("access-control-allow-origin"), echoed, "{method} {target} {origin:?}");
            assert_eq!(answer.field("vary"), Some("Origin"), "{method} {target} {origin:?}");
            assert_eq!(answer.status == 403, refused && !may, "{method} {target} {origin:?} {}", answer.status);
        }
    }
    let twice = [SDP_TYPE, "origin: https://example.net", "origin: https://evil.example"];
    assert_eq!(direct.ask(REMOTE, "POST", "/whep/a", &twice, OFFER).await.status, 403);
}

fn listed(name: &str, rights: Rights, streams: &[&str]) -> Listed {
    let streams = streams.iter().map(|text| Pattern::parse(text).unwrap()).collect();
    Listed { name: name.into(), token: Token::parse(name).unwrap(), rights, streams, expires: None }
}

/// The session of one stream and direction takes the token of no other.
#[tokio::test]
async fn a_token_at_a_session_url_must_be_for_that_stream_and_direction() {
    let (publish, play) = (Rights { publish: true, ..Rights::default() }, Rights { play: true, ..Rights::default() });
    let tokens =
        vec![listed("publish", publish, &["a"]), listed("play", play, &["a"]), listed("other", publish, &["b"])];
    for (session_auth, without) in [(SessionAuth::Capability, 200), (SessionAuth::Token, 401)] {
        let policy = Policy { tokens: tokens.clone(), session_auth, ..Policy::default() };
        let direct = Direct::new(policy, Settings::default());
        direct.with_session(Role::Publisher, "a");
        direct.with_session(Role::Subscriber, "a");
        for (token, at_publisher, at_viewer) in
            [(None, without, without), (Some("publish"), 200, 403), (Some("play"), 403, 200), (Some("other"), 403, 403)]
        {
            let field = token.map(|token| format!("authorization: Bearer {token}"));
            let fields: Vec<&str> = field.as_deref().into_iter().collect();
            for (url, expected) in [("/whip/a/secret", at_publisher), ("/whep/a/secret", at_viewer)] {
                let answer = direct.ask(REMOTE, "DELETE", url, &fields, "").await;
                assert_eq!(answer.status, expected, "{session_auth:?} {token:?} {url}");
            }
        }
    }
}

/// `protocol.md` 2.5: it belongs to the subject of the POST.
#[tokio::test]
async fn a_session_is_used_by_who_asked_for_it_where_its_url_is_not_enough() {
    let rights = Rights { publish: true, ..Rights::default() };
    let tokens = vec![listed("one", rights, &["a"]), listed("other", rights, &["a"])];
    for (session_auth, of_another, without) in [(SessionAuth::Capability, 204, 204), (SessionAuth::Token, 403, 401)] {
        for open_publish in [false, true] {
            let policy = Policy { tokens: tokens.clone(), session_auth, open_publish, ..with_token() };
            let direct = Direct::new(policy, Settings::default());
            let ask = async |method, url: &str, token: Option<&str>| {
                let field = token.map(|token| format!("authorization: Bearer {token}"));
                let fields: Vec<&str> = [SDP_TYPE].into_iter().chain(field.as_deref()).collect();
                let body = if method == "POST" { OFFER } else { "" };
                direct.ask(REMOTE, method, url, &fields, body).await.status
            };
            assert_eq!(ask("POST", "/whip/a", Some("one")).await, 201);
            for (token, expected) in
                [(Some("one"), 204), (Some("other"), of_another), (Some("good"), 204), (None, without)]
            {
                for method in ["GET", "HEAD"] {
                    assert_eq!(ask(method, "/whip/a/secret", token).await, expected, "{session_auth:?} {token:?}");
                }
            }
            let ended = ask("DELETE", "/whip/a/secret", Some("other")).await;
            assert_eq!(ended, if of_another == 204 { 200 } else { 403 });
            // What was begun without a token, where none is needed, is anybody's who may do as much.
            if open_publish {
                assert_eq!(ask("POST", "/whip/a", None).await, 201);
                assert_eq!(ask("DELETE", "/whip/a/secret", Some("other")).await, 200);
            }
        }
    }
}
