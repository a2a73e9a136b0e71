//! Which pairs are being looked up in the registry, and which were and are nobody's: so that who sends requests with
//! ufrags of its own making costs the registry little, and everybody else nothing.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use whipstitch_net::places::limited_address;

use crate::Pair;

/// Look-ups that one worker may be waiting for.
const MOST_PENDING: usize = 256;

/// New look-ups of one worker in a second, and those of them that one client's network may cause: enough for an office
/// whose clients all come from a proxy that died.
const A_SECOND: u32 = 1024;
const A_SECOND_OF_A_SITE: u32 = 128;

/// When an answer is no longer awaited: longer than the registry's own limit. The client's next request asks again.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long nobody's pair stays nobody's. Short, as its record may only be late.
const UNKNOWN_FOR: Duration = Duration::from_secs(2);

/// Pairs remembered to be nobody's; with another one the oldest goes.
const MOST_UNKNOWN: usize = 4096;

/// What to do about a request of a pair that is not here.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// Look it up.
    Now(Pair),
    /// It is being looked up.
    Pending,
    /// It is nobody's.
    Unknown,
    /// Too much is looked up.
    Full,
    /// It is no pair.
    NoPair,
}

/// One worker's look-ups.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    pending: HashMap<Pair, Instant>,
    unknown: HashMap<Pair, Instant>,
    /// The unknown ones, the oldest first; also such as are none any more.
    order: VecDeque<(Instant, Pair)>,
    second: Option<Instant>,
    asked: u32,
    sites: HashMap<IpAddr, u32>,
}

impl Lookups {
    pub(super) fn ask(&mut self, now: Instant, username: &str, from: IpAddr) -> Ask {
        self.tidy(now);
        if self.unknown.contains_key(username) {
            return Ask::Unknown;
        }
        if self.pending.contains_key(username) {
            return Ask::Pending;
        }
        let Some(pair) = Pair::parse(username.as_bytes()) else { return Ask::NoPair };
        let of_site = self.sites.entry(limited_address(from)).or_default();
        if self.pending.len() >= MOST_PENDING || self.asked >= A_SECOND || *of_site >= A_SECOND_OF_A_SITE {
            return Ask::Full;
        }
        *of_site += 1;
        self.asked += 1;
        self.pending.insert(pair.clone(), now);
        Ask::Now(pair)
    }

    /// The registry does not have it.
    pub(super) fn unknown(&mut self, now: Instant, pair: &Pair) {
        self.tidy(now);
        self.pending.remove(pair);
        if self.unknown.contains_key(pair) {
            return;
        }
        while self.order.len() >= MOST_UNKNOWN {
            self.forget_oldest();
        }
        self.unknown.insert(pair.clone(), now);
        self.order.push_back((now, pair.clone()));
    }

    /// It is known now, or could not be asked for: neither awaited nor nobody's.
    pub(super) fn forget(&mut self, pair: &Pair) {
        self.pending.remove(pair);
        self.unknown.remove(pair);
    }

    fn forget_oldest(&mut self) {
        let Some((at, pair)) = self.order.pop_front() else { return };
        if self.unknown.get(&pair) == Some(&at) {
            self.unknown.remove(&pair);
        }
    }

    fn tidy(&mut self, now: Instant) {
        while self.order.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) >= UNKNOWN_FOR) {
            self.forget_oldest();
        }
        if self.second.is_none_or(|second| now.saturating_duration_since(second) >= Duration::from_secs(1)) {
            self.second = Some(now);
            self.asked = 0;
            self.sites.clear();
            self.pending.retain(|_, asked| now.saturating_duration_since(*asked) < PATIENCE);
        }
        // A site that was refused stands in the table, too.
        if self.sites.len() > 2 * A_SECOND as usize {
            self.sites.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(n: usize) -> String {
        format!("origin{n}:client{n}")
    }

    fn site(n: usize) -> IpAddr {
        IpAddr::from((n as u32).to_be_bytes())
    }

    fn pair(n: usize) -> Pair {
        Pair::parse(name(n).as_bytes()).expect("a pair")
    }

    #[test]
    fn a_pair_is_asked_for_once_until_there_is_an_answer_or_none_comes() {
        let (mut lookups, start) = (Lookups::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(lookups.ask(start, &name(1), site(1)), Ask::Now(pair(1)));
        assert_eq!(lookups.ask(at(1500), &name(1), site(2)), Ask::Pending);
        assert_eq!(lookups.ask(at(3000), &name(1), site(1)), Ask::Now(pair(1)), "no answer came");
        lookups.unknown(at(3001), &pair(1));
        assert_eq!(lookups.ask(at(5000), &name(1), site(1)), Ask::Unknown);
        assert_eq!(lookups.ask(at(5001), &name(1), site(1)), Ask::Now(pair(1)), "its record may have been late");
        lookups.unknown(at(5002), &pair(1));
        lookups.forget(&pair(1));
        assert_eq!(lookups.ask(at(5003), &name(1), site(1)), Ask::Now(pair(1)), "it was installed and is gone");
        assert_eq!(lookups.ask(at(5003), "no pair", site(1)), Ask::NoPair);
    }

    #[test]
    fn one_network_cannot_use_all_look_ups_and_all_networks_no_more_than_there_are() {
        let (mut lookups, start) = (Lookups::default(), Instant::now());
        let asked = (0..1000).filter(|n| matches!(lookups.ask(start, &name(*n), site(1)), Ask::Now(_))).count();
        assert_eq!(asked, A_SECOND_OF_A_SITE as usize);
        assert!(matches!(lookups.ask(start, &name(5000), site(2)), Ask::Now(_)));
        let asked = (6000..8000).filter(|n| matches!(lookups.ask(start, &name(*n), site(*n)), Ask::Now(_))).count();
        assert_eq!(asked + A_SECOND_OF_A_SITE as usize + 1, MOST_PENDING);
        assert_eq!(lookups.ask(start, &name(9000), site(9000)), Ask::Full);
        // The same when each is answered at once: the rate counts.
        let second = start + Duration::from_secs(2);
        let mut asked = 0;
        for n in 0..5000 {
            if let Ask::Now(pair) = lookups.ask(second, &name(n + 10_000), site(n)) {
                lookups.unknown(second, &pair);
                asked += 1;
            }
        }
        assert_eq!(asked, A_SECOND);
        assert!(lookups.sites.len() <= 2 * A_SECOND as usize + 1);
    }

    #[test]
    fn what_is_remembered_to_be_nobodys_is_bounded() {
        let (mut lookups, start) = (Lookups::default(), Instant::now());
        for n in 0..3 * MOST_UNKNOWN {
            lookups.unknown(start, &pair(n));
            if n % 3 == 0 {
                lookups.forget(&pair(n));
            }
        }
        assert!(lookups.order.len() <= MOST_UNKNOWN && lookups.unknown.len() <= MOST_UNKNOWN);
        assert_eq!(lookups.ask(start, &name(3 * MOST_UNKNOWN - 1), site(1)), Ask::Unknown);
        assert!(matches!(lookups.ask(start, &name(1), site(1)), Ask::Now(_)), "the oldest went");
    }
}
