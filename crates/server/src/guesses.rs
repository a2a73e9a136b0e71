//! Who tries tokens that are nobody's is slowed down, by address: after some of them in a row, one a second is looked at.
//!
//! A token that was good from an address before stays good there however many others guess from it (one NAT, one proxy).
//! One that comes there for the first time while somebody guesses has to wait like a guess: who is told at once which of
//! any number is right is not slowed down at all. Other addresses notice nothing.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use whipstitch_net::places::limited_address;

use crate::access::{Decision, Subject, Verdict};
use crate::rates::{Rate, Rates};

/// A person who mistypes, or a dozen players of a site with an old token, are far below it; at one a second a day is
/// enough for 2^17 guesses, of which a token of ten random letters takes 2^46 on average.
pub(crate) const GUESSES: Rate = Rate { per_second: 1, burst: 100 };

/// Addresses that guess; see [`Rates`]. About 6 MB.
const MOST_ADDRESSES: usize = 65_536;

/// Pairs of address and subject that are remembered; one more takes the place of those not seen for an hour, and has none
/// when there are no such. About 1 MB.
const MOST_KNOWN: usize = 8_192;

/// How long a pair is remembered at least.
const MEMORY: Duration = Duration::from_secs(60 * 60);

/// Who has guessed, and who need not.
#[derive(Debug)]
pub(crate) struct Guesses(Mutex<State>);

#[derive(Debug)]
struct State {
    wrong: Rates<IpAddr>,
    /// And when it came last.
    known: HashMap<(IpAddr, Subject), Instant>,
}

impl Guesses {
    /// Nobody has guessed; everybody may as often as `rate` says.
    pub(crate) fn new(rate: Rate, now: Instant) -> Self {
        Self(Mutex::new(State { wrong: Rates::new(rate, MOST_ADDRESSES, now), known: HashMap::new() }))
    }

    /// Whether this verdict may be told to a client of this address.
    ///
    /// # Errors
    /// It may not, be it good or not; another try makes sense after this time.
    pub(crate) fn pass(&self, client: IpAddr, verdict: &Verdict, now: Instant) -> Result<(), Duration> {
        let address = limited_address(client);
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &verdict.subject {
            // Made anew for each start, and not to be guessed: others who guess must not keep a child out.
            Some(Subject::Process(_)) => Ok(()),
            Some(subject) => state.shown(address, subject, now),
            None if verdict.decision == Decision::Wrong => state.wrong.take(address, now),
            None => Ok(()),
        }
    }
}

impl Default for Guesses {
    /// Without a limit.
    fn default() -> Self {
        Self::new(Rate::default(), Instant::now())
    }
}

impl State {
    fn shown(&mut self, address: IpAddr, subject: &Subject, now: Instant) -> Result<(), Duration> {
        let pair = (address, subject.clone());
        if let Some(seen) = self.known.get_mut(&pair) {
            *seen = now;
            return Ok(());
        }
        self.wrong.look(&address, now)?;
        if self.known.len() >= MOST_KNOWN {
            self.known.retain(|_, seen| now.saturating_duration_since(*seen) < MEMORY);
        }
        if self.known.len() < MOST_KNOWN {
            self.known.insert(pair, now);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn verdict(decision: Decision, subject: Option<Subject>) -> Verdict {
        Verdict { decision, subject }
    }

    fn wrong() -> Verdict {
        verdict(Decision::Wrong, None)
    }

    fn listed(name: &str) -> Verdict {
        verdict(Decision::Allowed, Some(Subject::Listed(name.into())))
    }

    /// Guesses until one is not looked at.
    fn exhaust(guesses: &Guesses, from: &str, now: Instant) -> u32 {
        (0..1000).take_while(|_| guesses.pass(ip(from), &wrong(), now).is_ok()).count() as u32
    }

    #[test]
    fn an_address_that_guesses_is_told_one_answer_a_second_be_it_right_or_wrong() {
        let start = Instant::now();
        let guesses = Guesses::new(GUESSES, start);
        assert_eq!(exhaust(&guesses, "192.0.2.1", start), GUESSES.burst);
        let wait = guesses.pass(ip("192.0.2.1"), &listed("a"), start).unwrap_err();
        assert_eq!(wait, Duration::from_secs(1), "the right one at last, and it looks like all others");
        assert!(guesses.pass(ip("192.0.2.1"), &listed("a"), start + wait).is_ok());
        assert!(guesses.pass(ip("192.0.2.1"), &wrong(), start + wait).is_ok());
        assert!(guesses.pass(ip("192.0.2.1"), &wrong(), start + wait).is_err());
        assert!(guesses.pass(ip("192.0.2.2"), &listed("a"), start).is_ok(), "others notice nothing");
        assert!(guesses.pass(ip("127.0.0.1"), &wrong(), start).is_ok());
        assert_eq!(exhaust(&guesses, "127.0.0.1", start), GUESSES.burst - 1, "this machine is no exception");
    }

    #[test]
    fn a_token_that_was_good_there_before_stays_so_while_others_guess() {
        let start = Instant::now();
        let guesses = Guesses::new(GUESSES, start);
        let owner = verdict(Decision::Allowed, Some(Subject::Owner));
        let not_for_this = verdict(Decision::Insufficient, Some(Subject::Admin));
        for good in [&listed("a"), &owner, &not_for_this] {
            assert!(guesses.pass(ip("2001:db8::1"), good, start).is_ok());
        }
        exhaust(&guesses, "2001:db8::2", start);
        for good in [&listed("a"), &owner, &not_for_this] {
            assert!(guesses.pass(ip("2001:db8::3"), good, start).is_ok(), "of one customer's network");
        }
        assert!(guesses.pass(ip("2001:db8::3"), &listed("b"), start).is_err());
        for open in [Decision::Allowed, Decision::Missing, Decision::Malformed] {
            assert!(guesses.pass(ip("2001:db8::2"), &verdict(open, None), start).is_ok(), "{open:?} is no guess");
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let start = Instant::now();
        let guesses = Guesses::new(GUESSES, start);
        let come = |n: u32, now| guesses.pass(IpAddr::from(n.to_be_bytes()), &listed("a"), now).unwrap();
        (0..2 * MOST_KNOWN as u32).for_each(|n| come(n, start));
        assert_eq!(guesses.0.lock().unwrap().known.len(), MOST_KNOWN);
        come(1, start + MEMORY - Duration::from_secs(1));
        come(0x7fff_ffff, start + MEMORY);
        assert_eq!(guesses.0.lock().unwrap().known.len(), 2);
    }
}
