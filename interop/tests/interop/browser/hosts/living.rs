//! What operators and clients do to what goes on: drain, look, redirect, trickle, restart ICE, end.

use std::time::Instant;

use serde_json::json;

use super::super::driver::Browser;
use super::super::session::SESSIONS;
use super::dying::{CHROMIUM_MOVES, SECOND, UNNOTICED};
use super::site::{A, ADMIN, B, HTTP, ORIGIN_RTC, SECRET, SOON, Site};

const BOTH: &[&str] = &["moving", "there"];

/// New streams while an origin is drained. Half of them would go there otherwise: loads are alike, and names decide.
const NEW: usize = 8;

/// The origin that has the stream is drained: it keeps what it has, and what is new goes elsewhere.
pub(super) async fn an_origin_is_drained(site: &Site) {
    let (id, _) = site.holder(B, "live").expect("somebody has it");
    let mark = site.mark(BOTH, false).await;
    let drain = format!("/api/v1/origins/{id}/drain");
    assert_eq!(site.admin(B, "POST", &drain).0, 204, "drain {id}");
    for proxy in [A, B] {
        let took = site.until("it is draining", SOON, || site.standing(proxy, &id) == "draining").await;
        eprintln!("origin {id} is drained: proxy {proxy} knows after {took:?}");
    }
    let offer = "const pc = new RTCPeerConnection();
        pc.addTransceiver('video', { direction: 'sendonly' });
        return (await pc.createOffer()).sdp;";
    let offer = site.browser.evaluate(offer).await;
    for n in 0..NEW {
        let (proxy, name) = ([A, B][n % 2], format!("new-{n}"));
        let url = site.url(proxy, &format!("/whip/{name}"));
        let fields = ["Content-Type: application/sdp"];
        let begun = site.clients[1].ask("POST", &url, &fields, offer.as_str().expect("a description"));
        assert_eq!(begun.status, 201, "a new stream while an origin is drained: {begun:?}");
        let (holder, _) = site.holder(proxy, &name).expect("somebody has it");
        assert_ne!(holder, id, "{name} goes elsewhere");
    }
    let join = format!("await join('late', '{}')", site.url(A, "/whep/live"));
    site.browser.evaluate(&join).await;
    site.goes_on("sessions of a drained origin", &mark, 2 * SECOND, UNNOTICED).await;
    let late = site.mark(&["late"], false).await;
    site.goes_on("a new viewer of a drained origin's stream", &late, SECOND, SOON).await;
    assert_eq!(site.holder(B, "live").map(|(id, _)| id).as_ref(), Some(&id), "it keeps its stream");
    assert_eq!(site.admin(A, "DELETE", &drain).0, 204, "use {id} again");
    for proxy in [A, B] {
        site.until("it is used again", SOON, || site.standing(proxy, &id) == "up").await;
    }
}

/// The page of the admin listener shows what there is, to who has the secret.
pub(super) async fn the_map_shows_it(site: &Site, browser: &Browser) {
    browser.open(&format!("http://{}/", site.proxies[B].host.at(ADMIN))).await;
    browser.until("a field for the secret", SOON, "return document.querySelector('input[name=token]')").await;
    let shown = "return whipstitch.origins.length + whipstitch.streams.length + whipstitch.sessions.length;";
    assert_eq!(browser.evaluate(shown).await, 0, "nothing without the secret");
    let fill = format!(
        "const field = document.querySelector('input[name=token]');
         field.value = '{SECRET}';
         field.form.requestSubmit();"
    );
    browser.evaluate(&fill).await;
    let (id, _) = site.holder(B, "live").expect("somebody has it");
    let listed = format!(
        "const text = document.querySelector('[data-id=\"{id}\"]').innerText;
         return whipstitch.state === 'listed' && text.includes('up') && text.includes('live')
             && text.includes('published through this proxy') && text.includes('watching through it')
             && whipstitch.sessions.filter(one => one.stream === 'live' && one.role === 'viewer').length > 0
             && document.querySelectorAll('#origins > li').length === whipstitch.origins.length && whipstitch.origins.length;"
    );
    let rows = browser.until("origins, streams and sessions on the map", SOON, &listed).await;
    assert!(rows.as_u64() >= Some(2), "a row for each origin: {rows}");
    browser.screenshot("proxy-map").await;
}

/// A proxy that sends clients to the origins themselves.
pub(super) async fn a_viewer_is_sent_to_the_origin(site: &Site, browser: &Browser) {
    let (host, _proxy) = site.third_proxy(&["--signalling", "redirect"]);
    let page = format!("http://{}", host.at(HTTP));
    let ready = || host.ask("GET", &format!("{page}/readyz"), &[], "").status == 200;
    site.until("the redirecting proxy knows origins", SOON, ready).await;
    browser.open(&format!("{page}/healthz")).await;
    browser.evaluate(SESSIONS).await;
    let watch = "window.viewer ??= await watch('/whep/live', [{ kind: 'video', codec: 'VP8' }]); return viewer.url;";
    let url = browser.until("a viewer who was redirected", SOON, watch).await;
    let (_, which) = site.holder(B, "live").expect("somebody has it");
    let origin = &site.origins[which].host;
    let at = format!("http://{}:", origin.ip());
    assert!(url.as_str().is_some_and(|url| url.starts_with(&at)), "the session is at the origin: {url}");
    let seen = "const { video, remote } = await statistics(viewer, 'inbound-rtp');
        return video.framesDecoded > 20 && [remote.address, remote.port];";
    let remote = browser.until("pictures without a proxy", SOON, seen).await;
    assert_eq!(remote, json!([origin.ip().to_string(), ORIGIN_RTC]), "media comes from the origin");
    let ended = "return (await fetch(viewer.url, { method: 'DELETE' })).status";
    assert_eq!(browser.evaluate(ended).await, 200);
}

/// PATCH with candidates and with another generation of ICE, at the proxy of the POST and at the other one.
pub(super) async fn sessions_are_patched(site: &Site) {
    for (session, posted) in [("viewers.there", B), ("publisher", B)] {
        for proxy in [posted, A] {
            let trickle = format!(
                "const {{ pc, url }} = {session};
                 const sdp = pc.localDescription.sdp;
                 const line = start => sdp.match(new RegExp(`^${{start}}.*$`, 'm'))[0];
                 const candidates = sdp.match(/^a=candidate:.*$/mg);
                 const lines = [...['a=ice-ufrag:', 'a=ice-pwd:', 'm=', 'a=mid:'].map(line), ...candidates];
                 const body = [...lines, 'a=end-of-candidates', ''].join('\\r\\n');
                 const headers = {{ 'Content-Type': 'application/trickle-ice-sdpfrag', 'If-Match': '*' }};
                 const at = new URL(new URL(url).pathname, '{}');
                 return (await fetch(at, {{ method: 'PATCH', headers, body }})).status;",
                site.url(proxy, "/")
            );
            assert_eq!(site.browser.evaluate(&trickle).await, 204, "{session}: trickle through proxy {proxy}");

            let mark = site.mark(BOTH, false).await;
            let restart = format!(
                "{session}.url = new URL(new URL({session}.url).pathname, '{}').href;
                 return window.ours = await restart({session});",
                site.url(proxy, "/")
            );
            site.browser.evaluate(&restart).await;
            let over_the_new = format!(
                "const {{ local, remote }} = await statistics({session}, 'inbound-rtp');
                 const wanted = {session}.pc.localDescription.sdp.match(/^a=ice-ufrag:(\\S+)/m)[1];
                 return local.usernameFragment === wanted && remote.usernameFragment === window.ours;"
            );
            site.browser.until(&format!("a new path of {session} after a PATCH at {proxy}"), SOON, &over_the_new).await;
            let what = format!("{session} restarts ICE through proxy {proxy}");
            site.goes_on(&what, &mark, SECOND, CHROMIUM_MOVES).await;
        }
    }
}

/// DELETE at another proxy than the POST ends a session there as well.
pub(super) async fn sessions_end(site: &Site) {
    let at = |session: &str, proxy| {
        format!(
            "return (await fetch(new URL(new URL({session}.url).pathname, '{}'), {{ method: 'DELETE' }})).status",
            site.url(proxy, "/")
        )
    };
    for (session, role, posted, deleted) in [("viewers.moving", "viewer", A, A), ("viewers.there", "viewer", B, A)] {
        let before = sessions(site, posted, role);
        let begun = Instant::now();
        assert_eq!(site.browser.evaluate(&at(session, deleted)).await, 200, "{session}: DELETE at proxy {deleted}");
        let fewer = || sessions(site, posted, role) < before;
        site.until(&format!("{session} has ended at proxy {posted}"), SOON, fewer).await;
        eprintln!("{session}: DELETE at proxy {deleted}, ended at proxy {posted} after {:?}", begun.elapsed());
        assert_eq!(site.browser.evaluate(&at(session, deleted)).await, 404, "{session}: DELETE again");
    }
}

/// How many sessions of the stream in this role a proxy knows.
fn sessions(site: &Site, proxy: usize, role: &str) -> usize {
    let (_, said) = site.admin(proxy, "GET", "/api/v1/sessions");
    let sessions = said["sessions"].as_array().expect("a list").iter();
    sessions.filter(|one| one["stream"] == "live" && one["role"] == role).count()
}
