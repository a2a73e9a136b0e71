//! The rules that keep AES-GCM whole: one writer per key and SSRC, each index once, the same bytes if ever again.

use std::collections::HashMap;
use std::time::Instant;

use whipstitch_media::Kind;
use whipstitch_webrtc::egress::{ConfigError, Egress, Format, Profile, TrackConfig};

use crate::kit::*;

fn egress(tracks: Vec<TrackConfig>, cname: &str) -> Result<(), ConfigError> {
    let keys = gateway_keys(Profile::Aes128Gcm);
    Egress::new(Instant::now(), keys, cname.to_owned(), tracks, |bytes| bytes.fill(1)).map(drop)
}

#[test]
fn no_two_writers_share_an_ssrc() {
    let with = |audio_ssrc, audio_rtx, video_ssrc, video_rtx| {
        let audio = TrackConfig { ssrc: audio_ssrc, rtx_ssrc: audio_rtx, ..audio() };
        vec![audio, TrackConfig { ssrc: video_ssrc, rtx_ssrc: video_rtx, ..video() }]
    };
    for (tracks, expected) in [
        (with(1, None, 2, Some(3)), Ok(())),
        (with(1, Some(4), 2, Some(3)), Ok(())),
        (with(1, None, 1, Some(3)), Err(ConfigError::SsrcTaken(1))),
        (with(1, None, 2, Some(2)), Err(ConfigError::SsrcTaken(2))),
        (with(1, None, 2, Some(1)), Err(ConfigError::SsrcTaken(1))),
        (with(1, Some(2), 2, None), Err(ConfigError::SsrcTaken(2))),
        (with(1, Some(3), 2, Some(3)), Err(ConfigError::SsrcTaken(3))),
    ] {
        assert_eq!(egress(tracks, CNAME), expected);
    }
}

#[test]
fn unlawful_configurations_are_refused() {
    assert_eq!(
        egress(vec![video(), TrackConfig { ssrc: 5, ..video() }], CNAME),
        Err(ConfigError::SameKind(Kind::Video))
    );
    let mut scenario = Scenario::new(vec![video()]);
    let lawful = format(&video());
    let mut send_as = |format| scenario.egress.send_as(Kind::Video, format);
    assert_eq!(send_as(Format { pt: 128, ..lawful }), Err(ConfigError::PayloadType(128)));
    assert_eq!(send_as(Format { rtx_pt: Some(200), ..lawful }), Err(ConfigError::PayloadType(200)));
    assert_eq!(egress(vec![audio()], ""), Err(ConfigError::Cname(0)));
    assert_eq!(egress(vec![audio()], &"c".repeat(256)), Err(ConfigError::Cname(256)));
    assert_eq!(egress(vec![audio()], &"c".repeat(255)), Ok(()));
}

#[test]
fn numbers_begin_below_32768_whatever_the_dice_say() {
    for fill in [0x00, 0x7f, 0x80, 0xff] {
        let mut scenario = Scenario::with_random(Profile::Aes128Gcm, vec![video()], |bytes| bytes.fill(fill));
        let first = scenario.frame(1, 100, true).rtp[0].seq();
        assert!(first < 1 << 15, "{first}");
        let answer = scenario.say(&nack(VIDEO_SSRC, &[first]));
        assert!(answer.rtp[0].seq() < 1 << 15);
    }
}

/// The nonce of a datagram: SSRC and 48-bit index for RTP, by the viewer's count; SSRC and 31-bit index for RTCP.
fn check_nonces(scenario: &mut Scenario, profile: Profile) -> (usize, usize) {
    let mut seen: HashMap<(bool, u32, u64), &[u8]> = HashMap::new();
    let mut newest: HashMap<u32, u64> = HashMap::new();
    let (mut repeats, mut reports) = (0, Vec::new());
    for datagram in &scenario.sent {
        let word = |at: usize| u32::from_be_bytes(datagram[at..at + 4].try_into().expect("4 bytes"));
        let key = if (192..=223).contains(&datagram[1]) {
            let end = if profile == Profile::Aes128CmSha1_80 { datagram.len() - 10 } else { datagram.len() };
            assert!(word(end - 4) >> 31 == 1, "encrypted");
            reports.push((word(4), word(end - 4)));
            (true, word(4), u64::from(word(end - 4)))
        } else {
            let (ssrc, seq) = (word(8), u16::from_be_bytes([datagram[2], datagram[3]]));
            let newest = newest.entry(ssrc).or_insert(seq.into());
            let index = newest.wrapping_add_signed((seq.wrapping_sub(*newest as u16) as i16).into());
            *newest = index.max(*newest);
            (false, ssrc, index)
        };
        if let Some(before) = seen.insert(key, datagram) {
            assert_eq!(before, datagram, "one nonce, two packets");
            repeats += 1;
        }
    }
    let mut last: HashMap<u32, u32> = HashMap::new();
    for (ssrc, index) in &reports {
        assert!(last.insert(*ssrc, *index).is_none_or(|last| last < *index), "the SRTCP index only goes up");
    }
    (repeats, reports.len())
}

/// Losses, repeats, late packets, NACKs of everything, drops to a start, for a minute: no nonce is ever used for two
/// different packets.
#[test]
fn no_nonce_is_used_for_two_packets_whatever_happens() {
    for profile in Profile::ALL {
        for (config, seed) in [(video(), 21), (video_without_rtx(), 22), (video_without_rtx(), 23)] {
            let without_rtx = config.rtx_ssrc.is_none();
            let mut scenario = Scenario::with(profile, vec![audio(), config], seed);
            let mut dice = Dice(seed);
            let mut kept = Vec::new();
            let mut recent = vec![0u16];
            for step in 0..3000 {
                let mut burst = vec![scenario.packet(Kind::Audio, true, false, &[step as u8; 40])];
                for n in 0..1 + dice.roll(4) {
                    let size = dice.roll(1300) as usize;
                    burst.push(scenario.packet(Kind::Video, step % 40 == 0 && n == 0, false, &vec![step as u8; size]));
                }
                // Some come late, some twice, some never.
                let mut now = Vec::new();
                for packet in burst {
                    match dice.roll(20) {
                        0 => {}
                        1 | 2 => kept.push(packet),
                        3 => now.extend([packet.clone(), packet]),
                        _ => now.push(packet),
                    }
                }
                if !kept.is_empty() && dice.roll(3) == 0 {
                    let at = dice.roll(kept.len() as u64) as usize;
                    now.push(kept.swap_remove(at));
                }
                let arrived = scenario.deliver(now);
                recent.extend(arrived.rtp.iter().map(|packet| packet.seq()));
                recent.drain(..recent.len().saturating_sub(60));
                if dice.roll(50) == 0 {
                    scenario.egress.hold();
                }
                let asked: Vec<u16> = (0..5).map(|_| recent[dice.roll(recent.len() as u64) as usize]).collect();
                scenario.say(&[nack(VIDEO_SSRC, &asked), nack(AUDIO_SSRC, &asked)].concat());
                scenario.pass(20 * MS);
            }
            scenario.egress.close(scenario.now, path(), &mut scenario.batch);
            scenario.take();
            let (repeats, reports) = check_nonces(&mut scenario, profile);
            assert!(repeats > 20, "audio has no RTX: {repeats} resends were to be compared");
            assert!(!without_rtx || repeats > 500, "{repeats} resends were to be compared");
            assert!(reports > 100, "{reports} reports were to be compared");
        }
    }
}

/// The hub numbers packets, a subscription lets each pass once; yet the last word is the sealer's.
#[test]
fn a_packet_more_than_the_window_late_is_not_sealed() {
    let mut scenario = Scenario::new(vec![video()]);
    scenario.frame(1, 100, true);
    let late: Vec<_> = (0..3).map(|n| scenario.packet(Kind::Video, false, false, &[n; 50])).collect();
    // The subscription takes what is 2047 late, what seals 1023. The last of the three is 1023 late, the others more.
    for _ in 0..1023 {
        scenario.frame(1, 50, false);
    }
    let arrived = scenario.deliver(late);
    assert_eq!(arrived.rtp.len(), 1);
    assert_eq!(arrived.rtp[0].payload, [2; 50]);
    assert_eq!(scenario.egress.stats().counters.unsealed, 2);
}
