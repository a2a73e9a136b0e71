//! Requests that come too often, in time that only the test moves.

use super::direct::Direct;
use super::*;

const ONE: &str = "192.0.2.1";
const OTHER: &str = "192.0.2.2";

fn limited(policy: Policy) -> Direct {
    let settings = Settings {
        requests: Rate { per_second: 1, burst: 3 },
        session: Rate { per_second: 1, burst: 2 },
        trusted: Trusted::new(vec!["127.0.0.1/32".parse().unwrap()]),
        ..Settings::default()
    };
    Direct::new(policy, settings)
}

async fn watch(direct: &Direct, peer: &str, fields: &[&str]) -> Answer {
    let answer = direct.ask(peer, "POST", "/whep/a", &[&[SDP_TYPE], fields].concat(), OFFER).await;
    answer.check();
    answer
}

#[tokio::test(start_paused = true)]
async fn an_address_has_its_burst_and_then_waits_as_long_as_it_is_told() {
    let direct = limited(nothing_configured());
    for _ in 0..3 {
        assert_eq!(watch(&direct, ONE, &[]).await.status, 201);
    }
    let asked = direct.media.asked().len();
    let answer = watch(&direct, ONE, &[]).await;
    assert_eq!((answer.status, answer.field("retry-after")), (429, Some("1")));
    answer.problem();
    assert_eq!((asked, direct.media.asked().len()), (3, 0), "it costs the media plane nothing");
    assert_eq!(watch(&direct, OTHER, &[]).await.status, 201, "nobody else waits");
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(watch(&direct, ONE, &[]).await.status, 201);
    assert_eq!(watch(&direct, ONE, &[]).await.status, 429);
}

#[tokio::test(start_paused = true)]
async fn who_leases_ports_is_counted_and_who_asks_whether_it_could_is_not() {
    let direct = limited(nothing_configured());
    for (method, status) in [("GET", 404), ("HEAD", 404), ("GET", 404), ("GET", 404), ("HEAD", 404), ("GET", 429)] {
        assert_eq!(direct.ask(ONE, method, "/whip/a/sdp", &[], "").await.status, status, "{method}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_ipv6_customer_has_one_bucket() {
    let direct = limited(nothing_configured());
    for n in 1..=3 {
        assert_eq!(watch(&direct, &format!("2001:db8::{n}"), &[]).await.status, 201);
    }
    assert_eq!(watch(&direct, "2001:db8::ffff:4", &[]).await.status, 429);
    assert_eq!(watch(&direct, "2001:db8:0:1::1", &[]).await.status, 201);
}

#[tokio::test(start_paused = true)]
async fn behind_a_trusted_proxy_everybody_has_a_bucket_and_nobody_gets_another_by_lying() {
    let direct = limited(nothing_configured());
    for _ in 0..3 {
        assert_eq!(watch(&direct, "127.0.0.1", &["x-forwarded-for: 203.0.113.1"]).await.status, 201);
    }
    for lie in ["x-forwarded-for: 203.0.113.1", "x-forwarded-for: 203.0.113.9, 203.0.113.1"] {
        assert_eq!(watch(&direct, "127.0.0.1", &[lie]).await.status, 429, "{lie}");
    }
    assert_eq!(watch(&direct, "127.0.0.1", &["x-forwarded-for: 203.0.113.2"]).await.status, 201);
    for n in 0..4 {
        let lie = format!("x-forwarded-for: 203.0.113.{n}");
        assert_eq!(watch(&direct, ONE, &[&lie]).await.status, if n < 3 { 201 } else { 429 });
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_has_a_bucket_of_its_own_and_can_be_ended_all_the_same() {
    let direct = limited(nothing_configured());
    direct.with_session(Role::Publisher, "a");
    direct.with_session(Role::Publisher, "b");
    let patch = async |peer, url: &str| {
        let fields = [FRAGMENT_TYPE, "if-match: *"];
        direct.ask(peer, "PATCH", url, &fields, FRAGMENT).await
    };
    assert_eq!(patch(ONE, "/whip/a/unknown").await.status, 404);
    assert_eq!(patch(ONE, "/whip/a/secret").await.status, 204);
    assert_eq!(patch(OTHER, "/whip/a/secret").await.status, 204);
    let answer = patch(OTHER, "/whip/a/secret").await;
    assert_eq!((answer.status, answer.field("retry-after")), (429, Some("1")));
    assert_eq!(direct.ask(OTHER, "DELETE", "/whip/a/secret", &[], "").await.status, 200);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(patch(ONE, "/whip/a/secret").await.status, 204);
}

#[tokio::test(start_paused = true)]
async fn who_guesses_tokens_waits_whatever_the_next_one_is() {
    let guesses = Arc::new(Guesses::new(Rate { per_second: 1, burst: 3 }, throttle::now()));
    let direct = Direct::new(with_token(), Settings { guesses, ..Settings::default() });
    let (good, bad) = ("authorization: Bearer good", "authorization: Bearer bad");
    assert_eq!(watch(&direct, OTHER, &[good]).await.status, 201);
    for _ in 0..3 {
        for address in [ONE, OTHER] {
            assert_eq!(watch(&direct, address, &[bad]).await.status, 401);
        }
    }
    for (address, field, status) in [(ONE, bad, 429), (ONE, good, 429), (OTHER, good, 201), (OTHER, bad, 429)] {
        let answer = watch(&direct, address, &[field]).await;
        assert_eq!((answer.status, answer.field("retry-after")), (status, (status == 429).then_some("1")), "{address}");
        assert_eq!(answer.field("www-authenticate"), None);
    }
    assert_eq!(watch(&direct, ONE, &["a: b"]).await.status, 401, "nothing shown is nothing guessed");
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(watch(&direct, ONE, &[good]).await.status, 201);
}

/// `protocol.md` 2: route, method, preflight and access come before the limits; size and media type after.
#[tokio::test(start_paused = true)]
async fn what_comes_too_often_is_told_in_its_place() {
    let direct = limited(with_token());
    let good = "authorization: Bearer good";
    for _ in 0..3 {
        assert_eq!(watch(&direct, ONE, &[good]).await.status, 201);
    }
    let large = "x".repeat(70_000);
    for (method, target, fields, status) in [
        ("POST", "/nowhere", &[good][..], 404),
        ("PUT", "/whep/a", &[good], 405),
        ("OPTIONS", "/whep/a", &[good], 200),
        ("POST", "/whep/a", &["a: b"], 401),
        ("POST", "/whep/a", &[good], 429),
        ("POST", "/whep/a%20b", &[good], 429),
        ("PATCH", "/whep/a/unknown", &[good], 429),
        ("DELETE", "/whep/a/unknown", &[good], 429),
        ("DELETE", "/whip/a", &[good], 429),
        ("GET", "/whep/a", &[good], 200),
        ("GET", "/api/v1/streams", &[good], 200),
    ] {
        assert_eq!(
            direct.ask(ONE, method, target, fields, &large).await.status,
            status,
            "{method} {target} {fields:?}"
        );
    }
}
