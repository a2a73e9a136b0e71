//! Audio does not wait for video, nor for anything else.

use whipstitch_media::Kind;

use crate::kit::{DELTA, Scene, accept, only, subscription};

#[test]
fn audio_is_forwarded_while_video_is_held_back() {
    let mut scene = Scene::published();
    assert!(scene.video(10, 0, DELTA).is_empty());
    let first = only(scene.audio(500, 9600));
    assert!(first.start);
    assert_eq!(first.kind(), Kind::Audio);
}

#[test]
fn a_subscriber_gets_the_next_audio_packet_as_its_first() {
    let mut scene = Scene::published();
    scene.audio(500, 9600);
    let mut late_comer = subscription(Kind::Audio);
    let packets = [scene.audio(501, 10560), scene.audio(502, 11520)].concat();
    assert_eq!(accept(&mut late_comer, &packets), [1000, 1001]);
}

#[test]
fn gaps_of_silence_in_time_are_not_gaps_in_numbers() {
    // Opus DTX: RTP time goes on, numbers do not.
    let mut scene = Scene::published();
    let before = only(scene.audio(1, 960));
    scene.wait(400);
    let after = only(scene.audio(2, 960 + 19_200));
    assert_eq!(after.packet.seq, before.packet.seq + 1);
    assert_eq!(after.packet.time - before.packet.time, 19_200);
}
