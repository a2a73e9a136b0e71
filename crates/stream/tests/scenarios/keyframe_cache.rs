//! Who joins sees a picture at once, even if the publisher ignores keyframe requests.

use whipstitch_media::Kind;
use whipstitch_stream::{Config, cache};

use crate::kit::{ALICE, BOB, DELTA, KEY, Scene, accept, seqs, subscription};

fn replayed(scene: &Scene) -> Vec<u64> {
    scene.stream.replay(scene.now).map(|burst| seqs(&burst.packets)).unwrap_or_default()
}

#[test]
fn a_replay_runs_straight_into_the_live_packets() {
    let mut scene = Scene::published();
    scene.video(10, 0, KEY);
    for step in 1..50 {
        scene.wait(33);
        scene.video(10 + step, 3000 * step, DELTA);
    }
    let mut viewer = subscription(Kind::Video);
    let replay = scene.stream.replay(scene.now).expect("a start is there");
    assert_eq!(accept(&mut viewer, &replay.packets), (1000..1050).collect::<Vec<_>>());
    assert_eq!(accept(&mut viewer, &scene.video(60, 150_000, DELTA)), [1050]);
    assert!(replay.clocks.video.is_some());
}

#[test]
fn what_waits_to_be_taken_is_not_sent_twice() {
    let mut scene = Scene::published();
    scene.stream.push(scene.now, ALICE, Kind::Video, scene.packet(10, 0, KEY));
    scene.stream.push(scene.now, ALICE, Kind::Video, scene.packet(11, 3000, DELTA));
    let replay = scene.stream.replay(scene.now).expect("a start is there");
    let mut viewer = subscription(Kind::Video);
    assert_eq!(accept(&mut viewer, &replay.packets), [1000, 1001]);
    assert_eq!(accept(&mut viewer, &scene.taken()), [0; 0]);
}

#[test]
fn a_repaired_packet_is_replayed_in_its_place() {
    let mut scene = Scene::published();
    let first = seqs(&scene.video(10, 0, KEY))[0];
    scene.video(12, 6000, DELTA);
    scene.video(13, 9000, DELTA);
    scene.video(11, 3000, DELTA);
    assert_eq!(replayed(&scene), [first, first + 1, first + 2, first + 3]);
}

#[test]
fn each_start_begins_it_anew() {
    let mut scene = Scene::published();
    assert!(replayed(&scene).is_empty());
    scene.video(10, 0, KEY);
    scene.video(12, 6000, DELTA);
    let start = seqs(&scene.video(13, 9000, KEY))[0];
    scene.video(11, 3000, DELTA);
    assert_eq!(replayed(&scene), [start], "what is late belongs to the picture before");
    scene.audio(1, 0);
    assert_eq!(replayed(&scene), [start], "audio needs no replay");
}

#[test]
fn what_is_too_long_goes_as_a_whole_until_the_next_start() {
    for limits in [
        cache::Limits { packets: 3, ..cache::Limits::default() },
        cache::Limits { bytes: KEY.len() + 2 * DELTA.len(), ..cache::Limits::default() },
    ] {
        let mut scene = Scene::with(Config { cache: Some(limits), ..Config::default() });
        scene.publish(ALICE);
        scene.video(10, 0, KEY);
        scene.video(11, 0, DELTA);
        scene.video(12, 0, DELTA);
        assert_eq!(replayed(&scene).len(), 3);
        scene.video(13, 0, DELTA);
        assert!(replayed(&scene).is_empty());
        scene.video(14, 0, DELTA);
        assert!(replayed(&scene).is_empty(), "nothing decodes without its start");
        scene.video(15, 3000, KEY);
        assert_eq!(replayed(&scene).len(), 1);
    }
}

#[test]
fn what_is_too_old_is_not_replayed() {
    let mut scene = Scene::published();
    scene.video(10, 0, KEY);
    scene.wait(10_000);
    assert_eq!(replayed(&scene).len(), 1);
    scene.wait(1);
    assert!(replayed(&scene).is_empty());
}

#[test]
fn a_publisher_that_is_gone_is_not_replayed() {
    let mut scene = Scene::published();
    scene.video(10, 0, KEY);
    scene.publish(BOB);
    assert!(replayed(&scene).is_empty());
    let packet = scene.packet(70, 0, KEY);
    scene.push(BOB, Kind::Video, packet);
    scene.stream.unpublish(scene.now, BOB);
    assert!(replayed(&scene).is_empty());
}

#[test]
fn without_a_cache_nothing_is_replayed() {
    let mut scene = Scene::with(Config { cache: None, ..Config::default() });
    scene.publish(ALICE);
    scene.video(10, 0, KEY);
    assert!(replayed(&scene).is_empty());
}
