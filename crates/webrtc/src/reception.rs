//! How many packets of a publisher never came, by their numbers (RFC 3550 A.3).

/// One track of one publisher.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reception {
    /// The first and the highest number of the sender at hand.
    span: Option<(u64, u64)>,
    received: u64,
    /// What senders before it lost.
    before: u64,
}

impl Reception {
    /// Counts a packet by its extended number.
    pub(crate) fn add(&mut self, seq: u64) {
        let (first, highest) = self.span.unwrap_or((seq, seq));
        // One from before the first was no loss: the sender did not begin with what came first.
        self.span = Some((first.min(seq), highest.max(seq)));
        self.received += 1;
    }

    /// Another sender goes on with numbers of its own.
    pub(crate) fn switch(&mut self) {
        *self = Reception { before: self.lost(), ..Reception::default() };
    }

    /// Packets that did not come so far; one that comes late is taken back.
    pub(crate) fn lost(&self) -> u64 {
        let expected = self.span.map_or(0, |(first, highest)| highest - first + 1);
        // What came twice must not hide what did not come at all, beyond its own number.
        self.before + expected.saturating_sub(self.received)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(numbers: &[u64]) -> u64 {
        let mut reception = Reception::default();
        numbers.iter().for_each(|seq| reception.add(*seq));
        reception.lost()
    }

    #[test]
    fn what_is_missing_between_the_first_and_the_highest_is_lost() {
        for (numbers, expected) in
            [(&[][..], 0), (&[7], 0), (&[7, 8, 9], 0), (&[7, 10], 2), (&[7, 10, 8], 1), (&[8, 7, 10], 1), (&[7, 7], 0)]
        {
            assert_eq!(lost(numbers), expected, "{numbers:?}");
        }
    }

    #[test]
    fn another_layer_begins_anew_and_forgets_no_loss() {
        let mut reception = Reception::default();
        [1, 3].iter().for_each(|seq| reception.add(*seq));
        reception.switch();
        [60_000, 60_002].iter().for_each(|seq| reception.add(*seq));
        assert_eq!(reception.lost(), 2);
    }
}
