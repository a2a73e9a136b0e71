//! What a receiver reports of a sender: loss by numbers, jitter by times, when its last report came (RFC 3550 A.3, A.8).

use std::time::{Duration, Instant};

use rtcp_types::{ReportBlock, ReportBlockBuilder};
use whipstitch_media::sequence::Unwrap;
use whipstitch_media::time::{self, Ntp};

#[derive(Debug)]
pub(super) struct Arrivals {
    clock_rate: u32,
    seq: Unwrap,
    first: Option<u64>,
    received: u64,
    /// Expected and received when the last block was made.
    before: (u64, u64),
    /// What the last block said was lost, in 256ths.
    fraction: Option<u8>,
    /// In sixteenths of a tick.
    jitter: u64,
    last: Option<(Instant, u32)>,
    report: Option<(Ntp, Instant)>,
}

impl Arrivals {
    pub(super) fn new(clock_rate: u32) -> Self {
        let (seq, before, jitter) = (Unwrap::new(), (0, 0), 0);
        Self { clock_rate, seq, first: None, received: 0, before, fraction: None, jitter, last: None, report: None }
    }

    /// Counts a packet; gives its extended number.
    pub(super) fn add(&mut self, now: Instant, seq: u16, rtp_time: u32) -> u64 {
        let seq = self.seq.extend(seq);
        self.first.get_or_insert(seq);
        self.received += 1;
        if let Some((at, time)) = self.last.replace((now, rtp_time)) {
            let arrived = time::ticks(now.saturating_duration_since(at), self.clock_rate) as u32;
            let distance = u64::from(arrived.wrapping_sub(rtp_time.wrapping_sub(time)).cast_signed().unsigned_abs());
            self.jitter = self.jitter + distance - ((self.jitter + 8) >> 4);
        }
        seq
    }

    pub(super) fn newest(&self) -> Option<u64> {
        self.seq.newest()
    }

    pub(super) fn place(&self, seq: u16) -> u64 {
        self.seq.place(seq)
    }

    pub(super) fn reported(&mut self, now: Instant, ntp: Ntp) {
        self.report = Some((ntp, now));
    }

    pub(super) fn lost(&self) -> u64 {
        self.expected().saturating_sub(self.received)
    }

    fn expected(&self) -> u64 {
        self.first.zip(self.newest()).map_or(0, |(first, newest)| newest - first + 1)
    }

    /// The share lost by the last block, 0 to 1, and the jitter; `None` before it.
    pub(super) fn last_block(&self) -> Option<(f32, Duration)> {
        let jitter = time::duration(self.jitter >> 4, self.clock_rate);
        self.fraction.map(|fraction| (f32::from(fraction) / 256.0, jitter))
    }

    /// The block of a report that is sent now.
    pub(super) fn block(&mut self, now: Instant, ssrc: u32) -> ReportBlockBuilder {
        let (expected, received) = (self.expected(), self.received);
        let (expected_before, received_before) = std::mem::replace(&mut self.before, (expected, received));
        let expected_since = expected.saturating_sub(expected_before);
        let lost_since = expected_since.saturating_sub(received.saturating_sub(received_before));
        let fraction = (lost_since * 256).checked_div(expected_since).unwrap_or(0).min(255) as u8;
        self.fraction = Some(fraction);
        let (lsr, delay) = self.report.map_or((0, 0), |(ntp, at)| {
            // Units of 1/65536 s.
            (ntp.middle(), time::ticks(now.saturating_duration_since(at), 65_536) as u32)
        });
        ReportBlock::builder(ssrc)
            .fraction_lost(fraction)
            .cumulative_lost(self.lost().min(0x7f_ffff) as u32)
            .extended_sequence_number(self.newest().unwrap_or(0).wrapping_sub(Unwrap::CIRCLE) as u32)
            .interarrival_jitter((self.jitter >> 4) as u32)
            .last_sender_report_timestamp(lsr)
            .delay_since_last_sender_report_timestamp(delay)
    }
}
