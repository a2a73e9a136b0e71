//! Who is told of ICE servers, and where.

use super::aliases::{SHAPES, Shape};
use super::*;

const SERVERS: &[&str] = &["stun:stun.example.net:3478", "turn:turn.example.net username=u credential=c"];
const LINKS: &[&str] = &[
    "<stun:stun.example.net:3478>; rel=\"ice-server\"",
    "<turn:turn.example.net>; rel=\"ice-server\"; username=\"u\"; credential=\"c\"; credential-type=\"password\"",
];

async fn site(policy: Policy, servers: &[&str]) -> Site {
    let announcer = Announcer::new(vec![[127, 0, 0, 1].into()], Vec::new(), vec!["127.0.0.1:4000".parse().unwrap()]);
    Site::announcing(policy, announcer, servers).await
}

/// The `Link` fields as they came, one value for each.
fn links(answer: &Answer) -> Vec<&str> {
    let links = answer.fields.iter().filter(|(name, _)| name == "link");
    links.map(|(_, value)| value.as_str()).collect()
}

#[tokio::test]
async fn a_created_session_and_an_authorised_question_are_told_at_every_url() {
    const GOOD: &str = "authorization: Bearer good";
    for Shape { endpoint, sessions, .. } in SHAPES {
        let site = site(with_token(), SERVERS).await;
        let created = site.ask("POST", endpoint, &[SDP_TYPE, GOOD], OFFER).await;
        let asked = site.ask("OPTIONS", endpoint, &[GOOD], "").await;
        let by_page = site.ask("OPTIONS", endpoint, &[GOOD, "origin: http://x"], "").await;
        for (answer, status) in [(created, 201), (asked, 200), (by_page, 200)] {
            assert_eq!((answer.status, links(&answer)), (status, LINKS.to_vec()), "{endpoint}");
            assert_eq!(answer.field("cache-control"), Some("no-store"), "{endpoint}");
        }

        let preflight = ["origin: http://x", "access-control-request-method: POST", GOOD];
        let url = format!("{sessions}/secret");
        for (method, target, fields, status) in [
            ("OPTIONS", *endpoint, &preflight[..], 200),
            ("OPTIONS", endpoint, &[], 200),
            ("OPTIONS", endpoint, &["authorization: Bearer bad"], 200),
            ("OPTIONS", endpoint, &["authorization: Bearer"], 200),
            ("POST", endpoint, &[SDP_TYPE], 401),
            ("POST", endpoint, &[GOOD], 415),
            ("OPTIONS", &url, &[GOOD], 200),
            ("PATCH", &url, &[GOOD, FRAGMENT_TYPE], 204),
        ] {
            let body = if method == "OPTIONS" { "" } else { OFFER };
            let answer = site.ask(method, target, fields, body).await;
            assert_eq!((answer.status, links(&answer)), (status, vec![]), "{method} {target} {fields:?}");
        }
    }
}

#[tokio::test]
async fn who_may_watch_without_a_token_is_told_so_for_watching_only() {
    let site = site(nothing_configured(), SERVERS).await;
    let foreign = ["x-forwarded-for: 192.0.2.7"];
    assert_eq!(links(&site.ask("OPTIONS", "/whep/a", &foreign, "").await), LINKS);
    assert_eq!(links(&site.ask("OPTIONS", "/whip/a", &foreign, "").await), [""; 0]);
    assert_eq!(links(&site.ask("OPTIONS", "/whip/a", &[], "").await), LINKS);
}

#[tokio::test]
async fn a_refused_offer_is_not_told() {
    let site = site(nothing_configured(), SERVERS).await;
    *site.media.refusal.lock().unwrap() = Some(Refusal::NotLive { retry_after: Duration::ZERO });
    let answer = site.ask("POST", "/whep/a", &[SDP_TYPE], OFFER).await;
    assert_eq!((answer.status, links(&answer)), (409, vec![]));
}

#[tokio::test]
async fn a_shared_secret_is_made_into_credentials_that_expire_and_never_sent() {
    let site = site(nothing_configured(), &["turn:t secret=northnorth name=w ttl=1h"]).await;
    let before = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let answer = site.ask("OPTIONS", "/whep/a", &[], "").await;
    let link = links(&answer).concat();
    let expiry = link.split("username=\"").nth(1).and_then(|rest| rest.split(":w\"").next()).unwrap();
    let lasts = expiry.parse::<u64>().unwrap() - before;
    assert!((3600..3660).contains(&lasts), "{link}");
    assert!(!link.contains("north"), "{link}");
}
