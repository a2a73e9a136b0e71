//! NACKs: right bytes, only of what was sent, within bounds.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use whipstitch_media::Kind;
use whipstitch_stream::History;
use whipstitch_stream::history::Limits;
use whipstitch_webrtc::egress::{Format, Profile};

use crate::kit::*;

#[test]
fn a_nack_is_answered_with_rtx_of_rfc_4588() {
    for profile in Profile::ALL {
        let mut scenario = Scenario::with(profile, vec![audio(), video()], 5);
        let sent = scenario.frame(30, 1000, true);
        let asked = [3usize, 4, 11, 29];
        let numbers: Vec<u16> = asked.iter().map(|at| sent.rtp[*at].seq()).collect();
        let (result, arrived) = scenario.feedback(&nack(VIDEO_SSRC, &numbers));
        assert!(result.is_ok_and(|feedback| !feedback.keyframe));

        assert_eq!(arrived.rtp.len(), 4, "{profile:?}");
        let first = arrived.rtp[0].index;
        for (n, (at, rtx)) in asked.iter().zip(&arrived.rtp).enumerate() {
            let original = &sent.rtp[*at];
            assert_eq!((rtx.ssrc, rtx.pt), (RTX_SSRC, RTX_PT));
            assert_eq!((rtx.marker, rtx.time), (original.marker, original.time));
            assert_eq!(rtx.payload[..2], original.seq().to_be_bytes(), "the original number");
            assert_eq!(rtx.payload[2..], original.payload);
            assert_eq!(rtx.index, first + n as u64, "a sequence space of its own");
        }
        assert!(first < 1 << 15);
        let stats = scenario.egress.stats();
        assert_eq!(
            (stats.counters.nacks, stats.counters.resent, stats.counters.rtx, stats.counters.packets),
            (1, 4, 4, 30)
        );
    }
}

#[test]
fn the_bitmask_of_a_nack_counts_from_its_number() {
    let mut scenario = Scenario::new(vec![video()]);
    let sent = scenario.frame(20, 100, true);
    let first = u32::from(sent.rtp[2].seq());
    scenario.say(&rtcp(0x81, 205, &[VIEWER_SSRC, VIDEO_SSRC, first << 16 | 0x8001]));
    let stats = scenario.egress.stats();
    assert_eq!((stats.counters.nacks, stats.counters.resent), (1, 3), "2, 3 and 18");
}

/// Every packet is asked for once: those with and without mid, with and without orientation, long and short.
#[test]
fn without_rtx_a_resend_is_byte_for_byte_what_was_sent() {
    for profile in Profile::ALL {
        let mut scenario = Scenario::with(profile, vec![audio(), video_without_rtx()], 7);
        let mut dice = Dice(9);
        for n in 0..300 {
            let size = 1 + dice.roll(1250) as usize;
            let mut picture = scenario.packet(Kind::Video, n == 0, dice.roll(2) == 0, &vec![n as u8; size]);
            picture.packet.extensions.orientation = (dice.roll(3) == 0).then_some(2);
            let mut talk = scenario.packet(Kind::Audio, true, false, &vec![n as u8; 1 + size / 10]);
            talk.packet.extensions.audio_level = (dice.roll(2) == 0).then_some(n as u8);
            let already = scenario.sent.len();
            let arrived = scenario.deliver(vec![picture, talk]);
            let sent = scenario.sent[already..already + 2].to_vec();

            let asked = [nack(VIDEO_SSRC, &[arrived.rtp[0].seq()]), nack(AUDIO_SSRC, &[arrived.rtp[1].seq()])].concat();
            let answer = scenario.say(&asked);
            assert_eq!(answer.repeated, sent, "{profile:?}, packet {n}");
            assert!(answer.rtp.is_empty(), "nothing else");
            scenario.pass(500 * MS);
        }
        let stats = scenario.egress.stats();
        assert_eq!((stats.counters.resent, stats.counters.rtx, stats.counters.unsealed), (600, 0, 0));
    }
}

#[test]
fn without_rtx_what_is_not_what_was_sent_is_not_sent() {
    let mut scenario = Scenario::new(vec![video_without_rtx()]);
    let arrived = scenario.frame(3, 100, true);
    // Another content under the same number of the hub.
    let mut changed = History::new(Limits::default());
    let mut other = scenario.packet(Kind::Video, false, false, &[0xdd; 100]);
    for back in 0..3 {
        other.packet.seq -= u64::from(back > 0);
        changed.insert(&other);
    }
    let mut again = History::new(Limits::default());
    other.packet.seq -= 1;
    again.insert(&other);
    for history in [changed, again] {
        scenario.history = history;
        let numbers: Vec<u16> = arrived.rtp.iter().map(|packet| packet.seq()).collect();
        let (result, answer) = scenario.feedback(&nack(VIDEO_SSRC, &numbers));
        assert!(result.is_ok());
        assert!(answer.is_empty(), "{answer:?}");
    }
    assert!(scenario.egress.stats().counters.unsealed > 0);
    assert_eq!(scenario.egress.stats().counters.resent, 0);
}

#[test]
fn numbers_never_sent_are_ignored() {
    for config in [video(), video_without_rtx()] {
        let mut scenario = Scenario::new(vec![audio(), config]);
        let first = scenario.frame(1, 100, true).rtp[0].seq();
        scenario.lose(Kind::Video);
        let last = scenario.frame(1, 100, false).rtp[0].seq();
        assert_eq!(last, first + 2);
        for number in [first - 1, first + 1, last + 1, last.wrapping_add(0x8000), last.wrapping_sub(2000)] {
            let (result, answer) = scenario.feedback(&nack(VIDEO_SSRC, &[number]));
            assert!(result.is_ok() && answer.is_empty(), "number {number}");
        }
        // The other track's numbers, RTX's own, and an SSRC of nobody.
        for ssrc in [AUDIO_SSRC, RTX_SSRC, 0, 12345] {
            let (result, answer) = scenario.feedback(&nack(ssrc, &[first]));
            assert!(result.is_ok() && answer.is_empty(), "SSRC {ssrc:#x}");
        }
        assert_eq!(scenario.egress.stats().counters.resent, 0);
    }
}

#[test]
fn without_nack_negotiated_nothing_is_resent() {
    let mut scenario = Scenario::new(vec![video()]);
    scenario.egress.send_as(Kind::Video, Format { nack: false, ..format(&video()) }).expect("lawful numbers");
    let sent = scenario.frame(3, 100, true);
    assert!(scenario.say(&nack(VIDEO_SSRC, &[sent.rtp[1].seq()])).is_empty());
}

#[test]
fn packets_are_resent_across_the_wrap_of_their_numbers() {
    for config in [video(), video_without_rtx()] {
        let mut scenario = Scenario::new(vec![config]);
        let mut index = scenario.frame(1, 20, true).rtp[0].index;
        while index < 65_530 {
            index = scenario.frame(10, 20, false).rtp.last().expect("sent").index;
        }
        let arrived = scenario.frame(30, 20, false);
        let numbers: Vec<u16> = arrived.rtp.iter().map(|packet| packet.seq()).collect();
        assert!(numbers.contains(&65_535) && numbers.contains(&0));
        let answer = scenario.say(&nack(VIDEO_SSRC, &numbers));
        assert_eq!(answer.rtp.len() + answer.repeated.len(), 30);
    }
}

#[test]
fn a_packet_is_resent_once_per_round_trip() {
    let mut scenario = Scenario::new(vec![video()]);
    let arrived = scenario.frame(5, 100, true);
    let ask = |scenario: &mut Scenario| scenario.say(&nack(VIDEO_SSRC, &[arrived.rtp[2].seq()])).rtp.len();
    // Nothing measured: 50 ms.
    assert_eq!(ask(&mut scenario), 1);
    scenario.pass(49 * MS);
    assert_eq!(ask(&mut scenario), 0);
    scenario.pass(MS);
    assert_eq!(ask(&mut scenario), 1);

    // A round trip of 200 ms, by a report that answers our first at once.
    let lsr = EPOCH.middle();
    scenario.pass(100 * MS);
    scenario.say(&rtcp(0x81, 201, &[VIEWER_SSRC, VIDEO_SSRC, 0, 0, 0, lsr, 0]));
    assert_eq!(scenario.egress.stats().rtt, Some(150 * MS));
    assert_eq!(ask(&mut scenario), 0, "150 ms have to pass, 100 did");
    scenario.pass(50 * MS);
    assert_eq!(ask(&mut scenario), 1);
    assert_eq!(ask(&mut scenario), 0);
}

#[test]
fn a_near_viewer_waits_10_ms() {
    let mut scenario = Scenario::new(vec![video()]);
    let arrived = scenario.frame(5, 100, true);
    scenario.say(&rtcp(0x81, 201, &[VIEWER_SSRC, VIDEO_SSRC, 0, 0, 0, EPOCH.middle(), 0]));
    assert_eq!(scenario.egress.stats().rtt, Some(Duration::ZERO));
    let ask = |scenario: &mut Scenario| scenario.say(&nack(VIDEO_SSRC, &[arrived.rtp[2].seq()])).rtp.len();
    assert_eq!(ask(&mut scenario), 1);
    scenario.pass(9 * MS);
    assert_eq!(ask(&mut scenario), 0);
    scenario.pass(MS);
    assert_eq!(ask(&mut scenario), 1);
}

/// Bytes by the time they were sent.
type Ledger = Vec<(Instant, usize)>;

fn within(ledger: &Ledger, until: Instant, span: Duration) -> usize {
    ledger.iter().filter(|(at, _)| *at <= until && *at + span > until).map(|(_, bytes)| bytes).sum()
}

#[test]
fn a_storm_of_nacks_costs_a_fifth_of_what_is_sent_and_each_packet_once_per_round_trip() {
    for config in [video(), video_without_rtx()] {
        let mut scenario = Scenario::new(vec![config]);
        let (mut sent, mut resent): (Ledger, Ledger) = Default::default();
        let mut last_resent: HashMap<u16, Instant> = HashMap::new();
        let mut recent: Vec<u16> = Vec::new();
        // 2.4 Mbit/s in frames of 10 packets, 30 a second; every 3 ms everything recent is asked for again.
        for step in 0..1500 {
            if step % 11 == 0 {
                let arrived = scenario.frame(10, 1000, step % 330 == 0);
                for packet in arrived.of(VIDEO_SSRC) {
                    sent.push((scenario.now, packet.datagram));
                    recent.push(packet.seq());
                }
                recent.drain(..recent.len().saturating_sub(400));
            }
            let answer = scenario.say(&nack(VIDEO_SSRC, &recent));
            for packet in answer.rtp.iter().filter(|packet| packet.ssrc == RTX_SSRC) {
                let original = u16::from_be_bytes([packet.payload[0], packet.payload[1]]);
                let before = last_resent.insert(original, scenario.now);
                assert!(before.is_none_or(|before| before + 50 * MS <= scenario.now), "twice in a round trip");
                resent.push((scenario.now, packet.datagram));
            }
            for datagram in &answer.repeated {
                let original = u16::from_be_bytes([datagram[2], datagram[3]]);
                let before = last_resent.insert(original, scenario.now);
                assert!(before.is_none_or(|before| before + 50 * MS <= scenario.now), "twice in a round trip");
                resent.push((scenario.now, datagram.len()));
            }
            let second = Duration::from_secs(1);
            let (media, repairs) = (within(&sent, scenario.now, second), within(&resent, scenario.now, second));
            assert!(repairs <= (media / 5).max(7_500), "{repairs} bytes resent, {media} sent within a second");
            scenario.pass(3 * MS);
        }
        let media: usize = sent.iter().map(|(_, bytes)| bytes).sum();
        let repairs: usize = resent.iter().map(|(_, bytes)| bytes).sum();
        assert!(repairs > media / 8, "but the budget is there to be used: {repairs} of {media}");
    }
}

#[test]
fn audio_of_32_kbit_s_can_be_repaired() {
    let mut scenario = Scenario::new(vec![audio()]);
    let mut lost = Vec::new();
    for n in 0..50 {
        let arrived = scenario.talk(80);
        if n % 5 == 0 {
            lost.push(arrived.rtp[0].seq());
        }
        scenario.pass(20 * MS);
    }
    let answer = scenario.say(&nack(AUDIO_SSRC, &lost));
    assert_eq!(answer.repeated.len(), lost.len());
}

#[test]
fn a_datagram_of_nacks_is_looked_at_only_so_far() {
    let mut scenario = Scenario::new(vec![video()]);
    let sent = scenario.frame(20, 100, true);
    let last = sent.rtp[19].seq();
    // 1024 numbers that were never sent, then one that was.
    let mut numbers: Vec<u16> = (0..1024).map(|n| last.wrapping_add(2000 + n)).collect();
    numbers.push(last);
    assert!(scenario.say(&nack(VIDEO_SSRC, &numbers)).is_empty());
    assert_eq!(scenario.say(&nack(VIDEO_SSRC, &numbers[1..])).rtp.len(), 1);
}

#[test]
fn what_the_history_let_go_is_not_answered() {
    let mut scenario = Scenario::new(vec![video()]);
    let old = scenario.frame(1, 100, true).rtp[0].seq();
    scenario.pass(2000 * MS);
    scenario.frame(1, 100, false);
    assert!(scenario.say(&nack(VIDEO_SSRC, &[old])).is_empty());
}
