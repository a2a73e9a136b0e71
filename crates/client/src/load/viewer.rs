//! One viewer of a load run: joins, waits for its first picture, then counts.
//!
//! A full viewer decrypts everything and opens every stamp. A light one gives its engine up at its first picture and has
//! its packets counted by their headers from then on, at a fraction of the cost ([`Counter`]); over TCP it keeps the
//! engine and stops decrypting. Either way the gateway sees a live session.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use str0m::config::DtlsCert;
use tokio::sync::{mpsc, watch};
use whipstitch_media::Kind;
use whipstitch_media::sequence::Unwrap;

use super::counter::{Counted, Counter};
use super::histogram::Histogram;
use super::reading;
use super::stamp::Stamp;
use super::tally::Tally;
use crate::error::{CloseReason, Error};
use crate::link::{Link, LinkEvent};
use crate::peer::{Event, Offer, VideoFormat};
use crate::reader::Way;
use crate::session;
use crate::signalling::{Endpoint, Session};
use crate::whep::{Milestones, Packet, Watch};

/// From POST to the first picture. Beyond this a person has left.
pub(super) const JOIN_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a viewer waits for the answer to its DELETE.
const FAREWELL: Duration = Duration::from_secs(5);

/// A second after its first picture a viewer is at the live edge: what it was given of the past has come.
const CAUGHT_UP: Duration = Duration::from_secs(1);

/// How a viewer comes to the stream.
#[derive(Clone)]
pub(crate) enum By {
    /// `tcp`: whether the gateway is to be reached over TCP.
    Whep { endpoint: Endpoint, certificate: Option<DtlsCert>, tcp: bool },
    /// Without WebRTC, by this URL.
    Reading(Way, String),
}

/// What a viewer is to do.
pub(crate) struct Plan {
    pub(crate) by: By,
    /// When to post.
    pub(crate) begins: Instant,
    pub(crate) full: bool,
    /// Whether the payloads carry stamps.
    pub(crate) stamped: bool,
    /// Zero of the stamps.
    pub(crate) epoch: Instant,
    /// Becomes true when it is time to leave.
    pub(crate) stop: watch::Receiver<bool>,
    /// Packets counted by all viewers, as they come.
    pub(crate) packets: Arc<AtomicU64>,
    /// Where light viewers go.
    pub(crate) counter: Counter,
    /// One message for each viewer: it has its first picture, or never will.
    pub(crate) joined: mpsc::Sender<()>,
}

/// What a viewer saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Whether every stamp was opened until the end.
    pub(crate) full: bool,
    /// Set when there was a first picture.
    pub(crate) milestones: Option<Milestones>,
    pub(crate) audio: TrackSeen,
    pub(crate) video: TrackSeen,
    /// From the sending of a picture's last packet to its arrival; full viewers of a stamped stream, and not what they
    /// were given of the past when they joined.
    pub(crate) transit: Histogram,
    /// The session ended before it was time.
    pub(crate) closed: Option<CloseReason>,
    pub(crate) error: Option<Error>,
}

/// What a viewer saw of one track.
#[derive(Debug, Default)]
pub(crate) struct TrackSeen {
    unwrap: Unwrap,
    /// The gateway's, once known: the port may have been somebody else's before, and what is sent to that one still comes.
    ssrc: Option<u32>,
    /// By RTP sequence number.
    pub(crate) sequence: Tally,
    /// By the running number in the stamp.
    pub(crate) numbers: Tally,
    /// Payloads that are not what was sealed.
    pub(crate) corrupt: u64,
    /// Payloads whose sequence number or RTP time does not stand where the stamp says.
    pub(crate) misplaced: u64,
    /// Sequence number minus running number, RTP time minus stamped time: the same for every packet.
    offsets: Option<(u64, u32)>,
}

impl TrackSeen {
    /// Counts a packet by its header; false if it is of another stream.
    pub(crate) fn head(&mut self, ssrc: u32, seq: u16) -> bool {
        let ours = *self.ssrc.get_or_insert(ssrc) == ssrc;
        if ours {
            self.header(seq);
        }
        ours
    }

    fn header(&mut self, seq: u16) {
        let seq = self.unwrap.extend(seq);
        self.sequence.see(seq);
    }

    /// `catching_up`: the viewer is given the past, which ends early where a picture comes that it can start at anew.
    fn packet(&mut self, packet: &Packet, stamped: bool, catching_up: bool) -> Option<Stamp> {
        let seq = self.unwrap.extend(packet.seq as u16);
        self.sequence.see(seq);
        if !stamped {
            return None;
        }
        let Some(stamp) = Stamp::open(&packet.payload) else {
            self.corrupt += 1;
            return None;
        };
        if catching_up && packet.start {
            self.numbers.skip_to(stamp.number);
            self.offsets = None;
        }
        self.numbers.see(stamp.number);
        let offsets = (seq.wrapping_sub(stamp.number), (packet.time as u32).wrapping_sub(stamp.time));
        if *self.offsets.get_or_insert(offsets) != offsets {
            self.misplaced += 1;
        }
        Some(stamp)
    }
}

impl Seen {
    pub(super) fn track(&mut self, kind: Kind) -> &mut TrackSeen {
        match kind {
            Kind::Audio => &mut self.audio,
            Kind::Video => &mut self.video,
        }
    }

    /// Takes note of a packet and, of full viewers, how long a picture took.
    pub(super) fn take(&mut self, plan: &Plan, milestones: Milestones, packet: &Packet, arrived: Instant) {
        let live = milestones.first_picture.is_some_and(|first| arrived >= first + CAUGHT_UP);
        let stamp = self.track(packet.kind).packet(packet, plan.stamped, !live);
        if let Some(stamp) = stamp.filter(|_| live && plan.full && packet.kind == Kind::Video && packet.marker) {
            let sent = plan.epoch + Duration::from_micros(stamp.sent);
            self.transit.record(arrived.saturating_duration_since(sent));
        }
    }
}

/// Lives the life of one viewer.
pub(crate) async fn watch(plan: Plan) -> Seen {
    let (endpoint, certificate, tcp) = match &plan.by {
        By::Whep { endpoint, certificate, tcp } => (endpoint, certificate, *tcp),
        By::Reading(way, url) => return reading::read(&plan, *way, url).await,
    };
    let mut seen = Seen { full: plan.full, ..Seen::default() };
    let mut stop = plan.stop.clone();
    // A sender that is gone means that the run was abandoned.
    let stopped = async {
        let _ = stop.wait_for(|stop| *stop).await;
    };
    tokio::pin!(stopped);
    let joined = tokio::select! {
        () = &mut stopped => return seen,
        joined = join(plan.begins, endpoint, certificate.clone(), tcp) => joined,
    };
    let (mut link, session, watch) = match joined {
        Ok(joined) => joined,
        Err(error) => {
            seen.error = Some(error);
            let _ = plan.joined.send(()).await;
            return seen;
        }
    };
    seen.milestones = Some(watch.milestones);
    let end = tokio::select! {
        () = &mut stopped => Ok(End::Stopped),
        end = count(&plan, &mut link, watch, &mut seen) => end,
    };
    match end {
        Ok(End::Stopped) => {}
        Ok(End::Closed(reason)) => seen.closed = Some(reason),
        Ok(End::Light) => {
            if let Err(error) = count_heads(&plan, link, &mut seen).await {
                seen.error = Some(error);
            }
            leave(session).await;
            return seen;
        }
        Err(error) => seen.error = Some(error),
    }
    leave(session).await;
    // The gateway has usually closed already: no news.
    let _ = link.close().await;
    seen
}

/// How the part of a viewer's life ends in which it has an engine.
enum End {
    /// It is time.
    Stopped,
    /// The session ended before.
    Closed(CloseReason),
    /// The first picture has come, and nothing is to be decrypted any more.
    Light,
}

async fn leave(session: Session) {
    if let Ok(Err(error)) = tokio::time::timeout(FAREWELL, session.delete()).await {
        tracing::debug!(%error, "viewer not deleted");
    }
}

/// Has the packets of a light viewer counted until its session or the run ends.
async fn count_heads(plan: &Plan, link: Link, seen: &mut Seen) -> Result<(), Error> {
    let payload_types = [Kind::Audio, Kind::Video].map(|kind| (link.peer().payload_type(kind), kind));
    let parted = link.part().expect("`count` saw that it can");
    let counted = Counted { audio: mem::take(&mut seen.audio), video: mem::take(&mut seen.video), closed: None };
    let counted = plan.counter.go_on(parted, payload_types, counted).await?;
    (seen.audio, seen.video, seen.closed) = (counted.audio, counted.video, counted.closed);
    Ok(())
}

async fn join(
    begins: Instant,
    endpoint: &Endpoint,
    certificate: Option<DtlsCert>,
    tcp: bool,
) -> Result<(Link, Session, Watch), Error> {
    let video = vec![VideoFormat::H264_CONSTRAINED_BASELINE];
    let offer = Offer { send: false, video, audio: true, rtx: true, tcp };
    tokio::time::sleep_until(begins.into()).await;
    let joining = session::join(endpoint, &offer, certificate).await?;
    let (posted, answered) = (joining.posted, joining.answered);
    let (link, session) = joining.connect().await?;
    let watch = Watch::new(Milestones::new(posted, answered, Instant::now()));
    Ok((link, session, watch))
}

/// Counts until the session ends, or the viewer can go light; tells once that the first picture came or did not.
async fn count(plan: &Plan, link: &mut Link, mut watch: Watch, seen: &mut Seen) -> Result<End, Error> {
    let kinds = [Kind::Audio, Kind::Video].map(|kind| (link.peer().payload_type(kind), kind));
    let kind_of = |pt: u8| kinds.iter().find(|(known, _)| *known == Some(pt)).map(|(_, kind)| *kind);
    let patience = tokio::time::sleep_until((watch.milestones.posted + JOIN_TIMEOUT).into());
    tokio::pin!(patience);
    let mut waiting = true;
    loop {
        let (arrived, event) = tokio::select! {
            event = link.next() => event?,
            () = &mut patience, if waiting => {
                waiting = false;
                let _ = plan.joined.send(()).await;
                continue;
            }
        };
        match event {
            LinkEvent::Header(header) => {
                if let Some(kind) = kind_of(header.pt) {
                    plan.packets.fetch_add(1, Ordering::Relaxed);
                    seen.track(kind).header(header.seq);
                }
            }
            LinkEvent::Peer(Event::Packet(packet)) => {
                plan.packets.fetch_add(1, Ordering::Relaxed);
                seen.track(packet.kind).ssrc = Some(packet.ssrc);
                let packet = watch.packet(arrived, packet);
                seen.milestones = Some(watch.milestones);
                seen.take(plan, watch.milestones, &packet, arrived);
                if waiting && watch.milestones.first_picture.is_some() {
                    waiting = false;
                    let _ = plan.joined.send(()).await;
                    if !plan.full {
                        link.go_light();
                    }
                }
            }
            LinkEvent::Peer(Event::Closed(reason)) => {
                if waiting {
                    let _ = plan.joined.send(()).await;
                }
                return Ok(End::Closed(reason));
            }
            LinkEvent::Peer(_) => {}
        }
        if !waiting && !plan.full && watch.milestones.first_picture.is_some() && link.can_part() {
            return Ok(End::Light);
        }
    }
}

#[cfg(test)]
mod tests {
    use whipstitch_media::Codec;

    use super::*;

    fn packet(seq: u64, time: u64, stamp: Stamp) -> Packet {
        let mut payload = vec![0x7c, 0x85];
        stamp.seal(&mut payload);
        Packet {
            kind: Kind::Video,
            codec: Codec::H264,
            seq,
            time,
            marker: false,
            payload: payload.into(),
            arrived: Instant::now(),
            start: false,
        }
    }

    #[test]
    fn the_past_ends_early_at_another_start_and_only_there() {
        let at = |seq: u64, number: u64, start| {
            let stamp = Stamp { sent: 0, number, time: number as u32 * 3000 };
            Packet { start, ..packet(seq, number * 3000, stamp) }
        };
        let mut track = TrackSeen::default();
        track.packet(&at(100, 7, true), true, true);
        track.packet(&at(101, 8, false), true, true);
        track.packet(&at(102, 40, true), true, true);
        track.packet(&at(103, 41, false), true, true);
        assert_eq!((track.misplaced, track.numbers.lost(), track.sequence.lost()), (0, 0, 0));
        // Neither without a start, nor at the live edge.
        track.packet(&at(104, 50, false), true, true);
        track.packet(&at(105, 60, true), true, false);
        assert_eq!((track.misplaced, track.numbers.lost()), (2, 17));
    }

    #[test]
    fn packet_off_its_place_is_noticed() {
        let stamp = |number| Stamp { sent: 0, number, time: number as u32 * 3000 };
        let mut track = TrackSeen::default();
        for number in 0..3 {
            track.packet(&packet(65_535 + number, 7_000 + 3000 * number, stamp(number)), true, false);
        }
        assert_eq!((track.misplaced, track.corrupt, track.sequence.lost(), track.numbers.lost()), (0, 0, 0, 0));
        // The gateway forgot a number of the publisher and closed the gap.
        track.packet(&packet(65_538, 7_000 + 3000 * 4, stamp(4)), true, false);
        assert_eq!((track.misplaced, track.sequence.lost(), track.numbers.lost()), (1, 0, 1));
        // It put a packet at the wrong time.
        track.packet(&packet(65_540, 7_000, stamp(5)), true, false);
        assert_eq!(track.misplaced, 2);
    }

    #[test]
    fn damaged_payload_is_corrupt() {
        let mut track = TrackSeen::default();
        let mut damaged = packet(1, 1, Stamp { sent: 0, number: 0, time: 0 });
        damaged.payload = damaged.payload.iter().map(|byte| byte ^ 1).collect();
        track.packet(&damaged, true, false);
        assert_eq!((track.corrupt, track.sequence.received), (1, 1));
    }
}
