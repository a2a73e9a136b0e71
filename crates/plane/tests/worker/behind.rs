//! What a worker that is held up, with a full mailbox, is told all the same.

use std::sync::mpsc::{Receiver, SyncSender};
use std::time::Duration;

use whipstitch_media::Codec;
use whipstitch_plane::{Action, Full, Plane, Role};
use whipstitch_stream::stream::Config;
use whipstitch_stream::{CloseReason, SessionId};

use crate::script::{Met, Script, add, plane, plane_with, restart, try_add, video, vp8};
use crate::{SOON, until};

/// Nobody's name.
const NOBODY: SessionId = SessionId(999);

/// Keeps a worker from everything until what is returned is dropped.
fn hold(plane: &Plane, worker: usize) -> SyncSender<()> {
    let (script, seen) = Script::new(1000 + worker as u64, Role::Subscriber);
    let (script, release) = script.holding();
    add(plane, worker, script);
    assert_eq!(seen.recv_timeout(SOON), Ok(Met::Held));
    release
}

fn fill(plane: &Plane, worker: usize) {
    while plane.tell(worker, NOBODY, restart()).is_ok() {}
}

/// Waits until a worker that was held up has taken everything that waited for it.
fn caught_up(plane: &Plane, worker: usize) {
    let held = SessionId(1000 + worker as u64);
    until(|| plane.report().sessions.iter().any(|report| report.session == held));
}

fn closed(seen: &Receiver<Met>) {
    while seen.recv_timeout(SOON).expect("it is closed") != Met::Closed {}
}

#[test]
fn a_session_is_ended_however_full_the_mailbox_is() {
    let plane = plane(1);
    let (there, there_seen) = Script::new(1, Role::Subscriber);
    let (waiting, waiting_seen) = Script::new(2, Role::Subscriber);
    let (coming, coming_seen) = Script::new(3, Role::Subscriber);
    let endings = [there.ending.clone(), waiting.ending.clone(), coming.ending.clone()];
    add(&plane, 0, there);
    let release = hold(&plane, 0);
    add(&plane, 0, waiting);
    fill(&plane, 0);
    for (session, ending) in (1..).map(SessionId).zip(&endings) {
        plane.end(0, session, ending, CloseReason::ByRequest);
    }
    drop(release);
    closed(&there_seen);
    closed(&waiting_seen);
    // Ordered to end before it came.
    caught_up(&plane, 0);
    add(&plane, 0, coming);
    closed(&coming_seen);
    assert_eq!(plane.report().sessions.len(), 1, "the one that held the worker is left");
}

#[test]
fn a_session_that_has_no_room_is_dropped_at_once() {
    let plane = plane(1);
    let release = hold(&plane, 0);
    fill(&plane, 0);
    let (refused, seen) = Script::new(1, Role::Publisher);
    assert_eq!(try_add(&plane, 0, refused), Err(Full));
    assert!(seen.recv().is_err(), "with everything it held");
    drop(release);
}

#[test]
fn a_plane_stops_however_full_its_mailboxes_are() {
    let plane = plane(2);
    let (lives, seen) = Script::new(1, Role::Subscriber);
    add(&plane, 0, lives);
    let release = hold(&plane, 0);
    fill(&plane, 0);
    let stopping = {
        let plane = plane.clone();
        std::thread::spawn(move || plane.stop())
    };
    drop(release);
    closed(&seen);
    stopping.join().unwrap();
}

#[test]
fn subscribers_on_a_worker_that_is_held_up_learn_of_other_tracks_and_of_the_end() {
    let plane = plane_with(2, Config { grace: Some(Duration::from_millis(1)), ..Config::default() });
    let (first, _) = Script::new(1, Role::Publisher);
    let home = plane.home(&first.stream);
    add(&plane, home, first.at_once(|| vec![Action::Publish(vp8())]));
    until(|| !plane.report().streams.is_empty());
    let (subscriber, seen) = Script::new(2, Role::Subscriber);
    add(&plane, 1 - home, subscriber.at_once(|| vec![Action::Subscribe]));
    assert_eq!(seen.recv_timeout(SOON), Ok(Met::Tracks(vp8())));

    let release = hold(&plane, 1 - home);
    fill(&plane, 1 - home);
    let (second, _) = Script::new(3, Role::Publisher);
    let ending = second.ending.clone();
    add(&plane, home, second.at_once(|| vec![Action::Publish(video(Codec::Vp9))]));
    until(|| plane.report().streams.iter().any(|(_, stats)| stats.publishers == 2));
    drop(release);
    assert_eq!(seen.recv_timeout(SOON), Ok(Met::Tracks(video(Codec::Vp9))));
    caught_up(&plane, 1 - home);

    let release = hold(&plane, 1 - home);
    fill(&plane, 1 - home);
    plane.end(home, SessionId(3), &ending, CloseReason::ByPeer);
    until(|| plane.report().streams.iter().any(|(_, stats)| stats.publisher.is_none()));
    drop(release);
    closed(&seen);
}

#[test]
fn a_home_that_is_held_up_learns_who_has_come() {
    let plane = plane(2);
    let (publisher, _) = Script::new(1, Role::Publisher);
    let home = plane.home(&publisher.stream);
    add(&plane, home, publisher.at_once(|| vec![Action::Publish(vp8())]));
    until(|| !plane.report().streams.is_empty());
    let release = hold(&plane, home);
    fill(&plane, home);
    let (subscriber, seen) = Script::new(2, Role::Subscriber);
    add(&plane, 1 - home, subscriber.at_once(|| vec![Action::Subscribe]));
    // Once it has counted two turns more, the other worker has had the one in which it subscribes.
    let turns = |worker| plane.measure().iter().find(|report| report.worker == worker).map(|report| report.turns);
    let mut before = None;
    until(|| {
        before = before.or(turns(1 - home));
        turns(1 - home) > before.map(|before| before + 2)
    });
    drop(release);
    assert_eq!(seen.recv_timeout(SOON), Ok(Met::Tracks(vp8())));
}

#[test]
fn a_session_is_woken_however_full_the_mailbox_is_and_once_however_often() {
    let plane = plane(1);
    let (script, seen) = Script::new(1, Role::Publisher);
    add(&plane, 0, script);
    let release = hold(&plane, 0);
    fill(&plane, 0);
    plane.wake(0, NOBODY);
    for _ in 0..3 {
        plane.wake(0, SessionId(1));
    }
    drop(release);
    caught_up(&plane, 0);
    plane.wake(0, SessionId(1));
    plane.end_session(SessionId(1), CloseReason::ByRequest);
    assert_eq!(seen.iter().collect::<Vec<_>>(), [Met::Woken, Met::Woken, Met::Closed]);
}
