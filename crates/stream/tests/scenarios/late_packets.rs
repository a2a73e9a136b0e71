//! A packet that comes late keeps its place, or has none.

use whipstitch_media::Kind;

use crate::kit::{DELTA, KEY, Scene, accept, only, subscription};

#[test]
fn a_repaired_packet_keeps_its_place() {
    let mut scene = Scene::published();
    let mut viewer = subscription(Kind::Video);
    let packets = [scene.video(10, 0, KEY), scene.video(13, 9000, DELTA), scene.video(11, 3000, DELTA)].concat();
    assert_eq!(accept(&mut viewer, &packets), [1000, 1003, 1001]);
    let times: Vec<_> = packets.iter().map(|forwarded| forwarded.packet.time - packets[0].packet.time).collect();
    assert_eq!(times, [0, 9000, 3000]);
    assert_eq!(accept(&mut viewer, &scene.video(12, 6000, DELTA)), [1002]);
}

#[test]
fn it_keeps_its_place_across_padding_that_was_left_out() {
    let mut scene = Scene::published();
    let mut viewer = subscription(Kind::Video);
    let mut packets = scene.video(10, 0, KEY);
    packets.extend(scene.video(12, 3000, &[])); // 11 is missing, 12 is padding
    packets.extend(scene.video(13, 3000, DELTA));
    packets.extend(scene.video(11, 3000, DELTA));
    assert_eq!(accept(&mut viewer, &packets), [1000, 1002, 1001]);
}

#[test]
fn a_late_packet_of_before_a_skip_fills_its_gap_and_no_other() {
    let mut scene = Scene::published();
    let mut viewer = subscription(Kind::Video);
    let sent = [scene.video(10, 0, KEY), scene.video(12, 6000, DELTA)].concat();
    assert_eq!(accept(&mut viewer, &sent), [1000, 1002]);
    viewer.drop_to_start();
    let skipped = [scene.video(13, 9000, DELTA), scene.video(15, 15_000, DELTA)].concat();
    assert_eq!(accept(&mut viewer, &skipped), [0; 0]);
    assert_eq!(accept(&mut viewer, &scene.video(16, 18_000, KEY)), [1003]);
    assert_eq!(accept(&mut viewer, &scene.video(14, 12_000, DELTA)), [0; 0], "left out with its neighbours");
    assert_eq!(accept(&mut viewer, &scene.video(11, 3000, DELTA)), [1001]);
}

#[test]
fn the_source_of_a_number_is_found_again() {
    let mut scene = Scene::published();
    let mut viewer = subscription(Kind::Video);
    let first = only(scene.video(10, 0, KEY));
    let second = only(scene.video(12, 6000, DELTA));
    accept(&mut viewer, &[first.clone(), second.clone()]);
    viewer.drop_to_start();
    accept(&mut viewer, &scene.video(13, 9000, DELTA));
    let third = only(scene.video(14, 12_000, KEY));
    accept(&mut viewer, std::slice::from_ref(&third));
    for (number, source) in [
        (999, None),
        (1000, Some(first.packet.seq)),
        (1001, None), // never arrived
        (1002, Some(second.packet.seq)),
        (1003, Some(third.packet.seq)),
        (1004, None),
        (u64::MAX, None),
    ] {
        assert_eq!(viewer.source_of(number), source, "{number}");
    }
}

#[test]
fn a_number_on_the_wire_is_the_one_nearest_to_the_newest() {
    let mut scene = Scene::published();
    let mut viewer = subscription(Kind::Video);
    assert_eq!(viewer.source_of(viewer.extend(999)), None, "nothing sent");
    accept(&mut viewer, &scene.video(10, 0, KEY));
    assert_eq!(viewer.extend(1000), 1000);
    assert_eq!(viewer.extend(990), 990);
    assert_eq!(viewer.source_of(viewer.extend(65_000)), None, "before the beginning there is nothing");
    for step in 1..=65_000 {
        scene.wait(1);
        accept(&mut viewer, &scene.video(10 + step, 3000 * step, DELTA));
    }
    assert_eq!(viewer.newest(), Some(66_000));
    assert_eq!(viewer.extend(464), 66_000);
    assert_eq!(viewer.extend(65_535), 65_535);
}
