//! The ICE-lite edge of one session: who may send to it, and where its media goes.
//!
//! It owns the credentials of both generations during a restart; the addresses that passed a check, and the bound one, are
//! [`Addresses`], which says when media moves. It answers checks and sends none (RFC 8445 2.5). The engine below never sees
//! a STUN message of a peer. A transaction id seen before ([`Seen`]) moves nothing.

use std::time::{Duration, Instant};

use whipstitch_net::Path;
use whipstitch_net::addresses::Addresses;
use whipstitch_net::stun::{self, Check, Seen};

use crate::negotiate::Credentials;

/// How long the previous generation's credentials live on after a restart (protocol.md 4.2).
const OLDER_LIVES: Duration = Duration::from_secs(15);

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
    addresses: Addresses,
    heard: Instant,
}

impl Edge {
    /// An edge that nobody has reached yet.
    pub(crate) fn new(now: Instant, local: Credentials, remote: Credentials) -> Edge {
        Edge { current: Generation::new(local, remote), older: None, addresses: Addresses::default(), heard: now }
    }

    /// Where media goes: the bound address, once there is one.
    pub(crate) fn path(&self) -> Option<Path> {
        self.addresses.path()
    }

    /// True when datagrams other than STUN may be taken from this address (RFC 7983 sorting comes before).
    pub(crate) fn accepts(&self, path: Path) -> bool {
        self.addresses.accepts(path)
    }

    /// When the last authenticated packet came, of whatever kind (protocol.md 6.4).
    pub(crate) fn last_heard(&self) -> Instant {
        self.heard
    }

    /// Notes an authenticated packet that was not STUN.
    pub(crate) fn heard(&mut self, now: Instant, path: Path) {
        self.heard = now;
        self.addresses.heard(now, path);
    }

    /// The TCP connection of this path is closed. True when media went there: it has no way now, and the next good check
    /// on whatever path gives it one.
    pub(crate) fn closed(&mut self, path: Path) -> bool {
        self.addresses.closed(path)
    }

    /// Starts the next generation; the present one is answered until the new one is nominated or [`OLDER_LIVES`] is
    /// over. Returns the ufrag of a generation that was still waiting to go and is now gone.
    pub(crate) fn restart(&mut self, now: Instant, local: Credentials, remote: Credentials) -> Option<String> {
        let current = std::mem::replace(&mut self.current, Generation::new(local, remote));
        let expires = now + OLDER_LIVES;
        // Two restarts in a row: media still flows on the oldest one, which is the one worth keeping.
        let (kept, gone) = match self.older.take() {
            Some((oldest, _)) if self.path().is_some() => (oldest, Some(current)),
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
        let checked = self.addresses.check(now, path, binding.use_candidate);
        outcome.checked = checked.is_new.then_some(path);
        outcome.forgotten = checked.forgotten;
        outcome.moved = checked.moved;
        self.heard = now;
        if is_current && binding.use_candidate && self.addresses.is_bound(path) {
            outcome.retired = self.older.take().map(|(generation, _)| generation.local.ufrag);
        }
        outcome
    }
}

#[cfg(test)]
mod tests;
