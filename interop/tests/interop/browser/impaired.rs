//! Video goes on over paths that lose, delay and reorder: Chromium publishes and watches, one of the two over a bad path,
//! in both directions of it.
//!
//! The pictures are small, so that the path and not the processor is what the pictures a second depend on.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde_json::Value;
use whipstitch_interop::{Gateway, Network, Relay, Weather};

use super::driver::Browser;
use super::film::Film;

const SOON: Duration = Duration::from_secs(30);

/// 100 ms each way, and packets of one frame overtake each other. One of a hundred is lost, and must be repaired over a round
/// trip of 200 ms and more.
const FAR: Weather =
    Weather { delay: Duration::from_millis(100), spread: Duration::from_millis(20), loss: 10, room: 1000 };

/// What becomes of each datagram, by its number, is the same each time.
const SEED: u64 = 4;

/// Whose path is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Publisher,
    Viewer,
}

/// What was seen over six seconds, after three to settle.
#[derive(Debug)]
#[allow(dead_code, reason = "all of it is printed")]
struct Seen {
    /// Pictures decoded a second.
    fps: f64,
    freezes: f64,
    /// Milliseconds that the viewer's jitter buffer meant pictures to wait, on average.
    buffer: f64,
    /// Of the session over the bad path, as the gateway counts.
    gateway: Repairs,
    /// Of all sessions in this direction, as the gateway's metrics say a moment later.
    metrics: Repairs,
    /// Of the session over the bad path, as the browser counts.
    browser: Repairs,
    /// Round trip in milliseconds, likewise.
    rtt: [f64; 2],
    /// What the viewer asked for.
    plis: f64,
}

#[derive(Debug)]
struct Repairs {
    nacks: f64,
    rtx: f64,
}

struct Scene {
    browser: Browser,
    _gateway: Gateway,
    // Last, so that nothing goes over them any more.
    _relay: Option<Relay>,
    _film: Film,
}

impl Scene {
    /// A publisher and a viewer in one page; that of `far`, if any, has a long path.
    async fn begin(network: Option<&Network>, name: &str, far: Option<Side>) -> Scene {
        let gateway = network.map_or_else(|| Gateway::serve(&[]), |network| Gateway::inside(network, &[]));
        let film = Film::noisy(320, 240);
        let browser = Browser::chromium_filming(network, name, film.path()).await;
        browser.open(&gateway.url("/publish/scene")).await;
        browser.evaluate(include_str!("impaired.js")).await;
        let relay = far.map(|_| Relay::to(media_address(&gateway), FAR, SEED));
        let port = |side| relay.as_ref().filter(|_| far == Some(side)).map_or(0, Relay::port);
        let publish = format!("window.publisher = await publish('/whip/scene', 800_000, {})", port(Side::Publisher));
        browser.evaluate(&publish).await;
        let sends = "return (await look(publisher)).video.framesSent > 10";
        browser.until("pictures sent", SOON, sends).await;
        browser.evaluate(&format!("window.viewer = await watch('/whep/scene', {})", port(Side::Viewer))).await;
        browser.until("pictures", SOON, "return (await look(viewer)).video.framesDecoded > 30").await;
        Scene { browser, _gateway: gateway, _relay: relay, _film: film }
    }

    /// What one of the sessions says of itself.
    async fn look(&self, side: Side) -> Value {
        let name = if side == Side::Publisher { "publisher" } else { "viewer" };
        self.browser.evaluate(&format!("return await look({name})")).await
    }

    /// Lets time pass in the page.
    async fn wait(&self, seconds: u32) {
        let wait = format!("await new Promise(resolve => setTimeout(resolve, {}))", seconds * 1000);
        self.browser.evaluate(&wait).await;
    }

    async fn play(&self, bad: Side) -> Seen {
        self.wait(3).await;
        let before = self.look(Side::Viewer).await;
        self.wait(6).await;
        let after = self.look(Side::Viewer).await;
        let grown = |of: fn(&Value) -> &Value| number(of(&after)) - number(of(&before));
        let own = self.look(bad).await;
        let stream = self.browser.evaluate("return (await fetch('/api/v1/streams/scene')).json()").await;
        let metrics = self.browser.evaluate("return (await fetch('/metrics')).text()").await;
        let metric = |line: &str| {
            let value = metrics.as_str()?.lines().find_map(|text| text.strip_prefix(line))?;
            value.trim().parse::<f64>().ok()
        };
        let (session, metrics, rtx, rtt) = match bad {
            Side::Publisher => (
                &stream["publisher"],
                [r#"nacks_total{direction="out"}"#, r#"rtx_packets_total{direction="in"}"#],
                &own["video"]["retransmittedPacketsSent"],
                &own["remote"]["roundTripTime"],
            ),
            Side::Viewer => (
                &stream["subscribers"][0],
                [r#"nacks_total{direction="in"}"#, r#"rtx_packets_total{direction="out"}"#],
                &own["video"]["retransmittedPacketsReceived"],
                &own["pair"]["currentRoundTripTime"],
            ),
        };
        let [nacks, resent] = metrics.map(|name| metric(&format!("whipstitch_{name}")).unwrap_or_default());
        let seen = Seen {
            fps: grown(|seen| &seen["video"]["framesDecoded"]) / (grown(|seen| &seen["at"]) / 1000.0),
            freezes: grown(|seen| &seen["video"]["freezeCount"]),
            buffer: 1000.0 * grown(|seen| &seen["video"]["jitterBufferTargetDelay"])
                / grown(|seen| &seen["video"]["jitterBufferEmittedCount"]),
            gateway: Repairs { nacks: number(&session["nacks"]), rtx: number(&session["rtx"]) },
            metrics: Repairs { nacks, rtx: resent },
            browser: Repairs { nacks: number(&own["video"]["nackCount"]), rtx: number(rtx) },
            rtt: [number(&session["rtt_ms"]), 1000.0 * number(rtt)],
            plis: number(&after["video"]["pliCount"]),
        };
        eprintln!("{bad:?}: {seen:.1?}");
        seen
    }
}

impl Seen {
    /// Goes on above 20 pictures a second, and what was repaired stands in all statistics.
    fn goes_on(&self) {
        assert!(self.fps > 20.0, "{self:.1?}");
        for repairs in [&self.gateway, &self.metrics, &self.browser] {
            assert!(repairs.nacks > 0.0 && repairs.rtx > 0.0, "{self:.1?}");
        }
        assert!(self.metrics.nacks >= self.gateway.nacks && self.metrics.rtx >= self.gateway.rtx, "{self:.1?}");
    }
}

/// Where media of this machine goes.
fn media_address(gateway: &Gateway) -> SocketAddr {
    let port = gateway
        .process()
        .line(SOON, "UDP port", |line| line.strip_prefix("listening on rtc udp 0.0.0.0:")?.parse().ok());
    (Ipv4Addr::LOCALHOST, port).into()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_default()
}

async fn loses(side: Side) -> Seen {
    let network = Network::new();
    let scene = Scene::begin(Some(&network), &format!("losing-{side:?}").to_lowercase(), None).await;
    let port = number(&scene.look(side).await["port"]) as u16;
    network.lose_udp(port, 5);
    scene.play(side).await
}

async fn is_far(side: Side) -> Seen {
    let scene = Scene::begin(None, &format!("far-{side:?}").to_lowercase(), Some(side)).await;
    scene.play(side).await
}

#[tokio::test]
async fn video_goes_on_when_the_publishers_path_loses_one_in_twenty() {
    loses(Side::Publisher).await.goes_on();
}

#[tokio::test]
async fn video_goes_on_when_the_viewers_path_loses_one_in_twenty() {
    loses(Side::Viewer).await.goes_on();
}

#[tokio::test]
async fn video_goes_on_when_the_publisher_is_far_away() {
    let seen = is_far(Side::Publisher).await;
    seen.goes_on();
    assert!(seen.rtt.iter().all(|rtt| (190.0..1000.0).contains(rtt)), "{seen:.1?}");
}

#[tokio::test]
async fn video_goes_on_when_the_viewer_is_far_away() {
    let seen = is_far(Side::Viewer).await;
    seen.goes_on();
    assert!(seen.rtt.iter().all(|rtt| (190.0..1000.0).contains(rtt)), "{seen:.1?}");
}
