//! Workers that take their turns when they are told: without threads, sockets and clock, for tests in virtual time.

use std::time::{Duration, Instant};

use mio::Events;
use whipstitch_net::Path;
use whipstitch_stream::stream::Config;
use whipstitch_stream::{CloseReason, Running, SessionId, StreamKey};

use super::{Common, Sockets, Worker};
use crate::closed::Closed;
use crate::mailbox::{Command, Full, Mailbox, mailbox};
use crate::measure::WorkerReport;
use crate::notes::Ending;
use crate::peer::{Peer, PeerCommand};
use crate::plane::home;
use crate::report::Report;
use crate::roster::{Handle, Roster};

/// The workers of a plane that nobody started. What is done to one is taken in the same turn, and so is everything that
/// workers tell each other then, unless a worker is held.
pub struct Stepped {
    workers: Vec<Worker>,
    mailboxes: Vec<Mailbox>,
    /// Those that take no turns.
    held: Vec<bool>,
    events: Events,
    sent: Vec<(Path, Vec<u8>)>,
}

impl Stepped {
    /// Workers without sessions, one at least.
    ///
    /// # Errors
    /// When the system has no poll to give.
    pub fn new(workers: usize, config: Config) -> std::io::Result<Stepped> {
        let (mut mailboxes, mut inboxes) = (Vec::new(), Vec::new());
        for _ in 0..workers.max(1) {
            let poll = mio::Poll::new()?;
            let (mailbox, inbox) = mailbox(mio::Waker::new(poll.registry(), Worker::WAKE)?);
            mailboxes.push(mailbox);
            inboxes.push((poll, inbox));
        }
        let (mut workers, running) = (Vec::new(), Running::new());
        for (index, (poll, inbox)) in inboxes.into_iter().enumerate() {
            let (mailboxes, closed, running) = (mailboxes.clone(), Closed::default(), running.clone());
            let common = Common { mailboxes, config, closed, running };
            workers.push(Worker::new(index, poll, Sockets::default(), inbox, common)?);
        }
        let now = workers[0].now;
        workers.iter_mut().for_each(|worker| (worker.now, worker.begun) = (now, now));
        let held = vec![false; workers.len()];
        Ok(Stepped { workers, mailboxes, held, events: Events::with_capacity(8), sent: Vec::new() })
    }

    /// The present, which only [`Stepped::pass`] changes.
    pub fn now(&self) -> Instant {
        self.workers[0].now
    }

    /// See [`Plane::running`](crate::Plane::running).
    pub fn running(&self) -> &Running {
        &self.workers[0].described
    }

    /// See [`Plane::home`](crate::Plane::home).
    pub fn home(&self, stream: &StreamKey) -> usize {
        home(stream, self.workers.len())
    }

    /// See [`Plane::add`](crate::Plane::add).
    ///
    /// # Errors
    /// [`Full`] when the worker is held and too far behind; the session is dropped.
    pub fn add(
        &mut self,
        worker: usize,
        peer: Box<dyn Peer>,
        ufrag: Option<String>,
        ending: Ending,
    ) -> Result<(), Full> {
        let (role, stream) = (peer.role(), peer.stream().clone());
        let entered = Roster::default().enter(peer.session(), Handle { worker, role, stream, ending: ending.clone() });
        self.send(worker, Command::Add { peer, ufrag, ending, entered })
    }

    /// See [`Plane::tell`](crate::Plane::tell).
    ///
    /// # Errors
    /// [`Full`] when the worker is held and too far behind.
    pub fn tell(&mut self, worker: usize, session: SessionId, command: PeerCommand) -> Result<(), Full> {
        self.send(worker, Command::Peer { session, command })
    }

    /// See [`Plane::end`](crate::Plane::end).
    pub fn end(&mut self, worker: usize, session: SessionId, ending: &Ending, reason: CloseReason) {
        if ending.order(reason) {
            self.mailboxes[worker].note(|noted| noted.endings.push(session));
        }
        self.settle();
    }

    /// A datagram comes in through a worker's socket. That of one that is held is lost.
    pub fn datagram(&mut self, worker: usize, path: Path, bytes: &mut [u8]) {
        if !self.held[worker] {
            self.turn(worker, |worker| worker.datagram(worker.index, path, bytes));
        }
        self.settle();
    }

    /// From now on the worker takes no turns, as one that has too much to do.
    pub fn hold(&mut self, worker: usize) {
        self.held[worker] = true;
    }

    /// It takes turns again, beginning with everything that waits for it.
    pub fn release(&mut self, worker: usize) {
        self.held[worker] = false;
        self.turn(worker, |_| ());
        self.settle();
    }

    /// Time passes; what is due in it happens when it is due.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now() + time;
        while self.now() < end {
            // A poll rounds up to a millisecond too.
            let soonest = self.now() + super::SHORTEST_WAIT;
            let running = self.workers.iter().zip(&self.held).filter(|(_, held)| !**held);
            let next = running.flat_map(|(worker, _)| [worker.timers.next(), worker.stream_timers.next()]);
            let now = next.flatten().min().map_or(end, |next| next.max(soonest)).min(end);
            self.workers.iter_mut().for_each(|worker| worker.now = now);
            (0..self.workers.len()).for_each(|index| self.turn(index, |_| ()));
            self.settle();
        }
    }

    /// Everything sent since the last call; of one worker in order.
    pub fn take_sent(&mut self) -> Vec<(Path, Vec<u8>)> {
        std::mem::take(&mut self.sent)
    }

    /// See [`Plane::report`](crate::Plane::report); held workers answer too.
    pub fn report(&mut self) -> Report {
        let mut all = Report::default();
        for report in self.workers.iter_mut().map(Worker::report) {
            all.sessions.extend(report.sessions);
            all.streams.extend(report.streams);
        }
        all
    }

    /// See [`Plane::measure`](crate::Plane::measure), in the order of their numbers; held workers answer too.
    pub fn measure(&mut self) -> Vec<WorkerReport> {
        self.workers.iter_mut().map(Worker::measure).collect()
    }

    fn send(&mut self, worker: usize, command: Command) -> Result<(), Full> {
        let sent = self.mailboxes[worker].send(command);
        self.settle();
        sent
    }

    /// Workers that were woken take their turns, until none is.
    fn settle(&mut self) {
        let mut woken = true;
        while std::mem::take(&mut woken) {
            for index in 0..self.workers.len() {
                if !self.held[index] && self.is_woken(index) {
                    self.turn(index, |_| ());
                    woken = true;
                }
            }
        }
    }

    fn is_woken(&mut self, worker: usize) -> bool {
        let polled = self.workers[worker].poll.poll(&mut self.events, Some(Duration::ZERO));
        polled.is_err() || !self.events.is_empty()
    }

    fn turn(&mut self, worker: usize, then: impl FnOnce(&mut Worker)) {
        if self.held[worker] {
            return;
        }
        let worker = &mut self.workers[worker];
        while worker.take_mail() {}
        then(worker);
        worker.fan_out_dirty();
        worker.run_timers();
        let batches = [&worker.batches.v4, &worker.batches.v6];
        let written = batches.into_iter().flat_map(|batch| batch.datagrams());
        self.sent.extend(written.map(|(path, bytes)| (path, bytes.to_vec())));
        worker.flush();
    }
}
