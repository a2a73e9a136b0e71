//! A session that does as it is told, and tells what it met.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::Instant;

use whipstitch_media::{Codec, Kind, Packet};
use whipstitch_net::Path;
use whipstitch_net::sort::{Sort, sort};
use whipstitch_plane::{
    Action, Context, Counters, Delivery, Ending, Full, IceRestart, Peer, PeerCommand, Plane, PlaneConfig, Role,
    SessionStats, ufrag_tag,
};
use whipstitch_stream::stream::Config;
use whipstitch_stream::{Burst, CloseReason, SessionId, StreamKey, Track, Tracks};

/// What a session met.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Met {
    Stun,
    Media(SessionId),
    Tracks(Tracks),
    Restart,
    Woken,
    Held,
    Asked,
    PathClosed,
    Closed,
}

/// A session that does as it is told.
pub(crate) struct Script {
    pub(crate) session: SessionId,
    pub(crate) stream: StreamKey,
    role: Role,
    deadline: Option<Instant>,
    /// Done when the timer runs out.
    then: fn() -> Vec<Action>,
    /// Ends when it is told of tracks.
    pub(crate) fussy: bool,
    pub(crate) breaks_when_dropped: bool,
    pub(crate) breaks_when_asked: bool,
    /// Says when it is asked for a keyframe.
    pub(crate) tells_requests: bool,
    /// When its timer runs out it keeps the worker until this is dropped.
    holds: Option<Receiver<()>>,
    pub(crate) ending: Ending,
    /// When the last datagram of media came, and how many did at that instant: in one turn of the worker.
    turn: (Option<Instant>, usize),
    pub(crate) most_in_a_turn: Arc<AtomicUsize>,
    /// Pushed as sound once for each datagram of media, with the next number each time.
    pub(crate) pushes: Option<Packet>,
    /// Bursts that were delivered.
    pub(crate) delivered: Arc<AtomicUsize>,
    met: SyncSender<Met>,
}

impl Script {
    pub(crate) fn new(session: u64, role: Role) -> (Script, Receiver<Met>) {
        let (met, seen) = mpsc::sync_channel(64);
        let script = Script {
            session: SessionId(session),
            stream: StreamKey::parse("cam").unwrap(),
            role,
            deadline: None,
            then: Vec::new,
            fussy: false,
            breaks_when_dropped: false,
            breaks_when_asked: false,
            tells_requests: false,
            holds: None,
            ending: Ending::default(),
            turn: (None, 0),
            most_in_a_turn: Arc::default(),
            pushes: None,
            delivered: Arc::default(),
            met,
        };
        (script, seen)
    }

    pub(crate) fn at_once(mut self, then: fn() -> Vec<Action>) -> Script {
        (self.deadline, self.then) = (Some(Instant::now()), then);
        self
    }

    /// Keeps its worker from everything else until what is returned is dropped.
    pub(crate) fn holding(mut self) -> (Script, SyncSender<()>) {
        let (release, holds) = mpsc::sync_channel(0);
        (self.deadline, self.holds) = (Some(Instant::now()), Some(holds));
        (self, release)
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
            cx.act(Action::Checked(path));
            self.meet(Met::Stun);
        } else {
            let count = if self.turn.0 == Some(cx.now) { self.turn.1 + 1 } else { 1 };
            self.turn = (Some(cx.now), count);
            self.most_in_a_turn.fetch_max(count, Ordering::Relaxed);
            self.meet(Met::Media(self.session));
            if let Some(packet) = &mut self.pushes {
                packet.seq += 1;
                cx.act(Action::Push(Kind::Audio, packet.clone()));
            }
        }
    }

    fn path_closed(&mut self, _: &mut Context<'_>, _: Path) {
        self.meet(Met::PathClosed);
    }

    fn handle_timeout(&mut self, cx: &mut Context<'_>) {
        if let Some(holds) = self.holds.take() {
            self.deadline = None;
            self.meet(Met::Held);
            let _ = holds.recv();
            return;
        }
        let actions = (self.then)();
        if !actions.is_empty() {
            self.deadline = None;
        }
        actions.into_iter().for_each(|action| cx.act(action));
    }

    fn handle_command(&mut self, _: &mut Context<'_>, command: PeerCommand) {
        match command {
            PeerCommand::IceRestart(_) => self.meet(Met::Restart),
            PeerCommand::Wake => self.meet(Met::Woken),
            PeerCommand::Pause | PeerCommand::Resume | PeerCommand::Rtcp(_) => {}
        }
    }

    fn deliver(&mut self, _: &mut Delivery<'_>, _: &Burst) {
        self.delivered.fetch_add(1, Ordering::Relaxed);
    }

    fn tracks_changed(&mut self, cx: &mut Context<'_>, tracks: &Tracks) {
        self.meet(Met::Tracks(tracks.clone()));
        if self.fussy {
            cx.act(Action::Close(CloseReason::CodecChanged));
        }
    }

    fn request_keyframe(&mut self, _: &mut Context<'_>) {
        if self.tells_requests {
            self.meet(Met::Asked);
        }
    }

    fn close(&mut self, _: &mut Context<'_>, _: &CloseReason) {
        self.meet(Met::Closed);
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn stats(&self, now: Instant) -> SessionStats {
        SessionStats { connected: Some(now), counters: self.counters(), ..SessionStats::new(now) }
    }

    /// Three packets, whatever happens.
    fn counters(&self) -> Counters {
        assert!(!self.breaks_when_asked, "as the test wants it");
        Counters { packets: 3, ..Counters::default() }
    }
}

pub(crate) fn plane(workers: usize) -> Plane {
    plane_with(workers, Config::default())
}

pub(crate) fn plane_with(workers: usize, stream: Config) -> Plane {
    let rtc = ([127, 0, 0, 1], 0).into();
    Plane::start(&PlaneConfig { rtc, workers, stream }).unwrap()
}

pub(crate) fn ufrag(worker: usize, session: u64) -> String {
    format!("{}frag{session}", ufrag_tag(worker))
}

pub(crate) fn add(plane: &Plane, worker: usize, script: Script) {
    try_add(plane, worker, script).unwrap();
}

pub(crate) fn try_add(plane: &Plane, worker: usize, script: Script) -> Result<(), Full> {
    let (ufrag, ending) = (ufrag(worker, script.session.0), script.ending.clone());
    plane.add(worker, Box::new(script), Some(ufrag), ending)
}

pub(crate) fn vp8() -> Tracks {
    video(Codec::Vp8)
}

pub(crate) fn video(codec: Codec) -> Tracks {
    Tracks { audio: None, video: Some(Track { codec, format: String::new() }) }
}

/// A command that is small and harmless.
pub(crate) fn restart() -> PeerCommand {
    let none = || (String::new(), String::new());
    PeerCommand::IceRestart(IceRestart { local: none(), remote: none() })
}

/// xorshift64*: small, and the same on every machine.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }

    pub(crate) fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }
}
