//! A stream goes on when its publisher changes: numbers continue, time runs, video starts at a keyframe.

use whipstitch_media::Kind;
use whipstitch_stream::Rewritten;

use crate::kit::{ALICE, BOB, DELTA, KEY, Scene, accept, only, subscription};

#[test]
fn numbers_continue_and_time_is_what_really_passed() {
    let mut scene = Scene::published();
    scene.video(60_000, 4_000_000, KEY);
    let audio = only(scene.audio(7, 1));
    let last = only(scene.video(60_001, 4_003_000, DELTA));
    scene.stream.unpublish(scene.now, ALICE);
    scene.wait(2500);
    scene.publish(BOB);
    scene.wait(500);
    let packet = scene.packet(3, 17, KEY);
    let first = only(scene.push(BOB, Kind::Video, packet));
    assert_eq!(first.packet.seq, last.packet.seq + 1);
    assert_eq!(first.packet.time, last.packet.time + 3 * 90_000);
    scene.wait(100);
    let packet = scene.packet(900, 1 << 40, b"opus");
    let first = only(scene.push(BOB, Kind::Audio, packet));
    assert_eq!(first.packet.seq, audio.packet.seq + 1);
    assert_eq!(first.packet.time, audio.packet.time + 31 * 4_800);
}

#[test]
fn time_moves_by_a_tick_at_least() {
    let mut scene = Scene::published();
    let last = only(scene.video(10, 90_000, KEY));
    scene.publish(BOB);
    let packet = scene.packet(10, 0, KEY);
    assert_eq!(only(scene.push(BOB, Kind::Video, packet)).packet.time, last.packet.time + 1);
}

#[test]
fn time_goes_on_from_the_highest_even_with_b_frames() {
    let mut scene = Scene::published();
    scene.video(10, 0, KEY);
    let highest = only(scene.video(11, 9000, DELTA));
    scene.video(12, 3000, DELTA);
    scene.publish(BOB);
    let packet = scene.packet(10, 0, KEY);
    assert_eq!(only(scene.push(BOB, Kind::Video, packet)).packet.time, highest.packet.time + 1);
}

#[test]
fn video_of_the_new_publisher_is_held_back_until_a_keyframe() {
    let mut scene = Scene::published();
    let last = only(scene.video(10, 0, KEY));
    scene.publish(BOB);
    for (seq, payload, forwarded) in [(500, DELTA, 0), (501, DELTA, 0), (502, KEY, 1), (503, DELTA, 1)] {
        let packet = scene.packet(seq, 0, payload);
        let packets = scene.push(BOB, Kind::Video, packet);
        assert_eq!(packets.len(), forwarded, "{seq}");
        if seq == 502 {
            assert_eq!((packets[0].start, packets[0].packet.seq), (true, last.packet.seq + 1));
        }
    }
}

#[test]
fn a_subscriber_notices_nothing_but_the_time_that_passed() {
    let mut scene = Scene::published();
    let mut viewer = subscription(Kind::Video);
    accept(&mut viewer, &scene.video(10, 0, KEY));
    let last = viewer.accept(&only(scene.video(11, 3000, DELTA)));
    scene.wait(1000);
    scene.publish(BOB);
    let packet = scene.packet(40_000, 777, KEY);
    let first = viewer.accept(&only(scene.push(BOB, Kind::Video, packet)));
    let (Some(last), Some(first)) = (last, first) else { panic!("both are sent") };
    assert_eq!(first, Rewritten { seq: last.seq + 1, time: last.time.wrapping_add(90_000) });
}

#[test]
fn the_same_session_may_publish_anew() {
    let mut scene = Scene::published();
    let last = only(scene.video(10, 0, KEY));
    scene.publish(ALICE);
    assert!(scene.video(11, 3000, DELTA).is_empty(), "held back again");
    assert_eq!(only(scene.video(90, 3000, KEY)).packet.seq, last.packet.seq + 1);
}

#[test]
fn a_track_that_was_away_for_one_publisher_goes_on_with_the_next() {
    let mut scene = Scene::published();
    let last = only(scene.audio(10, 0));
    let tracks = scene.stream.tracks().clone();
    scene.stream.publish(scene.now, BOB, whipstitch_stream::Tracks { audio: None, ..tracks });
    scene.wait(10_000);
    scene.publish(ALICE);
    let next = only(scene.audio(99, 5));
    assert_eq!(next.packet.seq, last.packet.seq + 1);
    assert_eq!(next.packet.time, last.packet.time + 480_000);
}
