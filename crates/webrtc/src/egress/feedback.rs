//! What a viewer's RTCP brings about: resends, keyframe requests, measurements.
//!
//! Nothing a viewer says reaches beyond its own session but a keyframe request, which the hub merges; nothing it says
//! makes us remember without bound.

use std::time::Instant;

use whipstitch_media::Kind;
use whipstitch_net::Path;
use whipstitch_net::batch::Batch;
use whipstitch_rtp::report::smooth;
use whipstitch_rtp::rtcp::{Compound, Malformed, Message, Reports};
use whipstitch_stream::History;
use whipstitch_stream::stats::Counters;

use super::srtp::{OpenError, Opener};
use super::{Egress, EgressStats};

/// Sequence numbers looked at in one datagram. Browsers keep 1000 missing packets at most; a datagram full of NACKs could
/// name 6000.
const MAX_NACKED: usize = 1024;

/// Senders of FIRs remembered. One viewer is one sender, or one for each of its receivers.
const MAX_FIR_SENDERS: usize = 8;

/// What the owner of the session has to see to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Feedback {
    /// A PLI or a new FIR for our video: the viewer cannot decode.
    pub keyframe: bool,
    /// A BYE. Browsers that leave say so by DTLS; this is for statistics.
    pub bye: bool,
}

/// Why a datagram had no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// Not the viewer's, or not for the first time.
    #[error(transparent)]
    Protection(#[from] OpenError),
    /// Authentic but not RTCP. Its index is used up.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// What viewers asked for, counted and told apart from repeats.
#[derive(Default)]
pub(super) struct Requests {
    counters: Counters,
    reported: bool,
    estimate: Option<u64>,
    /// Sequence number of the last FIR by its sender.
    fir_senders: Vec<(u32, u8)>,
}

impl Requests {
    pub(super) fn stats(&self) -> EgressStats {
        EgressStats {
            counters: self.counters,
            reported: self.reported,
            estimate: self.estimate,
            ..EgressStats::default()
        }
    }

    /// Whether this FIR is a new request: RFC 5104 4.3.1.1: the same number from the same sender is a repetition.
    fn is_new_fir(&mut self, sender: u32, number: u8) -> bool {
        if let Some((_, last)) = self.fir_senders.iter_mut().find(|(known, _)| *known == sender) {
            return std::mem::replace(last, number) != number;
        }
        if self.fir_senders.len() == MAX_FIR_SENDERS {
            self.fir_senders.remove(0);
        }
        self.fir_senders.push((sender, number));
        true
    }
}

impl Egress {
    /// Takes an SRTCP datagram of the viewer and answers it: NACKs from `history`, which belongs to the viewer's stream,
    /// into `batch`. The datagram is decrypted in place. After an error nothing has changed but the count of rejected
    /// datagrams, and the replay list if the datagram was authentic.
    pub fn handle_rtcp(
        &mut self,
        now: Instant,
        path: Path,
        datagram: &mut [u8],
        history: &History,
        batch: &mut Batch,
    ) -> Result<Feedback, Rejected> {
        let compound = open(&mut self.opener, datagram).inspect_err(|_| self.requests.counters.rejected += 1)?;
        let mut feedback = Feedback::default();
        if self.closed {
            return Ok(feedback);
        }
        let mut looks = MAX_NACKED;
        for message in compound.messages() {
            match message {
                Message::Reports(reports) => self.take_reports(now, &reports),
                Message::Nack { media, nack } => {
                    self.answer_nack(now, path, media, nack.entries(), &mut looks, history, batch);
                }
                Message::Pli { media } => feedback.keyframe |= self.take_pli(media),
                Message::Fir { sender, fir } => {
                    for entry in fir.entries() {
                        feedback.keyframe |= self.take_fir(sender, entry.ssrc(), entry.sequence());
                    }
                }
                Message::ReferenceTime { sender, ntp } => self.asking.asked(now, sender, ntp),
                Message::Remb { bitrate } => self.requests.estimate = Some(bitrate),
                Message::Bye(_) => feedback.bye = true,
            }
        }
        Ok(feedback)
    }

    fn take_reports(&mut self, now: Instant, reports: &Reports<'_>) {
        reports.for_each(|block| {
            for (_, track) in self.tracks.iter_mut() {
                let Some(track) = track.as_mut().filter(|track| track.config().ssrc == block.ssrc()) else { continue };
                self.requests.reported = true;
                let Some(rate) = track.clock_rate() else { continue };
                if let Some(rtt) = track.reports.received(now, &block, rate) {
                    self.rtt = Some(smooth(self.rtt, rtt));
                }
            }
        });
    }

    /// Resends what a NACK names. `looks` is what may still be looked at.
    #[allow(clippy::too_many_arguments)] // All of them are the caller's arguments, passed on.
    fn answer_nack(
        &mut self,
        now: Instant,
        path: Path,
        media: u32,
        numbers: impl Iterator<Item = u16>,
        looks: &mut usize,
        history: &History,
        batch: &mut Batch,
    ) {
        let tracks = self.tracks.iter_mut().filter_map(|(_, track)| track.as_mut());
        let Some(track) = tracks.into_iter().find(|track| track.config().ssrc == media) else { return };
        self.requests.counters.nacks += 1;
        for number in numbers {
            if *looks == 0 || !track.resend(now, path, number, self.rtt, history, batch) {
                return;
            }
            *looks -= 1;
        }
    }

    fn is_our_video(&self, ssrc: u32) -> bool {
        self.tracks[Kind::Video].as_ref().is_some_and(|track| track.config().ssrc == ssrc)
    }

    fn take_pli(&mut self, media: u32) -> bool {
        let ours = self.is_our_video(media);
        self.requests.counters.plis += u64::from(ours);
        ours
    }

    fn take_fir(&mut self, sender: u32, media: u32, number: u8) -> bool {
        let new = self.is_our_video(media) && self.requests.is_new_fir(sender, number);
        self.requests.counters.firs += u64::from(new);
        new
    }
}

fn open<'a>(opener: &mut Opener, datagram: &'a mut [u8]) -> Result<Compound<'a>, Rejected> {
    let len = opener.open_rtcp(datagram)?;
    Ok(Compound::parse(datagram.get_mut(..len).ok_or(Malformed)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senders_of_firs_are_forgotten_the_oldest_first() {
        let mut requests = Requests::default();
        for sender in 0..100 {
            assert!(requests.is_new_fir(sender, 1));
        }
        assert_eq!(requests.fir_senders.len(), MAX_FIR_SENDERS);
        assert!(!requests.is_new_fir(99, 1) && !requests.is_new_fir(92, 1));
        assert!(requests.is_new_fir(91, 1));
    }
}
