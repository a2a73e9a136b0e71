//! One track that somebody sends to us as plain RTP.
//!
//! Bound to the first SSRC. Numbers and times are extended, repeats dropped, and packets given out in order
//! ([`Reorder`]). A sender that begins anew, under another SSRC or with numbers that lead nowhere, is believed when two
//! packets of it follow each other and the one before has fallen silent; then [`Output::Restarted`] comes first. Total over
//! any bytes.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rtcp_types::prelude::*;
use rtcp_types::{ReceiverReport, ReportBlockBuilder};
use rtp_types::RtpPacket;
use whipstitch_media::time::{Ntp, Unwrap32};
use whipstitch_media::{Extensions, Packet};

use crate::reorder::{Limits, Offered, Reorder};
use crate::rtcp::{Compound, Malformed, Message, Reports};

use self::arrivals::Arrivals;

mod arrivals;

/// A step forward that is believed at once (RFC 3550 A.1, MAX_DROPOUT).
const MAX_DROPOUT: u64 = 3000;

/// A step back that is one of order (RFC 3550 A.1, MAX_MISORDER, ten times: a fast stream reorders more).
const MAX_MISORDER: u64 = 1000;

/// How long a source must have been silent before another SSRC takes its place, unless it has said BYE. Two senders to
/// one port would take turns otherwise, packet by packet.
const SILENCE: Duration = Duration::from_millis(100);

/// What is known of the track before it is received.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Its payload type; all else is ignored.
    pub pt: u8,
    /// RTP clock rate of the codec in Hz.
    pub clock_rate: u32,
    /// How long packets out of order wait for those before them.
    pub order: Limits,
}

/// What comes of what was received.
#[derive(Clone, Debug)]
pub enum Output {
    /// What follows is of a sender that has begun anew: its numbers and times continue nothing.
    Restarted,
    /// The next packet.
    Packet(Packet),
    /// The sender's clock: the NTP time of an extended RTP time.
    Report(Ntp, u64),
    /// The sender has left.
    Bye,
}

/// Why a packet was ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ignored {
    /// It is no RTP.
    #[error("malformed RTP packet")]
    Malformed,
    /// It has another payload type.
    #[error("payload type {0} was not announced")]
    PayloadType(u8),
    /// Its SSRC is not the one bound, or its number leads nowhere; two in a row are believed.
    #[error("the packet does not continue what came before")]
    Foreign,
    /// It came before, or too late.
    #[error("the packet came before, or too late")]
    Repeated,
}

/// One track of one sender at a time.
#[derive(Debug)]
pub struct Receiver {
    config: Config,
    source: Option<Source>,
    /// A packet that did not continue the source.
    suspect: Option<Suspect>,
    /// A sender report that came before the first packet, as FFmpeg sends it: whose, and what it says.
    early: Option<(u32, Ntp, u32)>,
    /// Packets lost of the senders before.
    lost_before: u64,
    out: VecDeque<Output>,
}

#[derive(Debug)]
struct Source {
    ssrc: u32,
    arrivals: Arrivals,
    time: Unwrap32,
    order: Reorder<Packet>,
    heard: Instant,
    left: bool,
}

#[derive(Debug)]
struct Suspect {
    ssrc: u32,
    next: u16,
    bytes: Vec<u8>,
    at: Instant,
}

impl Receiver {
    /// Nothing received.
    pub fn new(config: Config) -> Receiver {
        Receiver { config, source: None, suspect: None, early: None, lost_before: 0, out: VecDeque::new() }
    }

    /// Takes a packet; what comes of it is told by [`poll`](Self::poll).
    ///
    /// # Errors
    /// Why it was ignored.
    pub fn receive(&mut self, now: Instant, bytes: &[u8]) -> Result<(), Ignored> {
        let packet = RtpPacket::parse(bytes).map_err(|_| Ignored::Malformed)?;
        if packet.payload_type() != self.config.pt {
            return Err(Ignored::PayloadType(packet.payload_type()));
        }
        if self.source.as_ref().is_none_or(|source| source.is_continued_by(&packet)) {
            self.suspect = None;
            return self.take(now, &packet);
        }
        if let Some(first) = self.restarts(now, &packet) {
            self.restart(now);
            // Parsed before, so it parses again.
            if let Ok(first_packet) = RtpPacket::parse(&first.bytes) {
                self.take(first.at, &first_packet)?;
            }
            return self.take(now, &packet);
        }
        let next = packet.sequence_number().wrapping_add(1);
        self.suspect = Some(Suspect { ssrc: packet.ssrc(), next, bytes: bytes.to_vec(), at: now });
        Err(Ignored::Foreign)
    }

    /// Takes a compound of RTCP.
    ///
    /// # Errors
    /// If it is malformed; nothing of it counts then.
    pub fn receive_rtcp(&mut self, now: Instant, bytes: &mut [u8]) -> Result<(), Malformed> {
        let compound = Compound::parse(bytes)?;
        for message in compound.messages() {
            match message {
                Message::Reports(Reports::Sender(report)) => {
                    self.heard_report(now, report.ssrc(), Ntp(report.ntp_timestamp()), report.rtp_timestamp());
                }
                Message::Bye(bye) => {
                    let leaves = |source: &&mut Source| !source.left && bye.ssrcs().any(|ssrc| ssrc == source.ssrc);
                    if let Some(source) = self.source.as_mut().filter(leaves) {
                        source.left = true;
                        self.out.push_back(Output::Bye);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// What has come of what was received, in order; ask again until `None`.
    pub fn poll(&mut self, now: Instant) -> Option<Output> {
        self.out.pop_front().or_else(|| self.source.as_mut()?.order.pop(now).map(Output::Packet))
    }

    /// When [`poll`](Self::poll) has something to tell even if nothing comes.
    pub fn deadline(&self) -> Option<Instant> {
        self.source.as_ref()?.order.deadline()
    }

    /// How long nothing has come; `None` before the first packet.
    pub fn silent_for(&self, now: Instant) -> Option<Duration> {
        Some(now.saturating_duration_since(self.source.as_ref()?.heard))
    }

    /// Packets lost so far, of every sender there was; see RFC 3550 A.3.
    pub fn lost(&self) -> u64 {
        self.lost_before + self.source.as_ref().map_or(0, |source| source.arrivals.lost())
    }

    /// The sender at hand, unless it has left.
    pub fn ssrc(&self) -> Option<u32> {
        self.source.as_ref().filter(|source| !source.left).map(|source| source.ssrc)
    }

    /// The share of packets lost by the last report about the sender at hand, 0 to 1, and the interarrival jitter; `None`
    /// before it.
    pub fn reported(&self) -> Option<(f32, Duration)> {
        self.source.as_ref()?.arrivals.last_block()
    }

    /// Writes a receiver report from `ssrc` about the sender, as long as there is one (RFC 3550 6.4.2). `None` without one,
    /// or if the buffer is shorter than 32 bytes.
    pub fn report(&mut self, now: Instant, ssrc: u32, buffer: &mut [u8]) -> Option<usize> {
        let block = self.block(now)?;
        ReceiverReport::builder(ssrc).add_report_block(block).write_into(buffer).ok()
    }

    /// What a report says of the sender, as long as there is one.
    pub(crate) fn block(&mut self, now: Instant) -> Option<ReportBlockBuilder> {
        let source = self.source.as_mut().filter(|source| !source.left)?;
        Some(source.arrivals.block(now, source.ssrc))
    }

    /// The suspect before this packet, if the two are a sender that has begun anew.
    fn restarts(&mut self, now: Instant, packet: &RtpPacket<'_>) -> Option<Suspect> {
        let source = self.source.as_ref()?;
        let is_over = source.left || now.saturating_duration_since(source.heard) >= SILENCE;
        let follows = |suspect: &mut Suspect| suspect.ssrc == packet.ssrc() && suspect.next == packet.sequence_number();
        if source.ssrc == packet.ssrc() || is_over { self.suspect.take_if(follows) } else { None }
    }

    /// Gives out what the source held, and forgets it.
    fn restart(&mut self, now: Instant) {
        let Some(mut source) = self.source.take() else { return };
        self.lost_before += source.arrivals.lost();
        let never = now + Duration::from_secs(60 * 60);
        self.out.extend(std::iter::from_fn(|| source.order.pop(never)).map(Output::Packet));
        self.out.push_back(Output::Restarted);
    }

    fn take(&mut self, now: Instant, packet: &RtpPacket<'_>) -> Result<(), Ignored> {
        let (ssrc, config) = (packet.ssrc(), self.config);
        let source = self.source.get_or_insert_with(|| Source {
            ssrc,
            arrivals: Arrivals::new(config.clock_rate),
            time: Unwrap32::new(),
            order: Reorder::new(config.order),
            heard: now,
            left: false,
        });
        source.heard = now;
        source.left = false;
        let seq = source.arrivals.add(now, packet.sequence_number(), packet.timestamp());
        let packet = Packet {
            seq,
            time: source.time.extend(packet.timestamp()),
            marker: packet.marker_bit(),
            payload: packet.payload().into(),
            extensions: Extensions::default(),
            arrived: now,
        };
        let taken = match source.order.offer(now, seq, || packet.clone()) {
            Offered::Next => {
                self.out.push_back(Output::Packet(packet));
                Ok(())
            }
            Offered::Held => Ok(()),
            Offered::Dropped => Err(Ignored::Repeated),
        };
        if let Some((_, ntp, time)) = self.early.take().filter(|(early, _, _)| *early == ssrc) {
            self.heard_report(now, ssrc, ntp, time);
        }
        taken
    }

    fn heard_report(&mut self, now: Instant, ssrc: u32, ntp: Ntp, time: u32) {
        match self.source.as_mut().filter(|source| source.ssrc == ssrc) {
            Some(source) => {
                source.arrivals.reported(now, ntp);
                self.out.push_back(Output::Report(ntp, source.time.place(time)));
            }
            None => self.early = Some((ssrc, ntp, time)),
        }
    }
}

impl Source {
    fn is_continued_by(&self, packet: &RtpPacket<'_>) -> bool {
        let Some(newest) = self.arrivals.newest() else { return true };
        let seq = self.arrivals.place(packet.sequence_number());
        self.ssrc == packet.ssrc() && seq <= newest + MAX_DROPOUT && newest <= seq + MAX_MISORDER
    }
}

#[cfg(test)]
mod tests;
