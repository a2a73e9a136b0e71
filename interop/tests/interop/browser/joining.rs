//! Who joins sees the live picture at once, however long ago the last keyframe was: the publisher here sends one every 10 s
//! and ignores all requests, as OBS and FFmpeg do.
//!
//! Every picture has its number in it. A second player in the same page has watched since the stream began; how many
//! pictures the new one is behind it is what joining has cost.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use whipstitch_client::{Clip, source};
use whipstitch_interop::Gateway;

use super::driver::Browser;

/// Longer than anything takes on a machine that is busy building.
const PATIENCE: Duration = Duration::from_secs(60);

/// `join(name)` and `visit(name)` watch; what is seen is in `seen[name]`: when the offer was posted, and each picture shown.
const PLAYER: &str = r#"
    window.seen = {};
    // The cells of the counter, most significant bit first: see scripts/make-clip.sh, which makes it twice as large.
    const look = (video, context) => {
        context.drawImage(video, 32, 250, 198, 18, 0, 0, 99, 9);
        const pixels = context.getImageData(0, 0, 99, 9).data;
        let number = 0;
        for (let cell = 0; cell < 9; cell++) number = number * 2 + (pixels[(4 * 99 + cell * 11 + 4) * 4] > 140);
        return number;
    };
    // Notes what `video` shows from now on.
    const follow = (name, video, more) => {
        const canvas = document.createElement("canvas");
        [canvas.width, canvas.height] = [99, 9];
        const context = canvas.getContext("2d", { willReadFrequently: true });
        const me = seen[name] = Object.assign(more, { video, pictures: [] });
        const shown = () => {
            me.pictures.push([performance.now(), look(video, context)]);
            video.requestVideoFrameCallback(shown);
        };
        video.requestVideoFrameCallback(shown);
        return me;
    };
    window.join = async name => {
        const pc = new RTCPeerConnection();
        const video = document.body.appendChild(document.createElement("video"));
        [video.autoplay, video.width] = [true, 320];
        video.srcObject = new MediaStream();
        pc.ontrack = ({ track }) => video.srcObject.addTrack(track);
        const me = follow(name, video, { pc });
        pc.addTransceiver("video", { direction: "recvonly" });
        pc.addTransceiver("audio", { direction: "recvonly" });
        await pc.setLocalDescription();
        me.posted = performance.now();
        const headers = { "content-type": "application/sdp" };
        const answer = await fetch("/whep/gop", { method: "POST", headers, body: pc.localDescription.sdp });
        if (answer.status !== 201) throw new Error(`${answer.status} ${await answer.text()}`);
        const sdp = await answer.text();
        const url = answer.headers.get("location");
        me.leave = () => {
            pc.close();
            video.remove();
            return fetch(url, { method: "DELETE" });
        };
        await pc.setRemoteDescription({ type: "answer", sdp });
        return true;
    };
    // The same by the page for viewers, which is put into this one.
    window.visit = async name => {
        const frame = document.createElement("iframe");
        frame.style = "position: fixed; top: 0; left: 0; width: 320px; height: 180px; border: 0";
        frame.src = "/watch/gop";
        const loaded = new Promise(resolve => frame.onload = resolve);
        document.body.appendChild(frame);
        await loaded;
        const page = frame.contentWindow;
        const me = follow(name, page.document.querySelector("video"), {});
        const asked = () => page.performance.getEntriesByType("resource").find(one => one.name.endsWith("/whep/gop"));
        while (!asked() || !page.whipstitch.pc) await new Promise(resolve => setTimeout(resolve, 10));
        me.pc = page.whipstitch.pc;
        me.posted = asked().startTime + page.performance.timeOrigin - performance.timeOrigin;
        me.leave = () => (frame.remove(), { ok: true });
        return true;
    };
    window.video = async name =>
        [...(await seen[name].pc.getStats()).values()].find(s => s.type === "inbound-rtp" && s.kind === "video");
    // How many pictures `name` is behind the first player, whenever it showed one; below zero if that one is late itself.
    window.behind = name => {
        const first = seen.first.pictures;
        return seen[name].pictures.map(([at, number]) => {
            const there = first.findLast(([shown]) => shown <= at);
            return [at - seen[name].posted, (there[1] - number + 350) % 300 - 50];
        });
    };
"#;

/// What one join was like. Times in milliseconds after the POST.
#[derive(Debug)]
#[allow(dead_code, reason = "all of it is printed")]
struct Joined {
    first: f64,
    /// Pictures between the first one shown and the live one: the age of the keyframe. Below zero it is 300 more.
    age: f64,
    /// From when on it was never more than three pictures behind.
    caught_up: f64,
    /// Pictures behind in the end, on average.
    behind: f64,
    freezes: u64,
    plis: u64,
    nacks: u64,
    dropped: u64,
    /// Milliseconds a picture waited in the browser, in the end.
    buffered: f64,
}

impl Joined {
    fn is_at_the_live_edge_within_a_second(&self) {
        assert!(self.first < 300.0 && self.caught_up < 1000.0 && self.behind < 3.0, "{self:.0?}");
        // Who meets the next keyframe before it has caught up goes on there, and misses what is in between: Chromium may
        // count that as a freeze.
        let meets_the_next = !(0.0..270.0).contains(&self.age);
        assert!(self.freezes <= u64::from(meets_the_next) && self.plis == 0, "{self:.0?}");
    }
}

/// The demo's pictures at half their size with noise on them, 2.5 Mbit/s, and only the first is one that a decoder can start
/// at. Small, so that two players at once decode them on a busy machine, too.
fn one_keyframe() -> Clip {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (from, to) = (folder.path().join("from.h264"), folder.path().join("to.h264"));
    std::fs::write(&from, Clip::builtin_pictures()).expect("our folder");
    let made = Command::new("ffmpeg")
        .args(["-loglevel", "error", "-framerate", "30", "-i"])
        .arg(&from)
        .args(["-vf", "scale=640:360,noise=alls=12:allf=t"])
        .args(["-c:v", "libx264", "-profile:v", "baseline", "-preset", "ultrafast"])
        .args(["-b:v", "2500k", "-maxrate", "2500k", "-bufsize", "1250k", "-bsf:v", "filter_units=remove_types=6"])
        .args(["-x264-params", "keyint=300:min-keyint=300:scenecut=0:bframes=0:slices=1:aud=1:repeat-headers=1"])
        .args(["-f", "h264"])
        .arg(&to)
        .status();
    assert!(made.is_ok_and(|status| status.success()), "FFmpeg with libx264 makes the clip");
    Clip::with_pictures(&std::fs::read(&to).expect("just made")).expect("a clip like the demo's")
}

/// `how` is a function of [`PLAYER`].
async fn joined(browser: &Browser, how: &str, name: &str) -> Joined {
    browser.evaluate(&format!("return await {how}('{name}')")).await;
    browser.until("a picture", PATIENCE, &format!("return seen['{name}'].pictures.length")).await;
    let settled = format!("return performance.now() - seen['{name}'].posted > 4000");
    browser.until("four seconds", PATIENCE, &settled).await;
    let delay = format!("const v = await video('{name}'); return [v.jitterBufferDelay, v.jitterBufferEmittedCount]");
    let before = browser.evaluate(&delay).await;
    browser.until("two more", PATIENCE, &settled.replace("4000", "6000")).await;
    let after = browser.evaluate(&delay).await;
    let behind = browser.evaluate(&format!("return behind('{name}')")).await;
    let behind: Vec<(f64, f64)> =
        behind.as_array().expect("a list").iter().map(|pair| (number(&pair[0]), number(&pair[1]))).collect();
    let last = behind.iter().rposition(|(_, behind)| *behind > 3.0).map_or(0, |last| last + 1);
    let end: Vec<f64> = behind.iter().filter(|(at, _)| *at > 4000.0).map(|(_, behind)| *behind).collect();
    let video = browser.evaluate(&format!("return await video('{name}')")).await;
    let count = |field: &str| video[field].as_u64().unwrap_or_default();
    browser.evaluate(&format!("return (await seen['{name}'].leave()).ok")).await;
    Joined {
        first: behind[0].0,
        age: behind[0].1,
        caught_up: behind.get(last).map_or(f64::INFINITY, |(at, _)| *at),
        behind: end.iter().sum::<f64>() / end.len() as f64,
        freezes: count("freezeCount"),
        plis: count("pliCount"),
        nacks: count("nackCount"),
        dropped: count("framesDropped"),
        buffered: 1000.0 * (number(&after[0]) - number(&before[0])) / (number(&after[1]) - number(&before[1])),
    }
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}

#[tokio::test]
async fn who_joins_a_stream_with_rare_keyframes_is_at_its_live_edge_within_a_second() {
    let gateway = Gateway::serve(&[]);
    let clip = Arc::new(one_keyframe());
    let browser = Browser::chromium("joining").await;
    // No page of the gateway's lets another be put into it, but this is none.
    browser.open(&gateway.url("/healthz")).await;
    browser.evaluate(PLAYER).await;
    let (stop, stopped) = watch::channel(false);
    let options = source::Options { url: gateway.url("/whip/gop"), token: None, stop: stopped };
    let publisher = tokio::spawn(source::run_clip(options, clip));
    browser.until("the stream", PATIENCE, "return join('first').catch(() => false)").await;
    browser.until("pictures", PATIENCE, "return seen.first.pictures.length > 30").await;
    // By hand, and by the page for viewers.
    for how in ["join", "visit"] {
        for join in 0..2 {
            let joined = joined(&browser, how, &format!("{how}-{join}")).await;
            eprintln!("{how}: {joined:.0?}");
            joined.is_at_the_live_edge_within_a_second();
        }
    }
    stop.send(true).expect("it publishes");
    publisher.await.expect("no panic");
}
