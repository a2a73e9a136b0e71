//! Sessions that begin and end at the same moment, over many schedules. Whatever happens first, each client gets an
//! answer that is true, and afterwards nothing is left: no slot, no URL, no ufrag, no address.
//!
//! The threads of one schedule start together, each after a pause of its own that the schedule's number decides.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use whipstitch_stream::directory::{self, Conflict};
use whipstitch_stream::{CloseReason, StreamKey};
use whipstitch_webrtc::{
    Accepted, Counts, Gateway, GatewayConfig, HalfOpen, Join, Measured, PatchRefusal, Patched, Refusal, Role,
};

use crate::peer::{Peer, publish_and_watch};
use crate::{V4, config, gateway, key};

const PATIENCE: Duration = Duration::from_secs(20);

/// Schedules of the races that need no handshake.
const SCHEDULES: u64 = 150;

const OFFER: &str = include_str!("../fixtures/offers/chromium-156-publisher.sdp");

/// A pause before a thread's part, up to what a POST takes: nothing, a few turns of the loop, or the rest of a time slice.
fn pause(schedule: u64, thread: u64) {
    let mut dice = (schedule << 8 | thread).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    dice ^= dice >> 29;
    match dice % 4 {
        0 => {}
        1 => std::thread::yield_now(),
        _ => (0..dice % 30_000).for_each(|_| std::hint::spin_loop()),
    }
}

/// Runs both at once.
fn both<A: Send, B: Send>(schedule: u64, one: impl FnOnce() -> A + Send, other: impl FnOnce() -> B + Send) -> (A, B) {
    let start = Barrier::new(2);
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            start.wait();
            pause(schedule, 1);
            one()
        });
        start.wait();
        pause(schedule, 2);
        let other = other();
        (thread.join().expect("no panic"), other)
    })
}

/// A POST by a client that never sends a datagram.
fn post(gateway: &Gateway, stream: &StreamKey) -> Result<Accepted, Refusal> {
    let candidates = gateway.local_addrs();
    gateway.publish(&Join { stream, offer: OFFER, candidates, client: V4, user_agent: None, subject: None })
}

fn taking_over() -> Gateway {
    let directory = directory::Config { on_conflict: Conflict::TakeOver, ..directory::Config::default() };
    Gateway::start(&GatewayConfig { directory, ..config(2) }).expect("loopback has a free port")
}

/// Waits for something that follows from what was done, without anybody doing more.
fn until(gateway: &Gateway, happened: impl Fn(&Measured) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let measured = gateway.measure();
        if measured.workers.len() == measured.all && happened(&measured) {
            return;
        }
        assert!(Instant::now() < deadline, "{measured:?}");
    }
}

fn nothing_is_left(gateway: &Gateway) {
    until(gateway, |measured| {
        let tables: usize = measured.workers.iter().map(|worker| worker.ufrags + worker.addresses).sum();
        let panics: u64 = measured.workers.iter().map(|worker| worker.panics).sum();
        assert_eq!(panics, 0);
        (measured.counts, measured.urls, tables) == (Counts::default(), 0, 0)
    });
    assert!(gateway.streams().iter().all(|stream| stream.publisher.is_none() && stream.subscribers.is_empty()));
}

#[test]
fn of_two_publishers_at_once_one_has_the_stream_and_the_other_leaves_nothing() {
    let (gateway, stream) = (gateway(2), key("cam"));
    for schedule in 0..SCHEDULES {
        let (one, other) = both(schedule, || post(&gateway, &stream), || post(&gateway, &stream));
        let (winner, loser) = if one.is_ok() { (one, other) } else { (other, one) };
        let winner = winner.expect("one of them");
        assert!(matches!(loser, Err(Refusal::Conflict { .. })), "schedule {schedule}: {loser:?}");
        assert_eq!((gateway.counts().publishers, gateway.measure().urls), (1, 1));
        assert!(gateway.exists(Role::Publisher, &stream, &winner.resource));
        gateway.delete(Role::Publisher, &stream, &winner.resource).expect("it is there");
        nothing_is_left(&gateway);
    }
}

#[test]
fn of_two_that_take_a_stream_over_at_once_one_is_left() {
    let (gateway, stream) = (taking_over(), key("cam"));
    for schedule in 0..SCHEDULES {
        // Every other time somebody has it already, and comes again.
        let first = (schedule % 2 == 0).then(|| post(&gateway, &stream).expect("nobody has it"));
        let (one, other) = both(schedule, || post(&gateway, &stream), || post(&gateway, &stream));
        let refused = |outcome: &Result<Accepted, Refusal>| matches!(outcome, Err(Refusal::Conflict { .. }));
        assert!(one.is_ok() || refused(&one), "schedule {schedule}: {one:?}");
        assert!(other.is_ok() || refused(&other), "schedule {schedule}: {other:?}");
        until(&gateway, |measured| measured.urls == 1);
        let exists = |accepted: &Accepted| gateway.exists(Role::Publisher, &stream, &accepted.resource);
        let left: Vec<_> = [one.ok(), other.ok()].into_iter().flatten().filter(exists).collect();
        assert_eq!(left.len(), 1, "schedule {schedule}");
        assert!(first.is_none_or(|first| !exists(&first)), "schedule {schedule}");
        gateway.delete(Role::Publisher, &stream, &left[0].resource).expect("it is there");
        nothing_is_left(&gateway);
    }
}

#[test]
fn a_post_against_the_stop_leaves_nothing() {
    for schedule in 0..SCHEDULES / 5 {
        let (gateway, stream) = (gateway(2), key("cam"));
        let ((), accepted) = both(
            schedule,
            || gateway.stop(),
            || (0..20).map(|n| post(&gateway, &key(&format!("cam{n}")))).filter(Result::is_ok).count(),
        );
        let measured = gateway.measure();
        assert_eq!(
            (measured.counts, measured.urls),
            (Counts::default(), 0),
            "schedule {schedule}, {accepted} accepted"
        );
        assert!(matches!(post(&gateway, &stream), Err(Refusal::Busy { .. })));
    }
}

#[test]
fn all_who_end_a_session_at_once_succeed_and_it_ends_once() {
    let (gateway, stream) = (gateway(2), key("cam"));
    for schedule in 0..SCHEDULES {
        let accepted = post(&gateway, &stream).expect("nobody has it");
        let (deleted, ()) = both(
            schedule,
            || gateway.delete(Role::Publisher, &stream, &accepted.resource),
            || {
                // Whether they come in time is chance.
                gateway.kick(accepted.session);
                gateway.close_publisher(&stream);
            },
        );
        assert!(deleted.is_ok());
        nothing_is_left(&gateway);
        assert!(gateway.delete(Role::Publisher, &stream, &accepted.resource).is_ok(), "its tombstone answers");
        assert!(!gateway.kick(accepted.session) && !gateway.close_publisher(&stream));
    }
    assert_eq!(gateway.closed().len() as u64, SCHEDULES);
}

#[test]
fn a_session_that_ends_while_its_answer_is_written_is_gone_and_has_a_tombstone() {
    let (gateway, stream) = (gateway(2), key("cam"));
    for schedule in 0..SCHEDULES {
        let (accepted, ()) = both(
            schedule,
            || post(&gateway, &stream).expect("nobody has it"),
            || while !gateway.close_publisher(&stream) {},
        );
        nothing_is_left(&gateway);
        assert!(!gateway.exists(Role::Publisher, &stream, &accepted.resource));
        assert!(gateway.delete(Role::Publisher, &stream, &accepted.resource).is_ok());
        assert_eq!(gateway.closed()[0].report.session, accepted.session);
    }
}

#[test]
fn a_restart_against_the_end_leaves_no_ufrag() {
    let (gateway, stream) = (gateway(2), key("cam"));
    let mut restarted = 0;
    for schedule in 0..SCHEDULES {
        let accepted = post(&gateway, &stream).expect("nobody has it");
        let fresh = format!("a=ice-ufrag:new{schedule:05}\r\na=ice-pwd:0123456789abcdefghijklmn\r\n");
        let url = (Role::Publisher, &stream, accepted.resource.as_str());
        let (patched, deleted) = both(
            schedule,
            || gateway.patch(url.0, url.1, url.2, Some(&accepted.etag), &fresh),
            || gateway.delete(url.0, url.1, url.2),
        );
        assert!(deleted.is_ok());
        match patched {
            Ok(Patched::Restarted { .. }) => restarted += 1,
            Err(PatchRefusal::NotFound) => {}
            other => panic!("schedule {schedule}: {other:?}"),
        }
        nothing_is_left(&gateway);
        assert_eq!(gateway.patch(url.0, url.1, url.2, Some("*"), &fresh), Err(PatchRefusal::NotFound));
    }
    assert!(restarted > 0, "or there was no race");
}

/// Lives for some steps of its handshake, or of what comes after it.
fn some_steps(peer: &mut Peer, steps: u64) {
    (0..steps).for_each(|_| peer.step());
}

#[test]
fn a_session_may_be_ended_at_every_step_of_its_handshake() {
    let (gateway, stream) = (gateway(2), key("cam"));
    let mut connected = [0, 0];
    for steps in 0..24 {
        let mut publisher = Peer::publisher(&gateway, &stream, V4).expect("nobody has it");
        some_steps(&mut publisher, steps);
        connected[0] += u64::from(publisher.connected);
        gateway.delete(Role::Publisher, &stream, &publisher.accepted.resource).expect("it is there");
        nothing_is_left(&gateway);
        some_steps(&mut publisher, 5);
        nothing_is_left(&gateway);

        let mut publisher = Peer::publisher(&gateway, &stream, V4).expect("nobody has it");
        publisher.until(|peer| peer.connected);
        let mut viewer = Peer::viewer(&gateway, &stream, V4).expect("it is live");
        some_steps(&mut viewer, steps);
        connected[1] += u64::from(viewer.connected);
        gateway.delete(Role::Subscriber, &stream, &viewer.accepted.resource).expect("it is there");
        some_steps(&mut viewer, 5);
        until(&gateway, |measured| measured.counts.subscribers == 0 && measured.urls == 1);
        gateway.delete(Role::Publisher, &stream, &publisher.accepted.resource).expect("it is there");
        nothing_is_left(&gateway);
    }
    assert!(connected.iter().all(|count| (1..24).contains(count)), "before and after the end of it: {connected:?}");
}

#[test]
fn who_loses_the_stream_during_its_handshake_never_goes_live() {
    let (gateway, stream) = (taking_over(), key("cam"));
    for steps in 0..8 {
        let mut first = Peer::publisher(&gateway, &stream, V4).expect("nobody has it");
        some_steps(&mut first, steps);
        let mut second = Peer::publisher(&gateway, &stream, V4).expect("it takes over");
        // Its URL is gone at once, the session as soon as its worker gets to it.
        until(&gateway, |measured| measured.workers.iter().map(|worker| worker.publishers.sessions).sum::<u64>() == 1);
        assert_eq!(gateway.closed()[0].report.session, first.accepted.session);
        assert_eq!(gateway.closed()[0].reason, CloseReason::Replaced.as_str());
        second.until(|peer| peer.connected);
        let mut viewers = vec![Peer::viewer(&gateway, &stream, V4).expect("it is live")];
        // Packets of the first would be gaps and repeats in what the viewer gets.
        for seen in 1..4 {
            if first.connected {
                first.send_keyframe();
            }
            first.step();
            publish_and_watch(&mut second, &mut viewers, seen);
        }
        for (role, peer) in [(Role::Publisher, &second), (Role::Subscriber, &viewers[0])] {
            gateway.delete(role, &stream, &peer.accepted.resource).expect("it is there");
        }
        nothing_is_left(&gateway);
    }
}

#[test]
fn a_client_that_goes_away_after_its_post_is_forgotten_in_time() {
    let half_open = HalfOpen { setup: Duration::from_millis(100), ..HalfOpen::default() };
    let gateway = Gateway::start(&GatewayConfig { half_open, ..config(2) }).expect("loopback has a free port");
    let stream = key("cam");
    // Without a datagram, and after its first check.
    for steps in [0, 1] {
        let mut publisher = Peer::publisher(&gateway, &stream, V4).expect("nobody has it");
        some_steps(&mut publisher, steps);
        nothing_is_left(&gateway);
        assert_eq!(gateway.closed()[0].reason, CloseReason::IceTimeout.as_str());
    }
}
