//! UDP ports of plain RTP, those that others are told to bind and those that we bind: one allocator for the whole process.
//!
//! RTCP has the port after that of RTP, so ports come in blocks of four that begin even: video RTP and RTCP, audio RTP and
//! RTCP. A block is leased to one at a time, is looked at before it is promised, since other programs take ports as well,
//! and rests for a while when it is given back, so that nothing that is still on its way reaches the next one. Bounded by
//! the range; when nothing is left, there is nothing. An eighth of the blocks is left for what processes of this server and
//! its configuration need: nobody else gets one of the last. Ports that somebody else has chosen are claimed here, so that
//! nobody gets them a second time.

use std::collections::{BTreeSet, HashMap};
use std::net::{Ipv4Addr, UdpSocket};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use whipstitch_media::Kind;

/// Ports of a block.
const BLOCK: u16 = 4;

/// One of so many blocks is kept for our own.
const KEPT: u16 = 8;

/// How long a block rests: a player that ended may take its time to let its ports go.
const REST: Duration = Duration::from_secs(10);

/// For whom ports are leased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// For who asks: a reader, or a sender.
    Anybody,
    /// For a process of this server, or its configuration.
    Ours,
}

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

/// Ports that somebody else has chosen. They are given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    ports: Vec<u16>,
    blocks: Arc<Mutex<Blocks>>,
}

impl Ports {
    /// No ports to lease; there may be claims all the same.
    pub fn none() -> Ports {
        let blocks = Blocks { first: 2, count: 0, next: 0, taken: HashMap::new(), claimed: BTreeSet::new() };
        Ports { blocks: Arc::new(Mutex::new(blocks)) }
    }

    /// The ports of this range.
    ///
    /// # Errors
    /// [`TooFew`] if it holds no block.
    pub fn new(range: RangeInclusive<u16>) -> Result<Ports, TooFew> {
        Ok(Ports { blocks: Arc::new(Mutex::new(Blocks::new(range)?)) })
    }

    /// A block that nobody has; `None` when all are taken, rest, or are other programs'. To look costs microseconds for each
    /// port, and where other programs have most of the range there are many to look at: not for a thread that others wait for.
    pub(crate) fn lease(&self, whose: Whose) -> Option<Block> {
        self.lease_of(whose, Instant::now(), is_free)
    }

    fn lease_of(&self, whose: Whose, now: Instant, mut is_free: impl FnMut(u16) -> bool) -> Option<Block> {
        let mut looked = 0;
        loop {
            // Leased before it is looked at, so that nobody else looks at it meanwhile and nobody waits for that.
            let first = lock(&self.blocks).next(whose, now, &mut looked)?;
            if (first..=first + (BLOCK - 1)).all(&mut is_free) {
                return Some(Block { first, blocks: Arc::clone(&self.blocks) });
            }
            lock(&self.blocks).pass_over(first);
        }
    }

    /// Whether there are any to lease, now or later.
    pub fn can_lease(&self) -> bool {
        lock(&self.blocks).count > 0
    }

    /// How many ports are leased or claimed.
    pub fn in_use(&self) -> usize {
        lock(&self.blocks).in_use()
    }

    /// These very ports, whether or not they lie in the range; `None` if one of them is leased or claimed.
    pub(crate) fn claim(&self, ports: &[u16]) -> Option<Claim> {
        lock(&self.blocks).claim(ports).then(|| Claim { ports: ports.to_vec(), blocks: Arc::clone(&self.blocks) })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        lock(&self.blocks).disclaim(&self.ports);
    }
}

impl Block {
    /// Its first port, which is even.
    pub(crate) fn first(&self) -> u16 {
        self.first
    }

    /// Its port for RTP of this kind: video comes first.
    pub(crate) fn port(&self, kind: Kind) -> u16 {
        match kind {
            Kind::Video => self.first,
            Kind::Audio => self.first + 2,
        }
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
    /// Where to look next: after the one looked at last, so that each rests as long as it can.
    next: u16,
    /// By number; `None` is leased, else when it has rested.
    taken: HashMap<u16, Option<Instant>>,
    /// Ports that somebody else has chosen.
    claimed: BTreeSet<u16>,
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
        Ok(Blocks { first: even as u16, count: count as u16, next: 0, taken: HashMap::new(), claimed: BTreeSet::new() })
    }

    /// Leases the next block that is nobody's here; `None` when all have been `looked` at, or those that are left are not for
    /// this one.
    fn next(&mut self, whose: Whose, now: Instant, looked: &mut u16) -> Option<u16> {
        if whose == Whose::Anybody && self.left(now) <= usize::from(self.count / KEPT) {
            return None;
        }
        while *looked < self.count {
            *looked += 1;
            let number = self.next;
            self.next = (number + 1) % self.count;
            let port = self.first + number * BLOCK;
            let has_rested = self.taken.get(&number).is_none_or(|rests| rests.is_some_and(|until| until <= now));
            if has_rested && self.claimed.range(port..=port + (BLOCK - 1)).next().is_none() {
                self.taken.insert(number, None);
                return Some(port);
            }
        }
        None
    }

    /// Blocks that are neither leased nor rest.
    fn left(&self, now: Instant) -> usize {
        let taken = self.taken.values().filter(|rests| rests.is_none_or(|until| until > now)).count();
        usize::from(self.count).saturating_sub(taken)
    }

    /// It was looked at, and is another program's.
    fn pass_over(&mut self, port: u16) {
        self.taken.remove(&((port - self.first) / BLOCK));
    }

    fn give_back(&mut self, now: Instant, port: u16) {
        self.taken.insert((port - self.first) / BLOCK, Some(now + REST));
    }

    /// False, and nothing is claimed, if one of the ports is leased or claimed.
    fn claim(&mut self, ports: &[u16]) -> bool {
        let is_leased = |port: &u16| {
            let number = port.checked_sub(self.first).map(|offset| offset / BLOCK);
            number.is_some_and(|number| matches!(self.taken.get(&number), Some(None)))
        };
        if ports.iter().any(|port| is_leased(port) || self.claimed.contains(port)) {
            return false;
        }
        self.claimed.extend(ports);
        true
    }

    fn disclaim(&mut self, ports: &[u16]) {
        self.claimed.retain(|port| !ports.contains(port));
    }

    fn in_use(&self) -> usize {
        let leased = self.taken.values().filter(|rests| rests.is_none()).count();
        leased * usize::from(BLOCK) + self.claimed.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(range: RangeInclusive<u16>) -> Vec<u16> {
        let Ok(mut blocks) = Blocks::new(range) else { return Vec::new() };
        std::iter::from_fn(|| take(&mut blocks, Instant::now())).collect()
    }

    /// The next block, if nothing is another program's.
    fn take(blocks: &mut Blocks, now: Instant) -> Option<u16> {
        blocks.next(Whose::Ours, now, &mut 0)
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
        let (ports, now) = (Ports::new(100..=111).unwrap(), Instant::now());
        let lease = |is_free: &dyn Fn(u16) -> bool| ports.lease_of(Whose::Ours, now, is_free);
        let one = lease(&|port| port != 103).unwrap();
        assert_eq!((one.first(), ports.in_use()), (104, 4));
        assert!(lease(&|_| false).is_none());
        let other = lease(&|port| port < 108).unwrap();
        assert_eq!((other.first(), ports.in_use()), (100, 8), "what was looked at is not leased");
    }

    #[test]
    fn nobody_waits_while_ports_are_looked_at_and_nobody_else_looks_at_them() {
        let (ports, now) = (Ports::new(100..=107).unwrap(), Instant::now());
        let mut meanwhile = Vec::new();
        let block = ports.lease_of(Whose::Ours, now, |_| {
            let can_look = ports.blocks.try_lock().is_ok();
            meanwhile.extend(can_look.then(|| ports.lease_of(Whose::Ours, now, |_| true)));
            can_look
        });
        let first = |block: &Option<Block>| block.as_ref().map(Block::first);
        assert_eq!(first(&block), Some(100));
        assert_eq!(meanwhile.iter().map(first).collect::<Vec<_>>(), [Some(104), None, None, None]);
    }

    #[test]
    fn a_block_rests_before_it_is_leased_again_and_the_others_come_first() {
        let (mut blocks, now) = (Blocks::new(100..=111).unwrap(), Instant::now());
        assert_eq!(take(&mut blocks, now), Some(100));
        blocks.give_back(now, 100);
        assert_eq!(take(&mut blocks, now), Some(104));
        assert_eq!(take(&mut blocks, now), Some(108));
        assert_eq!(take(&mut blocks, now), None, "all are taken or rest");
        assert_eq!(take(&mut blocks, now + REST - Duration::from_millis(1)), None);
        assert_eq!(take(&mut blocks, now + REST), Some(100));
    }

    #[test]
    fn the_last_blocks_are_for_our_own_also_while_others_rest() {
        let (mut blocks, now) = (Blocks::new(100..=163).unwrap(), Instant::now());
        let mut lease = |whose, now| blocks.next(whose, now, &mut 0);
        let strangers: Vec<u16> = std::iter::from_fn(|| lease(Whose::Anybody, now)).collect();
        assert_eq!(strangers.len(), 14, "of 16");
        let ours: Vec<u16> = std::iter::from_fn(|| lease(Whose::Ours, now)).collect();
        assert_eq!(ours.len(), 2);
        for port in strangers {
            blocks.give_back(now, port);
        }
        let mut lease = |whose, now| blocks.next(whose, now, &mut 0);
        assert_eq!(lease(Whose::Anybody, now), None, "all of them rest");
        let later = now + REST;
        assert_eq!(std::iter::from_fn(|| lease(Whose::Anybody, later)).count(), 12, "two are left, besides ours");
        assert_eq!(Blocks::new(100..=127).unwrap().count / KEPT, 0, "of few none is kept");
    }

    #[test]
    fn ports_that_were_chosen_are_nobody_elses_and_what_is_taken_is_counted() {
        let (mut blocks, now) = (Blocks::new(100..=111).unwrap(), Instant::now());
        assert_eq!(take(&mut blocks, now), Some(100));
        assert!(!blocks.claim(&[90, 102]), "102 is leased");
        assert_eq!(blocks.in_use(), 4);
        assert!(blocks.claim(&[90, 91, 108]) && !blocks.claim(&[108]) && blocks.claim(&[65_535]));
        assert_eq!(blocks.in_use(), 8);
        assert_eq!((take(&mut blocks, now), take(&mut blocks, now)), (Some(104), None), "108 is claimed");
        blocks.disclaim(&[90, 91, 108]);
        assert_eq!((take(&mut blocks, now), blocks.in_use()), (Some(108), 13));
        blocks.give_back(now, 100);
        assert!(blocks.claim(&[100]), "what rests may be claimed: who chose it knows");
        assert_eq!(blocks.in_use(), 10);
    }

    #[test]
    fn a_leased_block_can_be_bound_and_comes_back_when_it_is_dropped() {
        // Any four in a row that are free at the moment: other tests of this machine bind ports, too.
        let ports = Ports::new(20_000..=29_999).unwrap();
        let block = ports.lease(Whose::Ours).expect("one of 2500");
        let sockets: Vec<_> = (0..4).map(|offset| UdpSocket::bind(("127.0.0.1", block.first() + offset))).collect();
        assert!(block.first().is_multiple_of(2) && sockets.iter().all(Result::is_ok), "{sockets:?}");
        drop(block);
        let blocks = lock(&ports.blocks);
        assert!(blocks.taken.values().all(Option::is_some), "{:?}", blocks.taken);
    }
}
