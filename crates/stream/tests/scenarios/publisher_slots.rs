//! Who may publish is decided before anything is negotiated, and a slot frees nothing but its own place.

use std::time::{Duration, Instant};

use whipstitch_media::Codec;
use whipstitch_stream::directory::{
    Config, Conflict, Counts, Directory, Full, Lost, PublisherSlot, Refused, SubscriberSlot,
};
use whipstitch_stream::{SessionId, StreamKey};

use crate::kit::{ALICE, BOB, tracks};

const CAROL: SessionId = SessionId(0xca201);

struct Scene {
    now: Instant,
    directory: Directory,
    key: StreamKey,
}

fn key(name: &str) -> StreamKey {
    StreamKey::parse(name).expect("a legal name")
}

impl Scene {
    fn new(config: Config) -> Self {
        let now = Instant::now();
        Self { now, directory: Directory::new(config, now), key: key("a") }
    }

    fn publisher(&self, session: SessionId) -> Result<PublisherSlot, Refused> {
        self.directory.reserve_publisher(&self.key, session, self.now)
    }

    /// Reserves and takes over at once; whom it replaced.
    fn replaces(&self, session: SessionId) -> (PublisherSlot, Option<SessionId>) {
        let slot = self.publisher(session).expect("whoever is there gives way");
        let replaced = self.directory.take_over(&self.key, session).expect("nobody else came");
        (slot, replaced)
    }

    fn subscriber(&self, name: &str) -> Result<SubscriberSlot, Full> {
        self.directory.reserve_subscriber(&key(name), BOB)
    }

    fn wait(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
    }

    fn holder(&self) -> Option<SessionId> {
        self.directory.publisher(&self.key).map(|publisher| publisher.session)
    }
}

const OCCUPIED: Refused = Refused::Occupied { retry: Duration::from_secs(2) };

#[test]
fn a_second_publisher_is_refused() {
    let mut scene = Scene::new(Config::default());
    let alice = scene.publisher(ALICE).expect("nobody publishes");
    assert_eq!(scene.publisher(BOB).err(), Some(OCCUPIED), "reserved is enough");
    assert!(alice.go_live(tracks(Codec::Vp8), scene.now));
    for _ in 0..10 {
        scene.wait(1999);
        assert_eq!(scene.publisher(BOB).err(), Some(OCCUPIED));
        alice.touch(scene.now);
    }
    drop(alice);
    let (_bob, replaced) = scene.replaces(BOB);
    assert_eq!(replaced, None);
}

#[test]
fn a_silent_publisher_is_replaced_after_two_seconds() {
    let mut scene = Scene::new(Config::default());
    let alice = scene.publisher(ALICE).expect("nobody publishes");
    alice.go_live(tracks(Codec::Vp8), scene.now);
    scene.wait(2000);
    let (bob, replaced) = scene.replaces(BOB);
    assert_eq!(replaced, Some(ALICE));
    assert!(!alice.holds() && bob.holds());
    assert!(!alice.go_live(tracks(Codec::H264), scene.now), "too late");
    assert_eq!(scene.directory.live_tracks(&scene.key), None);
}

#[test]
fn a_vacated_place_is_free_before_its_guard_is_dropped_and_counted_once() {
    let scene = Scene::new(Config::default());
    let alice = scene.publisher(ALICE).expect("nobody publishes");
    alice.go_live(tracks(Codec::Vp8), scene.now);
    scene.directory.vacate(&scene.key, BOB);
    assert!(alice.holds(), "who does not hold it vacates nothing");
    scene.directory.vacate(&scene.key, ALICE);
    assert!(!alice.holds() && scene.directory.live_tracks(&scene.key).is_none());
    assert_eq!(scene.directory.counts(), Counts::default());
    let (bob, replaced) = scene.replaces(BOB);
    assert_eq!(replaced, None);
    drop(alice);
    assert!(bob.holds());
    assert_eq!(scene.directory.counts().publishers, 1);
}

#[test]
fn a_late_release_never_frees_a_newer_slot() {
    let mut scene = Scene::new(Config::default());
    let first = scene.publisher(ALICE).expect("nobody publishes");
    scene.wait(2000);
    // The same session even, as after a fast reconnect.
    let (second, _) = scene.replaces(ALICE);
    drop(first);
    assert_eq!(scene.holder(), Some(ALICE));
    assert_eq!(scene.publisher(BOB).err(), Some(OCCUPIED));
    scene.wait(2000);
    let (third, _) = scene.replaces(CAROL);
    drop(second);
    assert_eq!(scene.holder(), Some(CAROL));
    drop(third);
    assert_eq!(scene.holder(), None);
}

#[test]
fn a_replaced_publisher_cannot_keep_the_new_one_alive() {
    let mut scene = Scene::new(Config::default());
    let alice = scene.publisher(ALICE).expect("nobody publishes");
    scene.wait(2000);
    let _bob = scene.replaces(BOB);
    scene.wait(2000);
    alice.touch(scene.now);
    assert_eq!(scene.replaces(CAROL).1, Some(BOB));
}

#[test]
fn with_takeover_the_second_publisher_wins() {
    let scene = Scene::new(Config { on_conflict: Conflict::TakeOver, ..Config::default() });
    let _alice = scene.publisher(ALICE).expect("nobody publishes");
    assert_eq!(scene.replaces(BOB).1, Some(ALICE));
}

/// What comes between the reservation and the answer may fail: an offer nobody can use, a worker without room.
#[test]
fn a_takeover_that_fails_costs_the_publisher_nothing() {
    for on_conflict in [Conflict::TakeOver, Conflict::Reject] {
        let mut scene = Scene::new(Config { on_conflict, ..Config::default() });
        let alice = scene.publisher(ALICE).expect("nobody publishes");
        assert!(alice.go_live(tracks(Codec::Vp8), scene.now));
        scene.wait(2000);
        let bob = scene.publisher(BOB).expect("may try");
        assert!(alice.holds() && !bob.holds(), "not before the answer");
        assert!(!bob.go_live(tracks(Codec::H264), scene.now));
        drop(bob);
        assert_eq!(scene.directory.take_over(&scene.key, BOB), Err(Lost));
        assert_eq!(scene.directory.live_tracks(&scene.key), Some(tracks(Codec::Vp8)));
        assert_eq!(scene.directory.counts().publishers, 1);
        drop(alice);
        assert_eq!(scene.directory.counts(), Counts::default());
    }
}

#[test]
fn a_publisher_that_leaves_during_a_takeover_leaves_the_place_to_the_challenger() {
    let scene = Scene::new(Config { on_conflict: Conflict::TakeOver, publishers: 1, ..Config::default() });
    let alice = scene.publisher(ALICE).expect("nobody publishes");
    let bob = scene.publisher(BOB).expect("who takes over needs no further place");
    drop(alice);
    assert_eq!(scene.directory.take_over(&scene.key, BOB), Ok(None));
    assert!(bob.go_live(tracks(Codec::Vp8), scene.now));
}

#[test]
fn of_two_challengers_one_is_told_that_it_came_too_late() {
    let scene = Scene::new(Config { on_conflict: Conflict::TakeOver, ..Config::default() });
    let _alice = scene.publisher(ALICE).expect("nobody publishes");
    let _bob = scene.publisher(BOB).expect("takes over");
    let _carol = scene.publisher(CAROL).expect("takes over");
    assert_eq!(scene.directory.take_over(&scene.key, BOB), Err(Lost));
    assert_eq!(scene.directory.take_over(&scene.key, CAROL), Ok(Some(ALICE)));

    let mut scene = Scene::new(Config::default());
    let _alice = scene.publisher(ALICE).expect("nobody publishes");
    scene.wait(2000);
    let _bob = scene.publisher(BOB).expect("she is silent");
    assert_eq!(scene.publisher(CAROL).err(), Some(OCCUPIED), "by Bob, who is not silent");
}

#[test]
fn publishers_are_counted_and_capped() {
    let mut scene = Scene::new(Config { publishers: 2, ..Config::default() });
    let alice = scene.publisher(ALICE).expect("room");
    scene.key = key("b");
    let _bob = scene.publisher(BOB).expect("room");
    scene.key = key("c");
    assert_eq!(scene.publisher(CAROL).err(), Some(Refused::Full(Full)));
    assert!(scene.subscriber("c").is_ok(), "viewers have places of their own");
    drop(alice);
    assert!(scene.publisher(CAROL).is_ok());
}

#[test]
fn tracks_are_live_from_go_live_to_release() {
    let scene = Scene::new(Config::default());
    let alice = scene.publisher(ALICE).expect("nobody publishes");
    assert_eq!(scene.directory.live_tracks(&scene.key), None);
    alice.go_live(tracks(Codec::Vp8), scene.now);
    assert_eq!(scene.directory.live_tracks(&scene.key), Some(tracks(Codec::Vp8)));
    assert_eq!(scene.directory.live_tracks(&key("other")), None);
    drop(alice);
    assert_eq!(scene.directory.live_tracks(&scene.key), None);
}

#[test]
fn subscribers_are_counted_and_capped() {
    let scene = Scene::new(Config { subscribers: 3, subscribers_per_stream: 2, ..Config::default() });
    let first = scene.subscriber("a").expect("room");
    let _second = scene.subscriber("a").expect("room");
    assert_eq!(scene.subscriber("a").err(), Some(Full), "of this stream");
    let _third = scene.subscriber("b").expect("room");
    assert_eq!(scene.subscriber("c").err(), Some(Full), "of all");
    assert_eq!(scene.directory.counts(), Counts { streams: 2, publishers: 0, live: 0, subscribers: 3 });
    drop(first);
    assert!(scene.subscriber("c").is_ok());
}

#[test]
fn idle_entries_vanish_after_their_time_and_no_other() {
    let mut scene = Scene::new(Config::default());
    let alice = scene.publisher(ALICE).expect("nobody publishes");
    let bob = scene.subscriber("b").expect("room");
    scene.wait(100_000);
    alice.touch(scene.now);
    drop(alice);
    let names =
        |scene: &Scene| -> Vec<_> { scene.directory.list().iter().map(|entry| entry.key.to_string()).collect() };
    scene.wait(59_999);
    scene.directory.sweep(scene.now);
    assert_eq!(names(&scene), ["a", "b"]);
    assert_eq!(scene.directory.counts().streams, 1);
    scene.wait(1);
    scene.directory.sweep(scene.now);
    assert_eq!(names(&scene), ["b"]);
    drop(bob);
    // Nobody sweeps, but somebody tells the time.
    let carol = scene.publisher(CAROL).expect("free");
    scene.wait(60_000);
    carol.touch(scene.now);
    assert_eq!(names(&scene), ["a"]);
}

#[test]
fn streams_are_capped_and_idle_ones_give_way() {
    let mut scene = Scene::new(Config { streams: 2, ..Config::default() });
    let alice = scene.publisher(ALICE).expect("room");
    scene.key = key("b");
    let bob = scene.publisher(BOB).expect("room");
    assert_eq!(scene.subscriber("c").err(), Some(Full));
    scene.key = key("c");
    assert_eq!(scene.publisher(ALICE).err(), Some(Refused::Full(Full)));
    drop(bob);
    assert!(scene.publisher(ALICE).is_ok(), "an idle one gives way before its time");
    drop(alice);
}

#[test]
fn guards_go_from_thread_to_thread() {
    fn sent<T: Send + Sync + 'static>() {}
    sent::<Directory>();
    sent::<PublisherSlot>();
    sent::<SubscriberSlot>();
    let scene = Scene::new(Config::default());
    let slots: Vec<_> = (0..8)
        .map(|_| {
            let (directory, now) = (scene.directory.clone(), scene.now);
            std::thread::spawn(move || directory.reserve_publisher(&key("a"), ALICE, now).ok())
        })
        .collect();
    let taken: Vec<_> = slots.into_iter().filter_map(|thread| thread.join().ok().flatten()).collect();
    assert_eq!(taken.len(), 1, "of many at once one gets it");
}

#[test]
fn who_waits_leaves_room_for_the_publishers_that_may_come() {
    let config = Config { streams: 10, publishers: 3, ..Config::default() };
    let Scene { now, directory, .. } = Scene::new(config);
    let wait = |name: usize| directory.reserve_subscriber(&key(&format!("waits{name}")), SessionId(name as u64));
    let waiting: Vec<SubscriberSlot> = (0..7).map(|name| wait(name).expect("room")).collect();
    assert_eq!(wait(7).unwrap_err(), Full, "the last three are for publishers");
    assert!(wait(0).is_ok(), "a stream that there is may be waited for by many");
    let publish = |name: &str| directory.reserve_publisher(&key(name), ALICE, now);
    let publishers = ["a", "b", "c"].map(|name| publish(name).expect("a place of its own"));
    assert!(directory.reserve_subscriber(&key("a"), BOB).is_ok());
    drop(publishers);
    assert!(publish("waits3").is_ok(), "a stream that is waited for");
    drop(waiting);
    assert!(wait(8).is_ok());
}
