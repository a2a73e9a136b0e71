//! A bad path: DTLS datagrams are lost, doubled and overtaken, the same ones for the same seed.

use std::collections::VecDeque;

/// What happens on the way, in both directions.
pub(crate) struct Faults {
    /// None: nothing.
    random: Option<u64>,
    /// How many datagrams are still spoilt; after that the path is good, so that every handshake can end.
    left: u32,
    held_out: Option<Vec<u8>>,
    held_in: Option<Vec<u8>>,
}

impl Faults {
    pub(crate) fn none() -> Faults {
        Faults { random: None, left: 0, held_out: None, held_in: None }
    }

    /// Of the first `datagrams` a third is lost, a fifth comes twice, a fifth after the next one.
    pub(crate) fn seeded(seed: u64, datagrams: u32) -> Faults {
        Faults { random: Some(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1), left: datagrams, ..Faults::none() }
    }

    pub(crate) fn outgoing(&mut self, datagram: Vec<u8>) -> Vec<Vec<u8>> {
        let mut held = self.held_out.take();
        let passed = self.spoil(datagram, &mut held);
        self.held_out = held;
        passed
    }

    pub(crate) fn incoming(&mut self, datagram: Vec<u8>) -> Vec<Vec<u8>> {
        let mut held = self.held_in.take();
        let passed = self.spoil(datagram, &mut held);
        self.held_in = held;
        passed
    }

    fn spoil(&mut self, datagram: Vec<u8>, held: &mut Option<Vec<u8>>) -> Vec<Vec<u8>> {
        let mut passed: VecDeque<Vec<u8>> = held.take().into_iter().collect();
        match self.next() {
            0..=4 => {}
            5..=7 => passed.extend([datagram.clone(), datagram]),
            8..=10 if passed.is_empty() => *held = Some(datagram),
            _ => passed.push_front(datagram),
        }
        passed.into()
    }

    /// 0 to 14.
    fn next(&mut self) -> u64 {
        let Some(random) = self.random.as_mut().filter(|_| self.left > 0) else { return 14 };
        self.left -= 1;
        // Xorshift.
        *random ^= *random << 13;
        *random ^= *random >> 7;
        *random ^= *random << 17;
        *random % 15
    }
}
