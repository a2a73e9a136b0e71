//! The clocks of a burst align audio and video for whoever writes sender reports.

use std::time::{Duration, Instant};

use whipstitch_media::Kind;
use whipstitch_media::time::{self, Ntp};
use whipstitch_stream::{Clock, PerKind};

use crate::kit::{ALICE, BOB, DELTA, KEY, Scene, WALL};

const VIDEO: u32 = 90_000;
const AUDIO: u32 = 48_000;

/// The publisher's own wall clock, far from ours.
const THEIRS: Ntp = Ntp(0x1234_5678_0000_0000);

fn clocks(scene: &mut Scene) -> PerKind<Option<Clock>> {
    scene.stream.take_burst().expect("something was pushed").clocks
}

/// How much later, in wall-clock, a video time is than an audio time.
fn lead(clocks: PerKind<Option<Clock>>, now: Instant, video: u64, audio: u64) -> f64 {
    let at = |clock: Option<Clock>, time: u64, rate: u32| {
        let (ntp, here) = clock.expect("both clocks are known").read(now, rate);
        (ntp.0 as i128 >> 16) as f64 / 65_536.0 + (time as f64 - here as f64) / f64::from(rate)
    };
    at(clocks.video, video, VIDEO) - at(clocks.audio, audio, AUDIO)
}

/// Alice sends both tracks. The audio's time is captured 100 ms before the video's.
fn both(scene: &mut Scene) -> (u64, u64) {
    scene.stream.push(scene.now, ALICE, Kind::Video, scene.packet(10, 900_000, KEY));
    scene.stream.push(scene.now, ALICE, Kind::Audio, scene.packet(20, 480_000, b"opus"));
    let burst = scene.stream.take_burst().expect("both are forwarded");
    (burst.packets[0].packet.time, burst.packets[1].packet.time)
}

#[test]
fn before_any_report_the_arrival_counts() {
    let mut scene = Scene::published();
    scene.wait(250);
    scene.stream.push(scene.now, ALICE, Kind::Video, scene.packet(10, 900_000, KEY));
    let clocks = clocks(&mut scene);
    let clock = clocks.video.expect("a packet has arrived");
    assert_eq!(clock.ntp, WALL + Duration::from_millis(250));
    assert_eq!(clock.at, scene.now);
    assert_eq!(clocks.audio, None, "no audio has");
}

#[test]
fn the_least_delayed_arrival_counts() {
    let mut scene = Scene::published();
    let mut first = None;
    // Captured every 20 ms; the first is 30 ms late, the third in time, the others in between.
    for (packet, delay) in [30u64, 20, 0, 10, 25].into_iter().enumerate() {
        scene.now = scene.start + Duration::from_millis(20 * packet as u64 + delay);
        let time = 960 * packet as u64;
        scene.stream.push(scene.now, ALICE, Kind::Audio, scene.packet(packet as u64, time, b"opus"));
        let burst = scene.stream.take_burst().expect("audio is forwarded at once");
        let first = *first.get_or_insert(burst.packets[0].packet.time);
        let (ntp, time) = burst.clocks.audio.expect("it has arrived").read(scene.now, AUDIO);
        if packet >= 2 {
            // The timeline was at its beginning at the beginning.
            let elapsed = time::duration(time - first, AUDIO);
            assert!(ntp.distance(WALL + elapsed) < Duration::from_millis(1), "{elapsed:?}");
        }
    }
}

#[test]
fn reports_of_both_tracks_decide() {
    let mut scene = Scene::published();
    let (video, audio) = both(&mut scene);
    // By arrival both are of now; by the reports the video was captured 100 ms after the audio.
    scene.wait(40);
    scene.stream.sender_report(scene.now, ALICE, Kind::Video, THEIRS, 900_000);
    scene.stream.push(scene.now, ALICE, Kind::Video, scene.packet(11, 903_000, DELTA));
    let one_report = clocks(&mut scene);
    assert!(lead(one_report, scene.now, video, audio).abs() < 0.001, "one report is not enough");

    scene.wait(700);
    let later = THEIRS + Duration::from_millis(700);
    // 700 ms of 48 kHz, and the 100 ms the audio is older.
    scene.stream.sender_report(scene.now, ALICE, Kind::Audio, later, 480_000 + 33_600 + 4_800);
    scene.stream.push(scene.now, ALICE, Kind::Video, scene.packet(12, 906_000, DELTA));
    let reported = clocks(&mut scene);
    assert!((lead(reported, scene.now, video, audio) - 0.1).abs() < 0.001);
    let (ntp, _) = reported.video.expect("reported").read(scene.now, VIDEO);
    assert!(ntp.distance(WALL + Duration::from_millis(740)) < Duration::from_millis(50), "in our wall-clock");
}

#[test]
fn reports_of_somebody_else_or_without_a_wall_clock_do_not_count() {
    let mut scene = Scene::published();
    let (_, arrived) = both(&mut scene);
    for (seq, session, ntp) in [(21, BOB, THEIRS), (22, ALICE, Ntp(0))] {
        scene.stream.sender_report(scene.now, session, Kind::Video, ntp, 0);
        scene.stream.sender_report(scene.now, session, Kind::Audio, ntp, 0);
        scene.stream.push(scene.now, ALICE, Kind::Audio, scene.packet(seq, 480_000, b"opus"));
        let clock = clocks(&mut scene).audio.expect("audio has arrived");
        assert_eq!((clock.ntp, clock.time), (WALL, arrived), "of {session}");
    }
}

#[test]
fn reports_that_disagree_by_more_than_ten_seconds_do_not_count() {
    let mut scene = Scene::published();
    let (video, audio) = both(&mut scene);
    scene.stream.sender_report(scene.now, ALICE, Kind::Video, THEIRS, 900_000);
    scene.stream.sender_report(scene.now, ALICE, Kind::Audio, THEIRS + Duration::from_secs(3600), 480_000);
    scene.wait(20);
    scene.stream.push(scene.now, ALICE, Kind::Audio, scene.packet(21, 480_960, b"opus"));
    assert!(lead(clocks(&mut scene), scene.now, video, audio).abs() < 0.001);
}

#[test]
fn reports_of_the_publisher_before_do_not_count() {
    let mut scene = Scene::published();
    both(&mut scene);
    scene.stream.sender_report(scene.now, ALICE, Kind::Video, THEIRS, 900_000);
    scene.stream.sender_report(scene.now, ALICE, Kind::Audio, THEIRS, 480_000);
    scene.wait(1000);
    scene.publish(BOB);
    scene.stream.push(scene.now, BOB, Kind::Audio, scene.packet(7, 5, b"opus"));
    let clocks = clocks(&mut scene);
    assert_eq!(clocks.audio.map(|clock| (clock.at, clock.ntp)), Some((scene.now, WALL + Duration::from_secs(1))));
    assert_eq!(clocks.video, None);
}
