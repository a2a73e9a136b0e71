//! The addresses of one session at an ICE-lite edge: which have proven themselves, and the one that media goes to.
//!
//! Who owns it judges checks first ([`stun`](crate::stun), [`Seen`](crate::stun::Seen)) and tells of those that were
//! authentic and new. The bound address moves on one with USE-CANDIDATE at once, or on one without it when the bound
//! address has been silent for [`SILENT`]; at most once a [`MOVE_EVERY`]. An address over UDP and the same one over TCP
//! are two, and so are two connections from one address. Time is an argument.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::Path;

/// A bound address that was silent this long may be left without USE-CANDIDATE (design 2.1): a client that lost its
/// address and only checks.
pub const SILENT: Duration = Duration::from_secs(3);

/// A client has no reason to move more often; whoever replays from two places must not make media flap.
pub const MOVE_EVERY: Duration = Duration::from_secs(1);

/// Addresses of one session from which datagrams are taken. A full-ICE client with two interfaces in two address
/// families checks from four; twice that is plenty. With another one the oldest goes that is not bound.
pub const MAX_CHECKED: usize = 8;

/// The addresses of one session.
#[derive(Debug, Default)]
pub struct Addresses {
    checked: VecDeque<Path>,
    bound: Option<Bound>,
}

#[derive(Debug, Clone, Copy)]
struct Bound {
    path: Path,
    nominated: bool,
    moved: Instant,
    heard: Instant,
}

/// What an authentic check led to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Checked {
    /// It was the first one from there: datagrams from there are this session's.
    pub is_new: bool,
    /// The address that is no longer among the checked ones, forgotten to make room.
    pub forgotten: Option<Path>,
    /// Media goes to another address from now on.
    pub moved: bool,
}

impl Addresses {
    /// Where media goes: the bound address, once there is one.
    pub fn path(&self) -> Option<Path> {
        self.bound.map(|bound| bound.path)
    }

    /// When something came from the bound address last.
    pub fn bound_heard(&self) -> Option<Instant> {
        self.bound.map(|bound| bound.heard)
    }

    /// True when this address passed a check.
    pub fn accepts(&self, path: Path) -> bool {
        self.checked.iter().any(|checked| checked.has_same_end(&path))
    }

    /// Every address that passed a check and was not forgotten since, the oldest first; at most [`MAX_CHECKED`].
    pub fn checked(&self) -> impl Iterator<Item = Path> + '_ {
        self.checked.iter().copied()
    }

    /// True when media goes there.
    pub fn is_bound(&self, path: Path) -> bool {
        self.bound.is_some_and(|bound| bound.path.has_same_end(&path))
    }

    /// Notes that something came from there.
    pub fn heard(&mut self, now: Instant, path: Path) {
        if let Some(bound) = &mut self.bound
            && bound.path.has_same_end(&path)
        {
            bound.heard = now;
        }
    }

    /// There is nobody any more. True when media went there: it has no way now, and the next good check from wherever
    /// gives it one.
    pub fn closed(&mut self, path: Path) -> bool {
        self.checked.retain(|checked| !checked.has_same_end(&path));
        self.bound.take_if(|bound| bound.path.has_same_end(&path)).is_some()
    }

    /// Notes an authentic check with a transaction that was not seen before.
    pub fn check(&mut self, now: Instant, path: Path, use_candidate: bool) -> Checked {
        let mut checked = Checked::default();
        self.keep(path, &mut checked);
        checked.moved = self.bind(now, path, use_candidate);
        self.heard(now, path);
        checked
    }

    fn keep(&mut self, path: Path, checked: &mut Checked) {
        if self.accepts(path) {
            return;
        }
        if self.checked.len() == MAX_CHECKED {
            // Not the bound one: media would lose its way.
            let bound = self.path();
            let oldest = self.checked.iter().position(|other| !bound.is_some_and(|bound| bound.has_same_end(other)));
            checked.forgotten = oldest.and_then(|index| self.checked.remove(index));
        }
        self.checked.push_back(path);
        checked.is_new = true;
    }

    /// True when media goes another way now.
    fn bind(&mut self, now: Instant, path: Path, use_candidate: bool) -> bool {
        let moves = match &mut self.bound {
            None => true,
            Some(bound) if bound.path.has_same_end(&path) => {
                // The same peer; only the address of ours that it uses may have changed.
                bound.nominated |= use_candidate;
                let moved = bound.path != path && use_candidate;
                if moved {
                    bound.path = path;
                }
                return moved;
            }
            // Nobody nominated the first one: it only served to answer the handshake.
            Some(bound) if !bound.nominated => use_candidate,
            Some(bound) if now.duration_since(bound.moved) < MOVE_EVERY => false,
            Some(bound) => use_candidate || now.duration_since(bound.heard) >= SILENT,
        };
        if moves {
            self.bound = Some(Bound { path, nominated: use_candidate, moved: now, heard: now });
        }
        moves
    }
}
