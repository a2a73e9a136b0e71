//! The offers of real clients: each is accepted, its answer keeps every rule, and a peer connects by it (protocol.md 5,
//! 14.1, 14.2).

use crate::kit::answer::{self, Offerer};
use crate::kit::sdp::Sdp;
use crate::kit::{Live, Site, offers};

#[test]
fn every_publisher_is_accepted_and_connects() {
    let site = Site::start();
    for name in offers::PUBLISHERS {
        let live = site.live(name, name);
        answer::check(Offerer::Publisher, &live.offer, live.accepted.text());
        assert_eq!(live.accepted.field("content-type"), Some("application/sdp"), "{name}");
    }
}

/// What is published decides what a viewer gets: with sound and picture, and with one of them, where the other section
/// is answered with port 0.
#[test]
fn every_viewer_is_accepted_and_connects() {
    let site = Site::start();
    let _publishers = [
        site.live("both", "obs-32"),
        site.live("vp8", "chromium-156-publisher"),
        site.live("video", "ffmpeg-8.0-video-only"),
        site.live("audio", "ffmpeg-8.0-audio-only"),
    ];
    for name in offers::VIEWERS {
        for (stream, kinds) in [
            ("both", &["audio", "video"][..]),
            ("vp8", &["audio", "video"]),
            ("video", &["video"]),
            ("audio", &["audio"]),
        ] {
            let offer = offers::offer(name);
            // Firefox without its decoder and GStreamer as it was told lack one of the codecs.
            let lacks = match (name, stream) {
                ("firefox-153-viewer", "both" | "video") => Some("H264"),
                ("gstreamer-1.22-viewer", "vp8") => Some("VP8"),
                _ => None,
            };
            if kinds == ["video"] && lacks.is_some() {
                let refused = site.post(&format!("/whep/{stream}"), &offer).is(422);
                assert!(refused.detail().contains("H264"), "{name}: {}", refused.detail());
                continue;
            }
            let live = Live::connect(&site, &format!("/whep/{stream}"), &offer);
            answer::check(Offerer::Viewer, &live.offer, live.accepted.text());
            let answered = Sdp::parse(live.accepted.text());
            for section in &answered.sections {
                let is_lacking = section.kind() == "video" && lacks.is_some();
                let expected = kinds.contains(&section.kind()) && !is_lacking;
                assert_eq!(section.port() != 0, expected, "{name} watching {stream}: {section:?}");
            }
        }
    }
}
