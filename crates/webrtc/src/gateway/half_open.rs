//! How many sessions may be half-open: answered, and not yet through their DTLS handshake.
//!
//! Such a session costs memory and proves nothing about its client, so there is a bound on all of them and one for each
//! address. A place is taken before an offer is looked at, and is a guard: it comes back when the handshake is done or
//! the session is dropped, which is after [`HalfOpen::setup`] at the latest.

use std::net::IpAddr;
use std::time::Duration;

use whipstitch_net::places::{self, Places};

/// Bounds of the half-open sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HalfOpen {
    /// Of all clients.
    pub total: usize,
    /// Of one client address, as [`places::limited_address`] has it.
    pub per_address: usize,
    /// How long one may take from the answer to the end of its handshake.
    pub setup: Duration,
}

impl Default for HalfOpen {
    /// Half the viewers of a large machine may come back at once after a restart, and a whole school from one address. The
    /// time is protocol.md 15's (RFC 9725 5 on exhaustion).
    fn default() -> Self {
        Self { total: 10_000, per_address: 1_000, setup: Duration::from_secs(20) }
    }
}

/// Who holds how many places. Clones are the same table.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    places: Places,
    setup: Duration,
}

impl Waiting {
    pub(crate) fn new(bounds: HalfOpen) -> Self {
        Self { places: Places::new(bounds.total, bounds.per_address), setup: bounds.setup }
    }

    /// Takes a place for a client; `None` when all are taken, or all of its address.
    pub(crate) fn reserve(&self, client: IpAddr) -> Option<Place> {
        Some(Place { _place: self.places.take(client)?, setup: self.setup })
    }

    /// Places taken.
    pub(crate) fn taken(&self) -> usize {
        self.places.taken()
    }
}

/// One place, free again when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    _place: places::Place,
    setup: Duration,
}

impl Place {
    /// See [`HalfOpen::setup`].
    pub(crate) fn setup(&self) -> Duration {
        self.setup
    }
}
