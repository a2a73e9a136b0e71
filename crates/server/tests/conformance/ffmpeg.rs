//! FFmpeg's WHIP muxer as it behaves on the wire (protocol.md 14.1): DTLS server, sparse checks, then silence but for
//! SRTP.

use crate::kit::peer::media::{Scene, Track};
use crate::kit::peer::rtp::{RTPFB, Rtp};
use crate::kit::peer::{Peer, Received, Script, State, section, value};
use crate::kit::{Site, changed, offers};

const AUDIO: u8 = 111;
const VIDEO: u8 = 106;
/// `a=ssrc` of the fixtures.
const AUDIO_SSRC: u32 = 3_307_843_155;
const VIDEO_SSRC: u32 = 3_307_843_156;

fn publish(site: &Site, offer: &str) -> Peer {
    Peer::connect(site, "/whip/cam", offer, &Script::ffmpeg())
}

fn scene(site: &Site, offer: &str) -> Scene {
    let publisher = publish(site, offer);
    let viewer = Peer::connect(site, "/whep/cam", &offers::offer("chromium-156-viewer"), &Script::usual());
    Scene::begin(publisher, viewer, Track::new(VIDEO_SSRC, VIDEO))
}

/// What versions after 8.0 add: RTX and NACK.
fn offer_8_1() -> String {
    changed(
        &offers::offer("ffmpeg-8.0"),
        &[
            ("SAVPF 106\r\n", "SAVPF 106 105\r\n"),
            (
                "a=rtpmap:106 H264/90000\r\n",
                "a=rtpmap:106 H264/90000\r\na=rtcp-fb:106 nack\r\na=rtpmap:105 rtx/90000\r\na=fmtp:105 apt=106\r\n",
            ),
            (
                "a=ssrc:3307843156 cname",
                "a=ssrc-group:FID 3307843156 3307843157\r\na=ssrc:3307843157 cname:FFmpeg\r\na=ssrc:3307843156 cname",
            ),
        ],
    )
}

#[test]
fn ffmpeg_gets_our_client_hello_with_the_answer_to_its_first_check() {
    let site = Site::start();
    let mut ffmpeg = Peer::join(&site, "/whip/cam", &offers::offer("ffmpeg-8.0"), &Script::ffmpeg());
    assert_eq!(value(ffmpeg.sdp(), "a=setup:"), "active");
    ffmpeg.begin_handshake();
    let check = ffmpeg.write_check(true);
    ffmpeg.send_raw(&check);
    // It waits for a ClientHello and gives up 5 s after it began: none may depend on a timer of ours.
    assert!(matches!(ffmpeg.until("anything", Some), Received::Stun(_)));
    assert!(matches!(ffmpeg.until("anything", Some), Received::Dtls));
    ffmpeg.handshake();
    assert_eq!(ffmpeg.profile(), "sha1_80");
}

#[test]
fn ffmpeg_is_watched_and_sends_nothing_but_srtp_after_the_handshake() {
    let site = Site::start();
    let offer = changed(&offers::offer("ffmpeg-8.0"), &[("profile-level-id=64001f", "profile-level-id=422001f")]);
    let mut scene = scene(&site, &offer);
    let mut sound = Track::new(AUDIO_SSRC, AUDIO);
    for _ in 0..10 {
        let packet = sound.audio();
        scene.publisher.send(&packet);
    }
    let (_, frame) = scene.delta();
    scene.until("the frame", |scene| scene.has(frame));
    scene.until("the audio", |scene| scene.packets.iter().any(|packet| packet.payload.first() == Some(&0xfc)));
}

#[test]
fn ffmpeg_with_one_kind_publishes_though_its_bundle_names_both() {
    for (fixture, kind) in [("ffmpeg-8.0-audio-only", "audio"), ("ffmpeg-8.0-video-only", "video")] {
        let site = Site::start();
        let offer = offers::offer(fixture);
        assert!(offer.contains("a=group:BUNDLE 0 1"));
        let ffmpeg = publish(&site, &offer);
        let mid = value(section(ffmpeg.sdp(), kind), "a=mid:");
        assert_eq!(value(ffmpeg.sdp(), "a=group:BUNDLE "), mid);
        site.until(|| site.stream("cam")["live"] == true);
    }
}

#[test]
fn a_newer_ffmpeg_gets_each_nack_as_the_only_packet_of_its_datagram() {
    let site = Site::start();
    let mut scene = scene(&site, &offer_8_1());
    assert!(section(scene.publisher.sdp(), "video").contains("\r\na=rtcp-rsize\r\n"));
    // Many gaps over more than a second, so that reports and NACKs fall together.
    for _ in 0..15 {
        let lost = scene.camera.delta(200);
        scene.delta();
        scene.until("a NACK", |scene| scene.nacked().contains(&lost.seq));
        scene.live(std::time::Duration::from_millis(80));
    }
    assert!(scene.publisher_rtcp.iter().any(|(_, compound)| compound[0].is(201, 1)), "reports came as well");
    for (_, compound) in &scene.publisher_rtcp {
        if compound.iter().any(|packet| packet.is(RTPFB, 1)) {
            assert_eq!(compound.len(), 1, "{compound:?}");
        } else {
            crate::rtcp::assert_complete(compound);
        }
    }
}

/// A resend of `lost` that says it is number `number`.
fn resent(rtx: &mut Track, lost: &Rtp, number: u16) -> Rtp {
    let resent = rtx.packet(lost.marker, [&number.to_be_bytes()[..], &lost.payload].concat());
    Rtp { time: lost.time, ..resent }
}

#[test]
fn a_newer_ffmpegs_rtx_fills_the_gap() {
    let site = Site::start();
    let mut scene = scene(&site, &offer_8_1());
    let lost = scene.camera.delta(200);
    let (_, behind) = scene.delta();
    scene.until("a NACK", |scene| scene.nacked().contains(&lost.seq));
    let mut rtx = Track::new(VIDEO_SSRC + 1, 105);
    let resent = resent(&mut rtx, &lost, lost.seq);
    scene.publisher.send(&resent);
    scene.until("the lost frame", |scene| scene.has(behind - 1));
}

#[test]
fn rtx_fills_the_gap_late_too_and_absurd_numbers_are_not_believed() {
    let site = Site::start();
    let mut scene = scene(&site, &offer_8_1());
    let lost = scene.camera.delta(200);
    let missing = scene.delta().1 - 1;
    // 300 packets: 20 Mbit/s and 140 ms.
    for _ in 0..300 {
        let frame = scene.delta().1;
        if frame.is_multiple_of(50) {
            scene.until("the frames", |scene| scene.has(frame));
        }
    }
    let mut rtx = Track::new(VIDEO_SSRC + 1, 105);
    for number in [lost.seq.wrapping_add(20_000), lost.seq.wrapping_sub(5000), lost.seq, lost.seq] {
        let resent = resent(&mut rtx, &lost, number);
        scene.publisher.send(&resent);
    }
    scene.until("the lost frame", |scene| scene.has(missing));
    let frame = scene.delta().1;
    scene.until("the frame after", |scene| scene.has(frame));
    assert_eq!(scene.packets.iter().filter(|packet| packet.payload == lost.payload).count(), 1);
}

#[test]
fn ffmpeg_that_stops_before_the_handshake_ends_leaves_the_stream_free() {
    let site = Site::start();
    let mut first = Peer::join(&site, "/whip/cam", &offers::offer("ffmpeg-8.0"), &Script::ffmpeg());
    first.check();
    let location = first.accepted.location().to_owned();
    site.ask("DELETE", &location, &[], "").is(200);
    site.until(|| site.stream("cam")["publisher"].is_null());
    let mut second = Peer::join(&site, "/whip/cam", &offers::offer("ffmpeg-8.0"), &Script::ffmpeg());
    second.check();
    second.handshake();
    assert_eq!(*second.state(), State::Connected);
}
