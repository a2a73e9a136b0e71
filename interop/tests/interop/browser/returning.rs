//! Publishers die, return and are replaced; the player's page stays in the session it has.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use whipstitch_client::{Clip, source};
use whipstitch_interop::{Gateway, Process};

use super::driver::Browser;
use crate::clients::client;

/// Until a publisher is there: a script's start on a machine that runs other tests as well.
const SOON: Duration = Duration::from_secs(40);

/// From a publisher's return to pictures.
const RETURN: Duration = Duration::from_secs(3);

/// The pictures of the scripts, and of the built-in source.
const SMALL: u64 = 320;
const LARGE: u64 = 1280;

/// The built-in source, as a publisher that tries again when it is refused.
struct Source {
    stop: watch::Sender<bool>,
    running: JoinHandle<()>,
}

impl Source {
    fn start(gateway: &Gateway, stream: &str) -> Source {
        let (stop, stopped) = watch::channel(false);
        let options = source::Options { url: gateway.url(&format!("/whip/{stream}")), token: None, stop: stopped };
        let clip = Arc::new(Clip::with_pictures(Clip::builtin_pictures()).expect("the demo's own"));
        Source { stop, running: tokio::spawn(source::run_clip(options, clip)) }
    }

    async fn leave(self) {
        self.stop.send(true).expect("it publishes");
        self.running.await.expect("no panic");
    }
}

/// A page that watches, and what it must not lose.
struct Player {
    browser: Browser,
    stream: String,
    publisher: Value,
}

impl Player {
    async fn open(gateway: &Gateway, stream: &str) -> Player {
        let browser = Browser::chromium(stream).await;
        browser.open(&gateway.url(&format!("/watch/{stream}"))).await;
        browser.until("a session", SOON, "return window.whipstitch.pc?.connectionState === 'connected'").await;
        // Another session is another connection; a negotiation of this one would show in its answer.
        browser.evaluate("window.first = [whipstitch.pc, whipstitch.pc.remoteDescription.sdp]").await;
        Player { browser, stream: stream.to_owned(), publisher: Value::Null }
    }

    /// Waits for a publisher that was not there before; from its first media on pictures of this width must be there in time.
    async fn goes_on(&mut self, what: &str, width: u64) {
        let another = format!(
            "const {{ publisher }} = await (await fetch('/api/v1/streams/{}')).json();
             return publisher?.first_media_at && publisher.session !== '{}' && publisher.session;",
            self.stream,
            self.publisher.as_str().unwrap_or_default(),
        );
        let frames = "const all = [...(await whipstitch.pc.getStats()).values()];
             const video = all.find(s => s.type === 'inbound-rtp' && s.kind === 'video');";
        self.publisher = self.browser.until(what, SOON, &another).await;
        let before = self.browser.evaluate(&format!("{frames} return video?.framesDecoded ?? 0")).await;
        let grown = format!("{frames} return video.framesDecoded > {before} + 5 && video.frameWidth === {width}");
        self.browser.until(&format!("pictures of {what}"), RETURN, &grown).await;
        let same = "return first[0] === whipstitch.pc && first[1] === whipstitch.pc.remoteDescription.sdp";
        assert_eq!(self.browser.evaluate(same).await, true, "{what}: a session of its own");
    }
}

/// Kills a publisher as `kill -9` does: it says no goodbye, anywhere.
fn kill(publisher: Process) {
    drop(publisher);
}

fn ffmpeg(gateway: &Gateway, stream: &str) -> Process {
    client("ffmpeg_publish", &gateway.url(&format!("/whip/{stream}")), &[])
}

#[tokio::test]
async fn the_player_stays_while_publishers_are_killed_replaced_and_away() {
    let gateway = Gateway::serve(&["--on-conflict", "takeover"]);
    let first = ffmpeg(&gateway, "returning");
    first.line(SOON, "media", |line| (line == "publishing").then_some(()));
    let mut player = Player::open(&gateway, "returning").await;
    player.goes_on("the first publisher", SMALL).await;

    kill(first);
    let second = ffmpeg(&gateway, "returning");
    player.goes_on("the publisher that was killed", SMALL).await;

    let larger = Source::start(&gateway, "returning");
    player.goes_on("a larger one that took over", LARGE).await;
    kill(second);
    larger.leave().await;

    let away = "window.since ??= performance.now(); return performance.now() - since > 10_000";
    player.browser.until("ten seconds without anybody", SOON, away).await;
    let _last = ffmpeg(&gateway, "returning");
    player.goes_on("the one that was away", SMALL).await;
    player.browser.screenshot("watch-returned").await;
}

#[tokio::test]
async fn a_silent_publisher_is_replaced_though_conflicts_are_rejected() {
    let gateway = Gateway::serve(&[]);
    let silent = ffmpeg(&gateway, "silent");
    silent.line(SOON, "media", |line| (line == "publishing").then_some(()));
    let mut player = Player::open(&gateway, "silent").await;
    player.goes_on("the first publisher", SMALL).await;
    kill(silent);
    // It is told to come again, until the other has been silent for two seconds.
    let _other = Source::start(&gateway, "silent");
    player.goes_on("the next one", LARGE).await;
}

#[tokio::test]
async fn a_player_that_came_first_waits_and_sees_the_stream_when_it_begins() {
    let gateway = Gateway::serve(&["--when-offline", "wait"]);
    let mut player = Player::open(&gateway, "early").await;
    let waited = "window.since ??= performance.now();
        return performance.now() - since > 5000 && [whipstitch.state, document.getElementById('message').innerText]";
    let said = player.browser.until("five seconds", SOON, waited).await;
    assert_eq!(said, serde_json::json!(["waiting", "Nobody is publishing this stream yet. It starts here by itself."]));
    player.browser.screenshot("watch-early").await;
    let _source = Source::start(&gateway, "early");
    player.goes_on("the publisher it waited for", LARGE).await;
}

/// Whether the page says, over the picture, something that begins so.
fn says(words: &str) -> String {
    format!(
        "const over = !document.getElementById('over').hidden && document.getElementById('message').innerText;
         return over && over.trim().startsWith('{words}')"
    )
}

/// Waits until the page plays pictures, in a session of its own.
async fn pictures(browser: &Browser, what: &str) {
    let frames = "const all = [...(await whipstitch.pc.getStats()).values()];
         const video = all.find(s => s.type === 'inbound-rtp' && s.kind === 'video');
         return whipstitch.state === 'playing' && video.framesDecoded > 5";
    browser.until(what, SOON, frames).await;
}

#[tokio::test]
async fn a_codec_that_does_not_fit_ends_the_session_and_the_page_comes_back_by_itself() {
    let gateway = Gateway::serve(&["--on-conflict", "takeover"]);
    let h265 = |audio| {
        let options = ["--video", "H265", "--audio", audio];
        client("gst_publish", &gateway.url("/whip/changing"), &options)
    };
    let browser = Browser::chromium("changing").await;
    let first = ffmpeg(&gateway, "changing");
    browser.open(&gateway.url("/watch/changing")).await;
    browser.evaluate("window.untouched = true").await;
    pictures(&browser, "H.264").await;

    let silent = h265("none");
    let reasons = "const { sessions } = await (await fetch('/api/v1/sessions?state=closed')).json();
         const reasons = sessions.filter(s => s.role === 'subscriber').map(s => s.close_reason);
         return reasons.length > 0 && reasons";
    assert_eq!(browser.until("an end", SOON, reasons).await, serde_json::json!(["codec_changed"]));
    let unfit = "This browser cannot play this stream (H265).";
    browser.until("a word about it", SOON, &says(unfit)).await;
    browser.screenshot("watch-codec-changed").await;
    kill(first);
    kill(silent);
    let second = ffmpeg(&gateway, "changing");
    pictures(&browser, "H.264 again").await;

    let sounding = h265("OPUS");
    let unseen = "This browser cannot play the picture of this stream (H265).";
    browser.until("a word about the picture", SOON, &says(unseen)).await;
    browser.until("sound without it", SOON, "return whipstitch.state === 'playing'").await;
    kill(second);
    kill(sounding);
    let _third = ffmpeg(&gateway, "changing");
    pictures(&browser, "H.264 once more").await;
    assert_eq!(browser.evaluate("return window.untouched").await, true, "the page was loaded again");
}
