//! What a publisher's RTP must pass before the engine sees it, and what the engine would no longer take.
//!
//! The engine maps a new SSRC to a section before it knows whether the packet is authentic: strangers could take the
//! publisher's place with one datagram. Here a packet of an SSRC that the engine does not map is opened first, and nothing is
//! remembered of one that is not authentic (protocol.md 7.2).
//!
//! And the engine looks 100 packets back, which at 20 Mbit/s is less than a round trip. A publisher without RTX repeats
//! the same packet under its own number (OBS keeps 4000): such a packet is opened here as long as the stream can still
//! place it, [`WINDOW`] packets back.

use std::sync::Arc;
use std::time::Instant;

use whipstitch_media::sequence::Seen;
use whipstitch_media::{Extensions, Kind, Packet};

use super::{MAX_SSRCS, RtpIdentity};
use crate::egress::srtp::{Opener, WINDOW, Window};

/// The engine takes what is at most this far behind the newest packet (its MAX_MISORDER).
const ENGINE_REACHES: u64 = 100;

/// What becomes of a packet.
pub(super) enum Admission {
    /// The engine is to have it.
    Engine,
    /// It is authentic, but too late for the engine.
    Late(Kind, Packet),
    /// Not authentic, or of one SSRC too many, or seen before, or too late for anybody.
    Dropped,
}

/// One SSRC, known from an authentic packet.
struct Source {
    ssrc: u32,
    seen: Window,
    /// Once the engine has told of its media; never for retransmissions.
    media: Option<Media>,
}

#[derive(Clone, Copy)]
struct Media {
    kind: Kind,
    pt: u8,
    /// RTP time of the newest packet, without its wraps.
    time: u64,
}

pub(super) struct Inbound {
    opener: Opener,
    sources: Vec<Source>,
}

impl Inbound {
    /// `opener` opens what the publisher seals.
    pub(super) fn new(opener: Opener) -> Inbound {
        Inbound { opener, sources: Vec::new() }
    }

    /// Notes a packet that the engine told of. `pt` is that of the media, also if the packet came by RTX.
    pub(super) fn note(&mut self, ssrc: u32, kind: Kind, pt: u8, packet: &Packet) {
        let Some(source) = self.sources.iter_mut().find(|source| source.ssrc == ssrc) else { return };
        // The first of an SSRC was marked when it was opened.
        if source.seen.insert(packet.seq) == Seen::Newest || source.media.is_none() {
            source.media = Some(Media { kind, pt, time: packet.time });
        }
    }

    /// Judges a packet. `mapped` says whether the engine has a stream of its SSRC.
    pub(super) fn admit(&mut self, now: Instant, rtp: &RtpIdentity, datagram: &[u8], mapped: bool) -> Admission {
        let Some(source) = self.sources.iter_mut().find(|source| source.ssrc == rtp.ssrc) else {
            return self.introduce(rtp, datagram);
        };
        let behind = source.behind(rtp.seq);
        match source.media {
            Some(media) if mapped && behind.is_some_and(|behind| behind > ENGINE_REACHES) => {
                let late = source.take_late(now, &self.opener, rtp, media, datagram);
                late.map_or(Admission::Dropped, |packet| Admission::Late(media.kind, packet))
            }
            _ if mapped => Admission::Engine,
            _ => {
                let Some(index) = source.index(rtp.seq) else { return Admission::Dropped };
                if self.opener.open_as(index, &mut datagram.to_vec()).is_err() {
                    return Admission::Dropped;
                }
                source.seen.insert(index);
                Admission::Engine
            }
        }
    }

    /// Whether an SRTCP datagram is the peer's, and comes for the first time.
    pub(super) fn is_authentic_rtcp(&mut self, datagram: &[u8]) -> bool {
        self.opener.open_rtcp(&mut datagram.to_vec()).is_ok()
    }

    /// The first packet of an SSRC.
    fn introduce(&mut self, rtp: &RtpIdentity, datagram: &[u8]) -> Admission {
        // RFC 3711 3.3.1: the roll-over counter begins at 0.
        let index = u64::from(rtp.seq);
        if self.sources.len() >= MAX_SSRCS || self.opener.open_as(index, &mut datagram.to_vec()).is_err() {
            return Admission::Dropped;
        }
        let mut source = Source { ssrc: rtp.ssrc, seen: Window::default(), media: None };
        source.seen.insert(index);
        self.sources.push(source);
        Admission::Engine
    }
}

impl Source {
    /// How far behind the newest packet a number lies; None if it does not, or further than a replay could be told.
    fn behind(&self, seq: u16) -> Option<u64> {
        let behind = u64::from((self.seen.newest()? as u16).wrapping_sub(seq));
        (behind < WINDOW).then_some(behind)
    }

    /// RFC 3711 3.3.1: the index nearest to the newest.
    fn index(&self, seq: u16) -> Option<u64> {
        let newest = self.seen.newest()?;
        newest.checked_add_signed(i64::from(seq.wrapping_sub(newest as u16) as i16))
    }

    fn take_late(
        &mut self,
        now: Instant,
        opener: &Opener,
        rtp: &RtpIdentity,
        media: Media,
        datagram: &[u8],
    ) -> Option<Packet> {
        let index = self.index(rtp.seq)?;
        if self.seen.check(index) != Seen::Late || media.pt != rtp.pt {
            return None;
        }
        let mut bytes = datagram.to_vec();
        let opened = opener.open_as(index, &mut bytes).ok()?;
        self.seen.insert(index);
        let padded = bytes.first()? & 0x20 != 0;
        let padding = if padded { usize::from(*bytes.get(opened.len.checked_sub(1)?)?) } else { 0 };
        let payload = bytes.get(opened.header..opened.len.checked_sub(padding)?)?;
        // Padding alone fills no gap.
        let payload: Arc<[u8]> = Some(payload).filter(|payload| !payload.is_empty())?.into();
        let time = u32::from_be_bytes(*datagram.get(4..)?.first_chunk()?);
        let time = media.time.checked_add_signed(i64::from(time.wrapping_sub(media.time as u32) as i32))?;
        let marker = datagram.get(1)? & 0x80 != 0;
        Some(Packet { seq: index, time, marker, payload, extensions: Extensions::default(), arrived: now })
    }
}
