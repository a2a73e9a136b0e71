//! Numbers that cannot be right are not believed, unless the sender has begun anew with them.

use whipstitch_media::Kind;

use crate::kit::{ALICE, BOB, DELTA, KEY, Scene, accept, only, seqs, subscription};

#[test]
fn one_absurd_number_does_not_stop_the_stream() {
    let mut scene = Scene::published();
    let mut viewer = subscription(Kind::Video);
    accept(&mut viewer, &scene.video(10, 0, KEY));
    assert!(scene.video(20_000, 3000, DELTA).is_empty());
    assert_eq!(accept(&mut viewer, &scene.video(11, 3000, DELTA)), [1001]);
    assert!(scene.video(20_001, 3000, DELTA).is_empty(), "not two in a row");
    assert_eq!(accept(&mut viewer, &scene.video(12, 6000, DELTA)), [1002]);
    assert_eq!(scene.stream.stats(scene.now).tracks.video.map(|track| track.misplaced), Some(2));
}

#[test]
fn a_loss_of_3000_packets_is_a_loss() {
    let mut scene = Scene::published();
    let mut viewer = subscription(Kind::Video);
    accept(&mut viewer, &scene.video(10, 0, KEY));
    assert_eq!(accept(&mut viewer, &scene.video(3010, 3000, DELTA)), [4000]);
}

#[test]
fn two_in_a_row_far_ahead_are_a_new_beginning() {
    let mut scene = Scene::published();
    let last = only(scene.video(10, 0, KEY));
    scene.wait(1000);
    assert!(scene.video(30_000, 1_000_000, KEY).is_empty());
    let packets = scene.video(30_001, 1_003_000, DELTA);
    assert_eq!(seqs(&packets), [last.packet.seq + 1, last.packet.seq + 2], "the first of the two is not lost");
    assert!(packets[0].start);
    assert_eq!(packets[0].packet.time, last.packet.time + 90_000, "time goes on by what really passed");
}

#[test]
fn a_new_beginning_starts_at_a_keyframe() {
    let mut scene = Scene::published();
    let last = only(scene.video(10, 0, KEY));
    scene.video(30_000, 0, DELTA);
    assert!(scene.video(30_001, 0, DELTA).is_empty());
    assert!(!scene.outputs().is_empty(), "which is asked for");
    assert_eq!(only(scene.video(30_002, 0, KEY)).packet.seq, last.packet.seq + 1);
}

#[test]
fn far_behind_is_a_new_beginning_only_after_a_second_of_silence() {
    let mut scene = Scene::published();
    let packet = scene.packet(50_000, 0, b"opus");
    let last = only(scene.push(ALICE, Kind::Audio, packet));
    // Repairs that come too late come in a row as well.
    assert!(scene.audio(40_000, 0).is_empty());
    assert!(scene.audio(40_001, 0).is_empty());
    scene.wait(1000);
    assert!(scene.audio(100, 0).is_empty());
    assert_eq!(seqs(&scene.audio(101, 960)), [last.packet.seq + 1, last.packet.seq + 2]);
}

#[test]
fn a_publisher_that_says_which_track_begins_anew_is_believed_at_once() {
    let mut scene = Scene::published();
    let (last, sound) = (only(scene.video(10, 0, KEY)), only(scene.audio(10, 0)));
    scene.outputs();
    scene.wait(500);
    scene.stream.restarted(BOB, Kind::Video);
    assert_eq!(only(scene.video(11, 3000, DELTA)).packet.seq, last.packet.seq + 1, "not if another says so");
    scene.stream.restarted(ALICE, Kind::Video);
    // Numbers that might continue what was, and do not.
    assert!(scene.video(13, 900_000, DELTA).is_empty());
    assert!(!scene.outputs().is_empty(), "a keyframe is asked for");
    let first = only(scene.video(14, 903_000, KEY));
    assert_eq!(first.packet.seq, last.packet.seq + 2, "without a gap");
    assert_eq!(only(scene.audio(11, 960)).packet.seq, sound.packet.seq + 1, "the other track is not touched");
}
