//! Whether this proxy can begin anything new, for balancers that choose among proxies.

use super::{State, locked, now};

impl State {
    /// Why nobody can begin a new stream here, in words; `None` while somebody can, as far as is known.
    #[must_use]
    pub fn unready(&self) -> Option<&'static str> {
        if !self.reach.has_answered() {
            return Some("the registry has not answered since the proxy started");
        }
        let has_one = locked(&self.origins).has_usable(now());
        (!has_one).then_some("no origin is alive and takes new streams")
    }
}
