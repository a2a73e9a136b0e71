//! A relay without sockets and clock, in virtual time: for tests, and for fuzz targets. Its workers get datagrams as the
//! kernel would spread them, by address, and mail at once.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use whipstitch_net::Path;
use whipstitch_plane::RouteNote;

use super::counters::{Counters, EndReason, Tally};
#[cfg(test)]
use super::directory::SessionState;
use super::directory::{Directory, Full, Removal};
use super::table::{Action, Table, Verdict};
use crate::{Pair, Session, SessionId};

/// The whole of it.
pub(crate) struct Stage {
    pub(crate) now: Instant,
    directory: Arc<Directory>,
    tables: Vec<Table>,
    tallies: Vec<Arc<Tally>>,
    /// Sessions whose sockets to origins are open, by worker and key.
    open: HashMap<(usize, usize), SessionId>,
    pub(crate) opened: u64,
    pub(crate) wanted: Vec<Pair>,
    /// Whether there is room for what is wanted.
    pub(crate) has_room: bool,
    pub(crate) used: Vec<SessionId>,
    pub(crate) ended: Vec<(SessionId, EndReason)>,
}

impl Stage {
    pub(crate) fn new(start: Instant, workers: usize, most: usize, idle: Duration) -> Self {
        let directory = Arc::new(Directory::new(workers, most, idle));
        let tallies: Vec<Arc<Tally>> = (0..workers).map(|_| Arc::default()).collect();
        let table = |(index, tally): (usize, &Arc<Tally>)| {
            Table::new(start, index, Arc::clone(&directory), Arc::clone(tally), idle)
        };
        Self {
            now: start,
            tables: tallies.iter().enumerate().map(table).collect(),
            directory,
            tallies,
            open: HashMap::new(),
            opened: 0,
            wanted: Vec::new(),
            has_room: true,
            used: Vec::new(),
            ended: Vec::new(),
        }
    }

    pub(crate) fn install(&mut self, record: &Session) -> Result<(), Full> {
        if let Some(owner) = self.directory.install(self.now, &Arc::new(record.clone()))? {
            self.tables[owner].update(record);
        }
        Ok(())
    }

    pub(crate) fn unknown(&self, pair: &Pair) {
        self.directory.unknown(self.now, pair);
    }

    pub(crate) fn end(&mut self, id: &SessionId, reason: EndReason) {
        match self.directory.remove_unclaimed(id) {
            Removal::Owned(owner) => self.tables[owner].end(id, reason),
            Removal::Done => self.ended.push((id.clone(), reason)),
            Removal::Unknown => {}
        }
        self.act();
    }

    /// The worker that gets what comes from there.
    pub(crate) fn via(&self, from: SocketAddr) -> usize {
        usize::from(from.port()) % self.tables.len()
    }

    /// A datagram from there: the session to whose origin it goes.
    pub(crate) fn client(&mut self, from: SocketAddr, bytes: &[u8]) -> Option<SessionId> {
        let via = self.via(from);
        let mut worker = via;
        loop {
            let verdict = self.tables[worker].handle_client(self.now, via, Path::to(from), bytes);
            self.act();
            match verdict {
                Verdict::ToOrigin(key) => return self.open.get(&(worker, key)).cloned(),
                Verdict::ToWorker(other) => {
                    assert!(worker == via && other != via, "handed over once");
                    worker = other;
                }
                Verdict::Drop => return None,
            }
        }
    }

    /// A datagram of a session's origin: where it is sent.
    pub(crate) fn origin(&mut self, id: &SessionId, bytes: &[u8]) -> Option<SocketAddr> {
        let (worker, key) = self.place(id)?;
        let to = self.tables[worker].handle_origin(self.now, key, bytes);
        self.act();
        to.map(|path| path.remote)
    }

    /// Nobody listens at a session's origin.
    pub(crate) fn origin_refuses(&mut self, id: &SessionId) {
        if let Some((worker, key)) = self.place(id) {
            self.tables[worker].upstream_failed(self.now, key);
            self.act();
        }
    }

    pub(crate) fn is_open(&self, id: &SessionId) -> bool {
        self.place(id).is_some()
    }

    fn place(&self, id: &SessionId) -> Option<(usize, usize)> {
        self.open.iter().find(|(_, of)| *of == id).map(|(place, _)| *place)
    }

    /// Time passes, and what is due is done when it is.
    pub(crate) fn later(&mut self, by: Duration) {
        let end = self.now + by;
        loop {
            let (worker, due) =
                self.tables.iter().map(Table::deadline).enumerate().min_by_key(|(_, at)| *at).expect("a worker");
            if due > end {
                break;
            }
            self.now = self.now.max(due);
            self.tables[worker].handle_timeout(self.now);
            self.act();
        }
        self.now = end;
    }

    pub(crate) fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        self.tallies.iter().for_each(|tally| tally.add_to(&mut sum));
        sum
    }

    #[cfg(test)]
    pub(crate) fn states(&self) -> Vec<SessionState> {
        self.directory.states()
    }

    /// Sessions known, sessions of workers, their addresses, pairs and open sockets.
    pub(crate) fn sizes(&self) -> [usize; 5] {
        let of_all = |part: usize| self.tables.iter().map(|table| table.sizes()[part]).sum();
        [self.directory.len(), of_all(0), of_all(1), of_all(2), self.open.len()]
    }

    fn act(&mut self) {
        while let Some(worker) = self.tables.iter().position(Table::has_actions) {
            for action in self.tables[worker].actions() {
                self.perform(worker, action);
            }
        }
    }

    fn perform(&mut self, worker: usize, action: Action) {
        match action {
            Action::Open(key) => {
                let session = self.tables[worker].session(key).expect("a session that is opened is there");
                let before = self.open.insert((worker, key), session.known.record.id.clone());
                assert!(before.is_none(), "opened twice");
                self.opened += 1;
            }
            Action::Close(key) => drop(self.open.remove(&(worker, key))),
            Action::Wanted(pair) if self.has_room => self.wanted.push(pair),
            Action::Wanted(pair) => self.tables[worker].not_asked(&pair),
            Action::Route { to, remote, owner, at } => {
                self.tables[to].route(remote, RouteNote::To { worker: owner, at });
            }
            Action::Unroute { to, remote } => self.tables[to].route(remote, RouteNote::Gone { worker }),
            Action::Used(ids) => self.used.extend(ids),
            Action::Ended { key, id, reason } => {
                if let Some(key) = key {
                    self.open.remove(&(worker, key));
                }
                self.ended.push((id, reason));
            }
        }
    }
}
