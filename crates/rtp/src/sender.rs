//! One track towards one player: numbers, header, reports.
//!
//! The subscription gives numbers and times; here they become a header of 12 bytes in front of the stream's shared
//! payload. Extensions, padding and CSRCs of the publisher are gone, as players of plain RTP expect.

use std::time::Instant;

use whipstitch_media::Kind;
use whipstitch_stream::{Clock, Forwarded, Subscription};

use crate::report::{Report, Reports};

/// Bytes of an RTP header without CSRCs and extensions (RFC 3550 5.1).
pub const HEADER: usize = 12;

/// What negotiation decided about a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Audio or video.
    pub kind: Kind,
    /// RTP clock rate of the codec in Hz.
    pub clock_rate: u32,
    /// The payload type, 0 to 127.
    pub pt: u8,
    /// Ours; constant as long as the player stays.
    pub ssrc: u32,
    /// Where the sequence numbers begin, chosen at random; 15 bits are used.
    pub first_seq: u16,
    /// Added to the stream's RTP times, chosen at random.
    pub time_offset: u32,
}

/// One track towards one player.
#[derive(Debug)]
pub struct Sender {
    config: Config,
    subscription: Subscription,
    packets: u64,
    octets: u64,
    /// Reports both ways: what was sent, and what the player says of it.
    pub reports: Reports,
}

/// A packet that is about to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outgoing<'a> {
    /// The RTP header.
    pub header: [u8; HEADER],
    /// What follows it: shared with all who get it.
    pub payload: &'a [u8],
}

impl Outgoing<'_> {
    /// Bytes of the packet.
    pub fn len(&self) -> usize {
        HEADER + self.payload.len()
    }

    /// Never: there is a header at least.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Appends the packet.
    pub fn append_to(&self, buffer: &mut Vec<u8>) {
        buffer.extend_from_slice(&self.header);
        buffer.extend_from_slice(self.payload);
    }

    /// Its sequence number, as in RTP-Info.
    pub fn seq(&self) -> u16 {
        u16::from_be_bytes([self.header[2], self.header[3]])
    }

    /// Its RTP time, as in RTP-Info.
    pub fn time(&self) -> u32 {
        u32::from_be_bytes([self.header[4], self.header[5], self.header[6], self.header[7]])
    }
}

impl Sender {
    /// A track that has sent nothing.
    pub fn new(config: Config) -> Sender {
        let subscription = Subscription::new(config.kind, config.first_seq, config.time_offset);
        Sender { config, subscription, packets: 0, octets: 0, reports: Reports::default() }
    }

    /// What was decided.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The numbers.
    pub fn subscription(&self) -> &Subscription {
        &self.subscription
    }

    /// Packets sent, and bytes of their payloads.
    pub fn sent(&self) -> (u64, u64) {
        (self.packets, self.octets)
    }

    /// Makes a packet of the stream ready, if the subscription takes it; it counts as sent.
    pub fn send<'a>(&mut self, forwarded: &'a Forwarded) -> Option<Outgoing<'a>> {
        let rewritten = self.subscription.accept(forwarded)?;
        let payload = &*forwarded.packet.payload;
        self.packets += 1;
        self.octets += payload.len() as u64;
        let mut header = [0; HEADER];
        // RFC 3550 5.1: version 2, no padding, no extension, no CSRCs.
        header[0] = 0x80;
        header[1] = u8::from(forwarded.packet.marker) << 7 | self.config.pt;
        header[2..4].copy_from_slice(&(rewritten.seq as u16).to_be_bytes());
        header[4..8].copy_from_slice(&rewritten.time.to_be_bytes());
        header[8..].copy_from_slice(&self.config.ssrc.to_be_bytes());
        Some(Outgoing { header, payload })
    }

    /// Leaves everything out up to the next start; numbers go on without a gap.
    pub fn drop_to_start(&mut self) {
        self.subscription.drop_to_start();
    }

    /// Writes SR and SDES by this clock of the stream, with a BYE when it leaves. `None` if the buffer is shorter than
    /// [`MAX_COMPOUND`](crate::report::MAX_COMPOUND).
    pub fn report(
        &mut self,
        now: Instant,
        clock: &Clock,
        cname: &str,
        leaves: bool,
        buffer: &mut [u8],
    ) -> Option<usize> {
        let (ntp, time) = clock.read(now, self.config.clock_rate);
        let (ssrc, time) = (self.config.ssrc, self.subscription.time_of(time));
        let report = Report { ssrc, cname, ntp, time, packets: self.packets, octets: self.octets };
        let written = report.write(if leaves { std::slice::from_ref(&self.config.ssrc) } else { &[] }, buffer)?;
        self.reports.sent(now, ntp);
        Some(written)
    }
}
