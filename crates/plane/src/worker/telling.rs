//! What a worker tells about everything it has, when it is asked. A session that panics then is dropped as at any other
//! time, and missing in the answer.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Slot, Worker};
use crate::mailbox::Mailbox;
use crate::measure::WorkerReport;
use crate::report::{Report, SessionReport};

impl Worker {
    pub(super) fn report(&mut self) -> Report {
        let now = self.now;
        let sessions = self.ask(|slot| SessionReport {
            session: slot.session,
            stream: slot.peer.stream().clone(),
            role: slot.role,
            stats: slot.peer.stats(now),
        });
        let hubs = self.streams.iter().filter_map(|(_, stream)| Some((&stream.key, stream.hub.as_ref()?)));
        Report { sessions, streams: hubs.map(|(key, hub)| (key.clone(), hub.stats(now))).collect() }
    }

    pub(super) fn measure(&mut self) -> WorkerReport {
        let mut living = WorkerReport::default();
        self.ask(|slot| {
            let counters = slot.peer.counters();
            let totals = living.totals_mut(slot.role);
            totals.sessions += 1;
            totals.counters += counters;
        });
        let mut report = self.totals.clone();
        report.publishers += &living.publishers;
        report.subscribers += &living.subscribers;
        report.uptime = self.now.saturating_duration_since(self.begun);
        (report.ufrags, report.addresses) = (self.ufrags.len(), self.remotes.len());
        report.connections = self.connections.len();
        report.mailbox_full = self.mailboxes.get(self.index).map_or(0, Mailbox::refused);
        for hub in self.streams.iter().filter_map(|(_, stream)| stream.hub.as_ref()) {
            report.drops += hub.drops();
        }
        report
    }

    fn ask<T>(&mut self, mut question: impl FnMut(&Slot) -> T) -> Vec<T> {
        let (mut answers, mut broken) = (Vec::with_capacity(self.slots.len()), Vec::new());
        for (key, slot) in &self.slots {
            match catch_unwind(AssertUnwindSafe(|| question(slot))) {
                Ok(answer) => answers.push(answer),
                Err(_) => broken.push(key),
            }
        }
        for key in broken {
            self.broke(key);
            self.close(key, None);
        }
        answers
    }
}
