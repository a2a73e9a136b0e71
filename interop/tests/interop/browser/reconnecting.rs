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
