//! What reaches a worker from outside: notes, which are never refused, and datagrams that came to another worker's socket,
//! which are dropped when there is no room, as a network would.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender};

use mio::Waker;
use whipstitch_net::Path;
use whipstitch_plane::{Notes, Routes};

use super::counters::EndReason;
use crate::{Session, SessionId};

/// Datagrams a worker may be behind: some milliseconds of work.
const STRAYS: usize = 2048;

/// The largest datagram handed over: above every path's MTU. Who sends larger ones must not fill the mailbox with them.
pub(super) const STRAY_BYTES: usize = 2048;

/// A datagram, and the worker to whose socket it came.
pub(super) struct Stray {
    pub(super) via: usize,
    pub(super) path: Path,
    pub(super) bytes: Vec<u8>,
}

/// What is so from now on: each session is noted once, and there is a bound for sessions.
#[derive(Debug, Default)]
pub(super) struct Noted {
    /// End the thread.
    pub(super) stop: bool,
    /// What is new of sessions.
    pub(super) updates: HashMap<SessionId, Arc<Session>>,
    /// These are to end.
    pub(super) endings: HashMap<SessionId, EndReason>,
    /// Whose addresses are.
    pub(super) routes: Routes,
}

/// The sending end.
#[derive(Clone)]
pub(super) struct Mailbox {
    strays: SyncSender<Stray>,
    notes: Arc<Notes<Noted>>,
    waker: Arc<Waker>,
}

/// The receiving end.
pub(super) struct Inbox {
    pub(super) strays: Receiver<Stray>,
    pub(super) notes: Arc<Notes<Noted>>,
}

pub(super) fn mailbox(waker: Waker) -> (Mailbox, Inbox) {
    let (strays, strays_in) = mpsc::sync_channel(STRAYS);
    let notes = Arc::new(Notes::default());
    (Mailbox { strays, notes: Arc::clone(&notes), waker: Arc::new(waker) }, Inbox { strays: strays_in, notes })
}

impl Mailbox {
    /// False when there is no room.
    pub(super) fn send(&self, stray: Stray) -> bool {
        let sent = self.strays.try_send(stray).is_ok();
        self.wake();
        sent
    }

    pub(super) fn note(&self, change: impl FnOnce(&mut Noted)) {
        if self.notes.note(change) {
            self.wake();
        }
    }

    fn wake(&self) {
        // Fails only when the worker's poll is gone, and then nobody waits for it.
        let _ = self.waker.wake();
    }
}
