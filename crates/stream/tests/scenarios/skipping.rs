//! A subscriber that cannot follow is taken to the next start, without a gap.

use whipstitch_media::Kind;

use crate::kit::{DELTA, KEY, Scene, accept, subscription};

#[test]
fn video_goes_on_at_the_next_start_without_a_gap() {
    let mut scene = Scene::published();
    let mut viewer = subscription(Kind::Video);
    accept(&mut viewer, &scene.video(10, 0, KEY));
    viewer.drop_to_start();
    assert!(viewer.waiting());
    for seq in 11..300 {
        assert_eq!(accept(&mut viewer, &scene.video(seq, 0, DELTA)), [0; 0]);
    }
    let packets = [scene.video(300, 90_000, KEY), scene.video(301, 93_000, DELTA)].concat();
    assert_eq!(accept(&mut viewer, &packets), [1001, 1002]);
    assert!(!viewer.waiting());
}

#[test]
fn audio_goes_on_with_its_next_packet() {
    let mut scene = Scene::published();
    let mut listener = subscription(Kind::Audio);
    accept(&mut listener, &scene.audio(10, 0));
    listener.drop_to_start();
    assert_eq!(accept(&mut listener, &scene.audio(14, 3840)), [1001]);
}

#[test]
fn late_audio_fills_its_gap_and_does_not_end_a_skip() {
    let mut scene = Scene::published();
    let mut listener = subscription(Kind::Audio);
    accept(&mut listener, &[scene.audio(10, 0), scene.audio(12, 1920)].concat());
    listener.drop_to_start();
    assert_eq!(accept(&mut listener, &scene.audio(11, 960)), [1001]);
    assert!(listener.waiting());
    assert_eq!(accept(&mut listener, &scene.audio(14, 3840)), [1003]);
}

#[test]
fn time_keeps_its_offset() {
    let mut scene = Scene::published();
    let mut viewer = whipstitch_stream::Subscription::new(Kind::Video, 0, 0xffff_ff00);
    let first = scene.video(10, 0, KEY);
    let before = viewer.accept(&first[0]).expect("a start");
    viewer.drop_to_start();
    scene.video(11, 3000, DELTA);
    let second = scene.video(12, 6000, KEY);
    let after = viewer.accept(&second[0]).expect("a start");
    assert_eq!(after.time.wrapping_sub(before.time), 6000);
    assert_eq!(viewer.time_of(first[0].packet.time), before.time);
}

#[test]
fn skips_beyond_those_remembered_forget_the_oldest() {
    let mut scene = Scene::published();
    let mut viewer = subscription(Kind::Video);
    let mut sources = Vec::new();
    for skip in 0..20 {
        let packets = scene.video(10 + 10 * skip, 3000 * skip, KEY);
        assert_eq!(accept(&mut viewer, &packets), [1000 + skip]);
        sources.push(packets[0].packet.seq);
        viewer.drop_to_start();
        accept(&mut viewer, &scene.video(11 + 10 * skip, 0, DELTA));
    }
    let found: Vec<_> = (1000..1020).map(|number| viewer.source_of(number)).collect();
    assert!(found[..12].iter().all(Option::is_none));
    assert_eq!(found[12..], sources[12..].iter().copied().map(Some).collect::<Vec<_>>());
}
