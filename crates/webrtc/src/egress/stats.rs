//! Figures of one viewer's egress.

use std::time::Duration;

use whipstitch_stream::stats::Counters;

/// What was sent to one viewer and what it said, both tracks together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct EgressStats {
    /// What was counted. Resends under their own SSRC are packets, RTX are not; bytes are UDP payload with both, reports not;
    /// PLIs and FIRs are those for our video, repeats of a FIR left out; lost is by the viewer's own count, in which repaired
    /// packets may be; rejected are RTCP datagrams that were not authentic, replayed or malformed.
    pub counters: Counters,
    /// Smoothed round trip, once a receiver report answered a report of ours.
    pub rtt: Option<Duration>,
    /// A receiver report has come: loss and jitter mean something.
    pub reported: bool,
    /// The larger of the tracks' last reported fractions of lost packets, 0 to 1.
    pub loss: f32,
    /// The larger of the tracks' last reported interarrival jitters.
    pub jitter: Duration,
    /// Bits a second the viewer believes the path carries (REMB), if it says so.
    pub estimate: Option<u64>,
}
