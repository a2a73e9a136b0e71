//! Ten thousand short schedules of everything that can happen, and what must hold in all of them.
//!
//! Publishers come and go; their packets are lost, delayed, doubled, padding; absurd numbers fly in; subscribers join, with
//! a replay of what is cached or without, skip, and have paths that take nothing for a while. The payload of a packet names
//! its publisher and its number, so what a subscriber gets can be checked against what was sent.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use whipstitch_media::{Codec, Extensions, Kind, Packet};
use whipstitch_stream::replay::Step;
use whipstitch_stream::{Burst, Forwarded, History, Replay, Rewritten, SessionId, Subscription, cache, history};

use crate::kit::{Random, Scene, tracks};

const SCHEDULES: u64 = 10_000;
const STEPS: usize = 80;

/// Where a packet comes from: publisher, and its number there.
type Origin = (u64, u64);

/// A publisher's video track.
struct Publisher {
    id: u64,
    codec: Codec,
    next: u64,
    time: u64,
    /// Numbers that were padding, or an IDR picture that may get parameter sets put in front.
    padding: HashSet<u64>,
    bare: HashSet<u64>,
    /// On the way, to arrive later.
    delayed: Vec<Packet>,
}

impl Publisher {
    fn new(id: u64, codec: Codec, random: &mut Random) -> Self {
        let next = random.below(1 << 17) + 4000;
        let time = random.below(1 << 34);
        let (padding, bare) = Default::default();
        Self { id, codec, next, time, padding, bare, delayed: Vec::new() }
    }

    /// The next packet: padding, key picture or other.
    fn packet(&mut self, scene: &Scene, random: &mut Random) -> Packet {
        let seq = self.next;
        self.next += 1;
        if random.one_in(3) {
            self.time += 3000;
        }
        let mut payload = match (random.below(10), self.codec) {
            (0..=1, _) => {
                self.padding.insert(seq);
                return self.made(scene, seq, vec![]);
            }
            (2, Codec::H264) => {
                self.time += 3000;
                vec![0x67, 0x42, 0xc0, 0x1f]
            }
            (3, Codec::H264) => vec![0x68, 0xce],
            (4, Codec::H264) => {
                self.bare.insert(seq);
                self.time += 3000;
                vec![0x65, 0x88]
            }
            (_, Codec::H264) => vec![0x41, 0x9a],
            (2..=3, _) => {
                self.time += 3000;
                vec![0x10, 0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xf0, 0x00]
            }
            _ => vec![0x10, 0x11],
        };
        payload.extend(self.id.to_be_bytes());
        payload.extend(seq.to_be_bytes());
        self.made(scene, seq, payload)
    }

    fn made(&self, scene: &Scene, seq: u64, payload: Vec<u8>) -> Packet {
        let payload = Arc::from(payload);
        Packet { seq, time: self.time, marker: true, payload, extensions: Extensions::default(), arrived: scene.now }
    }
}

/// What a packet's payload names; none for padding, and for parameter sets that were put in.
fn origin(packet: &Packet) -> Option<Origin> {
    if packet.payload.first() == Some(&0x78) {
        return None;
    }
    let (rest, seq) = packet.payload.split_last_chunk::<8>()?;
    let (_, id) = rest.split_last_chunk::<8>()?;
    Some((u64::from_be_bytes(*id), u64::from_be_bytes(*seq)))
}

struct Subscriber {
    subscription: Subscription,
    /// While it is on its way to the live edge.
    replay: Option<Replay>,
    /// Its path takes nothing.
    blocked: bool,
    offset: u32,
    /// By the number it was sent under: the stream's number, and where it came from.
    sent: BTreeMap<u64, (u64, Option<Origin>)>,
    origins: HashMap<Origin, u64>,
    /// Which stay between two skips each packet belongs to.
    stays: HashMap<u64, u64>,
    stay: u64,
}

impl Subscriber {
    fn new(random: &mut Random) -> Self {
        let offset = random.below(1 << 32) as u32;
        let subscription = Subscription::new(Kind::Video, random.below(1 << 15) as u16, offset);
        let (sent, origins, stays) = Default::default();
        Self { subscription, replay: None, blocked: false, offset, sent, origins, stays, stay: 0 }
    }

    /// What a worker does when the replay is due.
    fn catch_up(&mut self, now: Instant, history: &History) {
        while let Some(mut replay) = self.replay.take() {
            if self.blocked {
                if replay.pause(now) {
                    self.replay = Some(replay)
                } else {
                    self.skip()
                }
                return;
            }
            match history.cache().map_or(Step::Lost, |cache| replay.step(now, cache)) {
                Step::Packet(forwarded) => self.send(forwarded),
                Step::Skip => self.skip(),
                Step::Wait => {
                    self.replay = Some(replay);
                    return;
                }
                Step::Live => return,
                Step::Lost => return self.skip(),
            }
            self.replay = Some(replay);
        }
    }

    fn skip(&mut self) {
        self.subscription.drop_to_start();
        self.stay += 1;
    }

    fn deliver(&mut self, forwarded: &Forwarded) {
        if self.replay.as_ref().is_some_and(|replay| !replay.passed(forwarded.packet.seq)) {
            return;
        }
        if self.blocked { self.skip() } else { self.send(forwarded) }
    }

    fn send(&mut self, forwarded: &Forwarded) {
        let waited = self.subscription.waiting();
        let newest = self.sent.last_key_value().map(|(seq, _)| *seq);
        let Some(Rewritten { seq, time }) = self.subscription.accept(forwarded) else { return };
        let hub = forwarded.packet.seq;
        assert_eq!(time, (forwarded.packet.time as u32).wrapping_add(self.offset));
        assert!(self.sent.insert(seq, (hub, origin(&forwarded.packet))).is_none(), "{seq} is sent twice");
        if waited && !self.subscription.waiting() {
            assert!(forwarded.start, "begins with a packet that is no start");
            assert!(newest.is_none_or(|newest| seq == newest + 1), "a gap where it begins");
        }
        self.stays.insert(seq, if self.subscription.waiting() { u64::MAX } else { self.stay });
        assert_eq!(self.subscription.source_of(seq), Some(hub));
        assert_eq!(self.subscription.extend(seq as u16), seq);
        if let Some(origin) = origin(&forwarded.packet) {
            assert!(self.origins.insert(origin, seq).is_none(), "{origin:?} is sent twice");
        }
    }

    /// What holds of all that was sent.
    fn check(&self, publishers: &HashMap<u64, Publisher>) {
        let mut before: Option<(u64, u64, Option<Origin>)> = None;
        for (&seq, &(hub, origin)) in &self.sent {
            if let Some((_, hub_before, Some(origin_before))) = before
                && let Some(origin) = origin
            {
                assert!(hub_before < hub, "the stream's order is kept");
                assert!(origin_before < origin, "publishers one after the other, and each in its order");
            }
            if self.subscription.newest().is_some_and(|newest| newest - seq < 1000) {
                let found = self.subscription.source_of(seq);
                // Skips beyond those remembered may have forgotten it, but it is never another.
                assert!(
                    found == Some(hub) || found.is_none() && self.stay >= 8,
                    "{seq} came from {hub}, not {found:?}"
                );
            }
            if let (Some((seq_before, _, Some(first))), Some(second)) = (before, origin) {
                self.check_distance(publishers, (seq_before, first), (seq, second));
            }
            before = Some((seq, hub, origin));
        }
        for unsent in self.sent.keys().flat_map(|seq| [seq.wrapping_sub(1), seq + 1]) {
            if !self.sent.contains_key(&unsent) {
                assert_eq!(self.subscription.source_of(unsent), None, "{unsent} was never sent");
            }
        }
    }

    /// Numbers are as far apart as the publisher's, but for padding left out and sets put in.
    fn check_distance(&self, publishers: &HashMap<u64, Publisher>, first: (u64, Origin), second: (u64, Origin)) {
        let ((seq_a, (id, a)), (seq_b, (other, b))) = (first, second);
        let same_stay = self.stays.get(&seq_a) == self.stays.get(&seq_b);
        if id != other || !same_stay {
            return;
        }
        let publisher = &publishers[&id];
        let padding = (a..b).filter(|seq| publisher.padding.contains(seq)).count() as u64;
        let bare = (a + 1..=b).filter(|seq| publisher.bare.contains(seq)).count() as u64;
        let distance = seq_b - seq_a;
        assert!(distance + padding >= b - a, "{a} and {b} are {distance} apart, with {padding} of padding");
        assert!(distance <= b - a + bare, "{a} and {b} are {distance} apart, with {bare} put in");
    }
}

struct World {
    scene: Scene,
    random: Random,
    publishers: HashMap<u64, Publisher>,
    current: u64,
    subscribers: Vec<Subscriber>,
    hub_numbers: HashSet<u64>,
    history: History,
    replays: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut world = Self {
            scene: Scene::empty(),
            random: Random::new(seed),
            publishers: HashMap::new(),
            current: 0,
            subscribers: Vec::new(),
            hub_numbers: HashSet::new(),
            history: History::new(history::Limits::default()).with_cache(Some(cache::Limits::default())),
            replays: 0,
        };
        world.switch();
        world.subscribers.push(Subscriber::new(&mut world.random));
        world
    }

    fn switch(&mut self) {
        self.current += 1;
        let codec = if self.random.one_in(2) { Codec::Vp8 } else { Codec::H264 };
        let publisher = Publisher::new(self.current, codec, &mut self.random);
        self.publishers.insert(self.current, publisher);
        self.scene.stream.publish(self.scene.now, SessionId(self.current), tracks(codec));
        self.history.fill_cache([]);
    }

    fn join(&mut self) {
        let mut subscriber = Subscriber::new(&mut self.random);
        let now = self.scene.now;
        subscriber.replay = self.history.cache().and_then(|cache| Replay::begin(now, cache));
        self.replays += usize::from(subscriber.replay.is_some());
        self.subscribers.push(subscriber);
    }

    fn any_subscriber(&mut self) -> &mut Subscriber {
        let at = self.random.below(self.subscribers.len() as u64) as usize;
        &mut self.subscribers[at]
    }

    fn step(&mut self) {
        self.scene.wait(self.random.below(30));
        match self.random.below(40) {
            0 => self.switch(),
            1 => self.join(),
            2 => self.any_subscriber().skip(),
            6 => {
                let subscriber = self.any_subscriber();
                subscriber.blocked = !subscriber.blocked;
            }
            3 => self.send_absurd(),
            4 => self.send_old(),
            5 => self.take(),
            _ => self.send(),
        }
        if self.random.one_in(2) {
            self.take();
        }
        for subscriber in &mut self.subscribers {
            subscriber.catch_up(self.scene.now, &self.history);
        }
    }

    /// The current publisher sends; the packet is lost, delayed, doubled, or just arrives, and delayed ones with it.
    fn send(&mut self) {
        let session = SessionId(self.current);
        let Some(publisher) = self.publishers.get_mut(&self.current) else { return };
        let packet = publisher.packet(&self.scene, &mut self.random);
        match self.random.below(10) {
            0 => {}
            1..=2 => publisher.delayed.push(packet),
            3 => {
                self.scene.stream.push(self.scene.now, session, Kind::Video, packet.clone());
                self.scene.stream.push(self.scene.now, session, Kind::Video, packet);
            }
            _ => self.scene.stream.push(self.scene.now, session, Kind::Video, packet),
        }
        if !publisher.delayed.is_empty() && self.random.one_in(3) {
            let at = self.random.below(publisher.delayed.len() as u64) as usize;
            let packet = publisher.delayed.swap_remove(at);
            self.scene.stream.push(self.scene.now, session, Kind::Video, packet);
        }
    }

    /// A number that cannot be right, as from a broken retransmission.
    fn send_absurd(&mut self) {
        let publisher = &self.publishers[&self.current];
        // Even, so that no two of them look like a new beginning.
        let seq = (publisher.next + 5000 + self.random.below(20_000)) & !1;
        let packet = publisher.made(&self.scene, seq, vec![0x10, 0x11, 0, 0]);
        self.scene.stream.push(self.scene.now, SessionId(self.current), Kind::Video, packet);
    }

    /// Somebody who published before still sends.
    fn send_old(&mut self) {
        let id = self.random.below(self.current) + 1;
        if id == self.current {
            return;
        }
        if let Some(publisher) = self.publishers.get_mut(&id) {
            let packet = publisher.packet(&self.scene, &mut self.random);
            self.scene.stream.push(self.scene.now, SessionId(id), Kind::Video, packet);
        }
    }

    fn take(&mut self) {
        let Some(Burst { packets, .. }) = self.scene.stream.take_burst() else { return };
        packets.iter().for_each(|forwarded| self.history.insert(forwarded));
        for forwarded in &packets {
            assert!(self.hub_numbers.insert(forwarded.packet.seq), "a number of the stream is given twice");
            self.subscribers.iter_mut().for_each(|subscriber| subscriber.deliver(forwarded));
        }
    }
}

#[test]
fn what_must_hold_holds_in_random_schedules() {
    let (mut sent, mut replays) = (0, 0);
    for seed in 0..SCHEDULES {
        let run = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            (0..STEPS).for_each(|_| world.step());
            world.take();
            world.subscribers.iter().for_each(|subscriber| subscriber.check(&world.publishers));
            (world.subscribers.iter().map(|subscriber| subscriber.sent.len()).sum::<usize>(), world.replays)
        });
        match run {
            Ok(counts) => (sent, replays) = (sent + counts.0, replays + counts.1),
            Err(panic) => {
                eprintln!("schedule {seed}");
                std::panic::resume_unwind(panic);
            }
        }
    }
    // The schedules are of use only if much is sent in them.
    assert!(sent as u64 > 20 * SCHEDULES && replays as u64 > SCHEDULES, "{sent} packets in all, {replays} replays");
}
