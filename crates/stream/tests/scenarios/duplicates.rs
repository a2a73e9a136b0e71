//! What arrives twice is forwarded once.

use whipstitch_media::Kind;

use crate::kit::{DELTA, KEY, Scene, accept, seqs, subscription};

#[test]
fn a_duplicate_is_dropped() {
    let mut scene = Scene::published();
    assert_eq!(scene.video(10, 0, KEY).len(), 1);
    assert_eq!(scene.video(11, 3000, DELTA).len(), 1);
    assert!(scene.video(11, 3000, DELTA).is_empty());
    assert!(scene.video(10, 0, KEY).is_empty());
    assert_eq!(scene.stream.stats(scene.now).tracks.video.map(|track| track.duplicates), Some(2));
}

#[test]
fn a_duplicate_of_a_repaired_packet_is_dropped() {
    let mut scene = Scene::published();
    scene.video(10, 0, KEY);
    scene.video(12, 6000, DELTA);
    assert_eq!(scene.video(11, 3000, DELTA).len(), 1);
    assert!(scene.video(11, 3000, DELTA).is_empty());
}

#[test]
fn the_window_of_1024_is_known_and_what_is_older_is_dropped() {
    let mut scene = Scene::published();
    scene.video(10_000, 0, KEY);
    // Every second one is missing.
    for step in 1..=1000 {
        assert_eq!(scene.video(10_000 + 2 * step, 3000 * step, DELTA).len(), 1);
    }
    let newest = 12_000;
    assert_eq!(scene.video(newest - 1023, 0, DELTA).len(), 1, "still known as missing");
    assert!(scene.video(newest - 1023, 0, DELTA).is_empty());
    assert!(scene.video(newest - 1022, 0, DELTA).is_empty(), "known as seen");
    assert!(scene.video(newest - 1025, 0, DELTA).is_empty(), "too old to know");
}

#[test]
fn a_subscription_takes_nothing_twice() {
    let mut scene = Scene::published();
    let packets = [scene.video(10, 0, KEY), scene.video(12, 6000, DELTA), scene.video(11, 3000, DELTA)].concat();
    let mut subscription = subscription(Kind::Video);
    assert_eq!(accept(&mut subscription, &packets), [1000, 1002, 1001]);
    assert_eq!(accept(&mut subscription, &packets), [0; 0]);
    assert_eq!(seqs(&packets).len(), 3);
}
