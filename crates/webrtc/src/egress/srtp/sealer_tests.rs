use super::super::Opener;
use super::*;
use crate::egress::{Keys, Profile};

fn contexts(profile: Profile) -> (Sealers, Opener) {
    let material: Vec<u8> = (0..profile.material_len()).map(|byte| byte as u8).collect();
    let (sealers, _) = Keys::split(profile, &material, false).expect("the right length").into_contexts();
    let (_, opener) = Keys::split(profile, &material, true).expect("the right length").into_contexts();
    (sealers, opener)
}

fn sealer(first: u64, resends: usize) -> Sealer {
    contexts(Profile::Aes128Gcm).0.sealer(7, first, resends).expect("the first of its SSRC")
}

/// A packet with `fill` as payload, and room for any tag.
fn packet(fill: u8) -> Vec<u8> {
    [&[0x80, 96, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0][..], &[fill; 100], &[0; 16]].concat()
}

fn seal(sealer: &mut Sealer, index: u64) -> Result<Vec<u8>, SealError> {
    let mut packet = packet(1);
    let len = sealer.seal(index, &mut packet, 12, 112)?;
    packet.truncate(len);
    Ok(packet)
}

#[test]
fn an_ssrc_has_one_writer() {
    let (mut sealers, _) = contexts(Profile::Aes128Gcm);
    let first = sealers.sealer(7, 0, 0);
    assert!(first.is_ok());
    assert!(matches!(sealers.sealer(7, 0, 0), Err(NoSealer::Taken(7))));
    // Not even once the first one is gone: its record is gone with it.
    drop(first);
    assert!(matches!(sealers.sealer(7, 100, 0), Err(NoSealer::Taken(7))));
    assert!(sealers.sealer(8, 0, 0).is_ok());
}

#[test]
fn the_first_sequence_number_lies_below_32768() {
    let (mut sealers, _) = contexts(Profile::Aes128Gcm);
    assert!(matches!(sealers.sealer(1, 32768, 0), Err(NoSealer::First(32768))));
    assert!(matches!(sealers.sealer(1, 65536, 0), Err(NoSealer::First(65536))));
    assert!(sealers.sealer(1, 32767, 0).is_ok());
}

#[test]
fn each_index_is_sealed_once_late_ones_within_the_window() {
    let mut sealer = sealer(1000, 0);
    for (index, expected) in [
        (1000, Ok(())),
        (1000, Err(SealError::Repeated)),
        (1005, Ok(())),
        (1003, Ok(())),
        (1003, Err(SealError::Repeated)),
        (1005, Err(SealError::Repeated)),
        (999, Err(SealError::BeforeFirst)),
        (1001 + WINDOW, Ok(())),
        (1001, Err(SealError::TooOld)),
        (1002, Ok(())),
        (1002, Err(SealError::Repeated)),
        (INDEX_LIMIT, Err(SealError::Exhausted)),
        (INDEX_LIMIT - 1, Ok(())),
    ] {
        assert_eq!(seal(&mut sealer, index).map(drop), expected, "index {index}");
    }
}

#[test]
fn an_index_whose_sealing_failed_is_used_up() {
    let mut sealer = sealer(0, 0);
    let mut short = packet(1);
    short.truncate(120);
    assert_eq!(sealer.seal(5, &mut short, 12, 112), Err(SealError::NoRoom));
    assert_eq!(seal(&mut sealer, 5), Err(SealError::Repeated));
}

#[test]
fn header_and_nonce_cannot_disagree() {
    for profile in Profile::ALL {
        let (mut sealers, mut opener) = contexts(profile);
        let mut sealer = sealers.sealer(0xdead_beef, 0, 0).expect("the first of its SSRC");
        // What the caller left in the header does not matter.
        let mut packet = [&[0x80, 96, 0xff, 0xff, 0, 0, 0, 9, 1, 2, 3, 4][..], &[5; 50], &[0; 16]].concat();
        let len = sealer.seal(0x1234, &mut packet, 12, 62).expect("there is room");
        assert_eq!(packet[2..4], [0x12, 0x34]);
        assert_eq!(packet[8..12], [0xde, 0xad, 0xbe, 0xef]);
        assert_eq!(opener.open(&mut packet[..len]).map(|opened| opened.index), Ok(0x1234));
    }
}

#[test]
fn a_payload_from_elsewhere_is_sealed_as_in_place_and_once() {
    for profile in Profile::ALL {
        for payload in [0, 1, 80, 1150] {
            let mut sealers = [(); 2].map(|()| contexts(profile).0.sealer(7, 0, 64).expect("the first of its SSRC"));
            let [in_place, elsewhere] = &mut sealers;
            let header = [0x80, 96, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0];
            let payload: Vec<u8> = (0..payload).map(|byte: u32| byte as u8).collect();
            let mut expected = [&header[..], &payload, &[0; 16]].concat();
            let len = in_place.seal(3, &mut expected, 12, 12 + payload.len()).expect("there is room");
            let mut packet = [&header[..], &vec![0xee; payload.len() + 16]].concat();
            assert_eq!(elsewhere.seal_from(3, &mut packet, 12, &payload), Ok(len), "{profile:?}");
            assert_eq!(packet[..len], expected[..len], "{profile:?}");
            assert_eq!(elsewhere.seal_from(3, &mut packet, 12, &payload), Err(SealError::Repeated));
            // A resend is made in place, and is compared with what was sent.
            let mut again = [&header[..], &payload, &[0; 16]].concat();
            assert_eq!(elsewhere.seal_again(3, &mut again, 12, 12 + payload.len()), Ok(len), "{profile:?}");
            assert_eq!(elsewhere.seal_from(4, &mut packet[..20], 12, &[0; 9]), Err(SealError::NoRoom));
        }
    }
}

#[test]
fn sealed_again_is_byte_for_byte_what_was_sent_or_nothing() {
    for profile in Profile::ALL {
        let mut sealer = contexts(profile).0.sealer(7, 0, 1024).expect("the first of its SSRC");
        let sent: Vec<_> = (0..20).map(|index| seal(&mut sealer, index).expect("each once")).collect();

        let mut again = packet(1);
        let len = sealer.seal_again(10, &mut again, 12, 112).expect("nothing changed");
        assert_eq!(again[..len], sent[10]);

        for (what, change) in [("payload", 60), ("marker", 1), ("time", 7), ("last byte", 111)] {
            let mut again = packet(1);
            again[change] ^= 1;
            assert_eq!(sealer.seal_again(10, &mut again, 12, 112), Err(SealError::Different), "{what}");
            // Two ciphertexts under one nonce must not both exist, not even in a buffer.
            assert!(again[..112 + profile.tag_len()].iter().all(|byte| *byte == 0), "{what}");
        }
        let mut shorter = packet(1);
        assert_eq!(sealer.seal_again(10, &mut shorter, 12, 111), Err(SealError::Different));
    }
}

#[test]
fn what_was_never_sealed_or_too_long_ago_is_not_sealed_again() {
    let mut sealer = sealer(0, 1024);
    seal(&mut sealer, 100).expect("once");
    seal(&mut sealer, 102).expect("once");
    for index in [99, 101, 103, 100 + (1 << 16)] {
        assert_eq!(sealer.seal_again(index, &mut packet(1), 12, 112), Err(SealError::NotSealed), "index {index}");
    }
    seal(&mut sealer, 100 + WINDOW).expect("once");
    assert_eq!(sealer.seal_again(100, &mut packet(1), 12, 112), Err(SealError::NotSealed));
    assert!(sealer.seal_again(102, &mut packet(1), 12, 112).is_ok());

    // A shorter record: 16 packets, and a late one does not take the place of a newer one.
    let mut short = contexts(Profile::Aes128Gcm).0.sealer(7, 0, 16).expect("the first of its SSRC");
    for index in [100, 110, 99, 94] {
        seal(&mut short, index).expect("once");
    }
    for (index, expected) in [
        (110, Ok(128)),
        (100, Ok(128)),
        (99, Ok(128)),
        (95, Err(SealError::NotSealed)),
        (94, Err(SealError::NotSealed)),
    ] {
        assert_eq!(short.seal_again(index, &mut packet(1), 12, 112), expected, "index {index}");
    }

    let mut without = contexts(Profile::Aes128Gcm).0.sealer(7, 0, 0).expect("the first of its SSRC");
    seal(&mut without, 100).expect("once");
    assert_eq!(without.seal_again(100, &mut packet(1), 12, 112), Err(SealError::NotSealed));
}

fn compound() -> Vec<u8> {
    [&[0x80, 201, 0, 1, 0, 0, 0, 0][..], &[0; 20]].concat()
}

#[test]
fn the_rtcp_index_only_goes_up_and_never_beyond_31_bits() {
    for profile in Profile::ALL {
        let (mut sealers, mut opener) = contexts(profile);
        let mut sealer = sealers.sealer(7, 0, 0).expect("the first of its SSRC");
        let word = |packet: &[u8]| {
            let end = if profile == Profile::Aes128CmSha1_80 { packet.len() - 10 } else { packet.len() };
            u32::from_be_bytes(packet[end - 4..end].try_into().expect("4 bytes"))
        };
        for expected in 1..=3 {
            let mut packet = compound();
            let len = sealer.seal_rtcp(&mut packet, 8).expect("there is room");
            assert_eq!(word(&packet[..len]), 1 << 31 | expected, "{profile:?}");
            assert_eq!(opener.open_rtcp(&mut packet[..len]), Ok(8));
            assert_eq!(packet[4..8], 7u32.to_be_bytes());
        }
        sealer.next_rtcp = (1 << 31) - 1;
        let mut packet = compound();
        let len = sealer.seal_rtcp(&mut packet, 8).expect("the last index");
        assert_eq!(word(&packet[..len]), u32::MAX, "{profile:?}");
        assert_eq!(opener.open_rtcp(&mut packet[..len]), Ok(8));
        for _ in 0..2 {
            assert_eq!(sealer.seal_rtcp(&mut compound(), 8), Err(SealError::Exhausted), "{profile:?}");
        }
    }
}

/// Compiles only while none of these can be printed: a log line must not be able to show a key.
#[test]
fn nothing_that_holds_a_key_can_be_printed() {
    trait PrintedOrNot<Tag> {
        fn check() {}
    }
    struct Printed;
    impl<T: ?Sized> PrintedOrNot<()> for T {}
    impl<T: ?Sized + std::fmt::Debug> PrintedOrNot<Printed> for T {}
    // Two candidates, so ambiguous, for a type that has Debug.
    <Keys as PrintedOrNot<_>>::check();
    <Sealers as PrintedOrNot<_>>::check();
    <Sealer as PrintedOrNot<_>>::check();
    <Opener as PrintedOrNot<_>>::check();
    <Cipher as PrintedOrNot<_>>::check();
    <Master as PrintedOrNot<_>>::check();
}
