//! Codecs that browsers have and do not choose by themselves.

use std::time::Duration;

use whipstitch_interop::Gateway;

use super::driver::Browser;
use super::session::SESSIONS;

#[tokio::test]
async fn chromium_publishes_and_hears_the_codecs_of_the_telephone() {
    let gateway = Gateway::serve(&[]);
    let browser = Browser::chromium("telephony").await;
    browser.open(&gateway.url("/publish/telephony")).await;
    browser.evaluate(SESSIONS).await;
    let publish = "
        const media = await navigator.mediaDevices.getUserMedia({ audio: true });
        window.heard = {};
        for (const codec of ['PCMU', 'PCMA', 'G722'])
            await publish(`/whip/${codec}`, [{ track: media.getAudioTracks()[0], codec }]);";
    browser.evaluate(publish).await;
    for codec in ["PCMU", "PCMA", "G722"] {
        let watch =
            format!("window.heard.{codec} ??= await watch('/whep/{codec}', [{{ kind: 'audio', codec: '{codec}' }}]);");
        let heard = format!(
            "{watch} const {{ audio }} = await statistics(window.heard.{codec}, 'inbound-rtp');
             return audio.totalAudioEnergy > 0 && audio.totalSamplesReceived > 24_000 && audio.codec;"
        );
        let seen = browser.until("sound", Duration::from_secs(30), &heard).await;
        assert_eq!(seen, format!("audio/{codec}"));
    }
}
