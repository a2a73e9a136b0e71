//! No allocation per packet, and little memory per viewer.

use whipstitch_media::Kind;
use whipstitch_net::batch::Batch;
use whipstitch_net::outbox::Room;
use whipstitch_stream::{Burst, PerKind};
use whipstitch_webrtc::egress::Profile;

use crate::kit::*;

#[test]
fn delivering_a_burst_does_not_allocate() {
    for profile in Profile::ALL {
        for config in [video(), video_without_rtx()] {
            let mut scenario = Scenario::with(profile, vec![audio(), config], 1);
            let bursts: Vec<Burst> = (0..50)
                .map(|n| {
                    let mut packets: Vec<_> =
                        (0..20).map(|m| scenario.packet(Kind::Video, n + m == 0, false, &[7; 1100])).collect();
                    packets.push(scenario.packet(Kind::Audio, true, false, &[7; 80]));
                    packets.iter().for_each(|packet| scenario.history.insert(packet));
                    Burst { packets, clocks: PerKind::default() }
                })
                .collect();
            // The first burst warms the batch.
            let mut batch = Batch::new();
            scenario.egress.deliver(scenario.now, path(), &bursts[0], Room::UNBOUNDED, &mut batch);
            let mut sent = 0;
            let allocated = allocation_counter::measure(|| {
                for burst in &bursts[1..] {
                    batch.clear();
                    scenario.egress.deliver(scenario.now, path(), burst, Room::UNBOUNDED, &mut batch);
                    sent += batch.len();
                }
            });
            assert_eq!((sent, allocated.count_total), (49 * 21, 0), "{profile:?}");
        }
    }
}

#[test]
fn answering_a_nack_does_not_allocate_after_the_first() {
    for config in [video(), video_without_rtx()] {
        let mut scenario = Scenario::new(vec![config]);
        let sent = scenario.frame(30, 1000, true);
        scenario.say(&nack(VIDEO_SSRC, &[sent.rtp[0].seq()]));
        let mut datagram = scenario.protect(&nack(VIDEO_SSRC, &[1, 2, 3].map(|at: usize| sent.rtp[at].seq())));
        let Scenario { now, egress, history, batch, .. } = &mut scenario;
        let allocated = allocation_counter::measure(|| {
            assert!(egress.handle_rtcp(*now, path(), &mut datagram, history, batch).is_ok());
        });
        assert_eq!((batch.len(), allocated.count_total), (3, 0));
    }
}

/// The target for a whole viewer is 128 KiB (`design.md` 2.2), most of it the engine's.
#[test]
fn a_viewer_costs_16_kib_with_rtx_and_24_without_whatever_it_asks_for() {
    for (config, limit) in [(video(), 16 << 10), (video_without_rtx(), 24 << 10)] {
        let mut scenario = None;
        let tracks = vec![audio(), config];
        let mut bytes = allocation_counter::measure(|| scenario = Some(Scenario::new(tracks))).bytes_current;
        let mut scenario = scenario.expect("made");
        bytes += std::mem::size_of_val(&scenario.egress) as i64;
        scenario.frame(100, 500, true);
        for n in 0..100 {
            let arrived = scenario.frame(10, 500, false);
            let numbers: Vec<u16> = arrived.rtp.iter().map(|packet| packet.seq()).collect();
            let mut storm = scenario.protect(&[nack(VIDEO_SSRC, &numbers), fir(n, VIDEO_SSRC, 1)].concat());
            let Scenario { now, egress, history, batch, .. } = &mut scenario;
            let allocated = allocation_counter::measure(|| {
                assert!(egress.handle_rtcp(*now, path(), &mut storm, history, batch).is_ok());
            });
            bytes += allocated.bytes_current;
            scenario.take();
            scenario.pass(30 * MS);
        }
        assert!(bytes < limit, "{bytes} bytes");
    }
}
