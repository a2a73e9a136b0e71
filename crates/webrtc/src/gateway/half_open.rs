//! How many sessions may be half-open: answered, and not yet through their DTLS handshake.
//!
//! Such a session costs memory and proves nothing about its client, so there is a bound on all of them and one for each
//! address. A place is taken before an offer is looked at, and is a guard: it comes back when the handshake is done or
//! the session is dropped, which is after [`HalfOpen::setup`] at the latest.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Bounds of the half-open sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HalfOpen {
    /// Of all clients.
    pub total: usize,
    /// Of one client address, as [`limited_address`] has it.
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

/// The address that limits of one client go by: an IPv4 address as it is; of an IPv6 address the network of 64 bits, all
/// of which is one customer's.
#[must_use]
pub fn limited_address(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => IpAddr::V4(ip),
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)),
    }
}

/// Who holds how many places. Clones are the same table; it has no entry for an address that holds none.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    bounds: HalfOpen,
    table: Arc<Mutex<Table>>,
}

#[derive(Debug, Default)]
struct Table {
    total: usize,
    addresses: HashMap<IpAddr, usize>,
}

impl Waiting {
    pub(crate) fn new(bounds: HalfOpen) -> Self {
        Self { bounds, table: Arc::default() }
    }

    /// Takes a place for a client; `None` when all are taken, or all of its address.
    pub(crate) fn reserve(&self, client: IpAddr) -> Option<Place> {
        let address = limited_address(client);
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let held = table.addresses.get(&address).copied().unwrap_or_default();
        if table.total >= self.bounds.total || held >= self.bounds.per_address {
            return None;
        }
        table.total += 1;
        table.addresses.insert(address, held + 1);
        Some(Place { table: self.table.clone(), address, setup: self.bounds.setup })
    }

    /// Places taken.
    pub(crate) fn taken(&self) -> usize {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).total
    }
}

/// One place, free again when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    table: Arc<Mutex<Table>>,
    address: IpAddr,
    setup: Duration,
}

impl Place {
    /// See [`HalfOpen::setup`].
    pub(crate) fn setup(&self) -> Duration {
        self.setup
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.total = table.total.saturating_sub(1);
        let Some(held) = table.addresses.get_mut(&self.address) else { return };
        *held -= 1;
        if *held == 0 {
            table.addresses.remove(&self.address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_ipv6_customer_is_one_client_and_so_is_an_ipv4_address_in_both_writings() {
        for (one, other, same) in [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("2001:db8::1", "2001:db8::ffff:1:2:3", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
        ] {
            assert_eq!(limited_address(ip(one)) == limited_address(ip(other)), same, "{one} {other}");
        }
    }

    #[test]
    fn places_are_bounded_for_all_and_for_each_address_and_come_back() {
        let waiting = Waiting::new(HalfOpen { total: 3, per_address: 2, ..HalfOpen::default() });
        let first = waiting.reserve(ip("2001:db8::1")).unwrap();
        let second = waiting.reserve(ip("2001:db8::2")).unwrap();
        assert!(waiting.reserve(ip("2001:db8::3")).is_none(), "the address has two");
        let _third = waiting.reserve(ip("192.0.2.1")).unwrap();
        assert!(waiting.reserve(ip("192.0.2.2")).is_none(), "all are taken");
        drop(first);
        let _fourth = waiting.reserve(ip("192.0.2.2")).unwrap();
        drop(second);
        assert_eq!((waiting.taken(), waiting.table.lock().unwrap().addresses.len()), (2, 2), "nothing is left behind");
    }

    #[test]
    fn of_many_at_the_last_place_one_gets_it() {
        let waiting = Waiting::new(HalfOpen { total: 8, per_address: 1, ..HalfOpen::default() });
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let waiting = waiting.clone();
                std::thread::spawn(move || waiting.reserve(ip("192.0.2.1")))
            })
            .collect();
        let taken: Vec<_> = threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect();
        assert_eq!((taken.len(), waiting.taken()), (1, 1));
    }
}
