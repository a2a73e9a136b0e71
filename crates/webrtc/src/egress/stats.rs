//! Figures of one viewer's egress.

use std::time::Duration;

/// What was sent to one viewer and what it said, both tracks together. Counters never go back.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct EgressStats {
    /// Media packets, resends under their own SSRC included, RTX not.
    pub packets: u64,
    /// Bytes of UDP payload: headers and protection, resends and RTX included, reports not.
    pub bytes: u64,
    /// NACK packets received.
    pub nacks: u64,
    /// Packets sent again, with RTX or without.
    pub resent: u64,
    /// Those of them sent with RTX.
    pub rtx: u64,
    /// PLIs for our video.
    pub plis: u64,
    /// FIRs for our video, repeats left out.
    pub firs: u64,
    /// RTCP datagrams that were not authentic, replayed or malformed.
    pub rejected: u64,
    /// Packets not sent because sealing them was refused: too late, or not what was sent before.
    pub refused: u64,
    /// Packets left out because the path took no more.
    pub skipped: u64,
    /// Smoothed round trip, once a receiver report answered a report of ours.
    pub rtt: Option<Duration>,
    /// A receiver report has come: loss and jitter mean something.
    pub reported: bool,
    /// The larger of the tracks' last reported fractions of lost packets, 0 to 1.
    pub loss: f32,
    /// Packets the viewer missed since the beginning, by its own count; repaired ones may be in it.
    pub lost: u64,
    /// The larger of the tracks' last reported interarrival jitters.
    pub jitter: Duration,
    /// Bits a second the viewer believes the path carries (REMB), if it says so.
    pub estimate: Option<u64>,
}
