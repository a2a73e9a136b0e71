//! A publisher of which packets are lost, and who resends what it is asked for half a second later: its viewers see no gap
//! (protocol.md 8.2).

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::kit::peer::media::{Scene, Track, frame_of};
use crate::kit::peer::rtp::{APP, BYE, RR, RTPFB, Rtcp, Rtp, SDES, SR, XR};
use crate::kit::peer::{Peer, Received, Script, value};
use crate::kit::{PATIENCE, Site, changed, offers};

/// Packets of 8 Mbit/s in half a second.
const LATE: usize = 420;

const PACKETS: usize = 1000;

fn viewer(site: &Site) -> Peer {
    Peer::connect(site, "/whep/cam", &offers::offer("chromium-156-viewer"), &Script::usual())
}

/// Chromium's SSRCs.
const BROWSER: u32 = 649_021_968;
const BROWSER_RTX: u32 = 3_217_702_994;

/// Chromium's offer with H.264 alone, which is what the camera speaks.
fn browsers_offer(rtx: bool) -> String {
    let formats = if rtx { " 102 103 " } else { " 102 " };
    let offer = changed(&offers::offer("chromium-156-publisher"), &[(" 96 97 102 103 ", formats)]);
    let gone = ["a=rtpmap:96 ", "a=rtcp-fb:96 ", "a=rtpmap:97 ", "a=fmtp:97 ", "a=rtpmap:103 ", "a=fmtp:103 "];
    let gone = &gone[..if rtx { 4 } else { 6 }];
    offer.split_inclusive('\n').filter(|line| !gone.iter().any(|gone| line.starts_with(gone))).collect()
}

fn browser(site: &Site, rtx: bool) -> Scene {
    let publisher = Peer::connect(site, "/whip/cam", &browsers_offer(rtx), &Script::usual());
    Scene::begin(publisher, viewer(site), Track::new(BROWSER, 102))
}

/// A twentieth of the packets is lost. `resend` answers when it is asked for one.
#[track_caller]
fn a_twentieth_is_lost(scene: &mut Scene, mut resend: impl FnMut(&mut Peer, &Rtp, &[u8])) {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut lost: HashMap<u16, (Rtp, Vec<u8>)> = HashMap::new();
    let (mut answers, mut heard, mut sent) = (VecDeque::new(), 0, 0);
    let first = scene.delta().1;
    let mut last = first;
    while sent < PACKETS || !lost.is_empty() {
        assert!(sent < 3 * PACKETS, "nobody asks for {:?}", lost.keys());
        sent += 1;
        let packet = scene.camera.delta(200);
        last = frame_of(&packet).expect("a slice");
        // Xorshift.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        if sent < PACKETS && random.is_multiple_of(20) {
            let datagram = scene.publisher.protect(&packet);
            lost.insert(packet.seq, (packet, datagram));
            continue;
        }
        scene.publisher.send(&packet);
        if sent.is_multiple_of(20) {
            // Who says nothing for half a minute is given up, and this may take longer on a busy machine.
            let check = scene.viewer.write_check(false);
            scene.viewer.send_raw(&check);
            scene.until("the frames", |scene| scene.has(last));
        }
        let asked = scene.nacked();
        answers.extend(asked[heard..].iter().map(|seq| (sent + LATE, *seq)));
        heard = asked.len();
        while answers.front().is_some_and(|(due, _)| *due <= sent) {
            let (_, seq) = answers.pop_front().expect("there is one");
            if let Some((packet, datagram)) = lost.remove(&seq) {
                resend(&mut scene.publisher, &packet, &datagram);
            }
        }
    }
    let wanted = (last - first + 1) as usize;
    let frames = |scene: &Scene| {
        let mut frames: Vec<u32> = scene.packets.iter().filter_map(frame_of).filter(|frame| *frame >= first).collect();
        frames.sort_unstable();
        frames
    };
    scene.until("every frame", |scene| frames(scene).len() >= wanted);
    assert!(frames(scene).into_iter().eq(first..=last), "each comes once");
    // Without a gap for the viewer too, who has nothing to ask for.
    let mut numbers: Vec<u16> = scene.packets.iter().map(|packet| packet.seq).collect();
    let begin = numbers[0];
    numbers.sort_by_key(|seq| seq.wrapping_sub(begin));
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)));
}

#[test]
fn obs_resends_the_same_packets_half_a_second_late_and_viewers_see_no_gap() {
    let site = Site::start();
    let publisher = Peer::connect(&site, "/whip/cam", &offers::offer("obs-32"), &Script::usual());
    let camera = Track::new(2_980_561_138, 96).with(1, b"1").with(2, b"0");
    let mut scene = Scene::begin(publisher, viewer(&site), camera);
    a_twentieth_is_lost(&mut scene, |publisher, _, datagram| publisher.send_raw(datagram));
}

#[test]
fn a_browser_resends_by_rtx_half_a_second_late_and_viewers_see_no_gap() {
    let site = Site::start();
    let mut scene = browser(&site, true);
    let mut repair = Track::new(BROWSER_RTX, 103);
    a_twentieth_is_lost(&mut scene, |publisher, packet, _| {
        // RFC 4588 4: the time and the marker are the original's.
        let mut resent = repair.packet(packet.marker, [&packet.seq.to_be_bytes(), &packet.payload[..]].concat());
        resent.time = packet.time;
        publisher.send(&resent);
    });
}

#[test]
fn what_is_resent_late_without_rtx_is_no_loss_to_congestion_control() {
    let site = Site::start();
    let offer = browsers_offer(false);
    let mut publisher = Peer::connect(&site, "/whip/cam", &offer, &Script::usual());
    let line = offer.lines().find(|line| line.starts_with("a=extmap:") && line.contains("transport-wide-cc"));
    let id: u8 = line.and_then(|line| line["a=extmap:".len()..].split(' ').next()?.parse().ok()).expect("offered");
    assert!(!value(publisher.sdp(), "m=video").contains("103"), "{}", publisher.sdp());
    let mut camera = Track::new(BROWSER, 102);
    let mut number = 0_u16;
    let mut send = |publisher: &mut Peer, mut packet: Rtp| {
        packet.extensions.push((id, number.to_be_bytes().to_vec()));
        number += 1;
        publisher.send(&packet);
        number - 1
    };
    for packet in camera.keyframe() {
        send(&mut publisher, packet);
    }
    let lost = camera.delta(200);
    for _ in 0..200 {
        send(&mut publisher, camera.delta(200));
    }
    // With a number of its own for the transport, as everything that is sent.
    let late = send(&mut publisher, lost);
    let last = send(&mut publisher, camera.delta(200));
    let mut told = HashMap::new();
    let deadline = Instant::now() + PATIENCE;
    while !told.contains_key(&last) {
        assert!(Instant::now() < deadline, "{} packets are reported", told.len());
        let Some(Received::Rtcp(compound)) = publisher.receive(Duration::from_millis(5)) else { continue };
        told.extend(compound.iter().filter(|packet| packet.is(RTPFB, 15)).flat_map(Rtcp::transport));
    }
    assert_eq!((told.get(&late), told.values().filter(|came| !**came).count()), (Some(&true), 0));
}

#[test]
fn what_a_leap_in_numbers_left_out_is_not_asked_for() {
    let site = Site::start();
    let mut scene = browser(&site, true);
    // Everything that was left out would be more than a path can carry.
    scene.camera.seq = scene.camera.seq.wrapping_add(30_000);
    // The stream begins anew with the second packet behind it, if a decoder can.
    for _ in 0..2 {
        let frame = scene.camera.keyframe();
        frame.iter().for_each(|packet| drop(scene.publisher.send(packet)));
    }
    let frame = scene.delta().1;
    scene.until("a frame behind the leap", |scene| scene.has(frame));
    assert!(scene.nacked().is_empty(), "{:?}", scene.nacked());
    let lost = scene.camera.delta(200);
    scene.delta();
    scene.until("a request", |scene| !scene.nacked().is_empty());
    assert!(scene.nacked().iter().all(|seq| *seq == lost.seq), "{:?}", scene.nacked());
}

#[test]
fn floods_of_a_publishers_rtcp_and_broken_compounds_change_nothing() {
    let site = Site::start();
    let mut scene = browser(&site, true);
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..2000_u32 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let kind = [SR, RR, SDES, BYE, APP, RTPFB, 206, XR, 208][round as usize % 9];
        // Of a sender that nobody knows or of the camera, any count, and a body of any words.
        let sender = if round % 2 == 0 { BROWSER } else { BROWSER + round % 16 };
        let words = random as usize % 40;
        let mut body = sender.to_be_bytes().to_vec();
        body.extend((0..words).flat_map(|word| (random.rotate_left(word as u32) as u32).to_be_bytes()));
        let mut bytes = [Rtcp::rr(sender).bytes(), Rtcp::new(kind, (random >> 40) as u8 & 31, body).bytes()].concat();
        // Lengths that lie, padding that is none, and packets that are cut off.
        match round % 7 {
            1 => bytes[11] = random as u8,
            2 => bytes[8] |= 0x20,
            3 => bytes.truncate(12 + (random >> 20) as usize % 8 / 4 * 4),
            _ => {}
        }
        scene.publisher.send_compound(&bytes);
    }
    let lost = scene.camera.delta(200);
    let behind = scene.delta().1;
    scene.until("the frame behind and a request", |scene| scene.has(behind) && scene.nacked().contains(&lost.seq));
    scene.publisher.send(&lost);
    let missing = frame_of(&lost).expect("a slice");
    scene.until("the lost frame", |scene| scene.has(missing));
}
