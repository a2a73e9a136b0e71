//! TCP connections that nobody vouches for yet: how many there may be, and for how long.
//!
//! A connection is a stranger until a session has accepted a check that came over it. Anybody can make connections, so
//! there is a bound for one site and one for all; at either the oldest goes, which is the one that had the best chance.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use whipstitch_net::ConnectionId;

/// Strangers of one worker. Each holds a descriptor and a few kilobytes.
const MOST: usize = 512;

/// Strangers of one site on one worker: a load test, or an office behind one address that joins at once.
const MOST_OF_A_SITE: usize = 64;

/// How long a stranger may take for its first good check; a client has it ready when it connects.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

struct Stranger {
    id: ConnectionId,
    site: IpAddr,
    since: Instant,
}

/// The strangers of one worker, the oldest first.
#[derive(Default)]
pub(crate) struct Strangers {
    queue: VecDeque<Stranger>,
}

impl Strangers {
    /// Notes a stranger that has been there since `since`. Returns the one that has to go for it, if one has.
    pub(crate) fn add(&mut self, id: ConnectionId, ip: IpAddr, since: Instant) -> Option<ConnectionId> {
        let site = site(ip);
        let of_site = self.queue.iter().filter(|stranger| stranger.site == site).count();
        let gone = if of_site >= MOST_OF_A_SITE {
            self.queue.iter().position(|stranger| stranger.site == site)
        } else {
            (self.queue.len() >= MOST).then_some(0)
        };
        let gone = gone.and_then(|at| self.queue.remove(at)).map(|stranger| stranger.id);
        // One that another worker took first has been there for longer than the newest here.
        let at = self.queue.partition_point(|stranger| stranger.since <= since);
        self.queue.insert(at, Stranger { id, site, since });
        gone
    }

    /// It is none any more.
    pub(crate) fn remove(&mut self, id: ConnectionId) {
        self.queue.retain(|stranger| stranger.id != id);
    }

    /// When the next one has taken too long.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.queue.front().map(|stranger| stranger.since + PATIENCE)
    }

    /// Takes one that has taken too long.
    pub(crate) fn expired(&mut self, now: Instant) -> Option<ConnectionId> {
        self.deadline().filter(|deadline| *deadline <= now)?;
        self.queue.pop_front().map(|stranger| stranger.id)
    }
}

/// What one party has: an IPv4 address, or the 64 bits of an IPv6 network, in which addresses cost nothing.
fn site(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn id(n: u32) -> ConnectionId {
        ConnectionId(NonZeroU32::new(n + 1).unwrap())
    }

    fn ip(n: u32) -> IpAddr {
        IpAddr::from(n.to_be_bytes())
    }

    #[test]
    fn one_site_loses_its_own_oldest_and_nobody_elses() {
        let (mut strangers, now) = (Strangers::default(), Instant::now());
        assert_eq!(strangers.add(id(1000), ip(9), now), None);
        for n in 0..MOST_OF_A_SITE as u32 {
            assert_eq!(strangers.add(id(n), ip(1), now), None);
        }
        assert_eq!(strangers.add(id(500), ip(1), now), Some(id(0)));
        strangers.remove(id(1));
        assert_eq!(strangers.add(id(501), ip(1), now), None, "one had left");
        assert_eq!(strangers.add(id(502), ip(1), now), Some(id(2)));
    }

    #[test]
    fn a_network_of_ipv6_is_one_site() {
        let (mut strangers, now) = (Strangers::default(), Instant::now());
        let at = |n: u32| format!("2001:db8:0:7::{n:x}").parse().unwrap();
        for n in 0..MOST_OF_A_SITE as u32 {
            assert_eq!(strangers.add(id(n), at(n), now), None);
        }
        assert_eq!(strangers.add(id(500), "2001:db8:0:8::1".parse().unwrap(), now), None);
        assert_eq!(strangers.add(id(501), at(500), now), Some(id(0)));
    }

    #[test]
    fn from_many_sites_the_oldest_goes() {
        let (mut strangers, now) = (Strangers::default(), Instant::now());
        for n in 0..MOST as u32 {
            assert_eq!(strangers.add(id(n), ip(n), now), None);
        }
        assert_eq!(strangers.add(id(9999), ip(9999), now), Some(id(0)));
        assert_eq!(strangers.queue.len(), MOST);
    }

    #[test]
    fn patience_counts_from_the_beginning_even_on_another_worker() {
        let (mut strangers, start) = (Strangers::default(), Instant::now());
        let second = |n| start + Duration::from_secs(n);
        assert_eq!(strangers.deadline(), None);
        strangers.add(id(1), ip(1), second(2));
        strangers.add(id(2), ip(2), second(1));
        assert_eq!(strangers.deadline(), Some(second(1) + PATIENCE));
        assert_eq!(strangers.expired(second(10)), None);
        assert_eq!(strangers.expired(second(11)), Some(id(2)));
        assert_eq!(strangers.expired(second(11)), None);
        assert_eq!(strangers.expired(second(12)), Some(id(1)));
        assert_eq!(strangers.deadline(), None);
    }
}
