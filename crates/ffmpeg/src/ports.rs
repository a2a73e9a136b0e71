//! UDP ports of this machine that others are told to bind: one allocator for the whole process.
//!
//! FFmpeg binds the port of each section and the next (RTCP), so ports come in blocks of four that begin even: video RTP
//! and RTCP, audio RTP and RTCP. A block is leased to one at a time, is looked at before it is promised, since other
//! programs take ports as well, and rests for a while when it is given back, so that nothing that is still on its way
//! reaches the next one. Bounded by the range; when nothing is left, there is nothing.

use std::collections::HashMap;
use std::net::{Ipv4Addr, UdpSocket};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Ports of a block.
const BLOCK: u16 = 4;

/// How long a block rests: a player that ended may take its time to let its ports go.
const REST: Duration = Duration::from_secs(10);

/// The range holds no block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("ports {first} to {last} hold no block of four that begins even")]
pub struct TooFew {
    first: u16,
    last: u16,
}

/// The ports of a range. Clones are the same.
#[derive(Clone, Debug)]
pub struct Ports {
    blocks: Arc<Mutex<Blocks>>,
}

/// A block of four ports. It is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Block {
    first: u16,
    blocks: Arc<Mutex<Blocks>>,
}

impl Ports {
    /// The ports of this range.
    ///
    /// # Errors
    /// [`TooFew`] if it holds no block.
    pub fn new(range: RangeInclusive<u16>) -> Result<Ports, TooFew> {
        Ok(Ports { blocks: Arc::new(Mutex::new(Blocks::new(range)?)) })
    }

    /// A block that nobody has; `None` when all are taken, rest, or are other programs'.
    pub(crate) fn lease(&self) -> Option<Block> {
        let first = lock(&self.blocks).take(Instant::now(), is_free)?;
        Some(Block { first, blocks: Arc::clone(&self.blocks) })
    }
}

impl Block {
    /// Its first port, which is even.
    pub(crate) fn first(&self) -> u16 {
        self.first
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        lock(&self.blocks).give_back(Instant::now(), self.first);
    }
}

/// Its holders do not leave it half-changed.
fn lock(blocks: &Mutex<Blocks>) -> MutexGuard<'_, Blocks> {
    blocks.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a port can be bound as FFmpeg does.
fn is_free(port: u16) -> bool {
    UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
}

/// Which blocks are whose.
#[derive(Debug)]
struct Blocks {
    first: u16,
    count: u16,
    /// Where to look next: after the one taken last, so that each rests as long as it can.
    next: u16,
    /// By number; `None` is leased, else when it has rested.
    taken: HashMap<u16, Option<Instant>>,
}

impl Blocks {
    fn new(range: RangeInclusive<u16>) -> Result<Blocks, TooFew> {
        let (first, last) = range.into_inner();
        // Port 0 is no port.
        let even = u32::from(first.max(2)).next_multiple_of(2);
        let count = (u32::from(last) + 1).saturating_sub(even) / u32::from(BLOCK);
        if count == 0 {
            return Err(TooFew { first, last });
        }
        Ok(Blocks { first: even as u16, count: count as u16, next: 0, taken: HashMap::new() })
    }

    fn take(&mut self, now: Instant, mut is_free: impl FnMut(u16) -> bool) -> Option<u16> {
        self.taken.retain(|_, rests| rests.is_none_or(|until| now < until));
        for step in 0..self.count {
            let number = (u32::from(self.next) + u32::from(step)) % u32::from(self.count);
            let number = number as u16;
            let port = self.first + number * BLOCK;
            if !self.taken.contains_key(&number) && (port..=port + (BLOCK - 1)).all(&mut is_free) {
                self.taken.insert(number, None);
                self.next = (number + 1) % self.count;
                return Some(port);
            }
        }
        None
    }

    fn give_back(&mut self, now: Instant, port: u16) {
        self.taken.insert((port - self.first) / BLOCK, Some(now + REST));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(range: RangeInclusive<u16>) -> Vec<u16> {
        let Ok(mut blocks) = Blocks::new(range) else { return Vec::new() };
        let now = Instant::now();
        std::iter::from_fn(|| blocks.take(now, |_| true)).collect()
    }

    #[test]
    fn blocks_of_four_begin_even_and_stay_in_the_range() {
        for (range, expected) in [
            (10_000..=10_011, &[10_000, 10_004, 10_008][..]),
            (10_001..=10_010, &[10_002, 10_006]),
            (10_000..=10_002, &[]),
            (10_001..=10_004, &[]),
            (0..=5, &[2]),
            (65_530..=65_535, &[65_530]),
            (65_532..=65_535, &[65_532]),
            (65_535..=65_535, &[]),
        ] {
            assert_eq!(blocks(range.clone()), expected, "{range:?}");
        }
    }

    #[test]
    fn what_other_programs_have_is_passed_over() {
        let mut blocks = Blocks::new(100..=111).unwrap();
        assert_eq!(blocks.take(Instant::now(), |port| port != 103), Some(104));
        assert_eq!(blocks.take(Instant::now(), |port| port < 108), Some(100));
    }

    #[test]
    fn a_block_rests_before_it_is_leased_again_and_the_others_come_first() {
        let (mut blocks, now) = (Blocks::new(100..=111).unwrap(), Instant::now());
        assert_eq!(blocks.take(now, |_| true), Some(100));
        blocks.give_back(now, 100);
        assert_eq!(blocks.take(now, |_| true), Some(104));
        assert_eq!(blocks.take(now, |_| true), Some(108));
        assert_eq!(blocks.take(now, |_| true), None, "all are taken or rest");
        assert_eq!(blocks.take(now + REST - Duration::from_millis(1), |_| true), None);
        assert_eq!(blocks.take(now + REST, |_| true), Some(100));
    }

    #[test]
    fn a_leased_block_can_be_bound_and_comes_back_when_it_is_dropped() {
        // Any four in a row that are free at the moment: other tests of this machine bind ports, too.
        let ports = Ports::new(20_000..=29_999).unwrap();
        let block = ports.lease().expect("one of 2500");
        let sockets: Vec<_> = (0..4).map(|offset| UdpSocket::bind(("127.0.0.1", block.first() + offset))).collect();
        assert!(block.first().is_multiple_of(2) && sockets.iter().all(Result::is_ok), "{sockets:?}");
        drop(block);
        let blocks = lock(&ports.blocks);
        assert!(blocks.taken.values().all(Option::is_some), "{:?}", blocks.taken);
    }
}
