//! Seeded mutations for tests: the same on every machine.

/// xorshift64*.
pub(crate) struct Random(u64);

impl Random {
    /// `seed` must not be 0.
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 33) as usize % bound.max(1)
    }

    /// Changes a bit or a byte, cuts, inserts, or makes the length field of a STUN message right again.
    pub(crate) fn mutate(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len() + 1);
        match self.below(5) {
            0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
            1 if at < bytes.len() => bytes[at] = [0, 1, 4, 0x7f, 0x80, 0xff][self.below(6)],
            2 => bytes.truncate(at),
            3 => {
                let extra = self.below(8);
                bytes.splice(at..at, std::iter::repeat_n(self.next() as u8, extra));
            }
            _ if bytes.len() >= 20 => {
                let len = (bytes.len() - 20) as u16;
                bytes[2..4].copy_from_slice(&len.to_be_bytes());
            }
            _ => {}
        }
    }
}
