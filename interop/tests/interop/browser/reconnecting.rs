//! A viewer's page is opened once and never touched again, whatever the publisher does.

use std::time::Duration;

use whipstitch_interop::Gateway;

use super::driver::Browser;
use super::watching::{published, watched};

const BLANK: &str = "about:blank";

#[tokio::test]
async fn a_viewer_waits_for_the_publisher_and_comes_back_with_it() {
    let gateway = Gateway::serve(&[]);
    let (publisher, viewer) = (Browser::chromium("publisher").await, Browser::chromium("viewer").await);
    let publish = gateway.url("/publish/back?auto=1&codec=VP8&source=camera");
    let soon = Duration::from_secs(20);

    viewer.open(&gateway.url("/watch/back")).await;
    viewer.evaluate("window.untouched = true").await;
    viewer.until("a word that nobody publishes", soon, "return document.body.innerText.length > 0").await;
    viewer.screenshot("watch-waiting").await;

    publisher.open(&publish).await;
    published(&publisher, "publish-first").await;
    watched(&viewer, "watch-first").await;

    // Leaving the page ends its session; the stream has no publisher now, and pictures stop.
    publisher.open(BLANK).await;
    let frozen = "
        const frames = async () => [...(await window.whipstitch.pc.getStats()).values()]
            .find(s => s.type === 'inbound-rtp' && s.kind === 'video')?.framesDecoded;
        const before = await frames();
        await new Promise(resolve => setTimeout(resolve, 1000));
        return before === await frames();";
    viewer.until("a second without pictures", soon, frozen).await;

    publisher.open(&publish).await;
    published(&publisher, "publish-again").await;
    watched(&viewer, "watch-again").await;
    assert_eq!(viewer.evaluate("return window.untouched").await, true, "the page was loaded again");
}

#[tokio::test]
async fn a_viewer_comes_back_after_the_gateway_was_started_anew() {
    let gateway = Gateway::demo(&[]);
    let viewer = Browser::chromium("viewer").await;
    viewer.open(&gateway.url("/watch/demo")).await;
    viewer.evaluate("window.untouched = true").await;
    watched(&viewer, "watch-before-restart").await;

    let address = format!("127.0.0.1:{}", gateway.port());
    drop(gateway);
    let lost = "return window.whipstitch.state !== 'playing'";
    viewer.until("a word that something is wrong", Duration::from_secs(60), lost).await;
    viewer.screenshot("watch-gateway-killed").await;

    // The same port as before, which nobody else was given in the meantime: the kernel deals them out in turn.
    let _gateway = Gateway::demo(&["--http", &address]);
    viewer.until("a new session", Duration::from_secs(60), "return window.whipstitch.state === 'playing'").await;
    watched(&viewer, "watch-after-restart").await;
    assert_eq!(viewer.evaluate("return window.untouched").await, true, "the page was loaded again");
}
