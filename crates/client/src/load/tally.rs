//! Counting numbered packets: what is missing, what came late, what came twice.

use std::collections::BTreeSet;

/// Numbers remembered as missing. A repair comes within a second or not at all, which is below 1000 packets; what falls
/// out stays lost.
const REMEMBERED: usize = 4096;

/// See the module. The first number seen is where counting begins.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    newest: Option<u64>,
    missing: BTreeSet<u64>,
    given_up: u64,
    /// Packets counted once each.
    pub(crate) received: u64,
    /// Packets that came after one with a higher number.
    pub(crate) reordered: u64,
    /// Packets that came again, or too late to know.
    pub(crate) duplicates: u64,
}

impl Tally {
    /// Takes note of a number.
    pub(crate) fn see(&mut self, number: u64) {
        match self.newest {
            Some(newest) if number <= newest => {
                if self.missing.remove(&number) {
                    self.received += 1;
                    self.reordered += 1;
                } else {
                    self.duplicates += 1;
                }
            }
            Some(newest) => {
                self.miss(newest + 1, number);
                self.newest = Some(number);
                self.received += 1;
            }
            None => {
                self.newest = Some(number);
                self.received += 1;
            }
        }
    }

    /// Takes note that what is between the last number and this one was left out on purpose.
    pub(crate) fn skip_to(&mut self, number: u64) {
        self.newest = self.newest.map(|newest| newest.max(number.saturating_sub(1)));
    }

    /// Takes note that everything below `end` was sent, so that what is missing at the very end is missed too. Without a
    /// single packet there is no place to count from.
    pub(crate) fn sent_up_to(&mut self, end: u64) {
        if let Some(newest) = self.newest.filter(|newest| end > newest + 1) {
            self.miss(newest + 1, end);
            self.newest = Some(end - 1);
        }
    }

    /// Packets that never came.
    pub(crate) fn lost(&self) -> u64 {
        self.given_up + self.missing.len() as u64
    }

    fn miss(&mut self, from: u64, to: u64) {
        let kept = from.max(to.saturating_sub(REMEMBERED as u64));
        self.given_up += kept - from;
        self.missing.extend(kept..to);
        while self.missing.len() > REMEMBERED {
            self.missing.pop_first();
            self.given_up += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(numbers: &[u64]) -> (u64, u64, u64, u64) {
        let mut tally = Tally::default();
        numbers.iter().for_each(|number| tally.see(*number));
        (tally.received, tally.lost(), tally.reordered, tally.duplicates)
    }

    #[test]
    fn numbers_are_received_lost_reordered_or_duplicate() {
        for (numbers, expected) in [
            (&[][..], (0, 0, 0, 0)),
            (&[7, 8, 9], (3, 0, 0, 0)),
            (&[7, 9], (2, 1, 0, 0)),
            (&[7, 9, 8, 10], (4, 0, 1, 0)),
            (&[7, 8, 8, 9], (3, 0, 0, 1)),
            // Before the beginning: neither lost nor received.
            (&[7, 6, 8], (2, 0, 0, 1)),
            (&[7, 1_000_000_007], (2, 999_999_999, 0, 0)),
            (&[7, 1_000_000_007, 1_000_000_006, 8], (3, 999_999_998, 1, 1)),
        ] {
            assert_eq!(tally(numbers), expected, "{numbers:?}");
        }
    }

    #[test]
    fn missing_end_is_lost() {
        let mut tally = Tally::default();
        tally.sent_up_to(10);
        assert_eq!(tally.lost(), 0);
        tally.see(6);
        tally.sent_up_to(10);
        assert_eq!(tally.lost(), 3);
        tally.sent_up_to(10);
        assert_eq!(tally.lost(), 3);
    }
}
