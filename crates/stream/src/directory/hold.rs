//! Streams that are held: as long as a guard lives, nobody but its owner gets the publisher's place, whatever the policy is
//! about a second publisher; and the owner always gets it, whoever is there and however many publishers there are.

use std::sync::Arc;

use super::{Directory, Inner};
use crate::key::StreamKey;

/// A stream that is another owner's; the name says whose.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stream is held for {0:?}")]
pub struct Held(pub Arc<str>);

/// Who holds a stream.
#[derive(Debug)]
pub(super) struct Holding {
    pub(super) owner: Arc<str>,
    guards: usize,
}

/// The publisher's place of a stream, kept for one owner until all its guards are dropped. It ends nobody's session: who
/// publishes already goes on until the owner comes.
#[derive(Debug)]
pub struct Hold {
    inner: Arc<Inner>,
    key: StreamKey,
}

impl Directory {
    /// Holds a stream for this owner, who may do so several times. There are as many entries as guards at most; who hands
    /// them out bounds them.
    ///
    /// # Errors
    /// [`Held`] if it is another owner's.
    pub fn hold(&self, key: &StreamKey, owner: &str) -> Result<Hold, Held> {
        let mut state = self.inner.lock();
        let none = || Holding { owner: owner.into(), guards: 0 };
        let holding = state.holds.entry(key.clone()).or_insert_with(none);
        if &*holding.owner != owner {
            return Err(Held(holding.owner.clone()));
        }
        holding.guards += 1;
        Ok(Hold { inner: self.inner.clone(), key: key.clone() })
    }
}

impl Hold {
    /// From now on the stream is held for this owner, with all guards of the one before.
    pub fn give_to(&self, owner: &str) {
        if let Some(holding) = self.inner.lock().holds.get_mut(&self.key) {
            holding.owner = owner.into();
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut state = self.inner.lock();
        let Some(holding) = state.holds.get_mut(&self.key) else { return };
        holding.guards -= 1;
        if holding.guards == 0 {
            state.holds.remove(&self.key);
        }
    }
}
