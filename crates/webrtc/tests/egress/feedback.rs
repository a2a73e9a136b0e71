//! Keyframe requests, REMB, BYE; what is refused and what is only skipped.

use whipstitch_stream::stats::Counters;
use whipstitch_webrtc::egress::srtp::OpenError;
use whipstitch_webrtc::egress::{EgressStats, Feedback, Malformed, Profile, Rejected};

use crate::kit::*;

const KEYFRAME: Result<Feedback, Rejected> = Ok(Feedback { keyframe: true, bye: false });
const NOTHING: Result<Feedback, Rejected> = Ok(Feedback { keyframe: false, bye: false });

fn scenario() -> Scenario {
    let mut scenario = Scenario::new(vec![audio(), video()]);
    scenario.frame(5, 100, true);
    scenario
}

#[test]
fn a_pli_for_our_video_asks_for_a_keyframe() {
    let mut scenario = scenario();
    assert_eq!(scenario.feedback(&pli(VIDEO_SSRC)).0, KEYFRAME);
    for ssrc in [AUDIO_SSRC, RTX_SSRC, VIEWER_SSRC, 0] {
        assert_eq!(scenario.feedback(&pli(ssrc)).0, NOTHING, "SSRC {ssrc:#x}");
    }
    assert_eq!(scenario.egress.stats().counters.plis, 1);
}

#[test]
fn a_fir_counts_once_for_each_number_of_its_sender() {
    let mut scenario = scenario();
    for (sender, media, number, expected) in [
        (1, VIDEO_SSRC, 5, KEYFRAME),
        (1, VIDEO_SSRC, 5, NOTHING),
        (1, VIDEO_SSRC, 5, NOTHING),
        (2, VIDEO_SSRC, 5, KEYFRAME),
        (1, VIDEO_SSRC, 6, KEYFRAME),
        (1, VIDEO_SSRC, 5, KEYFRAME),
        (1, AUDIO_SSRC, 7, NOTHING),
        (1, VIDEO_SSRC, 5, NOTHING),
        (1, 99, 8, NOTHING),
        (2, VIDEO_SSRC, 5, NOTHING),
        (2, VIDEO_SSRC, 0, KEYFRAME),
    ] {
        // The sender of the first packet is the SRTCP sender; the FIR has one of its own.
        let compound = [rtcp(0x80, 201, &[VIEWER_SSRC]), fir(sender, media, number)].concat();
        assert_eq!(scenario.feedback(&compound).0, expected, "{sender} {media:#x} {number}");
    }
    assert_eq!(scenario.egress.stats().counters.firs, 5);
}

#[test]
fn a_compound_of_everything_is_understood() {
    let mut scenario = scenario();
    let seq = u16::from_be_bytes([scenario.sent[2][2], scenario.sent[2][3]]);
    let compound = [
        rtcp(0x80, 201, &[VIEWER_SSRC]),
        rtcp(0x81, 202, &[VIEWER_SSRC, 0x0102_6162, 0]),
        rtcp(0x80, 207, &[VIEWER_SSRC, 0x0400_0002, 1, 2]),
        rtcp(0x80, 204, &[VIEWER_SSRC, 0x4142_4344]),
        rtcp(0x80, 250, &[1, 2, 3]),
        rtcp(0x8f, 206, &[VIEWER_SSRC, 0, 0x5245_4d42, 0x0106_0000 | 0x24_9f0, VIDEO_SSRC]),
        nack(VIDEO_SSRC, &[seq]),
        pli(VIDEO_SSRC),
        rtcp(0x81, 203, &[VIEWER_SSRC]),
    ]
    .concat();
    let (result, answer) = scenario.feedback(&compound);
    assert_eq!(result, Ok(Feedback { keyframe: true, bye: true }));
    assert_eq!(answer.rtp.len(), 1);
    assert_eq!(scenario.egress.stats().estimate, Some(300_000));
}

#[test]
fn a_single_packet_without_a_report_is_accepted() {
    let mut scenario = scenario();
    assert_eq!(scenario.feedback(&pli(VIDEO_SSRC)).0, KEYFRAME);
    assert_eq!(scenario.feedback(&rtcp(0x80, 250, &[1])).0, NOTHING);
}

#[test]
fn any_sender_may_speak() {
    let mut scenario = scenario();
    for sender in [0, 1, VIDEO_SSRC, 0xffff_ffff] {
        let compound = [rtcp(0x80, 201, &[VIEWER_SSRC]), rtcp(0x81, 206, &[sender, VIDEO_SSRC])].concat();
        assert_eq!(scenario.feedback(&compound).0, KEYFRAME, "sender {sender:#x}");
    }
}

#[test]
fn a_replayed_datagram_has_no_effect() {
    for profile in Profile::ALL {
        let mut scenario = Scenario::with(profile, vec![video()], 1);
        let sent = scenario.frame(5, 100, true);
        let datagram = scenario.protect(&[nack(VIDEO_SSRC, &[sent.rtp[2].seq()]), pli(VIDEO_SSRC)].concat());
        let (result, answer) = scenario.raw_feedback(&mut datagram.clone());
        assert_eq!((result, answer.rtp.len()), (KEYFRAME, 1));
        scenario.pass(400 * MS);
        let (result, answer) = scenario.raw_feedback(&mut datagram.clone());
        assert_eq!(result, Err(Rejected::Protection(OpenError::Replayed)));
        assert!(answer.is_empty());
        assert_eq!(scenario.egress.stats().counters.rejected, 1);
    }
}

#[test]
fn what_is_not_authentic_changes_nothing() {
    for profile in Profile::ALL {
        let mut scenario = Scenario::with(profile, vec![video()], 1);
        let sent = scenario.frame(5, 100, true);
        let mut compound = rtcp(0x81, 201, &[VIEWER_SSRC, VIDEO_SSRC, 99 << 24, 0, 9, EPOCH.middle(), 0]);
        compound.extend([nack(VIDEO_SSRC, &[sent.rtp[2].seq()]), pli(VIDEO_SSRC), fir(1, VIDEO_SSRC, 3)].concat());
        let datagram = scenario.protect(&compound);
        let before = scenario.egress.stats();
        for bit in 0..datagram.len() * 8 {
            let mut forged = datagram.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            let (result, answer) = scenario.raw_feedback(&mut forged);
            assert!(matches!(result, Err(Rejected::Protection(_))), "bit {bit}: {result:?}");
            assert!(answer.is_empty());
        }
        let after = scenario.egress.stats();
        assert_eq!(after.counters.rejected, datagram.len() as u64 * 8);
        let counters = Counters { rejected: 0, ..after.counters };
        assert_eq!(EgressStats { counters, ..after }, before);
        // And the true one still counts.
        assert_eq!(scenario.raw_feedback(&mut datagram.clone()).0, KEYFRAME);
    }
}

#[test]
fn the_gateways_own_datagrams_are_not_the_viewers() {
    let mut scenario = scenario();
    for mut datagram in scenario.sent.clone() {
        assert!(scenario.raw_feedback(&mut datagram).0.is_err());
    }
}

#[test]
fn a_malformed_compound_has_no_effect_in_any_part() {
    let mut scenario = scenario();
    let seq = u16::from_be_bytes([scenario.sent[2][2], scenario.sent[2][3]]);
    let before = scenario.egress.stats();
    for broken in [
        vec![0x80, 201, 0, 9, 0, 0, 0, 1],
        vec![0, 0, 0, 0],
        rtcp(0x82, 201, &[VIEWER_SSRC, 7, 0, 0, 0, 0, 0]),
        rtcp(0xa0, 201, &[VIEWER_SSRC, 0]),
    ] {
        let compound = [pli(VIDEO_SSRC), nack(VIDEO_SSRC, &[seq]), fir(1, VIDEO_SSRC, 3), broken.clone()].concat();
        let (result, answer) = scenario.feedback(&compound);
        assert_eq!(result, Err(Rejected::Malformed(Malformed)), "{broken:02x?}");
        assert!(answer.is_empty());
    }
    let counters = Counters { rejected: 4, ..before.counters };
    assert_eq!(EgressStats { counters, ..before }, scenario.egress.stats());
}
