//! One track towards one viewer: numbers, headers, protection, resends.
//!
//! Owns the two writers of the track (media and RTX) and the subscription that gives numbers; the payload goes from the
//! stream's shared packet into the batch once and is sealed there.

use std::time::{Duration, Instant};

use whipstitch_media::Kind;
use whipstitch_net::Path;
use whipstitch_net::batch::{Batch, MAX_RUN_BYTES};
use whipstitch_rtp::report::Reports;
use whipstitch_stream::stats::Counters;
use whipstitch_stream::{Forwarded, History, Subscription};

use super::config::{Format, TrackConfig};
use super::header::{Elements, FIXED, Header};
use super::repair::Repair;
use super::srtp::{NoSealer, SealError, Sealer, Sealers, WINDOW};

/// Packets of an SSRC that carry the mid. The viewer needs one of them to map the SSRC; after 20 it has had one even
/// over a lossy path, and every further one is bytes.
const MID_PACKETS: u64 = 20;

/// Original sequence number in front of a resent payload (RFC 4588 4).
const OSN: usize = 2;

/// What was sent on a track and what came of it.
#[derive(Clone, Copy, Default)]
pub(super) struct Counts {
    /// Payload bytes, as sender reports count them: resends under the same SSRC included.
    pub(super) octets: u64,
    pub(super) counters: Counters,
}

/// The RTX writer.
struct RtxSender {
    sealer: Sealer,
    first: u64,
    next: u64,
}

/// How packets go out from one of the viewer's numbers on.
#[derive(Clone, Copy)]
struct SentAs {
    since: u64,
    format: Format,
}

/// One track towards one viewer.
pub(super) struct Track {
    config: TrackConfig,
    subscription: Subscription,
    first: u64,
    /// The newest first; the one before it for what is asked for late.
    sent_as: [Option<SentAs>; 2],
    media: Sealer,
    rtx: Option<RtxSender>,
    repair: Repair,
    /// Media bytes of the burst at hand.
    burst: usize,
    pub(super) counts: Counts,
    pub(super) reports: Reports,
}

impl Track {
    /// A track that has sent nothing; `random` chooses where sequence numbers and RTP time begin.
    pub(super) fn new(
        now: Instant,
        config: TrackConfig,
        sealers: &mut Sealers,
        random: &mut impl FnMut(&mut [u8]),
    ) -> Result<Track, NoSealer> {
        let mut number = || {
            let mut bytes = [0; 4];
            random(&mut bytes);
            u32::from_be_bytes(bytes)
        };
        let first = first_seq(number());
        let subscription = Subscription::new(config.kind, first, number());
        // Only without RTX are packets sealed twice.
        let resends = if config.repeats { remembered(config.kind) } else { 0 };
        let media = sealers.sealer(config.ssrc, first.into(), resends)?;
        let rtx = match config.rtx_ssrc {
            Some(ssrc) => {
                let first = first_seq(number()).into();
                Some(RtxSender { sealer: sealers.sealer(ssrc, first, 0)?, first, next: first })
            }
            None => None,
        };
        Ok(Track {
            subscription,
            first: first.into(),
            sent_as: [None; 2],
            media,
            rtx,
            repair: Repair::new(now, repair_places(config.kind)),
            config,
            burst: 0,
            counts: Counts::default(),
            reports: Reports::default(),
        })
    }

    pub(super) fn config(&self) -> &TrackConfig {
        &self.config
    }

    pub(super) fn subscription(&self) -> &Subscription {
        &self.subscription
    }

    /// From the next number on.
    pub(super) fn send_as(&mut self, format: Format) {
        let [newest, before] = self.sent_as;
        if newest.is_some_and(|newest| newest.format == format) {
            return;
        }
        let since = self.subscription.newest().map_or(self.first, |newest| newest + 1);
        // One that nothing was sent in leaves no trace.
        let used = newest.filter(|newest| newest.since < since);
        self.sent_as = [Some(SentAs { since, format }), used.or(before)];
    }

    /// How the packet of this number went out, as far back as that is known.
    fn sent_as(&self, seq: u64) -> Option<Format> {
        let known = self.sent_as.iter().flatten().find(|sent_as| seq >= sent_as.since);
        known.map(|sent_as| sent_as.format)
    }

    /// RTP clock rate in Hz; `None` as long as there is no format.
    pub(super) fn clock_rate(&self) -> Option<u32> {
        self.sent_as[0].map(|newest| newest.format.codec.clock_rate())
    }

    pub(super) fn drop_to_start(&mut self) {
        self.subscription.drop_to_start();
    }

    /// Whether a packet has been sent.
    pub(super) fn started(&self) -> bool {
        self.counts.counters.packets > 0
    }

    /// The writer of the media SSRC, whose RTCP it seals too.
    pub(super) fn media(&mut self) -> &mut Sealer {
        &mut self.media
    }

    /// Sends a packet of the stream, if the subscription takes it. What is in another codec than was agreed on comes from a
    /// publisher that is gone, or from one that the viewer is about to be told of.
    pub(super) fn send(&mut self, path: Path, forwarded: &Forwarded, batch: &mut Batch) {
        let format = self.sent_as[0].map(|newest| newest.format);
        let Some(Format { pt, .. }) = format.filter(|format| format.codec == forwarded.codec) else {
            self.subscription.drop_to_start();
            return;
        };
        let Some(rewritten) = self.subscription.accept(forwarded) else { return };
        let payload = &*forwarded.packet.payload;
        let sent = Original { config: &self.config, first: self.first, tag: self.media.tag_len(), pt };
        let header = sent.header(forwarded, rewritten.seq, rewritten.time);
        let len = header.len() + payload.len();
        let media = &mut self.media;
        let sent = push(path, len + media.tag_len(), batch, |buffer| {
            let at = header.write(buffer);
            media.seal_from(rewritten.seq, buffer, at, payload)
        });
        match sent {
            Some(bytes) => {
                self.count(payload.len(), bytes);
                self.burst += bytes;
            }
            None => self.counts.counters.unsealed += 1,
        }
    }

    /// Counts what `send` sent at `now`; called once per burst, because it divides.
    pub(super) fn end_burst(&mut self, now: Instant) {
        if self.burst > 0 {
            self.repair.sent(now, self.burst);
            self.burst = 0;
        }
    }

    /// Bits a second over the last second.
    pub(super) fn bitrate(&self, now: Instant) -> u64 {
        self.repair.rate(now) * 8
    }

    fn count(&mut self, payload: usize, bytes: usize) {
        self.counts.counters.packets += 1;
        self.counts.octets += payload as u64;
        self.counts.counters.bytes += bytes as u64;
    }

    /// Answers one sequence number of a NACK, if it was sent, is still there, and may be sent again now. False when the
    /// budget is used up, so that the rest of the NACK need not be looked at.
    pub(super) fn resend(
        &mut self,
        now: Instant,
        path: Path,
        seq: u16,
        rtt: Option<Duration>,
        history: &History,
        batch: &mut Batch,
    ) -> bool {
        let seq = self.subscription.extend(seq);
        let found = self.subscription.source_of(seq).and_then(|source| history.get(self.config.kind, source));
        let Some(forwarded) = found else { return true };
        let Some(format) = self.sent_as(seq).filter(|format| format.nack) else { return true };
        if !self.repair.is_due(now, seq, rtt) {
            return true;
        }
        // The larger of both ways, with every extension there is: the budget is not a matter of a few bytes.
        let size = forwarded.packet.payload.len() + FIXED + OSN + self.media.tag_len();
        if !self.repair.affords(now, size) {
            return false;
        }
        let bytes = match format.rtx_pt {
            Some(pt) => self.send_rtx(path, forwarded, seq, pt, batch),
            None => self.send_again(path, forwarded, seq, format.pt, batch),
        };
        if let Some(bytes) = bytes {
            self.counts.counters.resent += 1;
            self.repair.resent(now, seq, bytes);
        }
        true
    }

    /// RFC 4588 4: the original number in front of the payload; marker and time of the original; a number of its own.
    fn send_rtx(&mut self, path: Path, forwarded: &Forwarded, seq: u64, pt: u8, batch: &mut Batch) -> Option<usize> {
        let rtx = self.rtx.as_mut()?;
        let payload = &*forwarded.packet.payload;
        let tag = rtx.sealer.tag_len();
        let mid = rtx.next < rtx.first + MID_PACKETS;
        let others = FIXED + OSN + payload.len() + tag;
        let header = Header {
            pt,
            marker: forwarded.packet.marker,
            time: self.subscription.time_of(forwarded.packet.time),
            elements: Elements::of(&self.config.extensions, &forwarded.packet.extensions, mid, others),
        };
        let len = header.len() + OSN + payload.len();
        // Used up, whatever becomes of it.
        let index = rtx.next;
        rtx.next += 1;
        let bytes = push(path, len + tag, batch, |buffer| {
            let at = header.write(buffer);
            buffer[at..at + OSN].copy_from_slice(&(seq as u16).to_be_bytes());
            buffer[at + OSN..len].copy_from_slice(payload);
            rtx.sealer.seal(index, buffer, at, len)
        })?;
        self.counts.counters.rtx += 1;
        self.counts.counters.bytes += bytes as u64;
        Some(bytes)
    }

    /// Without RTX: byte for byte what was sent, or nothing. The header is made by the same function of the same packet
    /// and number, and the sealer compares the tag with the one it sent.
    fn send_again(&mut self, path: Path, forwarded: &Forwarded, seq: u64, pt: u8, batch: &mut Batch) -> Option<usize> {
        let payload = &*forwarded.packet.payload;
        let time = self.subscription.time_of(forwarded.packet.time);
        let sent = Original { config: &self.config, first: self.first, tag: self.media.tag_len(), pt };
        let header = sent.header(forwarded, seq, time);
        let len = header.len() + payload.len();
        let media = &self.media;
        let bytes = push(path, len + media.tag_len(), batch, |buffer| {
            let at = header.write(buffer);
            buffer[at..len].copy_from_slice(payload);
            media.seal_again(seq, buffer, at, len)
        });
        match bytes {
            Some(bytes) => self.count(payload.len(), bytes),
            None => self.counts.counters.unsealed += 1,
        }
        bytes
    }

    /// The SSRCs of the track, the media's first.
    pub(super) fn ssrcs(&self) -> impl Iterator<Item = u32> {
        // RTX has been heard of only if it was used.
        let rtx = self.rtx.as_ref().filter(|rtx| rtx.next > rtx.first).map(|rtx| rtx.sealer.ssrc());
        std::iter::once(self.config.ssrc).chain(rtx)
    }
}

/// Makes the header of a media packet: a function of nothing but packet, number and what never changes for that number, so
/// that a resend has the same.
struct Original<'a> {
    config: &'a TrackConfig,
    first: u64,
    tag: usize,
    pt: u8,
}

impl<'a> Original<'a> {
    fn header(&self, forwarded: &Forwarded, seq: u64, time: u32) -> Header<'a> {
        let packet = &forwarded.packet;
        let others = FIXED + packet.payload.len() + self.tag;
        let mid = seq < self.first + MID_PACKETS;
        let elements = Elements::of(&self.config.extensions, &packet.extensions, mid, others);
        Header { pt: self.pt, marker: packet.marker, time, elements }
    }
}

/// How many of the newest packets resends are remembered of: 2.5 s of audio in packets of 20 ms; half a second of video at
/// 20 Mbit/s, 4 s at 2.5.
fn remembered(kind: Kind) -> usize {
    match kind {
        Kind::Audio => 128,
        Kind::Video => WINDOW as usize,
    }
}

/// Places of the record of resends. 512 packets within one round trip of 100 ms would be 5000 a second.
fn repair_places(kind: Kind) -> usize {
    match kind {
        Kind::Audio => 64,
        Kind::Video => 512,
    }
}

/// Where numbering begins: below 2^15, so that a receiver that misses the first packets around a wrap does not get the
/// roll-over counter wrong.
fn first_seq(random: u32) -> u16 {
    (random & 0x7fff) as u16
}

/// Writes one packet into the batch; None if it was not sealed, does not fit a datagram, or the batch takes no more.
fn push(
    path: Path,
    max: usize,
    batch: &mut Batch,
    write: impl FnOnce(&mut [u8]) -> Result<usize, SealError>,
) -> Option<usize> {
    if max > MAX_RUN_BYTES {
        return None;
    }
    let mut written = None;
    let pushed = batch.push(path, max, |buffer| {
        written = write(buffer).ok();
        written
    });
    written.filter(|_| pushed)
}
