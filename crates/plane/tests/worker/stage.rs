//! Workers in stepped time with publishers and viewers that do with the hub what real sessions do, without protection:
//! what a publisher sends says who sent it, and what a viewer gets is written down.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use whipstitch_media::{Extensions, Kind, Packet};
use whipstitch_net::Path;
use whipstitch_net::sort::{Sort, sort};
use whipstitch_net::stun;
use whipstitch_plane::{
    Action, Context, Counters, Delivery, Ending, Full, Peer, PeerCommand, Role, SessionStats, Stepped,
};
use whipstitch_stream::replay::Step;
use whipstitch_stream::stream::Config;
use whipstitch_stream::{Burst, CloseReason, Forwarded, Replay, SessionId, StreamKey, Subscription, Tracks};

use crate::script::{restart, ufrag, vp8};

/// Publisher, and number there.
pub(crate) type Origin = (u64, u64);

/// A packet as a viewer got it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Got {
    pub(crate) seq: u64,
    pub(crate) hub: u64,
    pub(crate) origin: Origin,
    pub(crate) start: bool,
    /// Counts what the viewer left out: one goes on without a gap into the next.
    pub(crate) stay: u32,
}

/// What a session met.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) got: Vec<Got>,
    /// When a publisher was asked for a keyframe.
    pub(crate) asked: Vec<Instant>,
    pub(crate) tracks: Option<Tracks>,
    /// Breaks with the next packets.
    pub(crate) brittle: bool,
    pub(crate) closed: bool,
}

/// What a datagram of a client says.
pub(crate) enum Say {
    /// A packet: its number, and whether a decoder can start there.
    Packet(u64, bool),
    Keyframe,
    /// The viewer leaves everything out up to the next start.
    Skip,
    Leave,
    Break,
}

impl Say {
    fn bytes(&self) -> Vec<u8> {
        let (word, number) = match self {
            Say::Packet(number, false) => (b'p', *number),
            Say::Packet(number, true) => (b'P', *number),
            Say::Keyframe => (b'k', 0),
            Say::Skip => (b's', 0),
            Say::Leave => (b'q', 0),
            Say::Break => (b'!', 0),
        };
        [&[0x80, 0, word][..], &number.to_be_bytes(), &[0; 4]].concat()
    }
}

/// Breaks as the test wants it, without a word about it.
fn breaks() -> ! {
    std::panic::resume_unwind(Box::new(()))
}

struct Actor {
    session: SessionId,
    stream: StreamKey,
    role: Role,
    path: Option<Path>,
    subscription: Subscription,
    replay: Option<Replay>,
    stay: u32,
    log: Arc<Mutex<Log>>,
}

impl Actor {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().expect("nobody breaks while holding it")
    }

    fn take(&mut self, forwarded: &Forwarded) {
        let Some(rewritten) = self.subscription.accept(forwarded) else { return };
        let packet = &forwarded.packet;
        let origin = packet.payload.last_chunk::<16>().map(|last| u128::from_be_bytes(*last)).unwrap_or_default();
        let origin = ((origin >> 64) as u64, origin as u64);
        let (start, stay) = (forwarded.start, self.stay);
        self.log().got.push(Got { seq: rewritten.seq, hub: packet.seq, origin, start, stay });
    }

    fn skip(&mut self) {
        self.stay += 1;
        self.subscription.drop_to_start();
    }

    fn catch_up(&mut self, cx: &mut Context<'_>) {
        let waited = self.subscription.waiting();
        let cache = cx.history.and_then(|history| history.cache());
        while let Some(mut replay) = self.replay.take() {
            match cache.map_or(Step::Lost, |cache| replay.step(cx.now, cache)) {
                Step::Packet(forwarded) => self.take(forwarded),
                Step::Skip => self.skip(),
                Step::Wait => {
                    self.replay = Some(replay);
                    return;
                }
                Step::Live => break,
                Step::Lost => {
                    self.skip();
                    break;
                }
            }
            self.replay = Some(replay);
        }
        if !waited && self.subscription.waiting() {
            cx.act(Action::RequestKeyframe);
        }
    }

    fn said(&mut self, cx: &mut Context<'_>, word: u8, number: u64) {
        match word {
            b'p' | b'P' => {
                let start: &[u8] = &[0x10, 0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xf0, 0x00];
                let kind: &[u8] = if word == b'P' { start } else { &[0x10, 0x11] };
                let payload = [kind, &self.session.0.to_be_bytes(), &number.to_be_bytes()].concat().into();
                let (extensions, arrived) = (Extensions::default(), cx.now);
                let packet = Packet { seq: number, time: number * 3000, marker: true, payload, extensions, arrived };
                cx.act(Action::Push(Kind::Video, packet));
            }
            b'k' => cx.act(Action::RequestKeyframe),
            b's' => self.skip(),
            b'q' => cx.act(Action::Close(CloseReason::ByPeer)),
            _ => breaks(),
        }
    }
}

impl Peer for Actor {
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
        if sort(datagram) != Sort::Stun {
            let number = datagram[3..].first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
            return self.said(cx, datagram[2], number);
        }
        let before = self.path.replace(path);
        if before == Some(path) {
            return;
        }
        cx.act(Action::Checked(path));
        match before {
            Some(before) => cx.act(Action::Forgotten(before)),
            None if self.role == Role::Publisher => cx.act(Action::Publish(vp8())),
            None => cx.act(Action::Subscribe),
        }
    }

    fn handle_timeout(&mut self, cx: &mut Context<'_>) {
        self.catch_up(cx);
    }

    fn handle_command(&mut self, _: &mut Context<'_>, _: PeerCommand) {}

    fn deliver(&mut self, delivery: &mut Delivery<'_>, burst: &Burst) {
        if self.log().brittle {
            breaks();
        }
        let waited = self.subscription.waiting() && !delivery.after_gap;
        if delivery.after_gap {
            self.skip();
        }
        for forwarded in &burst.packets {
            if self.replay.as_ref().is_none_or(|replay| replay.passed(forwarded.packet.seq)) {
                self.take(forwarded);
            }
        }
        delivery.wants_keyframe |= !waited && self.subscription.waiting();
    }

    fn replay(&mut self, cx: &mut Context<'_>) {
        if self.replay.is_none() && self.subscription.newest().is_none() {
            self.replay = cx.history.and_then(|history| history.cache()).and_then(|cache| Replay::begin(cx.now, cache));
            self.catch_up(cx);
        }
    }

    fn tracks_changed(&mut self, _: &mut Context<'_>, tracks: &Tracks) {
        self.log().tracks = Some(tracks.clone());
    }

    fn request_keyframe(&mut self, cx: &mut Context<'_>) {
        self.log().asked.push(cx.now);
    }

    fn close(&mut self, _: &mut Context<'_>, _: &CloseReason) {
        self.log().closed = true;
    }

    fn deadline(&self) -> Option<Instant> {
        self.replay.as_ref().map(Replay::deadline)
    }

    fn stats(&self, now: Instant) -> SessionStats {
        SessionStats::new(now)
    }

    fn counters(&self) -> Counters {
        Counters::default()
    }
}

/// A session as its client knows it.
pub(crate) struct Client {
    pub(crate) session: u64,
    pub(crate) worker: usize,
    pub(crate) role: Role,
    pub(crate) stream: StreamKey,
    pub(crate) path: Path,
    ending: Ending,
    log: Arc<Mutex<Log>>,
}

impl Client {
    pub(crate) fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().expect("nobody breaks while holding it")
    }

    /// What a viewer got.
    pub(crate) fn got(&self) -> Vec<Got> {
        self.log().got.clone()
    }
}

/// Stepped workers, and what is needed to come to them.
pub(crate) struct Stage {
    pub(crate) plane: Stepped,
    sessions: u64,
    ports: u32,
}

impl Stage {
    pub(crate) fn new(workers: usize, config: Config) -> Stage {
        let plane = Stepped::new(workers, config).expect("the system has a poll");
        Stage { plane, sessions: 0, ports: 0 }
    }

    /// An address that nobody had before.
    pub(crate) fn address(&mut self) -> Path {
        self.ports += 1;
        Path::to((std::net::Ipv4Addr::from(0x0a00_0000 + self.ports), 5000).into())
    }

    /// A session whose client has not been heard of yet.
    pub(crate) fn join(&mut self, worker: usize, role: Role, stream: &StreamKey) -> Result<Client, Full> {
        self.sessions += 1;
        let (session, ending, log) = (self.sessions, Ending::default(), Arc::<Mutex<Log>>::default());
        let actor = Actor {
            session: SessionId(session),
            stream: stream.clone(),
            role,
            path: None,
            subscription: Subscription::new(Kind::Video, session as u16, 0),
            replay: None,
            stay: 0,
            log: Arc::clone(&log),
        };
        self.plane.add(worker, Box::new(actor), Some(ufrag(worker, session)), ending.clone())?;
        let path = self.address();
        Ok(Client { session, worker, role, stream: stream.clone(), path, ending, log })
    }

    /// A publisher that has the stream.
    pub(crate) fn publisher(&mut self, stream: &StreamKey) -> Client {
        let home = self.plane.home(stream);
        let client = self.join(home, Role::Publisher, stream).expect("the home has room");
        self.check(&client, home);
        client
    }

    /// A viewer that has subscribed.
    pub(crate) fn viewer(&mut self, worker: usize, stream: &StreamKey) -> Client {
        let client = self.join(worker, Role::Subscriber, stream).expect("the worker has room");
        self.check(&client, worker);
        client
    }

    /// A check from where the client is, through any worker's socket.
    pub(crate) fn check(&mut self, client: &Client, via: usize) {
        let username = format!("{}:any", ufrag(client.worker, client.session));
        let mut check = stun::binding_request(&username, "any", true, 1, 1, [1; 12]);
        self.plane.datagram(via, client.path, &mut check);
    }

    /// A datagram from where the client is, through any worker's socket.
    pub(crate) fn say(&mut self, client: &Client, via: usize, say: &Say) {
        self.plane.datagram(via, client.path, &mut say.bytes());
    }

    pub(crate) fn end(&mut self, client: &Client) {
        self.plane.end(client.worker, SessionId(client.session), &client.ending, CloseReason::ByRequest);
    }

    /// Leaves no room in the mailbox of a worker that is held.
    pub(crate) fn fill(&mut self, worker: usize) {
        while self.plane.tell(worker, SessionId(u64::MAX), restart()).is_ok() {}
    }

    pub(crate) fn pass(&mut self, millis: u64) {
        self.plane.pass(Duration::from_millis(millis));
    }
}

/// What holds of everything a viewer was sent: it begins at a start, nothing comes twice, the order is the publishers', and
/// numbers go on without a gap that is not the publisher's. `witness` was there all the time, and nothing failed it.
pub(crate) fn check(got: &[Got], witness: &[Got]) {
    let Some(first) = got.first() else { return };
    assert!(first.start, "begins at {first:?}");
    // What is late may have come in a burst of its own, which may have been lost.
    let (mut in_time, mut newest) = (HashSet::new(), 0);
    for got in witness {
        if got.hub > newest {
            newest = got.hub;
            in_time.insert(got.hub);
        }
    }
    let (mut sorted, mut newest) = (BTreeMap::new(), 0);
    for got in got {
        // What is late belongs to what it stands behind.
        let before = sorted.range(..got.seq).next_back().map(|(_, before): (&u64, &Got)| before.stay);
        let stay = before.filter(|_| got.hub < newest).unwrap_or(got.stay);
        newest = newest.max(got.hub);
        assert!(sorted.insert(got.seq, Got { stay, ..*got }).is_none(), "the same number twice: {got:?}");
    }
    let sorted: Vec<Got> = sorted.into_values().collect();
    for pair in sorted.windows(2) {
        let (one, two) = (pair[0], pair[1]);
        assert!(one.hub < two.hub && one.origin < two.origin, "another order: {one:?}, {two:?}");
        if one.stay != two.stay {
            assert!(
                two.start && two.seq == one.seq + 1,
                "goes on with a gap, or where no decoder can: {one:?}, {two:?}"
            );
            continue;
        }
        assert_eq!(two.seq - one.seq, two.hub - one.hub, "{one:?}, {two:?}");
        let left_out = (one.hub + 1..two.hub).find(|hub| in_time.contains(hub));
        assert_eq!(left_out, None, "between {one:?} and {two:?}");
    }
}
