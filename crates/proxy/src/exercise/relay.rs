//! Anything comes to a relay with live sessions, in any order.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use whipstitch_net::sort::{Sort, sort};
use whipstitch_net::stun;

use crate::relay::stage::Stage;
use crate::relay::{Dropped, EndReason};
use crate::{Credentials, Generation, OriginId, Role, Session, SessionId};

/// Steps of one input, sessions of it, and those that there is room for.
const MAX_STEPS: usize = 400;
const SESSIONS: usize = 4;
const MOST: usize = 3;

/// Valid checks that are kept to be replayed.
const KEPT: usize = 8;

/// Addresses that one session has at most, and that one worker knows of another's for each.
const ADDRESSES: usize = 2 * 8;

/// Plays a script on a relay of two workers. Each step is a byte that says what happens, and as many as that needs: a
/// datagram as it stands, a check that is good or nearly so, one seen before, a record of DTLS, something of an origin, time,
/// a restart, an end, an origin that refuses. Returns how many datagrams went on, in either direction.
///
/// # Panics
/// If anything goes on from or to where nobody has proven to be, or anything is left of what ended.
pub fn relay(start: Instant, script: &[u8]) -> usize {
    let mut scene = Scene::new(start);
    let mut script = Script(script);
    for _ in 0..MAX_STEPS {
        let Some(step) = script.byte() else { break };
        scene.step(step, &mut script);
        scene.holds();
    }
    scene.finish()
}

struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn number(&mut self) -> usize {
        usize::from(self.byte().unwrap_or_default())
    }

    /// A byte of length, and as many bytes.
    fn bytes(&mut self) -> &'a [u8] {
        let len = self.number();
        let (bytes, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        bytes
    }
}

/// A session that is told apart by its number.
pub(crate) fn session(number: usize, generations: &[usize]) -> Session {
    let credentials = |side: &str, generation: usize| {
        let ufrag = format!("{side}{number}g{generation}");
        let pwd = format!("the-password-of-{ufrag}").repeat(2);
        Credentials::new(&ufrag, &pwd).expect("letters and digits")
    };
    Session {
        id: SessionId::parse(&format!("{number:032x}")).expect("hexadecimal digits"),
        stream: "camera".to_owned(),
        role: Role::Viewer,
        origin: OriginId::parse("origin").expect("a name"),
        rtc: SocketAddr::from(([10, 0, 0, 2], 8189)),
        generations: generations
            .iter()
            .map(|&number| Generation { origin: credentials("origin", number), client: credentials("client", number) })
            .collect(),
        resource: "http://10.0.0.2/whep/camera/1".to_owned(),
        etag: None,
        created_ms: 0,
    }
}

/// A client's check under a generation.
pub(crate) fn check(ice: &Generation, use_candidate: bool, transaction: u32) -> Vec<u8> {
    let mut id = [7; 12];
    id[8..].copy_from_slice(&transaction.to_be_bytes());
    stun::binding_request(ice.pair().as_str(), ice.origin.pwd(), use_candidate, 1, 2, id)
}

struct Scene {
    stage: Stage,
    /// What control has installed last of each session.
    records: Vec<Session>,
    generation: usize,
    transactions: u32,
    kept: Vec<Vec<u8>>,
    seen: HashSet<[u8; 12]>,
    /// Where good checks of a session came from.
    proven: HashMap<SessionId, HashSet<SocketAddr>>,
    went: usize,
}

impl Scene {
    fn new(start: Instant) -> Self {
        let mut stage = Stage::new(start, 2, MOST, Duration::from_secs(30));
        let records: Vec<_> = (0..SESSIONS).map(|number| session(number, &[0])).collect();
        for (number, record) in records.iter().enumerate() {
            assert_eq!(stage.install(record).is_ok(), number < MOST);
        }
        let (kept, seen, proven) = (Vec::new(), HashSet::new(), HashMap::new());
        Self { stage, records, generation: 0, transactions: 0, kept, seen, proven, went: 0 }
    }

    fn step(&mut self, step: u8, script: &mut Script<'_>) {
        let from = address(script);
        let number = script.number() % SESSIONS;
        match step % 10 {
            0 => self.client(from, script.bytes()),
            1 | 2 => {
                let good = self.good(number, script);
                self.client(from, &good);
                self.kept.push(good);
                let at = self.kept.len().saturating_sub(KEPT);
                self.kept.drain(..at);
            }
            3 => {
                let mut bad = self.good(number, script);
                for change in script.bytes().chunks_exact(2) {
                    let at = usize::from(change[0]) % bad.len();
                    bad[at] ^= change[1];
                }
                self.client(from, &bad);
            }
            4 => {
                if let Some(again) = self.kept.get(number).cloned() {
                    self.client(from, &again);
                }
            }
            5 => {
                let record = [&[20 + (number as u8), 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0][..], script.bytes()].concat();
                self.client(from, &record);
            }
            6 => self.origin(number, script),
            7 => self.stage.later(Duration::from_millis(script.number() as u64 * 64)),
            8 => self.control(number, script),
            _ => self.stage.origin_refuses(&self.records[number].id.clone()),
        }
    }

    /// A good check under one of the generations that a session has, or had.
    fn good(&mut self, number: usize, script: &mut Script<'_>) -> Vec<u8> {
        let how = script.number();
        let generations = &self.records[number].generations;
        let ice = &generations[(how / 2) % generations.len()];
        self.transactions += 1;
        check(ice, how % 2 == 1, self.transactions)
    }

    fn client(&mut self, from: SocketAddr, bytes: &[u8]) {
        let held_back = |stage: &Stage| stage.counters().dropped(Dropped::UpstreamDown);
        let before = held_back(&self.stage);
        let went = self.stage.client(from, bytes);
        let said = self.records.iter().find_map(|record| {
            let verify =
                |ice: &Generation| stun::verify(bytes, ice.origin.ufrag(), ice.client.ufrag(), ice.origin.pwd()).ok();
            record.generations.iter().find_map(verify).map(|said| (record.id.clone(), said.transaction))
        });
        // Proven is proven, though there is no way to the origin right now.
        if let Some((id, transaction)) = &said
            && (went.is_some() || held_back(&self.stage) > before)
            && self.seen.insert(*transaction)
        {
            self.proven.entry(id.clone()).or_default().insert(from);
        }
        let Some(id) = went else { return };
        self.went += 1;
        assert!(self.proven.get(&id).is_some_and(|proven| proven.contains(&from)), "{bytes:02x?} went on from {from}");
        let is_request =
            sort(bytes) == Sort::Stun && stun::head(bytes).is_ok_and(|head| head.class == stun::Class::Request);
        assert!(!is_request || said.is_some_and(|(of, _)| of == id), "a request went on unproven");
    }

    fn origin(&mut self, number: usize, script: &mut Script<'_>) {
        let id = self.records[number].id.clone();
        let datagram = match self.kept.get(script.number()) {
            Some(request) => stun::success(request, ([192, 0, 2, 1], 1).into(), "any"),
            None => script.bytes().to_vec(),
        };
        let Some(to) = self.stage.origin(&id, &datagram) else { return };
        self.went += 1;
        assert!(self.proven.get(&id).is_some_and(|proven| proven.contains(&to)), "sent to {to}");
    }

    fn control(&mut self, number: usize, script: &mut Script<'_>) {
        let id = self.records[number].id.clone();
        match script.number() % 4 {
            0 => {
                self.stage.end(&id, EndReason::Deleted);
                self.over();
            }
            1 => {
                self.generation += 1;
                let newest = session(number, &[self.generation]).generations.remove(0);
                let record = &mut self.records[number];
                record.generations.push(newest);
                if record.generations.len() > 2 {
                    record.generations.remove(0);
                }
                let _ = self.stage.install(record);
            }
            2 => {
                let _ = self.stage.install(&self.records[number]);
            }
            _ => {
                for pair in std::mem::take(&mut self.stage.wanted) {
                    self.stage.unknown(&pair);
                }
            }
        }
    }

    /// What ended never comes again: an origin gives everybody other credentials.
    fn over(&mut self) {
        for (ended, _) in std::mem::take(&mut self.stage.ended) {
            assert!(!self.stage.is_open(&ended), "a socket was left open");
            self.proven.remove(&ended);
            self.generation += 1;
            let number = self.records.iter().position(|record| record.id == ended).expect("a session of ours");
            self.records[number] = session(number, &[self.generation]);
        }
    }

    fn holds(&mut self) {
        self.over();
        let [known, owned, addresses, pairs, open] = self.stage.sizes();
        assert!(known <= MOST && owned <= known && open <= owned, "{known} {owned} {open}");
        assert!(addresses <= MOST * ADDRESSES && pairs <= 2 * owned, "{addresses} addresses, {pairs} pairs");
    }

    fn finish(mut self) -> usize {
        for record in std::mem::take(&mut self.records) {
            self.stage.end(&record.id, EndReason::Deleted);
        }
        assert_eq!(self.stage.sizes(), [0; 5], "something is left");
        let counters = self.stage.counters();
        let ended: u64 = EndReason::ALL.into_iter().map(|reason| counters.ended(reason)).sum();
        assert!(counters.begun <= ended, "{} began, {ended} ended", counters.begun);
        self.went
    }
}

/// One of a few, so that clients meet; the last bit says which worker it comes to.
fn address(script: &mut Script<'_>) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 7], 4000 + script.byte().unwrap_or_default() as u16 % 12))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The 21 bytes that ended the program this one stands in for (S4-B8): a header that announces one byte, and one byte.
    const SHORT: [u8; 21] = [0, 1, 0, 1, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0];

    /// A session begins, media goes both ways, the client moves and is followed, and says goodbye.
    fn life() -> Vec<u8> {
        let mut script = vec![1, 0, 0, 1, 0, 0, 0, 21];
        script.extend(SHORT);
        script.extend([6, 0, 0, 0, 5, 0, 2, 2, 0, 0, 6, 0, 0, 200, 1, 0x80]);
        script.extend([7, 0, 0, 40, 1, 1, 0, 1, 4, 3, 0, 8, 0, 0, 1, 1, 1, 0, 3, 6, 0, 0, 0]);
        script.extend([5, 1, 1, 2, 0, 0, 7, 0, 0, 100, 9, 0, 0, 8, 0, 0, 2, 2, 5, 1, 1]);
        script
    }

    /// xorshift64*.
    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: usize) -> usize {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound.max(1)
        }
    }

    #[test]
    fn the_packet_that_ended_another_proxy_is_one_of_many_that_are_dropped() {
        let mut scene = Scene::new(Instant::now());
        for len in 0..=SHORT.len() {
            scene.client(([192, 0, 2, 7], 4000).into(), &SHORT[..len]);
        }
        assert_eq!(scene.went, 0);
        let counters = scene.stage.counters();
        use Dropped::{Malformed, Other};
        // One of 20 bytes is a whole header, and announces another length as well.
        assert_eq!((counters.dropped(Malformed), counters.dropped(Other)), (2, 20));
    }

    #[test]
    fn whatever_happens_nothing_goes_where_nobody_has_proven_to_be() {
        let (mut random, start, mut went) = (Random(0x5eed), Instant::now(), 0);
        assert_eq!(relay(start, &life()), 9, "checks, answers, media, a restart, a goodbye, another session");
        for round in 0..12_000 {
            let mut script = if round % 2 == 0 { life() } else { Vec::new() };
            for _ in 0..random.below(200) {
                let at = random.below(script.len() + 1);
                match random.below(64) {
                    0 => script.truncate(at.max(20)),
                    1..16 if at < script.len() => script[at] ^= 1 << random.below(8),
                    _ => script.push(random.below(256) as u8 & [0xff, 0x0f][random.below(2)]),
                }
            }
            went += relay(start, &script);
        }
        assert!(went > 24_000, "only {went} datagrams went on: the scripts reach nothing");
    }
}
