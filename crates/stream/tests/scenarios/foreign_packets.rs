//! Only the publisher's packets count.

use whipstitch_media::{Codec, Kind};
use whipstitch_stream::Tracks;

use crate::kit::{ALICE, BOB, DELTA, KEY, Scene, only, tracks};

#[test]
fn packets_of_a_session_that_does_not_publish_are_ignored() {
    let mut scene = Scene::published();
    let packet = scene.packet(1, 0, KEY);
    assert!(scene.push(BOB, Kind::Video, packet).is_empty());
    assert_eq!(scene.stream.stats(scene.now).foreign, 1);
}

#[test]
fn the_old_publishers_packets_are_ignored_after_a_switch() {
    let mut scene = Scene::published();
    scene.video(10, 0, KEY);
    scene.publish(BOB);
    assert!(scene.video(11, 3000, DELTA).is_empty());
    let packet = scene.packet(700, 5000, KEY);
    let first = only(scene.push(BOB, Kind::Video, packet));
    assert!(scene.video(12, 6000, KEY).is_empty());
    let packet = scene.packet(701, 8000, DELTA);
    assert_eq!(only(scene.push(BOB, Kind::Video, packet)).packet.seq, first.packet.seq + 1);
}

#[test]
fn the_old_publishers_end_does_not_end_the_new_one() {
    let mut scene = Scene::published();
    scene.publish(BOB);
    scene.stream.unpublish(scene.now, ALICE);
    assert_eq!(scene.stream.publisher(), Some(BOB));
    scene.stream.unpublish(scene.now, BOB);
    assert_eq!(scene.stream.publisher(), None);
    let packet = scene.packet(1, 0, KEY);
    assert!(scene.push(BOB, Kind::Video, packet).is_empty());
}

#[test]
fn a_kind_that_was_not_announced_is_ignored() {
    let mut scene = Scene::empty();
    scene.stream.publish(scene.now, ALICE, Tracks { audio: None, ..tracks(Codec::Vp8) });
    assert!(scene.audio(1, 0).is_empty());
    assert_eq!(scene.video(1, 0, KEY).len(), 1);
}
