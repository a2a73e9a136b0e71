//! How often one client may ask for something to be changed: a bucket for each address, and one for each session.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use whipstitch_net::places::limited_address;

use super::error::Error;
use crate::rates::{Rate, Rates};

/// Addresses with a bucket that is not full. To fill the table, somebody has to ask from that many addresses at once;
/// who comes then shares a bucket with the others that do. About 6 MB.
const MOST_ADDRESSES: usize = 65_536;
/// The same of sessions, of which there are no more than viewers.
const MOST_SESSIONS: usize = 65_536;

/// The buckets.
#[derive(Debug)]
pub(crate) struct Throttle {
    addresses: Mutex<Rates<IpAddr>>,
    /// By a hash: a session URL is a secret, and need not stand here as well.
    sessions: Mutex<Rates<u64>>,
    hasher: RandomState,
}

impl Throttle {
    pub(crate) fn new(requests: Rate, session: Rate) -> Self {
        let now = now();
        Self {
            addresses: Mutex::new(Rates::new(requests, MOST_ADDRESSES, now)),
            sessions: Mutex::new(Rates::new(session, MOST_SESSIONS, now)),
            hasher: RandomState::new(),
        }
    }

    /// A request of this client.
    pub(crate) fn request(&self, client: IpAddr) -> Result<(), Error> {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        addresses.take(limited_address(client), now()).map_err(|retry_after| Error::TooMany { retry_after })
    }

    /// A request to a session that exists.
    pub(super) fn session(&self, resource: &str) -> Result<(), Error> {
        let key = self.hasher.hash_one(resource);
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.take(key, now()).map_err(|retry_after| Error::TooMany { retry_after })
    }
}

/// The clock that tests can move.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
