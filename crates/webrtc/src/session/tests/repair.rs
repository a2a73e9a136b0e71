//! Publishers on bad paths: what is lost is asked for, resent late, and pushed all the same.

use super::*;

impl World {
    /// Video of this layer at 8 Mbit/s, ten milliseconds of it at once.
    pub(super) fn film(&mut self, rid: Option<&str>, numbers: std::ops::Range<u64>, size: usize) {
        let mid = self.mids[1];
        let numbers: Vec<u64> = numbers.collect();
        for numbers in numbers.chunks(8) {
            for seq in numbers {
                let (now, pt) = (self.now, self.client.media(mid).unwrap().remote_pts()[0]);
                let mut api = self.client.direct_api();
                let tx = api.stream_tx_by_mid(mid, rid.map(Into::into)).unwrap();
                let time = *seq as u32 * 108;
                let packet = RtpWrite::new(pt, (*seq).into(), time, now, vec![*seq as u8; size]);
                tx.write_rtp(packet.marker(true).nackable(true));
            }
            self.run(Duration::from_millis(10));
        }
    }

    /// From now on a twentieth of the video does not get through, and what the session says takes half a second.
    fn spoil(&mut self) {
        let pt = *self.client.media(self.mids[1]).unwrap().remote_pts()[0];
        self.lost = Box::new(move |datagram| {
            let number = u16::from_be_bytes([datagram[2], datagram[3]]);
            sort(datagram) == Sort::Rtp && datagram[1] & 0x7f == pt && number.wrapping_mul(40_503) % 20 == 0
        });
        self.slow = Duration::from_millis(500);
    }

    /// The numbers pushed with packets of this size, in order, with how many were missing among them.
    fn came(&self, size: usize) -> (Vec<u64>, u64) {
        let mut numbers: Vec<u64> =
            self.pushed().iter().filter(|(_, _, payload)| payload.len() == size).map(|(_, seq, _)| *seq).collect();
        numbers.sort_unstable();
        let missing = numbers.windows(2).map(|pair| pair[1] - pair[0] - 1).sum();
        (numbers, missing)
    }

    fn lost(&self) -> Vec<u64> {
        let lost = self.asked.iter().filter_map(|action| match action {
            Action::Lost(number) => Some(*number),
            _ => None,
        });
        lost.collect()
    }
}

#[test]
fn a_publisher_half_a_second_away_that_loses_a_twentieth_is_repaired_by_rtx() {
    let mut world = World::new(Role::Publisher);
    world.run(Duration::from_secs(1));
    world.film(None, 1..20, 1000);
    world.spoil();
    world.film(None, 20..4000, 1000);
    world.lost = Box::new(|_| false);
    world.film(None, 4000..5000, 1000);
    let (numbers, missing) = world.came(1000);
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "nothing is pushed twice");
    assert_eq!((numbers.len(), missing), (4999, 0));
    let (counters, asked) = (world.session.counters(), world.nacked);
    assert_eq!((counters.lost, counters.nacks), (0, asked));
    assert!((150..600).contains(&asked), "{asked} requests");
    assert_eq!(world.lost(), []);
}

#[test]
fn the_layer_that_is_forwarded_is_repaired_as_far_back_and_no_other() {
    let mut simulcast = Simulcast::new();
    simulcast.send = vec![SimulcastLayer::new("lo"), SimulcastLayer::new("hi")];
    let mut world = World::offering(Role::Publisher, Some(simulcast), |_| true);
    world.run(Duration::from_secs(1));
    world.film(Some("lo"), 1..100, 50);
    // The better one is chosen after a second.
    world.film(Some("hi"), 30_001..31_500, 1000);
    world.spoil();
    for at in (0..2000).step_by(8) {
        world.film(Some("hi"), 31_500 + at..31_508 + at, 1000);
        world.film(Some("lo"), 100 + at / 8..101 + at / 8, 50);
    }
    world.lost = Box::new(|_| false);
    world.film(Some("hi"), 33_500..34_500, 1000);
    let (numbers, missing) = world.came(1000);
    assert_eq!((numbers.last(), missing), (Some(&34_499), 0));
    assert_eq!(world.came(50).0.last(), Some(&99), "the other layer is not forwarded any more");
    assert_eq!(world.lost(), []);
}

#[test]
fn what_never_comes_is_told_once_for_all() {
    let mut world = World::new(Role::Publisher);
    world.run(Duration::from_secs(1));
    world.film(None, 1..20, 1000);
    // Of what is resent, nothing gets through either.
    world.lost = Box::new(|datagram| sort(datagram) == Sort::Rtp);
    world.film(None, 20..24, 1000);
    world.lost = Box::new(|datagram| sort(datagram) == Sort::Rtp && datagram.len() > 900);
    let before = world.came(1000).0;
    world.film(None, 24..200, 100);
    world.run(Duration::from_secs(2));
    assert_eq!(world.came(1000).0, before);
    assert_eq!(world.lost(), [23]);
}

#[test]
fn the_round_trip_is_told_when_it_was_measured() {
    let mut world = World::new(Role::Publisher);
    world.slow = Duration::from_millis(200);
    world.run(Duration::from_secs(1));
    world.film(None, 1..2000, 1000);
    let told: Vec<Duration> = world
        .asked
        .iter()
        .filter_map(|action| match action {
            Action::RoundTrip(rtt) => Some(*rtt),
            _ => None,
        })
        .collect();
    let near = Duration::from_millis(190)..Duration::from_millis(230);
    assert!(!told.is_empty() && told.iter().all(|rtt| near.contains(rtt)), "{told:?}");
    assert_eq!(world.session.stats(world.now).rtt, told.last().copied());
}
