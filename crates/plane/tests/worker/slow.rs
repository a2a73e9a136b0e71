//! A worker that cannot follow: what does not reach it is counted, the others lose nothing, and its own viewers go on at the
//! next keyframe, which is asked for.

use whipstitch_plane::Role;
use whipstitch_stream::StreamKey;
use whipstitch_stream::stream::Config;

use crate::stage::{Client, Say, Stage, check};

/// More packets than a mailbox has places (`mailbox`).
const MANY: u64 = 5000;

/// Three workers: the stream's home, one that is slow and one that is not, with a viewer each.
struct Scene {
    stage: Stage,
    stream: StreamKey,
    publisher: Client,
    slow: usize,
    at_home: Client,
    held_up: Client,
    other: Client,
    number: u64,
}

impl Scene {
    fn new() -> Scene {
        let mut stage = Stage::new(3, Config::default());
        let stream = StreamKey::parse("cam").expect("a legal name");
        let publisher = stage.publisher(&stream);
        let [home, slow, quick] = [0, 1, 2].map(|n| (publisher.worker + n) % 3);
        stage.say(&publisher, home, &Say::Packet(1, true));
        let [at_home, held_up, other] = [home, slow, quick].map(|worker| stage.viewer(worker, &stream));
        let mut scene = Scene { stage, stream, publisher, slow, at_home, held_up, other, number: 1 };
        scene.send(3, false);
        scene
    }

    fn send(&mut self, packets: u64, starts: bool) {
        for _ in 0..packets {
            self.number += 1;
            let say = Say::Packet(self.number, starts);
            self.stage.say(&self.publisher, self.publisher.worker, &say);
            // Slower than a publisher may send at most.
            if self.number.is_multiple_of(10) {
                self.stage.pass(1);
            }
        }
    }

    fn numbers(client: &Client) -> Vec<u64> {
        client.got().iter().map(|got| got.origin.1).collect()
    }
}

#[test]
fn others_lose_nothing_and_its_viewers_go_on_at_the_next_keyframe_which_is_asked_for() {
    let mut scene = Scene::new();
    scene.stage.plane.hold(scene.slow);
    scene.send(MANY, false);
    let lost = scene.stage.plane.measure()[scene.publisher.worker].slow;
    assert!((800..1000).contains(&lost), "{lost} packets found no room");
    assert_eq!(scene.stage.plane.measure()[scene.slow].mailbox_full, lost);
    scene.stage.plane.release(scene.slow);
    let reached = scene.held_up.got().len() as u64;
    assert_eq!(reached + lost, scene.number, "what found room has come");
    assert!(scene.publisher.log().asked.is_empty(), "nobody knows of the gap yet");
    scene.send(5, false);
    assert_eq!(scene.held_up.got().len() as u64, reached, "nothing behind the gap can be decoded");
    assert_eq!(scene.publisher.log().asked.len(), 1);
    scene.send(1, true);
    scene.send(5, false);
    let got = scene.held_up.got();
    assert_eq!(got.len() as u64, reached + 6);
    assert!(got.windows(2).all(|pair| pair[1].seq == pair[0].seq + 1), "no gap that the publisher has not made");
    for witness in [&scene.at_home, &scene.other] {
        assert_eq!(Scene::numbers(witness), (1..=scene.number).collect::<Vec<_>>());
        check(&got, &witness.got());
    }
    assert_eq!(scene.publisher.log().asked.len(), 1, "it has come");
}

#[test]
fn who_joins_there_gets_no_cache_with_a_gap_in_it() {
    let mut scene = Scene::new();
    scene.stage.plane.hold(scene.slow);
    scene.send(MANY, false);
    scene.stage.plane.release(scene.slow);
    scene.send(3, false);
    let joined = scene.stage.viewer(scene.slow, &scene.stream);
    scene.send(20, false);
    scene.stage.pass(2000);
    scene.send(1, true);
    scene.send(3, false);
    let got = joined.got();
    assert!(got.len() >= 4, "{} packets", got.len());
    check(&got, &scene.other.got());
    check(&scene.held_up.got(), &scene.other.got());
}

#[test]
fn a_keyframe_that_is_lost_on_the_way_is_asked_for_again() {
    let mut scene = Scene::new();
    scene.stage.plane.hold(scene.slow);
    scene.send(MANY, false);
    scene.stage.plane.release(scene.slow);
    scene.send(1, false);
    assert_eq!(scene.publisher.log().asked.len(), 1);
    // The keyframe that was asked for finds no room.
    scene.stage.plane.hold(scene.slow);
    scene.stage.fill(scene.slow);
    scene.send(1, true);
    scene.stage.plane.release(scene.slow);
    scene.stage.pass(500);
    assert_eq!(scene.publisher.log().asked.len(), 1);
    scene.send(1, false);
    assert_eq!(scene.publisher.log().asked.len(), 2);
}

#[test]
fn another_publisher_that_comes_meanwhile_is_seen_from_its_next_keyframe_on() {
    let mut scene = Scene::new();
    scene.stage.plane.hold(scene.slow);
    scene.stage.fill(scene.slow);
    let stream = scene.stream.clone();
    scene.publisher = scene.stage.publisher(&stream);
    scene.send(1, true);
    scene.send(10, false);
    scene.stage.plane.release(scene.slow);
    scene.send(1, false);
    assert_eq!(scene.publisher.log().asked.len(), 1);
    scene.send(1, true);
    let (got, witness) = (scene.held_up.got(), scene.other.got());
    check(&got, &witness);
    assert_eq!(got.last().map(|got| got.origin), Some((scene.publisher.session, scene.number)));
}

/// A stray is what came to another worker's socket: anybody may send it, so it must keep no command out.
#[test]
fn strays_beyond_the_bound_are_dropped_and_counted_and_keep_no_command_out() {
    const FLOOD: u64 = 3000;
    let mut scene = Scene::new();
    let other = scene.other.worker;
    scene.stage.plane.hold(scene.slow);
    for _ in 0..FLOOD {
        scene.stage.check(&scene.held_up, other);
    }
    let dropped = scene.stage.plane.measure()[other].strays;
    assert_eq!(dropped, FLOOD - 2048);
    assert_eq!(scene.stage.plane.measure()[scene.slow].mailbox_full, dropped);
    assert!(scene.stage.join(scene.slow, Role::Subscriber, &scene.stream).is_ok());
    scene.send(1, false);
    scene.stage.plane.release(scene.slow);
    assert_eq!(Scene::numbers(&scene.held_up).last(), Some(&scene.number));
}

/// A NAT that gives a client another address with every packet, all of which it has proven.
#[test]
fn a_client_that_moves_a_thousand_times_leaves_no_address_behind_on_any_worker() {
    let mut scene = Scene::new();
    let addresses =
        |scene: &mut Scene| scene.stage.plane.measure().iter().map(|worker| worker.addresses).sum::<usize>();
    let before = addresses(&mut scene);
    for step in 0..1000 {
        scene.held_up.path = scene.stage.address();
        scene.stage.check(&scene.held_up, step % 3);
    }
    let here = usize::from(999 % 3 != scene.slow);
    assert_eq!(addresses(&mut scene), before + here, "its own worker's, and that of the one it came through");
    scene.stage.end(&scene.held_up);
    assert_eq!(addresses(&mut scene), before - 1);
}
