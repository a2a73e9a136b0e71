//! Who changes a process keeps others from changing it, by its id.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;

/// Locks of ids that somebody holds or waits for.
#[derive(Debug, Default)]
pub(super) struct Locks(Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>);

impl Locks {
    /// The locks of these ids; waits for whoever has one. In the order of the ids, so that nobody waits in a circle.
    pub(super) async fn take<const N: usize>(&self, mut ids: [&str; N]) -> Vec<OwnedMutexGuard<()>> {
        ids.sort_unstable();
        let mut guards = Vec::with_capacity(N);
        let mut last = None;
        for id in ids.into_iter().filter(|id| last.replace(*id) != Some(*id)) {
            let lock = {
                let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                all.retain(|_, lock| Arc::strong_count(lock) > 1);
                Arc::clone(all.entry(id.to_owned()).or_default())
            };
            guards.push(lock.lock_owned().await);
        }
        guards
    }
}
