//! What a stream says of itself.

use std::time::Duration;

use whipstitch_media::Codec;
use whipstitch_stream::Config;
use whipstitch_stream::stats::TrackStats;
use whipstitch_stream::stream::{Output, Rate};

use crate::kit::{ALICE, DELTA, KEY, Scene};

fn video(scene: &Scene) -> TrackStats {
    scene.stream.stats(scene.now).tracks.video.expect("Alice sends video")
}

#[test]
fn pictures_bits_and_keyframes_are_counted() {
    let mut scene = Scene::published();
    let published = scene.now;
    for step in 0..100 {
        let payload = if step % 50 == 0 { KEY } else { DELTA };
        // Two packets a picture, 25 pictures a second.
        scene.video(2 * step, 3600 * step, payload);
        scene.video(2 * step + 1, 3600 * step, &[0; 500]);
        scene.wait(40);
    }
    let stats = video(&scene);
    assert_eq!(stats.codec, Codec::Vp8);
    assert_eq!(stats.size, Some((320, 240)));
    assert!((24.0..=26.0).contains(&stats.fps), "{}", stats.fps);
    assert!((95_000..=106_000).contains(&stats.bitrate), "{}", stats.bitrate);
    assert_eq!((stats.packets, stats.keyframes), (200, 2));
    assert_eq!(stats.bytes, 100 * 500 + 2 * KEY.len() as u64 + 98 * DELTA.len() as u64);
    assert_eq!(stats.keyframe_interval, Some(Duration::from_secs(2)));
    assert!(!stats.b_frames);
    assert_eq!(scene.stream.stats(scene.now).publisher, Some((ALICE, published)));
}

#[test]
fn what_is_true_of_one_publisher_is_not_told_of_the_next() {
    let mut scene = Scene::published();
    scene.video(10, 9000, KEY);
    scene.wait(100);
    scene.video(11, 18_000, KEY);
    scene.video(12, 0, DELTA);
    assert!(video(&scene).b_frames && video(&scene).keyframe_interval.is_some());
    scene.publish(ALICE);
    let stats = video(&scene);
    assert_eq!((stats.b_frames, stats.keyframe_interval, stats.size), (false, None, None));
    scene.video(500, 0, KEY);
    assert_eq!((video(&scene).keyframes, video(&scene).keyframe_interval), (3, None));
    assert_eq!((video(&scene).packets, scene.stream.stats(scene.now).publishers), (4, 2), "counts go on");
}

#[test]
fn losses_are_counted_and_taken_back_when_repaired() {
    let mut scene = Scene::published();
    scene.video(10, 0, KEY);
    scene.video(14, 0, DELTA);
    assert_eq!(video(&scene).lost, 3);
    scene.video(12, 0, DELTA);
    assert_eq!(video(&scene).lost, 2);
    scene.video(12, 0, DELTA);
    assert_eq!(video(&scene).lost, 2);
}

#[test]
fn broken_payloads_are_dropped_and_counted() {
    let mut scene = Scene::published();
    scene.video(10, 0, KEY);
    assert!(scene.video(11, 0, &[0x80]).is_empty());
    assert_eq!(video(&scene).broken, 1);
    assert_eq!(scene.video(11, 0, DELTA).len(), 1, "the place is open for a better one");
}

#[test]
fn times_that_go_back_are_b_frames() {
    let mut scene = Scene::published();
    scene.video(10, 0, KEY);
    scene.video(11, 9000, DELTA);
    scene.video(13, 12_000, DELTA);
    scene.video(12, 9000, DELTA);
    assert!(!video(&scene).b_frames, "late is not back");
    scene.outputs();
    scene.video(14, 3000, DELTA);
    assert!(video(&scene).b_frames);
    assert_eq!(scene.outputs(), [Output::BFrames { publisher: ALICE }]);
    scene.video(15, 1000, DELTA);
    assert_eq!(scene.outputs(), [], "once");
}

#[test]
fn a_publisher_that_sends_too_much_is_cut() {
    let rate = Rate { bits: 1_000_000, packets: 100 };
    let mut scene = Scene::with(Config { rate, ..Config::default() });
    scene.publish(ALICE);
    scene.video(0, 0, KEY);
    let forwarded: usize = (1..300).map(|seq| scene.video(seq, 0, DELTA).len()).sum();
    assert_eq!(forwarded, 99);
    assert_eq!(scene.stream.stats(scene.now).overflow, 200);
    scene.wait(500);
    let forwarded: usize = (300..600).map(|seq| scene.video(seq, 0, DELTA).len()).sum();
    assert_eq!(forwarded, 50);
}
