//! FFmpeg publishes plain RTP over WHIP, and Chromium watches.

use whipstitch_interop::Gateway;

use super::driver::Browser;
use super::watching::{Seen, watched};
use crate::rtp::{SDP, sends};

#[tokio::test]
async fn chromium_watches_what_ffmpeg_sends_as_plain_rtp_after_an_offer_over_whip() {
    let gateway = Gateway::serve(&[]);
    let http = reqwest::Client::new();
    let offer = http.post(gateway.url("/whip/plain")).header("content-type", "application/sdp").body(SDP);
    let accepted = offer.send().await.expect("an answer");
    assert_eq!(accepted.status(), 201);
    let session = accepted.headers()["location"].to_str().expect("ASCII").to_owned();
    let answer = accepted.text().await.expect("an answer");
    let port = |kind: &str| {
        let line = answer.lines().find_map(|line| line.strip_prefix(&format!("m={kind} "))).expect("a section");
        line.split(' ').next().and_then(|port| port.parse().ok()).expect("a port")
    };
    let _ffmpeg = sends([port("video"), port("audio")]);
    let browser = Browser::chromium("plain-rtp").await;
    browser.open(&gateway.url("/watch/plain")).await;
    let seen = watched(&browser, "plain-rtp").await;
    assert_eq!(seen, Seen { codec: "video/H264".to_owned(), size: (320, 240) });
    assert_eq!(http.delete(gateway.url(&session)).send().await.expect("an answer").status(), 200);
}
