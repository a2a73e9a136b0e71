//! Many subscribers ask for a key picture, the publisher hears one request.

use std::time::Duration;

use whipstitch_media::Kind;
use whipstitch_stream::Output;

use crate::kit::{ALICE, BOB, DELTA, KEY, Scene};

const ASKED: [Output; 1] = [Output::RequestKeyframe { publisher: ALICE }];

/// Alice has begun, so nothing is wanted.
fn running() -> Scene {
    let mut scene = Scene::published();
    scene.video(1, 0, KEY);
    assert!(scene.outputs().is_empty());
    scene
}

fn ask(scene: &mut Scene) {
    scene.stream.request_keyframe(scene.now, Kind::Video);
}

#[test]
fn requests_of_a_thousand_viewers_give_one() {
    let mut scene = running();
    let mut asked = 0;
    for viewer in 0..1000 {
        if viewer % 2 == 0 {
            ask(&mut scene);
        } else {
            scene.stream.subscriber_joined(scene.now, None);
        }
        asked += scene.outputs().len();
        // All within less than half a second.
        scene.now += Duration::from_micros(499);
    }
    assert_eq!(asked, 1);
}

#[test]
fn requests_are_repeated_until_a_keyframe_arrives() {
    let mut scene = running();
    ask(&mut scene);
    assert_eq!(scene.outputs(), ASKED);
    let first = scene.now;
    assert_eq!(scene.next_outputs(), ASKED);
    assert_eq!(scene.now - first, Duration::from_millis(500));
    scene.wait(100);
    scene.video(2, 3000, DELTA);
    assert!(scene.stream.deadline().is_some(), "that was none");
    scene.video(3, 6000, KEY);
    assert_eq!(scene.stream.deadline(), None);
}

#[test]
fn requests_stop_after_five_and_go_on_with_new_demand() {
    let mut scene = running();
    ask(&mut scene);
    let mut asked = scene.outputs().len();
    while scene.stream.deadline().is_some() {
        asked += scene.next_outputs().len();
    }
    assert_eq!(asked, 5);
    ask(&mut scene);
    assert!(scene.outputs().is_empty(), "joins the last one");
    scene.wait(500);
    ask(&mut scene);
    assert_eq!(scene.outputs(), ASKED);
    assert!(scene.stream.deadline().is_some(), "and is repeated like the first");
    assert_eq!(scene.stream.stats(scene.now).keyframe_requests, 6);
}

#[test]
fn requests_are_500_ms_apart_even_when_keyframes_arrive_between() {
    let mut scene = running();
    ask(&mut scene);
    assert_eq!(scene.outputs(), ASKED);
    let first = scene.now;
    scene.wait(50);
    scene.video(2, 3000, KEY);
    ask(&mut scene);
    assert!(scene.outputs().is_empty());
    assert_eq!(scene.next_outputs(), ASKED);
    assert_eq!(scene.now - first, Duration::from_millis(500));
}

#[test]
fn a_long_round_trip_puts_the_repetition_off() {
    let mut scene = running();
    scene.stream.set_rtt(ALICE, Duration::from_millis(400));
    scene.stream.set_rtt(BOB, Duration::from_secs(9));
    ask(&mut scene);
    scene.outputs();
    let first = scene.now;
    assert_eq!(scene.next_outputs(), ASKED);
    assert_eq!(scene.now - first, Duration::from_millis(800));
}

#[test]
fn video_that_will_never_come_is_asked_for_a_keyframe_unless_one_came_since() {
    let mut scene = running();
    scene.video(2, 3000, DELTA);
    scene.video(5, 6000, DELTA);
    scene.stream.lost(scene.now, BOB, 4);
    scene.stream.lost(scene.now, ALICE, 0);
    assert!(scene.outputs().is_empty());
    scene.stream.lost(scene.now, ALICE, 4);
    assert_eq!(scene.outputs(), ASKED);
    scene.wait(1000);
    scene.outputs();
    scene.video(6, 9000, KEY);
    scene.wait(1000);
    scene.stream.lost(scene.now, ALICE, 5);
    assert!(scene.outputs().is_empty());
    scene.stream.lost(scene.now, ALICE, 6);
    assert_eq!(scene.outputs(), ASKED, "a part of the key picture itself");
}

#[test]
fn a_publisher_that_begins_without_a_keyframe_is_asked() {
    let mut scene = Scene::published();
    assert!(scene.outputs().is_empty(), "most begin with one");
    scene.video(1, 0, DELTA);
    assert_eq!(scene.outputs(), ASKED);
}

#[test]
fn nobody_is_asked_without_a_publisher_or_for_audio() {
    let mut scene = Scene::empty();
    ask(&mut scene);
    assert!(scene.outputs().is_empty());
    let mut scene = running();
    scene.stream.request_keyframe(scene.now, Kind::Audio);
    assert!(scene.outputs().is_empty());
}

#[test]
fn a_new_publisher_inherits_no_request() {
    let mut scene = running();
    ask(&mut scene);
    scene.stream.publish(scene.now, BOB, scene.stream.tracks().clone());
    assert!(scene.outputs().is_empty());
    let packet = scene.packet(50, 0, DELTA);
    scene.push(BOB, Kind::Video, packet);
    assert_eq!(scene.outputs(), [Output::RequestKeyframe { publisher: BOB }], "though Alice was asked just now");
}

#[test]
fn a_publisher_that_ignores_requests_is_not_asked_for_ever_for_its_first_keyframe() {
    let mut scene = Scene::published();
    let mut asked = 0;
    for frame in 1..=300 {
        scene.video(frame, frame * 3000, DELTA);
        asked += scene.outputs().len();
        scene.wait(33);
    }
    assert_eq!(asked, 5);
    ask(&mut scene);
    assert_eq!(scene.outputs(), ASKED, "a subscriber's demand counts");
}

#[test]
fn who_is_replayed_a_fresh_start_costs_nobody_a_keyframe() {
    for (age, asked) in [(Some(2000), 0), (Some(2001), 1), (None, 1)] {
        let mut scene = running();
        scene.stream.subscriber_joined(scene.now, age.map(Duration::from_millis));
        assert_eq!(scene.outputs().len(), asked, "{age:?}");
    }
}
