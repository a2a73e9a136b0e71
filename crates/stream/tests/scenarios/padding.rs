//! Packets that are only padding are not forwarded, and leave no gap.

use whipstitch_media::Kind;

use crate::kit::{DELTA, KEY, PADDING, Scene, accept, subscription};

#[test]
fn padding_is_left_out_without_a_gap() {
    let mut scene = Scene::published();
    let mut viewer = subscription(Kind::Video);
    let mut packets = scene.video(10, 0, KEY);
    for seq in 11..20 {
        assert!(scene.video(seq, 0, PADDING).is_empty());
    }
    packets.extend(scene.video(20, 3000, DELTA));
    assert!(scene.video(21, 3000, PADDING).is_empty());
    packets.extend(scene.video(22, 6000, DELTA));
    assert_eq!(accept(&mut viewer, &packets), [1000, 1001, 1002]);
}

#[test]
fn padding_again_is_dropped() {
    let mut scene = Scene::published();
    let mut viewer = subscription(Kind::Video);
    let mut packets = scene.video(10, 0, KEY);
    scene.video(11, 0, PADDING);
    packets.extend(scene.video(12, 3000, DELTA));
    packets.extend(scene.video(11, 0, PADDING));
    assert_eq!(accept(&mut viewer, &packets), [1000, 1001]);
}

#[test]
fn padding_that_comes_late_fills_the_place_that_was_kept_for_it() {
    let mut scene = Scene::published();
    let mut viewer = subscription(Kind::Video);
    let packets = [scene.video(10, 0, KEY), scene.video(12, 3000, DELTA)].concat();
    assert_eq!(accept(&mut viewer, &packets), [1000, 1002]);
    let late = scene.video(11, 0, PADDING);
    assert!(late.iter().all(|forwarded| forwarded.packet.payload.is_empty() && !forwarded.start));
    assert_eq!(accept(&mut viewer, &late), [1001]);
}

#[test]
fn a_source_does_not_begin_with_padding() {
    let mut scene = Scene::published();
    assert!(scene.video(10, 0, PADDING).is_empty());
    assert!(scene.audio(10, 0).len() == 1);
    let packet = scene.packet(11, 960, PADDING);
    assert!(scene.push(crate::kit::ALICE, Kind::Audio, packet).is_empty());
}

#[test]
fn places_stay_right_when_there_is_more_padding_than_is_remembered() {
    let mut scene = Scene::published();
    let mut viewer = subscription(Kind::Video);
    accept(&mut viewer, &scene.video(10, 0, KEY));
    // Each step: a packet, one that is missing, and padding.
    for step in 0..100 {
        let seq = 11 + 3 * step;
        assert_eq!(accept(&mut viewer, &scene.video(seq, 0, DELTA)), [1001 + 2 * step]);
        scene.video(seq + 2, 0, PADDING);
    }
    for step in 0..100 {
        let late = accept(&mut viewer, &scene.video(12 + 3 * step, 0, DELTA));
        if step < 100 - 63 {
            assert_eq!(late, [0; 0], "forgotten, so it has no place: {step}");
        } else {
            assert_eq!(late, [1002 + 2 * step], "{step}");
        }
    }
}
