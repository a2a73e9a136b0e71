//! The end of the collection: what was stored before it is done, and nothing begins any more.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Error, Process, Processes, change, locked};
use crate::process::Order;

impl Processes {
    /// From now on nothing is changed, stored or started: [`Error::Closed`]. Does not wait for anything.
    pub fn close(&self) {
        // Under this lock: who starts something has done so before, or does not any more.
        let _all = self.all_mut();
        self.0.closed.store(true, Ordering::Relaxed);
    }

    /// Ends all of them, as a server that stops does: what is ordered stays stored.
    pub async fn finish(&self) {
        self.close();
        let all: Vec<Arc<Process>> = std::mem::take(&mut *self.all_mut()).into_values().collect();
        all.iter().for_each(|process| process.runner.order(Order::Stop));
        for process in all {
            process.runner.idle().await;
        }
        // What is being written is on the disk then.
        let this = self.clone();
        let written = tokio::task::spawn_blocking(move || this.0.store.as_ref().ok().map(|store| drop(locked(store))));
        change::finished(written).await;
    }

    /// # Errors
    /// [`Error::Closed`] from the end on.
    pub(super) fn check_open(&self) -> Result<(), Error> {
        if self.0.closed.load(Ordering::Relaxed) { Err(Error::Closed) } else { Ok(()) }
    }

    /// Orders something that may start a child.
    ///
    /// # Errors
    /// [`Error::Closed`]; it is not ordered then.
    pub(super) fn begin(&self, order: impl FnOnce()) -> Result<(), Error> {
        let _all = self.all();
        self.check_open()?;
        order();
        Ok(())
    }
}
