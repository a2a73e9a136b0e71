//! The datagrams of sessions, between their clients and the origins that answered them.
//!
//! One address for all clients, N worker threads, each with a socket of its own there (`SO_REUSEPORT`) and one *connected*
//! socket for each of its sessions towards the origin. A session is found by the USERNAME of a client's connectivity checks,
//! which the origin's password must have signed before anything is bound, moved or passed on; by address after that.
//! Checks are verified here and answered by the origin: nothing is decrypted, and no datagram is written by the relay itself.
//! No datagram leaves towards an address that has not proven itself so.
//!
//! A session belongs to the worker where its first authentic check arrived; what arrives elsewhere is handed over. `table`
//! and `session` decide, without sockets and clock; `directory` is what all workers know, `lookups` bounds what the
//! registry is asked, `worker` is the thread. Full tables refuse what is new and leave what there is alone: a session more
//! than [`RelayConfig::most_sessions`] is [`Full`], a look-up more than there may be is a dropped request, a datagram for
//! another worker whose mailbox is full is dropped, and each is counted.

mod counters;
mod directory;
mod lookups;
mod mailbox;
mod session;
pub(crate) mod stage;
mod table;
#[cfg(test)]
mod tests;
mod worker;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use whipstitch_net::group::{ATTEMPTS, first_free, is_without_ipv6};
use whipstitch_net::socket::Udp;

pub use self::counters::{Counters, Dropped, EndReason, Traffic};
pub use self::directory::{Full, SessionState};

use self::counters::Tally;
use self::directory::{Directory, Removal};
use self::mailbox::{Mailbox, mailbox};
use self::table::Table;
use self::worker::{Common, WAKE, Worker};
use crate::{Pair, Session, SessionId};

/// How a relay is started.
#[derive(Debug, Clone)]
pub struct RelayConfig {
    /// Where clients send to, no two with one IP address. Port 0 takes a free one, the same for all that have it. `[::]`
    /// beside others is left out on a machine without IPv6.
    pub addresses: Vec<SocketAddr>,
    /// Worker threads, at least one.
    pub workers: usize,
    /// Sessions there may be, those included whose clients have not come yet.
    pub most_sessions: usize,
    /// After how long without a sign of life a session is forgotten here.
    pub idle: Duration,
}

impl Default for RelayConfig {
    fn default() -> Self {
        Self {
            addresses: vec![SocketAddr::from(([0, 0, 0, 0], 18_000))],
            workers: 1,
            most_sessions: 100_000,
            idle: Duration::from_secs(30),
        }
    }
}

/// Whoever is told what a relay finds. Called from its threads, which wait for nobody: nothing here may block.
pub trait Events: Send + Sync {
    /// A client checks with a pair that nobody here knows. The answer is [`Relay::install`] or [`Relay::unknown`]; without
    /// one it is asked again after two seconds. False when there is no room to look it up, which is as if nobody had asked.
    fn wanted(&self, pair: Pair) -> bool;
    /// These sessions are in use: an authentic request or a datagram of the origin came within the last 10 s. Told for
    /// each about every 10 s.
    fn used(&self, ids: Vec<SessionId>);
    /// A session is over here. Unless it was [`EndReason::Deleted`] another proxy may have it, and its client's next check
    /// asks for it again ([`Events::wanted`]).
    fn ended(&self, id: SessionId, reason: EndReason);
}

/// The running relay. Dropping it stops it.
pub struct Relay {
    directory: Arc<Directory>,
    mailboxes: Vec<Mailbox>,
    tallies: Vec<Arc<Tally>>,
    threads: Vec<JoinHandle<()>>,
    local: Vec<SocketAddr>,
    events: Arc<dyn Events>,
}

impl Relay {
    /// Binds the sockets and starts the workers.
    ///
    /// # Errors
    /// When an address is taken or named twice, or a thread cannot be made; nothing is left behind then.
    pub fn start(config: &RelayConfig, events: Arc<dyn Events>) -> io::Result<Self> {
        let workers = config.workers.max(1);
        let attempts = if config.addresses.iter().any(|address| address.port() == 0) { ATTEMPTS } else { 1 };
        let is_taken = |error: &io::Error| error.kind() == io::ErrorKind::AddrInUse;
        let (sockets, local) = first_free(attempts, is_taken, || bind_all(&config.addresses, workers))?;
        let mut polls = Vec::new();
        let mut mailboxes = Vec::new();
        for _ in 0..workers {
            let poll = mio::Poll::new()?;
            let (outside, inside) = mailbox(mio::Waker::new(poll.registry(), WAKE)?);
            mailboxes.push(outside);
            polls.push((poll, inside));
        }
        let directory = Arc::new(Directory::new(workers, config.most_sessions, config.idle));
        // Made before the threads: dropped on an error below, it stops those that run already.
        let mut relay = Self { directory, mailboxes, tallies: Vec::new(), threads: Vec::new(), local, events };
        let common =
            Common { mailboxes: relay.mailboxes.clone(), events: Arc::clone(&relay.events), brakes: Arc::default() };
        for (index, ((poll, inbox), sockets)) in polls.into_iter().zip(sockets).enumerate() {
            let (tally, directory) = (Arc::<Tally>::default(), Arc::clone(&relay.directory));
            relay.tallies.push(Arc::clone(&tally));
            let table = Table::new(Instant::now(), index, directory, Arc::clone(&tally), config.idle);
            let worker = Worker::new(index, poll, sockets, table, tally, inbox, common.clone())?;
            let thread = std::thread::Builder::new().name(format!("relay-{index}")).spawn(move || worker.run())?;
            relay.threads.push(thread);
        }
        Ok(relay)
    }

    /// Where clients send to, with the real ports, in the order of the configuration.
    #[must_use]
    pub fn local_addresses(&self) -> Vec<SocketAddr> {
        self.local.clone()
    }

    /// Takes a session in: a new one, another generation of one that is there, or the answer to [`Events::wanted`].
    ///
    /// # Errors
    /// There are as many as there may be.
    pub fn install(&self, session: Arc<Session>) -> Result<(), Full> {
        if let Some(owner) = self.directory.install(Instant::now(), &session)?
            && let Some(mailbox) = self.mailboxes.get(owner)
        {
            mailbox.note(|noted| drop(noted.updates.insert(session.id.clone(), session)));
        }
        Ok(())
    }

    /// Whether the session is here, its client or a record of it.
    #[must_use]
    pub fn has(&self, id: &SessionId) -> bool {
        self.directory.has(id)
    }

    /// The answer to [`Events::wanted`] when there is no such session: it is not asked for again for a while.
    pub fn unknown(&self, pair: &Pair) {
        self.directory.unknown(Instant::now(), pair);
    }

    /// Ends a session; [`Events::ended`] is told, here and now if its client never came.
    pub fn end(&self, id: &SessionId, reason: EndReason) {
        match self.directory.remove_unclaimed(id) {
            Removal::Unknown => {}
            Removal::Owned(owner) => {
                if let Some(mailbox) = self.mailboxes.get(owner) {
                    mailbox.note(|noted| {
                        noted.endings.entry(id.clone()).or_insert(reason);
                    });
                }
            }
            Removal::Done => {
                if let Some(tally) = self.tallies.first() {
                    tally.end(reason);
                }
                self.events.ended(id.clone(), reason);
            }
        }
    }

    /// What every session does right now.
    #[must_use]
    pub fn snapshot(&self) -> Vec<SessionState> {
        self.directory.states()
    }

    /// How many sessions there are, those included whose clients have not come yet.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.directory.len()
    }

    /// What was counted.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        self.tallies.iter().for_each(|tally| tally.add_to(&mut sum));
        sum
    }

    /// Closes all sockets and waits for the threads. No session is told to have ended: another proxy may go on with it.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.mailboxes.iter().for_each(|mailbox| mailbox.note(|noted| noted.stop = true));
        for thread in self.threads.drain(..) {
            // A worker catches its panics; one that died all the same has said why.
            let _ = thread.join();
        }
    }
}

/// The sockets of each worker, one for each address, and the addresses with their ports.
fn bind_all(addresses: &[SocketAddr], workers: usize) -> io::Result<(Vec<Vec<Udp>>, Vec<SocketAddr>)> {
    let twice = |(at, address): (usize, &SocketAddr)| addresses[..at].iter().any(|other| other.ip() == address.ip());
    if addresses.is_empty() || addresses.iter().enumerate().any(twice) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the relay needs addresses, each IP address once"));
    }
    let mut sockets: Vec<Vec<Udp>> = std::iter::repeat_with(Vec::new).take(workers).collect();
    let (mut local, mut chosen) = (Vec::new(), 0);
    for address in addresses {
        let port = if address.port() == 0 { chosen } else { address.port() };
        let group = match Udp::bind_group(SocketAddr::new(address.ip(), port), workers) {
            Ok(group) => group,
            Err(error) if address.is_ipv6() && is_without_ipv6(&error) && addresses.len() > 1 => continue,
            Err(error) => return Err(error),
        };
        let bound = group.first().map_or(*address, Udp::local_addr);
        if address.port() == 0 {
            chosen = bound.port();
        }
        local.push(bound);
        sockets.iter_mut().zip(group).for_each(|(own, socket)| own.push(socket));
    }
    Ok((sockets, local))
}
