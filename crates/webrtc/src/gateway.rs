//! The control side of WebRTC: offers become sessions, session URLs become commands to them.
//!
//! A [`Gateway`] owns the certificate, the plane and the register of session URLs. Negotiation happens here, outside of
//! every lock; the finished session moves to a worker. What slots are taken and what is live is the
//! [`Directory`]'s; the register keeps what HTTP needs to know of a session until its tombstone is gone.

mod asked;
mod half_open;
mod patch;
mod register;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use whipstitch_plane::{ClosedSession, Ending, Plane, PlaneConfig, Role, SessionReport};
use whipstitch_stream::directory::{Directory, Lost, Refused};
use whipstitch_stream::stats::StreamStats;
use whipstitch_stream::{CloseReason, SessionId, StreamKey};

pub use self::asked::{
    Accepted, Counts, GatewayConfig, GatewayError, Join, Measured, NotFound, Refusal, SessionUrl, StreamReport,
    WhenOffline,
};
pub use self::half_open::HalfOpen;
pub(crate) use self::half_open::{Place, Waiting};
pub use self::patch::{PatchRefusal, Patched};
pub(crate) use self::register::{Entry, Ice, Register, Registration};
use crate::dtls::Identity;
use crate::egress::{ExtensionIds, TrackConfig};
use crate::engine::Engine;
use crate::ice::Edge;
use crate::negotiate::{self, Local, Offer, Sender, ViewerMedia, ViewerPlan, answer_publisher, answer_viewer};
use crate::random;
use crate::session::{Agreed, Identified, Patience, RoleState, Session, SubscriberPlan};

/// What a client that comes too early or too often is told to wait.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// The same where all places are taken: viewers and publishers stay for minutes.
const FULL: Duration = Duration::from_secs(10);

/// The running WebRTC gateway. Clones are handles of the same one.
#[derive(Clone)]
pub struct Gateway {
    shared: Arc<Shared>,
}

struct Shared {
    identity: Identity,
    plane: Plane,
    directory: Directory,
    register: Register,
    waiting: Waiting,
    when_offline: WhenOffline,
    lenient_precondition: bool,
    draining: AtomicBool,
}

impl Gateway {
    /// Makes the certificate, binds the sockets, starts the workers.
    ///
    /// # Errors
    /// When an address is taken, or the machine cannot make a thread or a key.
    pub fn start(config: &GatewayConfig) -> Result<Gateway, GatewayError> {
        let identity = Identity::generate()?;
        let plane_config = PlaneConfig { rtc: config.rtc, workers: config.workers, stream: config.stream };
        let shared = Shared {
            identity,
            plane: Plane::start(&plane_config)?,
            directory: Directory::new(config.directory, Instant::now()),
            register: Register::default(),
            waiting: Waiting::new(config.half_open),
            when_offline: config.when_offline,
            lenient_precondition: config.lenient_precondition,
            draining: AtomicBool::new(false),
        };
        Ok(Gateway { shared: Arc::new(shared) })
    }

    /// Where media is taken, over UDP and TCP: IPv4 first.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        self.shared.plane.local_addrs()
    }

    /// Accepts a publisher's offer.
    ///
    /// # Errors
    /// Every reason in [`Refusal`] but `NotLive`.
    pub fn publish(&self, join: &Join<'_>) -> Result<Accepted, Refusal> {
        let now = Instant::now();
        let place = self.admit(join, self.shared.directory.has_room_for_publisher(join.stream))?;
        let (stream, offer) = (join.stream, Offer::parse(join.offer)?);
        let plan = negotiate::plan_publisher(&offer)?;
        let session = SessionId(random::u64());
        // Reserved before the work: two publishers at once cannot both pass.
        let slot = self.shared.directory.reserve_publisher(stream, session, now).map_err(refuse)?;
        let worker = self.shared.plane.home(stream);
        let identity = &self.shared.identity;
        let engine = Engine::publisher(now, identity, offer.fingerprint(), offer.dtls_role(), &plan);
        let role = RoleState::Publisher { slot, tracks: plan.tracks.clone() };
        let accepted = self.install(
            now,
            Installation {
                session,
                join,
                place,
                worker,
                offer: &offer,
                engine,
                role,
                http_role: Role::Publisher,
                tagged_mid: offer.tagged_mid(plan.media.iter().map(|media| &*media.mid)),
                answer: &|local| answer_publisher(&offer, &plan, local),
            },
        )?;
        // Nothing else can fail any more: until here whoever is replaced has lost nothing. Who takes the stream over from now
        // on finds this session and ends it; who did before could not, so it is ended here.
        match self.shared.directory.take_over(stream, session) {
            Ok(replaced) => {
                replaced.map(|replaced| self.close_session(replaced, CloseReason::Replaced));
                Ok(accepted)
            }
            Err(Lost) if self.close_session(session, CloseReason::Replaced) => {
                Err(Refusal::Conflict { retry_after: RETRY_AFTER })
            }
            // Not lost to anybody: somebody has ended the session already, and its URL is a tombstone.
            Err(Lost) => Ok(accepted),
        }
    }

    /// Accepts a viewer's offer for a stream that is live, or may be waited for.
    ///
    /// # Errors
    /// Every reason in [`Refusal`] but `Conflict`.
    pub fn watch(&self, join: &Join<'_>) -> Result<Accepted, Refusal> {
        let now = Instant::now();
        let place = self.admit(join, self.shared.directory.has_room_for_subscriber(join.stream))?;
        let (stream, offer) = (join.stream, Offer::parse(join.offer)?);
        negotiate::check_viewer(&offer)?;
        let tracks = self.shared.directory.live_tracks(stream);
        let patience = match self.shared.when_offline {
            WhenOffline::Reject if tracks.is_none() => return Err(Refusal::NotLive { retry_after: RETRY_AFTER }),
            WhenOffline::Reject => None,
            WhenOffline::Wait(most) => Some(Patience::new(most, self.shared.plane.running().clone())),
        };
        let plan = negotiate::plan_viewer(&offer, tracks.as_ref())?;
        let session = SessionId(random::u64());
        let slot = self
            .shared
            .directory
            .reserve_subscriber(stream, session)
            .map_err(|_| Refusal::Busy { retry_after: FULL })?;
        for reason in &plan.left_out {
            tracing::info!(%session, %stream, reason, "a viewer does not get all of the stream");
        }
        let engine = Engine::subscriber(now, &self.shared.identity, offer.fingerprint(), offer.dtls_role());
        let cname = random::resource();
        let configs = track_configs(&plan);
        let senders: Vec<_> = configs.iter().map(sender).collect();
        let agreed = Agreed::new(&plan, &tracks.unwrap_or_default());
        let subscriber = SubscriberPlan { cname: cname.clone(), tracks: configs };
        let role = RoleState::Subscriber { _slot: slot, plan: Some(subscriber), agreed, egress: None, patience };
        self.install(
            now,
            Installation {
                session,
                join,
                place,
                worker: self.shared.plane.next_worker(),
                offer: &offer,
                engine,
                role,
                http_role: Role::Subscriber,
                tagged_mid: offer.tagged_mid(plan.media.iter().map(|media| &*media.mid)),
                answer: &|local| answer_viewer(&offer, &plan, local, stream.as_str(), &cname, &senders),
            },
        )
    }

    /// A place among the half-open sessions, before the offer costs anything.
    /// A full gateway says so before it looks at the offer (protocol.md 2).
    fn admit(&self, join: &Join<'_>, room: bool) -> Result<Place, Refusal> {
        if !room {
            return Err(Refusal::Busy { retry_after: FULL });
        }
        let place = (!self.shared.draining.load(Ordering::Relaxed)).then(|| self.shared.waiting.reserve(join.client));
        place.flatten().ok_or(Refusal::Busy { retry_after: RETRY_AFTER })
    }

    /// The end of both ways in: credentials, the answer, the register, the worker.
    fn install(&self, now: Instant, new: Installation<'_>) -> Result<Accepted, Refusal> {
        let credentials = random::credentials(new.worker);
        let local = Local {
            credentials: &credentials,
            fingerprint: self.shared.identity.fingerprint(),
            candidates: new.join.candidates,
            session_id: random::u64() >> 2,
        };
        let answer = (new.answer)(&local);
        let etag = random::resource();
        let resource = random::resource();
        let (remote, ending) = (new.offer.credentials().clone(), Ending::default());
        let registration = self.shared.register.insert(Entry {
            resource: resource.clone(),
            session: new.session,
            role: new.http_role,
            stream: new.join.stream.clone(),
            subject: new.join.subject.clone(),
            worker: new.worker,
            ending: ending.clone(),
            ice: Some(Ice {
                etag: etag.clone(),
                remote: remote.clone(),
                candidates: new.join.candidates.to_vec(),
                tagged_mid: new.tagged_mid.map(str::to_owned),
            }),
        });
        let edge = Edge::new(now, credentials.clone(), remote);
        let identified = Identified {
            session: new.session,
            stream: new.join.stream.clone(),
            user_agent: new.join.user_agent.clone(),
            half_open: Some(new.place),
            _registration: registration,
        };
        let session = Session::new(now, identified, edge, new.engine, new.role);
        // The session exists before its URL is told (protocol.md 4.3).
        self.shared.plane.add(new.worker, Box::new(session), Some(credentials.ufrag), ending).map_err(|_| {
            self.shared.register.forget(&resource);
            Refusal::Busy { retry_after: RETRY_AFTER }
        })?;
        Ok(Accepted { session: new.session, resource, etag: format!("\"{etag}\""), answer })
    }

    /// Gives a session of another protocol a URL of its own, as sessions of WebRTC have. It is good for DELETE, until what
    /// comes with it is dropped; then it is a tombstone. `subject` is whose credential asked for it; see
    /// [`subject`](Self::subject).
    pub fn give_url(
        &self,
        (session, worker): (SessionId, usize),
        role: Role,
        stream: &StreamKey,
        subject: Option<Arc<str>>,
        ending: &Ending,
    ) -> (SessionUrl, Box<dyn Send>) {
        let (resource, etag) = (random::resource(), random::resource());
        let (stream, ending) = (stream.clone(), ending.clone());
        let entry = Entry { resource: resource.clone(), session, role, stream, worker, subject, ending, ice: None };
        let registration = self.shared.register.insert(entry);
        (SessionUrl { resource, etag: format!("\"{etag}\"") }, Box::new(registration))
    }

    /// Ends a session by its URL. A session that has just ended counts as ended now.
    ///
    /// # Errors
    /// [`NotFound`] when the URL never was, or its tombstone is gone.
    pub fn delete(&self, role: Role, stream: &StreamKey, resource: &str) -> Result<(), NotFound> {
        let found = self.shared.register.find(role, stream, resource).ok_or(NotFound)?;
        if let Some(live) = found {
            self.end(&live, CloseReason::ByRequest);
        }
        Ok(())
    }

    /// Ends a session for everybody outside at once: its URL is a tombstone and the stream free for another publisher
    /// before its worker has said goodbye.
    fn end(&self, live: &Entry, reason: CloseReason) {
        self.shared.plane.end(live.worker, live.session, &live.ending, reason);
        self.shared.register.bury(&live.resource);
        if live.role == Role::Publisher {
            self.shared.directory.vacate(&live.stream, live.session);
        }
    }

    /// True while a session URL leads to a session.
    pub fn exists(&self, role: Role, stream: &StreamKey, resource: &str) -> bool {
        matches!(self.shared.register.find(role, stream, resource), Some(Some(_)))
    }

    /// Who asked for a live session; `None` if that was nobody in particular.
    pub fn subject(&self, role: Role, stream: &StreamKey, resource: &str) -> Option<Arc<str>> {
        self.shared.register.find(role, stream, resource)??.subject
    }

    /// Ends whoever publishes under this name. False when nobody does.
    pub fn close_publisher(&self, stream: &StreamKey) -> bool {
        self.shared
            .directory
            .publisher(stream)
            .is_some_and(|publisher| self.close_session(publisher.session, CloseReason::ByRequest))
    }

    /// Ends a session by its public name. False when there is none.
    pub fn kick(&self, session: SessionId) -> bool {
        self.close_session(session, CloseReason::ByRequest)
    }

    /// Ends everybody who receives this stream, over whatever protocol.
    pub fn close_subscribers(&self, stream: &StreamKey) {
        for session in self.shared.plane.sessions_of(stream, Role::Subscriber) {
            self.close_session(session, CloseReason::ByRequest);
        }
    }

    fn close_session(&self, session: SessionId, reason: CloseReason) -> bool {
        if let Some(live) = self.shared.register.session(session) {
            self.end(&live, reason);
            return true;
        }
        // One of another protocol, which has no URL here.
        let Some((role, stream)) = self.shared.plane.end_session(session, reason) else { return false };
        if role == Role::Publisher {
            self.shared.directory.vacate(&stream, session);
        }
        true
    }

    /// The media plane, for sessions of other protocols.
    pub fn plane(&self) -> &Plane {
        &self.shared.plane
    }

    /// Who publishes and who watches, whatever the protocol.
    pub fn directory(&self) -> &Directory {
        &self.shared.directory
    }

    /// All streams, with everything known of them. Asks the workers: call it off the async threads.
    pub fn streams(&self) -> Vec<StreamReport> {
        let report = self.shared.plane.report();
        self.shared.directory.sweep(Instant::now());
        let mut measured: HashMap<StreamKey, StreamStats> = report.streams.into_iter().collect();
        let mut sessions: HashMap<StreamKey, Vec<SessionReport>> = HashMap::new();
        for session in report.sessions {
            sessions.entry(session.stream.clone()).or_default().push(session);
        }
        let streams = self.shared.directory.list().into_iter().map(|entry| {
            let (publishers, subscribers): (Vec<_>, Vec<_>) = sessions
                .remove(&entry.key)
                .unwrap_or_default()
                .into_iter()
                .partition(|session| session.role == Role::Publisher);
            let holder = entry.publisher.map(|holder| holder.session);
            StreamReport {
                stats: measured.remove(&entry.key),
                live: entry.publisher.is_some_and(|holder| holder.live),
                // A replaced one may still be on its way out.
                publisher: publishers.into_iter().find(|publisher| Some(publisher.session) == holder),
                subscribers,
                key: entry.key,
            }
        });
        streams.collect()
    }

    /// One stream; see [`Gateway::streams`].
    pub fn stream(&self, key: &StreamKey) -> Option<StreamReport> {
        self.streams().into_iter().find(|report| report.key == *key)
    }

    /// The sessions that ended in the last ten minutes, the latest first; at most 1024.
    pub fn closed(&self) -> Vec<ClosedSession> {
        self.shared.plane.closed()
    }

    /// What the workers counted. Asks them: call it off the async threads.
    pub fn measure(&self) -> Measured {
        let plane = &self.shared.plane;
        Measured {
            all: plane.workers(),
            workers: plane.measure(),
            counts: self.counts(),
            urls: self.shared.register.live(),
        }
    }

    /// Whether somebody publishes under this name, or is about to.
    pub fn knows(&self, stream: &StreamKey) -> bool {
        self.shared.directory.publisher(stream).is_some()
    }

    /// What there is right now.
    pub fn counts(&self) -> Counts {
        let counts = self.shared.directory.counts();
        Counts {
            streams: counts.live,
            publishers: counts.publishers,
            subscribers: counts.subscribers,
            half_open: self.shared.waiting.taken(),
        }
    }

    /// Takes no more sessions from now on.
    pub fn drain(&self) {
        self.shared.draining.store(true, Ordering::Relaxed);
    }

    /// Takes no more sessions, ends all with a DTLS goodbye, joins the workers.
    pub fn stop(&self) {
        self.drain();
        self.shared.plane.stop();
    }
}

/// What both ways in have in common.
struct Installation<'a> {
    session: SessionId,
    join: &'a Join<'a>,
    place: Place,
    worker: usize,
    offer: &'a Offer,
    engine: Engine,
    role: RoleState,
    http_role: Role,
    /// The section whose attributes the peer takes for the transport's.
    tagged_mid: Option<&'a str>,
    answer: &'a dyn Fn(&Local<'_>) -> String,
}

fn refuse(refused: Refused) -> Refusal {
    match refused {
        Refused::Occupied { retry } => Refusal::Conflict { retry_after: retry },
        Refused::Held => Refusal::Held,
        Refused::Full(_) => Refusal::Busy { retry_after: FULL },
    }
}

/// What the egress is told of each accepted section: our SSRCs, the viewer's extensions.
pub(crate) fn track_configs(plan: &ViewerPlan) -> Vec<TrackConfig> {
    // One audio and one video at most, each with its RTX.
    let mut ssrcs = random::ssrcs::<4>().into_iter();
    let mut next = move || ssrcs.next().unwrap_or_else(random::u32);
    let config = |media: &ViewerMedia, ssrc: u32, rtx: u32| TrackConfig {
        kind: media.kind,
        ssrc,
        rtx_ssrc: media.formats.iter().any(|format| format.rtx_pt.is_some()).then_some(rtx),
        repeats: media.formats.iter().any(|format| format.nack && format.rtx_pt.is_none()),
        extensions: ExtensionIds {
            mid: media.mid_extension.map(|id| (id, media.mid.clone())),
            audio_level: media.audio_level_extension,
            orientation: media.orientation_extension,
        },
    };
    plan.media.iter().map(|media| config(media, next(), next())).collect()
}

/// What the answer says of it.
pub(crate) fn sender(config: &TrackConfig) -> Sender {
    Sender { kind: config.kind, ssrc: config.ssrc, rtx_ssrc: config.rtx_ssrc }
}
