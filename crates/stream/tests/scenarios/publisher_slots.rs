//! Who may publish is decided before anything is negotiated, and a slot frees nothing but its own place.

use std::time::{Duration, Instant};

use whipstitch_media::Codec;
use whipstitch_stream::directory::{Config, Conflict, Counts, Directory, Full, PublisherSlot, Refused, SubscriberSlot};
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
    let bob = scene.publisher(BOB).expect("she is gone");
    assert_eq!(bob.replaces, None);
}

#[test]
fn a_silent_publisher_is_replaced_after_two_seconds() {
    let mut scene = Scene::new(Config::default());
    let alice = scene.publisher(ALICE).expect("nobody publishes");
    alice.go_live(tracks(Codec::Vp8), scene.now);
    scene.wait(2000);
    let bob = scene.publisher(BOB).expect("she is silent");
    assert_eq!(bob.replaces, Some(ALICE));
    assert!(!alice.holds() && bob.holds());
    assert!(!alice.go_live(tracks(Codec::H264), scene.now), "too late");
    assert_eq!(scene.directory.live_tracks(&scene.key), None);
}

#[test]
fn a_late_release_never_frees_a_newer_slot() {
    let mut scene = Scene::new(Config::default());
    let first = scene.publisher(ALICE).expect("nobody publishes");
    scene.wait(2000);
    // The same session even, as after a fast reconnect.
    let second = scene.publisher(ALICE).expect("silent");
    drop(first);
    assert_eq!(scene.holder(), Some(ALICE));
    assert_eq!(scene.publisher(BOB).err(), Some(OCCUPIED));
    scene.wait(2000);
    let third = scene.publisher(CAROL).expect("silent");
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
    let _bob = scene.publisher(BOB).expect("silent");
    scene.wait(2000);
    alice.touch(scene.now);
    assert_eq!(scene.publisher(CAROL).expect("Bob is silent").replaces, Some(BOB));
}

#[test]
fn with_takeover_the_second_publisher_wins() {
    let scene = Scene::new(Config { on_conflict: Conflict::TakeOver, ..Config::default() });
    let _alice = scene.publisher(ALICE).expect("nobody publishes");
    assert_eq!(scene.publisher(BOB).expect("takes over").replaces, Some(ALICE));
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
    let bob = scene.subscriber("b").expect("room");
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
