//! What a page that watches must show, and what a page that publishes sends.

use std::time::Duration;

use serde_json::Value;

use super::driver::Browser;

/// From opening the page to pictures, on two cores that encode, forward and decode at once.
const STARTS: Duration = Duration::from_secs(40);
/// From opening the page to pictures in full size.
const FULL_SIZE: Duration = Duration::from_secs(12);
const GOES_ON: Duration = Duration::from_secs(20);

/// `video` and `audio` of one direction, from the page's connection.
fn statistics(direction: &str) -> String {
    format!(
        r#"
        const all = [...(await window.whipstitch.pc.getStats()).values()];
        const of = kind => all.find(s => s.type === "{direction}-rtp" && s.kind === kind);
        const [video, audio] = [of("video"), of("audio")];
        const codec = all.find(s => s.id === video.codecId)?.mimeType;
        "#
    )
}

/// Waits until pictures and sound are decoded, go on being decoded, and move on the screen; then takes a screenshot.
/// What was seen: codec and size.
pub(crate) async fn watched(browser: &Browser, screenshot: &str) -> Seen {
    let inbound = statistics("inbound");
    // Pages start without sound, as browsers demand; a person presses the button, and so do we.
    browser.until("a button for sound", STARTS, UNMUTE).await;
    let script = format!(
        "{inbound} return video.framesDecoded > 0 && video.frameWidth && audio.totalAudioEnergy > 0
            && [video.framesDecoded, audio.totalSamplesReceived];"
    );
    let before = browser.until("pictures and sound", STARTS, &script).await;
    let script = format!(
        "{inbound} return video.framesDecoded > {} && audio.totalSamplesReceived > {}
            && {{ codec, width: video.frameWidth, height: video.frameHeight }};",
        number(&before[0]) + 30,
        number(&before[1]) + 24_000,
    );
    let seen = browser.until("thirty more pictures and half a second more sound", GOES_ON, &script).await;
    browser.until("a moving picture on the screen", GOES_ON, MOVES).await;
    browser.screenshot(screenshot).await;
    Seen {
        codec: seen["codec"].as_str().unwrap_or_default().to_owned(),
        size: (number(&seen["width"]), number(&seen["height"])),
    }
}

/// Waits until pictures are decoded and move on the screen, of a stream that has no sound.
pub(crate) async fn seen_without_sound(browser: &Browser, screenshot: &str) {
    let inbound = statistics("inbound");
    let script = format!("{inbound} return video.framesDecoded > 10 && !audio;");
    browser.until("pictures", STARTS, &script).await;
    browser.until("a moving picture on the screen", GOES_ON, MOVES).await;
    browser.screenshot(screenshot).await;
}

const UNMUTE: &str = r#"
    const button = document.getElementById("unmute");
    if (!button.hidden) button.click();
    return !document.querySelector("video").muted;
"#;

/// Compares small copies of what the video element shows: neither of one colour nor always the same.
const MOVES: &str = r#"
    const video = document.querySelector("video");
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [64, 36];
    const context = canvas.getContext("2d");
    context.drawImage(video, 0, 0, 64, 36);
    const now = context.getImageData(0, 0, 64, 36).data;
    const before = window.lookedAt;
    window.lookedAt = now;
    const differs = (a, b) => Math.abs(a - b) > 16;
    return before !== undefined
        && now.some((value, i) => i % 4 === 0 && differs(value, now[0]))
        && now.some((value, i) => i % 4 !== 3 && differs(value, before[i]));
"#;

/// What a viewer decoded.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// As a MIME type.
    pub(crate) codec: String,
    /// Width and height.
    pub(crate) size: (u64, u64),
}

/// Waits until a page sends pictures and sound, and takes a screenshot.
pub(crate) async fn published(browser: &Browser, screenshot: &str) {
    let outbound = statistics("outbound");
    let script = format!("{outbound} return video.framesSent > 10 && audio.packetsSent > 10;");
    browser.until("pictures and sound sent", STARTS, &script).await;
    browser.screenshot(screenshot).await;
}

/// Waits until a page sends pictures as wide as its camera's. The time is short enough to tell a good start from what a
/// browser finds out by itself.
pub(crate) async fn published_in_full(browser: &Browser, width: u64) {
    let outbound = statistics("outbound");
    browser.until("full size", FULL_SIZE, &format!("{outbound} return video.frameWidth === {width};")).await;
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}
