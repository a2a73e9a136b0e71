//! What fuzz targets and tests share: a live worker with sessions, in virtual time; anything comes in, in any order, and
//! what must hold is asserted. [`worker()`] is what strangers can do, [`media()`] what a publisher and a viewer can who are
//! connected and seal what they say.

mod media;
mod worker;

use std::net::SocketAddr;

use whipstitch_net::Path;
use whipstitch_plane::{Ending, Role, Stepped};
use whipstitch_stream::directory::{self, Directory};
use whipstitch_stream::stream::Config;
use whipstitch_stream::{SessionId, StreamKey, Tracks};

pub use self::media::{Reached, media};
pub use self::worker::worker;
use crate::dtls::Identity;
use crate::egress::TrackConfig;
use crate::engine::Engine;
use crate::gateway::{Entry, HalfOpen, Register, Waiting, track_configs};
use crate::ice::Edge;
use crate::negotiate::{Credentials, Offer, PublisherPlan, plan_publisher, plan_viewer};
use crate::random;
use crate::session::{Agreed, Identified, RoleState, Session, SubscriberPlan};

const PUBLISHER: &str = include_str!("../tests/fixtures/offers/chromium-156-publisher.sdp");
const VIEWER: &str = include_str!("../tests/fixtures/offers/chromium-156-viewer.sdp");

/// The bytes of an input that are left.
struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// A byte of length in words of two, and as many bytes.
    fn bytes(&mut self) -> &'a [u8] {
        let len = usize::from(self.byte().unwrap_or_default()) * 2;
        let (bytes, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        bytes
    }
}

/// A worker, and all that a gateway has around it.
struct Host {
    worker: Stepped,
    directory: Directory,
    register: Register,
    waiting: Waiting,
    joined: u64,
}

/// A session as its client knows it.
struct Joined {
    session: SessionId,
    ending: Ending,
    local: Credentials,
    remote: Credentials,
}

impl Host {
    fn new() -> Host {
        let worker = Stepped::new(1, Config::default()).expect("the system has a poll");
        Host {
            directory: Directory::new(directory::Config::default(), worker.now()),
            worker,
            register: Register::default(),
            waiting: Waiting::new(HalfOpen::default()),
            joined: 0,
        }
    }

    /// A publisher of a stream of its own, with the certificate of the offer or another one.
    fn publish(
        &mut self,
        identity: &Identity,
        stream: &StreamKey,
        other: Option<&Identity>,
    ) -> (Joined, PublisherPlan) {
        let offer = Offer::parse(PUBLISHER).expect("a browser's offer");
        let plan = plan_publisher(&offer).expect("a browser's offer");
        let fingerprint = other.map_or(offer.fingerprint(), Identity::fingerprint);
        let engine = Engine::publisher(self.worker.now(), identity, fingerprint, offer.dtls_role(), &plan);
        let session = SessionId(self.joined + 1);
        let slot = self.directory.reserve_publisher(stream, session, self.worker.now()).expect("its own name");
        let state = RoleState::Publisher { slot, tracks: plan.tracks.clone() };
        (self.install(stream, &offer, engine, Role::Publisher, state), plan)
    }

    /// A viewer, likewise, and what is sent to it.
    fn watch(
        &mut self,
        identity: &Identity,
        stream: &StreamKey,
        tracks: &Tracks,
        other: Option<&Identity>,
    ) -> (Joined, Vec<TrackConfig>) {
        let offer = Offer::parse(VIEWER).expect("a browser's offer");
        let plan = plan_viewer(&offer, Some(tracks)).expect("a browser's offer");
        let fingerprint = other.map_or(offer.fingerprint(), Identity::fingerprint);
        let engine = Engine::subscriber(self.worker.now(), identity, fingerprint, offer.dtls_role());
        let slot = self.directory.reserve_subscriber(stream, SessionId(self.joined + 1)).expect("room");
        let configs = track_configs(&plan);
        let state = RoleState::Subscriber {
            _slot: slot,
            plan: Some(SubscriberPlan { cname: random::resource(), tracks: configs.clone() }),
            agreed: Agreed::new(&plan, tracks),
            egress: None,
            patience: None,
        };
        (self.install(stream, &offer, engine, Role::Subscriber, state), configs)
    }

    fn install(&mut self, stream: &StreamKey, offer: &Offer, engine: Engine, role: Role, state: RoleState) -> Joined {
        self.joined += 1;
        let (now, session) = (self.worker.now(), SessionId(self.joined));
        let (local, remote, ending) = (random::credentials(0), offer.credentials().clone(), Ending::default());
        let registration = self.register.insert(Entry {
            resource: random::resource(),
            session,
            role,
            stream: stream.clone(),
            subject: None,
            worker: 0,
            ending: ending.clone(),
            ice: None,
        });
        let half_open = self.waiting.reserve(address(0).ip());
        let stream = stream.clone();
        let identified = Identified { session, stream, user_agent: None, half_open, _registration: registration };
        let edge = Edge::new(now, local.clone(), remote.clone());
        let peer = Session::new(now, identified, edge, engine, state);
        let added = self.worker.add(0, Box::new(peer), Some(local.ufrag.clone()), ending.clone());
        added.expect("nobody is held up");
        Joined { session, ending, local, remote }
    }

    /// Nothing is left of anybody.
    fn is_empty(&mut self) -> bool {
        let [measured] = &self.worker.measure()[..] else { return false };
        (self.register.live(), self.waiting.taken(), measured.ufrags, measured.addresses) == (0, 0, 0, 0)
            && self.directory.counts() == directory::Counts::default()
    }
}

fn address(which: u8) -> SocketAddr {
    match which {
        0 => ([192, 0, 2, 1], 5000).into(),
        1 => ([192, 0, 2, 1], 5001).into(),
        2 => ([198, 51, 100, 1], 5000).into(),
        _ => ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 5000).into(),
    }
}

/// Where an address is reached over UDP.
fn path(which: u8) -> Path {
    Path::to(address(which))
}

#[cfg(test)]
mod tests {
    /// xorshift64*.
    pub(super) struct Random(pub(super) u64);

    impl Random {
        pub(super) fn below(&mut self, bound: u64) -> u64 {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
        }
    }
}
