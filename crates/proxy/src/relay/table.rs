//! The sessions of one worker, and where each datagram goes. A machine without sockets and clock: datagrams, addresses and
//! times go in, verdicts and [`Action`]s come out.
//!
//! Of a request the USERNAME comes first, whatever address it comes from, and nothing of it counts before its integrity was
//! verified; finding out that it is nobody's costs one or two looks into maps. Everything else is its address's session's.
//! An address belongs to the session that proved last to be there, and no other session's check takes it before nothing
//! has come from there for [`HELD`], or the session has ended: who has a session himself and can write any sender's address
//! must not take away those of others. So what is not authenticated can keep an address, and never free it; a goodbye frees
//! it only by ending the session, for which there are conditions (see `session`).

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use slab::Slab;
use whipstitch_net::Path;
use whipstitch_net::sort::{Sort, sort};
use whipstitch_net::stun::{self, Class, Head};
use whipstitch_net::timers::Timers;
use whipstitch_plane::{MAX_ROUTES, RouteNote};

use super::counters::{Dropped, EndReason, Tally, count};
use super::directory::{Directory, Known};
use super::lookups::Ask;
use super::session::{HELD, Reach, RelaySession, verify};
use crate::{Pair, Session, SessionId};

/// Sessions whose timers are run in one turn.
const TIMERS_A_TURN: usize = 512;

/// How often what no timer of a session does is looked at.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Sessions told of to be in use at once.
const USED_AT_ONCE: usize = 256;

/// What is to be done with a datagram of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Send it to this session's origin.
    ToOrigin(usize),
    /// Hand it to this worker.
    ToWorker(usize),
    /// Nothing; it is counted.
    Drop,
}

/// What the owner of sockets and mailboxes has to do, in this order and before the verdict.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Open the session's socket to its origin.
    Open(usize),
    /// Close it; it will be opened again.
    Close(usize),
    /// Have the session looked up.
    Wanted(Pair),
    /// Tell this worker that the address is of a session of another since then.
    Route { to: usize, remote: SocketAddr, owner: usize, at: Instant },
    /// Tell this worker that the address is not ours any more.
    Unroute { to: usize, remote: SocketAddr },
    /// Say that these are in use.
    Used(Vec<SessionId>),
    /// The session of this key is over, if it had one: close its socket, and say so.
    Ended { key: Option<usize>, id: SessionId, reason: EndReason },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Here(usize),
    Worker(usize),
}

/// Whose an address is, since when, and when something came from there last that was not another's.
#[derive(Debug, Clone, Copy)]
struct Remote {
    owner: Owner,
    at: Instant,
    heard: Instant,
}

/// One worker's sessions.
#[derive(Debug)]
pub(super) struct Table {
    index: usize,
    directory: Arc<Directory>,
    tally: Arc<Tally>,
    sessions: Slab<RelaySession>,
    pairs: HashMap<Pair, usize>,
    ids: HashMap<SessionId, usize>,
    remotes: HashMap<SocketAddr, Remote>,
    timers: Timers,
    sweep: Instant,
    used: Vec<SessionId>,
    actions: Vec<Action>,
    idle: Duration,
}

impl Table {
    pub(super) fn new(
        now: Instant,
        index: usize,
        directory: Arc<Directory>,
        tally: Arc<Tally>,
        idle: Duration,
    ) -> Self {
        Self {
            index,
            directory,
            tally,
            sessions: Slab::new(),
            pairs: HashMap::new(),
            ids: HashMap::new(),
            remotes: HashMap::new(),
            timers: Timers::default(),
            sweep: now + SWEEP_EVERY,
            used: Vec::new(),
            actions: Vec::new(),
            idle,
        }
    }

    /// What is to be done; empty after this.
    pub(super) fn actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// Whether anything is to be done.
    pub(super) fn has_actions(&self) -> bool {
        !self.actions.is_empty()
    }

    pub(super) fn session(&self, key: usize) -> Option<&RelaySession> {
        self.sessions.get(key)
    }

    /// A datagram of a client, which came to the socket of worker `via`.
    pub(super) fn handle_client(&mut self, now: Instant, via: usize, path: Path, bytes: &[u8]) -> Verdict {
        let verdict = match sort(bytes) {
            Sort::Stun => match stun::head(bytes) {
                Ok(head) if head.class == Class::Request => self.request(now, via, path, &head, bytes),
                Ok(_) => self.by_address(now, via, path, bytes),
                Err(reason) => Err(reason.into()),
            },
            Sort::Dtls | Sort::Rtp | Sort::Rtcp => self.by_address(now, via, path, bytes),
            Sort::Other => Err(Dropped::Other),
        };
        verdict.unwrap_or_else(|reason| {
            self.tally.dropped(reason, 1);
            Verdict::Drop
        })
    }

    fn by_address(&mut self, now: Instant, via: usize, path: Path, bytes: &[u8]) -> Result<Verdict, Dropped> {
        let remote = self.remotes.get_mut(&path.remote).ok_or(Dropped::Unbound)?;
        match remote.owner {
            Owner::Here(key) => {
                let session = self.sessions.get_mut(key).ok_or(Dropped::Unbound)?;
                session.handle_client(now, path, bytes)?;
                remote.heard = now;
                self.reschedule(key);
                self.towards_origin(now, key)
            }
            Owner::Worker(worker) => {
                remote.heard = now;
                self.to_worker(via, worker)
            }
        }
    }

    /// Handed over once: what comes from another worker is not passed on.
    fn to_worker(&self, via: usize, worker: usize) -> Result<Verdict, Dropped> {
        if via == self.index && worker != self.index { Ok(Verdict::ToWorker(worker)) } else { Err(Dropped::Misplaced) }
    }

    fn towards_origin(&mut self, now: Instant, key: usize) -> Result<Verdict, Dropped> {
        match self.sessions.get_mut(key).map_or(Reach::Down, |session| session.reach(now)) {
            Reach::Open => {}
            Reach::Opens => self.actions.push(Action::Open(key)),
            Reach::Down => return Err(Dropped::UpstreamDown),
        }
        Ok(Verdict::ToOrigin(key))
    }

    fn request(
        &mut self,
        now: Instant,
        via: usize,
        path: Path,
        head: &Head<'_>,
        bytes: &[u8],
    ) -> Result<Verdict, Dropped> {
        if !head.is_binding {
            return Err(Dropped::NotBinding);
        }
        let username =
            head.username.and_then(|username| std::str::from_utf8(username).ok()).ok_or(Dropped::Username)?;
        if let Some(&key) = self.pairs.get(username) {
            return self.check(now, via, path, key, username, bytes);
        }
        let Some(known) = self.directory.find(username) else { return Err(self.look_up(now, path, username)) };
        match known.owner() {
            Some(owner) if owner == self.index => Err(Dropped::UnknownPair),
            Some(owner) => {
                // Here, so that strangers take no room in the mailboxes; and its address is in use, as its own worker says.
                verify(&known.record, username, bytes)?;
                let of = Owner::Worker(owner);
                self.is_free(now, path.remote, of)?;
                if let Some(remote) = self.remotes.get_mut(&path.remote).filter(|remote| remote.owner == of) {
                    remote.heard = now;
                }
                self.to_worker(via, owner)
            }
            None => self.begin(now, via, path, &known, username, bytes),
        }
    }

    /// Nobody here knows it: why it is dropped, after it was asked for if it may be.
    fn look_up(&mut self, now: Instant, path: Path, username: &str) -> Dropped {
        match self.directory.lookups(self.index).ask(now, username, path.remote.ip()) {
            Ask::Now(pair) => {
                count(&self.tally.lookups);
                self.actions.push(Action::Wanted(pair));
                Dropped::LookupPending
            }
            Ask::Pending => Dropped::LookupPending,
            Ask::Unknown => Dropped::UnknownPair,
            Ask::Full => Dropped::LookupsFull,
            Ask::NoPair => Dropped::Username,
        }
    }

    /// Nobody could be asked for this pair.
    pub(super) fn not_asked(&self, pair: &Pair) {
        self.directory.lookups(self.index).forget(pair);
        self.tally.dropped(Dropped::LookupsFull, 1);
    }

    /// Whether an address may become this owner's.
    fn is_free(&self, now: Instant, remote: SocketAddr, owner: Owner) -> Result<(), Dropped> {
        let Some(of) = self.remotes.get(&remote).filter(|of| of.owner != owner) else { return Ok(()) };
        let has_ended = matches!(of.owner, Owner::Here(key) if !self.sessions.contains(key));
        let is_silent = now.saturating_duration_since(of.heard) >= HELD;
        if has_ended || is_silent { Ok(()) } else { Err(Dropped::AddressTaken) }
    }

    /// The first request of a session that no worker has.
    fn begin(
        &mut self,
        now: Instant,
        via: usize,
        path: Path,
        known: &Known,
        username: &str,
        bytes: &[u8],
    ) -> Result<Verdict, Dropped> {
        verify(&known.record, username, bytes)?;
        // It has no key yet, and whoever has the address is another one.
        self.is_free(now, path.remote, Owner::Here(usize::MAX))?;
        let id = &known.record.id;
        let known = match self.directory.claim(id, self.index) {
            Some(Ok(known)) => known,
            Some(Err(owner)) => return self.to_worker(via, owner),
            None => return Err(Dropped::UnknownPair),
        };
        let (id, session) = (id.clone(), RelaySession::new(now, known, self.idle));
        let pairs: Vec<_> = session.pairs().cloned().collect();
        let key = self.sessions.insert(session);
        self.pairs.extend(pairs.into_iter().map(|pair| (pair, key)));
        self.ids.insert(id, key);
        count(&self.tally.begun);
        self.reschedule(key);
        self.check(now, via, path, key, username, bytes)
    }

    fn check(
        &mut self,
        now: Instant,
        via: usize,
        path: Path,
        key: usize,
        username: &str,
        bytes: &[u8],
    ) -> Result<Verdict, Dropped> {
        self.is_free(now, path.remote, Owner::Here(key))?;
        let session = self.sessions.get_mut(key).ok_or(Dropped::UnknownPair)?;
        let outcome = session.check(now, path, username, bytes)?;
        let checked = outcome.checked;
        if checked.moved {
            session.known.live.set_client(session.addresses.path().map(|path| path.remote));
            count(&self.tally.moved);
        }
        if checked.is_new {
            session.vias.push((path.remote, via));
            self.own(path.remote, Owner::Here(key), now);
            if via != self.index {
                self.actions.push(Action::Route { to: via, remote: path.remote, owner: self.index, at: now });
            }
        } else if let Some(remote) = self.remotes.get_mut(&path.remote).filter(|of| of.owner == Owner::Here(key)) {
            remote.heard = now;
        }
        if let Some(path) = checked.forgotten {
            self.forgotten(key, path.remote);
        }
        if let Some(pair) = outcome.retired {
            self.pairs.remove(&pair);
            if let Some(session) = self.sessions.get(key) {
                self.directory.retire(&session.known.record.id, &pair);
            }
        }
        self.is_used(now, key);
        self.reschedule(key);
        self.towards_origin(now, key)
    }

    /// A datagram of a session's origin: where it goes. `None` when it goes nowhere, which is counted.
    pub(super) fn handle_origin(&mut self, now: Instant, key: usize, bytes: &[u8]) -> Option<Path> {
        let session = self.sessions.get_mut(key)?;
        let to = session.handle_origin(now, bytes);
        if session.is_closing() {
            self.reschedule(key);
        } else {
            self.is_used(now, key);
        }
        to.inspect_err(|reason| self.tally.dropped(*reason, 1)).ok()
    }

    /// The session's socket to its origin failed, or could not be opened.
    pub(super) fn upstream_failed(&mut self, now: Instant, key: usize) {
        if self.sessions.get_mut(key).is_some_and(|session| session.failed(now)) {
            count(&self.tally.upstreams_failed);
            self.actions.push(Action::Close(key));
        }
    }

    /// Another worker says whose an address is.
    pub(super) fn route(&mut self, remote: SocketAddr, note: RouteNote) {
        match note {
            RouteNote::To { worker, at } => {
                if self.remotes.len() < MAX_ROUTES || self.remotes.contains_key(&remote) {
                    self.own(remote, Owner::Worker(worker), at);
                }
            }
            RouteNote::Gone { worker } => {
                if self.remotes.get(&remote).is_some_and(|of| of.owner == Owner::Worker(worker)) {
                    self.remotes.remove(&remote);
                }
            }
        }
    }

    /// The newest authentic owner has it, wherever it lives; the one before has lost its way.
    fn own(&mut self, remote: SocketAddr, owner: Owner, at: Instant) {
        if self.remotes.get(&remote).is_some_and(|of| of.at > at) {
            return;
        }
        let before = self.remotes.insert(remote, Remote { owner, at, heard: at }).map(|of| of.owner);
        let worker_of = |owner| if let Owner::Worker(worker) = owner { worker } else { self.index };
        match before.filter(|before| *before != owner) {
            Some(Owner::Here(key)) => {
                let Some(session) = self.sessions.get_mut(key) else { return };
                // What comes from there does not come to this worker: it need not know whose it is.
                if session.vias.iter().any(|(own, via)| *own == remote && *via != self.index)
                    && matches!(owner, Owner::Worker(_))
                {
                    self.remotes.remove(&remote);
                }
                if session.lose(remote) {
                    session.known.live.set_client(None);
                }
            }
            Some(Owner::Worker(to)) => {
                self.actions.push(Action::Route { to, remote, owner: worker_of(owner), at });
            }
            None => {}
        }
    }

    fn forgotten(&mut self, key: usize, remote: SocketAddr) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let Some(at) = session.vias.iter().position(|(own, _)| *own == remote) else { return };
        let (_, via) = session.vias.swap_remove(at);
        self.unroute(key, remote, via);
    }

    fn unroute(&mut self, key: usize, remote: SocketAddr, via: usize) {
        if self.remotes.get(&remote).is_some_and(|of| of.owner == Owner::Here(key)) {
            self.remotes.remove(&remote);
        }
        if via != self.index {
            self.actions.push(Action::Unroute { to: via, remote });
        }
    }

    /// Takes what is new of a session; of one that is not here nothing.
    pub(super) fn update(&mut self, record: &Session) {
        let Some(&key) = self.ids.get(&record.id) else { return };
        let Some(session) = self.sessions.get_mut(key) else { return };
        let (added, gone) = session.update(record);
        self.pairs.extend(added.into_iter().map(|pair| (pair, key)));
        for pair in gone {
            self.pairs.remove(&pair);
        }
    }

    /// Ends a session; one that is not here has ended by itself.
    pub(super) fn end(&mut self, id: &SessionId, reason: EndReason) {
        if let Some(key) = self.ids.remove(id) {
            self.close(key, reason);
        }
    }

    fn close(&mut self, key: usize, reason: EndReason) {
        let Some(session) = self.sessions.try_remove(key) else { return };
        let id = session.known.record.id.clone();
        self.ids.remove(&id);
        for pair in session.pairs() {
            self.pairs.remove(pair);
        }
        for (remote, via) in &session.vias {
            self.unroute(key, *remote, *via);
        }
        self.directory.remove(&id);
        self.tally.end(reason);
        self.actions.push(Action::Ended { key: Some(key), id, reason });
    }

    fn is_used(&mut self, now: Instant, key: usize) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        if session.is_used(now) {
            self.used.push(session.known.record.id.clone());
        }
        if self.used.len() >= USED_AT_ONCE {
            self.tell_used();
        }
    }

    fn tell_used(&mut self) {
        if !self.used.is_empty() {
            self.actions.push(Action::Used(std::mem::take(&mut self.used)));
        }
    }

    fn reschedule(&mut self, key: usize) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let (deadline, _) = session.end();
        if session.scheduled.is_none_or(|scheduled| deadline < scheduled) {
            session.scheduled = Some(deadline);
            self.timers.schedule(deadline, key);
        }
    }

    /// When [`Table::handle_timeout`] has something to do.
    pub(super) fn deadline(&self) -> Instant {
        self.timers.next().map_or(self.sweep, |next| next.min(self.sweep))
    }

    /// Ends what is over; true when there may be more.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> bool {
        if now >= self.sweep {
            self.sweep = now + SWEEP_EVERY;
            self.tell_used();
            // One worker sees to those that none has.
            while self.index == 0
                && let Some(id) = self.directory.expired(now)
            {
                self.tally.end(EndReason::Idle);
                self.actions.push(Action::Ended { key: None, id, reason: EndReason::Idle });
            }
        }
        for _ in 0..TIMERS_A_TURN {
            let Some(key) = self.timers.pop(now) else { return false };
            let Some(session) = self.sessions.get_mut(key) else { continue };
            if session.scheduled.is_some_and(|scheduled| scheduled > now) {
                continue;
            }
            session.scheduled = None;
            match session.end() {
                (deadline, reason) if deadline <= now => self.close(key, reason),
                _ => self.reschedule(key),
            }
        }
        true
    }

    /// How many sessions, addresses and pairs there are: what must go back to nothing.
    pub(super) fn sizes(&self) -> [usize; 3] {
        [self.sessions.len(), self.remotes.len(), self.pairs.len()]
    }
}
