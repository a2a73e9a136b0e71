//! RTCP: indices, reordering, replays, forgeries.

use whipstitch_webrtc::egress::Profile;
use whipstitch_webrtc::egress::srtp::{OpenError, Sealer};

use crate::peer::{NOT_AUTHENTIC, Peer, REPLAYED};

const SSRC: u32 = 0xcafe_0002;

/// A receiver report with `n % 30` words behind it.
fn compound(n: usize) -> Vec<u8> {
    let mut compound = [&[0x80, 201, 0, 1][..], &SSRC.to_be_bytes()].concat();
    let words = n % 30;
    if words > 0 {
        compound.extend([0x80, 204, 0, words as u8]);
        compound.extend((0..4 * words).map(|byte| (byte * n) as u8));
    }
    compound
}

fn seal(sealer: &mut Sealer, compound: &[u8]) -> Vec<u8> {
    let mut bytes = [compound, &[0; 20]].concat();
    let len = sealer.seal_rtcp(&mut bytes, compound.len()).expect("the index goes up");
    bytes.truncate(len);
    bytes
}

/// 0 to `n`, in groups of five turned round.
fn shuffled(n: usize) -> Vec<usize> {
    (0..n).collect::<Vec<_>>().chunks(5).flat_map(|group| group.iter().rev().copied().collect::<Vec<_>>()).collect()
}

#[test]
fn libsrtp_opens_our_compounds_in_any_order_once() {
    for profile in Profile::ALL {
        let (mut peer, mut sealers, _) = Peer::start(profile);
        let mut sealer = sealers.sealer(SSRC, 0, 0).expect("the first of its SSRC");
        let sealed: Vec<_> = (0..500).map(|n| seal(&mut sealer, &compound(n))).collect();
        for n in shuffled(500) {
            assert_eq!(peer.call("unprotect_rtcp", &sealed[n]), Ok(compound(n)), "{profile:?}, {n}");
            assert_eq!(peer.call("unprotect_rtcp", &sealed[n]), Err(REPLAYED), "{profile:?}, {n}");
        }
    }
}

#[test]
fn we_open_libsrtps_compounds_in_any_order_once() {
    for profile in Profile::ALL {
        let (mut peer, _, mut opener) = Peer::start(profile);
        let sealed: Vec<_> =
            (0..500).map(|n| peer.call("protect_rtcp", &compound(n)).expect("libsrtp seals")).collect();
        for n in shuffled(500) {
            let mut bytes = sealed[n].clone();
            let len = opener.open_rtcp(&mut bytes).expect("authentic and new");
            assert_eq!(bytes[..len], compound(n), "{profile:?}, {n}");
            assert_eq!(opener.open_rtcp(&mut sealed[n].clone()), Err(OpenError::Replayed), "{profile:?}, {n}");
        }
    }
}

#[test]
fn both_seal_to_the_same_bytes_from_the_same_index() {
    for profile in Profile::ALL {
        let (mut peer, mut sealers, _) = Peer::start(profile);
        let mut sealer = sealers.sealer(SSRC, 0, 0).expect("the first of its SSRC");
        for n in 0..100 {
            let theirs = peer.call("protect_rtcp", &compound(n)).expect("libsrtp seals");
            assert_eq!(seal(&mut sealer, &compound(n)), theirs, "{profile:?}, {n}");
        }
    }
}

#[test]
fn both_refuse_what_was_changed_on_the_way() {
    for profile in Profile::ALL {
        let (mut peer, mut sealers, mut opener) = Peer::start(profile);
        let mut sealer = sealers.sealer(SSRC, 0, 0).expect("the first of its SSRC");
        let sealed = seal(&mut sealer, &compound(7));
        let theirs = peer.call("protect_rtcp", &compound(7)).expect("libsrtp seals");
        let len = sealed.len();
        // Report, body, first and last byte of tag and index.
        for at in [1, 6, 20, compound(7).len(), len - 11, len - 5, len - 1] {
            let mut forged = sealed.clone();
            forged[at] ^= 2;
            assert_eq!(peer.call("unprotect_rtcp", &forged), Err(NOT_AUTHENTIC), "{profile:?}, byte {at}");
            let mut forged = theirs.clone();
            forged[at] ^= 2;
            assert_eq!(opener.open_rtcp(&mut forged), Err(OpenError::NotAuthentic), "{profile:?}, byte {at}");
        }
        assert!(peer.call("unprotect_rtcp", &sealed).is_ok() && opener.open_rtcp(&mut theirs.clone()).is_ok());
    }
}
