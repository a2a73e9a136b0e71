//! OBS 30 to 32 as it behaves on the wire (protocol.md 14.1): libdatachannel, no candidates, no RTX, no transport-cc;
//! what it resends is the very same datagram, from a store of 4000 packets.

use crate::kit::peer::media::{Scene, Track};
use crate::kit::peer::rtp::{PSFB, RTPFB, Rtcp};
use crate::kit::peer::{Peer, Script, section, value};
use crate::kit::{Site, offers};

const VIDEO: u8 = 96;
/// `a=ssrc` of the fixtures.
const SSRC_30: u32 = 1_417_239_622;
const SSRC_32: u32 = 2_980_561_138;

fn publisher(site: &Site, fixture: &str) -> Peer {
    Peer::connect(site, "/whip/cam", &offers::offer(fixture), &Script::usual())
}

fn viewer(site: &Site) -> Peer {
    Peer::connect(site, "/whep/cam", &offers::offer("chromium-156-viewer"), &Script::usual())
}

/// Every video packet of OBS 32 carries MID and RID, RID "0" even without simulcast.
fn camera_32() -> Track {
    Track::new(SSRC_32, VIDEO).with(1, b"1").with(2, b"0")
}

fn scene(site: &Site, fixture: &str, camera: Track) -> Scene {
    Scene::begin(publisher(site, fixture), viewer(site), camera)
}

#[test]
fn obs_30_with_everything_at_session_level_is_watched() {
    let site = Site::start();
    let mut scene = scene(&site, "obs-30", Track::new(SSRC_30, VIDEO));
    let (_, frame) = scene.delta();
    scene.until("the frame", |scene| scene.has(frame));
}

#[test]
fn obs_32_with_a_rid_and_no_simulcast_is_watched() {
    let site = Site::start();
    let mut scene = scene(&site, "obs-32", camera_32());
    let (_, frame) = scene.delta();
    scene.until("the frame", |scene| scene.has(frame));
    let answer = scene.publisher.sdp();
    // It goes on with its own numbers whatever the answer says.
    assert!(
        value(section(answer, "audio"), "m=").ends_with(" 111")
            && value(section(answer, "video"), "m=").ends_with(" 96")
    );
    assert!(!answer.contains("simulcast") && !answer.contains("a=rid:"));
}

#[test]
fn a_rid_without_simulcast_is_ignored_where_no_ssrc_is_announced() {
    let site = Site::start();
    let offer = offers::offer("obs-32");
    let offer: String = offer.split_inclusive('\n').filter(|line| !line.starts_with("a=ssrc:")).collect();
    let publisher = Peer::connect(&site, "/whip/cam", &offer, &Script::usual());
    let mut scene = Scene::begin(publisher, viewer(&site), camera_32());
    let (_, frame) = scene.delta();
    scene.until("the frame", |scene| scene.has(frame));
}

#[test]
fn obs_simulcast_is_answered_with_every_layer_and_watched() {
    let site = Site::start();
    let publisher = publisher(&site, "obs-32-simulcast");
    let answer = section(publisher.sdp(), "video");
    assert!(answer.contains("\r\na=simulcast:recv 0;1;2\r\n"), "OBS finds its end by CRLF:\n{answer}");
    assert!((0..3).all(|rid| answer.contains(&format!("\r\na=rid:{rid} recv\r\n"))), "{answer}");
    // Layers are only told apart by their RID.
    let mut layers: Vec<Track> =
        (0..3_u8).map(|rid| Track::new(0x5000 + u32::from(rid), VIDEO).with(1, b"1").with(2, &[b'0' + rid])).collect();
    let best = layers.remove(0);
    let mut scene = Scene::begin(publisher, viewer(&site), best);
    let frame = layers[0].keyframe();
    frame.iter().for_each(|packet| drop(scene.publisher.send(packet)));
    let (_, frame) = scene.delta();
    scene.until("the frame", |scene| scene.has(frame));
    assert!(scene.packets.iter().all(|packet| packet.ssrc == scene.packets[0].ssrc), "viewers see one stream");
}

#[test]
fn what_obs_resends_on_nack_fills_the_gap() {
    let site = Site::start();
    let mut scene = scene(&site, "obs-32", camera_32());
    let lost = scene.camera.delta(200);
    let datagram = scene.publisher.protect(&lost);
    let behind = scene.delta().1;
    for _ in 0..10 {
        scene.delta();
    }
    scene.until("a NACK", |scene| scene.nacked().contains(&lost.seq));
    assert!(scene.nacked().iter().all(|seq| *seq == lost.seq), "nothing else is missing: {:?}", scene.nacked());
    scene.publisher.send_raw(&datagram);
    // Its answer to a second NACK, or a doubled datagram.
    scene.publisher.send_raw(&datagram);
    let after = scene.delta().1;
    scene.until("the lost frame and those behind", |scene| scene.has(behind - 1) && scene.has(after));
    let copies = scene.packets.iter().filter(|packet| packet.payload == lost.payload).count();
    assert_eq!(copies, 1);
}

#[test]
fn what_obs_resends_late_at_a_high_bitrate_fills_the_gap() {
    let site = Site::start();
    let mut scene = scene(&site, "obs-32", camera_32());
    let lost = scene.camera.delta(200);
    let datagram = scene.publisher.protect(&lost);
    let missing = scene.delta().1 - 1;
    // 900 packets: 20 Mbit/s and a resend after 430 ms.
    for _ in 0..900 {
        let frame = scene.delta().1;
        if frame.is_multiple_of(50) {
            scene.until("the frames", |scene| scene.has(frame));
        }
    }
    scene.publisher.send_raw(&datagram);
    let after = scene.delta().1;
    scene.until("the frame after", |scene| scene.has(after));
    scene.until("the lost frame", |scene| scene.has(missing));
    // Once more: it is a replay now.
    scene.publisher.send_raw(&datagram);
    let after = scene.delta().1;
    scene.until("the frame after", |scene| scene.has(after));
    assert_eq!(scene.packets.iter().filter(|packet| packet.payload == lost.payload).count(), 1);
}

#[test]
fn obs_is_asked_for_keyframes_within_reason_though_it_ignores_them() {
    let site = Site::start();
    let mut scene = scene(&site, "obs-32", camera_32());
    let newcomer = viewer(&site);
    let first = std::mem::replace(&mut scene.viewer, newcomer);
    scene.packets.clear();
    scene.until("a PLI", |scene| {
        scene.publisher_rtcp.iter().flat_map(|(_, compound)| compound).any(|packet| packet.is(PSFB, 1))
    });
    for _ in 0..3 {
        scene.delta();
    }
    // What was sent before the key frame is of no use to a newcomer.
    let frame = scene.camera.keyframe();
    frame.iter().for_each(|packet| drop(scene.publisher.send(packet)));
    scene.until("the key frame", |scene| scene.packets.len() >= 2);
    assert_eq!((scene.packets[0].payload[0], scene.packets[1].payload[0]), (24, 0x65));
    drop(first);
}

#[test]
fn every_compound_to_obs_is_complete() {
    let site = Site::start();
    let mut scene = scene(&site, "obs-32", camera_32());
    let _lost = scene.camera.delta(200);
    scene.delta();
    scene.until("a NACK and a report", |scene| {
        let mut all = scene.publisher_rtcp.iter().flat_map(|(_, compound)| compound);
        all.clone().any(|packet| packet.is(RTPFB, 1)) && all.any(|packet| packet.is(201, 1))
    });
    for (_, compound) in &scene.publisher_rtcp {
        crate::rtcp::assert_complete(compound);
    }
    let reports: Vec<&Rtcp> = scene.publisher_rtcp.iter().flat_map(|(_, compound)| compound).collect();
    assert!(reports.iter().all(|packet| packet.word(0) == reports[0].word(0)), "one sender: {reports:?}");
}

#[test]
fn delete_after_dtls_close_is_answered_with_200() {
    let site = Site::start();
    let mut scene = scene(&site, "obs-30", Track::new(SSRC_30, VIDEO));
    scene.publisher.close();
    site.until(|| site.stream("cam")["live"] != true);
    let location = scene.publisher.accepted.location().to_owned();
    site.ask("DELETE", &location, &[], "").is(200);
    site.ask("DELETE", &location, &[], "").is(200);
}
