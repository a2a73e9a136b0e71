//! Media over TCP, for browsers whose network lets no UDP through.

use std::time::Duration;

use whipstitch_interop::{Gateway, Network};

use super::driver::Browser;
use super::session::SESSIONS;
use super::watching::{published, watched};

const SOON: Duration = Duration::from_secs(30);

/// A gateway and a Chromium that publishes and watches, in a network of their own.
struct Scene {
    browser: Browser,
    _gateway: Gateway,
}

impl Scene {
    async fn begin(network: &Network, name: &str) -> Scene {
        let gateway = Gateway::inside(network, &[]);
        let browser = Browser::chromium_inside(network, name).await;
        browser.open(&gateway.url("/publish/scene")).await;
        browser.evaluate(SESSIONS).await;
        let publish = "
            const media = await navigator.mediaDevices.getUserMedia({ audio: true, video: { width: 320, height: 240 } });
            const [video, audio] = [media.getVideoTracks()[0], media.getAudioTracks()[0]];
            window.publisher = await publish('/whip/scene', [{ track: video, codec: 'VP8' }, { track: audio, codec: 'opus' }]);";
        browser.evaluate(publish).await;
        let watch = "
            const kinds = [{ kind: 'video', codec: 'VP8' }, { kind: 'audio', codec: 'opus' }];
            window.viewer ??= await watch('/whep/scene', kinds);
            return true;";
        browser.until("a viewer", SOON, watch).await;
        Scene { browser, _gateway: gateway }
    }

    /// Waits for a second more of pictures and sound, with both sessions over this protocol.
    async fn plays_over(&self, protocol: &str) {
        let so_far =
            "const { video } = await statistics(window.viewer, 'inbound-rtp'); return video?.framesDecoded ?? 0;";
        let before = self.browser.evaluate(so_far).await.as_u64().expect("a number");
        let plays = format!(
            "const {{ video, audio, remote, local }} = await statistics(window.viewer, 'inbound-rtp');
             const publisher = await statistics(window.publisher, 'outbound-rtp');
             const over = [remote, local, publisher.remote, publisher.local].map(candidate => candidate?.protocol);
             return video.framesDecoded > {before} + 30 && audio.totalAudioEnergy > 0
                 && over.every(protocol => protocol === '{protocol}');"
        );
        self.browser.until(&format!("pictures and sound over {protocol}"), SOON, &plays).await;
    }
}

#[tokio::test]
async fn chromium_publishes_and_watches_where_udp_is_blocked() {
    let network = Network::new();
    network.block_udp();
    Scene::begin(&network, "tcp").await.plays_over("tcp").await;
}

/// Chromium lets go of the connections it does not use, so it has nothing to fall back on: it notices that the path is
/// dead, and the page's ICE restart finds the other one. The sessions go on: same connections, same keys.
#[tokio::test]
async fn the_pages_go_on_over_tcp_when_udp_is_blocked_from_now_on() {
    let network = Network::new();
    let gateway = Gateway::inside(&network, &[]);
    let publisher = Browser::chromium_inside(&network, "tcp-publisher").await;
    publisher.open(&gateway.url("/publish/later?auto=1&codec=VP8&source=camera")).await;
    published(&publisher, "tcp-publish-before").await;
    let viewer = Browser::chromium_inside(&network, "tcp-viewer").await;
    viewer.open(&gateway.url("/watch/later")).await;
    watched(&viewer, "tcp-watch-before").await;
    for page in [&publisher, &viewer] {
        page.until("a path over UDP", SOON, &over("udp")).await;
        page.evaluate("window.first = window.whipstitch.pc").await;
    }

    network.block_udp();
    for page in [&publisher, &viewer] {
        page.until("a path over TCP", SOON, &over("tcp")).await;
    }
    published(&publisher, "tcp-publish-after").await;
    watched(&viewer, "tcp-watch-after").await;
    for page in [&publisher, &viewer] {
        assert_eq!(page.evaluate("return window.first === window.whipstitch.pc").await, true, "a session of its own");
    }
    let said = gateway.process().said();
    assert_eq!(said.matches("session connected").count(), 2, "{said}");
}

/// Whether the page's connection runs over this protocol.
fn over(protocol: &str) -> String {
    format!(
        "const all = await window.whipstitch.pc.getStats();
         const transport = [...all.values()].find(one => one.type === 'transport');
         const pair = all.get(transport.selectedCandidatePairId);
         return pair && all.get(pair.remoteCandidateId).protocol === '{protocol}';"
    )
}
