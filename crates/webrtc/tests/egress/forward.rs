//! What the viewer gets of the stream: continuous, in order, complete, under its own numbers.

use whipstitch_media::{Codec, Extensions, Kind};
use whipstitch_stream::Forwarded;
use whipstitch_webrtc::egress::{ExtensionIds, Format, Profile};

use crate::kit::*;

#[test]
fn packets_arrive_whole_under_the_viewers_own_numbers() {
    for profile in Profile::ALL {
        let mut scenario = Scenario::with(profile, vec![audio(), video()], 3);
        let (mut audio_seq, mut video_seq) = (None, None);
        for n in 0..200u64 {
            let made = vec![
                scenario.packet(Kind::Audio, true, n == 0, &[n as u8; 80]),
                scenario.packet(Kind::Video, n == 0, false, &[n as u8; 1100]),
                scenario.packet(Kind::Video, false, true, &[!(n as u8); 333]),
            ];
            let arrived = scenario.deliver(made.clone());
            assert_eq!(arrived.rtp.len(), 3, "{profile:?}, burst {n}");
            for (packet, made) in arrived.rtp.iter().zip(&made) {
                let (ssrc, pt, last) = match made.kind() {
                    Kind::Audio => (AUDIO_SSRC, AUDIO_PT, &mut audio_seq),
                    Kind::Video => (VIDEO_SSRC, VIDEO_PT, &mut video_seq),
                };
                assert_eq!((packet.ssrc, packet.pt, packet.marker), (ssrc, pt, made.packet.marker));
                assert_eq!(packet.payload, &*made.packet.payload);
                assert_eq!(packet.index, last.map_or(packet.index, |last: u64| last + 1), "no gap of ours");
                *last = Some(packet.index);
            }
            scenario.pass(20 * MS);
        }
        assert_eq!(scenario.egress.stats().counters.packets, 600);
    }
}

#[test]
fn rtp_time_keeps_the_streams_pace_from_an_offset_of_its_own() {
    let mut scenario = Scenario::new(vec![audio(), video()]);
    let first = scenario.frame(2, 100, true);
    let first_audio = scenario.talk(50);
    scenario.pass(100 * MS);
    let second = scenario.frame(2, 100, false);
    let second_audio = scenario.talk(50);
    assert_eq!(first.rtp[0].time, first.rtp[1].time, "one picture, one time");
    assert_eq!(second.rtp[0].time.wrapping_sub(first.rtp[0].time), 9000);
    assert_eq!(second_audio.rtp[0].time.wrapping_sub(first_audio.rtp[0].time), 4800);
    assert_ne!(first.rtp[0].time, ((1u64 << 32) - 50_000) as u32, "not the hub's own time");
}

#[test]
fn video_waits_for_a_start_and_audio_does_not() {
    let mut scenario = Scenario::new(vec![audio(), video()]);
    assert!(scenario.egress.wants_keyframe());
    assert!(scenario.frame(3, 100, false).rtp.is_empty());
    assert_eq!(scenario.talk(50).rtp.len(), 1);
    assert!(scenario.egress.wants_keyframe());
    assert_eq!(scenario.frame(3, 100, true).rtp.len(), 3);
    assert!(!scenario.egress.wants_keyframe());
}

#[test]
fn a_track_that_was_not_negotiated_is_not_sent() {
    let mut scenario = Scenario::new(vec![audio()]);
    assert!(scenario.frame(3, 100, true).is_empty());
    assert!(!scenario.egress.wants_keyframe());
}

#[test]
fn losses_stay_visible_and_late_packets_keep_their_place() {
    let mut scenario = Scenario::new(vec![video()]);
    let first = scenario.frame(1, 100, true).rtp[0].index;
    let late = scenario.packet(Kind::Video, false, false, &[9; 50]);
    scenario.lose(Kind::Video);
    let next = scenario.frame(1, 100, false);
    assert_eq!(next.rtp[0].index, first + 3);
    let arrived = scenario.deliver(vec![late.clone()]);
    assert_eq!(arrived.rtp[0].index, first + 1);
    assert_eq!(arrived.rtp[0].payload, [9; 50]);
    assert!(scenario.deliver(vec![late]).is_empty(), "nothing twice");
}

#[test]
fn an_empty_payload_keeps_its_place() {
    let mut scenario = Scenario::new(vec![video()]);
    let first = scenario.frame(1, 100, true).rtp[0].index;
    let padding = scenario.packet(Kind::Video, false, false, &[]);
    let arrived = scenario.deliver(vec![padding]);
    assert_eq!((arrived.rtp[0].index, arrived.rtp[0].payload.len()), (first + 1, 0));
}

#[test]
fn the_mid_is_in_the_first_twenty_packets_of_each_ssrc() {
    let mut scenario = Scenario::new(vec![audio(), video()]);
    for n in 0..40 {
        let mut arrived = scenario.frame(1, 500, n == 0);
        arrived.rtp.extend(scenario.talk(60).rtp);
        let expected = (n < 20).then(|| (b"v".to_vec(), b"a".to_vec()));
        let mid = |at: usize| arrived.rtp[at].extensions.get(&MID).cloned();
        assert_eq!(mid(0).zip(mid(1)), expected, "packet {n}");
        scenario.pass(20 * MS);
    }
    let again = scenario.frame(1, 100, false).rtp[0].seq();
    for n in 0..30 {
        scenario.pass(60 * MS);
        let arrived = scenario.say(&nack(VIDEO_SSRC, &[again]));
        assert_eq!(arrived.rtp[0].extensions.contains_key(&MID), n < 20, "RTX packet {n}");
    }
}

#[test]
fn audio_level_and_orientation_are_copied_where_negotiated() {
    let both = Extensions { audio_level: Some(0x85), orientation: Some(0x03) };
    let mut scenario = Scenario::new(vec![audio(), video()]);
    let mut talk = scenario.packet(Kind::Audio, true, false, &[1; 60]);
    talk.packet.extensions = both;
    let mut picture = scenario.packet(Kind::Video, true, false, &[1; 60]);
    picture.packet.extensions = both;
    let arrived = scenario.deliver(vec![talk, picture]);
    assert_eq!(arrived.rtp[0].extensions, [(MID, b"a".to_vec()), (AUDIO_LEVEL, vec![0x85])].into());
    assert_eq!(arrived.rtp[1].extensions, [(MID, b"v".to_vec()), (ORIENTATION, vec![0x03])].into());

    let mut bare = video();
    bare.extensions = ExtensionIds::default();
    let mut scenario = Scenario::new(vec![bare]);
    let mut picture = scenario.packet(Kind::Video, true, false, &[1; 60]);
    picture.packet.extensions = both;
    assert!(scenario.deliver(vec![picture]).rtp[0].extensions.is_empty());
}

#[test]
fn extensions_never_lift_a_datagram_above_1200_bytes() {
    for profile in Profile::ALL {
        let mut scenario = Scenario::with(profile, vec![video()], 1);
        for size in 1140..1260 {
            let mut picture = scenario.packet(Kind::Video, true, false, &vec![1; size]);
            picture.packet.extensions.orientation = Some(1);
            let arrived = scenario.deliver(vec![picture]);
            let bare = 12 + size + profile.tag_len();
            let datagram = arrived.rtp[0].datagram;
            assert!(datagram <= 1200 || datagram == bare, "{datagram} bytes for a payload of {size}");
            // RTX has two bytes more.
            let arrived = scenario.say(&nack(VIDEO_SSRC, &[arrived.rtp[0].seq()]));
            let datagram = arrived.rtp[0].datagram;
            assert!(datagram <= 1200 || datagram == bare + 2, "{datagram} bytes for a resent payload of {size}");
            scenario.pass(1000 * MS);
        }
    }
}

#[test]
fn what_no_datagram_can_carry_is_dropped_and_counted() {
    let mut scenario = Scenario::new(vec![video()]);
    scenario.frame(1, 100, true);
    assert!(scenario.frame(1, 70_000, false).rtp.is_empty());
    assert_eq!(scenario.frame(1, 100, false).rtp.len(), 1);
    assert_eq!(scenario.egress.stats().counters.unsealed, 1);
}

#[test]
fn sequence_numbers_wrap_twice_and_the_roll_over_counter_follows() {
    for profile in Profile::ALL {
        let mut scenario = Scenario::with(profile, vec![video()], 11);
        let mut expected = None;
        for n in 0..1400 {
            let arrived = scenario.frame(100, 20, n == 0);
            for packet in &arrived.rtp {
                assert_eq!(packet.index, expected.unwrap_or(packet.index), "{profile:?}");
                expected = Some(packet.index + 1);
            }
        }
        assert!(expected.expect("packets arrived") > 2 << 16);
    }
}

#[test]
fn two_viewers_have_numbers_of_their_own() {
    let mut one = Scenario::with(Profile::Aes128Gcm, vec![video()], 1);
    let mut two = Scenario::with(Profile::Aes128Gcm, vec![video()], 2);
    let (one, two) = (one.frame(1, 50, true), two.frame(1, 50, true));
    assert_ne!(one.rtp[0].index, two.rtp[0].index);
    assert_ne!(one.rtp[0].time, two.rtp[0].time);
}

#[test]
fn a_change_of_format_keeps_ssrc_and_numbers_and_old_packets_are_repaired_in_their_own() {
    for (config, rtx) in [(video(), true), (video_without_rtx(), false)] {
        let before = format(&config);
        let after = Format { codec: Codec::Av1, pt: 45, rtx_pt: before.rtx_pt.map(|_| 46), nack: true };
        let mut scenario = Scenario::new(vec![config]);
        let old = scenario.frame(2, 100, true).rtp;
        scenario.pass(33 * MS);
        scenario.egress.send_as(Kind::Video, after).expect("lawful numbers");
        let late = scenario.frame(2, 100, false).rtp;
        assert!(late.is_empty(), "still in the old codec: nobody could decode it");
        let packets = (0..2).map(|n| scenario.packet(Kind::Video, n == 0, n == 1, b"av1")).collect::<Vec<_>>();
        let packets = packets.into_iter().map(|packet| Forwarded { codec: Codec::Av1, ..packet }).collect();
        let new = scenario.deliver(packets).rtp;
        let seen: Vec<_> = old.iter().chain(&new).map(|packet| (packet.ssrc, packet.pt)).collect();
        assert_eq!(seen, [(VIDEO_SSRC, VIDEO_PT), (VIDEO_SSRC, VIDEO_PT), (VIDEO_SSRC, 45), (VIDEO_SSRC, 45)]);
        let numbers: Vec<_> = old.iter().chain(&new).map(|packet| packet.index).collect();
        assert_eq!(numbers, (numbers[0]..numbers[0] + 4).collect::<Vec<_>>(), "no gap where packets were left out");
        scenario.pass(100 * MS);
        let lost = [old[1].seq(), new[0].seq()];
        let (_, again) = scenario.feedback(&nack(VIDEO_SSRC, &lost));
        if rtx {
            let pts: Vec<_> = again.of(RTX_SSRC).iter().map(|packet| packet.pt).collect();
            assert_eq!(pts, [RTX_PT, 46]);
        } else {
            assert_eq!(again.repeated.len(), 2, "the very same bytes");
        }
    }
}

#[test]
fn before_there_is_a_format_nothing_goes_out() {
    let mut scenario = Scenario::without_formats(vec![audio(), video()]);
    assert!(scenario.frame(2, 100, true).is_empty());
    assert!(scenario.egress.deadline().is_none(), "no reports either");
    scenario.egress.send_as(Kind::Video, format(&video())).expect("lawful numbers");
    assert!(scenario.frame(2, 100, false).is_empty(), "not without a start");
    assert_eq!(scenario.frame(2, 100, true).of(VIDEO_SSRC).len(), 2);
}
