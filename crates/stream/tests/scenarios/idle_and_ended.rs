//! A stream outlives its publisher for a while, and then says so.

use std::time::Duration;

use whipstitch_media::Codec;
use whipstitch_stream::{Config, Output};

use crate::kit::{ALICE, BOB, KEY, Scene, tracks};

#[test]
fn it_ends_after_the_grace_time_and_is_idle_after_its_time_to_live() {
    let mut scene = Scene::published();
    assert_eq!(scene.stream.deadline(), None);
    scene.stream.unpublish(scene.now, ALICE);
    let gone = scene.now;
    scene.wait(14_999);
    assert!(scene.outputs().is_empty());
    assert_eq!(scene.next_outputs(), [Output::Ended]);
    assert_eq!(scene.now, gone + Duration::from_secs(15));
    assert_eq!(scene.next_outputs(), [Output::Idle]);
    assert_eq!(scene.now, gone + Duration::from_secs(60));
    assert_eq!(scene.next_outputs(), [Output::Idle], "said again if the stream is kept");
    assert_eq!(scene.now, gone + Duration::from_secs(120));
}

#[test]
fn a_publisher_in_time_keeps_it() {
    let mut scene = Scene::published();
    scene.video(1, 0, KEY);
    scene.stream.unpublish(scene.now, ALICE);
    scene.wait(14_000);
    scene.publish(BOB);
    scene.wait(100_000);
    assert!(scene.outputs().is_empty());
    assert_eq!(scene.stream.deadline(), None);
}

#[test]
fn where_subscribers_stay_the_grace_time_begins_anew() {
    let mut scene = Scene::published();
    scene.stream.unpublish(scene.now, ALICE);
    let gone = scene.now;
    for times in 1..=3 {
        assert_eq!(scene.next_outputs(), [Output::Ended]);
        assert_eq!(scene.now, gone + times * Duration::from_secs(15));
        scene.stream.stay(scene.now);
    }
    scene.publish(BOB);
    scene.outputs();
    scene.stream.stay(scene.now);
    assert_eq!(scene.stream.deadline(), None, "somebody publishes");
}

#[test]
fn without_a_grace_time_subscribers_wait_for_ever() {
    let mut scene = Scene::with(Config { grace: None, ..Config::default() });
    scene.publish(ALICE);
    scene.stream.unpublish(scene.now, ALICE);
    assert_eq!(scene.next_outputs(), [Output::Idle]);
}

#[test]
fn who_comes_after_the_end_is_told_of_it_too() {
    let mut scene = Scene::published();
    scene.stream.unpublish(scene.now, ALICE);
    scene.stream.subscriber_joined(scene.now, None);
    assert!(scene.outputs().is_empty(), "the grace time has begun when the publisher went");
    assert_eq!(scene.next_outputs(), [Output::Ended]);
    for _ in 0..2 {
        scene.stream.subscriber_joined(scene.now, None);
        assert_eq!(scene.outputs(), [Output::Ended]);
    }
    scene.publish(BOB);
    scene.stream.subscriber_joined(scene.now, None);
    assert!(!scene.outputs().contains(&Output::Ended));
}

#[test]
fn a_subscriber_who_comes_puts_idleness_off() {
    let mut scene = Scene::with(Config { grace: None, ..Config::default() });
    scene.wait(50_000);
    scene.stream.subscriber_joined(scene.now, None);
    let joined = scene.now;
    assert_eq!(scene.next_outputs(), [Output::Idle]);
    assert_eq!(scene.now, joined + Duration::from_secs(60));
}

#[test]
fn changed_tracks_are_told_once_and_the_same_tracks_not_at_all() {
    let mut scene = Scene::empty();
    scene.stream.publish(scene.now, ALICE, tracks(Codec::Vp8));
    assert_eq!(scene.outputs(), [Output::TracksChanged], "the first are a change too");
    scene.stream.unpublish(scene.now, ALICE);
    assert_eq!(*scene.stream.tracks(), tracks(Codec::Vp8), "still those that were last");
    scene.stream.publish(scene.now, BOB, tracks(Codec::Vp8));
    assert!(scene.outputs().is_empty());
    scene.stream.publish(scene.now, ALICE, tracks(Codec::H264));
    assert_eq!(scene.outputs(), [Output::TracksChanged]);
}
