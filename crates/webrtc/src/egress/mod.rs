//! The gateway's own sender towards WebRTC viewers: rewrite, protect, write into the batch, answer feedback.
//!
//! One [`Egress`] is one viewer. It takes bursts from the hub, gives them this viewer's numbers, SSRC and payload type,
//! seals them with SRTP and writes them straight into the worker's batch; it opens the viewer's SRTCP, resends what NACKs
//! name within bounds, reports keyframe requests, and sends sender reports. It knows no socket, no ICE, no DTLS and no
//! clock: keys are given to it once, time and path with every call. It lives as long as the viewer's session.
//!
//! What must never happen is that one key and SSRC seal two different packets with one index: see [`srtp`].

mod catch_up;
mod config;
mod congestion;
pub mod exercise;
mod feedback;
mod header;
mod keys;
mod repair;
pub mod srtp;
mod stats;
mod track;

pub use config::{ConfigError, ExtensionIds, Format, TrackConfig};
pub use feedback::{Feedback, Rejected};
pub use keys::{Keys, Profile, WrongLength};
pub use stats::EgressStats;
pub use whipstitch_rtp::rtcp::Malformed;

use std::time::{Duration, Instant};

use whipstitch_media::Kind;
use whipstitch_net::Path;
use whipstitch_net::batch::Batch;
use whipstitch_net::outbox::Room;
use whipstitch_rtp::report::{Asking, MAX_COMPOUND, REPORT_INTERVAL, Report};
use whipstitch_stream::{Burst, Clock, History, PerKind, Replay};

use congestion::Congestion;
use feedback::Requests;
use srtp::{NoSealer, Opener};
use track::Track;

/// The sender towards one viewer. It cannot be printed, for it holds keys.
pub struct Egress {
    cname: String,
    tracks: PerKind<Option<Track>>,
    clocks: PerKind<Option<Clock>>,
    /// While the viewer's video is not yet at the live edge.
    replay: Option<Replay>,
    opener: Opener,
    requests: Requests,
    /// Who wants to know the round trip.
    asking: Asking,
    /// When the next reports are due; None before the first.
    next_report: Option<Instant>,
    /// From the first reports to the second: a random half of the interval, so that viewers who joined at the same
    /// packet do not report in one go for ever after.
    second_report: Duration,
    congestion: Congestion,
    rtt: Option<Duration>,
    closed: bool,
}

impl Egress {
    /// An egress that has sent nothing. It is the only writer of the tracks' SSRCs under the local key. `cname` is the
    /// same for all tracks of the session; `random` fills from a CSPRNG (first sequence numbers, RTP time offsets).
    pub fn new(
        now: Instant,
        keys: Keys,
        cname: String,
        tracks: Vec<TrackConfig>,
        mut random: impl FnMut(&mut [u8]),
    ) -> Result<Egress, ConfigError> {
        config::check(&cname, &tracks)?;
        let (mut sealers, opener) = keys.into_contexts();
        let mut by_kind: PerKind<Option<Track>> = PerKind::default();
        for config in tracks {
            let kind = config.kind;
            let track = Track::new(now, config, &mut sealers, &mut random).map_err(|no_sealer| match no_sealer {
                NoSealer::Taken(ssrc) => ConfigError::SsrcTaken(ssrc),
                NoSealer::First(_) => unreachable!("first sequence numbers have 15 bits"),
            })?;
            by_kind[kind] = Some(track);
        }
        let mut phase = [0; 2];
        random(&mut phase);
        let second_report = REPORT_INTERVAL / 2 + REPORT_INTERVAL * u32::from(u16::from_be_bytes(phase)) / 131_072;
        Ok(Egress {
            cname,
            tracks: by_kind,
            clocks: PerKind::default(),
            replay: None,
            opener,
            requests: Requests::default(),
            asking: Asking::default(),
            next_report: None,
            second_report,
            congestion: Congestion::default(),
            rtt: None,
            closed: false,
        })
    }

    /// From now on the track of this kind goes out in this format; before that, what comes for it is left out. Whatever comes
    /// with another codec than the format's is left out, too. SSRC and numbers go on, and NACKs for what was sent before are
    /// answered in the format that it had. Only formats of one clock rate may follow each other (RFC 7160 4.1).
    ///
    /// # Errors
    /// [`ConfigError::PayloadType`]; nothing has changed then.
    pub fn send_as(&mut self, kind: Kind, format: Format) -> Result<(), ConfigError> {
        config::check_format(&format)?;
        if let Some(track) = &mut self.tracks[kind] {
            track.send_as(format);
        }
        Ok(())
    }

    /// Sends what this viewer gets of a burst, and with a track's first packets its first report, so that the viewer can
    /// align lips from the first picture on. What there is no `room` for is left out: video as soon as more waits than
    /// was sent in the last second, whole bursts at a time and up to the next start after half of that has gone; audio
    /// burst by burst. The numbers of what is sent have no gap. After `close` it sends nothing.
    pub fn deliver(&mut self, now: Instant, path: Path, burst: &Burst, room: Room, batch: &mut Batch) {
        if self.closed {
            return;
        }
        for (kind, clock) in burst.clocks.iter() {
            self.clocks[kind] = clock.or(self.clocks[kind]);
        }
        let mut congestion = self.congestion;
        let takes = congestion.judge(burst, room, || self.bitrate(now));
        self.congestion = congestion;
        for forwarded in &burst.packets {
            if self.is_to_be_replayed(forwarded) {
                continue;
            }
            let kind = forwarded.kind();
            let Some(track) = &mut self.tracks[kind] else { continue };
            if takes[kind] {
                track.send(path, forwarded, batch);
            } else {
                track.drop_to_start();
            }
        }
        let mut unreported = false;
        for (kind, track) in self.tracks.iter_mut() {
            let Some(track) = track else { continue };
            track.end_burst(now);
            unreported |= track.started() && !track.reports.any_sent() && self.clocks[kind].is_some();
        }
        if unreported {
            self.report(now, path, batch);
        }
    }

    /// When `handle_timeout` has something to do; None before the first packet.
    pub fn deadline(&self) -> Option<Instant> {
        let deadlines = [self.next_report, self.replay.as_ref().map(Replay::deadline)];
        deadlines.into_iter().flatten().min().filter(|_| !self.closed)
    }

    /// Sends the reports that are due, and the next slice of a replay out of `history`, which belongs to the viewer's
    /// stream, once there is `room` for it.
    pub fn handle_timeout(
        &mut self,
        now: Instant,
        path: Path,
        history: Option<&History>,
        room: Room,
        batch: &mut Batch,
    ) {
        if self.closed {
            return;
        }
        if self.next_report.is_some_and(|deadline| deadline <= now) {
            self.report(now, path, batch);
        }
        self.catch_up(now, path, history, room, batch);
    }

    /// Says BYE for what was sent; from then on the egress is silent. For the end of the session, not for a publisher's
    /// absence.
    pub fn close(&mut self, now: Instant, path: Path, batch: &mut Batch) {
        if !self.closed {
            self.compounds(now, path, true, batch);
            self.closed = true;
        }
    }

    /// Whether a packet of media was sent.
    pub fn has_sent(&self) -> bool {
        self.tracks.iter().any(|(_, track)| track.as_ref().is_some_and(Track::started))
    }

    /// Whether a video track waits for a packet a decoder can start at, and the path would take it.
    pub fn wants_keyframe(&self) -> bool {
        !self.closed
            && !self.congestion.is_held()
            && self.tracks.video.as_ref().is_some_and(|track| track.subscription().waiting())
    }

    /// There is no path any more: what comes from now on is left out. With a path again, video begins at a start.
    pub fn hold(&mut self) {
        self.congestion.hold();
        self.replay = None;
        self.skip();
    }

    /// Packets were lost on their way to this egress. What comes next goes on without a gap in the numbers: audio at once,
    /// video at a start.
    pub fn skip(&mut self) {
        for (_, track) in self.tracks.iter_mut() {
            if let Some(track) = track {
                track.drop_to_start();
            }
        }
    }

    /// Bits of UDP payload a second over the last second, reports not included.
    pub fn bitrate(&self, now: Instant) -> u64 {
        self.tracks.iter().filter_map(|(_, track)| track.as_ref()).map(|track| track.bitrate(now)).sum()
    }

    /// Figures since the beginning.
    pub fn stats(&self) -> EgressStats {
        let mut stats = EgressStats { rtt: self.rtt, ..self.requests.stats() };
        stats.counters.skipped = self.congestion.skipped();
        for (_, track) in self.tracks.iter() {
            let Some(track) = track else { continue };
            stats.counters += track.counts.counters;
            let reception = track.reports.reception;
            stats.loss = stats.loss.max(reception.loss);
            stats.jitter = stats.jitter.max(reception.jitter);
            stats.counters.lost += u64::try_from(reception.lost).unwrap_or(0);
        }
        stats
    }

    /// Reports of all tracks at once: between two of them the publisher may have moved the wall-clock, and a viewer that
    /// compares an old audio report with a new video report would tear the two apart.
    fn report(&mut self, now: Instant, path: Path, batch: &mut Batch) {
        self.compounds(now, path, false, batch);
        self.asking.answered();
        let wait = if self.next_report.is_none() { self.second_report } else { REPORT_INTERVAL };
        self.next_report = Some(now + wait);
    }

    /// One compound for each track that has sent something: a compound of two senders would be sealed under one of their
    /// SSRCs, and not every receiver looks for the second.
    fn compounds(&mut self, now: Instant, path: Path, leaving: bool, batch: &mut Batch) {
        for (kind, track) in self.tracks.iter_mut() {
            let Some(track) = track.as_mut().filter(|track| track.started()) else { continue };
            let (Some(clock), Some(rate)) = (self.clocks[kind], track.clock_rate()) else { continue };
            let (ntp, time) = clock.read(now, rate);
            let report = Report {
                ssrc: track.config().ssrc,
                cname: &self.cname,
                ntp,
                time: track.subscription().time_of(time),
                packets: track.counts.counters.packets,
                octets: track.counts.octets,
            };
            let leaving: Vec<u32> = if leaving { track.ssrcs().collect() } else { Vec::new() };
            let pushed = batch.push(path, MAX_COMPOUND + track.media().rtcp_overhead(), |buffer| {
                let len = report.answer(now, &self.asking, &leaving, buffer)?;
                track.media().seal_rtcp(buffer, len).ok()
            });
            if pushed {
                track.reports.sent(now, ntp);
            }
        }
    }
}
