//! The offers of real clients: each is taken, and its answer keeps every rule.

use super::*;

macro_rules! offers {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../../../tests/fixtures/offers/", $name, ".sdp")))),*]
    };
}

pub(super) const PUBLISHERS: [(&str, &str); 12] = offers![
    "aiortc-publisher",
    "chromium-156-publisher",
    "chromium-156-publisher-simulcast",
    "ffmpeg-8.0",
    "ffmpeg-8.0-audio-only",
    "ffmpeg-8.0-video-only",
    "firefox-153-publisher",
    "firefox-153-publisher-simulcast",
    "gstreamer-1.22-publisher",
    "obs-30",
    "obs-32",
    "obs-32-simulcast",
];

pub(super) const VIEWERS: [(&str, &str); 8] = offers![
    "aiortc-viewer",
    "chromium-156-viewer",
    "eyevinn-player",
    "firefox-153-viewer",
    "firefox-153-viewer-openh264",
    "gstreamer-1.22-viewer",
    "mediamtx-reader",
    "safari-18-viewer",
];

/// Safari's publisher offers `sendrecv`, so it could be either.
pub(super) const EITHER: [(&str, &str); 1] = offers!["safari-18-publisher"];

fn plan(offers: &[(&str, &str)], name: &str) -> PublisherPlan {
    let (_, text) = offers.iter().find(|(other, _)| *other == name).expect("a fixture");
    plan_publisher(&Offer::parse(text).expect("an offer")).expect("a publisher")
}

#[test]
fn every_publisher_is_taken_and_answered() {
    for (name, text) in PUBLISHERS.iter().chain(&EITHER) {
        let offer = Offer::parse(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let plan = plan_publisher(&offer).unwrap_or_else(|error| panic!("{name}: {error}"));
        answers::check(text, &publish(text), "recvonly");
        let single = name.ends_with("-only");
        assert_eq!(plan.media.len(), if single { 1 } else { 2 }, "{name}");
        let role = if name.starts_with("ffmpeg") { DtlsRole::Client } else { DtlsRole::Server };
        assert_eq!(offer.dtls_role(), role, "{name}");
    }
}

#[test]
fn every_publisher_gets_the_codec_it_prefers() {
    for (name, video, audio) in [
        ("aiortc-publisher", Some((Codec::Vp8, 97, Some(98))), Some((Codec::Opus, 96))),
        ("chromium-156-publisher", Some((Codec::Vp8, 96, Some(97))), Some((Codec::Opus, 111))),
        ("ffmpeg-8.0", Some((Codec::H264, 106, None)), Some((Codec::Opus, 111))),
        ("ffmpeg-8.0-video-only", Some((Codec::H264, 106, None)), None),
        ("ffmpeg-8.0-audio-only", None, Some((Codec::Opus, 111))),
        ("firefox-153-publisher", Some((Codec::Vp8, 120, Some(124))), Some((Codec::Opus, 109))),
        ("gstreamer-1.22-publisher", Some((Codec::H264, 97, None)), Some((Codec::Opus, 96))),
        ("obs-30", Some((Codec::H264, 96, None)), Some((Codec::Opus, 111))),
        ("obs-32", Some((Codec::H264, 96, None)), Some((Codec::Opus, 111))),
    ] {
        let plan = plan(&PUBLISHERS, name);
        let of = |kind| plan.media.iter().find(|media| media.kind == kind);
        assert_eq!(of(Kind::Video).map(|media| (media.codec, media.pt, media.rtx_pt)), video, "{name}");
        assert_eq!(of(Kind::Audio).map(|media| (media.codec, media.pt)), audio, "{name}");
    }
}

#[test]
fn every_layer_of_a_simulcast_publisher_is_answered() {
    for (name, rids) in [
        ("chromium-156-publisher-simulcast", ["h", "m", "l"]),
        ("firefox-153-publisher-simulcast", ["h", "m", "l"]),
        ("obs-32-simulcast", ["0", "1", "2"]),
    ] {
        let (_, text) = PUBLISHERS.iter().find(|(other, _)| *other == name).expect("a fixture");
        let answer = publish(text);
        // OBS looks for the line's end by CRLF and counts the layers.
        assert!(answer.contains(&format!("a=simulcast:recv {}\r\n", rids.join(";"))), "{name}: {answer}");
        for rid in rids {
            assert!(answer.contains(&format!("a=rid:{rid} recv\r\n")), "{name}: {answer}");
        }
    }
    assert!(!publish(PUBLISHERS.iter().find(|(name, _)| *name == "obs-32").expect("a fixture").1).contains("rid"));
}

#[test]
fn every_viewer_is_answered_with_what_it_can_play() {
    let opus = || track(Codec::Opus, "");
    let h264 = || track(Codec::H264, "packetization-mode=1;profile-level-id=64001f");
    let both = |video| Tracks { audio: opus(), video };
    for (name, tracks, audio, video) in [
        ("aiortc-viewer", both(h264()), Some(96), Some(99)),
        ("chromium-156-viewer", both(h264()), Some(111), Some(41)),
        (
            "chromium-156-viewer",
            both(track(Codec::H264, "packetization-mode=1;profile-level-id=42e01f")),
            Some(111),
            Some(108),
        ),
        ("chromium-156-viewer", both(track(Codec::Av1, "")), Some(111), Some(45)),
        ("chromium-156-viewer", both(track(Codec::Vp9, "profile-id=2")), Some(111), Some(100)),
        ("chromium-156-viewer", Tracks { audio: track(Codec::Pcma, ""), video: None }, Some(8), None),
        ("eyevinn-player", both(track(Codec::Vp8, "")), Some(111), Some(96)),
        ("firefox-153-viewer", both(track(Codec::Vp9, "profile-id=0")), Some(109), Some(121)),
        ("firefox-153-viewer", both(h264()), Some(109), None),
        ("firefox-153-viewer-openh264", both(h264()), Some(109), Some(126)),
        ("gstreamer-1.22-viewer", both(h264()), Some(96), Some(97)),
        ("gstreamer-1.22-viewer", both(track(Codec::Vp8, "")), Some(96), None),
        ("mediamtx-reader", both(h264()), Some(111), Some(41)),
        ("safari-18-viewer", both(h264()), Some(111), Some(96)),
        ("safari-18-viewer", both(track(Codec::H265, "level-id=93;profile-id=1;tier-flag=0")), Some(111), Some(104)),
        ("safari-18-publisher", both(track(Codec::Av1, "")), Some(111), Some(127)),
    ] {
        let (_, text) = VIEWERS.iter().chain(&EITHER).find(|(other, _)| *other == name).expect("a fixture");
        let plan = plan_viewer(&Offer::parse(text).expect("an offer"), Some(&tracks)).expect("a viewer");
        let of = |kind| plan.media.iter().find(|media| media.kind == kind).map(|media| media.formats[0].pt);
        assert_eq!((of(Kind::Audio), of(Kind::Video)), (audio, video), "{name} {tracks:?}");
        answers::check(text, &watch(text, &tracks), "sendonly");
    }
}

#[test]
fn a_viewers_nack_for_audio_is_answered() {
    let (_, eyevinn) = VIEWERS.iter().find(|(name, _)| *name == "eyevinn-player").expect("a fixture");
    let answer = watch(eyevinn, &tracks());
    assert!(answer.contains("a=rtcp-fb:111 nack\r\n"), "{answer}");
    assert!(answer.find("m=video").expect("video") < answer.find("m=audio").expect("audio"), "the offer's order");
}

#[test]
fn transport_cc_without_its_extension_is_not_answered_to_gstreamer() {
    let (_, gstreamer) = PUBLISHERS.iter().find(|(name, _)| name.starts_with("gstreamer")).expect("a fixture");
    assert!(gstreamer.contains("transport-cc") && !publish(gstreamer).contains("transport-cc"));
}
