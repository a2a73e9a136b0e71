//! A worker that takes its turns when it is told: without thread, sockets and clock, for tests in virtual time.

use std::time::{Duration, Instant};

use whipstitch_net::Path;
use whipstitch_stream::stream::Config;
use whipstitch_stream::{CloseReason, Running, SessionId};

use super::{Common, Sockets, Worker};
use crate::closed::Closed;
use crate::mailbox::{Command, Mailbox, mailbox};
use crate::measure::WorkerReport;
use crate::notes::Ending;
use crate::peer::{Peer, PeerCommand};
use crate::report::Report;

/// The only worker of a plane that nobody started.
pub struct Stepped {
    worker: Worker,
    mailbox: Mailbox,
    sent: Vec<(Path, Vec<u8>)>,
}

impl Stepped {
    /// A worker without sessions.
    ///
    /// # Errors
    /// When the system has no poll to give.
    pub fn new(config: Config) -> std::io::Result<Stepped> {
        let poll = mio::Poll::new()?;
        let (mailbox, inbox) = mailbox(mio::Waker::new(poll.registry(), Worker::WAKE)?);
        let mailboxes = vec![mailbox.clone()];
        let common = Common { mailboxes, config, closed: Closed::default(), running: Running::new() };
        let worker = Worker::new(0, poll, Sockets::default(), inbox, common)?;
        Ok(Stepped { worker, mailbox, sent: Vec::new() })
    }

    /// The present, which only [`Stepped::pass`] changes.
    pub fn now(&self) -> Instant {
        self.worker.now
    }

    /// See [`Plane::running`](crate::Plane::running).
    pub fn running(&self) -> &Running {
        &self.worker.described
    }

    /// See [`Plane::add`](crate::Plane::add); taken in the same turn.
    pub fn add(&mut self, peer: Box<dyn Peer>, ufrag: String, ending: Ending) {
        self.send(Command::Add { peer, ufrag, ending });
    }

    /// See [`Plane::tell`](crate::Plane::tell); taken in the same turn.
    pub fn tell(&mut self, session: SessionId, command: PeerCommand) {
        self.send(Command::Peer { session, command });
    }

    /// See [`Plane::end`](crate::Plane::end); done in the same turn.
    pub fn end(&mut self, session: SessionId, ending: &Ending, reason: CloseReason) {
        if ending.order(reason) {
            self.mailbox.note(|noted| noted.endings.push(session));
        }
        self.turn(|_| ());
    }

    /// A datagram comes in.
    pub fn datagram(&mut self, path: Path, bytes: &mut [u8]) {
        self.turn(|worker| worker.datagram(0, path, bytes));
    }

    /// Time passes; what is due in it happens when it is due.
    pub fn pass(&mut self, time: Duration) {
        let end = self.worker.now + time;
        while self.worker.now < end {
            let next = [self.worker.timers.next(), self.worker.stream_timers.next()].into_iter().flatten().min();
            // A poll rounds up to a millisecond too.
            let soonest = self.worker.now + super::SHORTEST_WAIT;
            self.worker.now = next.map_or(end, |next| next.max(soonest)).min(end);
            self.turn(|_| ());
        }
    }

    /// Everything sent since the last call, in order.
    pub fn take_sent(&mut self) -> Vec<(Path, Vec<u8>)> {
        std::mem::take(&mut self.sent)
    }

    /// See [`Plane::report`](crate::Plane::report).
    pub fn report(&mut self) -> Report {
        self.worker.report()
    }

    /// See [`Plane::measure`](crate::Plane::measure).
    pub fn measure(&mut self) -> WorkerReport {
        self.worker.measure()
    }

    fn send(&mut self, command: Command) {
        // Emptied in every turn, so it has room.
        let _ = self.mailbox.send(command);
        self.turn(|_| ());
    }

    fn turn(&mut self, then: impl FnOnce(&mut Worker)) {
        while self.worker.take_mail() {}
        then(&mut self.worker);
        self.worker.fan_out_dirty();
        self.worker.run_timers();
        let batches = [&self.worker.batches.v4, &self.worker.batches.v6];
        let written = batches.into_iter().flat_map(|batch| batch.datagrams());
        self.sent.extend(written.map(|(path, bytes)| (path, bytes.to_vec())));
        self.worker.flush();
    }
}
