use super::super::{Sealers, WINDOW};
use super::*;
use crate::egress::{Keys, Profile};

/// A writer and its reader.
fn pair(profile: Profile) -> (Sealers, Opener) {
    let material: Vec<u8> = (0..profile.material_len()).map(|byte| (3 * byte) as u8).collect();
    let (sealers, _) = Keys::split(profile, &material, true).expect("the right length").into_contexts();
    let (_, opener) = Keys::split(profile, &material, false).expect("the right length").into_contexts();
    (sealers, opener)
}

fn packet() -> Vec<u8> {
    [&[0x80, 96, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0][..], &[6; 40], &[0; 16]].concat()
}

fn compound(sender: u32) -> Vec<u8> {
    [&[0x80, 201, 0, 1][..], &sender.to_be_bytes(), &[0; 20]].concat()
}

#[test]
fn a_packet_is_accepted_once_in_any_order_within_the_window() {
    for profile in Profile::ALL {
        let (mut sealers, mut opener) = pair(profile);
        let mut sealer = sealers.sealer(5, 32767, 0).expect("the first of its SSRC");
        // Over two wraps of the sequence number, every 40 packets one 900 late.
        let mut kept: Vec<(u64, Vec<u8>)> = Vec::new();
        let mut opened = 0;
        for index in 32767..32767 + 140_000u64 {
            let mut packet = packet();
            let len = sealer.seal(index, &mut packet, 12, 52).expect("each once");
            packet.truncate(len);
            if index % 40 == 0 {
                kept.push((index, packet));
            } else {
                assert_eq!(opener.open(&mut packet).map(|opened| opened.index), Ok(index), "{profile:?}");
                opened += 1;
            }
            if kept.first().is_some_and(|(late, _)| index - late >= 900) {
                let (late, mut packet) = kept.remove(0);
                let mut replay = packet.clone();
                assert_eq!(opener.open(&mut packet).map(|opened| opened.index), Ok(late), "{profile:?}");
                assert_eq!(opener.open(&mut replay), Err(OpenError::Replayed), "{profile:?}");
                opened += 1;
            }
        }
        assert!(opened > 139_900, "{opened}");
    }
}

#[test]
fn beyond_the_window_nothing_is_accepted() {
    let (mut sealers, mut opener) = pair(Profile::Aes128Gcm);
    let mut sealer = sealers.sealer(5, 0, 0).expect("the first of its SSRC");
    let mut sealed = |index| {
        let mut packet = packet();
        let len = sealer.seal(index, &mut packet, 12, 52).expect("each once");
        packet.truncate(len);
        packet
    };
    let (mut first, mut second) = (sealed(10), sealed(11));
    opener.open(&mut sealed(10 + WINDOW)).expect("new");
    assert_eq!(opener.open(&mut first), Err(OpenError::TooOld));
    assert!(opener.open(&mut second).is_ok());
}

#[test]
fn a_forged_packet_leaves_no_trace() {
    for profile in Profile::ALL {
        let (mut sealers, mut opener) = pair(profile);
        let mut sealer = sealers.sealer(5, 0, 0).expect("the first of its SSRC");
        let mut packet = packet();
        let len = sealer.seal(100, &mut packet, 12, 52).expect("once");

        for ssrc in 100..200u32 {
            let mut forged = packet[..len].to_vec();
            forged[8..12].copy_from_slice(&ssrc.to_be_bytes());
            assert_eq!(opener.open(&mut forged), Err(OpenError::NotAuthentic));
            let mut forged = [&compound(ssrc)[..], &[0x80, 0, 0, 1]].concat();
            assert_eq!(opener.open_rtcp(&mut forged), Err(OpenError::NotAuthentic));
        }
        assert!(opener.rtp_sources.0.is_empty() && opener.rtcp_sources.0.is_empty());

        // A forged number far ahead must not shift the window.
        let mut forged = packet[..len].to_vec();
        forged[2..4].copy_from_slice(&[0x70, 0]);
        assert_eq!(opener.open(&mut forged), Err(OpenError::NotAuthentic));
        assert!(opener.open(&mut packet[..len]).is_ok());
    }
}

#[test]
fn a_compound_is_accepted_once() {
    for profile in Profile::ALL {
        let (mut sealers, mut opener) = pair(profile);
        let mut sealer = sealers.sealer(5, 0, 0).expect("the first of its SSRC");
        let sealed: Vec<_> = (0..3)
            .map(|_| {
                let mut packet = compound(5);
                let len = sealer.seal_rtcp(&mut packet, 8).expect("there is room");
                packet.truncate(len);
                packet
            })
            .collect();
        for (at, expected) in
            [(0, Ok(8)), (0, Err(OpenError::Replayed)), (2, Ok(8)), (1, Ok(8)), (1, Err(OpenError::Replayed))]
        {
            assert_eq!(opener.open_rtcp(&mut sealed[at].clone()), expected, "{profile:?}, packet {at}");
        }
    }
}

#[test]
fn the_number_of_sources_is_bounded() {
    let (mut sealers, mut opener) = pair(Profile::Aes128Gcm);
    for ssrc in 0..40 {
        let mut sealer = sealers.sealer(ssrc, 0, 0).expect("the first of its SSRC");
        let expected = if ssrc < 32 { Ok(8) } else { Err(OpenError::TooManySources) };
        let mut rtcp = compound(ssrc);
        let len = sealer.seal_rtcp(&mut rtcp, 8).expect("there is room");
        assert_eq!(opener.open_rtcp(&mut rtcp[..len]), expected);
        let mut rtp = packet();
        let len = sealer.seal(1, &mut rtp, 12, 52).expect("there is room");
        assert_eq!(opener.open(&mut rtp[..len]).map(|_| 8), expected);
    }
}

#[test]
fn stumps_and_other_versions_are_malformed() {
    for profile in Profile::ALL {
        let (_, mut opener) = pair(profile);
        for len in 0..64 {
            for first in [0x00, 0x40, 0x80, 0x8f, 0x9f, 0xbf, 0xff] {
                let mut bytes = vec![first; len];
                assert!(opener.open(&mut bytes.clone()).is_err());
                assert!(opener.open_rtcp(&mut bytes).is_err());
            }
        }
    }
}

#[test]
fn csrcs_and_extensions_belong_to_the_header() {
    let with = |first: u8, extension_words: u8| {
        let mut packet = vec![first, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 5];
        packet.extend(vec![9; 4 * usize::from(first & 15)]);
        packet.extend([0xbe, 0xde, 0, extension_words]);
        packet.extend([7; 30]);
        packet
    };
    for (first, words, expected) in [
        (0x80, 0, Some(12)),
        (0x83, 0, Some(24)),
        (0x90, 2, Some(24)),
        (0x91, 1, Some(24)),
        (0x90, 20, None),
        (0x40, 0, None),
    ] {
        assert_eq!(header_len(&with(first, words)), expected, "{first:#x} {words}");
    }
}
