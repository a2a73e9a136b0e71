//! Who may have one of the bounded number of HTTP connections. While there are seats, everybody gets one. When there
//! are none, the address with the most of them gives way to one with fewer: it loses the connection that has waited
//! longest. A connection whose request is complete and being answered does not wait and is never taken away.
//!
//! An address that holds as many as any other displaces only its own, and only what has waited for long: one that
//! opens connections without end gains nothing, and its own answers have time to arrive.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use whipstitch_net::places::limited_address;

/// The table; `T` is what goes with a seat, given back when it is taken away. An entry costs less than 100 bytes, and
/// looking for one to take away is one pass over all.
#[derive(Debug)]
pub(super) struct Seats<T> {
    most: usize,
    patience: Duration,
    next: u64,
    seats: HashMap<u64, Seat<T>>,
    /// Seats of each address that has any.
    held: HashMap<IpAddr, usize>,
}

#[derive(Debug)]
struct Seat<T> {
    address: IpAddr,
    /// Since when no complete request of it is being answered.
    waiting: Option<Instant>,
    with: T,
}

/// A seat that was got.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Got<T> {
    /// Its number, never used twice.
    pub(super) id: u64,
    /// What went with the seat that was taken away for it.
    pub(super) instead: Option<T>,
}

impl<T> Seats<T> {
    /// `most` seats; an address displaces one of its own that has waited for `patience`.
    pub(super) fn new(most: usize, patience: Duration) -> Self {
        Self { most, patience, next: 0, seats: HashMap::new(), held: HashMap::new() }
    }

    /// A seat for a client at `ip` (IPv6: its /64), which waits from now on. `None` when there is none for it.
    pub(super) fn take(&mut self, ip: IpAddr, with: T, now: Instant) -> Option<Got<T>> {
        let address = limited_address(ip);
        let instead = if self.seats.len() < self.most {
            None
        } else {
            let id = self.loser(address, now)?;
            self.leave(id)
        };
        let id = self.next;
        self.next += 1;
        self.seats.insert(id, Seat { address, waiting: Some(now), with });
        *self.held.entry(address).or_default() += 1;
        Some(Got { id, instead })
    }

    /// The seat to take away for one more of `address`.
    fn loser(&self, address: IpAddr, now: Instant) -> Option<u64> {
        let held = |address| self.held.get(&address).copied().unwrap_or_default();
        let own = held(address);
        let waiting = || self.seats.iter().filter_map(|(&id, seat)| Some((id, seat.address, seat.waiting?)));
        let of_others = waiting()
            .map(|(id, address, since)| (held(address), Reverse((since, id))))
            .filter(|&(held, ..)| held > own)
            .max();
        let of_its_own = || {
            waiting()
                .filter(|&(_, of, since)| of == address && now.saturating_duration_since(since) >= self.patience)
                .map(|(id, _, since)| (since, id))
                .min()
        };
        of_others.map(|(_, Reverse((_, id)))| id).or_else(|| of_its_own().map(|(_, id)| id))
    }

    /// The request of this seat is complete. `false` when the seat was taken away: it is too late to answer.
    pub(super) fn answer(&mut self, id: u64) -> bool {
        self.seats.get_mut(&id).map(|seat| seat.waiting = None).is_some()
    }

    /// The answer is there, for the client to read.
    pub(super) fn wait(&mut self, id: u64, now: Instant) {
        if let Some(seat) = self.seats.get_mut(&id) {
            seat.waiting = seat.waiting.or(Some(now));
        }
    }

    /// Gives the seat up, if it still is one.
    pub(super) fn leave(&mut self, id: u64) -> Option<T> {
        let seat = self.seats.remove(&id)?;
        if let Some(held) = self.held.get_mut(&seat.address) {
            *held -= 1;
            if *held == 0 {
                self.held.remove(&seat.address);
            }
        }
        Some(seat.with)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(2);

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Four seats, all of one address, taken a second apart and numbered from 0.
    fn full(start: Instant) -> Seats<u32> {
        let mut seats = Seats::new(4, PATIENCE);
        for n in 0..4 {
            let got = seats.take(ip("192.0.2.1"), n, start + Duration::from_secs(n.into())).unwrap();
            assert_eq!(got, Got { id: n.into(), instead: None });
        }
        seats
    }

    #[test]
    fn another_address_gets_the_seat_that_waited_longest_and_no_more_than_its_half() {
        let start = Instant::now();
        let mut seats = full(start);
        let now = start + Duration::from_secs(3);
        assert_eq!(seats.take(ip("192.0.2.2"), 10, now).unwrap().instead, Some(0));
        assert_eq!(seats.take(ip("192.0.2.2"), 11, now).unwrap().instead, Some(1));
        assert_eq!(seats.take(ip("192.0.2.2"), 12, now), None, "two each");
        assert_eq!(seats.take(ip("192.0.2.3"), 13, now).unwrap().instead, Some(2));
    }

    #[test]
    fn a_request_being_answered_is_spared() {
        let start = Instant::now();
        let mut seats = full(start);
        let now = start + Duration::from_secs(9);
        assert!(seats.answer(0) && seats.answer(1));
        seats.wait(1, now);
        for instead in [2, 3] {
            assert_eq!(seats.take(ip("192.0.2.2"), 10, now).unwrap().instead, Some(instead));
        }
        assert_eq!(seats.take(ip("192.0.2.3"), 11, now).unwrap().instead, Some(1), "it waits again, since now");
        assert!(seats.answer(0));
        assert!(!seats.answer(1), "taken away");
    }

    #[test]
    fn nothing_is_taken_where_everything_is_being_answered() {
        let start = Instant::now();
        let mut seats = full(start);
        (0..4).for_each(|id| assert!(seats.answer(id)));
        assert_eq!(seats.take(ip("192.0.2.2"), 10, start + Duration::from_secs(60)), None);
        assert_eq!(seats.leave(2), Some(2));
        assert_eq!(seats.leave(2), None);
        assert!(seats.take(ip("192.0.2.2"), 10, start).is_some());
    }

    #[test]
    fn an_address_displaces_its_own_only_when_they_have_waited_for_long() {
        let start = Instant::now();
        let mut seats = full(start);
        assert_eq!(seats.take(ip("192.0.2.1"), 10, start + PATIENCE - Duration::from_nanos(1)), None);
        assert_eq!(seats.take(ip("192.0.2.1"), 10, start + PATIENCE).unwrap().instead, Some(0));
        assert_eq!(seats.take(ip("192.0.2.1"), 11, start + PATIENCE), None);
    }

    #[test]
    fn a_64_of_ipv6_is_one_address_and_a_mapped_ipv4_is_that() {
        let start = Instant::now();
        let mut seats = Seats::new(2, PATIENCE);
        assert!(seats.take(ip("2001:db8::1"), 0, start).is_some());
        assert!(seats.take(ip("2001:db8::ffff:2"), 1, start).is_some());
        assert_eq!(seats.take(ip("2001:db8::3"), 2, start), None);
        assert_eq!(seats.take(ip("::ffff:192.0.2.1"), 3, start).unwrap().instead, Some(0));
        assert_eq!(seats.take(ip("192.0.2.1"), 4, start), None, "one each");
    }

    #[test]
    fn who_has_left_is_forgotten() {
        let start = Instant::now();
        let mut seats = full(start);
        (0..4).for_each(|id| assert!(seats.leave(id).is_some()));
        assert!(seats.seats.is_empty() && seats.held.is_empty());
    }
}
