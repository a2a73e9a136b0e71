//! A page publishes, another browser's page watches.

use whipstitch_interop::Gateway;

use super::driver::Browser;
use super::watching::{Seen, published, watched};

/// Chromium publishes its camera with the codec; what the viewer decoded must be that.
async fn is_published_and_watched(codec: &str, publisher: Browser, viewer: Browser) -> Seen {
    let gateway = Gateway::serve(&[]);
    let name = format!("{}-{}", publisher.name(), codec.to_lowercase());
    publisher.open(&gateway.url(&format!("/publish/{name}?auto=1&codec={codec}&source=camera"))).await;
    let sent = published(&publisher, &format!("publish-{name}")).await;
    viewer.open(&gateway.url(&format!("/watch/{name}"))).await;
    let seen = watched(&viewer, &format!("watch-{name}-{}", viewer.name())).await;
    assert_eq!(sent.codec, format!("video/{codec}"));
    assert_eq!(seen.codec, sent.codec);
    // The encoder may have stepped down by a factor in between; the shape stays.
    assert_eq!(seen.size.0 * sent.size.1, seen.size.1 * sent.size.0, "{seen:?} of {sent:?}");
    seen
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
