//! Sequence numbers beyond their 16 bits.
//!
//! RTP numbers packets modulo 65536 (RFC 3550 5.1). Inside the gateway a number never wraps: [`Unwrap`] gives the wire's
//! 16 bits their place nearest to the newest number, [`Window`] remembers which of the newest numbers were seen. Both are
//! constant in time and memory and never fail, whatever a stranger sends.

/// Whether `a` comes after `b` on the circle of 65536 numbers. Exactly half a circle away is neither newer nor older.
pub const fn newer(a: u16, b: u16) -> bool {
    a.wrapping_sub(b) as i16 > 0
}

/// Extends 16-bit sequence numbers: each takes the place nearest to the newest so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unwrap {
    newest: Option<u64>,
}

impl Unwrap {
    /// One circle. The first number is placed in the second circle, so that what was sent just before it has a place too.
    pub const CIRCLE: u64 = 1 << 16;

    /// Nothing seen yet.
    pub const fn new() -> Self {
        Self { newest: None }
    }

    /// The place of `seq` nearest to the newest number, which becomes the newest if it is ahead. The first number is placed
    /// at `seq + 65536`. Exactly half a circle away counts as behind.
    pub const fn extend(&mut self, seq: u16) -> u64 {
        let extended = self.place(seq);
        match self.newest {
            Some(newest) if newest >= extended => {}
            _ => self.newest = Some(extended),
        }
        extended
    }

    /// Where [`extend`](Self::extend) would put `seq`; nothing is remembered.
    pub const fn place(&self, seq: u16) -> u64 {
        match self.newest {
            None => Self::CIRCLE + seq as u64,
            // The newest is never below one circle, so half a circle back cannot underflow.
            Some(newest) => newest.saturating_add_signed(seq.wrapping_sub(newest as u16) as i16 as i64),
        }
    }

    /// The newest number, `None` before the first.
    pub const fn newest(&self) -> Option<u64> {
        self.newest
    }
}

/// What [`Window::insert`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The newest number so far.
    Newest,
    /// Behind the newest, inside the window, and not seen before.
    Late,
    /// Seen before.
    Duplicate,
    /// So far behind the newest that the window does not know.
    TooOld,
}

/// Which of the newest `64 * WORDS` numbers were seen: one bit each, in the place the number itself gives.
#[derive(Clone, Debug)]
pub struct Window<const WORDS: usize> {
    newest: Option<u64>,
    bits: [u64; WORDS],
}

impl<const WORDS: usize> Window<WORDS> {
    /// How many numbers the window covers, the newest included.
    pub const SIZE: u64 = WORDS as u64 * 64;

    /// Nothing seen yet.
    pub const fn new() -> Self {
        const { assert!(WORDS > 0) };
        Self { newest: None, bits: [0; WORDS] }
    }

    /// The newest number, `None` before the first.
    pub const fn newest(&self) -> Option<u64> {
        self.newest
    }

    /// What [`insert`](Self::insert) would find; nothing is remembered.
    pub fn check(&self, number: u64) -> Seen {
        match self.newest {
            None => Seen::Newest,
            Some(newest) if number > newest => Seen::Newest,
            Some(newest) if newest - number >= Self::SIZE => Seen::TooOld,
            Some(_) if self.bit(number) => Seen::Duplicate,
            Some(_) => Seen::Late,
        }
    }

    /// Marks `number` as seen, unless it is too old, and says what it was before.
    pub fn insert(&mut self, number: u64) -> Seen {
        let seen = self.check(number);
        match seen {
            Seen::Newest => self.advance(number),
            Seen::Late => {}
            Seen::Duplicate | Seen::TooOld => return seen,
        }
        let (word, mask) = Self::position(number);
        self.bits[word] |= mask;
        seen
    }

    /// Whether `number` is inside the window and was seen.
    pub fn contains(&self, number: u64) -> bool {
        self.check(number) == Seen::Duplicate
    }

    /// Forgets the numbers that fall out when `number` becomes the newest.
    fn advance(&mut self, number: u64) {
        let Some(newest) = self.newest.replace(number) else { return };
        if number - newest >= Self::SIZE {
            self.bits = [0; WORDS];
            return;
        }
        // At most SIZE - 1 steps, and one for a packet in order.
        for skipped in newest + 1..=number {
            let (word, mask) = Self::position(skipped);
            self.bits[word] &= !mask;
        }
    }

    fn bit(&self, number: u64) -> bool {
        let (word, mask) = Self::position(number);
        self.bits[word] & mask != 0
    }

    /// Word and bit of a number. The remainder is below WORDS * 64, so the index holds.
    const fn position(number: u64) -> (usize, u64) {
        let place = number % Self::SIZE;
        ((place / 64) as usize, 1 << (place % 64))
    }
}

impl<const WORDS: usize> Default for Window<WORDS> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newer_is_decided_on_the_circle() {
        for (a, b, expected) in [
            (1, 0, true),
            (0, 1, false),
            (5, 5, false),
            (0, 65535, true),
            (65535, 0, false),
            (32767, 0, true),
            (32768, 0, false),
            (0, 32768, false),
        ] {
            assert_eq!(newer(a, b), expected, "{a} after {b}");
        }
    }

    #[test]
    fn numbers_take_the_place_nearest_to_the_newest() {
        let mut unwrap = Unwrap::new();
        for (seq, expected) in [
            (65534, 131070),
            (65535, 131071),
            (0, 131072),
            (65533, 131069), // late, from before the wrap
            (2, 131074),
            (1, 131073),
            (32770, 131074 - 32768), // half a circle: behind
            (32769, 131074 + 32767),
        ] {
            assert_eq!(unwrap.extend(seq), expected, "{seq}");
        }
        assert_eq!(unwrap.newest(), Some(131074 + 32767));
    }

    #[test]
    fn first_number_leaves_room_before_it() {
        let mut unwrap = Unwrap::new();
        assert_eq!(unwrap.extend(0), 65536);
        assert_eq!(unwrap.extend(65535), 65535);
        assert_eq!(unwrap.extend(1), 65537);
    }

    #[test]
    fn window_knows_new_late_repeated_and_old() {
        let mut window = Window::<1>::new();
        for (number, expected) in [
            (100, Seen::Newest),
            (100, Seen::Duplicate),
            (101, Seen::Newest),
            (99, Seen::Late),
            (99, Seen::Duplicate),
            (38, Seen::Late), // 101 - 63: the last one inside
            (37, Seen::TooOld),
            (38 + 64, Seen::Newest), // takes the bit of 38
            (103, Seen::Newest),
            (163, Seen::Newest),
            (100, Seen::Duplicate),
            (104, Seen::Late),
            (163 + 64, Seen::Newest),
            (163, Seen::TooOld),
            (164, Seen::Late),
        ] {
            assert_eq!(window.insert(number), expected, "{number}");
        }
    }

    #[test]
    fn a_number_that_is_skipped_was_not_seen() {
        let mut window = Window::<1>::new();
        for number in 0..=100 {
            window.insert(number);
        }
        assert_eq!(window.insert(105), Seen::Newest);
        for number in 101..105 {
            assert_eq!(window.insert(number), Seen::Late, "{number}");
        }
    }

    #[test]
    fn window_survives_the_ends_of_its_numbers() {
        let mut window = Window::<2>::new();
        assert_eq!(window.insert(0), Seen::Newest);
        assert_eq!(window.insert(u64::MAX), Seen::Newest);
        assert_eq!(window.insert(0), Seen::TooOld);
        assert!(window.contains(u64::MAX));
        assert!(!window.contains(u64::MAX - 1));
    }
}
