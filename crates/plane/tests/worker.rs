//! What workers owe to sessions that misbehave or come at a bad moment, with scripted sessions over real sockets.

use std::net::{SocketAddr, UdpSocket};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::{Duration, Instant};

use whipstitch_media::Codec;
use whipstitch_net::Path;
use whipstitch_net::sort::{Sort, sort};
use whipstitch_net::stun;
use whipstitch_plane::{
    Action, Context, Delivery, Peer, PeerCommand, Plane, PlaneConfig, Role, SessionStats, ufrag_tag,
};
use whipstitch_stream::stream::Config;
use whipstitch_stream::{Burst, CloseReason, SessionId, StreamKey, Track, Tracks};

const SOON: Duration = Duration::from_secs(5);

/// What a session met.
#[derive(Debug, PartialEq, Eq)]
enum Met {
    Stun,
    Media(SessionId),
    Tracks(Tracks),
    Closed,
}

/// A session that does as it is told.
struct Script {
    session: SessionId,
    stream: StreamKey,
    role: Role,
    deadline: Option<Instant>,
    /// Done when the timer runs out.
    then: fn() -> Vec<Action>,
    /// Ends when it is told of tracks.
    fussy: bool,
    breaks_when_dropped: bool,
    met: SyncSender<Met>,
}

impl Script {
    fn new(session: u64, role: Role) -> (Script, Receiver<Met>) {
        let (met, seen) = mpsc::sync_channel(64);
        let script = Script {
            session: SessionId(session),
            stream: StreamKey::parse("cam").unwrap(),
            role,
            deadline: None,
            then: Vec::new,
            fussy: false,
            breaks_when_dropped: false,
            met,
        };
        (script, seen)
    }

    fn at_once(mut self, then: fn() -> Vec<Action>) -> Script {
        (self.deadline, self.then) = (Some(Instant::now()), then);
        self
    }

    fn meet(&self, met: Met) {
        let _ = self.met.try_send(met);
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        assert!(!self.breaks_when_dropped, "as the test wants it");
    }
}

impl Peer for Script {
    fn session(&self) -> SessionId {
        self.session
    }

    fn stream(&self) -> &StreamKey {
        &self.stream
    }

    fn role(&self) -> Role {
        self.role
    }

    fn handle_datagram(&mut self, cx: &mut Context<'_>, path: Path, datagram: &mut [u8]) {
        if sort(datagram) == Sort::Stun {
            cx.act(Action::Checked(path.remote));
            self.meet(Met::Stun);
        } else {
            self.meet(Met::Media(self.session));
        }
    }

    fn handle_timeout(&mut self, cx: &mut Context<'_>) {
        let actions = (self.then)();
        if !actions.is_empty() {
            self.deadline = None;
        }
        actions.into_iter().for_each(|action| cx.act(action));
    }

    fn handle_command(&mut self, cx: &mut Context<'_>, command: PeerCommand) {
        if let PeerCommand::Close(reason) = command {
            cx.act(Action::Close(reason));
        }
    }

    fn deliver(&mut self, _: &mut Delivery<'_>, _: &Burst) {}

    fn tracks_changed(&mut self, cx: &mut Context<'_>, tracks: &Tracks) {
        self.meet(Met::Tracks(tracks.clone()));
        if self.fussy {
            cx.act(Action::Close(CloseReason::CodecChanged));
        }
    }

    fn request_keyframe(&mut self, _: &mut Context<'_>) {}

    fn close(&mut self, _: &mut Context<'_>, _: &CloseReason) {
        self.meet(Met::Closed);
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn stats(&self, now: Instant) -> SessionStats {
        SessionStats {
            since: now,
            connected: true,
            remote: None,
            user_agent: None,
            codecs: Vec::new(),
            packets: 0,
            bytes: 0,
            lost: 0,
            nacks: 0,
            resent: 0,
            keyframe_requests: 0,
            rtt: None,
        }
    }
}

fn plane(workers: usize) -> Plane {
    let rtc = ([127, 0, 0, 1], 0).into();
    Plane::start(&PlaneConfig { rtc, workers, stream: Config::default() }).unwrap()
}

fn ufrag(worker: usize, session: u64) -> String {
    format!("{}frag{session}", ufrag_tag(worker))
}

fn add(plane: &Plane, worker: usize, script: Script) {
    let ufrag = ufrag(worker, script.session.0);
    plane.add(worker, Box::new(script), ufrag).unwrap();
}

fn vp8() -> Tracks {
    Tracks { audio: None, video: Some(Track { codec: Codec::Vp8, format: String::new() }) }
}

#[test]
fn a_deadline_that_does_not_move_keeps_nobody_waiting() {
    let plane = plane(1);
    let (stuck, _seen) = Script::new(1, Role::Subscriber);
    add(&plane, 0, stuck.at_once(Vec::new));
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(plane.report().sessions.len(), 1);
    assert!(plane.tell(0, SessionId(1), PeerCommand::Close(CloseReason::ByRequest)).is_ok());
    let gone = (0..100).any(|_| plane.report().sessions.is_empty());
    assert!(gone);
}

#[test]
fn who_subscribes_late_is_told_the_tracks_on_every_worker() {
    let plane = plane(2);
    let (publisher, _seen) = Script::new(1, Role::Publisher);
    let home = plane.home(&publisher.stream);
    add(&plane, home, publisher.at_once(|| vec![Action::Publish(vp8())]));
    for (session, worker) in [(2, home), (3, 1 - home), (4, 1 - home)] {
        let (subscriber, seen) = Script::new(session, Role::Subscriber);
        add(&plane, worker, subscriber.at_once(|| vec![Action::Subscribe]));
        assert_eq!(seen.recv_timeout(SOON), Ok(Met::Tracks(vp8())), "session {session}");
    }
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
            // After one report the session's worker has told of the address, after the next the other one has heard it.
            let _ = (plane.report(), plane.report());
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
    while plane.tell(0, SessionId(1), PeerCommand::Close(CloseReason::ByRequest)).is_ok() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let (done, stopped) = mpsc::sync_channel(64);
    std::thread::spawn(move || {
        plane.stop();
        let _ = done.send(());
    });
    assert_eq!(stopped.recv_timeout(SOON), Ok(()));
    assert_eq!(closed.recv_timeout(SOON), Ok(Met::Closed), "the other one said goodbye");
}
