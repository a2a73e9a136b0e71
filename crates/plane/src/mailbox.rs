//! The bounded ways between control and workers and between workers.
//!
//! Commands and bursts wait in one queue, datagrams and connections that another worker received in a second, so that a
//! flood of strays cannot keep a command out. When the first is full the sender is told ([`Full`]): control answers 503, a
//! worker drops the burst, counts it, and says so with the next that finds room. When the second is full the datagram is
//! dropped, as a network would, and the connection closed. What must not be lost goes neither way: see
//! [`notes`](crate::notes).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};

use mio::Waker;
use whipstitch_net::Path;
use whipstitch_stream::{Burst, Clock, Forwarded, PerKind, SessionId, StreamKey};

use crate::measure::WorkerReport;
use crate::notes::{Ending, Noted, Notes};
use crate::peer::{Peer, PeerCommand};
use crate::report::Report;
use crate::roster::Entered;
use crate::worker::Moved;

/// Commands and bursts a worker may be behind. A burst a frame of 100 streams at 50 packets a second of audio is 8000 a
/// second: half a second of them.
const COMMANDS: usize = 4096;

/// Strays a worker may be behind: about 10 ms of a fully loaded worker.
const STRAYS: usize = 2048;

/// The mailbox has no room: the worker is overloaded or gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the media worker's mailbox is full")]
pub struct Full;

/// What a worker can be told, as long as it keeps up.
pub(crate) enum Command {
    /// Take this session over, unless it is to end already; its first local ufrag, if datagrams find it by one.
    Add { peer: Box<dyn Peer>, ufrag: Option<String>, ending: Ending, entered: Entered },
    /// Tell a session something.
    Peer { session: SessionId, command: PeerCommand },
    /// From the home of a stream: packets, and whether others before them found no room.
    Burst { stream: StreamKey, burst: Arc<Burst>, after_gap: bool },
    /// From the home of a stream: what it has cached for those that join, and its clocks; asked for by a note.
    Cache { stream: StreamKey, packets: Vec<Forwarded>, clocks: PerKind<Option<Clock>> },
    /// Tell about everything.
    Report(Box<dyn FnOnce(Report) + Send>),
    /// Tell what was counted.
    Measure(Box<dyn FnOnce(WorkerReport) + Send>),
}

/// What came to another worker's sockets. Anybody can send it.
pub(crate) enum Stray {
    /// A datagram, and the worker it came to.
    Datagram { via: usize, path: Path, bytes: Vec<u8> },
    /// A TCP connection whose first frame names a session of this worker.
    Connection(Box<Moved>),
}

/// The sending end: any thread may hold one.
#[derive(Clone)]
pub(crate) struct Mailbox {
    commands: SyncSender<Command>,
    strays: SyncSender<Stray>,
    notes: Arc<Notes<Noted>>,
    waker: Arc<Waker>,
    /// How often there was no room.
    refused: Arc<AtomicU64>,
}

impl Mailbox {
    pub(crate) fn send(&self, command: Command) -> Result<(), Full> {
        self.commands.try_send(command).map_err(|_| self.refuse())?;
        self.wake();
        Ok(())
    }

    pub(crate) fn send_stray(&self, stray: Stray) -> Result<(), Full> {
        self.strays.try_send(stray).map_err(|_| self.refuse())?;
        self.wake();
        Ok(())
    }

    /// How often something was refused for want of room.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn refuse(&self) -> Full {
        self.refused.fetch_add(1, Ordering::Relaxed);
        Full
    }

    /// Never refused: see [`notes`](crate::notes).
    pub(crate) fn note(&self, change: impl FnOnce(&mut Noted)) {
        if self.notes.note(change) {
            self.wake();
        }
    }

    fn wake(&self) {
        // Fails only when the worker's poll is gone, and then nobody waits for it.
        let _ = self.waker.wake();
    }
}

/// The receiving end: one worker's.
pub(crate) struct Inbox {
    pub(crate) commands: Receiver<Command>,
    pub(crate) strays: Receiver<Stray>,
    pub(crate) notes: Arc<Notes<Noted>>,
}

pub(crate) fn mailbox(waker: Waker) -> (Mailbox, Inbox) {
    let (commands, commands_in) = mpsc::sync_channel(COMMANDS);
    let (strays, strays_in) = mpsc::sync_channel(STRAYS);
    let notes = Arc::new(Notes::default());
    let (waker, refused) = (Arc::new(waker), Arc::default());
    let mailbox = Mailbox { commands, strays, notes: Arc::clone(&notes), waker, refused };
    (mailbox, Inbox { commands: commands_in, strays: strays_in, notes })
}
