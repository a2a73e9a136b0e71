//! A process between two browsers: one publishes to it, the other watches what it makes of that. Whatever dies, the viewer's
//! session goes on.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use whipstitch_interop::{Gateway, Process};

use super::driver::Browser;
use super::session::SESSIONS;
use crate::clients::client;
use crate::processes::kit::{PATIENCE as SOON, TOKEN, child, children, command, define, is_running, signal, until};

/// From the publisher's arrival to pictures out of the process.
const FLOWS: Duration = Duration::from_secs(5);

/// A gateway with a process that reads and feeds a stream, its publisher in one page and its viewer in another.
struct Scene {
    gateway: Gateway,
    publisher: Browser,
    viewer: Browser,
}

/// Twenty pictures a second of VP8, each with the time it was drawn at in the brightness of 16 fields.
const PUBLISH: &str = "
    const canvas = document.body.appendChild(document.createElement('canvas'));
    [canvas.width, canvas.height] = [640, 360];
    const brush = canvas.getContext('2d');
    window.film = canvas.captureStream(0).getVideoTracks()[0];
    setInterval(() => {
        const ticks = Math.floor(Date.now() / 10) % 65536;
        for (let bit = 0; bit < 16; bit++) {
            brush.fillStyle = ticks >> bit & 1 ? 'white' : 'black';
            brush.fillRect(40 * bit, 0, 40, 360);
        }
        window.film.requestFrame();
    }, 50);
    const audio = new AudioContext({ sampleRate: 48000 });
    const heard = new MediaStreamAudioDestinationNode(audio);
    const tone = new OscillatorNode(audio, { frequency: 440 });
    tone.connect(heard);
    tone.start();
    await audio.resume();
    window.sound = heard.stream.getAudioTracks()[0];";

const BEGIN: &str = "
    window.publisher = await publish('/whip/p1?token=owner', [
        { track: window.film, codec: 'VP8' }, { track: window.sound, codec: 'opus' }]);
    return true;";

/// How old the picture is that the player shows, in milliseconds.
const AGE: &str = "
    const video = document.querySelector('video');
    const canvas = new OffscreenCanvas(640, 360);
    const brush = canvas.getContext('2d');
    brush.drawImage(video, 0, 0, 640, 360);
    let shown = 0;
    for (let bit = 0; bit < 16; bit++) {
        if (brush.getImageData(40 * bit + 20, 180, 1, 1).data[0] > 127) shown |= 1 << bit;
    }
    const now = Math.floor(Date.now() / 10) % 65536;
    return ((now - shown + 65536) % 65536) * 10;";

const FRAMES: &str = "
    const all = [...(await whipstitch.pc.getStats()).values()];
    const video = all.find(one => one.type === 'inbound-rtp' && one.kind === 'video');";

impl Scene {
    async fn begin(name: &str, more: Value) -> Scene {
        let gateway = Gateway::serve(&["--token", TOKEN]);
        let mut definition = json!({
            "id": "p1", "input": [], "output": [], "options": ["-hide_banner"], "reconnect": true,
            "reconnect_delay_seconds": 1, "stale_timeout_seconds": 0, "autostart": true,
            "whip_ingest": { "enabled": true }, "whep_egress": { "enabled": true },
        });
        let fields = definition.as_object_mut().expect("an object");
        fields.extend(more.as_object().expect("an object").clone());
        define(&gateway, definition).await;
        until(&gateway, "p1", "a child that waits", is_running).await;
        let publisher = Browser::chromium(&format!("{name}-publisher")).await;
        publisher.open(&gateway.url("/publish/p1?token=owner")).await;
        publisher.evaluate(SESSIONS).await;
        publisher.evaluate(PUBLISH).await;
        let viewer = Browser::chromium(&format!("{name}-viewer")).await;
        viewer.open(&gateway.url("/watch/p1-out?token=owner")).await;
        Scene { gateway, publisher, viewer }
    }

    async fn publish(&self) {
        assert_eq!(self.publisher.evaluate(BEGIN).await, true);
    }

    async fn frames(&self) -> u64 {
        let decoded = self.viewer.evaluate(&format!("{FRAMES} return video?.framesDecoded ?? 0")).await;
        decoded.as_u64().expect("a number")
    }

    /// Tells how much later a picture is seen through the process than straight from the publisher: what both screens show at
    /// the same time.
    async fn compare(&self) {
        let direct = Browser::chromium("process-direct").await;
        direct.open(&self.gateway.url("/watch/p1?token=owner")).await;
        let plays = "return whipstitch.pc?.connectionState === 'connected' && video?.framesDecoded > 20";
        let plays = format!("{}{plays}", FRAMES.replace("whipstitch.pc.", "whipstitch.pc?."));
        direct.until("pictures straight from the publisher", SOON, &plays).await;
        let mut ages: Vec<(u64, u64)> = Vec::new();
        for _ in 0..20 {
            let (made, straight) = tokio::join!(self.viewer.evaluate(AGE), direct.evaluate(AGE));
            ages.push((made.as_u64().expect("a number"), straight.as_u64().expect("a number")));
            tokio::time::sleep(Duration::from_millis(70)).await;
        }
        let median = |mut all: Vec<u64>| {
            all.sort_unstable();
            all[all.len() / 2]
        };
        let (made, straight) = ages.into_iter().unzip();
        let (made, straight) = (median(made), median(straight));
        println!(
            "the process adds {} ms: {made} ms with it, {straight} ms without (medians)",
            made as i64 - straight as i64
        );
        assert!(straight < 2000 && made < 2000, "{made} ms with the process, {straight} ms without");
    }

    /// Pictures beyond those there are, in the session the viewer has.
    async fn goes_on(&self, what: &str) {
        let grown = format!("{FRAMES} return video.framesDecoded > {}", self.frames().await + 20);
        self.viewer.until(what, SOON, &grown).await;
        assert_eq!(
            self.viewer.evaluate("return window.first === whipstitch.pc").await,
            true,
            "{what}: another session"
        );
    }
}

#[tokio::test]
async fn chromium_publishes_to_a_process_and_watches_what_it_makes_whatever_is_killed() {
    let scene = Scene::begin("process", json!({})).await;
    scene.publish().await;
    let flowing = "return whipstitch.pc?.connectionState === 'connected' && video?.framesDecoded > 5 &&
        all.find(one => one.id === video.codecId).mimeType;";
    let begun = Instant::now();
    let codec = scene
        .viewer
        .until(
            "pictures out of the process",
            SOON,
            &format!("{}{flowing}", FRAMES.replace("whipstitch.pc.", "whipstitch.pc?.")),
        )
        .await;
    let took = begun.elapsed();
    assert_eq!(codec, "video/H264");
    println!("pictures {:.1} s after the publisher's arrival", took.as_secs_f64());
    scene.viewer.evaluate("window.first = whipstitch.pc").await;
    // Chromium retries what was refused for want of a publisher each second; FFmpeg looks at its input first.
    assert!(took < FLOWS, "{took:?}");
    scene.goes_on("the first child").await;
    // Both browsers and FFmpeg start at once on this machine: a picture may stand for a moment.
    let live = format!("const age = (() => {{ {AGE} }})(); return age < 2000");
    scene.viewer.until("pictures that are no older than two seconds", SOON, &live).await;
    let mut ages: Vec<u64> = Vec::new();
    for _ in 0..20 {
        ages.push(scene.viewer.evaluate(AGE).await.as_u64().expect("a number"));
        tokio::time::sleep(Duration::from_millis(70)).await;
    }
    ages.sort_unstable();
    println!("from drawing to the viewer's screen: {} ms (median; {} at most)", ages[10], ages[19]);
    scene.compare().await;

    let first = child(&scene.gateway, 0).await;
    signal(first, "-KILL");
    let second = child(&scene.gateway, first).await;
    scene.goes_on("the child after a kill").await;
    assert_eq!(children(&scene.gateway), [second]);
    scene.viewer.screenshot("watch-process").await;

    // The publisher goes for 20 s: the child stays.
    scene
        .publisher
        .evaluate("await fetch(window.publisher.url, { method: 'DELETE' }); window.publisher.pc.close()")
        .await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    scene.publish().await;
    scene.goes_on("the publisher that was away").await;
    assert_eq!(children(&scene.gateway), [second], "the same child");

    // Ordered to stop, its publisher and its viewer are closed and nobody is let in.
    command(&scene.gateway, "p1", "stop").await;
    until(&scene.gateway, "p1", "the end", |state| state["exec"] == "finished" || state["exec"] == "killed").await;
    scene
        .publisher
        .until("the end of the publisher", SOON, "return window.publisher.pc.connectionState !== 'connected'")
        .await;
    scene
        .viewer
        .until(
            "the end of the session",
            SOON,
            "return window.first.connectionState !== 'connected' || window.first !== whipstitch.pc",
        )
        .await;
    let refused =
        scene.publisher.evaluate(&format!("try {{ {BEGIN} }} catch (error) {{ return error.message }}")).await;
    assert!(refused.as_str().is_some_and(|error| error.starts_with("404")), "{refused}");
    assert_eq!(children(&scene.gateway), Vec::<i32>::new());
}

#[tokio::test]
async fn a_child_that_stands_still_is_found_stale_and_replaced() {
    let scene = Scene::begin("stale", json!({ "stale_timeout_seconds": 4 })).await;
    let waiting = child(&scene.gateway, 0).await;
    // Without a publisher it has nothing to say for longer than that.
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(children(&scene.gateway), [waiting], "it waits");
    scene.publish().await;
    scene.viewer.until("a session", SOON, "return whipstitch.pc?.connectionState === 'connected'").await;
    scene.viewer.evaluate("window.first = whipstitch.pc").await;
    scene.goes_on("the first child").await;
    signal(waiting, "-STOP");
    let next = child(&scene.gateway, waiting).await;
    scene.goes_on("the child after the one that stood still").await;
    assert_eq!(children(&scene.gateway), [next]);
}

#[tokio::test]
async fn the_page_makes_a_process_of_a_preset_shows_how_it_does_and_stops_it() {
    let gateway = Gateway::serve(&["--token", TOKEN]);
    let browser = Browser::chromium("processes").await;
    browser.open(&gateway.url("/processes")).await;
    let asks = "return whipstitch.state === 'denied' && document.querySelector('#note input[name=token]') && document.getElementById('new').hidden";
    browser.until("a field for the token", SOON, asks).await;
    let show = "
        const field = document.querySelector('#note input[name=token]');
        field.value = 'owner';
        field.form.requestSubmit();";
    browser.evaluate(show).await;
    browser
        .until("the form", SOON, "return whipstitch.state === 'listed' && !document.getElementById('new').hidden")
        .await;
    // One without a publisher of ours, so that there is progress to be seen.
    let create = "
        const set = (id, value) => {
            const field = document.getElementById(id);
            field.value = value;
            field.dispatchEvent(new Event(field.tagName === 'SELECT' ? 'change' : 'input'));
        };
        set('preset', 'transcode');
        set('id', 'tests');
        const definition = JSON.parse(document.getElementById('definition').value);
        definition.whip_ingest.enabled = false;
        definition.input = [
            { id: 'picture', address: 'testsrc2=size=640x360:rate=30', options: ['-re', '-f', 'lavfi'] },
            { id: 'tone', address: 'sine=frequency=440:sample_rate=48000', options: ['-re', '-f', 'lavfi'] },
        ];
        document.getElementById('definition').value = JSON.stringify(definition);
        document.getElementById('create').requestSubmit();";
    browser.evaluate(create).await;
    let runs = "
        const line = document.querySelector('li[data-id=tests]');
        line?.querySelector('details')?.setAttribute('open', '');
        const text = line?.innerText ?? '';
        return line?.querySelector('.badge').innerText === 'running' && / fps/.test(text) && /Stream mapping/.test(text)
            && whipstitch.processes[0].state.progress.frame > 60
            && line.querySelector('polyline').getAttribute('points').split(' ').length > 2
            && line.querySelector('a[href=\"/watch/tests-out\"]') !== null && text;";
    let text = browser.until("progress, a plot and a log", SOON, runs).await;
    let text = text.as_str().unwrap_or_default();
    assert!(
        text.contains("?process=***") && text.matches("?process=").count() == text.matches("?process=***").count(),
        "{text}"
    );
    browser.screenshot("processes").await;
    // Where to watch is told, however the stream is named.
    let named = json!({
        "id": "names", "autostart": false, "reference": "ref",
        "input": [{ "id": "in", "address": "testsrc", "options": ["-f", "lavfi"] }],
        "output": [
            { "id": "plain", "address": "{whep:{id}-{outputid}}" },
            { "id": "rtp", "address": "{whep:names-rtp,transport=rtp}" },
            { "id": "tee", "address": "[f=flv]a.flv|{whep:{reference}-tee}", "options": ["-f", "tee"] },
        ],
    });
    define(&gateway, named).await;
    let links = "
        const links = [...document.querySelectorAll('li[data-id=names] a')].map((link) => link.getAttribute('href'));
        return links.length && links.join();";
    let links = browser.until("links", SOON, links).await;
    assert_eq!(links, "/watch/names-plain,/watch/names-rtp,/watch/ref-tee");
    let watcher = Browser::chromium("processes-watch").await;
    watcher.open(&gateway.url("/watch/tests-out?token=owner")).await;
    watcher
        .until(
            "its pictures",
            SOON,
            &format!("if (!window.whipstitch.pc) return false; {FRAMES} return video?.framesDecoded > 20"),
        )
        .await;
    browser
        .evaluate(
            "[...document.querySelectorAll('li[data-id=tests] button')].find(b => b.innerText === 'Stop').click()",
        )
        .await;
    let stopped = "
        const { state } = whipstitch.processes.find(one => one.id === 'tests');
        return state.order === 'stop' && ['finished', 'killed'].includes(state.exec);";
    browser.until("the end", SOON, stopped).await;
    assert_eq!(children(&gateway), Vec::<i32>::new());
    // The same id again is refused, in words.
    browser.evaluate("document.getElementById('create').requestSubmit()").await;
    let refused = "const said = document.getElementById('refused'); return !said.hidden && said.innerText";
    let said = browser.until("why not", SOON, refused).await;
    assert!(said.as_str().is_some_and(|said| said.contains("exists")), "{said}");
    browser.screenshot("processes-refused").await;
}

/// Whether a process of a preset gets on, and where its result is.
async fn preset(gateway: &Gateway, browser: &Browser, key: &str, target: &str) {
    let create = format!(
        "const {{ presets }} = await import('/assets/presets.js');
         const {{ call }} = await import('/assets/api.js');
         const definition = presets.find(({{ key }}) => key === '{key}').make('{key}', '{target}');
         const body = JSON.stringify(definition);
         await call('POST', '/api/v3/process', {{ headers: {{ 'Content-Type': 'application/json' }}, body }});"
    );
    browser.evaluate(&create).await;
    until(gateway, key, "a child", is_running).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_preset_does_what_it_says() {
    let data = tempfile::tempdir().expect("a folder");
    let gateway = Gateway::serve(&["--token", TOKEN, "--data", data.path().to_str().expect("UTF-8")]);
    let browser = Browser::chromium("presets").await;
    browser.open(&gateway.url("/processes?token=owner")).await;
    // An RTMP server: FFmpeg, for one connection.
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|any| any.local_addr()).expect("a port").port();
    let rtmp = format!("rtmp://127.0.0.1:{port}/app/key");
    let mut server = std::process::Command::new("ffmpeg");
    server.args(["-v", "error", "-listen", "1", "-i", &rtmp, "-progress", "pipe:1", "-f", "null", "-"]);
    let server = Process::start("rtmp", &server);
    for (key, target) in [("transcode", ""), ("record", ""), ("rtmp", rtmp.as_str()), ("hls", ""), ("ladder", "")] {
        preset(&gateway, &browser, key, target).await;
        let url = gateway.url(&format!("/whip/{key}"));
        let publisher = client("ffmpeg_publish", &url, &["--token", TOKEN]);
        publisher.line(SOON, "that it publishes", |line| (line == "publishing").then_some(()));
        until(&gateway, key, "progress", |state| state["progress"]["time"].as_f64() > Some(3.0)).await;
        match key {
            "rtmp" => server.line(SOON, "what was restreamed", |line| {
                line.strip_prefix("frame=")?.parse().ok().filter(|frame: &u32| *frame > 30).map(drop)
            }),
            "hls" => {
                let playlist = data.path().join("processes/hls/index.m3u8");
                let deadline = Instant::now() + SOON;
                while !std::fs::read_to_string(&playlist).is_ok_and(|list| list.contains("#EXTINF")) {
                    assert!(Instant::now() < deadline, "no segment");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
            _ => {}
        }
        let streams: &[(&str, u64)] = match key {
            "transcode" => &[("transcode-out", 240)],
            "ladder" => &[("ladder-720", 720), ("ladder-360", 360)],
            _ => &[],
        };
        for (stream, height) in streams {
            let is_so = format!(
                "const known = await (await fetch('/api/v1/streams/{stream}?', {{ headers: {{ Authorization: 'Bearer owner' }} }})).json();
                 return known.publisher?.video?.height === {height} && known.publisher.codecs.join() === 'H264,opus'"
            );
            browser.until(stream, SOON, &is_so).await;
        }
        command(&gateway, key, "stop").await;
        if key == "record" {
            let files = std::fs::read_dir(data.path().join("processes/record")).expect("its folder");
            let files: Vec<_> = files.map(|file| file.expect("readable").path()).collect();
            let [file] = &files[..] else { panic!("{files:?}") };
            let mut ffprobe = std::process::Command::new("ffprobe");
            ffprobe.args([
                "-v",
                "error",
                "-show_entries",
                "stream=codec_name,width:format=duration",
                "-of",
                "compact=p=0",
            ]);
            let probe = Process::start("ffprobe", ffprobe.arg(file));
            assert_eq!(probe.end(SOON).code(), Some(0), "{}", probe.said());
            assert!(
                probe.said().contains("codec_name=h264|width=320") && probe.said().contains("codec_name=opus"),
                "{}",
                probe.said()
            );
        }
    }
    assert_eq!(children(&gateway), Vec::<i32>::new());
}
