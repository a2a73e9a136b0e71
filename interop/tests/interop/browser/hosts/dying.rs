//! What moves, dies and comes back, and what goes on meanwhile.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use whipstitch_interop::Redis;

use super::site::{A, B, RTC, SOON, Site};

/// About a second of pictures.
pub(super) const SECOND: u64 = 20;

/// Chromium checks a good path each 2.5 s: until it does nobody knows where it is now. Then a picture to begin with has to
/// come, on a machine that does other things.
pub(super) const CHROMIUM_MOVES: Duration = Duration::from_secs(6);

/// aiortc checks each 4 to 6 s and never says which address it wants: an origin that heard from the one before within 3 s
/// does not follow at once. The first check at another proxy only has it look for the session.
const AIORTC_MOVES: Duration = Duration::from_secs(25);

/// What one does not see.
pub(super) const UNNOTICED: Duration = Duration::from_millis(1500);

/// What issue 7 allows from finding out to media at another origin; that a connection is refused is found out at once.
const ELSEWHERE: Duration = Duration::from_secs(5);

/// How long Redis is away.
const AWAY: Duration = Duration::from_secs(30);

const MOVING: &[&str] = &["moving"];
const ALL: &[&str] = &["moving", "there", "left"];

/// A publisher and three viewers in the page: one through the other proxy than the publisher. aiortc watches as well.
pub(super) async fn begins(site: &mut Site) {
    let publish = format!("window.publisher = await begin('{}')", site.url(A, "/whip/live"));
    site.browser.evaluate(&publish).await;
    for (name, proxy) in [("moving", A), ("there", B), ("left", A)] {
        let join = format!("await join('{name}', '{}'); return true;", site.url(proxy, "/whep/live"));
        site.browser.until(name, SOON, &join).await;
    }
    site.start_aiortc(&site.url(A, "/whep/live"));
    let mark = site.mark(ALL, true).await;
    site.goes_on("media through both proxies", &mark, SECOND, SOON).await;
}

/// The local port of a session of the page.
async fn port(site: &Site, session: &str) -> u16 {
    let port = site.browser.evaluate(&format!("return await portOf({session})")).await;
    port.as_u64().and_then(|port| u16::try_from(port).ok()).expect("a port")
}

fn refusals(said: &Value) -> usize {
    said.as_array().map_or(0, Vec::len)
}

/// From A to B: a viewer, then the publisher of all of them.
pub(super) async fn clients_move(site: &Site) {
    for session in ["viewers.moving", "publisher"] {
        let mark = site.mark(if session == "publisher" { ALL } else { MOVING }, false).await;
        let port = port(site, session).await;
        let (a, b) = (&site.proxies[A].host, &site.proxies[B].host);
        let moved = site.clients[0].move_udp(Some(port), a.at(RTC), b.ip());
        site.goes_on(&format!("{session} moves from A to B"), &mark, 2 * SECOND, CHROMIUM_MOVES).await;
        assert_ne!(site.clients[0].counted(&moved), 0, "{session} hears from B");
    }
}

/// A is killed, and those that it had go to B.
pub(super) async fn a_proxy_dies(site: &mut Site) {
    let port = port(site, "viewers.left").await;
    let mark = site.mark(ALL, true).await;
    site.proxies[A].runs = None;
    let (a, b) = (&site.proxies[A].host, &site.proxies[B].host);
    site.clients[0].move_udp(Some(port), a.at(RTC), b.ip());
    site.clients[1].move_udp(None, a.at(RTC), b.ip());
    site.goes_on("proxy A is killed and its clients move to B", &mark, 2 * SECOND, AIORTC_MOVES).await;
}

/// Redis is killed and begins with nothing. What it knew comes back from those who need it: a proxy that was not there yet
/// finds a session of another one.
pub(super) async fn redis_forgets_everything(site: &mut Site) {
    site.revive_proxy(A);
    site.until("the new proxy A knows the origins", SOON, || site.up(A).len() == 3).await;
    let mark = site.mark(ALL, true).await;
    site.redis.runs = None;
    site.redis.runs = Some(Redis::inside(&site.redis.host));
    let took = site
        .until("Redis knows five sessions again", SOON, || Redis::keys(&site.redis.host, "whipstitch:session:") == 5)
        .await;
    eprintln!("Redis is killed and started: it knows all sessions again after {took:?}");
    site.goes_on("Redis is killed and started", &mark, SECOND, UNNOTICED).await;
}

/// Redis says nothing for half a minute.
pub(super) async fn redis_is_away(site: &Site) {
    let offer = "const pc = new RTCPeerConnection(); pc.addTransceiver('video'); return (await pc.createOffer()).sdp;";
    let offer = site.browser.evaluate(offer).await;
    let offer = offer.as_str().expect("a description");
    let mark = site.mark(ALL, true).await;
    let (start, off) = (Instant::now(), site.redis.host.cut_off());
    let took = site.until("proxy B notices that Redis is away", SOON, || !site.registry_up(B)).await;
    eprintln!("Redis is away: noticed after {took:?}");

    let begun = Instant::now();
    site.browser.evaluate(&format!("await join('late', '{}')", site.url(B, "/whep/live"))).await;
    eprintln!("Redis is away: a new viewer of a known stream is accepted within {:?}", begun.elapsed());
    for path in ["/whip/unheard-of", "/whep/unheard-of"] {
        let begun = Instant::now();
        let refused = site.clients[1].ask("POST", &site.url(B, path), &["Content-Type: application/sdp"], offer);
        eprintln!("Redis is away: {path} hears {} within {:?}", refused.status, begun.elapsed());
        let retry = refused.field("retry-after").and_then(|after| after.parse::<u32>().ok());
        assert!(refused.status == 503 && retry.is_some(), "a stream nobody knows while Redis is away: {refused:?}");
    }
    let late = site.mark(&["late"], false).await;
    site.goes_on("a viewer who came while Redis was away", &late, SECOND, SOON).await;

    site.until("half a minute", SOON, || start.elapsed() > AWAY).await;
    site.goes_on("Redis was away for half a minute", &mark, SECOND, UNNOTICED).await;
    site.redis.host.undo(off);
    let took = site.until("Redis is back for both", SOON, || site.registry_up(A) && site.registry_up(B)).await;
    eprintln!("Redis is back: noticed after {took:?}");
    let again = format!("return await untilAccepted(() => begin('{}'))", site.url(B, "/whip/after-redis"));
    let begun = Instant::now();
    let (accepted, took) = (site.browser.evaluate(&again).await, begun.elapsed());
    eprintln!(
        "Redis is back: a new stream is accepted after {took:?}, refused {} times before",
        refusals(&accepted[1])
    );
    assert!(took < ELSEWHERE, "a new stream after Redis came back: {took:?}");
}

/// The origin that has the stream is killed: publisher and viewers POST again.
pub(super) async fn an_origin_dies(site: &mut Site) {
    let (id, which) = site.holder(B, "live").expect("somebody has it");
    site.aiortc = None;
    let killed = Instant::now();
    site.origins[which].runs = None;
    let publish = format!(
        "publisher.pc.close();
         let refusals;
         [window.publisher, refusals] = await untilAccepted(() => begin('{}'));
         return refusals;",
        site.url(B, "/whip/live")
    );
    let refused = site.browser.evaluate(&publish).await;
    eprintln!(
        "origin {id} is killed: its publisher is elsewhere after {:?}, refused {} times before",
        killed.elapsed(),
        refusals(&refused)
    );
    for (name, proxy) in [("moving", A), ("there", B)] {
        let join = format!("join('{name}', '{}')", site.url(proxy, "/whep/live"));
        let refused = site.browser.evaluate(&format!("return (await untilAccepted(() => {join}))[1]")).await;
        eprintln!(
            "origin {id} is killed: '{name}' is elsewhere after {:?}, refused {} times before",
            killed.elapsed(),
            refusals(&refused)
        );
    }
    let back = &json!(["moving", "there"]);
    site.browser.until("pictures from another origin", SOON, &format!("return pauses({back}, [1, 1])")).await;
    let took = killed.elapsed();
    eprintln!("origin {id} is killed: first pictures from another after {took:?}");
    assert!(took < ELSEWHERE, "pictures from another origin: {took:?}");
    for proxy in [A, B] {
        let (now, _) = site.holder(proxy, "live").expect("somebody has it");
        assert_ne!(now, id, "proxy {proxy} names another origin");
    }
    let mark = site.mark(&["moving", "there"], false).await;
    site.goes_on("the stream at another origin", &mark, 2 * SECOND, UNNOTICED).await;
}
