//! Bytes of strangers: whatever arrives as RTCP, nothing panics, nothing grows, nothing leaks into other SSRCs.

use whipstitch_webrtc::egress::Profile;

use crate::kit::*;

/// Compounds as browsers, GStreamer and libwebrtc send them, to be mutated.
fn seeds(seq: u16) -> Vec<Vec<u8>> {
    vec![
        [
            rtcp(0x81, 201, &[VIEWER_SSRC, VIDEO_SSRC, 0x0100_0001, 70_000, 90, EPOCH.middle(), 6553]),
            rtcp(0x81, 202, &[VIEWER_SSRC, 0x0108_6162, 0x6364_6566, 0x6768_0000]),
        ]
        .concat(),
        [rtcp(0x80, 201, &[VIEWER_SSRC]), nack(VIDEO_SSRC, &[seq, seq.wrapping_add(3)])].concat(),
        pli(VIDEO_SSRC),
        fir(VIEWER_SSRC, VIDEO_SSRC, 1),
        rtcp(0x8f, 206, &[VIEWER_SSRC, 0, 0x5245_4d42, 0x0117_ffff, VIDEO_SSRC]),
        rtcp(0x81, 200, &[VIEWER_SSRC, 1, 2, 3, 4, 5, VIDEO_SSRC, 0, 0, 0, 0, 0]),
        [rtcp(0x80, 207, &[VIEWER_SSRC, 0x0400_0002, 1, 2]), rtcp(0x81, 203, &[VIEWER_SSRC])].concat(),
        rtcp(0xa1, 205, &[VIEWER_SSRC, VIDEO_SSRC, u32::from(seq) << 16 | 0xffff, 4]),
        rtcp(0x80, 204, &[VIEWER_SSRC, 0x4142_4344, 9]),
    ]
}

fn mutate(dice: &mut Dice, bytes: &mut Vec<u8>, other: &[u8]) {
    for _ in 0..1 + dice.roll(4) {
        let at = dice.roll(bytes.len().max(1) as u64) as usize;
        match dice.roll(7) {
            0 => bytes.truncate(at),
            1 => bytes.extend_from_slice(&other[..at.min(other.len())]),
            2 => bytes.extend(vec![dice.roll(256) as u8; dice.roll(20) as usize]),
            3 => bytes.extend_from_slice(other),
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = [0, 1, 0x7f, 0x80, 0xff, *byte ^ 1, dice.roll(256) as u8][dice.roll(7) as usize];
                }
            }
        }
    }
}

#[test]
fn mutated_compounds_of_an_authentic_viewer_are_answered_within_bounds_or_rejected() {
    let mut accepted = 0;
    for (profile, config) in [(Profile::Aes128Gcm, video()), (Profile::Aes128CmSha1_80, video_without_rtx())] {
        let mut scenario = Scenario::with(profile, vec![audio(), config], 4);
        let mut dice = Dice(99);
        for round in 0..40_000 {
            if round % 50 == 0 {
                scenario.frame(3, 200, round == 0);
                scenario.talk(30);
                scenario.pass(20 * MS);
            }
            let recent = &scenario.sent[scenario.sent.len().saturating_sub(50)];
            let seeds = seeds(u16::from_be_bytes([recent[2], recent[3]]));
            let mut compound = seeds[dice.roll(seeds.len() as u64) as usize].clone();
            let other = &seeds[dice.roll(seeds.len() as u64) as usize];
            mutate(&mut dice, &mut compound, other);
            if compound.len() < 8 {
                continue;
            }
            let (result, answer) = scenario.feedback(&compound);
            accepted += usize::from(result.is_ok());
            assert!(answer.rtp.len() + answer.repeated.len() <= 60, "more than the budget");
            assert!(result.is_ok() || answer.is_empty());
        }
    }
    assert!((10_000..70_000).contains(&accepted), "{accepted}: the mutations are too mild or too wild");
}

#[test]
fn any_bytes_at_all_are_rejected() {
    let mut dice = Dice(5);
    for profile in Profile::ALL {
        let mut scenario = Scenario::with(profile, vec![audio(), video()], 4);
        scenario.frame(3, 200, true);
        for _ in 0..20_000 {
            let mut bytes = vec![0; dice.roll(80) as usize];
            dice.fill(&mut bytes);
            if dice.roll(2) == 0 && bytes.len() > 1 {
                bytes[..2].copy_from_slice(&[0x81, 200 + dice.roll(8) as u8]);
            }
            let (result, answer) = scenario.raw_feedback(&mut bytes);
            assert!(result.is_err() && answer.is_empty());
        }
    }
}

#[test]
fn the_fuzz_target_holds_over_mutated_compounds() {
    let mut dice = Dice(31);
    let mut accepted = 0;
    for _ in 0..5_000 {
        let seeds = seeds(dice.roll(16) as u16);
        let mut compound = seeds[dice.roll(seeds.len() as u64) as usize].clone();
        // The target's SSRCs.
        for word in compound.chunks_exact_mut(4) {
            if word == VIDEO_SSRC.to_be_bytes() {
                word.copy_from_slice(&[0, 0, 0, 1 + dice.roll(3) as u8]);
            }
        }
        let other = seeds[dice.roll(seeds.len() as u64) as usize].clone();
        mutate(&mut dice, &mut compound, &other);
        compound.insert(0, dice.roll(12) as u8);
        accepted += usize::from(whipstitch_webrtc::egress::exercise::rtcp(&compound));
    }
    assert!(accepted > 500, "{accepted}");
}
