//! Numbers and times run over the ends of the wire's 16 and 32 bits as if there were none.

use whipstitch_media::Kind;
use whipstitch_media::sequence::Unwrap;
use whipstitch_media::time::Unwrap32;
use whipstitch_stream::Subscription;

use crate::kit::{DELTA, KEY, Scene, only};

#[test]
fn both_sides_wrap_and_nothing_is_seen_of_it() {
    let mut scene = Scene::published();
    let (mut seqs, mut times) = (Unwrap::new(), Unwrap32::new());
    // The publisher wraps after 6 packets, the subscriber's numbers after 32769, its times at once.
    let mut viewer = Subscription::new(Kind::Video, 0x7fff, u32::MAX - 1000);
    let mut last = None;
    for step in 0..70_000u32 {
        scene.wait(1);
        let seq = 65_530u16.wrapping_add(step as u16);
        let time = (u32::MAX - 9000).wrapping_add(3000 * step);
        let payload = if step == 0 { KEY } else { DELTA };
        let packet = only(scene.video(seqs.extend(seq), times.extend(time), payload));
        let sent = viewer.accept(&packet).expect("in order");
        if let Some((seq, time)) = last.replace((sent.seq, sent.time)) {
            assert_eq!(sent.seq, seq + 1);
            assert_eq!(sent.time.wrapping_sub(time), 3000);
        }
        assert_eq!(viewer.extend(sent.seq as u16), sent.seq);
        assert_eq!(viewer.source_of(sent.seq), Some(packet.packet.seq));
    }
    assert_eq!(viewer.newest(), Some(0x7fff + 69_999));
}

#[test]
fn a_late_packet_from_before_the_wrap_keeps_its_place() {
    let mut scene = Scene::published();
    let (mut seqs, mut times) = (Unwrap::new(), Unwrap32::new());
    let mut viewer = Subscription::new(Kind::Video, 0, 0);
    let mut send = |seq: u16, time: u32, payload: &[u8]| {
        let packet = only(scene.video(seqs.extend(seq), times.extend(time), payload));
        viewer.accept(&packet).map(|sent| (sent.seq, sent.time))
    };
    let (first, begin) = send(65_534, u32::MAX - 2999, KEY).expect("a start");
    assert_eq!(send(1, 6000, DELTA), Some((first + 3, begin.wrapping_add(9000))));
    assert_eq!(send(65_535, 0, DELTA), Some((first + 1, begin.wrapping_add(3000))));
    assert_eq!(send(0, 3000, DELTA), Some((first + 2, begin.wrapping_add(6000))));
}
