//! One thread of the relay: its listening sockets, the sockets of its sessions to their origins, and the turn they take.
//!
//! A turn is: wait; take notes and what other workers handed over; receive bursts of clients and send each session's run to
//! its origin; receive what origins sent and write it for its clients; run what is due; send. Work in a turn is bounded, so
//! no socket starves another: strangers take a share of it, never all. [`Table`] decides; here is only what it cannot do.

use std::collections::VecDeque;
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Interest, Poll, Token};
use whipstitch_net::brake::Brake;
use whipstitch_net::socket::{Connected, RecvBuffer, Udp};
use whipstitch_net::{Batch, Path};

use super::Events;
use super::counters::{Dropped, Tally, count};
use super::mailbox::{Inbox, Mailbox, Noted, STRAY_BYTES, Stray};
use super::table::{Action, Table, Verdict};

/// Receive bursts of one listening socket in one turn: with 32 datagrams or more in each, about a millisecond of work.
const BURSTS_A_TURN: usize = 8;

/// Sockets to origins that are read in one turn, one burst each; the others come in the next.
const UPSTREAMS_A_TURN: usize = 256;

/// Datagrams of other workers in one turn.
const STRAYS_A_TURN: usize = 512;

/// What the poll may tell of in one turn; what there is more comes in the next.
const EVENTS: usize = 1024;

/// Empty batches that are kept for the next burst; each has the memory of the largest it ever was.
const SPARE_BATCHES: usize = 32;

pub(super) const WAKE: Token = Token(0);

/// A socket that clients send to.
struct Listener {
    socket: Arc<Udp>,
    /// What goes out through it.
    out: Batch,
    /// It may have something. It tells by edges: one that was found empty is not read before there is word of it.
    is_readable: bool,
}

/// A session's way to its origin.
#[derive(Default)]
struct Upstream {
    socket: Option<Connected>,
    /// Ours, kept when it is opened again: the origin takes it for the same client then.
    port: u16,
    /// What the present burst has for it.
    batch: Option<Batch>,
    /// It stands among the readable ones.
    is_queued: bool,
}

/// What the workers of one relay share.
#[derive(Clone)]
pub(super) struct Common {
    pub(super) mailboxes: Vec<Mailbox>,
    pub(super) events: Arc<dyn Events>,
    pub(super) brakes: Arc<Brakes>,
}

/// Log lines that strangers or a broken network can cause, at a bounded rate.
#[derive(Default)]
pub(super) struct Brakes {
    upstream: Brake,
    socket: Brake,
    panic: Brake,
}

pub(super) struct Worker {
    index: usize,
    poll: Poll,
    listeners: Vec<Listener>,
    upstreams: Vec<Upstream>,
    /// Sessions whose sockets may have something.
    readable: VecDeque<usize>,
    /// Sessions that the present burst has something for.
    written: Vec<usize>,
    spare: Vec<Batch>,
    table: Table,
    tally: Arc<Tally>,
    inbox: Inbox,
    common: Common,
    now: Instant,
    is_running: bool,
}

impl Worker {
    pub(super) fn new(
        index: usize,
        poll: Poll,
        sockets: Vec<Udp>,
        table: Table,
        tally: Arc<Tally>,
        inbox: Inbox,
        common: Common,
    ) -> std::io::Result<Self> {
        for (number, socket) in sockets.iter().enumerate() {
            poll.registry().register(&mut SourceFd(&socket.as_raw_fd()), Token(number + 1), Interest::READABLE)?;
        }
        let listener = |socket| Listener { socket: Arc::new(socket), out: Batch::new(), is_readable: true };
        Ok(Self {
            index,
            poll,
            listeners: sockets.into_iter().map(listener).collect(),
            upstreams: Vec::new(),
            readable: VecDeque::new(),
            written: Vec::new(),
            spare: Vec::new(),
            table,
            tally,
            inbox,
            common,
            now: Instant::now(),
            is_running: true,
        })
    }

    pub(super) fn run(mut self) {
        let mut events = mio::Events::with_capacity(EVENTS);
        let mut buffer = RecvBuffer::new();
        let mut more = false;
        while self.is_running {
            // Rounded up to a millisecond by the poll: a deadline is never early.
            let wait = if more { Duration::ZERO } else { self.table.deadline().saturating_duration_since(self.now) };
            if let Err(error) = self.poll.poll(&mut events, Some(wait))
                && error.kind() != std::io::ErrorKind::Interrupted
            {
                tracing::error!(%error, worker = self.index, "a worker of the relay cannot wait for its sockets");
                break;
            }
            self.now = Instant::now();
            let turn = catch_unwind(AssertUnwindSafe(|| self.turn(&events, &mut buffer)));
            more = turn.unwrap_or_else(|_| {
                count(&self.tally.panics);
                if let Some(others) = self.common.brakes.panic.pass(self.now) {
                    tracing::error!(worker = self.index, others, "a turn of the relay broke an invariant");
                }
                true
            });
        }
    }

    /// True when there may be more to do at once.
    fn turn(&mut self, events: &mio::Events, buffer: &mut RecvBuffer) -> bool {
        self.note_events(events);
        let mut more = self.take_mail();
        for number in 0..self.listeners.len() {
            more |= self.receive(number, buffer);
        }
        more |= self.read_origins(buffer);
        more |= self.table.handle_timeout(self.now);
        self.act();
        self.flush();
        more
    }

    fn note_events(&mut self, events: &mio::Events) {
        for event in events {
            let Some(number) = event.token().0.checked_sub(1) else { continue };
            match number.checked_sub(self.listeners.len()) {
                None => self.listeners[number].is_readable = true,
                Some(key) => self.queue(key),
            }
        }
    }

    fn queue(&mut self, key: usize) {
        let Some(upstream) = self.upstreams.get_mut(key) else { return };
        if !std::mem::replace(&mut upstream.is_queued, true) {
            self.readable.push_back(key);
        }
    }

    fn take_mail(&mut self) -> bool {
        if let Some(Noted { stop, updates, endings, routes }) = self.inbox.notes.take() {
            self.is_running &= !stop;
            for (remote, note) in routes {
                self.table.route(remote, note);
            }
            updates.values().for_each(|record| self.table.update(record));
            for (id, reason) in endings {
                self.table.end(&id, reason);
            }
            self.act();
        }
        for _ in 0..STRAYS_A_TURN {
            let Ok(Stray { via, path, bytes }) = self.inbox.strays.try_recv() else { return false };
            self.datagram(via, path, &bytes);
            self.send_to_origins_if_many();
        }
        true
    }

    fn receive(&mut self, number: usize, buffer: &mut RecvBuffer) -> bool {
        if !self.listeners[number].is_readable {
            return false;
        }
        let (socket, via) = (Arc::clone(&self.listeners[number].socket), self.index);
        for _ in 0..BURSTS_A_TURN {
            let received = socket.recv(buffer, &mut |received| self.datagram(via, received.path, received.bytes));
            self.send_to_origins();
            match received {
                Ok(0) => {
                    self.listeners[number].is_readable = false;
                    return false;
                }
                Ok(_) => {}
                Err(error) => {
                    if let Some(others) = self.common.brakes.socket.pass(self.now) {
                        tracing::warn!(%error, others, "the relay cannot receive from its clients");
                    }
                }
            }
        }
        true
    }

    fn datagram(&mut self, via: usize, path: Path, bytes: &[u8]) {
        let verdict = self.table.handle_client(self.now, via, path, bytes);
        self.act();
        match verdict {
            Verdict::ToOrigin(key) => self.write_to_origin(key, bytes),
            Verdict::ToWorker(worker) => {
                let stray = || Stray { via, path, bytes: bytes.to_vec() };
                let mailbox = self.common.mailboxes.get(worker).filter(|_| bytes.len() <= STRAY_BYTES);
                if mailbox.is_some_and(|mailbox| mailbox.send(stray())) {
                    count(&self.tally.handed_over);
                } else {
                    self.tally.dropped(Dropped::Misplaced, 1);
                }
            }
            Verdict::Drop => {}
        }
    }

    fn write_to_origin(&mut self, key: usize, bytes: &[u8]) {
        let Some(upstream) = self.upstreams.get_mut(key) else { return };
        let Some(socket) = &upstream.socket else {
            self.tally.dropped(Dropped::UpstreamDown, 1);
            return;
        };
        let to = Path::to(socket.remote_addr());
        let batch = upstream.batch.get_or_insert_with(|| {
            self.written.push(key);
            self.spare.pop().unwrap_or_default()
        });
        write(batch, to, bytes);
        if batch.is_full() {
            self.send_to_origin(key);
        }
    }

    /// Sends each session's run. What one burst brought goes out before the next is read.
    fn send_to_origins(&mut self) {
        while let Some(key) = self.written.pop() {
            self.send_to_origin(key);
        }
    }

    fn send_to_origins_if_many(&mut self) {
        if self.written.len() >= SPARE_BATCHES {
            self.send_to_origins();
        }
    }

    fn send_to_origin(&mut self, key: usize) {
        let Some(upstream) = self.upstreams.get_mut(key) else { return };
        let Some(mut batch) = upstream.batch.take() else { return };
        if let Some(socket) = &upstream.socket {
            let sent = socket.send(&mut batch);
            self.tally.to_origin.add(sent.datagrams, sent.bytes);
            self.tally.dropped(Dropped::Refused, sent.refused);
            self.tally.dropped(Dropped::NoRoom, sent.dropped);
            if let Some(session) = self.table.session(key) {
                session.known.live.to_origin.add(sent.datagrams, sent.bytes);
            }
            if sent.refused > 0 {
                self.table.upstream_failed(self.now, key);
                self.act();
            }
        }
        batch.clear();
        if self.spare.len() < SPARE_BATCHES {
            self.spare.push(batch);
        }
    }

    fn read_origins(&mut self, buffer: &mut RecvBuffer) -> bool {
        for _ in 0..self.readable.len().min(UPSTREAMS_A_TURN) {
            let Some(key) = self.readable.pop_front() else { break };
            self.read_origin(key, buffer);
        }
        !self.readable.is_empty()
    }

    fn read_origin(&mut self, key: usize, buffer: &mut RecvBuffer) {
        let Self { upstreams, table, listeners, now, .. } = self;
        let Some(upstream) = upstreams.get_mut(key) else { return };
        upstream.is_queued = false;
        let Some(socket) = &upstream.socket else { return };
        let (mut datagrams, mut bytes) = (0, 0);
        let taken = socket.recv(buffer, &mut |datagram| {
            let Some(path) = table.handle_origin(*now, key, datagram) else { return };
            let Some(listener) = listener_for(listeners, path) else { return };
            write(&mut listener.out, path, datagram);
            datagrams += 1;
            bytes += datagram.len() as u64;
        });
        if let Some(session) = table.session(key) {
            session.known.live.to_client.add(datagrams, bytes);
        }
        match taken {
            Ok(taken) if taken.may_go_on => self.queue(key),
            Ok(_) => {}
            Err(error) => {
                if let Some(others) = self.common.brakes.upstream.pass(self.now) {
                    let origin = self.table.session(key).map(|session| session.known.record.origin.as_str());
                    tracing::warn!(%error, origin, others, "an origin does not take datagrams");
                }
                self.table.upstream_failed(self.now, key);
            }
        }
        self.act();
        if self.listeners.iter().any(|listener| listener.out.is_full()) {
            self.flush();
        }
    }

    /// Does what the table asks for.
    fn act(&mut self) {
        while self.table.has_actions() {
            for action in self.table.actions() {
                self.perform(action);
            }
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Open(key) => self.open(key),
            Action::Close(key) => {
                if let Some(upstream) = self.upstreams.get_mut(key) {
                    upstream.socket = None;
                }
            }
            Action::Wanted(pair) => {
                if !self.common.events.wanted(pair.clone()) {
                    self.table.not_asked(&pair);
                }
            }
            Action::Route { to, remote, owner, at } => {
                if let Some(mailbox) = self.common.mailboxes.get(to) {
                    mailbox.note(|noted| noted.routes.route(remote, owner, at));
                }
            }
            Action::Unroute { to, remote } => {
                if let Some(mailbox) = self.common.mailboxes.get(to) {
                    mailbox.note(|noted| noted.routes.unroute(remote, self.index));
                }
            }
            Action::Used(ids) => self.common.events.used(ids),
            Action::Ended { key, id, reason } => {
                if let Some(upstream) = key.and_then(|key| self.upstreams.get_mut(key)) {
                    // Its place among the readable ones stays; whoever has the key next is looked at for nothing.
                    *upstream = Upstream { is_queued: upstream.is_queued, ..Upstream::default() };
                }
                self.common.events.ended(id, reason);
            }
        }
    }

    fn open(&mut self, key: usize) {
        let Some(session) = self.table.session(key) else { return };
        if self.upstreams.len() <= key {
            self.upstreams.resize_with(key + 1, Upstream::default);
        }
        let (rtc, upstream) = (session.known.record.rtc, &mut self.upstreams[key]);
        let opened = Connected::open(rtc, upstream.port).or_else(|error| match upstream.port {
            0 => Err(error),
            // Somebody else has the port by now.
            _ => Connected::open(rtc, 0),
        });
        let registered = opened.and_then(|socket| {
            let token = Token(key + 1 + self.listeners.len());
            self.poll.registry().register(&mut SourceFd(&socket.as_raw_fd()), token, Interest::READABLE)?;
            Ok(socket)
        });
        match registered {
            Ok(socket) => {
                count(&self.tally.upstreams_opened);
                upstream.port = socket.local_addr().port();
                upstream.socket = Some(socket);
            }
            Err(error) => {
                if let Some(others) = self.common.brakes.upstream.pass(self.now) {
                    let origin = session.known.record.origin.as_str();
                    tracing::warn!(%error, origin, others, "no socket towards an origin");
                }
                self.table.upstream_failed(self.now, key);
            }
        }
    }

    fn flush(&mut self) {
        self.send_to_origins();
        for listener in &mut self.listeners {
            if listener.out.is_empty() {
                continue;
            }
            let sent = listener.socket.send(&mut listener.out);
            self.tally.to_client.add(sent.datagrams, sent.bytes);
            self.tally.dropped(Dropped::Refused, sent.refused);
            self.tally.dropped(Dropped::NoRoom, sent.dropped);
        }
    }
}

fn write(batch: &mut Batch, to: Path, bytes: &[u8]) {
    batch.push(to, bytes.len(), |room| {
        room.copy_from_slice(bytes);
        Some(bytes.len())
    });
}

/// The socket of ours that an address of a client talks to: bound to just that address of ours, or to all of its family.
fn listener_for(listeners: &mut [Listener], path: Path) -> Option<&mut Listener> {
    let of_family = |listener: &Listener| listener.socket.local_addr().is_ipv4() == path.remote.is_ipv4();
    let exact = listeners.iter().position(|listener| Some(listener.socket.local_addr().ip()) == path.local);
    let any = || {
        let is_any = |listener: &Listener| of_family(listener) && listener.socket.local_addr().ip().is_unspecified();
        listeners.iter().position(is_any).or_else(|| listeners.iter().position(of_family))
    };
    let at = exact.or_else(any)?;
    listeners.get_mut(at)
}
