//! TCP connections on a worker (RFC 6544 passive candidates, RFC 4571 frames).
//!
//! A connection is a stranger until a session has accepted a STUN request that came over it; from then on its frames are
//! datagrams of that session, on a path that names the connection. The first frame says by its ufrag which worker the
//! session lives on, and the connection moves there as it is, once. A stranger that says anything but STUN, or names no
//! session, is closed; how many there are and for how long is [`Strangers`]' business. A connection ends with its peer,
//! with its session once the goodbye is written, as far as the kernel takes it, or when the session forgets it.

mod reading;

use std::collections::{HashMap, VecDeque};
use std::net::TcpStream;
use std::num::NonZeroU32;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Registry, Token};
use smallvec::SmallVec;
use whipstitch_net::framing::Deframer;
use whipstitch_net::tcp::{Accepted, Listener};
use whipstitch_net::{ConnectionId, Path, Transport};

use super::Worker;
use crate::strangers::Strangers;

/// The longest frame: above every path's MTU, for which clients make their packets whatever carries them. Whoever sends
/// a longer one speaks something else.
const FRAME_BYTES: usize = 2048;

/// Read at once from a connection with a session: 50 packets.
const READ_BYTES: usize = 64 * 1024;

/// Reads of all connections in one turn, each in its turn: about a millisecond of work.
const READS_A_TURN: usize = 32;

/// Connections taken in one turn from each listener.
const ACCEPTS_A_TURN: usize = 32;

/// After the system had no descriptor for a connection.
const ACCEPT_AGAIN: Duration = Duration::from_secs(1);

/// The token of the first listener; the datagram sockets come before.
const LISTENER: usize = 3;

/// Tokens above it are connections: there are two listeners at most.
const FIRST: usize = 5;

/// A connection on its way to the worker of its session.
pub(crate) struct Moved {
    stream: TcpStream,
    path: Path,
    since: Instant,
    /// The frame that named the worker.
    first: Vec<u8>,
    /// What came after it.
    deframer: Deframer,
}

struct Connection {
    stream: TcpStream,
    path: Path,
    deframer: Deframer,
    /// The place of its session; a stranger has none.
    owner: Option<usize>,
    since: Instant,
    /// A frame was given to a session of this worker, or another worker has sent it here: it stays.
    settled: bool,
    /// In the list of those that may have something to read.
    listed: bool,
    /// The deframer may hold whole frames; they come before the next read.
    unhandled: bool,
    /// The kernel took no more, and will say when it does.
    blocked: bool,
    /// Its session is over or has forgotten it: nothing is read any more, and it is closed with the next flush.
    leaving: bool,
}

/// All connections of one worker.
pub(super) struct Connections {
    listeners: Vec<Listener>,
    /// Connections may wait to be taken.
    accepting: bool,
    accept_again: Option<Instant>,
    all: HashMap<ConnectionId, Connection>,
    strangers: Strangers,
    /// Those that may have something to read, each once.
    readable: VecDeque<ConnectionId>,
    /// Those that other workers have sent here.
    arrived: Vec<Moved>,
    leaving: Vec<ConnectionId>,
    last: u32,
    buffer: Box<[u8]>,
}

impl Connections {
    /// With these listeners, which the worker's poll watches from now on.
    pub(super) fn new(listeners: Vec<Listener>, registry: &Registry) -> std::io::Result<Connections> {
        for (index, listener) in listeners.iter().enumerate() {
            let token = Token(LISTENER + index);
            registry.register(&mut SourceFd(&listener.as_raw_fd()), token, Interest::READABLE)?;
        }
        Ok(Connections {
            listeners,
            accepting: true,
            accept_again: None,
            all: HashMap::new(),
            strangers: Strangers::default(),
            readable: VecDeque::new(),
            arrived: Vec::new(),
            leaving: Vec::new(),
            last: 0,
            buffer: vec![0; READ_BYTES].into_boxed_slice(),
        })
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Another worker has sent it.
    pub(super) fn arrive(&mut self, moved: Moved) {
        self.arrived.push(moved);
    }

    /// When there is something to do although nobody sends anything.
    pub(super) fn deadline(&self) -> Option<Instant> {
        [self.strangers.deadline(), self.accept_again].into_iter().flatten().min()
    }

    /// Its session is over or has forgotten it.
    pub(super) fn leave(&mut self, id: ConnectionId) {
        if let Some(connection) = self.all.get_mut(&id)
            && !std::mem::replace(&mut connection.leaving, true)
        {
            connection.owner = None;
            self.leaving.push(id);
        }
    }

    fn new_id(&mut self) -> ConnectionId {
        loop {
            self.last = self.last.wrapping_add(1);
            if let Some(id) = NonZeroU32::new(self.last).map(ConnectionId)
                && !self.all.contains_key(&id)
            {
                return id;
            }
        }
    }

    fn is_stranger(&self, id: ConnectionId) -> bool {
        self.all.get(&id).is_some_and(|connection| connection.owner.is_none() && !connection.leaving)
    }
}

impl Worker {
    /// Notes which connections the poll has something to say of.
    pub(super) fn note_events(&mut self, events: &Events) {
        for event in events {
            self.readable.v4 |= event.token() == Worker::V4;
            self.readable.v6 |= event.token() == Worker::V6;
            let Some(number) = event.token().0.checked_sub(FIRST) else {
                self.connections.accepting |= event.token().0 >= LISTENER;
                continue;
            };
            let id = u32::try_from(number).ok().and_then(NonZeroU32::new).map(ConnectionId);
            let Some((id, connection)) = id.and_then(|id| Some((id, self.connections.all.get_mut(&id)?))) else {
                continue;
            };
            if event.is_writable() && std::mem::take(&mut connection.blocked) {
                self.batches.tcp.touch(id);
            }
            if event.is_readable() && !std::mem::replace(&mut connection.listed, true) {
                self.connections.readable.push_back(id);
            }
        }
    }

    /// Takes connections and reads from them; true when there may be more.
    pub(super) fn serve_connections(&mut self) -> bool {
        let more = self.accept();
        for moved in std::mem::take(&mut self.connections.arrived) {
            self.take_in(moved);
        }
        for _ in 0..READS_A_TURN {
            let Some(id) = self.connections.readable.pop_front() else { break };
            self.read(id);
            // What one read brought goes out before the next: a frame waits for no other.
            self.fan_out_dirty();
        }
        while let Some(id) = self.connections.strangers.expired(self.now) {
            self.remove(id);
        }
        more || !self.connections.readable.is_empty()
    }

    fn accept(&mut self) -> bool {
        self.connections.accepting |= self.connections.accept_again.take_if(|at| *at <= self.now).is_some();
        // Not before its time, however many come: each of them would only find the same, and say so in the log.
        if self.connections.accept_again.is_some() || !std::mem::take(&mut self.connections.accepting) {
            return false;
        }
        for index in 0..self.connections.listeners.len() {
            for left in (0..ACCEPTS_A_TURN).rev() {
                match self.connections.listeners[index].accept() {
                    Ok(Some(accepted)) => self.welcome(accepted),
                    Ok(None) => break,
                    Err(error) => {
                        tracing::warn!(%error, "a TCP connection for media cannot be taken");
                        self.connections.accept_again = Some(self.now + ACCEPT_AGAIN);
                        break;
                    }
                }
                self.connections.accepting |= left == 0;
            }
        }
        self.connections.accepting
    }

    fn welcome(&mut self, accepted: Accepted) {
        let Accepted { stream, remote, local } = accepted;
        let id = self.connections.new_id();
        let path = Path { remote, local: Some(local.ip()), transport: Transport::Tcp(id) };
        self.insert(Connection {
            stream,
            path,
            deframer: Deframer::new(FRAME_BYTES),
            owner: None,
            since: self.now,
            settled: false,
            listed: false,
            unhandled: false,
            blocked: false,
            leaving: false,
        });
    }

    /// Adds a stranger; the poll tells at once if there is something to read.
    fn insert(&mut self, connection: Connection) {
        let Transport::Tcp(id) = connection.path.transport else { return };
        let token = Token(FIRST + id.0.get() as usize);
        let fd = connection.stream.as_raw_fd();
        let registered =
            self.poll.registry().register(&mut SourceFd(&fd), token, Interest::READABLE | Interest::WRITABLE);
        if let Err(error) = registered {
            tracing::warn!(%error, "a TCP connection for media cannot be watched");
            return;
        }
        let gone = self.connections.strangers.add(id, connection.path.remote.ip(), connection.since);
        self.batches.tcp.open(id);
        self.connections.all.insert(id, connection);
        if let Some(gone) = gone {
            self.remove(gone);
        }
    }

    /// A check that came over it was accepted: it is this session's.
    pub(super) fn connection_checked(&mut self, key: usize, id: ConnectionId) {
        if !self.connections.is_stranger(id) {
            return;
        }
        if let (Some(connection), Some(slot)) = (self.connections.all.get_mut(&id), self.slots.get_mut(key)) {
            connection.owner = Some(key);
            slot.connections.push(id);
            self.connections.strangers.remove(id);
        }
    }

    /// The peer has closed it, or it broke: its session may go on over another path.
    fn broken(&mut self, id: ConnectionId) {
        let Some(Connection { owner: Some(key), path, .. }) = self.remove(id) else { return };
        if let Some(slot) = self.slots.get_mut(key) {
            slot.connections.retain(|own| *own != id);
        }
        self.with(key, |peer, cx| peer.path_closed(cx, path));
    }

    /// Takes a connection away from everywhere; dropped, it is closed.
    fn remove(&mut self, id: ConnectionId) -> Option<Connection> {
        let connection = self.connections.all.remove(&id)?;
        self.connections.strangers.remove(id);
        self.batches.tcp.close(id);
        Some(connection)
    }

    /// Writes what waits for each connection, as far as the kernel takes it, and closes those whose time is over.
    pub(super) fn flush_connections(&mut self) {
        let mut dirty = self.batches.tcp.take_dirty();
        let mut broken: SmallVec<[ConnectionId; 4]> = SmallVec::new();
        for id in dirty.drain(..) {
            let Some(connection) = self.connections.all.get_mut(&id).filter(|connection| !connection.blocked) else {
                continue;
            };
            let Some(outbox) = self.batches.tcp.get_mut(id).filter(|outbox| !outbox.is_empty()) else { continue };
            self.totals.sent.calls += 1;
            match outbox.write(&mut &connection.stream) {
                Ok(all) => connection.blocked = !all,
                Err(_) => broken.push(id),
            }
        }
        self.batches.tcp.give_back(dirty);
        let poured = self.batches.tcp.take_poured();
        self.totals.sent.datagrams += poured.datagrams;
        self.totals.sent.bytes += poured.bytes;
        self.totals.dropped += poured.dropped;
        for id in broken {
            self.broken(id);
        }
        for id in std::mem::take(&mut self.connections.leaving) {
            self.remove(id);
        }
    }
}
