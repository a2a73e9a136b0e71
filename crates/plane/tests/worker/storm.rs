//! Many viewers want a keyframe: the publisher hears one request, however many workers they are on.

use std::time::Duration;

use whipstitch_plane::Role;
use whipstitch_stream::StreamKey;
use whipstitch_stream::stream::Config;

use crate::stage::{Client, Say, Stage};

const VIEWERS: usize = 1000;

fn stream() -> StreamKey {
    StreamKey::parse("cam").expect("a legal name")
}

/// A stage with a publisher that has sent a keyframe, asked for by nobody.
fn live(workers: usize, config: Config) -> (Stage, Client) {
    let mut stage = Stage::new(workers, config);
    let publisher = stage.publisher(&stream());
    stage.say(&publisher, publisher.worker, &Say::Packet(1, true));
    assert!(publisher.log().asked.is_empty());
    (stage, publisher)
}

fn asked(publisher: &Client) -> usize {
    publisher.log().asked.len()
}

/// All within a little less than the time between two requests.
fn everybody(stage: &mut Stage, mut each: impl FnMut(&mut Stage, usize)) {
    for viewer in 0..VIEWERS {
        each(stage, viewer);
        if viewer % 100 == 99 {
            stage.pass(49);
        }
    }
}

#[test]
fn a_thousand_viewers_that_join_a_stream_without_a_cache_cost_one_keyframe() {
    let (mut stage, publisher) = live(3, Config { cache: None, ..Config::default() });
    let mut viewers = Vec::new();
    everybody(&mut stage, |stage, viewer| viewers.push(stage.viewer(viewer % 3, &stream())));
    assert_eq!(asked(&publisher), 1);
    stage.say(&publisher, publisher.worker, &Say::Packet(2, true));
    assert!(viewers.iter().all(|viewer| viewer.log().got.len() == 1), "all of them begin with it");
    stage.pass(10_000);
    assert_eq!(asked(&publisher), 1, "it has come, so it is not asked for again");
}

#[test]
fn a_thousand_viewers_that_are_given_a_fresh_start_cost_none_and_miss_nothing() {
    let (mut stage, publisher) = live(3, Config::default());
    let mut viewers = Vec::new();
    let mut number = 1;
    everybody(&mut stage, |stage, viewer| {
        viewers.push(stage.viewer(viewer % 3, &stream()));
        if viewer % 10 == 0 {
            number += 1;
            stage.say(&publisher, publisher.worker, &Say::Packet(number, false));
        }
    });
    assert_eq!(asked(&publisher), 0);
    stage.pass(1000);
    for viewer in &viewers {
        let got: Vec<u64> = viewer.got().iter().map(|got| got.origin.1).collect();
        assert_eq!(got, (1..=number).collect::<Vec<_>>(), "viewer {} on {}", viewer.session, viewer.worker);
    }
}

#[test]
fn a_thousand_plis_and_a_publisher_that_ignores_them_give_five_requests_half_a_second_apart() {
    let (mut stage, publisher) = live(3, Config::default());
    let mut viewers = Vec::new();
    everybody(&mut stage, |stage, viewer| viewers.push(stage.viewer(viewer % 3, &stream())));
    everybody(&mut stage, |stage, viewer| {
        let viewer = &viewers[viewer];
        stage.say(viewer, viewer.worker, &Say::Keyframe);
    });
    assert_eq!(asked(&publisher), 1);
    stage.pass(10_000);
    let asked = publisher.log().asked.clone();
    assert_eq!(asked.len(), 5);
    assert!(asked.windows(2).all(|pair| pair[1] - pair[0] >= Duration::from_millis(500)), "{asked:?}");
}

#[test]
fn a_thousand_viewers_that_wait_for_their_publisher_are_all_served_by_its_first_keyframe() {
    let mut stage = Stage::new(2, Config { grace: None, ..Config::default() });
    let viewers: Vec<_> = (0..VIEWERS).map(|viewer| stage.viewer(viewer % 2, &stream())).collect();
    let publisher = stage.publisher(&stream());
    assert_eq!(publisher.role, Role::Publisher);
    stage.say(&publisher, publisher.worker, &Say::Packet(1, true));
    stage.say(&publisher, publisher.worker, &Say::Packet(2, false));
    assert_eq!(asked(&publisher), 0, "most publishers begin with one");
    assert!(viewers.iter().all(|viewer| viewer.log().got.len() == 2 && viewer.log().tracks.is_some()));
}
