//! A session of a player: what it has set up, and its reader on a worker once it plays.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rtsp_types::StatusCode;
use tokio::sync::{mpsc, oneshot};
use whipstitch_media::{Codec, Kind, sdp};
use whipstitch_plane::{Ending, PeerCommand};
use whipstitch_stream::directory::SubscriberSlot;
use whipstitch_stream::{CloseReason, PerKind, SessionId, StreamKey};

use crate::machine::{ChosenWay, First, SetUp};
use crate::queue::{Outgoing, channels, queue};
use crate::random;
use crate::reader::{Reader, ReaderConfig, TrackConfig};
use crate::reports::Reports;
use crate::server::Shared;
use crate::udp::{self, Heard, Pair};

/// A worker that has not begun by then is not going to.
const BEGINS: Duration = Duration::from_secs(5);

/// One session.
pub(super) struct Playing {
    session: SessionId,
    stream: StreamKey,
    /// Goes to the reader.
    slot: Option<SubscriberSlot>,
    tracks: PerKind<Option<Plan>>,
    sockets: PerKind<Option<Pair>>,
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
    /// Over UDP: signs of life.
    heard: Option<Heard>,
    /// Over UDP: not told yet that it may begin.
    begin: Option<oneshot::Sender<()>>,
    /// In the connection: the way of the player's reports.
    reports: Option<Reports>,
}

/// What a reader will say of its first packets; `None` if it has said so long ago.
pub(super) type Begun = Result<Option<oneshot::Receiver<Vec<First>>>, StatusCode>;

impl Playing {
    /// Takes a place on the stream.
    pub(super) fn reserve(shared: &Shared, stream: StreamKey) -> Result<Playing, StatusCode> {
        if shared.is_draining() {
            return Err(StatusCode::ServiceUnavailable);
        }
        // Before a place is taken: a stream nobody publishes is none.
        shared.directory.live_tracks(&stream).ok_or(StatusCode::NotFound)?;
        let session = SessionId(random::u64());
        let slot = shared.directory.reserve_subscriber(&stream, session);
        let slot = Some(slot.map_err(|_| StatusCode::ServiceUnavailable)?);
        let (tracks, sockets) = (PerKind::default(), PerKind::default());
        Ok(Playing { session, stream, slot, tracks, sockets, running: None })
    }

    /// Sets a track up, or up again. `ends`: our address and the player's.
    pub(super) fn set_up(
        &mut self,
        shared: &Shared,
        id: String,
        track: Option<Kind>,
        way: ChosenWay,
        ends: (IpAddr, IpAddr),
    ) -> Result<SetUp, StatusCode> {
        if self.running.is_some() {
            return Err(StatusCode::MethodNotValidInThisState);
        }
        let tracks = shared.directory.live_tracks(&self.stream).ok_or(StatusCode::NotFound)?;
        let kind = match (track, &tracks.audio, &tracks.video) {
            (Some(kind), ..) => kind,
            (None, Some(_), None) => Kind::Audio,
            (None, None, Some(_)) => Kind::Video,
            (None, ..) => return Err(StatusCode::AggregateOperationNotAllowed),
        };
        let codec = tracks.get(kind).ok_or(StatusCode::NotFound)?.codec;
        let (local, peer) = ends;
        let ports = match way {
            ChosenWay::Interleaved(..) => None,
            ChosenWay::Udp(rtp, rtcp) => {
                let to = (SocketAddr::new(peer, rtp), SocketAddr::new(peer, rtcp));
                // No ports: TCP may do (protocol.md 13.2).
                let pair = Pair::bind(local, to).map_err(|_| StatusCode::UnsupportedTransport)?;
                let ports = pair.ports().map_err(|_| StatusCode::UnsupportedTransport)?;
                self.sockets[kind] = Some(pair);
                Some(ports)
            }
        };
        let ssrc = random::ssrc();
        self.tracks[kind] = Some(Plan { codec, ssrc, way });
        Ok(SetUp { session: id, kind, ssrc, ports })
    }

    /// Begins, or goes on after a pause. `way`: the connection's queue, and where the reader says that it is gone.
    pub(super) fn play(
        &mut self,
        shared: &Arc<Shared>,
        id: &str,
        peer: SocketAddr,
        way: (Arc<Outgoing>, mpsc::Sender<String>),
    ) -> Begun {
        if let Some(running) = &mut self.running {
            running.paused = false;
            let told = shared.plane.tell(running.worker, self.session, PeerCommand::Resume);
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
        let (mut heard, mut begin, mut reported) = (None, None, None);
        if let Some(chunks) = udp {
            let (go, gone) = oneshot::channel();
            let alive = Heard::now();
            let (shared, session, ending) = (Arc::clone(shared), self.session, ending.clone());
            let tasks = Arc::clone(&shared);
            let silent = move || {
                shared.plane.end(worker, session, &ending, CloseReason::Idle);
            };
            let sockets = std::mem::take(&mut self.sockets);
            tasks.spawn(udp::run(sockets, chunks, gone, alive.clone(), reports, silent));
            (heard, begin) = (Some(alive), Some(go));
        } else {
            reported = Some(reports);
        }
        self.running = Some(Running { worker, ending, paused: false, heard, begin, reports: reported });
        Ok(Some(begins))
    }

    /// The response that speaks of its packets is on its way before them.
    pub(super) fn begin(&mut self) {
        if let Some(begin) = self.running.as_mut().and_then(|running| running.begin.take()) {
            let _ = begin.send(());
        }
    }

    pub(super) fn pause(&mut self, shared: &Shared) {
        if let Some(running) = &mut self.running {
            running.paused = true;
            // A worker too far behind goes on, and the player throws away what it gets.
            let _ = shared.plane.tell(running.worker, self.session, PeerCommand::Pause);
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
        if let Some(heard) = self.running.as_ref().and_then(|running| running.heard.as_ref()) {
            heard.touch();
        }
    }

    /// Whether packets go through the connection now.
    pub(super) fn is_interleaved(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.heard.is_none() && !running.paused)
    }

    pub(super) fn end(self, shared: &Shared, reason: CloseReason) {
        if let Some(Running { worker, ending, .. }) = self.running {
            shared.plane.end(worker, self.session, &ending, reason);
        }
    }

    /// Its connection is closed. Packets over UDP go on until nobody has been heard of for too long (protocol.md 13.5).
    pub(super) fn left_alone(self, shared: &Shared, reason: CloseReason) {
        if self.running.as_ref().is_none_or(|running| running.heard.is_none()) {
            self.end(shared, reason);
        }
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
