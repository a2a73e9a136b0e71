//! Whether the registry answers, as the calls tell that are made to it anyway.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use super::locked;

/// After the registry was away nobody claims a stream that is new to it for so long: longer than other proxies may need to
/// notice that it is back (a second between two tries) and to tell it what they know (a second between two turns).
const SETTLING: Duration = Duration::from_secs(3);

#[derive(Debug, Default)]
struct Inner {
    is_away: bool,
    has_answered: bool,
    /// How often it came back so far.
    returns: u64,
    /// When it did last.
    back: Option<Instant>,
}

#[derive(Debug, Default)]
pub(super) struct Reach(Mutex<Inner>);

impl Reach {
    /// It answered a call. `true` if it had not answered the one before.
    pub(super) fn answered(&self) -> bool {
        let mut inner = locked(&self.0);
        inner.has_answered = true;
        let is_back = std::mem::take(&mut inner.is_away);
        if is_back {
            inner.returns += 1;
            inner.back = Some(Instant::now());
        }
        is_back
    }

    /// It did not answer one.
    pub(super) fn silent(&self) {
        locked(&self.0).is_away = true;
    }

    /// Whether it did not answer when it was asked last.
    pub(super) fn is_away(&self) -> bool {
        locked(&self.0).is_away
    }

    /// Whether it ever did.
    pub(super) fn has_answered(&self) -> bool {
        locked(&self.0).has_answered
    }

    /// How often it came back: whoever acts on that compares with what was last acted on, as any call may be the first
    /// that is answered.
    pub(super) fn returns(&self) -> u64 {
        locked(&self.0).returns
    }

    /// Whether it came back so short a time ago that other proxies may not have told it of their streams again, should
    /// it have lost them.
    pub(super) fn is_settling(&self) -> bool {
        locked(&self.0).back.is_some_and(|back| back.elapsed() < SETTLING)
    }
}
