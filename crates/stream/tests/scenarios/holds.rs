//! A stream that is held for an owner is nobody else's to publish, whatever the policy; and always the owner's.

use std::time::{Duration, Instant};

use whipstitch_media::Codec;
use whipstitch_stream::directory::{CHILDREN, Config, Conflict, Directory, Full, Held, Lost, Refused};
use whipstitch_stream::{SessionId, StreamKey};

use crate::kit::{ALICE, BOB, tracks};

const CHILD: SessionId = SessionId(0xc411d);

fn key(name: &str) -> StreamKey {
    StreamKey::parse(name).expect("a legal name")
}

fn directory(config: Config) -> (Directory, Instant, StreamKey) {
    let now = Instant::now();
    (Directory::new(config, now), now, key("p-out"))
}

#[test]
fn who_does_not_own_it_is_refused_under_every_policy_also_while_nobody_publishes() {
    for on_conflict in [Conflict::Reject, Conflict::TakeOver] {
        let (directory, now, out) = directory(Config { on_conflict, ..Config::default() });
        let hold = directory.hold(&out, "p").unwrap();
        let stranger = |now| directory.reserve_publisher(&out, ALICE, now).err();
        let other = |now| directory.reserve_publisher_as(&out, BOB, now, Some("q")).err();
        assert_eq!((stranger(now), other(now)), (Some(Refused::Held), Some(Refused::Held)));
        let child = directory.reserve_publisher_as(&out, CHILD, now, Some("p")).unwrap();
        assert!(child.go_live(tracks(Codec::Vp8), now));
        let silent = now + Duration::from_secs(60);
        assert_eq!((stranger(silent), other(silent)), (Some(Refused::Held), Some(Refused::Held)));
        // Between two children.
        drop(child);
        assert_eq!(stranger(silent), Some(Refused::Held));
        assert!(directory.reserve_publisher(&key("another"), ALICE, now).is_ok(), "only the one that is held");
        drop(hold);
        assert!(directory.reserve_publisher(&out, ALICE, silent).is_ok());
    }
}

#[test]
fn the_owner_replaces_whoever_is_there_and_is_not_replaced_by_who_came_before_the_hold() {
    let (directory, now, out) = directory(Config { on_conflict: Conflict::TakeOver, ..Config::default() });
    let alice = directory.reserve_publisher(&out, ALICE, now).unwrap();
    assert!(alice.go_live(tracks(Codec::Vp8), now));
    let _bob = directory.reserve_publisher(&out, BOB, now).unwrap();
    let _hold = directory.hold(&out, "p").unwrap();
    assert!(alice.holds(), "a hold ends nobody");
    assert_eq!(directory.take_over(&out, BOB), Err(Lost), "who was being negotiated with comes too late");
    let child = directory.reserve_publisher_as(&out, CHILD, now, Some("p")).unwrap();
    assert_eq!(directory.take_over(&out, CHILD), Ok(Some(ALICE)));
    assert!(child.holds() && !alice.holds());
    // The next child need not wait for the silence of the last one.
    let next = directory.reserve_publisher_as(&out, SessionId(7), now, Some("p")).unwrap();
    assert_eq!(directory.take_over(&out, SessionId(7)), Ok(Some(CHILD)));
    assert!(next.holds());
}

#[test]
fn a_stream_is_held_for_one_owner_until_its_last_guard_is_dropped() {
    let (directory, now, out) = directory(Config::default());
    let first = directory.hold(&out, "p").unwrap();
    let second = directory.clone().hold(&out, "p").unwrap();
    assert_eq!(directory.hold(&out, "q").err(), Some(Held("p".into())));
    drop(first);
    assert_eq!(directory.reserve_publisher(&out, ALICE, now).err(), Some(Refused::Held));
    drop(second);
    let _other = directory.hold(&out, "q").unwrap();
    assert_eq!(directory.reserve_publisher_as(&out, CHILD, now, Some("p")).err(), Some(Refused::Held));
}

#[test]
fn an_owner_of_nothing_is_anybody() {
    let (directory, now, out) = directory(Config::default());
    let alice = directory.reserve_publisher(&out, ALICE, now).unwrap();
    alice.go_live(tracks(Codec::Vp8), now);
    let refused = directory.reserve_publisher_as(&out, CHILD, now, Some("p")).err();
    assert_eq!(refused, Some(Refused::Occupied { retry: Duration::from_secs(2) }));
}

#[test]
fn strangers_cannot_use_up_what_children_need() {
    let small = Config { streams: 2, publishers: 2, subscribers: 2, subscribers_per_stream: 2, ..Config::default() };
    let (directory, now, out) = directory(small);
    let _strangers = ["a", "b"].map(|name| directory.reserve_publisher(&key(name), ALICE, now).unwrap());
    let _viewers = [BOB; 2].map(|session| directory.reserve_subscriber(&key("a"), session).unwrap());
    assert_eq!(directory.reserve_publisher_as(&out, CHILD, now, Some("p")).err(), Some(Refused::Full(Full)));
    let _hold = directory.hold(&out, "p").unwrap();
    let _child = directory.reserve_publisher_as(&out, CHILD, now, Some("p")).unwrap();
    assert_eq!(directory.reserve_subscriber(&key("a"), BOB).err(), Some(Full));
    let _children: Vec<_> =
        (0..CHILDREN).map(|_| directory.reserve_subscriber_of_child(&key("a"), BOB).unwrap()).collect();
    assert_eq!(directory.reserve_subscriber_of_child(&key("a"), BOB).err(), Some(Full), "bounded all the same");
}
