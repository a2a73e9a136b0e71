//! A bounded number of places, for all clients and for each address.
//!
//! A place is a guard: it is free again when it is dropped. Who finds none waits for nothing and disturbs nobody.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
pub struct Places {
    total: usize,
    per_address: usize,
    table: Arc<Mutex<Table>>,
}

#[derive(Debug, Default)]
struct Table {
    taken: usize,
    addresses: HashMap<IpAddr, usize>,
}

impl Places {
    /// So many for all clients, and for one address, as [`limited_address`] has it.
    pub fn new(total: usize, per_address: usize) -> Self {
        Self { total, per_address, table: Arc::default() }
    }

    /// Takes a place for a client; `None` when all are taken, or all of its address.
    pub fn take(&self, client: IpAddr) -> Option<Place> {
        let address = limited_address(client);
        let mut table = lock(&self.table);
        let held = table.addresses.get(&address).copied().unwrap_or_default();
        if table.taken >= self.total || held >= self.per_address {
            return None;
        }
        table.taken += 1;
        table.addresses.insert(address, held + 1);
        Some(Place { table: Arc::clone(&self.table), address })
    }

    /// Places taken.
    pub fn taken(&self) -> usize {
        lock(&self.table).taken
    }
}

/// One place, free again when dropped.
#[derive(Debug)]
pub struct Place {
    table: Arc<Mutex<Table>>,
    address: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = lock(&self.table);
        table.taken = table.taken.saturating_sub(1);
        let Some(held) = table.addresses.get_mut(&self.address) else { return };
        *held -= 1;
        if *held == 0 {
            table.addresses.remove(&self.address);
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
        let places = Places::new(3, 2);
        let first = places.take(ip("2001:db8::1")).unwrap();
        let second = places.take(ip("2001:db8::2")).unwrap();
        assert!(places.take(ip("2001:db8::3")).is_none(), "the address has two");
        let _third = places.take(ip("192.0.2.1")).unwrap();
        assert!(places.take(ip("192.0.2.2")).is_none(), "all are taken");
        drop(first);
        let _fourth = places.take(ip("192.0.2.2")).unwrap();
        drop(second);
        assert_eq!((places.taken(), places.table.lock().unwrap().addresses.len()), (2, 2), "nothing is left behind");
    }

    #[test]
    fn of_many_at_the_last_place_one_gets_it() {
        let places = Places::new(8, 1);
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let places = places.clone();
                std::thread::spawn(move || places.take(ip("192.0.2.1")))
            })
            .collect();
        let taken: Vec<_> = threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect();
        assert_eq!((taken.len(), places.taken()), (1, 1));
    }
}
