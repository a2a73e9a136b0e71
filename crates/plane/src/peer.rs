//! The worker's view of a session: what it is fed, and what it may ask for.

use std::fmt;
use std::time::{Duration, Instant};

use whipstitch_media::time::Ntp;
use whipstitch_media::{Kind, Packet};
use whipstitch_net::batch::Batch;
use whipstitch_net::outbox::Room;
use whipstitch_net::{Path, Transport};
use whipstitch_stream::history::History;
use whipstitch_stream::{Burst, CloseReason, SessionId, StreamKey, Tracks};

use crate::measure::Phase;
use crate::outboxes::Outboxes;
use crate::report::{Counters, Role, SessionStats};

/// One session on a worker: a machine without I/O or clock. Everything it wants sent it writes to the batches it is
/// given; everything else it wants done it says as an [`Action`].
///
/// Who has a way of its own to its peer, and so neither ufrag nor address, leaves out what is about those; publishers leave
/// out what subscribers get. All else has to be said, if only that nothing is done: forgotten, it would not be missed.
pub trait Peer: Send {
    /// Its public name, for logs and the API.
    fn session(&self) -> SessionId;

    /// The stream it publishes or watches.
    fn stream(&self) -> &StreamKey;

    /// Publisher or subscriber.
    fn role(&self) -> Role;

    /// A datagram that was routed here: STUN by its ufrag, everything else by an address this session had checked.
    fn handle_datagram(&mut self, _cx: &mut Context<'_>, _path: Path, _datagram: &mut [u8]) {}

    /// The TCP connection of a path that this session had checked is closed. It may come back with a check over another.
    fn path_closed(&mut self, _cx: &mut Context<'_>, _path: Path) {}

    /// Its deadline has passed.
    fn handle_timeout(&mut self, cx: &mut Context<'_>);

    /// Control wants something.
    fn handle_command(&mut self, cx: &mut Context<'_>, command: PeerCommand);

    /// Packets of the stream it has subscribed to.
    fn deliver(&mut self, _delivery: &mut Delivery<'_>, _burst: &Burst) {}

    /// A subscriber may be given what the stream's history has cached for those that join, if it has sent no video yet. Said
    /// once it has subscribed, and when the cache has come from another worker.
    fn replay(&mut self, _cx: &mut Context<'_>) {}

    /// The stream's tracks are others now; a subscriber that they no longer fit closes itself.
    fn tracks_changed(&mut self, cx: &mut Context<'_>, tracks: &Tracks);

    /// A subscriber needs a keyframe, or the hub repeats its request.
    fn request_keyframe(&mut self, cx: &mut Context<'_>);

    /// Says goodbye on the wire (RTCP BYE, DTLS close_notify). It is dropped right after.
    fn close(&mut self, cx: &mut Context<'_>, reason: &CloseReason);

    /// When [`Peer::handle_timeout`] is due; may move with every call above.
    fn deadline(&self) -> Option<Instant>;

    /// Everything there is to tell, for the API.
    fn stats(&self, now: Instant) -> SessionStats;

    /// The counters of [`Peer::stats`] alone, for the metrics; allocates nothing.
    fn counters(&self) -> Counters;
}

/// Outgoing datagrams by address family, as there is one socket for each, and those that go as frames over TCP.
#[derive(Debug, Default)]
pub struct Batches {
    pub(crate) v4: Batch,
    pub(crate) v6: Batch,
    pub(crate) tcp: Outboxes,
}

impl Batches {
    /// Empty ones.
    pub fn new() -> Batches {
        Batches::default()
    }

    /// The batch whose socket reaches this path.
    pub fn of(&mut self, path: Path) -> &mut Batch {
        match path.transport {
            Transport::Udp if path.remote.is_ipv4() => &mut self.v4,
            Transport::Udp => &mut self.v6,
            Transport::Tcp(_) => self.tcp.batch(),
        }
    }

    /// How much more media this path takes now. What is written beyond it is dropped, datagram by datagram.
    pub fn room(&mut self, path: Path) -> Room {
        match path.transport {
            Transport::Udp => Room::UNBOUNDED,
            Transport::Tcp(id) => self.tcp.room(id),
        }
    }

    /// Puts one ready-made datagram.
    pub fn put(&mut self, path: Path, bytes: &[u8]) {
        self.of(path).push(path, bytes.len(), |buf| {
            buf.get_mut(..bytes.len())?.copy_from_slice(bytes);
            Some(bytes.len())
        });
    }
}

/// What a session may use while it handles something.
pub struct Context<'a> {
    /// The present, the same for everything in one turn of the worker.
    pub now: Instant,
    /// Where to write datagrams.
    pub batches: &'a mut Batches,
    /// Recent packets of the subscribed stream, once subscribed.
    pub history: Option<&'a History>,
    pub(crate) actions: &'a mut Vec<Action>,
}

impl<'a> Context<'a> {
    /// A context outside of a worker, for sessions driven in virtual time.
    pub fn new(
        now: Instant,
        batches: &'a mut Batches,
        history: Option<&'a History>,
        actions: &'a mut Vec<Action>,
    ) -> Context<'a> {
        Context { now, batches, history, actions }
    }

    /// Asks the worker for something; done when the session returns.
    pub fn act(&mut self, action: Action) {
        self.actions.push(action);
    }
}

/// What a subscriber may use while packets are delivered to it.
pub struct Delivery<'a> {
    /// The present.
    pub now: Instant,
    /// Where to write datagrams.
    pub batches: &'a mut Batches,
    /// Packets before these did not reach this worker, and never will: a subscriber goes on at a start, with numbers that
    /// have no gap.
    pub after_gap: bool,
    /// Set by a subscriber that cannot go on without a keyframe.
    pub wants_keyframe: bool,
    /// Cleared by a subscriber whose deadline is not earlier than it was: asking thousands with each burst would cost as much
    /// as to write a packet.
    pub deadline_moved: bool,
    /// Set by a subscriber with its first packet: how long after the handshake that was.
    pub first_media: Option<Duration>,
}

impl<'a> Delivery<'a> {
    /// A delivery of which nothing came yet.
    pub fn new(now: Instant, batches: &'a mut Batches) -> Delivery<'a> {
        Delivery { now, batches, after_gap: false, wants_keyframe: false, deadline_moved: true, first_media: None }
    }
}

/// What a session asks of its worker.
#[derive(Debug)]
pub enum Action {
    /// This path passed a check: what comes from its other end is this session's, until forgotten.
    Checked(Path),
    /// This path is no longer this session's. A TCP connection is closed.
    Forgotten(Path),
    /// STUN with this local ufrag is this session's.
    Ufrag(String),
    /// This local ufrag is gone.
    Retired(String),
    /// A publisher's media begins: these are its tracks.
    Publish(Tracks),
    /// What follows of a publisher's track is of a sender that has begun anew.
    Restarted(Kind),
    /// A packet of a publisher's track.
    Push(Kind, Packet),
    /// A publisher's sender report: the NTP time of an extended RTP time of the track.
    SenderReport(Kind, Ntp, u64),
    /// The round trip to a publisher takes this long.
    RoundTrip(Duration),
    /// Packets of a publisher's video up to this number will not come any more.
    Lost(u64),
    /// A subscriber is ready for packets.
    Subscribe,
    /// A subscriber asks for a keyframe (PLI, FIR).
    RequestKeyframe,
    /// A part of the session's beginning is done and took so long.
    Took(Phase, Duration),
    /// The session is over.
    Close(CloseReason),
}

/// What control asks of a session. To end it is not among these: see [`Ending`](crate::Ending).
#[derive(Debug)]
pub enum PeerCommand {
    /// New credentials on both sides (RFC 9725 4.3.3).
    IceRestart(IceRestart),
    /// A subscriber is to send nothing until it is told to go on (RTSP PAUSE).
    Pause,
    /// It goes on, at the next start.
    Resume,
    /// A compound of RTCP has come from its player another way than through the worker's sockets.
    Rtcp(Vec<u8>),
    /// There is something for it in a queue of its own; see [`Plane::wake`](crate::Plane::wake).
    Wake,
}

/// The credentials of an ICE restart. Secrets: never shown.
pub struct IceRestart {
    /// Our ufrag and pwd.
    pub local: (String, String),
    /// The peer's ufrag and pwd.
    pub remote: (String, String),
}

impl fmt::Debug for IceRestart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IceRestart").field("local_ufrag", &self.local.0).finish_non_exhaustive()
    }
}
