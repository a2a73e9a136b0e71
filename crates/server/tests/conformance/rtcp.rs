//! RTP and RTCP between clients and us (protocol.md 7.2, 8, 9): what publishers and viewers see of it.

use std::time::{Duration, Instant};

use crate::kit::peer::media::{Scene, Track, frame_of};
use crate::kit::peer::rtp::{APP, BYE, PSFB, RR, RTPFB, Rtcp, Rtp, SDES, SR, XR, compound};
use crate::kit::peer::{Peer, Received, Script, section, value};
use crate::kit::{PATIENCE, Site, changed, offers};

const VIDEO: u8 = 96;
const OBS_VIDEO: u32 = 2_980_561_138;
const OBS_AUDIO: u32 = 2_980_561_137;

/// RFC 3550 6.1: a report first, a CNAME of its sender behind it.
#[track_caller]
pub(crate) fn assert_complete(compound: &[Rtcp]) {
    assert!(matches!(compound[0].kind, SR | RR), "{compound:?}");
    let described = compound.iter().filter(|packet| packet.kind == SDES).flat_map(Rtcp::cnames);
    assert!(described.into_iter().any(|(ssrc, _)| ssrc == compound[0].word(0)), "{compound:?}");
}

fn camera() -> Track {
    Track::new(OBS_VIDEO, VIDEO).with(1, b"1").with(2, b"0")
}

fn scene_with(site: &Site, viewer: &str) -> Scene {
    let publisher = Peer::connect(site, "/whip/cam", &offers::offer("obs-32"), &Script::usual());
    let viewer = Peer::connect(site, "/whep/cam", viewer, &Script::usual());
    Scene::begin(publisher, viewer, camera())
}

fn scene(site: &Site) -> Scene {
    scene_with(site, &offers::offer("chromium-156-viewer"))
}

/// The SSRC of our video towards a viewer.
fn ssrc_of(viewer: &Peer, kind: &str) -> u32 {
    value(section(viewer.sdp(), kind), "a=ssrc:").split(' ').next().and_then(|ssrc| ssrc.parse().ok()).expect("an SSRC")
}

fn plis(scene: &Scene) -> usize {
    scene.publisher_rtcp.iter().flat_map(|(_, compound)| compound).filter(|packet| packet.is(PSFB, 1)).count()
}

/// Takes the viewer's picture away so that it needs another one, and forgets what the publisher was asked for.
#[track_caller]
fn settle(scene: &mut Scene) {
    // A key picture answers every request that is still open.
    let frame = scene.camera.keyframe();
    frame.iter().for_each(|packet| drop(scene.publisher.send(packet)));
    let frame = scene.delta().1;
    scene.until("the frame", |scene| scene.has(frame));
    scene.publisher_rtcp.clear();
}

#[test]
fn requests_of_all_viewers_for_a_keyframe_become_one_each_half_second() {
    let site = Site::start();
    let mut scene = scene(&site);
    let mut other = Peer::connect(&site, "/whep/cam", &offers::offer("gstreamer-1.22-viewer"), &Script::usual());
    settle(&mut scene);
    let (ours, theirs) = (ssrc_of(&scene.viewer, "video"), ssrc_of(&other, "video"));
    let began = Instant::now();
    for number in 0..60 {
        scene.viewer.send_rtcp(&[Rtcp::rr(1), Rtcp::pli(1, ours)]);
        other.send_rtcp(&[Rtcp::rr(1), Rtcp::fir(1, theirs, number)]);
        scene.live(Duration::from_millis(20));
    }
    scene.until("a PLI", |scene| plis(scene) > 0);
    let most = began.elapsed().as_millis() / 500 + 1;
    assert!(plis(&scene) as u128 <= most, "{} in {:?}", plis(&scene), began.elapsed());
}

#[test]
fn a_keyframe_request_among_packets_of_any_kind_is_heard() {
    let site = Site::start();
    let mut scene = scene(&site);
    let video = ssrc_of(&scene.viewer, "video");
    let pli = Rtcp::pli(1, video);
    for others in [
        vec![Rtcp::rr(1), Rtcp::new(APP, 3, b"\0\0\0\x01nameabcd".to_vec())],
        vec![Rtcp::rr(1), Rtcp::new(XR, 0, [&[0, 0, 0, 1, 4, 0, 0, 2][..], &[0; 8]].concat())],
        vec![Rtcp::rr(1), Rtcp::new(222, 7, vec![9; 8])],
        // Reduced size, and a sender of 0.
        vec![],
    ] {
        settle(&mut scene);
        scene.viewer.send_rtcp(&[&others[..], std::slice::from_ref(&pli)].concat());
        scene.until("a PLI", |scene| plis(scene) > 0);
        // The pause between two requests.
        let answered = Instant::now();
        while answered.elapsed() < Duration::from_millis(600) {
            scene.live(Duration::from_millis(20));
        }
    }
}

#[test]
fn a_broken_compound_and_requests_for_others_have_no_effect() {
    let site = Site::start();
    let mut scene = scene(&site);
    settle(&mut scene);
    let video = ssrc_of(&scene.viewer, "video");
    let good = compound(&[Rtcp::rr(1), Rtcp::pli(1, video)]);
    let longer = [&good[..], &[0x81, PSFB, 0, 9]].concat();
    let other_version = [&good[..], &[0x41, APP, 0, 0]].concat();
    let padded_inside = compound(&[Rtcp::rr(1)])
        .iter()
        .enumerate()
        .map(|(at, byte)| if at == 0 { byte | 0x20 } else { *byte })
        .chain(compound(&[Rtcp::pli(1, video)]))
        .collect();
    for bytes in [longer, other_version, padded_inside] {
        scene.viewer.send_compound(&bytes);
    }
    scene.viewer.send_rtcp(&[Rtcp::rr(1), Rtcp::pli(1, video ^ 1), Rtcp::fir(1, OBS_VIDEO, 3)]);
    // Tampered with on the way.
    let marker = scene.viewer.so_far();
    drop(marker);
    let frame = scene.delta().1;
    scene.until("the frame", |scene| scene.has(frame));
    assert_eq!(plis(&scene), 0, "{:?}", scene.publisher_rtcp);
    // A good one is heard all the same.
    scene.viewer.send_compound(&good);
    scene.until("a PLI", |scene| plis(scene) > 0);
}

#[test]
fn a_viewers_nack_is_answered_with_rtx_of_what_was_sent() {
    let site = Site::start();
    let mut scene = scene(&site);
    let frame = scene.delta().1;
    scene.until("the frame", |scene| scene.has(frame));
    let missing = scene.packets.last().cloned().expect("the frame");
    let video = missing.ssrc;
    let never_sent = missing.seq.wrapping_add(500);
    // As often as one likes: once a round trip.
    for _ in 0..5 {
        scene.viewer.send_rtcp(&[Rtcp::rr(1), Rtcp::nack(1, video, &[never_sent, missing.seq])]);
    }
    scene.until("RTX", |scene| scene.packets.iter().any(|packet| packet.ssrc != video));
    scene.viewer.so_far();
    let resent: Vec<&Rtp> = scene.packets.iter().filter(|packet| packet.ssrc != video).collect();
    assert_eq!(resent.len(), 1);
    assert_eq!(resent[0].payload, [&missing.seq.to_be_bytes()[..], &missing.payload].concat());
    assert_eq!((resent[0].time, resent[0].marker), (missing.time, missing.marker));
    let answer = section(scene.viewer.sdp(), "video");
    assert!(answer.contains(&format!("a=fmtp:{} apt={}\r\n", resent[0].pt, missing.pt)), "{answer}");
    assert!(answer.contains(&format!("a=ssrc-group:FID {video} {}\r\n", resent[0].ssrc)), "{answer}");
}

#[test]
fn without_rtx_a_resend_is_the_very_same_datagram() {
    let site = Site::start();
    let nack = [("a=rtcp-fb:97 nack pli\r\n", "a=rtcp-fb:97 nack pli\r\na=rtcp-fb:97 nack\r\n")];
    let mut scene = scene_with(&site, &changed(&offers::offer("gstreamer-1.22-viewer"), &nack));
    scene.delta();
    let video = ssrc_of(&scene.viewer, "video");
    let deadline = Instant::now() + PATIENCE;
    let (datagram, packet) = loop {
        assert!(Instant::now() < deadline);
        if let Some((datagram, Received::Rtp(packet))) = scene.viewer.receive_datagram(Duration::from_millis(20)) {
            break (datagram, packet);
        }
    };
    scene.viewer.send_rtcp(&[Rtcp::rr(1), Rtcp::nack(1, video, &[packet.seq])]);
    let again = scene.viewer.until("the same again", |received| match received {
        Received::Again(datagram) => Some(datagram),
        _ => None,
    });
    assert_eq!(again, datagram);
}

#[test]
fn tampered_packets_get_no_answer_and_leave_no_trace() {
    let site = Site::start();
    let mut scene = scene(&site);
    // A browser stops to send MID after a while.
    scene.camera.extensions.clear();
    let good = scene.camera.delta(200);
    let good = scene.publisher.protect(&good);
    for at in [1, 2, 8, 11, 40, good.len() - 1] {
        let mut forged = good.clone();
        forged[at] ^= 0x11;
        scene.publisher.send_raw(&forged);
    }
    // New SSRCs, more than a session may have, that claim to be the video.
    for ssrc in 1..100_u32 {
        let claim =
            Rtp { ssrc, pt: VIDEO, extensions: vec![(1, b"1".to_vec())], payload: vec![7; 100], ..Rtp::default() };
        scene.publisher.send_raw(&claim.bytes());
    }
    let mut report = good.clone();
    report[1] = RR;
    scene.publisher.send_raw(&report);
    let answers = scene.publisher.so_far();
    assert!(answers.iter().all(|received| matches!(received, Received::Rtcp(_))), "{answers:?}");
    scene.publisher.send_raw(&good);
    let before = scene.delta().1 - 1;
    scene.until("the untouched packet", |scene| scene.has(before));
    assert!(!scene.packets.iter().any(|packet| packet.payload == [7; 100]));
}

#[test]
fn a_publisher_that_changes_its_ssrc_goes_on_and_hundreds_of_them_are_too_many() {
    let site = Site::start();
    let mut scene = scene(&site);
    for ssrc in 1000..1200 {
        let mut other = camera();
        other.ssrc = ssrc;
        let packet = other.delta(200);
        scene.publisher.send(&packet);
    }
    // The first one is not forgotten for it.
    let frame = scene.camera.keyframe();
    frame.iter().for_each(|packet| drop(scene.publisher.send(packet)));
    let frame = scene.delta().1;
    scene.until("the frame", |scene| scene.has(frame));
}

#[test]
fn sender_reports_tell_the_time_of_one_source_and_what_was_sent() {
    let site = Site::start();
    let mut scene = scene(&site);
    let mut sound = Track::new(OBS_AUDIO, 111).with(1, b"0");
    let first = Instant::now();
    let (video, audio) = (ssrc_of(&scene.viewer, "video"), ssrc_of(&scene.viewer, "audio"));
    let reports = |scene: &Scene, ssrc: u32| {
        scene.viewer_rtcp.iter().filter(|(_, compound)| compound[0].is(SR, 0) && compound[0].word(0) == ssrc).count()
    };
    while reports(&scene, video) < 3 || reports(&scene, audio) < 3 {
        assert!(first.elapsed() < PATIENCE, "no reports");
        let packet = sound.audio();
        scene.publisher.send(&packet);
        scene.delta();
        scene.live(Duration::from_millis(20));
    }
    let mut names = Vec::new();
    for (ssrc, rate) in [(video, 90_000.0), (audio, 48_000.0)] {
        let all: Vec<&(Instant, Vec<Rtcp>)> = scene
            .viewer_rtcp
            .iter()
            .filter(|(_, compound)| compound[0].is(SR, 0) && compound[0].word(0) == ssrc)
            .collect();
        all.iter().for_each(|(_, compound)| assert_complete(compound));
        names.extend(all[0].1[1].cnames().into_iter().map(|(_, name)| name));
        let ntp = |report: &Rtcp| f64::from(report.word(1)) + f64::from(report.word(2)) / 4_294_967_296.0;
        // From the second on; between the first and the second the source's clock is still being learnt.
        let (from, to) = (&all[1].1[0], &all.last().expect("three").1[0]);
        let seconds = ntp(to) - ntp(from);
        let ticks = f64::from(to.word(3).wrapping_sub(from.word(3)));
        assert!((ticks / seconds / rate - 1.0).abs() < 0.05, "{ticks} ticks in {seconds} s at {rate}");
        let sent = scene.packets.iter().filter(|packet| packet.ssrc == ssrc);
        let counted = to.word(4) as usize;
        assert!(counted > 1 && counted <= sent.count(), "{counted} packets");
        for pair in all.windows(2) {
            let grown = pair[1].1[0].word(4) - pair[0].1[0].word(4);
            let octets = pair[1].1[0].word(5) - pair[0].1[0].word(5);
            assert!(octets >= grown * 5, "payload bytes");
        }
    }
    assert!(scene.viewer_rtcp[0].0.duration_since(first) < Duration::from_secs(5));
    assert_eq!(names[0], names[1], "lips are aligned by the CNAME");
    assert!(scene.viewer.sdp().contains(&format!(" cname:{}\r\n", names[0])));
}

#[test]
fn a_session_that_is_ended_hears_bye_and_then_dtls_goodbye() {
    let site = Site::start();
    let mut scene = scene(&site);
    let video = scene.packets[0].ssrc;
    let location = scene.viewer.accepted.location().to_owned();
    site.ask("DELETE", &location, &[], "").is(200);
    scene.until("BYE", |scene| {
        scene
            .viewer_rtcp
            .iter()
            .any(|(_, compound)| compound.last().is_some_and(|packet| packet.kind == BYE && packet.word(0) == video))
    });
    scene.viewer.until_closed();
}

#[test]
fn a_publisher_gets_reports_each_second_and_feedback_on_its_transport_each_50_to_100_ms() {
    let site = Site::start();
    let publisher = Peer::connect(&site, "/whip/cam", &offers::offer("chromium-156-publisher"), &Script::usual());
    let answer = publisher.sdp().to_owned();
    let id = |kind: &str, uri: &str| {
        let line = section(&answer, kind).lines().find(|line| line.starts_with("a=extmap:") && line.contains(uri));
        line.and_then(|line| line["a=extmap:".len()..].split([' ', '/']).next()).and_then(|id| id.parse().ok())
    };
    let twcc: u8 = id("video", "transport-wide-cc").expect("negotiated");
    let mid: u8 = id("video", "sdes:mid").expect("negotiated");
    let pt = value(section(&answer, "video"), "m=").split(' ').nth(3).and_then(|pt| pt.parse().ok()).expect("a format");
    let video_mid = value(section(&answer, "video"), "a=mid:").to_owned();
    let mut publisher = publisher;
    let mut track = Track::new(77, pt).with(mid, video_mid.as_bytes());
    let (mut feedback, mut reports) = (Vec::new(), Vec::new());
    let began = Instant::now();
    for number in 0_u16.. {
        assert!(began.elapsed() < PATIENCE, "{} and {}", feedback.len(), reports.len());
        if feedback.len() > 20 && reports.len() > 2 {
            break;
        }
        let mut packet = track.delta(100);
        packet.extensions.push((twcc, number.to_be_bytes().to_vec()));
        publisher.send(&packet);
        let Some(Received::Rtcp(compound)) = publisher.receive(Duration::from_millis(5)) else { continue };
        assert!(!compound.iter().any(|packet| packet.is(PSFB, 15)), "REMB was not negotiated");
        let now = Instant::now();
        if compound.iter().any(|packet| packet.is(RTPFB, 15)) {
            assert_eq!(compound.len(), 1, "reduced size was negotiated");
            feedback.push(now);
        }
        if compound[0].is(RR, 1) {
            assert_eq!(compound[0].word(1), 77);
            reports.push(now);
        }
    }
    let mean = |times: &[Instant]| (times[times.len() - 1] - times[0]) / (times.len() as u32 - 1);
    // Not more often; how much later a busy machine is says nothing.
    assert!(mean(&feedback) >= Duration::from_millis(45), "{:?}", mean(&feedback));
    assert!(mean(&reports) >= Duration::from_millis(900), "{:?}", mean(&reports));
}

#[test]
fn viewers_get_their_own_header_and_nothing_of_the_publishers() {
    let site = Site::start();
    let mut scene = scene(&site);
    let answer = section(scene.viewer.sdp(), "video").to_owned();
    let mid_id: u8 =
        value(&answer, "a=extmap:").split([' ', '/']).next().and_then(|id| id.parse().ok()).expect("an id");
    assert!(answer.contains(&format!("a=extmap:{mid_id} urn:ietf:params:rtp-hdrext:sdes:mid")), "{answer}");
    let mid = value(&answer, "a=mid:").as_bytes().to_vec();
    // The longest packet that may come, and one that is only padding.
    let mut padding = scene.camera.packet(false, Vec::new());
    padding.padding = 200;
    scene.publisher.send(&padding);
    let long = scene.camera.delta(1150);
    scene.publisher.send(&long);
    let last = scene.delta().1;
    scene.until("the frames", |scene| scene.has(last));
    let pt: u8 = value(&answer, "m=").split(' ').nth(3).and_then(|pt| pt.parse().ok()).expect("a format");
    for packet in &scene.packets {
        assert!(!packet.payload.is_empty() && packet.pt == pt);
        assert!(packet.extensions.iter().all(|(id, value)| (*id, value) == (mid_id, &mid)), "{:?}", packet.extensions);
        assert!(packet.bytes().len() + 16 <= 1200, "protocol.md 9.2");
    }
    assert!(scene.packets[0].extension(mid_id).is_some(), "it is how the first packets are told apart");
    assert!(scene.packets.windows(2).all(|pair| pair[1].seq == pair[0].seq.wrapping_add(1)), "padding leaves no gap");
    assert!(scene.packets.windows(2).all(|pair| pair[0].ssrc == pair[1].ssrc));
    assert_eq!(scene.packets.last().and_then(frame_of), Some(last));
}
