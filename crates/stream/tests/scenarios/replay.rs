//! Who joins gets everything since the last start at once, and is at the live edge soon after, as if it had always been
//! there: numbers without a gap, in order, nothing twice, under the times they have.

use std::time::{Duration, Instant};

use whipstitch_media::Kind;
use whipstitch_stream::replay::Step;
use whipstitch_stream::{Forwarded, History, Replay, Subscription, cache, history};

use crate::kit::{ALICE, DELTA, KEY, Random, Scene};

/// What a viewer was sent.
#[derive(Clone, Copy, Debug)]
struct Sent {
    at: Instant,
    seq: u64,
    time: u32,
    hub: u64,
    hub_time: u64,
    start: bool,
    bytes: usize,
}

/// A worker with one viewer that may be replayed to: what the egress and the plane do, without the wire.
struct Joining {
    scene: Scene,
    history: History,
    subscription: Subscription,
    replay: Option<Replay>,
    sent: Vec<Sent>,
    joined: Option<Instant>,
    /// Number and time of the publisher's next packet.
    next: u64,
    time: u64,
}

impl Joining {
    fn new() -> Self {
        Self::with(cache::Limits::default())
    }

    fn with(limits: cache::Limits) -> Self {
        Self {
            scene: Scene::published(),
            history: History::new(history::Limits::default()).with_cache(Some(limits)),
            subscription: Subscription::new(Kind::Video, 1000, 77),
            replay: None,
            sent: Vec::new(),
            joined: None,
            next: 5000,
            time: 90_000,
        }
    }

    /// A picture of so many packets, right now.
    fn picture(&mut self, kind: &[u8], packets: usize, bytes: usize) {
        self.time += 3000;
        for packet in 0..packets {
            let payload = if packet == 0 { kind } else { DELTA };
            let payload = [payload, &vec![0; bytes]].concat();
            self.packet(self.next, self.time, &payload);
            self.next += 1;
        }
    }

    fn packet(&mut self, seq: u64, time: u64, payload: &[u8]) {
        let packet = self.scene.packet(seq, time, payload);
        self.scene.stream.push(self.scene.now, ALICE, Kind::Video, packet);
        let taken = self.scene.taken();
        taken.iter().for_each(|forwarded| self.history.insert(forwarded));
        taken.iter().for_each(|forwarded| self.deliver(forwarded));
    }

    /// Pictures for so long, every 33 ms, with the viewer's timers.
    fn live(&mut self, millis: u64, packets: usize, bytes: usize) {
        for _ in 0..millis / 33 {
            self.picture(DELTA, packets, bytes);
            self.pass(33);
        }
    }

    /// Time passes; the worker wakes a millisecond late at most.
    fn pass(&mut self, millis: u64) {
        for _ in 0..millis {
            self.scene.wait(1);
            if self.replay.as_ref().is_some_and(|replay| replay.deadline() <= self.scene.now) {
                self.catch_up();
            }
        }
    }

    fn join(&mut self) {
        self.joined = Some(self.scene.now);
        self.replay = Replay::begin(self.scene.now, self.history.cache().expect("a cache"));
        assert!(self.replay.is_some(), "a start is offered");
        self.catch_up();
    }

    fn catch_up(&mut self) {
        while let Some(replay) = &mut self.replay {
            match replay.step(self.scene.now, self.history.cache().expect("a cache")) {
                Step::Packet(forwarded) => {
                    let forwarded = forwarded.clone();
                    self.send(&forwarded);
                }
                Step::Skip => self.subscription.drop_to_start(),
                Step::Wait => return,
                Step::Live => self.replay = None,
                Step::Lost => {
                    self.subscription.drop_to_start();
                    self.replay = None;
                }
            }
        }
    }

    fn deliver(&mut self, forwarded: &Forwarded) {
        let waits = self.replay.as_ref().is_some_and(|replay| !replay.passed(forwarded.packet.seq));
        if self.joined.is_some() && !waits {
            self.send(forwarded);
        }
    }

    fn send(&mut self, forwarded: &Forwarded) {
        let Some(rewritten) = self.subscription.accept(forwarded) else { return };
        self.sent.push(Sent {
            at: self.scene.now,
            seq: rewritten.seq,
            time: rewritten.time,
            hub: forwarded.packet.seq,
            hub_time: forwarded.packet.time,
            start: forwarded.start,
            bytes: forwarded.packet.payload.len(),
        });
    }

    fn took(&self) -> Duration {
        self.sent.last().expect("something was sent").at - self.joined.expect("joined")
    }

    fn seqs(&self) -> Vec<u64> {
        self.sent.iter().map(|sent| sent.seq).collect()
    }

    /// What holds of every join: see the module.
    fn check(&self) {
        let Some(first) = self.sent.first() else { return };
        assert!(first.start, "a decoder can start with the first");
        assert_eq!(first.seq, 1000);
        let mut sorted = self.sent.clone();
        sorted.sort_by_key(|sent| sent.seq);
        for pair in sorted.windows(2) {
            let (one, two) = (&pair[0], &pair[1]);
            assert!(one.seq < two.seq, "{} is sent twice", two.seq);
            assert!(one.hub < two.hub, "the stream's order is kept");
            assert!(two.start || two.seq - one.seq == two.hub - one.hub, "gaps are the publisher's alone");
            assert!(two.seq - one.seq <= two.hub - one.hub, "no gap that is not the publisher's");
            assert_eq!(two.time, (two.hub_time as u32).wrapping_add(77));
            assert_eq!(self.subscription.extend(two.seq as u16), two.seq);
            let newest = sorted.last().expect("not empty").seq;
            if newest - two.seq < 2000 {
                assert_eq!(self.subscription.source_of(two.seq), Some(two.hub), "a NACK finds it");
            }
        }
    }
}

#[test]
fn a_long_gop_is_caught_up_with_in_less_than_a_second_without_a_gap() {
    // 2.5 Mbit/s, and a keyframe of 60 kB.
    for age in [100, 1000, 3000, 6000, 9000] {
        let mut viewer = Joining::new();
        viewer.picture(KEY, 50, 1150);
        viewer.live(age, 9, 1150);
        viewer.join();
        assert!(viewer.sent.len() >= 10, "{} packets at once", viewer.sent.len());
        viewer.pass(20);
        assert!(viewer.sent.len() >= 50, "the whole first picture within 20 ms, not {} packets", viewer.sent.len());
        let mut took = 0;
        while viewer.replay.is_some() {
            viewer.live(33, 9, 1150);
            took += 33;
            assert!(took < 1000, "not caught up with {age} ms");
        }
        viewer.live(500, 9, 1150);
        viewer.check();
        let expected = viewer.next - 5000;
        assert_eq!(viewer.seqs(), (1000..1000 + expected).collect::<Vec<_>>(), "everything, in order");
    }
}

#[test]
fn no_slice_is_large_and_the_rate_stays_below_100_mbit() {
    let mut viewer = Joining::new();
    viewer.picture(KEY, 200, 1150);
    viewer.live(9000, 11, 1150);
    viewer.join();
    viewer.live(1500, 11, 1150);
    assert!(viewer.replay.is_none());
    let from = viewer.joined.expect("joined");
    let mut slices: Vec<usize> = vec![0; 2000];
    for sent in &viewer.sent {
        slices[(sent.at - from).as_millis() as usize] += sent.bytes;
    }
    assert!(slices.iter().all(|bytes| *bytes <= 77_000), "{:?}", slices.iter().max());
    let fastest = slices.windows(50).map(|window| window.iter().sum::<usize>()).max().expect("windows");
    assert!(fastest <= 50 * 12_500 + 77_000, "{fastest} bytes in 50 ms");
}

#[test]
fn a_timer_that_is_late_makes_up_for_little() {
    let mut viewer = Joining::new();
    viewer.picture(KEY, 400, 1150);
    viewer.join();
    let before = viewer.sent.len();
    viewer.scene.wait(500);
    viewer.catch_up();
    let sent: usize = viewer.sent[before..].iter().map(|sent| sent.bytes).sum();
    assert!((30_000..=77_000).contains(&sent), "{sent} bytes");
}

#[test]
fn a_new_start_ends_the_replay_there_without_a_gap() {
    let mut viewer = Joining::new();
    viewer.picture(KEY, 50, 1150);
    viewer.live(8000, 9, 1150);
    viewer.join();
    viewer.pass(100);
    assert!(viewer.replay.is_some());
    let before = viewer.sent.len();
    viewer.picture(KEY, 50, 1150);
    viewer.live(330, 9, 1150);
    assert!(viewer.replay.is_none());
    viewer.check();
    assert!(viewer.sent[before].start);
    assert_eq!(viewer.sent.len(), before + 50 + 90, "the rest of the old one is left out");
    assert_eq!(viewer.seqs(), (1000..1000 + viewer.sent.len() as u64).collect::<Vec<_>>());
}

#[test]
fn repaired_packets_keep_their_place_before_and_behind_the_cursor() {
    let mut viewer = Joining::new();
    viewer.picture(KEY, 1, 100);
    viewer.pass(33);
    let (early, early_time) = (viewer.next, viewer.time + 3000);
    viewer.next += 1;
    viewer.live(1500, 9, 1150);
    let (late, late_time) = (viewer.next, viewer.time + 3000);
    viewer.next += 1;
    viewer.live(33, 9, 1150);
    viewer.join();
    viewer.pass(50);
    assert!(viewer.replay.is_some());
    let before = viewer.sent.len();
    viewer.packet(early, early_time, DELTA);
    assert_eq!(viewer.sent.len(), before + 1, "the replay is past it: it is sent now");
    assert_eq!(viewer.sent[before].seq, 1001);
    viewer.packet(late, late_time, DELTA);
    assert_eq!(viewer.sent.len(), before + 1, "the replay will come to it");
    viewer.live(1000, 9, 1150);
    viewer.check();
    assert_eq!(viewer.sent.len() as u64, viewer.next - 5000);
    assert!(viewer.seqs()[before + 1..].is_sorted());
}

#[test]
fn what_is_gone_before_the_replay_gets_to_it_is_waited_for_no_longer() {
    let mut viewer = Joining::new();
    viewer.picture(KEY, 50, 1150);
    viewer.live(8000, 9, 1150);
    viewer.join();
    viewer.pass(50);
    let before = viewer.sent.len();
    viewer.history.fill_cache([]);
    viewer.pass(10);
    assert!(viewer.replay.is_none() && viewer.subscription.waiting());
    viewer.live(100, 9, 1150);
    assert_eq!(viewer.sent.len(), before);
    viewer.picture(KEY, 1, 100);
    viewer.check();
    assert_eq!(viewer.sent.last().map(|sent| sent.seq), Some(1000 + before as u64));
}

#[test]
fn a_replay_that_began_in_time_comes_to_its_end() {
    let mut viewer = Joining::new();
    viewer.picture(KEY, 50, 1150);
    viewer.live(9990, 9, 1150);
    viewer.join();
    viewer.live(2000, 9, 1150);
    assert!(viewer.replay.is_none() && !viewer.subscription.waiting());
    assert!(viewer.took() > Duration::from_millis(1900), "live to the end");
    viewer.check();
    assert_eq!(viewer.sent.len() as u64, viewer.next - 5000);
}

#[test]
fn whatever_happens_meanwhile_order_and_numbers_hold() {
    let (mut skips, mut caught_up) = (0, 0);
    for seed in 0..1000 {
        let mut random = Random::new(seed);
        let mut viewer = Joining::with(cache::Limits { packets: 600, ..cache::Limits::default() });
        viewer.picture(KEY, 1 + random.below(80) as usize, 1000);
        let mut delayed: Vec<(u64, u64)> = Vec::new();
        let join = 20 + random.below(60);
        for step in 0..160 {
            if step == join && viewer.history.cache().is_some_and(|cache| cache.offer(viewer.scene.now).is_some()) {
                viewer.join();
            }
            match random.below(12) {
                0 => {
                    delayed.push((viewer.next, viewer.time + 3000));
                    viewer.next += 1;
                }
                1 if !delayed.is_empty() => {
                    let (seq, time) = delayed.swap_remove(random.below(delayed.len() as u64) as usize);
                    viewer.packet(seq, time, DELTA);
                }
                2 => viewer.next += random.below(3),
                3 if random.one_in(5) => {
                    skips += u64::from(viewer.replay.is_some());
                    viewer.picture(KEY, 1 + random.below(80) as usize, 1000);
                }
                4 if random.one_in(50) => viewer.history.fill_cache([]),
                _ => viewer.picture(DELTA, 1 + random.below(12) as usize, 1000),
            }
            viewer.pass(random.below(40));
        }
        caught_up += u64::from(viewer.joined.is_some() && viewer.replay.is_none());
        viewer.check();
    }
    assert!(skips > 20 && caught_up > 500, "{skips} skipped, {caught_up} caught up");
}
