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
