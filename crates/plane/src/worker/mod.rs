//! One media thread: its sockets, its sessions, its timers, and the turn they take.
//!
//! A turn is: wait; take notes and commands; receive bursts, giving each datagram to its session; read from connections;
//! fan out what publishers pushed; run what is due; send what was written. Work in a turn is bounded, so no socket or
//! mailbox starves another. A session that panics is dropped alone and counted.

mod connections;
mod sessions;
mod stepped;
mod streams;
mod telling;

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use whipstitch_net::ConnectionId;
use whipstitch_net::socket::{RecvBuffer, Udp};
use whipstitch_net::tcp::Listener;
use whipstitch_net::timers::Timers;
use whipstitch_stream::stream::Config;
use whipstitch_stream::{Running, SessionId};

use self::connections::Connections;
pub(crate) use self::connections::Moved;
pub use self::stepped::Stepped;
use crate::closed::Closed;
use crate::fanout::Streams;
use crate::mailbox::{Command, Inbox, Mailbox, Stray};
use crate::measure::WorkerReport;
use crate::notes::{Ending, MAX_ROUTES, Noted, RouteNote, StreamNote};
use crate::peer::{Action, Batches, Peer, PeerCommand};
use crate::report::Role;
use crate::roster::Entered;

/// Receive bursts of one socket in one turn: with 32 datagrams or more in each, about a millisecond of work.
const BURSTS_A_TURN: usize = 8;

/// Commands, strays and endings in one turn.
const MAIL_A_TURN: usize = 512;

/// Sessions whose timers are run in one turn. Replaying to one of them takes up to 0.2 ms; the others are due at once in
/// the next turn, after what has come meanwhile.
const TIMERS_A_TURN: usize = 128;

/// The least time between two calls of one session's or stream's timer. The poll waits in milliseconds anyway.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);

/// What the poll may tell of in one turn; what there is more comes in the next.
const EVENTS: usize = 256;

/// The sockets of a worker: for datagrams one of each address family, and as many listeners.
#[derive(Default)]
pub(crate) struct Sockets {
    pub(crate) v4: Option<Arc<Udp>>,
    pub(crate) v6: Option<Arc<Udp>>,
    pub(crate) listeners: Vec<Listener>,
}

/// What all workers of a plane share, and the plane with them.
#[derive(Clone)]
pub(crate) struct Common {
    pub(crate) mailboxes: Vec<Mailbox>,
    pub(crate) config: Config,
    pub(crate) closed: Closed,
    pub(crate) running: Running,
}

struct Slot {
    peer: Box<dyn Peer>,
    session: SessionId,
    role: Role,
    ending: Ending,
    _entered: Entered,
    /// Where it is among this worker's streams, once it has published or subscribed.
    stream: Option<usize>,
    /// Addresses that are its own, and the worker whose socket they come in through.
    remotes: Vec<(SocketAddr, usize)>,
    /// TCP connections that are its own.
    connections: Vec<ConnectionId>,
    ufrags: Vec<String>,
    /// The earliest deadline in the heap.
    scheduled: Option<Instant>,
}

#[derive(Clone, Copy)]
enum Owner {
    Here(usize),
    Worker(usize),
}

/// Which of the sockets for datagrams may have something. They tell by edges: one that was found empty is not read again
/// before there is word of it.
#[derive(Clone, Copy)]
struct Readable {
    v4: bool,
    v6: bool,
}

pub(crate) struct Worker {
    index: usize,
    poll: Poll,
    sockets: Sockets,
    readable: Readable,
    connections: Connections,
    inbox: Inbox,
    mailboxes: Vec<Mailbox>,
    config: Config,
    slots: Slab<Slot>,
    sessions: HashMap<SessionId, usize>,
    /// Sessions that are noted to end, each once.
    endings: VecDeque<SessionId>,
    ufrags: HashMap<String, usize>,
    /// Whose an address is, and since when.
    remotes: HashMap<SocketAddr, (Owner, Instant)>,
    streams: Streams,
    /// Streams to which something was pushed since the last fan-out, each once.
    dirty: Vec<usize>,
    timers: Timers,
    stream_timers: Timers,
    batches: Batches,
    actions: Vec<Action>,
    now: Instant,
    begun: Instant,
    /// What is counted, sessions and streams that ended included; those there are add theirs when it is asked for.
    totals: WorkerReport,
    closed: Closed,
    described: Running,
    running: bool,
}

impl Worker {
    pub(crate) const WAKE: Token = Token(0);
    const V4: Token = Token(1);
    const V6: Token = Token(2);

    pub(crate) fn new(
        index: usize,
        poll: Poll,
        mut sockets: Sockets,
        inbox: Inbox,
        common: Common,
    ) -> std::io::Result<Worker> {
        let Common { mailboxes, config, closed, running: described } = common;
        for (socket, token) in [(&sockets.v4, Worker::V4), (&sockets.v6, Worker::V6)] {
            if let Some(socket) = socket {
                poll.registry().register(&mut SourceFd(&socket.as_raw_fd()), token, Interest::READABLE)?;
            }
        }
        let connections = Connections::new(std::mem::take(&mut sockets.listeners), poll.registry())?;
        Ok(Worker {
            index,
            poll,
            sockets,
            readable: Readable { v4: true, v6: true },
            connections,
            inbox,
            mailboxes,
            config,
            slots: Slab::new(),
            sessions: HashMap::new(),
            endings: VecDeque::new(),
            ufrags: HashMap::new(),
            remotes: HashMap::new(),
            streams: Streams::default(),
            dirty: Vec::new(),
            timers: Timers::default(),
            stream_timers: Timers::default(),
            batches: Batches::new(),
            actions: Vec::new(),
            now: Instant::now(),
            begun: Instant::now(),
            totals: WorkerReport { worker: index, ..WorkerReport::default() },
            closed,
            described,
            running: true,
        })
    }

    pub(crate) fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS);
        let mut buffer = RecvBuffer::new();
        let (mut more, mut end) = (false, self.now);
        while self.running {
            let wait = if more { Some(Duration::ZERO) } else { self.wait(end) };
            if let Err(error) = self.poll.poll(&mut events, wait)
                && error.kind() != std::io::ErrorKind::Interrupted
            {
                tracing::error!(%error, worker = self.index, "media worker cannot wait for its sockets");
                break;
            }
            self.now = Instant::now();
            self.note_events(&events);
            more = self.take_mail();
            more |= self.receive(true, &mut buffer);
            more |= self.receive(false, &mut buffer);
            more |= self.serve_connections();
            self.run_timers();
            self.flush();
            // The clock is read twice a turn, however much happens in it.
            end = Instant::now();
            self.totals.turns += 1;
            self.totals.busy += end.saturating_duration_since(self.now);
        }
        self.close_all();
    }

    fn wait(&self, now: Instant) -> Option<Duration> {
        let next = [self.timers.next(), self.stream_timers.next(), self.connections.deadline()];
        let next = next.into_iter().flatten().min()?;
        // Rounded up to a millisecond by the poll: a deadline is never early.
        Some(next.saturating_duration_since(now))
    }

    /// True when there may be more.
    fn take_mail(&mut self) -> bool {
        let mut more = self.take_commands();
        let mut strays = 0;
        while strays < MAIL_A_TURN {
            let Ok(stray) = self.inbox.strays.try_recv() else { break };
            strays += 1;
            match stray {
                Stray::Datagram { via, path, mut bytes } => self.datagram(via, path, &mut bytes),
                Stray::Connection(moved) => self.connections.arrive(*moved),
            }
        }
        more |= self.end_noted();
        self.fan_out_dirty();
        more || strays == MAIL_A_TURN
    }

    fn take_commands(&mut self) -> bool {
        self.take_notes();
        for _ in 0..MAIL_A_TURN {
            let Ok(command) = self.inbox.commands.try_recv() else { return false };
            // What was noted before the command was sent comes before it.
            self.take_notes();
            self.command(command);
        }
        true
    }

    fn take_notes(&mut self) {
        let Some(Noted { stop, endings, wakes, streams, routes }) = self.inbox.notes.take() else { return };
        self.running &= !stop;
        self.endings.extend(endings);
        for session in wakes {
            // One that has not arrived looks for itself when it does.
            if let Some(&key) = self.sessions.get(&session) {
                self.with(key, |peer, cx| peer.handle_command(cx, PeerCommand::Wake));
            }
        }
        for (remote, note) in routes {
            match note {
                RouteNote::To { worker, at } => {
                    if self.remotes.len() < MAX_ROUTES || self.remotes.contains_key(&remote) {
                        self.own(remote, Owner::Worker(worker), at);
                    }
                }
                RouteNote::Gone { worker } => {
                    if matches!(self.remotes.get(&remote), Some((Owner::Worker(owner), _)) if *owner == worker) {
                        self.remotes.remove(&remote);
                    }
                }
            }
        }
        for (stream, note) in streams {
            let StreamNote { interest, uncached, keyframe, tracks, ended } = note;
            for (worker, has) in interest {
                if has { self.join(&stream, worker) } else { self.leave(&stream, worker) }
            }
            for worker in uncached {
                self.send_cache(&stream, worker);
            }
            let Some(index) = self.streams.find(&stream) else { continue };
            if keyframe {
                self.request_keyframe(index);
            }
            if let Some(tracks) = tracks {
                self.tracks_changed(index, &tracks);
            }
            if ended {
                self.end_subscribers(index);
            }
        }
    }

    /// Ends what is noted to end; true when there may be more.
    fn end_noted(&mut self) -> bool {
        for _ in 0..MAIL_A_TURN {
            let Some(session) = self.endings.pop_front() else { return false };
            // It may have ended by itself, or not have arrived: then it ends as it does.
            if let Some(&key) = self.sessions.get(&session) {
                self.end_ordered(key);
            }
        }
        true
    }

    fn end_ordered(&mut self, key: usize) {
        let Some(reason) = self.slots.get(key).and_then(|slot| slot.ending.reason()) else { return };
        self.close(key, Some(reason));
        if self.is_full() {
            self.flush();
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Add { peer, ufrag, ending, entered } => self.add(peer, ufrag, ending, entered),
            Command::Peer { session, command } => {
                if let Some(&key) = self.sessions.get(&session) {
                    self.with(key, |peer, cx| peer.handle_command(cx, command));
                }
            }
            Command::Burst { stream, burst, after_gap } => {
                // Those that were on their way when the last subscriber left are nobody's.
                if let Some(index) = self.streams.find(&stream) {
                    self.deliver(index, &burst, after_gap);
                    self.schedule_stream(index);
                }
            }
            Command::Cache { stream, packets, clocks } => self.take_cache(&stream, &packets, &clocks),
            Command::Report(reply) => reply(self.report()),
            Command::Measure(reply) => reply(self.measure()),
        }
    }

    fn add(&mut self, peer: Box<dyn Peer>, ufrag: Option<String>, ending: Ending, entered: Entered) {
        let (session, role) = (peer.session(), peer.role());
        self.totals.totals_mut(role).begun += 1;
        let slot = Slot {
            peer,
            session,
            role,
            ending,
            _entered: entered,
            stream: None,
            remotes: Vec::new(),
            connections: Vec::new(),
            ufrags: ufrag.iter().cloned().collect(),
            scheduled: None,
        };
        let key = self.slots.insert(slot);
        self.sessions.insert(session, key);
        self.ufrags.extend(ufrag.map(|ufrag| (ufrag, key)));
        self.reschedule(key);
        self.end_ordered(key);
    }

    fn run_timers(&mut self) {
        for _ in 0..TIMERS_A_TURN {
            let Some(key) = self.timers.pop(self.now) else { break };
            let Some(slot) = self.slots.get_mut(key) else { continue };
            if slot.scheduled.is_some_and(|scheduled| scheduled > self.now) {
                continue;
            }
            slot.scheduled = None;
            if slot.peer.deadline().is_some_and(|deadline| deadline <= self.now) {
                self.with(key, |peer, cx| peer.handle_timeout(cx));
            } else {
                self.reschedule(key);
            }
        }
        while let Some(index) = self.stream_timers.pop(self.now) {
            let Some(stream) = self.streams.get_mut(index) else { continue };
            if stream.scheduled.is_none_or(|scheduled| scheduled > self.now) {
                continue;
            }
            stream.scheduled = None;
            stream.handle_timeout(self.now);
            self.poll_stream(index);
        }
        self.fan_out_dirty();
    }

    fn is_full(&self) -> bool {
        self.batches.v4.is_full() || self.batches.v6.is_full()
    }

    fn flush(&mut self) {
        for (batch, socket) in [(&mut self.batches.v4, &self.sockets.v4), (&mut self.batches.v6, &self.sockets.v6)] {
            if batch.is_empty() {
                continue;
            }
            match socket {
                Some(socket) => {
                    let sent = socket.send(batch);
                    self.totals.refused += sent.refused;
                    self.totals.dropped += sent.dropped;
                    self.totals.sent.datagrams += sent.datagrams;
                    self.totals.sent.bytes += sent.bytes;
                    self.totals.sent.calls += 1;
                }
                None => batch.clear(),
            }
        }
        self.flush_connections();
    }
}
