//! Every codec published and watched, formats chosen, and what a client is told that lacks one (protocol.md 5.1, 5.2,
//! 10).

use crate::kit::answer::{self, Offerer};
use crate::kit::offers::{Media, offer, written};
use crate::kit::sdp::Sdp;
use crate::kit::{Live, Site};

const H264: Media<'_> = Media {
    kind: "video",
    formats: "96",
    attributes: &["rtpmap:96 H264/90000", "fmtp:96 packetization-mode=1;profile-level-id=42e01f"],
};
const OPUS: Media<'_> = Media { kind: "audio", formats: "111", attributes: &["rtpmap:111 opus/48000/2"] };

/// Everything a publisher may send, as it would offer it, and the name a person knows it by.
const CODECS: [(&str, Media<'_>); 10] = [
    ("H264", H264),
    (
        "H265",
        Media {
            kind: "video",
            formats: "49",
            attributes: &["rtpmap:49 H265/90000", "fmtp:49 level-id=93;profile-id=1;tier-flag=0;tx-mode=SRST"],
        },
    ),
    ("VP8", Media { kind: "video", formats: "97", attributes: &["rtpmap:97 VP8/90000"] }),
    ("VP9", Media { kind: "video", formats: "98", attributes: &["rtpmap:98 VP9/90000", "fmtp:98 profile-id=0"] }),
    (
        "AV1",
        Media {
            kind: "video",
            formats: "45",
            attributes: &["rtpmap:45 AV1/90000", "fmtp:45 level-idx=5;profile=0;tier=0"],
        },
    ),
    ("opus", OPUS),
    ("PCMU", Media { kind: "audio", formats: "0", attributes: &[] }),
    ("PCMA", Media { kind: "audio", formats: "8", attributes: &["rtpmap:8 PCMA/8000"] }),
    ("G722", Media { kind: "audio", formats: "9", attributes: &["rtpmap:9 G722/8000"] }),
    ("H264", Media { kind: "video", formats: "120", attributes: &["rtpmap:120 H264/90000"] }),
];

/// What a viewer wants that takes everything, under numbers of its own.
const EVERYTHING: [Media<'_>; 2] = [
    Media {
        kind: "video",
        formats: "100 101 102 103 104 105",
        attributes: &[
            "rtpmap:100 VP8/90000",
            "rtpmap:101 VP9/90000",
            "rtpmap:102 H264/90000",
            "fmtp:102 packetization-mode=1;profile-level-id=42e01f",
            "rtpmap:103 AV1/90000",
            "rtpmap:104 H265/90000",
            "rtpmap:105 H264/90000",
            "fmtp:105 profile-level-id=42e01f",
        ],
    },
    Media { kind: "audio", formats: "63 9 0 8", attributes: &["rtpmap:63 opus/48000/2", "rtpmap:8 pcma/8000"] },
];

#[test]
fn every_codec_alone_is_published_and_watched_and_named_to_who_lacks_it() {
    let site = Site::start();
    for (index, (codec, media)) in CODECS.iter().enumerate() {
        let stream = format!("stream{index}");
        let publisher = site.live_with(&stream, &written("sendonly", &[*media]));
        answer::check(Offerer::Publisher, &publisher.offer, publisher.accepted.text());
        assert!(site.stream(&stream).to_string().contains(&format!("\"codecs\":[\"{codec}\"]")), "{codec}");

        let viewer = Live::connect(&site, &format!("/whep/{stream}"), &written("recvonly", &EVERYTHING));
        answer::check(Offerer::Viewer, &viewer.offer, viewer.accepted.text());
        let answered = Sdp::parse(viewer.accepted.text());
        let section = answered.section(media.kind);
        assert_ne!(section.port(), 0, "{codec}");
        let chosen = section.codec(section.formats()[0]).expect("an rtpmap");
        assert!(chosen.starts_with(&format!("{}/", codec.to_ascii_lowercase())), "{codec}: {chosen}");
        let other = answered.section(if media.kind == "audio" { "video" } else { "audio" });
        assert_eq!(other.port(), 0, "a kind that nobody publishes");

        // A viewer of the same kind that has any other codec, and one that wants the other kind alone.
        let lacking = if *codec == "VP8" || media.kind == "audio" { OPUS } else { CODECS[2].1 };
        if *codec != "opus" && lacking.kind == media.kind {
            let refused = site.post(&format!("/whep/{stream}"), &written("recvonly", &[lacking])).is(422);
            assert!(
                refused.detail().contains(&format!("the stream's {} is {codec}", media.kind)),
                "{}",
                refused.detail()
            );
        }
        let other_kind = if media.kind == "audio" { H264 } else { OPUS };
        let refused = site.post(&format!("/whep/{stream}"), &written("recvonly", &[other_kind])).is(422);
        assert!(refused.detail().contains(&format!("the stream has no {}", other_kind.kind)), "{}", refused.detail());
    }
}

/// protocol.md 5.2: a publisher gets all or nothing, a viewer what there is.
#[test]
fn an_unknown_codec_costs_a_publisher_the_offer_and_a_viewer_the_section() {
    let site = Site::start();
    let unknown =
        Media { kind: "audio", formats: "99 98", attributes: &["rtpmap:99 speex/16000", "rtpmap:98 CN/8000"] };
    let refused = site.post("/whip/cam", &written("sendonly", &[unknown, H264])).is(422);
    assert_eq!(
        refused.detail(),
        "the audio section offers speex, CN, none of which can be taken; offer one of opus, PCMU, PCMA, G722"
    );
    assert!(site.stream("cam").is_null(), "nothing is left of it");
    let _publisher = site.live_with("cam", &written("sendonly", &[OPUS, H264]));
    let viewer = Live::connect(&site, "/whep/cam", &written("recvonly", &[unknown, H264]));
    answer::check(Offerer::Viewer, &viewer.offer, viewer.accepted.text());
    let answered = Sdp::parse(viewer.accepted.text());
    assert_eq!((answered.section("audio").port(), answered.section("audio").formats()), (0, vec!["99"]));
    assert_eq!(answered.bundle(), ["1"], "the next one becomes the tagged section");
}

/// protocol.md 5.1: 35 to 63 are legal, 64 to 95 collide with RTCP; RTX follows its codec, or is dropped with it.
#[test]
fn payload_types_and_rtx_are_those_of_the_offer() {
    let site = Site::start();
    for (number, (formats, attributes, chosen)) in [
        ("45 46", &["rtpmap:45 AV1/90000", "rtpmap:46 rtx/90000", "fmtp:46 apt=45"][..], &["45", "46"][..]),
        ("72 96", &["rtpmap:72 VP8/90000", "rtpmap:96 VP9/90000"], &["96"]),
        ("96 72", &["rtpmap:96 VP8/90000", "rtpmap:72 rtx/90000", "fmtp:72 apt=96"], &["96"]),
        ("96 97", &["rtpmap:96 VP8/90000", "rtpmap:97 rtx/90000", "fmtp:97 apt=98"], &["96"]),
        ("97 96", &["rtpmap:97 rtx/90000", "fmtp:97 rtx-time=3000; apt=96", "rtpmap:96 VP8/90000"], &["96", "97"]),
        (
            "96 97 98 99",
            &[
                "rtpmap:96 red/90000",
                "rtpmap:97 rtx/90000",
                "fmtp:97 apt=96",
                "rtpmap:98 VP8/90000",
                "rtpmap:99 ulpfec/90000",
            ],
            &["98"],
        ),
    ]
    .iter()
    .enumerate()
    {
        let media = Media { kind: "video", formats, attributes };
        let (target, watched) = (format!("/whip/cam{number}"), format!("/whep/cam{number}"));
        let publisher = Live::connect(&site, &target, &written("sendonly", &[media]));
        assert_eq!(Sdp::parse(publisher.accepted.text()).section("video").formats(), *chosen, "{formats}");
        let viewer = Live::connect(&site, &watched, &written("recvonly", &[media]));
        assert_eq!(Sdp::parse(viewer.accepted.text()).section("video").formats(), *chosen, "{formats}");
    }
}

/// protocol.md 10: the closest profile that is not below the publisher's, else any of mode 1.
#[test]
fn each_browser_gets_the_h264_profile_that_fits_best() {
    let site = Site::start();
    let published = [
        ("constrained-baseline", "packetization-mode=1;profile-level-id=42e01f"),
        ("high", "packetization-mode=1;profile-level-id=64001f"),
        ("ffmpeg", "packetization-mode=1;profile-level-id=422001f"),
    ];
    let _publishers = published.map(|(name, format)| {
        let attributes = ["rtpmap:96 H264/90000", &format!("fmtp:96 {format}")];
        site.live_with(name, &written("sendonly", &[Media { attributes: &attributes, ..H264 }]))
    });
    for (viewer, stream, profile) in [
        ("chromium-156-viewer", "constrained-baseline", "42e01f"),
        // Without High, the next above it.
        ("chromium-156-viewer", "high", "f4001f"),
        ("chromium-156-viewer", "ffmpeg", "42001f"),
        ("firefox-153-viewer-openh264", "high", "42e01f"),
        ("safari-18-viewer", "constrained-baseline", "42e01f"),
        ("safari-18-viewer", "high", "640c1f"),
    ] {
        let offer = offer(viewer);
        let posted = site.post(&format!("/whep/{stream}"), &offer).is(201);
        answer::check(Offerer::Viewer, &offer, posted.text());
        let answered = Sdp::parse(posted.text());
        let section = answered.section("video");
        let format = section.of_format("fmtp", section.formats()[0]).concat();
        assert!(format.contains("packetization-mode=1"), "{viewer} {stream}: {format}");
        assert!(format.contains(&format!("profile-level-id={profile}")), "{viewer} {stream}: {format}");
    }
}
