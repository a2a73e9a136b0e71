//! What one publisher may send: fan-out multiplies it, so it has to have an end (protocol.md 16).

use std::time::{Duration, Instant};

/// The most a publisher may send, on average over a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Payload bits per second.
    pub bits: u64,
    /// Packets per second.
    pub packets: u32,
}

impl Default for Rate {
    /// 100 Mbit/s is twice what the best WebRTC senders reach; 20 000 packets are that in packets of 625 bytes.
    fn default() -> Self {
        Self { bits: 100_000_000, packets: 20_000 }
    }
}

/// A token bucket that holds one second's worth. It counts thousandths, of which each millisecond brings a whole number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    rate: Rate,
    bits: u64,
    packets: u64,
    /// Up to when the bucket was filled.
    filled: Instant,
}

impl Budget {
    pub(super) fn new(rate: Rate, now: Instant) -> Self {
        let mut budget = Self { rate, bits: 0, packets: 0, filled: now };
        budget.add(1000);
        budget
    }

    /// Spends a packet; `false` if there is not enough left for it.
    pub(super) fn spend(&mut self, now: Instant, bytes: usize) -> bool {
        let millis = now.saturating_duration_since(self.filled).as_millis() as u64;
        if millis >= 1000 {
            self.filled = now;
            self.add(1000);
        } else if millis > 0 {
            self.filled += Duration::from_millis(millis);
            self.add(millis);
        }
        let bits = (bytes as u64).saturating_mul(8 * 1000);
        if bits > self.bits || self.packets < 1000 {
            return false;
        }
        self.bits -= bits;
        self.packets -= 1000;
        true
    }

    fn add(&mut self, millis: u64) {
        let fill =
            |held: u64, rate: u64| held.saturating_add(rate.saturating_mul(millis)).min(rate.saturating_mul(1000));
        self.bits = fill(self.bits, self.rate.bits);
        self.packets = fill(self.packets, self.rate.packets.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_is_spent_at_once_and_comes_back_with_time() {
        let start = Instant::now();
        let mut budget = Budget::new(Rate { bits: 80_000, packets: 20 }, start);
        let spend = |budget: &mut Budget, now, bytes| (0..100).filter(|_| budget.spend(now, bytes)).count();
        assert_eq!(spend(&mut budget, start, 1000), 10, "bits");
        assert_eq!(spend(&mut budget, start + Duration::from_millis(10), 1000), 0);
        assert_eq!(spend(&mut budget, start + Duration::from_millis(500), 1000), 5);
        // 15 packets are left, and 1.45 s bring 29.
        let steps = (1..=1500).filter(|step| budget.spend(start + *step * Duration::from_micros(1_300), 200));
        assert_eq!(steps.count(), 15 + 29, "parts of a millisecond are not lost");
        let later = start + Duration::from_secs(60);
        assert_eq!(spend(&mut budget, later, 1), 20, "packets");
        assert_eq!(spend(&mut budget, later, 1), 0);
    }
}
