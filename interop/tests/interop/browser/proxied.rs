//! Chromium publishes and watches through a proxy.

use serde_json::Value;
use whipstitch_interop::{Gateway, Proxy};

use super::driver::Browser;
use super::session::publishes_watches_and_restarts;

/// Where each of the two sends its datagrams.
const REMOTE: &str = "
    const ports = [];
    for (const session of [window.publisher, window.viewer]) {
        ports.push((await statistics(session, 'inbound-rtp')).remote.port);
    }
    return ports;";

/// Ends both; the statuses.
const END: &str = "
    const statuses = [];
    for (const { url } of [window.viewer, window.publisher]) {
        statuses.push((await fetch(url, { method: 'DELETE' })).status);
    }
    return statuses;";

/// What the page of the admin listener says of its origin.
const MAP: &str = "
    while (window.whipstitch?.state !== 'listed') await new Promise((next) => setTimeout(next, 50));
    const badge = document.querySelector('.badge');
    return [badge.textContent, badge.className, document.getElementById('summary').textContent.split(' · ')[0]];";

async fn json(url: &str) -> Value {
    let answer = reqwest::get(url).await.and_then(reqwest::Response::error_for_status).expect("an answer");
    answer.json().await.expect("JSON")
}

#[tokio::test]
async fn chromium_publishes_watches_and_restarts_ice_through_a_proxy() {
    let gateway = Gateway::serve(&["--open-publish"]);
    let proxy = Proxy::start(&["--origin", &gateway.url("")]);
    let browser = Browser::chromium("proxied").await;
    browser.open(&proxy.url("/healthz")).await;
    publishes_watches_and_restarts(&browser).await;
    let port = proxy.media_port();
    assert_eq!(browser.evaluate(REMOTE).await, Value::from([port, port]), "all media goes through the proxy");
    let sessions = json(&proxy.admin("/api/v1/sessions")).await;
    assert_eq!(sessions["sessions"].as_array().map(Vec::len), Some(2), "{sessions}");
    assert_eq!(browser.evaluate(END).await, Value::from([200, 200]));
    let streams = json(&gateway.url("/api/v1/streams")).await;
    let live = streams["streams"].as_array().expect("streams").iter().filter(|stream| stream["live"] == true);
    assert_eq!(live.count(), 0, "{streams}");
    browser.open(&proxy.admin("/")).await;
    assert_eq!(browser.evaluate(MAP).await, Value::from(["up", "badge good", "1 origin"]));
    assert_eq!(proxy.stop().code(), Some(0), "{}", proxy.process().said());
}
