//! Streams with less than picture and sound, and viewers that cannot play all of a stream.

use std::time::Duration;

use whipstitch_interop::Gateway;

use super::driver::Browser;
use super::watching::seen_without_sound;

const SOON: Duration = Duration::from_secs(30);

/// Sound that arrives, goes on and is not silence, and no picture.
const HEARD: &str = r#"
    const button = document.getElementById("unmute");
    if (!button.hidden) button.click();
    const all = [...(await window.whipstitch.pc.getStats()).values()].filter(s => s.type === "inbound-rtp");
    const audio = all.find(s => s.kind === "audio");
    return !document.querySelector("video").muted && window.whipstitch.state === "playing"
        && audio.totalAudioEnergy > 0 && audio.totalSamplesReceived > 48_000 && !all.some(s => s.framesDecoded > 0);
"#;

/// What the page says over the picture.
const SAID: &str = r#"
    return !document.getElementById("over").hidden && document.getElementById("message").innerText.trim();
"#;

async fn only_a_microphone_is_heard(viewer: Browser) {
    let gateway = Gateway::serve(&[]);
    let publisher = Browser::chromium("microphone").await;
    publisher.open(&gateway.url("/publish/voice?auto=1&source=microphone")).await;
    publisher.until("a live publisher", SOON, "return window.whipstitch.state === 'live'").await;
    viewer.open(&gateway.url("/watch/voice")).await;
    viewer.until("sound", SOON, HEARD).await;
    assert_eq!(viewer.evaluate(SAID).await, false, "nothing is wrong, so nothing is said");
    viewer.screenshot(&format!("watch-voice-{}", viewer.name())).await;
}

#[tokio::test]
async fn chromium_hears_a_publisher_without_video() {
    only_a_microphone_is_heard(Browser::chromium("voice-chromium").await).await;
}

#[tokio::test]
async fn firefox_hears_a_publisher_without_video() {
    only_a_microphone_is_heard(Browser::firefox("voice-firefox").await).await;
}

/// The publisher's page, with a camera and no microphone.
async fn publish_pictures_only(publisher: &Browser, gateway: &Gateway) {
    publisher.open(&gateway.url("/publish/mute")).await;
    let publish = "
        const { publish } = await import('/assets/whip.js');
        const media = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 360 } });
        window.held = await publish('/whip/mute', media, { codec: 'H264' });";
    publisher.evaluate(publish).await;
    publisher.until("a connection", SOON, "return window.held.connected").await;
}

#[tokio::test]
async fn a_publisher_without_audio_is_seen() {
    let gateway = Gateway::serve(&[]);
    let (publisher, viewer) = (Browser::chromium("camera-only").await, Browser::chromium("mute-viewer").await);
    publish_pictures_only(&publisher, &gateway).await;
    viewer.open(&gateway.url("/watch/mute")).await;
    seen_without_sound(&viewer, "watch-mute").await;
}

#[tokio::test]
async fn a_viewer_that_can_play_nothing_of_a_stream_says_which_codec_it_lacks() {
    let gateway = Gateway::serve(&[]);
    let publisher = Browser::chromium("h264-only").await;
    let viewer = Browser::firefox_without_h264("no-h264").await;
    publish_pictures_only(&publisher, &gateway).await;
    viewer.open(&gateway.url("/watch/mute")).await;
    let said = viewer.until("a reason", SOON, SAID).await;
    let said = said.as_str().unwrap_or_default();
    assert!(said.starts_with("This browser cannot play this stream (H264)."), "{said}");
    viewer.screenshot("watch-nothing-fits").await;
}

#[tokio::test]
async fn a_viewer_that_can_play_the_sound_alone_does_and_says_what_is_missing() {
    let gateway = Gateway::demo(&[]);
    let viewer = Browser::firefox_without_h264("sound-only").await;
    viewer.open(&gateway.url("/watch/demo")).await;
    viewer.until("sound", SOON, HEARD).await;
    let said = viewer.until("a reason", SOON, SAID).await;
    assert_eq!(said, "This browser cannot play the picture of this stream (H264).");
    viewer.screenshot("watch-sound-only").await;
}
