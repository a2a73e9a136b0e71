//! RTP: wraps, roll-over counters, reordered and late packets, replays, forgeries.

use whipstitch_webrtc::egress::Profile;
use whipstitch_webrtc::egress::srtp::{OpenError, Sealer};

use crate::peer::{NOT_AUTHENTIC, Peer, REPLAYED, TOO_OLD};
use crate::process::hex;

const SSRC: u32 = 0xcafe_0001;

/// An RTP packet: 12 bytes of header, then as `shape` says a CSRC and an extension, then payload.
fn packet(index: u64, shape: u64) -> (Vec<u8>, usize) {
    let [csrc, extension] = [shape & 1 != 0, shape & 2 != 0];
    let first = 0x80 | u8::from(csrc) | u8::from(extension) << 4;
    let mut packet = vec![first, 96];
    packet.extend((index as u16).to_be_bytes());
    packet.extend((index as u32).wrapping_mul(3000).to_be_bytes());
    packet.extend(SSRC.to_be_bytes());
    if csrc {
        packet.extend([1, 2, 3, 4]);
    }
    if extension {
        packet.extend([0xbe, 0xde, 0, 1, 0x10, 0x85, 0, 0]);
    }
    let header = packet.len();
    packet.extend((0..index % 90).map(|byte| byte as u8 ^ index as u8));
    (packet, header)
}

/// Whether an index is within 1200 of a wrap of the sequence number.
fn near_wrap(index: u64) -> bool {
    (index + 1200) % 65_536 < 2400
}

/// Indices in the order of their journey, over two wraps of the sequence number: around the wraps every one, within sevens
/// out of order and every 50th 900 packets late; in between every 211th.
fn journey() -> Vec<u64> {
    let mut indices: Vec<u64> =
        (32_000..2 * 65_536 + 1200).filter(|index| near_wrap(*index) || index % 211 == 0).collect();
    indices.sort_by_key(|&index| {
        let late = index % 50 == 7 && near_wrap(index) && near_wrap(index + 950);
        let shuffle = if near_wrap(index) { [0, 5, 2, 6, 1, 4, 3][(index % 7) as usize] } else { 0 };
        index + shuffle + if late { 900 } else { 0 }
    });
    indices
}

fn seal(sealer: &mut Sealer, index: u64, shape: u64) -> Vec<u8> {
    let (mut bytes, header) = packet(index, shape);
    let len = bytes.len();
    bytes.resize(len + 16, 0);
    let sealed = sealer.seal(index, &mut bytes, header, len).expect("each index once");
    bytes.truncate(sealed);
    bytes
}

#[test]
fn the_journey_wraps_twice_and_has_late_packets() {
    let order = journey();
    assert!(order.len() > 4000 && order.iter().max().expect("not empty") >> 16 == 2);
    let late = order.windows(2).filter(|pair| pair[1] + 500 < pair[0]).count();
    assert!(late > 40, "{late}");
    let distinct: std::collections::HashSet<_> = order.iter().collect();
    assert_eq!(distinct.len(), order.len());
    for wrap in [65_536, 131_072] {
        assert!(order.contains(&(wrap - 1)) && order.contains(&wrap));
    }
}

#[test]
fn libsrtp_opens_what_we_seal() {
    for profile in Profile::ALL {
        let (mut peer, mut sealers, _) = Peer::start(profile);
        let mut sealer = sealers.sealer(SSRC, 31_000, 0).expect("the first of its SSRC");
        for group in journey().chunks(100) {
            let commands: Vec<_> =
                group.iter().map(|index| format!("unprotect {}", hex(&seal(&mut sealer, *index, *index)))).collect();
            for (index, opened) in group.iter().zip(peer.call_all(&commands)) {
                assert_eq!(opened, Ok(packet(*index, *index).0), "{profile:?}, index {index}");
            }
        }
    }
}

#[test]
fn we_open_what_libsrtp_seals() {
    for profile in Profile::ALL {
        let (mut peer, _, mut opener) = Peer::start(profile);
        for group in journey().chunks(100) {
            let commands: Vec<_> =
                group.iter().map(|index| format!("protect {}", hex(&packet(*index, *index).0))).collect();
            for (index, sealed) in group.iter().zip(peer.call_all(&commands)) {
                let mut sealed = sealed.expect("libsrtp seals each index once");
                let (plain, header) = packet(*index, *index);
                let opened = opener.open(&mut sealed).expect("authentic and new");
                assert_eq!((opened.index, opened.header), (*index, header), "{profile:?}");
                assert_eq!(sealed[..opened.len], plain, "{profile:?}, index {index}");
            }
        }
    }
}

#[test]
fn both_seal_to_the_same_bytes() {
    for profile in Profile::ALL {
        let (mut peer, mut sealers, _) = Peer::start(profile);
        let mut sealer = sealers.sealer(SSRC, 20_000, 1024).expect("the first of its SSRC");
        for index in 20_000..20_200 {
            let theirs = peer.call("protect", &packet(index, index).0).expect("libsrtp seals");
            assert_eq!(seal(&mut sealer, index, index), theirs, "{profile:?}, index {index}");
        }
    }
}

#[test]
fn both_refuse_replays_and_what_is_too_old() {
    for profile in Profile::ALL {
        let (mut peer, mut sealers, mut opener) = Peer::start(profile);
        let mut sealer = sealers.sealer(SSRC, 0, 0).expect("the first of its SSRC");
        let old = seal(&mut sealer, 500, 0);
        for index in [1000, 1001, 1003, 1600] {
            let sealed = seal(&mut sealer, index, 0);
            assert!(peer.call("unprotect", &sealed).is_ok());
            assert_eq!(peer.call("unprotect", &sealed), Err(REPLAYED), "{profile:?}");
            assert!(opener.open(&mut sealed.clone()).is_ok());
            assert_eq!(opener.open(&mut sealed.clone()), Err(OpenError::Replayed), "{profile:?}");
        }
        assert_eq!(peer.call("unprotect", &old), Err(TOO_OLD), "{profile:?}");
        assert_eq!(opener.open(&mut old.clone()), Err(OpenError::TooOld), "{profile:?}");
    }
}

#[test]
fn both_refuse_what_was_changed_on_the_way() {
    for profile in Profile::ALL {
        let (mut peer, mut sealers, mut opener) = Peer::start(profile);
        let mut sealer = sealers.sealer(SSRC, 0, 0).expect("the first of its SSRC");
        let sealed = seal(&mut sealer, 1000, 3);
        let theirs = peer.call("protect", &packet(900, 3).0).expect("libsrtp seals");
        // Marker and payload type, time, CSRC, payload, tag.
        for at in [1, 5, 13, 30, sealed.len() - 1] {
            let mut forged = sealed.clone();
            forged[at] ^= 4;
            assert_eq!(peer.call("unprotect", &forged), Err(NOT_AUTHENTIC), "{profile:?}, byte {at}");
            let mut forged = theirs.clone();
            forged[at.min(theirs.len() - 1)] ^= 4;
            assert_eq!(opener.open(&mut forged), Err(OpenError::NotAuthentic), "{profile:?}, byte {at}");
        }
        assert!(peer.call("unprotect", &sealed).is_ok());
    }
}
