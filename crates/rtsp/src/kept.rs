//! Places for connections that are kept for children of supervised processes, for when others have taken all there are.
//!
//! Nobody can tell a child's connection before it has shown its credential. So who takes one of these places has to show
//! that it is a child, and is served nothing before; it gives way to the next who comes when all are taken, the oldest first,
//! and goes by itself after [`SHOWS`]. A child keeps its place until its connection ends.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

/// How long one may take to show that it is a child: they do with their second request, and are on this machine.
pub(crate) const SHOWS: Duration = Duration::from_secs(5);

/// The places. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    most: usize,
    table: Arc<Mutex<Table>>,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    /// Who has shown nothing yet, in the order in which they came. Dropped, they are told.
    strangers: BTreeMap<u64, oneshot::Sender<()>>,
    children: usize,
}

/// One place, free again when dropped.
#[derive(Debug)]
pub(crate) struct KeptPlace {
    table: Arc<Mutex<Table>>,
    id: u64,
    /// Ends when it has to give way; `None` for a child.
    displaced: Option<oneshot::Receiver<()>>,
}

impl Kept {
    /// So many places.
    pub(crate) fn new(most: usize) -> Kept {
        Kept { most, table: Arc::default() }
    }

    /// A place, if need be that of the one who has shown nothing for longest; `None` when all are children's.
    pub(crate) fn take(&self) -> Option<KeptPlace> {
        let mut table = lock(&self.table);
        if table.strangers.len() + table.children >= self.most {
            table.strangers.pop_first()?;
        }
        let id = table.next;
        table.next += 1;
        let (sender, displaced) = oneshot::channel();
        table.strangers.insert(id, sender);
        drop(table);
        Some(KeptPlace { table: Arc::clone(&self.table), id, displaced: Some(displaced) })
    }
}

impl KeptPlace {
    /// It is a child's; unless it had to give way.
    pub(crate) fn prove(&mut self) {
        let mut table = lock(&self.table);
        if self.displaced.is_some() && table.strangers.remove(&self.id).is_some() {
            table.children += 1;
            self.displaced = None;
        }
    }

    /// Whether nothing has shown that it is a child's.
    pub(crate) fn is_a_strangers(&self) -> bool {
        self.displaced.is_some()
    }

    /// Comes true when it has to give way.
    pub(crate) async fn displaced(&mut self) {
        match &mut self.displaced {
            // Nothing is ever sent: who gives way hears that nobody can.
            Some(displaced) => drop(displaced.await),
            None => std::future::pending().await,
        }
    }
}

impl Drop for KeptPlace {
    fn drop(&mut self) {
        let mut table = lock(&self.table);
        match &self.displaced {
            Some(_) => drop(table.strangers.remove(&self.id)),
            None => table.children = table.children.saturating_sub(1),
        }
    }
}

/// Nothing in here panics half-way through a change.
fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether it has to give way.
    async fn is_displaced(place: &mut KeptPlace) -> bool {
        tokio::select! {
            biased;
            () = place.displaced() => true,
            () = std::future::ready(()) => false,
        }
    }

    #[tokio::test]
    async fn who_shows_nothing_gives_way_to_the_next_and_a_child_to_nobody() {
        let kept = Kept::new(2);
        let mut child = kept.take().unwrap();
        let mut first = kept.take().unwrap();
        child.prove();
        let mut second = kept.take().unwrap();
        assert!(is_displaced(&mut first).await && !is_displaced(&mut second).await);
        first.prove();
        assert!(first.is_a_strangers(), "too late");
        drop(first);
        second.prove();
        assert!(kept.take().is_none(), "all are children's");
        drop(second);
        let mut third = kept.take().unwrap();
        assert!(!is_displaced(&mut child).await && !is_displaced(&mut third).await);
        drop((child, third));
        let table = lock(&kept.table);
        assert_eq!((table.children, table.strangers.len()), (0, 0), "nothing is left behind");
    }
}
