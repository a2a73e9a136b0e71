//! The browsers themselves, without a gateway: what the other tests take for granted.

use std::time::Duration;

use super::driver::Browser;

/// Sends the fake camera and microphone from one connection to another in the same page, and waits for what arrives.
const LOOP: &str = r#"
    window.received ??= (async () => {
        const media = await navigator.mediaDevices.getUserMedia({ audio: true, video: true });
        const [from, to] = [new RTCPeerConnection(), new RTCPeerConnection()];
        from.onicecandidate = ({ candidate }) => candidate && to.addIceCandidate(candidate);
        to.onicecandidate = ({ candidate }) => candidate && from.addIceCandidate(candidate);
        // Chromium decodes audio only when somebody listens.
        const video = document.body.appendChild(document.createElement("video"));
        video.autoplay = true;
        to.ontrack = ({ streams }) => video.srcObject = streams[0];
        media.getTracks().forEach(track => from.addTrack(track, media));
        await from.setLocalDescription();
        await to.setRemoteDescription(from.localDescription);
        await to.setLocalDescription();
        await from.setRemoteDescription(to.localDescription);
        return to;
    })();
    const stats = [...(await (await window.received).getStats()).values()].filter(s => s.type === "inbound-rtp");
    const video = stats.find(s => s.kind === "video");
    const audio = stats.find(s => s.kind === "audio");
    return video.framesDecoded > 10 && audio.totalAudioEnergy > 0 && [video.frameWidth, audio.totalAudioEnergy];
"#;

async fn sends_to_itself(browser: Browser) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let page = folder.path().join("page.html");
    std::fs::write(&page, "<title>equipment</title><h1>Sending to itself</h1>").expect("our folder");
    browser.open(&format!("file://{}", page.display())).await;
    assert_eq!(browser.evaluate("return document.title").await, "equipment");
    let seen = browser.until("decoded media", Duration::from_secs(20), LOOP).await;
    assert!(seen[0].as_u64() >= Some(320), "{seen}");
}

#[tokio::test]
async fn chromium_has_a_camera_and_a_microphone() {
    sends_to_itself(Browser::chromium("equipment-chromium").await).await;
}

#[tokio::test]
async fn firefox_has_a_camera_and_a_microphone() {
    sends_to_itself(Browser::firefox("equipment-firefox").await).await;
}
