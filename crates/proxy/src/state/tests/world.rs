//! What a proxy is connected to, in virtual time: a registry behind a bad network, origins that die, a relay that remembers.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::ice::Pair;
use crate::origins::{Origin, OriginRecord, Probe, Probed};
use crate::record::{OriginId, Session, SessionId};
use crate::registry::{Answer, Claimed, Failure, Listing, Memory, Refreshed, Registry, Token};
use crate::state::{Sessions, locked};

/// What a proxy waits for an answer of the registry.
const PATIENCE: Duration = Duration::from_millis(500);

/// Numbers that look random and are the same for the same seed (SplitMix64).
#[derive(Debug, Clone)]
pub(super) struct Rng(pub(super) u64);

impl Rng {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    pub(super) fn one_in(&mut self, many: u64) -> bool {
        many > 0 && self.below(many) == 0
    }

    pub(super) fn ms(&mut self, most: u64) -> Duration {
        Duration::from_millis(self.below(most + 1))
    }
}

/// The server of a registry.
pub(super) struct Server {
    memory: Mutex<Arc<Memory>>,
    is_down: AtomicBool,
}

impl Server {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { memory: Mutex::new(Arc::new(Memory::new(1000))), is_down: AtomicBool::new(false) })
    }

    pub(super) fn set_down(&self, is_down: bool) {
        self.is_down.store(is_down, Ordering::Relaxed);
    }

    pub(super) fn is_down(&self) -> bool {
        self.is_down.load(Ordering::Relaxed)
    }

    /// It loses everything.
    pub(super) fn wipe(&self) {
        *locked(&self.memory) = Arc::new(Memory::new(1000));
    }

    pub(super) fn memory(&self) -> Arc<Memory> {
        Arc::clone(&locked(&self.memory))
    }

    pub(super) fn claim_of(&self, stream: &str) -> Option<OriginId> {
        at_once(self.memory().claim_of(stream)).expect("memory is never away")
    }
}

/// The memory answers without waiting.
fn at_once<T>(answer: Answer<'_, T>) -> Result<T, Failure> {
    match pin!(answer).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => unreachable!("memory does not wait"),
    }
}

/// How bad a network is: one in so many (0 is never), and how late.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Weather {
    pub(super) lost: u64,
    /// Each way takes so long at least, and so long at most.
    pub(super) least_ms: u64,
    pub(super) late_ms: u64,
}

/// The way from one proxy to the server. Each call is a message of its own, so calls overtake each other.
pub(super) struct Link {
    server: Arc<Server>,
    rng: Mutex<Rng>,
    weather: Mutex<Weather>,
    is_cut: AtomicBool,
}

impl Link {
    pub(super) fn good(server: &Arc<Server>) -> Arc<Self> {
        Self::new(server, 0, Weather::default())
    }

    pub(super) fn new(server: &Arc<Server>, seed: u64, weather: Weather) -> Arc<Self> {
        let (rng, weather) = (Mutex::new(Rng(seed)), Mutex::new(weather));
        Arc::new(Self { server: Arc::clone(server), rng, weather, is_cut: AtomicBool::new(false) })
    }

    pub(super) fn cut(&self, is_cut: bool) {
        self.is_cut.store(is_cut, Ordering::Relaxed);
    }

    pub(super) fn set_weather(&self, weather: Weather) {
        *locked(&self.weather) = weather;
    }

    fn is_down(&self) -> bool {
        self.server.is_down() || self.is_cut.load(Ordering::Relaxed)
    }

    /// There and back: a question may be lost, and an answer, and both may be late.
    async fn through<T>(&self, call: impl FnOnce(&Memory) -> Result<T, Failure>) -> Result<T, Failure> {
        let (question, there, answer, back) = {
            let (weather, mut rng) = (*locked(&self.weather), locked(&self.rng));
            let mut way = || Duration::from_millis(weather.least_ms) + rng.ms(weather.late_ms - weather.least_ms);
            let (there, back) = (way(), way());
            (rng.one_in(weather.lost), there, rng.one_in(weather.lost), back)
        };
        tokio::time::sleep(there).await;
        if self.is_down() {
            return Err(Failure::Away);
        }
        if question {
            tokio::time::sleep(PATIENCE.saturating_sub(there)).await;
            return Err(Failure::Away);
        }
        let answered = call(&self.server.memory());
        if answer || there + back > PATIENCE {
            tokio::time::sleep(PATIENCE.saturating_sub(there)).await;
            return Err(Failure::Away);
        }
        tokio::time::sleep(back).await;
        if self.is_down() { Err(Failure::Away) } else { answered }
    }
}

/// Each method goes through the link as it is.
macro_rules! through {
    ($(fn $name:ident($($argument:ident: $kind:ty),*) -> $answer:ty;)*) => {
        impl Registry for Link {
            fn origins(&self) -> Answer<'_, Listing> {
                Box::pin(self.through(|memory| at_once(memory.origins())))
            }

            $(fn $name<'a>(&'a self, $($argument: $kind),*) -> Answer<'a, $answer> {
                Box::pin(self.through(move |memory| at_once(memory.$name($($argument),*))))
            })*

            fn poisoned(&self) -> u64 {
                0
            }
        }
    };
}

through! {
    fn heartbeat(record: &'a OriginRecord) -> bool;
    fn drain(origin: &'a OriginId, on: bool) -> ();
    fn remove(origin: &'a OriginId) -> ();
    fn claim(stream: &'a str, wanted: &'a OriginId) -> Claimed;
    fn reclaim(stream: &'a str, from: &'a OriginId, to: &'a OriginId) -> Claimed;
    fn release(stream: &'a str, of: &'a OriginId, token: &'a Token, back: Option<&'a OriginId>) -> ();
    fn claim_of(stream: &'a str) -> Option<OriginId>;
    fn refresh_claims(claims: &'a [(String, OriginId)]) -> Vec<OriginId>;
    fn store(session: &'a Session) -> bool;
    fn by_pair(pair: &'a Pair) -> Option<Session>;
    fn by_id(id: &'a SessionId) -> Option<Session>;
    fn refresh(sessions: &'a [Arc<Session>]) -> Vec<Refreshed>;
    fn end(ids: &'a [SessionId]) -> ();
}

/// Whoever is not dead answers.
#[derive(Debug, Default)]
pub(super) struct SimProbe {
    dead: Mutex<BTreeSet<String>>,
}

impl SimProbe {
    pub(super) fn kill(&self, id: &str) {
        locked(&self.dead).insert(id.to_owned());
    }

    pub(super) fn revive(&self, id: &str) {
        locked(&self.dead).remove(id);
    }

    pub(super) fn is_dead(&self, id: &str) -> bool {
        locked(&self.dead).contains(id)
    }
}

impl Probe for SimProbe {
    fn probe<'a>(&'a self, origin: &'a Origin, _detect: bool) -> Pin<Box<dyn Future<Output = Probed> + Send + 'a>> {
        Box::pin(async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            let is_dead = self.is_dead(origin.id.as_str());
            if is_dead { Probed::Silent } else { Probed::Alive { draining: false, kind: None } }
        })
    }
}

/// Remembers what it was told.
#[derive(Debug, Default)]
pub(super) struct SimRelay {
    sessions: Mutex<BTreeSet<SessionId>>,
    unknown: Mutex<Vec<Pair>>,
    is_full: AtomicBool,
}

impl SimRelay {
    pub(super) fn all(&self) -> BTreeSet<SessionId> {
        locked(&self.sessions).clone()
    }

    pub(super) fn unknown(&self) -> Vec<Pair> {
        locked(&self.unknown).clone()
    }

    pub(super) fn fill(&self) {
        self.is_full.store(true, Ordering::Relaxed);
    }
}

impl Sessions for SimRelay {
    fn install(&self, session: Arc<Session>) -> bool {
        let has_room = !self.is_full.load(Ordering::Relaxed);
        if has_room {
            locked(&self.sessions).insert(session.id.clone());
        }
        has_room
    }

    fn has(&self, id: &SessionId) -> bool {
        locked(&self.sessions).contains(id)
    }

    fn unknown(&self, pair: &Pair) {
        locked(&self.unknown).push(pair.clone());
    }

    fn end(&self, id: &SessionId) {
        locked(&self.sessions).remove(id);
    }
}
