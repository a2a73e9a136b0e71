//! Tells the engine that a packet has come which it would not take any more.
//!
//! The engine reports to the publisher's congestion control what it has opened itself (transport-wide feedback). Of a resend
//! under its own number, more than 100 packets late, it would say that it was lost: the publisher would slow down for every
//! repair. A packet without media and with the same transport-wide number takes its place: of SSRC 0, as browsers probe for
//! bandwidth, and sealed as the publisher would. It goes to the engine and nowhere else.

use super::header::{RtpIdentity, extension};
use crate::egress::srtp::{Sealer, Sealers};

/// What the engine takes for a probe.
const PROBE: u32 = 0;

/// Fixed header, and one extension in the two-byte form (RFC 8285 4.3).
const HEADER: usize = 12 + 4 + 4;

pub(super) struct StandIn {
    /// The ID of the extension with the transport-wide number.
    id: u8,
    sealer: Sealer,
    next: u64,
}

impl StandIn {
    /// `sealers` seal as the publisher does.
    pub(super) fn new(id: u8, mut sealers: Sealers) -> Option<StandIn> {
        Some(StandIn { id, sealer: sealers.sealer(PROBE, 0, 0).ok()?, next: 0 })
    }

    /// What takes the place of a packet, if that has a transport-wide number.
    pub(super) fn of(&mut self, rtp: &RtpIdentity, datagram: &[u8]) -> Option<Vec<u8>> {
        let number: [u8; 2] = extension(datagram, self.id)?.try_into().ok()?;
        let mut bytes = vec![0x90, rtp.pt];
        bytes.resize(12, 0);
        bytes.extend([0x10, 0, 0, 1, self.id, 2, number[0], number[1]]);
        bytes.resize(HEADER + self.sealer.tag_len(), 0);
        let index = self.next;
        self.next += 1;
        self.sealer.seal(index, &mut bytes, HEADER, HEADER).ok()?;
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::header::rtp_identity;
    use super::*;
    use crate::egress::{Keys, Profile};

    #[test]
    fn what_takes_the_place_is_authentic_empty_and_has_the_number() {
        let keys = |client| {
            let profile = Profile::Aes128Gcm;
            Keys::split(profile, &vec![5; profile.material_len()], client).expect("the right length")
        };
        // Ours, of which the publisher's are the other half.
        let opener = keys(true).into_contexts().1;
        let mut stand_in = StandIn::new(3, keys(true).as_the_peer()).expect("the first of its SSRC");
        // A packet with two extensions of the one-byte form; of the wrong kind; and without.
        let with = |id: u8| {
            [&[0x90, 96, 0, 9, 0, 0, 0, 0, 0, 0, 0, 5, 0xbe, 0xde, 0, 1, id << 4 | 1, 0x12, 0x34, 0][..], &[7; 30]]
                .concat()
        };
        for (index, place) in [(0, 0x1234), (1, 0x1234)] {
            let datagram = with(3);
            let rtp = rtp_identity(&datagram).expect("RTP");
            let mut made = stand_in.of(&rtp, &datagram).expect("it has a number");
            let identity = rtp_identity(&made).expect("RTP");
            assert_eq!((identity.ssrc, identity.pt, identity.seq), (PROBE, 96, index), "each has an index of its own");
            assert_eq!(extension(&made, 3), Some(&u16::to_be_bytes(place)[..]));
            let opened = opener.open_as(index.into(), &mut made).expect("authentic");
            assert_eq!((opened.header, opened.len), (HEADER, HEADER));
        }
        for other in [with(4), [&[0x80, 96][..], &[0; 10], &[7; 30]].concat()] {
            assert_eq!(stand_in.of(&rtp_identity(&other).expect("RTP"), &other), None);
        }
    }
}
