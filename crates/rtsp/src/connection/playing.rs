//! A session of a player: what it has set up, and its reader on a worker once it plays.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rtsp_types::StatusCode;
use tokio::sync::{mpsc, oneshot};
use whipstitch_media::{Codec, Kind, sdp};
use whipstitch_plane::{Ending, PeerCommand, random};
use whipstitch_stream::directory::SubscriberSlot;
use whipstitch_stream::running::Asks;
use whipstitch_stream::{CloseReason, PerKind, SessionId, StreamKey};

use crate::machine::{ChosenWay, First, SetUp};
use crate::queue::{Outgoing, channels, queue};
use crate::reader::{Reader, ReaderConfig, TrackConfig};
use crate::reports::Reports;
use crate::server::Shared;
use crate::udp::{self, Heard, Pair, SILENCE};

/// A worker that has not begun by then is not going to.
const BEGINS: Duration = Duration::from_secs(5);

/// One session. When it is dropped, its reader ends.
pub(super) struct Playing {
    shared: Arc<Shared>,
    session: SessionId,
    stream: StreamKey,
    /// Goes to the reader.
    slot: Option<SubscriberSlot>,
    tracks: PerKind<Option<Plan>>,
    sockets: PerKind<Option<Pair>>,
    /// Signs of life: requests that name it, and over UDP whatever comes.
    heard: Heard,
    running: Option<Running>,
}

/// A track that was set up.
#[derive(Clone, Copy)]
struct Plan {
    codec: Codec,
    ssrc: u32,
    way: ChosenWay,
}

/// It has played.
struct Running {
    worker: usize,
    ending: Ending,
    paused: bool,
    is_udp: bool,
    /// A response to PLAY has said so.
    has_begun: bool,
    /// Over UDP: not told yet that it may begin.
    begin: Option<oneshot::Sender<()>>,
    /// In the connection: the way of the player's reports.
    reports: Option<Reports>,
}

/// What a reader will say of its first packets; `None` if it has said so long ago.
pub(super) type Begun = Result<Option<oneshot::Receiver<Vec<First>>>, StatusCode>;

impl Playing {
    /// Takes a place on the stream.
    pub(super) fn reserve(shared: &Arc<Shared>, stream: StreamKey, asks: Asks) -> Result<Playing, StatusCode> {
        if shared.is_draining() {
            return Err(StatusCode::ServiceUnavailable);
        }
        // Before a place is taken: a stream nobody publishes is none.
        shared.directory.live_tracks(&stream).ok_or(StatusCode::NotFound)?;
        let session = SessionId(random::u64());
        let slot = match asks {
            Asks::Anybody => shared.directory.reserve_subscriber(&stream, session),
            Asks::Child => shared.directory.reserve_subscriber_of_child(&stream, session),
        };
        let slot = Some(slot.map_err(|_| StatusCode::ServiceUnavailable)?);
        let (tracks, sockets) = (PerKind::default(), PerKind::default());
        let (shared, heard) = (Arc::clone(shared), Heard::now());
        Ok(Playing { shared, session, stream, slot, tracks, sockets, heard, running: None })
    }

    /// Sets a track up, or up again. `ends`: our address and the player's.
    pub(super) fn set_up(
        &mut self,
        id: String,
        track: Option<Kind>,
        way: ChosenWay,
        ends: (SocketAddr, SocketAddr),
    ) -> Result<SetUp, StatusCode> {
        if self.running.is_some() {
            return Err(StatusCode::MethodNotValidInThisState);
        }
        self.heard.touch();
        let tracks = self.shared.directory.live_tracks(&self.stream).ok_or(StatusCode::NotFound)?;
        let kind = match (track, &tracks.audio, &tracks.video) {
            (Some(kind), ..) => kind,
            (None, Some(_), None) => Kind::Audio,
            (None, None, Some(_)) => Kind::Video,
            (None, ..) => return Err(StatusCode::AggregateOperationNotAllowed),
        };
        let codec = tracks.get(kind).ok_or(StatusCode::NotFound)?.codec;
        // It is set up anew: what it had is let go of, also when it goes another way from now on.
        (self.tracks[kind], self.sockets[kind]) = (None, None);
        let ports = match way {
            ChosenWay::Interleaved(..) => None,
            ChosenWay::Udp(rtp, rtcp) => {
                // No ports: TCP may do (protocol.md 13.2).
                let (pair, ports) = self.shared.bind(ends, (rtp, rtcp)).ok_or(StatusCode::UnsupportedTransport)?;
                self.sockets[kind] = Some(pair);
                Some(ports)
            }
        };
        let ssrc = random::ssrc();
        self.tracks[kind] = Some(Plan { codec, ssrc, way });
        Ok(SetUp { session: id, kind, ssrc, ports })
    }

    /// Begins, or goes on after a pause. `way`: the connection's queue, and where the reader says that it is gone.
    pub(super) fn play(&mut self, id: &str, peer: SocketAddr, way: (Arc<Outgoing>, mpsc::Sender<String>)) -> Begun {
        self.heard.touch();
        let shared = Arc::clone(&self.shared);
        if let Some(running) = &mut self.running {
            let told = shared.plane.tell(running.worker, self.session, PeerCommand::Resume);
            running.paused &= told.is_err();
            return told.map(|()| None).map_err(|_| StatusCode::ServiceUnavailable);
        }
        let live = shared.directory.live_tracks(&self.stream).ok_or(StatusCode::NotFound)?;
        let fits = |(kind, plan): (Kind, &Option<Plan>)| {
            plan.is_none_or(|plan| live.get(kind).is_some_and(|track| track.codec == plan.codec))
        };
        // Another publisher, who sends something else than was described.
        if !self.tracks.iter().all(fits) {
            return Err(StatusCode::NotFound);
        }
        let slot = self.slot.take().ok_or(StatusCode::SessionNotFound)?;
        let (connection, ends) = way;
        let is_udp = self.sockets.iter().any(|(_, pair)| pair.is_some());
        let (begun, begins) = oneshot::channel();
        let ending = Ending::default();
        let (out, udp) = if is_udp {
            let (out, chunks) = queue();
            (Arc::new(out), Some(chunks))
        } else {
            (connection, None)
        };
        let config = ReaderConfig {
            session: self.session,
            slot,
            tracks: PerKind::from_fn(|kind| self.tracks[kind].map(|plan| plan.config(kind))),
            remote: peer,
            transport: if is_udp { "udp" } else { "tcp" },
            out,
            begun,
            gone: (ends, id.to_owned()),
        };
        let worker = shared.plane.next_worker();
        let reader = Box::new(Reader::new(Instant::now(), config));
        let added = shared.plane.add(worker, reader, None, ending.clone());
        added.map_err(|_| StatusCode::ServiceUnavailable)?;
        let reports = Reports::new(shared.plane.clone(), worker, self.session);
        let (mut begin, mut reported) = (None, None);
        if let Some(chunks) = udp {
            let (go, gone) = oneshot::channel();
            let (shared, session, ending) = (Arc::clone(&shared), self.session, ending.clone());
            let tasks = Arc::clone(&shared);
            let silent = move || {
                shared.plane.end(worker, session, &ending, CloseReason::Idle);
            };
            let sockets = std::mem::take(&mut self.sockets);
            tasks.spawn(udp::run(sockets, chunks, gone, self.heard.clone(), reports, silent));
            begin = Some(go);
        } else {
            reported = Some(reports);
        }
        let (paused, has_begun) = (false, false);
        self.running = Some(Running { worker, ending, paused, is_udp, has_begun, begin, reports: reported });
        Ok(Some(begins))
    }

    /// The response that speaks of its packets is on its way before them.
    pub(super) fn begin(&mut self) {
        let Some(running) = &mut self.running else { return };
        running.has_begun = true;
        if let Some(begin) = running.begin.take() {
            let _ = begin.send(());
        }
    }

    /// Whether a reader is on its way to a worker that nobody was told of.
    pub(super) fn has_not_begun(&self) -> bool {
        self.running.as_ref().is_some_and(|running| !running.has_begun)
    }

    pub(super) fn pause(&mut self) {
        self.heard.touch();
        if let Some(running) = &mut self.running {
            running.paused = true;
            // A worker too far behind goes on, and the player throws away what it gets.
            let _ = self.shared.plane.tell(running.worker, self.session, PeerCommand::Pause);
        }
    }

    /// What has come under a channel of the connection, which may be another session's.
    pub(super) fn hear(&mut self, channel: u8, bytes: &[u8]) {
        let Some(reports) = self.running.as_mut().and_then(|running| running.reports.as_mut()) else { return };
        let is_rtcp = |plan: &Plan| matches!(plan.way, ChosenWay::Interleaved(_, rtcp) if rtcp == channel);
        for (kind, plan) in self.tracks.iter() {
            if plan.as_ref().is_some_and(is_rtcp) {
                reports.pass(Instant::now(), kind, bytes);
            }
        }
    }

    /// There is a sign of life.
    pub(super) fn touch(&self) {
        self.heard.touch();
    }

    /// Whether nothing shows that the player is there: no packets that go through the connection now, and no sign of life
    /// for its time.
    pub(super) fn is_silent(&self) -> bool {
        let is_taking = self.running.as_ref().is_some_and(|running| !running.is_udp && !running.paused);
        !is_taking && self.heard.silence() > SILENCE
    }

    pub(super) fn end(mut self, reason: CloseReason) {
        self.end_now(reason);
    }

    /// Its connection is closed. Packets over UDP go on until nobody has been heard of for too long (protocol.md 13.5).
    pub(super) fn left_alone(mut self, reason: CloseReason) {
        if self.running.take_if(|running| running.is_udp).is_none() {
            self.end_now(reason);
        }
    }

    fn end_now(&mut self, reason: CloseReason) {
        if let Some(Running { worker, ending, .. }) = self.running.take() {
            self.shared.plane.end(worker, self.session, &ending, reason);
        }
    }
}

impl Drop for Playing {
    fn drop(&mut self) {
        self.end_now(CloseReason::ByPeer);
    }
}

impl Plan {
    fn config(self, kind: Kind) -> TrackConfig {
        let channels = match self.way {
            ChosenWay::Interleaved(rtp, rtcp) => (rtp, rtcp),
            ChosenWay::Udp(..) => channels(kind),
        };
        TrackConfig { codec: self.codec, pt: sdp::payload_type(self.codec), ssrc: self.ssrc, channels }
    }
}

/// Waits for what a reader says of its first packets.
pub(super) async fn begun(begun: Begun) -> Result<Vec<First>, StatusCode> {
    match begun? {
        None => Ok(Vec::new()),
        // A reader that is gone before it has begun was not wanted: the stream has ended, or was never there.
        Some(begins) => match tokio::time::timeout(BEGINS, begins).await {
            Ok(firsts) => firsts.map_err(|_| StatusCode::NotFound),
            Err(_) => Err(StatusCode::ServiceUnavailable),
        },
    }
}
