//! A page publishes, another browser's page watches.

use whipstitch_interop::Gateway;

use super::driver::Browser;
use super::watching::{Seen, published, published_in_full, watched};

/// The publisher's page sends its camera with the codec; the viewer must decode just that, in the size that was asked for.
/// `sharp` keeps the size and gives up pictures a second when processors or the network are short.
async fn is_published_and_watched(codec: &str, publisher: Browser, viewer: Browser) {
    let gateway = Gateway::serve(&[]);
    let name = format!("{}-{}", publisher.name(), codec.to_lowercase());
    let options = format!("auto=1&source=camera&codec={codec}&size=640x360&prefer=sharp");
    publisher.open(&gateway.url(&format!("/publish/{name}?{options}"))).await;
    published(&publisher, &format!("publish-{name}")).await;
    viewer.open(&gateway.url(&format!("/watch/{name}"))).await;
    let seen = watched(&viewer, &format!("watch-{name}-{}", viewer.name())).await;
    assert_eq!(seen, Seen { codec: format!("video/{codec}"), size: (640, 360) });
}

async fn chromium_to_chromium(codec: &str) {
    let (publisher, viewer) = (Browser::chromium("chromium").await, Browser::chromium("chromium-viewer").await);
    is_published_and_watched(codec, publisher, viewer).await;
}

#[tokio::test]
async fn chromium_publishes_h264_and_chromium_watches() {
    chromium_to_chromium("H264").await;
}

#[tokio::test]
async fn chromium_publishes_vp8_and_chromium_watches() {
    chromium_to_chromium("VP8").await;
}

#[tokio::test]
async fn chromium_publishes_vp9_and_chromium_watches() {
    chromium_to_chromium("VP9").await;
}

#[tokio::test]
async fn chromium_publishes_av1_and_chromium_watches() {
    chromium_to_chromium("AV1").await;
}

#[tokio::test]
async fn chromium_publishes_vp8_and_firefox_watches() {
    let (publisher, viewer) = (Browser::chromium("chromium").await, Browser::firefox("firefox-viewer").await);
    is_published_and_watched("VP8", publisher, viewer).await;
}

#[tokio::test]
async fn firefox_publishes_vp8_and_chromium_watches() {
    let (publisher, viewer) = (Browser::firefox("firefox").await, Browser::chromium("chromium-viewer").await);
    is_published_and_watched("VP8", publisher, viewer).await;
}

/// Without an estimate of the way to the gateway, Chromium would stay at 300 kbit/s and a quarter of the size.
#[tokio::test]
async fn a_publisher_finds_out_how_much_it_may_send() {
    let gateway = Gateway::serve(&[]);
    let publisher = Browser::chromium("estimating").await;
    publisher.open(&gateway.url("/publish/full?auto=1&codec=VP8&source=camera&size=1280x720&prefer=smooth")).await;
    published(&publisher, "publish-small").await;
    published_in_full(&publisher, 1280).await;
}
