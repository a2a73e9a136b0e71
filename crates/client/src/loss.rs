//! Datagrams lost on purpose, and other chance that can be repeated: the same seed gives the same run.

use std::time::Duration;

use whipstitch_net::sort::{Sort, sort};

/// A seeded sequence of numbers (splitmix64), for tests; nothing secret comes of it.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to `count` - 1; `count` is at least 1.
    pub(crate) fn below(&mut self, count: u64) -> u64 {
        self.roll() % count.max(1)
    }

    pub(crate) fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let span = most.saturating_sub(least).as_millis() as u64;
        least + Duration::from_millis(self.below(span + 1))
    }
}

/// Which media datagrams of one direction are lost. ICE and DTLS get through.
#[derive(Clone, Debug)]
pub(crate) struct Loss {
    per_mille: u64,
    dice: Dice,
}

impl Loss {
    pub(crate) fn new(per_mille: u64, seed: u64) -> Loss {
        Loss { per_mille, dice: Dice::new(seed) }
    }

    /// Whether this datagram is one of them.
    pub(crate) fn takes(&mut self, datagram: &[u8]) -> bool {
        matches!(sort(datagram), Sort::Rtp | Sort::Rtcp) && self.dice.below(1000) < self.per_mille
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_media_is_lost_and_the_same_every_time() {
        let media = [&[0x80, 96][..], &[0; 20]].concat();
        let check = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[0; 20]].concat();
        let lost = |seed| {
            let mut loss = Loss::new(30, seed);
            assert!(!(0..1000).any(|_| loss.takes(&check)));
            (0..10_000).filter(|_| loss.takes(&media)).collect::<Vec<_>>()
        };
        assert!((200..400).contains(&lost(1).len()), "{}", lost(1).len());
        assert_eq!(lost(1), lost(1));
        assert_ne!(lost(1), lost(2));
        assert!(!Loss::new(0, 1).takes(&media) && Loss::new(1000, 1).takes(&media));
    }

    #[test]
    fn spans_lie_between_their_ends() {
        let mut dice = Dice::new(7);
        let (least, most) = (Duration::from_millis(3), Duration::from_millis(5));
        let spans: Vec<_> = (0..100).map(|_| dice.between(least, most)).collect();
        assert!(spans.iter().all(|span| (least..=most).contains(span)));
        assert!(spans.contains(&least) && spans.contains(&most));
        assert_eq!(dice.between(most, least), most);
    }
}
