//! A subscriber's first video packet is one a decoder may start at, and its numbers have no gap there.

use whipstitch_media::Kind;
use whipstitch_stream::Subscription;

use crate::kit::{DELTA, KEY, Scene, accept, only, subscription};

#[test]
fn a_viewer_starts_at_a_keyframe_and_gap_free() {
    let mut scene = Scene::published();
    scene.video(10, 0, KEY);
    let mut viewer = subscription(Kind::Video);
    assert!(viewer.waiting());
    let before = [scene.video(11, 3000, DELTA), scene.video(13, 9000, DELTA)].concat();
    assert_eq!(accept(&mut viewer, &before), [0; 0]);
    let after = [scene.video(15, 15_000, KEY), scene.video(16, 18_000, DELTA), scene.video(18, 24_000, DELTA)].concat();
    assert_eq!(accept(&mut viewer, &after), [1000, 1001, 1003], "the publisher's gap stays visible");
    assert!(!viewer.waiting());
}

#[test]
fn what_is_older_than_the_join_has_no_place() {
    let mut scene = Scene::published();
    scene.video(10, 0, KEY);
    let mut viewer = subscription(Kind::Video);
    let key = scene.video(12, 6000, KEY);
    assert_eq!(accept(&mut viewer, &key), [1000]);
    let late = scene.video(11, 3000, DELTA);
    assert_eq!(late.len(), 1, "others get it");
    assert_eq!(accept(&mut viewer, &late), [0; 0]);
}

#[test]
fn a_start_that_comes_late_starts_nobody() {
    let mut scene = Scene::published();
    scene.video(10, 0, KEY);
    let mut viewer = subscription(Kind::Video);
    accept(&mut viewer, &scene.video(12, 6000, DELTA));
    let late = only(scene.video(11, 3000, KEY));
    assert!(!late.start, "its follower has passed already");
    assert_eq!(accept(&mut viewer, &[late]), [0; 0]);
    assert!(viewer.waiting());
}

#[test]
fn a_first_start_takes_along_what_overtook_it() {
    let mut scene = Scene::published();
    assert!(scene.video(9, 0, DELTA).is_empty(), "from before it");
    assert!(scene.video(12, 0, DELTA).is_empty());
    assert!(scene.video(11, 0, DELTA).is_empty());
    let packets = scene.video(10, 0, KEY);
    let mut viewer = subscription(Kind::Video);
    assert_eq!(accept(&mut viewer, &packets), [1000, 1001, 1002]);
    assert_eq!(accept(&mut viewer, &scene.video(13, 3000, DELTA)), [1003]);
}

#[test]
fn what_came_long_before_a_first_start_is_not_taken_along() {
    let mut scene = Scene::published();
    scene.video(100, 0, DELTA);
    for seq in 36..=40 {
        scene.video(seq, 0, DELTA);
    }
    assert_eq!(scene.video(41, 0, KEY).len(), 1, "100 is from another beginning");
}

#[test]
fn numbers_begin_below_2_to_the_15() {
    let mut scene = Scene::published();
    let packet = only(scene.video(10, 0, KEY));
    let mut viewer = Subscription::new(Kind::Video, 0xffff, 0);
    assert_eq!(accept(&mut viewer, &[packet]), [0x7fff]);
}

#[test]
fn a_subscription_takes_its_own_kind_only() {
    let mut scene = Scene::published();
    let audio = scene.audio(10, 0);
    assert_eq!(accept(&mut subscription(Kind::Video), &audio), [0; 0]);
    assert_eq!(accept(&mut subscription(Kind::Audio), &audio), [1000]);
}
