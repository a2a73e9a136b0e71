//! Sessions that a test makes by hand in a page, for what the pages have no button for.

use std::time::Duration;

use whipstitch_interop::Gateway;

use super::driver::Browser;

/// Defines `publish`, `watch`, `restart` and `statistics` in the page.
pub(crate) const SESSIONS: &str = include_str!("session.js");

const SOON: Duration = Duration::from_secs(30);

#[tokio::test]
async fn media_goes_on_after_chromium_restarts_ice() {
    let gateway = Gateway::serve(&[]);
    let browser = Browser::chromium("restarting").await;
    browser.open(&gateway.url("/publish/restarting")).await;
    publishes_watches_and_restarts(&browser).await;
}

/// Publisher and viewer at where the page is from take turns; each time media must arrive over the new generation.
pub(crate) async fn publishes_watches_and_restarts(browser: &Browser) {
    browser.evaluate(SESSIONS).await;
    let begin = "
        const media = await navigator.mediaDevices.getUserMedia({ video: { width: 320, height: 240 } });
        window.publisher = await publish('/whip/restarting', [{ track: media.getVideoTracks()[0], codec: 'VP8' }]);";
    browser.evaluate(begin).await;
    let watch = "window.viewer ??= await watch('/whep/restarting', [{ kind: 'video', codec: 'VP8' }]);";
    browser.until("a viewer", SOON, &format!("{watch} return true;")).await;
    browser.until("pictures", SOON, &pictures_after(0)).await;
    for who in ["publisher", "viewer"] {
        let restart = format!("window.ours = await restart(window.{who}); return window.ours;");
        assert!(browser.evaluate(&restart).await.is_string());
        let over_the_new = format!(
            "const {{ local, remote }} = await statistics(window.{who}, 'inbound-rtp');
             const wanted = window.{who}.pc.localDescription.sdp.match(/^a=ice-ufrag:(\\S+)/m)[1];
             return local.usernameFragment === wanted && remote.usernameFragment === window.ours;"
        );
        browser.until(&format!("a new path of the {who}"), SOON, &over_the_new).await;
        let so_far = "return (await statistics(window.viewer, 'inbound-rtp')).video.framesDecoded;";
        let before = browser.evaluate(so_far).await.as_u64().expect("a number");
        browser.until("thirty more pictures", SOON, &pictures_after(before + 30)).await;
    }
}

fn pictures_after(count: u64) -> String {
    format!("return (await statistics(window.viewer, 'inbound-rtp')).video.framesDecoded > {count};")
}
