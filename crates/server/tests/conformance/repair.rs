//! A publisher of which packets are lost, and who resends what it is asked for half a second later: its viewers see no gap
//! (protocol.md 8.2).

use std::collections::{HashMap, VecDeque};

use crate::kit::peer::media::{Scene, Track, frame_of};
use crate::kit::peer::rtp::Rtp;
use crate::kit::peer::{Peer, Script};
use crate::kit::{Site, changed, offers};

/// Packets of 8 Mbit/s in half a second.
const LATE: usize = 420;

const PACKETS: usize = 2000;

fn viewer(site: &Site) -> Peer {
    Peer::connect(site, "/whep/cam", &offers::offer("chromium-156-viewer"), &Script::usual())
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
    // H.264 alone, which is what the camera speaks.
    let offer = changed(&offers::offer("chromium-156-publisher"), &[(" 96 97 102 ", " 102 ")]);
    let gone = ["a=rtpmap:96 ", "a=rtcp-fb:96 ", "a=rtpmap:97 ", "a=fmtp:97 "];
    let kept = |line: &&str| !gone.iter().any(|gone| line.starts_with(gone));
    let offer: String = offer.split_inclusive('\n').filter(kept).collect();
    let publisher = Peer::connect(&site, "/whip/cam", &offer, &Script::usual());
    let mut scene = Scene::begin(publisher, viewer(&site), Track::new(649_021_968, 102));
    let mut repair = Track::new(3_217_702_994, 103);
    a_twentieth_is_lost(&mut scene, |publisher, packet, _| {
        // RFC 4588 4: the time and the marker are the original's.
        let mut resent = repair.packet(packet.marker, [&packet.seq.to_be_bytes(), &packet.payload[..]].concat());
        resent.time = packet.time;
        publisher.send(&resent);
    });
}
