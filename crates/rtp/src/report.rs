//! Sender reports of one track, and what receiver reports answer to them.
//!
//! Round trips are measured against our own record of when a report left, not against the NTP time in it: that is the
//! publisher's clock, and a forged LSR matches nothing.

use std::time::{Duration, Instant};

use rtcp_types::prelude::*;
use rtcp_types::{
    Bye, Compound, DelaySinceLastReceiverReport, DelaySinceLastReceiverReportBlock, ReportBlock, Sdes, SdesChunk,
    SdesItem, SenderReport, Xr, XrBuilder,
};
use whipstitch_media::time::{self, Ntp};

/// Time between sender reports, of audio and video alike: RFC 3550 6.2 asks for 5 s at most, and browsers measure the
/// round trip and align lips by them, which 1 s makes quick. 2 x 100 bytes a second are nothing.
pub const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Reports remembered: receivers answer the newest, or the one before; with one a second, 4 covers any round trip that
/// still makes sense.
const REMEMBERED: usize = 4;

/// Receivers whose time is remembered until it is answered; of further ones it is not. A viewer is one for each track.
const MAX_ASKING: usize = 4;

/// Room for any compound of ours: SR 28, SDES 8 + 2 + 255 with padding, XR 12 + 4 * 12, BYE 12.
pub const MAX_COMPOUND: usize = 384;

/// Longer than any path: more is a broken clock at the other end.
const MAX_RTT: Duration = Duration::from_secs(10);

/// What one track's sender report says.
pub struct Report<'a> {
    /// Whose it is.
    pub ssrc: u32,
    /// The name its tracks share, 1 to 255 bytes.
    pub cname: &'a str,
    /// Wall-clock time of the report.
    pub ntp: Ntp,
    /// RTP time of the same moment.
    pub time: u32,
    /// Since the first packet; the report takes the low 32 bits.
    pub packets: u64,
    /// Payload bytes, likewise.
    pub octets: u64,
}

/// Receivers that want to know the round trip, and when each asked (RFC 3611 4.4, 4.5). Who sends nothing can learn it in no
/// other way; Chromium makes its jitter buffer long enough for repairs by it.
#[derive(Debug, Default)]
pub struct Asking(Vec<(u32, Ntp, Instant)>);

impl Asking {
    /// A receiver has told its time.
    pub fn asked(&mut self, now: Instant, sender: u32, ntp: Ntp) {
        self.0.retain(|(asking, ..)| *asking != sender);
        if self.0.len() < MAX_ASKING {
            self.0.push((sender, ntp, now));
        }
    }

    /// All of them were answered.
    pub fn answered(&mut self) {
        self.0.clear();
    }

    /// The answers, if there are any to give.
    fn answers(&self, now: Instant, ssrc: u32) -> Option<XrBuilder> {
        let answer = |(sender, ntp, asked): &(u32, Ntp, Instant)| {
            let held = to_16_16(now.saturating_duration_since(*asked));
            let block = DelaySinceLastReceiverReportBlock::builder().ssrc(*sender).last_receiver_report(ntp.middle());
            block.delay_since_last_receiver_report_timestamp(held)
        };
        let none = DelaySinceLastReceiverReport::builder();
        let all = self.0.iter().map(answer).fold(none, |all, answer| all.add_block(answer));
        (!self.0.is_empty()).then(|| Xr::builder().sender_ssrc(ssrc).add_block(all))
    }
}

impl Report<'_> {
    /// Writes SR and SDES with the CNAME, and a BYE of `leaving` if there are any (RFC 3550 6.1, 6.4.1, 6.6). None if the
    /// buffer is shorter than `MAX_COMPOUND`.
    pub fn write(&self, leaving: &[u32], buffer: &mut [u8]) -> Option<usize> {
        self.compound(None, leaving, buffer)
    }

    /// The same, with answers to who is `asking`, if anybody is (RFC 3611 4.5).
    pub fn answer(&self, now: Instant, asking: &Asking, leaving: &[u32], buffer: &mut [u8]) -> Option<usize> {
        self.compound(asking.answers(now, self.ssrc), leaving, buffer)
    }

    fn compound(&self, answers: Option<XrBuilder>, leaving: &[u32], buffer: &mut [u8]) -> Option<usize> {
        let report = SenderReport::builder(self.ssrc)
            .ntp_timestamp(self.ntp.0)
            .rtp_timestamp(self.time)
            .packet_count(self.packets as u32)
            .octet_count(self.octets as u32);
        let name = SdesItem::builder(SdesItem::CNAME, self.cname);
        let description = Sdes::builder().add_chunk(SdesChunk::builder(self.ssrc).add_item(name));
        let mut compound = Compound::builder().add_packet(report).add_packet(description);
        if let Some(answers) = answers {
            compound = compound.add_packet(answers);
        }
        if !leaving.is_empty() {
            let bye = leaving.iter().fold(Bye::builder(), |bye, ssrc| bye.add_source(*ssrc));
            compound = compound.add_packet(bye);
        }
        compound.write_into(buffer).ok()
    }
}

/// What a receiver said of the track, last.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reception {
    /// Fraction of the packets lost since its report before, 0 to 1.
    pub loss: f32,
    /// Interarrival jitter.
    pub jitter: Duration,
    /// Packets lost since the beginning; negative with duplicates (RFC 3550 6.4.1).
    pub lost: i32,
}

/// The reports of one track, both ways.
#[derive(Debug, Default)]
pub struct Reports {
    /// LSR as receivers will name it, and when it left; the newest last.
    sent: Vec<(u32, Instant)>,
    /// What the receiver said last.
    pub reception: Reception,
}

impl Reports {
    /// Whether a report was sent.
    pub fn any_sent(&self) -> bool {
        !self.sent.is_empty()
    }

    /// Remembers a report that leaves now.
    pub fn sent(&mut self, now: Instant, ntp: Ntp) {
        if self.sent.len() == REMEMBERED {
            self.sent.remove(0);
        }
        self.sent.push((ntp.middle(), now));
    }

    /// Takes what a receiver says of this track; `rate` is its clock rate in Hz. Returns the round trip, if the block
    /// answers a report of ours.
    pub fn received(&mut self, now: Instant, block: &ReportBlock<'_>, rate: u32) -> Option<Duration> {
        self.reception = Reception {
            loss: f32::from(block.fraction_lost()) / 256.0,
            jitter: time::duration(block.interarrival_jitter().into(), rate),
            // 24 bits with a sign.
            lost: ((block.cumulative_lost() << 8) as i32) >> 8,
        };
        let (_, left) = self.sent.iter().rev().find(|(lsr, _)| *lsr == block.last_sender_report_timestamp())?;
        let held = fixed_16_16(block.delay_since_last_sender_report_timestamp());
        now.saturating_duration_since(*left).checked_sub(held).filter(|rtt| *rtt <= MAX_RTT)
    }
}

/// A round trip of which this was measured last: an eighth of each new measurement, as TCP has it (RFC 6298 2).
pub fn smooth(rtt: Option<Duration>, measured: Duration) -> Duration {
    rtt.map_or(measured, |rtt| (rtt * 7 + measured) / 8)
}

/// DLRR: units of 1/65536 s; more than 18 hours are 18 hours.
fn to_16_16(time: Duration) -> u32 {
    u32::try_from((time.as_nanos() << 16) / 1_000_000_000).unwrap_or(u32::MAX)
}

/// DLSR: units of 1/65536 s.
fn fixed_16_16(units: u32) -> Duration {
    Duration::from_nanos((u64::from(units) * 1_000_000_000) >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn block(lsr: u32, dlsr: u32, lost: u32) -> Vec<u8> {
        let words = [7, 64 << 24 | lost, 99, 900, lsr, dlsr];
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    #[test]
    fn a_round_trip_is_what_is_left_after_the_receivers_delay() {
        let start = Instant::now();
        let ntp = |at: u64| Ntp(0x1111_2222_3333_4444) + Duration::from_secs(at);
        let mut reports = Reports::default();
        for at in 0..6 {
            reports.sent(start + Duration::from_secs(at), ntp(at));
        }
        let now = start + 5250 * MS;
        for (what, lsr, dlsr, expected) in [
            ("the newest, held for 1/8 s", ntp(5).middle(), 8192, Some(125 * MS)),
            ("the one before, held for 9/8 s", ntp(4).middle(), 65536 + 8192, Some(125 * MS)),
            ("held for longer than it is ago", ntp(5).middle(), 65536, None),
            ("one long forgotten", ntp(0).middle(), 0, None),
            ("never sent", 1, 0, None),
            ("no report received yet", 0, 0, None),
        ] {
            let bytes = block(lsr, dlsr, 0);
            let block = ReportBlock::parse(&bytes).expect("24 bytes");
            assert_eq!(reports.received(now, &block, 90_000), expected, "{what}");
        }
    }

    #[test]
    fn a_round_trip_of_more_than_10_s_is_a_broken_clock() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut reports = Reports::default();
        reports.sent(start, Ntp(1 << 40));
        let bytes = block(Ntp(1 << 40).middle(), 0, 0);
        let block = ReportBlock::parse(&bytes).expect("24 bytes");
        assert_eq!(reports.received(start + 10 * second, &block, 90_000), Some(10 * second));
        assert_eq!(reports.received(start + 11 * second, &block, 90_000), None);
    }

    #[test]
    fn loss_and_jitter_are_kept() {
        let mut reports = Reports::default();
        for (lost, expected) in [(5, 5), (0xff_fffe, -2)] {
            let bytes = block(0, 0, lost);
            reports.received(Instant::now(), &ReportBlock::parse(&bytes).expect("24 bytes"), 90_000);
            let reception = Reception { loss: 0.25, jitter: 10 * MS, lost: expected };
            assert_eq!(reports.reception, reception);
        }
    }

    #[test]
    fn the_longest_compound_fits() {
        let cname = "c".repeat(255);
        let report = Report { ssrc: 1, cname: &cname, ntp: Ntp(1), time: 2, packets: 3, octets: 4 };
        let mut buffer = [0; MAX_COMPOUND];
        let (now, mut asking) = (Instant::now(), Asking::default());
        (0..100).for_each(|sender| asking.asked(now, sender, Ntp(1)));
        assert!(report.answer(now, &asking, &[1, 2], &mut buffer).is_some());
    }

    #[test]
    fn who_asks_for_the_round_trip_is_told_how_long_the_answer_took() {
        let (start, mut asking) = (Instant::now(), Asking::default());
        let report = Report { ssrc: 1, cname: "c", ntp: Ntp(1), time: 2, packets: 3, octets: 4 };
        let answers = |asking: &Asking, now| {
            let mut buffer = [0; MAX_COMPOUND];
            let len = report.answer(now, asking, &[], &mut buffer).expect("room");
            let xr = crate::rtcp::packets(&buffer[..len]).find(|packet| packet[1] == 207)?.to_vec();
            Some(xr[4..].chunks(4).map(|word| u32::from_be_bytes(word.try_into().expect("words"))).collect::<Vec<_>>())
        };
        assert_eq!(answers(&asking, start), None);
        asking.asked(start, 7, Ntp(0x1111_2222_3333_4444));
        asking.asked(start + 250 * MS, 8, Ntp(0x5555_6666_7777_8888));
        // It asked again: only the last counts.
        asking.asked(start + 500 * MS, 7, Ntp(0x1111_2223_3333_4444));
        let expected = vec![1, 0x0500_0006, 8, 0x6666_7777, 49_152, 7, 0x2223_3333, 32_768];
        assert_eq!(answers(&asking, start + 1000 * MS), Some(expected));
        asking.answered();
        assert_eq!(answers(&asking, start + 1000 * MS), None);
    }
}
