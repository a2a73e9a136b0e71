//! Random schedules of a whole plane in stepped time: publishers and viewers come, go, break and move through any worker's
//! socket, workers are held up and their mailboxes filled; packets are lost, late and doubled. What every viewer was sent
//! is held against what a viewer got that nothing ever failed.

use std::time::Duration;

use whipstitch_plane::Role;
use whipstitch_stream::StreamKey;
use whipstitch_stream::stream::Config;

use crate::script::Random;
use crate::stage::{Client, Say, Stage, check};

const SCHEDULES: u64 = 300;
const STEPS: usize = 300;
const WORKERS: usize = 3;
const MOST_VIEWERS: usize = 9;

/// One stream, who publishes it, and a viewer at its home that is there from the beginning.
struct Channel {
    stream: StreamKey,
    publisher: Option<Client>,
    witness: Client,
    /// The publisher's last number.
    number: u64,
    /// Sent, but still on their way.
    late: Vec<(u64, bool)>,
    /// Whether the publisher does as it is asked.
    obedient: bool,
    answered: usize,
}

struct World {
    stage: Stage,
    random: Random,
    channels: Vec<Channel>,
    viewers: Vec<Client>,
    gone: Vec<Client>,
    held: Option<usize>,
    broken: u64,
}

/// What came of a schedule, to see that the schedules are of use.
#[derive(Default)]
struct Outcome {
    got: usize,
    lost: u64,
    broken: u64,
    stays: usize,
}

impl World {
    fn new(seed: u64) -> World {
        let config = Config { grace: None, ..Config::default() };
        let (mut stage, random) = (Stage::new(WORKERS, config), Random::new(seed));
        // One on each worker.
        let mut names = (0..).filter_map(|n| StreamKey::parse(&format!("cam{n}")).ok());
        let streams: Vec<_> =
            (0..WORKERS).filter_map(|worker| names.by_ref().find(|name| stage.plane.home(name) == worker)).collect();
        let channels = streams.into_iter().map(|stream| {
            let home = stage.plane.home(&stream);
            let witness = stage.viewer(home, &stream);
            Channel { stream, publisher: None, witness, number: 0, late: Vec::new(), obedient: true, answered: 0 }
        });
        let channels = channels.collect();
        let (viewers, gone) = Default::default();
        let mut world = World { stage, random, channels, viewers, gone, held: None, broken: 0 };
        (0..WORKERS).for_each(|worker| world.publish(worker, worker));
        (0..4).for_each(|n| world.watch(n % WORKERS, 0));
        world
    }

    fn below(&mut self, bound: usize) -> usize {
        self.random.below(bound as u64) as usize
    }

    fn step(&mut self) {
        let (channel, via) = (self.below(WORKERS), self.below(WORKERS));
        match self.random.below(60) {
            0 => self.publish(channel, via),
            1 if self.random.one_in(2) => self.leave_publisher(channel, via),
            1..=4 => self.watch(channel, via),
            5 => self.leave_viewer(via),
            6..=8 => self.send(channel, via),
            9..=11 => self.move_somebody(channel, via),
            12 => self.hold(via),
            13..=14 => self.release(),
            15 => self.flood(channel),
            16..=17 => self.viewer_says(via, &Say::Skip),
            18..=19 => self.viewer_says(via, &Say::Keyframe),
            20 if self.random.one_in(8) => self.stage.pass(12_000),
            20..=27 => {
                let millis = self.random.below(60);
                self.stage.pass(millis);
            }
            _ => (0..1 + self.below(5)).for_each(|_| self.send(channel, via)),
        }
    }

    fn publish(&mut self, channel: usize, via: usize) {
        let home = self.stage.plane.home(&self.channels[channel].stream);
        let stream = self.channels[channel].stream.clone();
        let Ok(client) = self.stage.join(home, Role::Publisher, &stream) else { return };
        // Half of them replace one that is still there.
        if self.random.one_in(2) {
            self.leave_publisher(channel, via);
        }
        self.stage.check(&client, via);
        let obedient = self.random.one_in(2);
        let channel = &mut self.channels[channel];
        self.gone.extend(channel.publisher.replace(client));
        (channel.number, channel.obedient, channel.answered) = (self.random.below(1 << 20), obedient, 0);
        channel.late.clear();
    }

    fn leave_publisher(&mut self, channel: usize, via: usize) {
        if let Some(client) = self.channels[channel].publisher.take() {
            self.leave(client, via);
        }
    }

    fn leave_viewer(&mut self, via: usize) {
        if !self.viewers.is_empty() {
            let at = self.below(self.viewers.len());
            let client = self.viewers.swap_remove(at);
            self.leave(client, via);
        }
    }

    /// By its own word, by ours, or by breaking at one moment or the other.
    fn leave(&mut self, client: Client, via: usize) {
        match self.random.below(4) {
            0 => self.stage.say(&client, via, &Say::Leave),
            1 => self.stage.say(&client, via, &Say::Break),
            2 if client.role == Role::Subscriber => client.log().brittle = true,
            _ => self.stage.end(&client),
        }
        self.gone.push(client);
    }

    fn watch(&mut self, channel: usize, via: usize) {
        let (worker, stream) = (self.below(WORKERS), self.channels[channel].stream.clone());
        if self.viewers.len() < MOST_VIEWERS
            && let Ok(client) = self.stage.join(worker, Role::Subscriber, &stream)
        {
            self.stage.check(&client, via);
            self.viewers.push(client);
        }
    }

    /// Somebody has another address from now on, and proves it.
    fn move_somebody(&mut self, channel: usize, via: usize) {
        let path = self.stage.address();
        let at = self.below(MOST_VIEWERS);
        let client = self.viewers.get_mut(at).or(self.channels[channel].publisher.as_mut());
        if let Some(client) = client {
            client.path = path;
            self.stage.check(client, via);
        }
    }

    fn hold(&mut self, worker: usize) {
        if self.held.is_none() {
            self.held = Some(worker);
            self.stage.plane.hold(worker);
        }
    }

    fn release(&mut self) {
        if let Some(worker) = self.held.take() {
            self.stage.plane.release(worker);
        }
    }

    /// The held worker's mailbox is full; packets that find no room follow.
    fn flood(&mut self, channel: usize) {
        if let Some(held) = self.held {
            self.stage.fill(held);
            for _ in 0..1 + self.below(3) {
                self.send(channel, (held + 1) % WORKERS);
            }
        }
    }

    fn viewer_says(&mut self, via: usize, say: &Say) {
        let at = self.below(MOST_VIEWERS);
        if let Some(viewer) = self.viewers.get(at) {
            self.stage.say(viewer, via, say);
        }
    }

    /// A packet that comes, comes twice, or is lost; or one that was on its way comes late.
    fn send(&mut self, channel: usize, via: usize) {
        let channel = &mut self.channels[channel];
        let Some(publisher) = &channel.publisher else { return };
        let asked = publisher.log().asked.len();
        let answers = channel.obedient && asked > channel.answered;
        channel.answered = asked;
        channel.number += 1;
        let packet = (channel.number, answers || self.random.one_in(12));
        let chance = self.random.below(12);
        if chance == 0 {
            return;
        }
        if chance == 1 {
            channel.late.push(packet);
            return;
        }
        let late = (chance == 2 && !channel.late.is_empty()).then(|| channel.late.swap_remove(0));
        for (number, start) in [Some(packet), late, late, (chance == 3).then_some(packet)].into_iter().flatten() {
            self.stage.say(publisher, via, &Say::Packet(number, start));
        }
    }

    /// Nobody is held up any more: everybody who is still there is served.
    fn all_are_served(&mut self) {
        self.release();
        self.stage.pass(3000);
        for at in 0..WORKERS {
            let channel = &mut self.channels[at];
            let Some(publisher) = &channel.publisher else { continue };
            // Where it is may have been proven to a worker that was held up.
            self.stage.check(publisher, publisher.worker);
            // Numbers far behind are no longer believed; nobody sends so many at once.
            channel.number += 1;
            self.stage.say(publisher, publisher.worker, &Say::Packet(channel.number, true));
            let last = (publisher.session, channel.number);
            for viewer in self.viewers.iter().filter(|viewer| viewer.stream == channel.stream) {
                let connected = viewer.log().tracks.is_some();
                let got = viewer.log().got.last().map(|got| got.origin);
                assert!(!connected || got == Some(last), "viewer {} has {got:?}, not {last:?}", viewer.session);
            }
        }
    }

    fn all_is_left_tidy(&mut self) {
        let viewers = std::mem::take(&mut self.viewers);
        let channels = self.channels.iter_mut().filter_map(|channel| channel.publisher.take());
        let all: Vec<_> = channels.chain(viewers).collect();
        all.iter().for_each(|client| self.stage.end(client));
        self.gone.extend(all);
        self.gone.iter().for_each(|client| self.stage.end(client));
        self.channels.iter().for_each(|channel| self.stage.end(&channel.witness));
        // What is over is kept for a while: the streams (60 s).
        self.stage.pass(121_000);
        let report = self.stage.plane.report();
        assert_eq!((report.sessions.len(), report.streams.len()), (0, 0));
        for worker in self.stage.plane.measure() {
            assert_eq!((worker.ufrags, worker.addresses), (0, 0), "worker {}", worker.worker);
            self.broken += worker.panics;
        }
    }

    fn check(&self) -> Outcome {
        let mut outcome = Outcome { broken: self.broken, ..Outcome::default() };
        for client in &self.gone {
            let log = client.log();
            let channel = self.channels.iter().find(|channel| channel.stream == client.stream);
            check(&log.got, &channel.expect("there are no others").witness.got());
            outcome.got += log.got.len();
            outcome.stays += log.got.windows(2).filter(|pair| pair[0].stay != pair[1].stay).count();
            let asked = &log.asked;
            assert!(asked.windows(2).all(|pair| pair[1] - pair[0] >= Duration::from_millis(500)), "{asked:?}");
        }
        outcome
    }
}

#[test]
fn what_must_hold_holds_on_all_workers_in_random_schedules() {
    let mut all = Outcome::default();
    for seed in 0..SCHEDULES {
        let run = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            (0..STEPS).for_each(|_| world.step());
            world.all_are_served();
            let lost: u64 = world.stage.plane.measure().iter().map(|worker| worker.slow).sum();
            world.all_is_left_tidy();
            Outcome { lost, ..world.check() }
        });
        let outcome = run.unwrap_or_else(|panic| {
            eprintln!("schedule {seed}");
            std::panic::resume_unwind(panic);
        });
        all.got += outcome.got;
        all.lost += outcome.lost;
        all.broken += outcome.broken;
        all.stays += outcome.stays;
    }
    let Outcome { got, lost, broken, stays } = all;
    // The schedules are of use only if much happens in them.
    assert!(got as u64 > 100 * SCHEDULES && stays as u64 > 2 * SCHEDULES, "{got} packets, {stays} stays");
    assert!(lost > SCHEDULES && broken > SCHEDULES, "{lost} found no room, {broken} sessions broke");
}
