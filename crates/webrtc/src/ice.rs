//! The ICE-lite edge of one session: who may send to it, and where its media goes.
//!
//! It owns the credentials of both generations during a restart, the addresses that passed a check, and the one bound
//! address. An address over UDP and the same one over TCP are two, and so are two connections from one address. It
//! answers checks and sends none (RFC 8445 2.5). The engine below never sees a STUN message of a peer.
//!
//! The address moves on a verified request with USE-CANDIDATE at once, or on a verified one without it when the bound
//! address has been silent for [`SILENT`]; never on a transaction id seen before, and at most once a [`MOVE_EVERY`].
//!
//! STUN has no clock and a lite agent asks nothing back, so a captured request is known for a replay only as long as its
//! transaction id is: [`TRANSACTIONS`] says how long that is, and an ICE restart makes all earlier ones worthless. Beyond it
//! a replay from another address could turn media there until the client's next check; what it would get is SRTP.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use whipstitch_net::Path;
use whipstitch_net::stun::{self, Check};

use crate::negotiate::Credentials;

/// A bound address that was silent this long may be left without USE-CANDIDATE (design 2.1): a client that lost its
/// address and only checks.
const SILENT: Duration = Duration::from_secs(3);

/// A client has no reason to move more often; whoever replays from two places must not make media flap.
const MOVE_EVERY: Duration = Duration::from_secs(1);

/// How long the previous generation's credentials live on after a restart (protocol.md 4.2).
const OLDER_LIVES: Duration = Duration::from_secs(15);

/// Addresses of one session from which datagrams are taken. A full-ICE client with two interfaces in two address
/// families checks from four; twice that is plenty.
const MAX_CHECKED: usize = 8;

/// Transaction ids remembered of each generation. Only requests with the right integrity count, so nobody but the client
/// can make us forget: browsers check every 2.5 s, which is over 11 hours; at one every 0.5 s it is 2.
const TRANSACTIONS: usize = 16_384;

/// One pair of credentials on each side (RFC 8445 5.3), and the requests that were made under them.
#[derive(Debug)]
struct Generation {
    local: Credentials,
    remote: Credentials,
    seen: Seen,
}

impl Generation {
    fn new(local: Credentials, remote: Credentials) -> Generation {
        Generation { local, remote, seen: Seen::default() }
    }
}

/// The newest transaction ids, four bytes of each: 64 KiB for the longest memory, next to nothing for a short session. Who
/// chooses ids that fall together only has checks of its own taken for repeats.
#[derive(Debug, Default)]
struct Seen {
    ids: Vec<u32>,
    /// The next to be overwritten, once there are [`TRANSACTIONS`].
    oldest: usize,
}

impl Seen {
    /// True when the id is new.
    fn insert(&mut self, transaction: [u8; 12]) -> bool {
        let id = transaction
            .as_chunks::<4>()
            .0
            .iter()
            .fold(0_u32, |id, word| id.rotate_left(11) ^ u32::from_be_bytes(*word));
        if self.ids.contains(&id) {
            return false;
        }
        if self.ids.len() < TRANSACTIONS {
            self.ids.push(id);
        } else if let Some(place) = self.ids.get_mut(self.oldest) {
            *place = id;
            self.oldest = (self.oldest + 1) % TRANSACTIONS;
        }
        true
    }
}

/// What a STUN datagram led to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// To be sent back to where the request came from.
    pub(crate) reply: Option<Vec<u8>>,
    /// The address passed its first check: datagrams from it are this session's.
    pub(crate) checked: Option<Path>,
    /// The address that is no longer among the checked ones, forgotten to make room.
    pub(crate) forgotten: Option<Path>,
    /// Media goes to another address from now on.
    pub(crate) moved: bool,
    /// A local ufrag that is no longer ours.
    pub(crate) retired: Option<String>,
}

/// The edge of one session.
#[derive(Debug)]
pub(crate) struct Edge {
    current: Generation,
    older: Option<(Generation, Instant)>,
    checked: VecDeque<Path>,
    bound: Option<Bound>,
    heard: Instant,
}

#[derive(Debug, Clone, Copy)]
struct Bound {
    path: Path,
    nominated: bool,
    moved: Instant,
    heard: Instant,
}

impl Edge {
    /// An edge that nobody has reached yet.
    pub(crate) fn new(now: Instant, local: Credentials, remote: Credentials) -> Edge {
        Edge { current: Generation::new(local, remote), older: None, checked: VecDeque::new(), bound: None, heard: now }
    }

    /// Where media goes: the bound address, once there is one.
    pub(crate) fn path(&self) -> Option<Path> {
        self.bound.map(|bound| bound.path)
    }

    /// True when datagrams other than STUN may be taken from this address (RFC 7983 sorting comes before).
    pub(crate) fn accepts(&self, path: Path) -> bool {
        self.checked.iter().any(|checked| checked.has_same_end(&path))
    }

    /// When the last authenticated packet came, of whatever kind (protocol.md 6.4).
    pub(crate) fn last_heard(&self) -> Instant {
        self.heard
    }

    /// Notes an authenticated packet that was not STUN.
    pub(crate) fn heard(&mut self, now: Instant, path: Path) {
        self.heard = now;
        if let Some(bound) = &mut self.bound
            && bound.path.has_same_end(&path)
        {
            bound.heard = now;
        }
    }

    /// The TCP connection of this path is closed. True when media went there: it has no way now, and the next good check
    /// on whatever path gives it one.
    pub(crate) fn closed(&mut self, path: Path) -> bool {
        self.checked.retain(|checked| !checked.has_same_end(&path));
        self.bound.take_if(|bound| bound.path.has_same_end(&path)).is_some()
    }

    /// Starts the next generation; the present one is answered until the new one is nominated or [`OLDER_LIVES`] is
    /// over. Returns the ufrag of a generation that was still waiting to go and is now gone.
    pub(crate) fn restart(&mut self, now: Instant, local: Credentials, remote: Credentials) -> Option<String> {
        let current = std::mem::replace(&mut self.current, Generation::new(local, remote));
        let expires = now + OLDER_LIVES;
        // Two restarts in a row: media still flows on the oldest one, which is the one worth keeping.
        let (kept, gone) = match self.older.take() {
            Some((oldest, _)) if self.bound.is_some() => (oldest, Some(current)),
            older => (current, older.map(|(oldest, _)| oldest)),
        };
        self.older = Some((kept, expires));
        gone.map(|generation| generation.local.ufrag)
    }

    /// When [`Edge::handle_timeout`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.older.as_ref().map(|(_, expires)| *expires)
    }

    /// Forgets an older generation whose time is over; returns its local ufrag.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Option<String> {
        let (_, expires) = self.older.as_ref()?;
        if *expires > now {
            return None;
        }
        self.older.take().map(|(generation, _)| generation.local.ufrag)
    }

    /// Handles one STUN datagram.
    pub(crate) fn handle_stun(&mut self, now: Instant, path: Path, datagram: &[u8]) -> Outcome {
        let mut outcome = Outcome::default();
        let Some(ufrag) = stun::local_ufrag(datagram) else { return outcome };
        let is_current = ufrag == self.current.local.ufrag;
        let generation = match &mut self.older {
            _ if is_current => &mut self.current,
            Some((older, _)) if older.local.ufrag == ufrag => older,
            _ => return outcome,
        };
        let pwd = &generation.local.pwd;
        let binding = match stun::check(datagram, &generation.local.ufrag, &generation.remote.ufrag, pwd) {
            Check::Valid(binding) => binding,
            Check::Reply(reply) => {
                outcome.reply = Some(reply);
                return outcome;
            }
            Check::Drop(_) => return outcome,
        };
        outcome.reply = Some(stun::success(datagram, path.remote, pwd));
        if !generation.seen.insert(binding.transaction) {
            // Answered, since the first answer may have been lost; but it moves nothing and proves no life.
            return outcome;
        }
        self.check(path, &mut outcome);
        self.bind(now, path, binding.use_candidate, &mut outcome);
        self.heard(now, path);
        if is_current && binding.use_candidate && self.bound.is_some_and(|bound| bound.path.has_same_end(&path)) {
            outcome.retired = self.older.take().map(|(generation, _)| generation.local.ufrag);
        }
        outcome
    }

    fn check(&mut self, path: Path, outcome: &mut Outcome) {
        if self.accepts(path) {
            return;
        }
        if self.checked.len() == MAX_CHECKED {
            // Not the bound one: media would lose its way.
            let bound = self.path();
            let oldest =
                self.checked.iter().position(|checked| !bound.is_some_and(|bound| bound.has_same_end(checked)));
            outcome.forgotten = oldest.and_then(|index| self.checked.remove(index));
        }
        self.checked.push_back(path);
        outcome.checked = Some(path);
    }

    fn bind(&mut self, now: Instant, path: Path, use_candidate: bool, outcome: &mut Outcome) {
        let moves = match &mut self.bound {
            None => true,
            Some(bound) if bound.path.has_same_end(&path) => {
                // The same peer; only the address of ours that it uses may have changed.
                bound.nominated |= use_candidate;
                outcome.moved = bound.path != path && use_candidate;
                if outcome.moved {
                    bound.path = path;
                }
                return;
            }
            // Nobody nominated the first one: it only served to answer the handshake.
            Some(bound) if !bound.nominated => use_candidate,
            Some(bound) if now.duration_since(bound.moved) < MOVE_EVERY => false,
            Some(bound) => use_candidate || now.duration_since(bound.heard) >= SILENT,
        };
        if moves {
            self.bound = Some(Bound { path, nominated: use_candidate, moved: now, heard: now });
            outcome.moved = true;
        }
    }
}

#[cfg(test)]
mod tests;
