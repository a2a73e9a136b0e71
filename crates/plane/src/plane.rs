//! The handle of the whole plane: starts the workers, places sessions, asks for reports, stops everything.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use whipstitch_stream::stream::Config;
use whipstitch_stream::{CloseReason, Running, SessionId, StreamKey};

use crate::bind::bind_all;
use crate::closed::{Closed, ClosedSession};
use crate::mailbox::{Command, Full, Mailbox, mailbox};
use crate::measure::WorkerReport;
use crate::notes::Ending;
use crate::peer::{Peer, PeerCommand};
use crate::report::{Report, Role};
use crate::roster::{Handle, Roster};
use crate::worker::{Common, Worker};

/// The alphabet of ice-char (RFC 8839 5.4): a ufrag's first letter names the worker of its session.
const TAGS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// As many workers as there are ufrag tags.
pub const MAX_WORKERS: usize = TAGS.len();

/// A worker that does not answer a report within this time is left out of it.
const REPORT_WAIT: Duration = Duration::from_millis(500);

/// The first letter of a ufrag of a session on this worker.
pub fn ufrag_tag(worker: usize) -> char {
    char::from(TAGS[worker % MAX_WORKERS])
}

pub(crate) fn worker_of(ufrag: &str) -> Option<usize> {
    let tag = *ufrag.as_bytes().first()?;
    TAGS.iter().position(|candidate| *candidate == tag)
}

/// How the plane is started.
#[derive(Debug, Clone)]
pub struct PlaneConfig {
    /// Where to listen, for datagrams and on the same port for TCP connections. A wildcard IPv4 address brings `[::]`
    /// with it. Port 0 takes any that is free for both.
    pub rtc: SocketAddr,
    /// Worker threads, 1 to [`MAX_WORKERS`].
    pub workers: usize,
    /// How streams behave.
    pub stream: Config,
}

/// Why the plane did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be had.
    #[error("cannot listen for WebRTC media on {transport} {address}: {source}")]
    Bind {
        /// `UDP` or `TCP`.
        transport: &'static str,
        /// The address asked for, or the port that was tried last.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A thread or a poll could not be made.
    #[error("cannot start a media worker: {0}")]
    Worker(#[from] io::Error),
}

/// The running plane. Dropping the last handle stops it.
#[derive(Clone)]
pub struct Plane {
    shared: Arc<Shared>,
}

struct Shared {
    mailboxes: Vec<Mailbox>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    local: Vec<SocketAddr>,
    turn: AtomicUsize,
    closed: Closed,
    running: Running,
    roster: Roster,
}

impl Plane {
    /// Binds the sockets and starts the workers.
    ///
    /// # Errors
    /// When an address is taken or a thread cannot be made; nothing is left behind then.
    pub fn start(config: &PlaneConfig) -> Result<Plane, StartError> {
        let workers = config.workers.clamp(1, MAX_WORKERS);
        let (sockets, local) = bind_all(config.rtc, workers)?;
        let mut polls = Vec::new();
        let mut mailboxes = Vec::new();
        for _ in 0..workers {
            let poll = mio::Poll::new()?;
            let waker = mio::Waker::new(poll.registry(), Worker::WAKE)?;
            let (outside, inside) = mailbox(waker);
            mailboxes.push(outside);
            polls.push((poll, inside));
        }
        // Made before the threads: dropped on an error below, it stops those that run already.
        let mut shared = Shared {
            mailboxes,
            threads: Mutex::default(),
            local,
            turn: AtomicUsize::new(0),
            closed: Closed::default(),
            running: Running::new(),
            roster: Roster::default(),
        };
        for (index, ((poll, inbox), sockets)) in polls.into_iter().zip(sockets).enumerate() {
            let worker = Worker::new(index, poll, sockets, inbox, shared.common(config.stream))?;
            let thread = std::thread::Builder::new().name(format!("media-{index}")).spawn(move || worker.run())?;
            if let Ok(threads) = shared.threads.get_mut() {
                threads.push(thread);
            }
        }
        Ok(Plane { shared: Arc::new(shared) })
    }

    /// Where the plane listens, over UDP and over TCP: IPv4 first.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.shared.local
    }

    /// The worker that is a stream's home, where its publisher must be placed.
    pub fn home(&self, stream: &StreamKey) -> usize {
        home(stream, self.shared.mailboxes.len())
    }

    /// The worker for the next subscriber: each in turn.
    pub fn next_worker(&self) -> usize {
        self.shared.turn.fetch_add(1, Ordering::Relaxed) % self.shared.mailboxes.len()
    }

    /// Hands a session over. From now on only its worker touches it. One that is to end already ends as it arrives.
    /// Datagrams find it by its `ufrag`; a session without one has a way of its own to its peer.
    ///
    /// # Errors
    /// [`Full`] when the worker is too far behind; the session is dropped.
    pub fn add(&self, worker: usize, peer: Box<dyn Peer>, ufrag: Option<String>, ending: Ending) -> Result<(), Full> {
        let handle = Handle { worker, role: peer.role(), stream: peer.stream().clone(), ending: ending.clone() };
        let entered = self.shared.roster.enter(peer.session(), handle);
        self.mailbox(worker)?.send(Command::Add { peer, ufrag, ending, entered })
    }

    /// Ends a session by its public name, whoever added it. Gives the stream it published or watched, and as what;
    /// `None` when there is no such session, or it is ending already.
    pub fn end_session(&self, session: SessionId, reason: CloseReason) -> Option<(Role, StreamKey)> {
        let Handle { worker, role, stream, ending } = self.shared.roster.find(session)?;
        self.end(worker, session, &ending, reason).then_some((role, stream))
    }

    /// The sessions of a stream in that role that no worker has ended yet, whoever added them.
    pub fn sessions_of(&self, stream: &StreamKey, role: Role) -> Vec<SessionId> {
        self.shared.roster.of(stream, role)
    }

    /// Ends a session, however far behind its worker is: it takes no notice of anything from then on. `ending` is what
    /// the session was added with, or will be. False when somebody has ended it before.
    pub fn end(&self, worker: usize, session: SessionId, ending: &Ending, reason: CloseReason) -> bool {
        // Told before it is noted: a session that is on its way sees the one or is found by the other.
        let first = ending.order(reason);
        if first && let Ok(mailbox) = self.mailbox(worker) {
            mailbox.note(|noted| noted.endings.push(session));
        }
        first
    }

    /// Tells a session something; nothing happens if it has ended meanwhile.
    ///
    /// # Errors
    /// [`Full`] when the worker is too far behind.
    pub fn tell(&self, worker: usize, session: SessionId, command: PeerCommand) -> Result<(), Full> {
        self.mailbox(worker)?.send(Command::Peer { session, command })
    }

    /// Tells a session that there is something for it in a queue of its own ([`PeerCommand::Wake`]), however far behind its
    /// worker is; nothing happens if it has ended meanwhile. Told again before it has heard, it hears once. A session that has
    /// not come to its worker yet hears nothing: it looks when it has come.
    pub fn wake(&self, worker: usize, session: SessionId) {
        if let Ok(mailbox) = self.mailbox(worker) {
            mailbox.note(|noted| _ = noted.wakes.insert(session));
        }
    }

    fn mailbox(&self, worker: usize) -> Result<&Mailbox, Full> {
        self.shared.mailboxes.get(worker).ok_or(Full)
    }

    /// Everything the workers have to tell. Blocks for as long as the slowest needs, at most half a second.
    pub fn report(&self) -> Report {
        let mut all = Report::default();
        for report in self.ask(Command::Report) {
            all.sessions.extend(report.sessions);
            all.streams.extend(report.streams);
        }
        all
    }

    /// What the workers counted, in any order. One that does not answer within half a second is left out.
    pub fn measure(&self) -> Vec<WorkerReport> {
        self.ask(Command::Measure)
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.shared.mailboxes.len()
    }

    /// The sessions that ended in the last ten minutes, the latest first; at most 1024.
    pub fn closed(&self) -> Vec<ClosedSession> {
        self.shared.closed.lately(Instant::now())
    }

    /// What the streams with a publisher send, for those who describe it to players.
    pub fn running(&self) -> &Running {
        &self.shared.running
    }

    /// Asks every worker for something and takes what comes in time.
    fn ask<T: Send + 'static>(&self, question: impl Fn(Box<dyn FnOnce(T) + Send>) -> Command) -> Vec<T> {
        // One answer from each: none ever waits for room.
        let (sender, receiver) = mpsc::sync_channel(self.shared.mailboxes.len());
        let mut asked = 0;
        for mailbox in &self.shared.mailboxes {
            let sender = sender.clone();
            let reply = Box::new(move |answer| drop(sender.try_send(answer)));
            asked += usize::from(mailbox.send(question(reply)).is_ok());
        }
        let until = Instant::now() + REPORT_WAIT;
        let left = || until.saturating_duration_since(Instant::now());
        (0..asked).map_while(|_| receiver.recv_timeout(left()).ok()).collect()
    }

    /// Closes every session, telling its peer, and joins the workers.
    pub fn stop(&self) {
        self.shared.stop();
    }
}

impl Shared {
    fn common(&self, config: Config) -> Common {
        let (mailboxes, closed, running) = (self.mailboxes.clone(), self.closed.clone(), self.running.clone());
        Common { mailboxes, config, closed, running }
    }

    fn stop(&self) {
        let threads = self.threads.lock().map(|mut threads| std::mem::take(&mut *threads)).unwrap_or_default();
        for mailbox in &self.mailboxes {
            mailbox.note(|noted| noted.stop = true);
        }
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a media worker ended in a panic");
            }
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A stream's home by its name alone (FNV-1a), so that every part of the process comes to the same answer.
pub(crate) fn home(stream: &StreamKey, workers: usize) -> usize {
    let hash = stream
        .as_str()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    usize::try_from(hash % workers as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ufrag_names_its_worker() {
        for worker in 0..MAX_WORKERS {
            let ufrag = format!("{}abcdefg", ufrag_tag(worker));
            assert_eq!(worker_of(&ufrag), Some(worker));
        }
        assert_eq!(worker_of(""), None);
        assert_eq!(worker_of("-abc"), None);
    }

    #[test]
    fn a_name_always_has_the_same_home_within_range() {
        let keys: Vec<_> = (0..100).filter_map(|n| StreamKey::parse(&format!("stream-{n}")).ok()).collect();
        for workers in 1..5 {
            let homes: Vec<_> = keys.iter().map(|key| home(key, workers)).collect();
            assert!(homes.iter().all(|home| *home < workers));
            assert_eq!(homes, keys.iter().map(|key| home(key, workers)).collect::<Vec<_>>());
            assert_eq!((0..workers).filter(|worker| homes.contains(worker)).count(), workers, "all are used");
        }
    }
}
