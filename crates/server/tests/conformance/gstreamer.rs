//! GStreamer's ways (protocol.md 14.1): an RSA certificate, answers read strictly, the first candidate only.

use crate::kit::peer::media::{Scene, Track};
use crate::kit::peer::{Peer, Script};
use crate::kit::{Site, changed, offers};

const VIDEO: u8 = 97;
const SSRC: u32 = 818_609_118;

/// What its webrtcbin and its WHIP and WHEP elements ask of an answer.
#[track_caller]
fn assert_strict(answer: &str) {
    assert!(answer.starts_with("v=0\r\n") && answer.ends_with("\r\n"));
    let sections: Vec<&str> = answer.split("\r\nm=").skip(1).collect();
    assert!(!sections.is_empty());
    for section in sections {
        for needed in ["ice-ufrag:", "ice-pwd:", "fingerprint:sha-256 ", "setup:", "mid:", "rtcp-mux\r\n"] {
            assert!(section.contains(&format!("\r\na={needed}")), "no {needed} in\n{section}");
        }
        for (name, lengths) in [("ice-ufrag:", 4..=32), ("ice-pwd:", 22..=64)] {
            let value = crate::kit::peer::value(section, &format!("a={name}"));
            let is_ice = |c: char| c.is_ascii_alphanumeric() || c == '+' || c == '/';
            assert!(value.chars().all(is_ice) && lengths.contains(&value.len()), "{value}");
        }
        let setup = crate::kit::peer::value(section, "a=setup:");
        assert!(["active", "passive"].contains(&setup));
        let formats = section.lines().next().and_then(|line| line.split(' ').nth(3)).expect("a format");
        assert!(formats.parse::<u8>().is_ok(), "{section}");
    }
}

#[test]
fn gstreamer_publishes_and_watches_with_rsa_certificates() {
    let site = Site::start();
    let script = Script::gstreamer();
    let publisher = Peer::connect(&site, "/whip/cam", &offers::offer("gstreamer-1.22-publisher"), &script);
    assert_strict(publisher.sdp());
    let viewer = Peer::connect(&site, "/whep/cam", &offers::offer("gstreamer-1.22-viewer"), &script);
    assert_strict(viewer.sdp());
    assert_eq!((publisher.profile(), viewer.profile()), ("gcm128", "gcm128"));
    let mut scene = Scene::begin(publisher, viewer, Track::new(SSRC, VIDEO));
    let (_, frame) = scene.delta();
    scene.until("the frame", |scene| scene.has(frame));
    assert_eq!(scene.packets[0].pt, 97);
}

#[test]
fn rejected_sections_are_complete_too() {
    let site = Site::start();
    let script = Script::gstreamer();
    let only_video = changed(&offers::offer("ffmpeg-8.0-video-only"), &[("a=setup:passive", "a=setup:actpass")]);
    let _publisher = Peer::connect(&site, "/whip/cam", &only_video, &script);
    let viewer = Peer::connect(&site, "/whep/cam", &offers::offer("gstreamer-1.22-viewer"), &script);
    assert!(viewer.sdp().contains("\r\nm=audio 0 "), "nobody publishes audio");
    assert_strict(viewer.sdp());
}
