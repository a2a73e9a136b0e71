//! What workers owe to sessions that misbehave or come at a bad moment, with scripted sessions over real sockets.

mod allocations;
mod behind;
mod counting;
mod expected;
mod schedules;
mod script;
mod slow;
mod stage;
mod storm;

use std::io::Write;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use script::{Met, Script, add, plane, plane_with, restart, ufrag, vp8};
use whipstitch_media::{Extensions, Kind, Packet};
use whipstitch_net::{framing, stun};
use whipstitch_plane::{Action, Plane, Role};
use whipstitch_stream::stream::Config;
use whipstitch_stream::{CloseReason, SessionId};

/// How long anything may take on a busy machine before a test is given up.
const SOON: Duration = Duration::from_secs(20);

/// Waits for something that becomes true by itself.
fn until(mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !is_so() {
        assert!(Instant::now() < deadline, "it does not come about");
        std::thread::yield_now();
    }
}

/// Waits until every worker has taken what it was sent before. A busy one may miss the time for an answer.
fn all_answer(plane: &Plane) {
    until(|| plane.measure().len() == plane.workers());
}

#[test]
fn a_deadline_that_does_not_move_keeps_nobody_waiting() {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    let plane = plane(1);
    let (stuck, seen) = Script::new(1, Role::Subscriber);
    let ending = stuck.ending.clone();
    let stuck = stuck.at_once(|| {
        CALLS.fetch_add(1, Ordering::Relaxed);
        Vec::new()
    });
    add(&plane, 0, stuck);
    until(|| CALLS.load(Ordering::Relaxed) > 2);
    plane.end(0, SessionId(1), &ending, CloseReason::ByRequest);
    assert_eq!(seen.recv_timeout(SOON), Ok(Met::Closed));
}

/// A picture of VP8, a key picture or another one (RFC 7741 4.2, RFC 6386 9.1).
fn picture(key: bool, seq: u64) -> Action {
    let payload: &[u8] = &[0x10, if key { 0x10 } else { 0x31 }, 0, 0, 0x9d, 0x01, 0x2a, 16, 0, 16, 0];
    let packet = Packet {
        seq,
        time: seq * 3000,
        marker: true,
        payload: payload.into(),
        extensions: Extensions::default(),
        arrived: Instant::now(),
    };
    Action::Push(Kind::Video, packet)
}

#[test]
fn a_publisher_is_asked_for_a_keyframe_when_video_is_lost_for_good() {
    let plane = plane(1);
    let (mut publisher, seen) = Script::new(1, Role::Publisher);
    publisher.tells_requests = true;
    let publisher = publisher.at_once(|| {
        let begun = [Action::Publish(vp8()), picture(true, 1), picture(false, 3)];
        let told = [Action::RoundTrip(Duration::from_millis(5)), Action::Lost(2)];
        begun.into_iter().chain(told).collect()
    });
    add(&plane, 0, publisher);
    assert_eq!(seen.recv_timeout(SOON), Ok(Met::Asked), "nobody watches who would have asked");
}

#[test]
fn who_subscribes_late_is_told_the_tracks_on_every_worker() {
    let plane = plane(2);
    let (publisher, _seen) = Script::new(1, Role::Publisher);
    let home = plane.home(&publisher.stream);
    add(&plane, home, publisher.at_once(|| vec![Action::Publish(vp8())]));
    until(|| !plane.report().streams.is_empty());
    for (session, worker) in [(2, home), (3, 1 - home), (4, 1 - home)] {
        let (subscriber, seen) = Script::new(session, Role::Subscriber);
        add(&plane, worker, subscriber.at_once(|| vec![Action::Subscribe]));
        assert_eq!(seen.recv_timeout(SOON), Ok(Met::Tracks(vp8())), "session {session}");
    }
}

#[test]
fn what_a_publisher_sends_is_described_as_long_as_it_does() {
    let plane = plane(2);
    let (publisher, seen) = Script::new(1, Role::Publisher);
    let (stream, home) = (publisher.stream.clone(), plane.home(&publisher.stream));
    let ending = publisher.ending.clone();
    add(&plane, home, publisher.at_once(|| vec![Action::Publish(vp8())]));
    until(|| plane.running().get(&stream).is_some());
    let description = plane.running().get(&stream).expect("it was there");
    assert_eq!((description.publisher, &description.tracks, description.whole), (SessionId(1), &vp8(), true));
    plane.end(home, SessionId(1), &ending, CloseReason::ByPeer);
    assert_eq!(seen.recv_timeout(SOON), Ok(Met::Closed));
    until(|| plane.running().get(&stream).is_none());
}

#[test]
fn a_session_is_ended_by_its_name_whoever_added_it_and_however_it_is_found() {
    let plane = plane(2);
    let (script, seen) = Script::new(1, Role::Publisher);
    let (stream, ending) = (script.stream.clone(), script.ending.clone());
    // Without a ufrag: no datagram finds it.
    plane.add(1, Box::new(script), None, ending).unwrap();
    assert_eq!(plane.end_session(SessionId(2), CloseReason::ByRequest), None);
    assert_eq!(plane.end_session(SessionId(1), CloseReason::ByRequest), Some((Role::Publisher, stream)));
    assert_eq!(seen.recv_timeout(SOON), Ok(Met::Closed));
    until(|| plane.end_session(SessionId(1), CloseReason::ByRequest).is_none());
}

#[test]
fn who_ends_while_it_subscribes_takes_nobody_along() {
    let plane = plane(1);
    let (mut fussy, seen) = Script::new(2, Role::Subscriber);
    fussy.fussy = true;
    add(&plane, 0, fussy.at_once(|| vec![Action::Subscribe, Action::RequestKeyframe, Action::Ufrag("Aother".into())]));
    assert!(matches!(seen.recv_timeout(SOON), Ok(Met::Tracks(_))));
    assert_eq!(seen.recv_timeout(SOON), Ok(Met::Closed));
    assert!(plane.report().sessions.is_empty());
    let (next, seen) = Script::new(3, Role::Subscriber);
    add(&plane, 0, next.at_once(|| vec![Action::Subscribe]));
    assert!(seen.recv_timeout(SOON).is_ok(), "the worker lives on");
}

#[test]
fn who_subscribes_after_the_end_is_closed_on_every_worker() {
    let plane = plane_with(2, Config { grace: Some(Duration::from_millis(1)), ..Config::default() });
    let (publisher, seen) = Script::new(1, Role::Publisher);
    let (home, ending) = (plane.home(&publisher.stream), publisher.ending.clone());
    add(&plane, home, publisher.at_once(|| vec![Action::Publish(vp8())]));
    until(|| !plane.report().streams.is_empty());
    let (watches, ended) = Script::new(2, Role::Subscriber);
    add(&plane, home, watches.at_once(|| vec![Action::Subscribe]));
    assert_eq!(ended.recv_timeout(SOON), Ok(Met::Tracks(vp8())));
    plane.end(home, SessionId(1), &ending, CloseReason::ByPeer);
    assert_eq!(seen.recv_timeout(SOON), Ok(Met::Closed));
    assert_eq!(ended.recv_timeout(SOON), Ok(Met::Closed), "nobody came back in the grace time");
    for (session, worker) in [(3, home), (4, 1 - home)] {
        let (late, seen) = Script::new(session, Role::Subscriber);
        add(&plane, worker, late.at_once(|| vec![Action::Subscribe]));
        assert_eq!(seen.recv_timeout(SOON), Ok(Met::Tracks(vp8())));
        assert_eq!(seen.recv_timeout(SOON), Ok(Met::Closed), "session {session}");
    }
    assert!(plane.report().sessions.is_empty());
    assert!(plane.measure().iter().all(|worker| (worker.ufrags, worker.addresses, worker.panics) == (0, 0, 0)));
}

#[test]
fn an_address_belongs_to_whom_it_was_checked_for_last_on_whichever_worker() {
    let plane = plane(2);
    let server = plane.local_addrs()[0];
    let mut seen = Vec::new();
    for (session, worker) in [(1, 0), (2, 1)] {
        let (script, met) = Script::new(session, Role::Subscriber);
        add(&plane, worker, script);
        seen.push(met);
    }
    // The kernel spreads them over the sockets of both workers.
    for client in (0..16).map(|_| UdpSocket::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap()) {
        for (session, worker) in [(1, 0), (2, 1)] {
            let username = format!("{}:any", ufrag(worker, session));
            let check = stun::binding_request(&username, "any", true, 1, 1, [1; 12]);
            client.send_to(&check, server).unwrap();
            assert_eq!(seen[worker].recv_timeout(SOON), Ok(Met::Stun));
            // After one answer the session's worker has told of the address, after the next the other one has heard it.
            all_answer(&plane);
            all_answer(&plane);
        }
        client.send_to(&[0x80; 40], server).unwrap();
        assert_eq!(seen[1].recv_timeout(SOON), Ok(Met::Media(SessionId(2))));
    }
    assert!(seen[0].try_recv().is_err());
}

#[test]
fn a_worker_that_has_ended_does_not_keep_the_others_from_stopping() {
    let plane = plane(2);
    let (mut breaks, seen) = Script::new(1, Role::Subscriber);
    breaks.breaks_when_dropped = true;
    add(&plane, 0, breaks.at_once(|| vec![Action::Close(CloseReason::ByRequest)]));
    let (lives, closed) = Script::new(2, Role::Subscriber);
    add(&plane, 1, lives);
    assert_eq!(seen.recv_timeout(SOON), Ok(Met::Closed));
    // Its mailbox refuses from now on.
    until(|| plane.tell(0, SessionId(1), restart()).is_err());
    let (done, stopped) = mpsc::sync_channel(64);
    std::thread::spawn(move || {
        plane.stop();
        let _ = done.send(());
    });
    assert_eq!(stopped.recv_timeout(SOON), Ok(()));
    assert_eq!(closed.recv_timeout(SOON), Ok(Met::Closed), "the other one said goodbye");
}

/// A connection that session 1, on worker 0, has accepted a check over.
fn checked(plane: &Plane, seen: &mpsc::Receiver<Met>) -> TcpStream {
    let mut client = TcpStream::connect(plane.local_addrs()[0]).unwrap();
    let mut check = Vec::new();
    let username = format!("{}:any", ufrag(0, 1));
    assert!(framing::frame(&stun::binding_request(&username, "any", true, 1, 1, [1; 12]), &mut check));
    client.write_all(&check).unwrap();
    assert_eq!(seen.recv_timeout(SOON), Ok(Met::Stun));
    client
}

/// A frame of nothing is two bytes long: a read brings thousands, of which one turn of the worker takes its share.
#[test]
fn a_connection_full_of_small_frames_leaves_time_for_others() {
    const FRAMES: u64 = 32_768;
    let plane = plane(1);
    let (script, seen) = Script::new(1, Role::Subscriber);
    let most_in_a_turn = Arc::clone(&script.most_in_a_turn);
    add(&plane, 0, script);
    let mut client = checked(&plane, &seen);
    client.write_all(&[0; 2 * FRAMES as usize]).unwrap();
    until(|| plane.measure().iter().any(|report| report.received.datagrams > FRAMES));
    let most = most_in_a_turn.load(Ordering::Relaxed);
    assert!((1..5000).contains(&most), "{most} in one turn");
}

/// 65 535 bytes announced: whoever does that speaks something else.
#[test]
fn a_frame_of_absurd_length_ends_its_connection_and_nothing_else_and_is_counted() {
    let plane = plane(1);
    let (script, seen) = Script::new(1, Role::Subscriber);
    add(&plane, 0, script);
    let mut client = checked(&plane, &seen);
    let mut stranger = TcpStream::connect(plane.local_addrs()[0]).unwrap();
    for (connection, left) in [(&mut stranger, 1), (&mut client, 0)] {
        connection.write_all(&[0xff; 3]).unwrap();
        until(|| plane.measure().iter().any(|report| (report.connections, report.strays) == (left, 2 - left as u64)));
    }
    assert_eq!(seen.recv_timeout(SOON), Ok(Met::PathClosed));
    assert_eq!(plane.report().sessions.len(), 1, "it may come again over another path");
}
