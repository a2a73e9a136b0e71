//! What must reach a worker however far behind it is: the lane beside its mailbox that never refuses.
//!
//! A note says what is so from now on, so a later one about the same thing takes the place of an earlier one, and what
//! waits is bounded by the things there are: each session is noted to end at most once ([`Ending`] sees to it) and to be
//! woken once, each stream has one note, each address one, [`MAX_ROUTES`] addresses at most. There is one lock, held for one map operation
//! by who notes and for one swap by the worker, which looks at a flag only as long as nothing is noted.
//!
//! A worker takes its notes before each command, so nothing overtakes a note that was made before it: a burst of other
//! tracks never comes before the word that they are others.

use std::collections::{HashMap, HashSet, hash_map};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use smallvec::SmallVec;
use whipstitch_stream::{CloseReason, SessionId, StreamKey, Tracks};

/// Addresses of other workers' sessions that a worker knows, and changes to them that may wait for it. Every one was
/// authenticated by its worker. Beyond it datagrams from a new one are dropped, as a network would.
pub const MAX_ROUTES: usize = 65_536;

/// The order to end one session, which may be given at any time: also before the session has come to its worker, and
/// also while that is too far behind to take a command. The first reason given is the one that counts.
#[derive(Clone, Debug, Default)]
pub struct Ending(Arc<OnceLock<CloseReason>>);

impl Ending {
    /// True when nobody gave a reason before.
    pub(crate) fn order(&self, reason: CloseReason) -> bool {
        self.0.set(reason).is_ok()
    }

    /// Why the session is to end; `None` while it is not.
    pub fn reason(&self) -> Option<CloseReason> {
        self.0.get().copied()
    }
}

/// The notes of one worker: what one thread says is so, until the other looks. `T` is what may be said, each thing once.
#[derive(Debug, Default)]
pub struct Notes<T> {
    any: AtomicBool,
    noted: Mutex<T>,
}

/// What was noted since a worker of the plane looked last.
#[derive(Default)]
pub(crate) struct Noted {
    /// Close all sessions and end.
    pub(crate) stop: bool,
    /// These sessions are to end.
    pub(crate) endings: Vec<SessionId>,
    /// These have something in queues of their own.
    pub(crate) wakes: HashSet<SessionId>,
    pub(crate) streams: HashMap<StreamKey, StreamNote>,
    pub(crate) routes: Routes,
}

/// What is to be said of addresses, each of which may have another owner each time; [`MAX_ROUTES`] of them at most.
#[derive(Debug, Default)]
pub struct Routes(HashMap<SocketAddr, RouteNote>);

/// What another worker says of a stream.
#[derive(Default)]
pub(crate) struct StreamNote {
    /// To its home: whether this worker has subscribers.
    pub(crate) interest: SmallVec<[(usize, bool); 2]>,
    /// To its home: these workers have nothing to replay to those that join.
    pub(crate) uncached: SmallVec<[usize; 2]>,
    /// To its home: a subscriber elsewhere needs a keyframe.
    pub(crate) keyframe: bool,
    /// From its home: other tracks.
    pub(crate) tracks: Option<Tracks>,
    /// From its home: it is over.
    pub(crate) ended: bool,
}

/// Whose the datagrams from an address are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteNote {
    /// That worker's, which has checked the address at this instant.
    To {
        /// Which worker.
        worker: usize,
        /// When it checked.
        at: Instant,
    },
    /// That worker's no longer.
    Gone {
        /// Which worker.
        worker: usize,
    },
}

impl<T: Default> Notes<T> {
    /// True when the worker is to be woken: there was nothing noted before.
    pub fn note(&self, change: impl FnOnce(&mut T)) -> bool {
        let mut noted = self.lock();
        change(&mut noted);
        // Under the lock, or a worker that takes this note right now would be left with a flag and no note.
        !self.any.swap(true, Ordering::Release)
    }

    /// Everything noted since the last call; `None` costs one look at a flag.
    pub fn take(&self) -> Option<T> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let mut noted = self.lock();
        self.any.store(false, Ordering::Relaxed);
        Some(std::mem::take(&mut *noted))
    }

    fn lock(&self) -> MutexGuard<'_, T> {
        // Nothing in here panics half-way through a change.
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Noted {
    /// The worker's last word on whether it has subscribers.
    pub(crate) fn interest(&mut self, stream: StreamKey, worker: usize, has: bool) {
        let interest = &mut self.streams.entry(stream).or_default().interest;
        interest.retain(|(other, _)| *other != worker);
        interest.push((worker, has));
    }

    /// The worker has nothing to replay to those that join.
    pub(crate) fn uncached(&mut self, stream: StreamKey, worker: usize) {
        let uncached = &mut self.streams.entry(stream).or_default().uncached;
        if !uncached.contains(&worker) {
            uncached.push(worker);
        }
    }
}

impl Routes {
    /// An address is this worker's.
    pub fn route(&mut self, remote: SocketAddr, worker: usize, at: Instant) {
        if self.0.len() >= MAX_ROUTES && !self.0.contains_key(&remote) {
            return;
        }
        let note = self.0.entry(remote).or_insert(RouteNote::To { worker, at });
        // Of two workers' checks the later one counts, whichever is told of first.
        if !matches!(note, RouteNote::To { at: other, .. } if *other > at) {
            *note = RouteNote::To { worker, at };
        }
    }

    /// An address is this worker's no longer.
    pub fn unroute(&mut self, remote: SocketAddr, worker: usize) {
        if self.0.len() >= MAX_ROUTES && !self.0.contains_key(&remote) {
            return;
        }
        let note = self.0.entry(remote).or_insert(RouteNote::Gone { worker });
        if !matches!(note, RouteNote::To { worker: other, .. } if *other != worker) {
            *note = RouteNote::Gone { worker };
        }
    }
}

impl IntoIterator for Routes {
    type Item = (SocketAddr, RouteNote);
    type IntoIter = hash_map::IntoIter<SocketAddr, RouteNote>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn stream() -> StreamKey {
        StreamKey::parse("cam").unwrap()
    }

    #[test]
    fn the_first_reason_counts_and_a_session_is_noted_once() {
        let ending = Ending::default();
        assert_eq!(ending.reason(), None);
        assert!(ending.order(CloseReason::Replaced));
        assert!(!ending.clone().order(CloseReason::ByRequest));
        assert_eq!(ending.reason(), Some(CloseReason::Replaced));
    }

    #[test]
    fn only_the_first_note_wakes_the_worker() {
        let notes = Notes::<Noted>::default();
        assert!(notes.take().is_none());
        assert!(notes.note(|noted| noted.stop = true));
        assert!(!notes.note(|noted| noted.endings.push(SessionId(1))));
        let noted = notes.take().unwrap();
        assert!(noted.stop && noted.endings == [SessionId(1)]);
        assert!(notes.take().is_none());
        assert!(notes.note(|_| ()));
    }

    #[test]
    fn of_each_worker_the_last_word_on_a_stream_is_kept() {
        let mut noted = Noted::default();
        for round in 0..1000 {
            noted.interest(stream(), 1, round % 2 == 0);
            noted.interest(stream(), 2, round % 2 == 1);
        }
        assert_eq!(noted.streams[&stream()].interest.as_slice(), [(1, false), (2, true)]);
    }

    #[test]
    fn an_address_is_whose_check_was_later() {
        let (mut noted, now) = (Routes::default(), Instant::now());
        let remote = SocketAddr::from(([192, 0, 2, 1], 1));
        let later = now + Duration::from_millis(1);
        noted.route(remote, 2, later);
        noted.route(remote, 1, now);
        noted.unroute(remote, 1);
        assert_eq!(noted.0[&remote], RouteNote::To { worker: 2, at: later });
        noted.unroute(remote, 2);
        assert_eq!(noted.0[&remote], RouteNote::Gone { worker: 2 });
        noted.route(remote, 1, now);
        assert_eq!(noted.0[&remote], RouteNote::To { worker: 1, at: now });
    }

    #[test]
    fn addresses_that_wait_are_bounded() {
        let (mut noted, now) = (Routes::default(), Instant::now());
        for n in 0..MAX_ROUTES as u32 + 10 {
            noted.route((std::net::Ipv4Addr::from(n), 1).into(), 1, now);
            noted.unroute((std::net::Ipv4Addr::from(n), 2).into(), 1);
        }
        assert_eq!(noted.0.len(), MAX_ROUTES);
    }
}
