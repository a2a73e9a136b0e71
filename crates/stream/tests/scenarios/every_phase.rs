//! A publisher is replaced at every position of its group of pictures, and whatever its viewers are doing then, they go on
//! without a gap and see nothing of it but the time that passed.

use whipstitch_media::Kind;
use whipstitch_stream::replay::Step;
use whipstitch_stream::{Forwarded, History, Replay, Subscription, cache, history};

use crate::kit::{ALICE, BOB, DELTA, KEY, Scene};

/// Pictures of a group, packets of a picture.
const PICTURES: u64 = 8;
const PACKETS: u64 = 4;
const GROUP: u64 = PICTURES * PACKETS;

/// Where publishers' own numbers begin: Alice's wrap within the group, Bob's are others.
const ALICES: u64 = (1 << 16) - 10;
const BOBS: u64 = 3 << 16;

/// The packet at this position of a publisher's life: pictures of four packets, the first of each group a key picture.
fn payload(position: u64) -> &'static [u8] {
    if position.is_multiple_of(GROUP) { KEY } else { DELTA }
}

/// How the old publisher's packets come.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Path {
    Whole,
    /// The one before the switch is missing and comes too late, after it.
    LastIsLate,
    /// Three before the switch never come.
    Gap,
    /// All of the group's beginning is lost: nothing was forwarded yet.
    NoKeyframe,
}

/// A viewer, and what the egress and the plane do for it.
struct Viewer {
    subscription: Subscription,
    replay: Option<Replay>,
    sent: Vec<(u64, u32, Forwarded)>,
}

impl Viewer {
    fn new() -> Viewer {
        Viewer { subscription: Subscription::new(Kind::Video, 1000, 0), replay: None, sent: Vec::new() }
    }

    fn take(&mut self, forwarded: &Forwarded) {
        if let Some(sent) = self.subscription.accept(forwarded) {
            self.sent.push((sent.seq, sent.time, forwarded.clone()));
        }
    }

    fn deliver(&mut self, packets: &[Forwarded]) {
        for forwarded in packets {
            if self.replay.as_ref().is_none_or(|replay| replay.passed(forwarded.packet.seq)) {
                self.take(forwarded);
            }
        }
    }

    fn catch_up(&mut self, scene: &Scene, history: &History) {
        while let Some(mut replay) = self.replay.take() {
            match replay.step(scene.now, history.cache().expect("a cache")) {
                Step::Packet(forwarded) => self.take(&forwarded.clone()),
                Step::Skip => self.subscription.drop_to_start(),
                Step::Wait => {
                    self.replay = Some(replay);
                    return;
                }
                Step::Live => return,
                Step::Lost => return self.subscription.drop_to_start(),
            }
            self.replay = Some(replay);
        }
    }

    /// Numbers without a gap but where the publisher's were missing, in the stream's order, from a start on.
    fn check(&self, case: &str) {
        let Some((first, _, forwarded)) = self.sent.first() else { return };
        assert!(forwarded.start && *first == 1000, "{case}");
        let mut sorted = self.sent.clone();
        sorted.sort_by_key(|(seq, ..)| *seq);
        for pair in sorted.windows(2) {
            let [(one, early, before), (two, late, after)] = pair else { continue };
            assert!(one < two && before.packet.seq < after.packet.seq, "{case}: order");
            assert!(late.wrapping_sub(*early) < 1 << 31, "{case}: time runs");
            assert!(
                two - one == after.packet.seq - before.packet.seq || after.start && two - one == 1,
                "{case}: a gap"
            );
        }
    }
}

/// A stream, its history, and three viewers: one from the beginning, one that is still being replayed to at the switch,
/// and one that joins after it.
struct Switch {
    case: String,
    scene: Scene,
    history: History,
    viewers: [Viewer; 3],
}

impl Switch {
    fn new(case: String) -> Switch {
        let history = History::new(history::Limits::default()).with_cache(Some(cache::Limits::default()));
        Switch { case, scene: Scene::published(), history, viewers: [(); 3].map(|()| Viewer::new()) }
    }

    fn send(&mut self, alice: bool, position: u64) -> usize {
        let (session, base) = if alice { (ALICE, ALICES) } else { (BOB, BOBS) };
        // Large, so that a replay takes some time.
        let payload = [payload(position), &[0; 1200]].concat();
        let packet = self.scene.packet(base + position, base + position / PACKETS * 3000, &payload);
        let packets = self.scene.push(session, Kind::Video, packet);
        packets.iter().for_each(|forwarded| self.history.insert(forwarded));
        self.viewers[0].deliver(&packets);
        self.viewers[1].deliver(&packets);
        if self.viewers[2].replay.is_some() || self.viewers[2].subscription.newest().is_some() {
            self.viewers[2].deliver(&packets);
        }
        packets.len()
    }

    fn join(&mut self, viewer: usize) {
        let cache = self.history.cache().expect("a cache");
        self.viewers[viewer].replay = Replay::begin(self.scene.now, cache);
        self.viewers[viewer].catch_up(&self.scene, &self.history);
    }

    fn run(mut self, path: Path, at: u64) {
        for position in 0..at {
            let lost = match path {
                Path::Whole => false,
                Path::LastIsLate => position + 1 == at,
                Path::Gap => position > 0 && position + 3 >= at,
                Path::NoKeyframe => position < PACKETS,
            };
            if !lost {
                self.send(true, position);
            }
        }
        self.join(1);
        let before = self.viewers[0].sent.last().map(|(seq, time, _)| (*seq, *time));
        self.scene.publish(BOB);
        // As the plane does.
        self.history.fill_cache([]);
        self.scene.wait(40);
        assert_eq!(self.send(true, at.saturating_sub(1)), 0, "{}: Alice is late", self.case);
        assert_eq!(self.send(false, PACKETS), 0, "{}: Bob's first picture cannot be decoded", self.case);
        for position in GROUP..2 * GROUP {
            self.scene.wait(8);
            assert_eq!(self.send(false, position), 1, "{}", self.case);
            assert_eq!(self.send(true, position), 0, "{}: Alice goes on", self.case);
            if position == GROUP + 1 {
                self.join(2);
            }
            for viewer in &mut self.viewers {
                viewer.catch_up(&self.scene, &self.history);
            }
        }
        self.viewers.iter().for_each(|viewer| viewer.check(&self.case));
        self.all_saw_bob(before);
    }

    fn all_saw_bob(&self, before: Option<(u64, u32)>) {
        for viewer in &self.viewers {
            let newest: Vec<_> = viewer.sent.iter().rev().take(GROUP as usize).collect();
            assert_eq!(newest.len() as u64, GROUP, "{}: the whole group", self.case);
            let first = newest.last().expect("not empty");
            assert!(first.2.start, "{}: from its start on", self.case);
        }
        // The time that passed between what was sent last and Bob's start: 48 ms, in ticks of 90 kHz.
        if let Some((seq, time)) = before {
            let (_, start, _) = self.viewers[0].sent.iter().find(|sent| sent.0 == seq + 1).expect("the next number");
            let passed = start.wrapping_sub(time);
            assert!((48 * 90..=48 * 90 + 3000 * PICTURES as u32).contains(&passed), "{}: {passed} ticks", self.case);
        }
    }
}

#[test]
fn a_publisher_is_replaced_at_every_packet_of_a_group_in_every_state() {
    for path in [Path::Whole, Path::LastIsLate, Path::Gap, Path::NoKeyframe] {
        // Before its first packet, within and between pictures, and in the next group.
        for at in 0..=GROUP + PACKETS {
            let case = format!("{path:?} at {at}");
            Switch::new(case).run(path, at);
        }
    }
}
