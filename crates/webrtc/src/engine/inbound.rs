//! What a publisher's RTP must pass before the engine sees it, and what the engine would no longer take.
//!
//! The engine maps a new SSRC to a section before it knows whether the packet is authentic: strangers could take the
//! publisher's place with one datagram. Here a packet of an SSRC that the engine does not map is opened first, and nothing is
//! remembered of one that is not authentic (protocol.md 7.2).
//!
//! And the engine looks 100 packets back, which at 20 Mbit/s is less than a round trip, and believes whatever number a
//! retransmission names. What is resent later, under its own number (OBS keeps 4000 packets) or by RTX, is opened here as
//! long as the stream can still place it, [`WINDOW`] packets back; numbers that never can have been lost are not believed.
//! So that it is resent, what is [`Missing`] is asked for just as far back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use whipstitch_media::sequence::Seen;
use whipstitch_media::{Extensions, Kind, Packet};
use whipstitch_stream::PerKind;

use super::MAX_SSRCS;
use super::header::RtpIdentity;
use super::missing::{Came, Missing};
use crate::egress::srtp::{Opener, WINDOW, Window};

/// The engine takes what is at most this far behind the newest packet (its MAX_MISORDER).
const ENGINE_REACHES: u64 = 100;

/// What becomes of a packet.
pub(super) enum Admission {
    /// The engine is to have it.
    Engine,
    /// It is authentic, but too late for the engine.
    Late(Late),
    /// Not authentic, or of one SSRC too many, or seen before, or too far off for anybody.
    Dropped,
}

/// A packet that came too late for the engine; one that came by RTX as what it repairs.
pub(super) struct Late {
    pub(super) kind: Kind,
    /// Of the media, also if it came by RTX.
    pub(super) ssrc: u32,
    pub(super) packet: Packet,
}

/// Whose retransmission a packet is.
#[derive(Clone, Copy)]
pub(super) enum Repairs {
    /// Of the only sender of this kind.
    Kind(Kind),
    /// Of this SSRC, a simulcast layer.
    Layer(Kind, u32),
    /// Of a simulcast layer that cannot be told.
    Unknown,
}

/// A packet of media, as the engine told of it.
pub(super) struct Noted {
    pub(super) ssrc: u32,
    pub(super) kind: Kind,
    /// Of the media, also if it came by RTX.
    pub(super) pt: u8,
    /// Its number without wraps.
    pub(super) index: u64,
    /// Its RTP time without wraps.
    pub(super) time: u64,
    /// Its sender is asked for what is missing.
    pub(super) asks: bool,
    /// It came by RTX.
    pub(super) rtx: bool,
    /// Its sender resends by RTX.
    pub(super) resends_by_rtx: bool,
}

/// One SSRC, known from an authentic packet.
struct Source {
    ssrc: u32,
    seen: Window,
    /// Once the engine has told of its media; never for retransmissions.
    media: Option<Media>,
    /// Of media whose sender is asked for what is missing.
    missing: Option<Missing>,
}

#[derive(Clone, Copy)]
struct Media {
    kind: Kind,
    pt: u8,
    /// RTP time of the newest packet, without its wraps.
    time: u64,
    /// Resends come by RTX.
    resends_by_rtx: bool,
}

pub(super) struct Inbound {
    opener: Opener,
    sources: Vec<Source>,
    /// Whose packets came last of each kind: what retransmissions repair.
    current: PerKind<Option<u32>>,
}

impl Inbound {
    /// `opener` opens what the publisher seals.
    pub(super) fn new(opener: Opener) -> Inbound {
        Inbound { opener, sources: Vec::new(), current: PerKind::default() }
    }

    /// Notes a packet that the engine told of; true if it is the first of its SSRC.
    pub(super) fn note(&mut self, now: Instant, noted: &Noted) -> bool {
        let Some(source) = self.sources.iter_mut().find(|source| source.ssrc == noted.ssrc) else { return false };
        let first = source.media.is_none();
        // The first of an SSRC was marked when it was opened.
        if source.seen.insert(noted.index) == Seen::Newest || first {
            let &Noted { kind, pt, time, resends_by_rtx, .. } = noted;
            source.media = Some(Media { kind, pt, time, resends_by_rtx });
            self.current[noted.kind] = Some(noted.ssrc);
        }
        if noted.asks {
            let begins = source.missing.is_none();
            let came = Came::by(noted.rtx, noted.resends_by_rtx);
            source.missing.get_or_insert_default().arrived(now, noted.index, came);
            if begins {
                self.forget_missing_but(noted.kind, noted.ssrc);
            }
        } else {
            source.missing = None;
        }
        first
    }

    /// The media of this kind comes from this SSRC from now on: what is missing of another mends nothing, and its numbers
    /// say nothing any more.
    fn forget_missing_but(&mut self, kind: Kind, ssrc: u32) {
        for source in self.sources.iter_mut().filter(|source| source.ssrc != ssrc) {
            if let Some(missing) =
                source.missing.as_mut().filter(|_| source.media.is_some_and(|media| media.kind == kind))
            {
                missing.forget();
            }
        }
    }

    /// Says to `ask` what each source is to be asked for now, if anything.
    pub(super) fn poll_missing(&mut self, now: Instant, rtt: Option<Duration>, mut ask: impl FnMut(u32, &[u16])) {
        let mut numbers = Vec::new();
        for source in &mut self.sources {
            let Some(missing) = &mut source.missing else { continue };
            missing.poll(now, rtt, &mut numbers);
            if !numbers.is_empty() {
                ask(source.ssrc, &numbers);
                numbers.clear();
            }
        }
    }

    /// When [`Inbound::poll_missing`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.sources.iter().filter_map(|source| source.missing.as_ref()?.deadline()).min()
    }

    /// The highest number of this kind's that was given up since this was asked last.
    pub(super) fn take_given_up(&mut self, kind: Kind) -> Option<u64> {
        let of_kind = self.sources.iter_mut().filter(|source| source.media.is_some_and(|media| media.kind == kind));
        of_kind.filter_map(|source| source.missing.as_mut()?.take_given_up()).max()
    }

    /// Whether an authentic packet of this SSRC has come.
    pub(super) fn knows(&self, ssrc: u32) -> bool {
        self.sources.iter().any(|source| source.ssrc == ssrc)
    }

    /// The SSRCs of this kind's media.
    pub(super) fn media(&self, kind: Kind) -> impl Iterator<Item = u32> {
        let of_kind = self.sources.iter().filter(move |source| source.media.is_some_and(|media| media.kind == kind));
        of_kind.map(|source| source.ssrc)
    }

    /// Judges a packet. `mapped` says whether the engine has a stream of its SSRC, `repairs` whose retransmission it is if
    /// it is one.
    pub(super) fn admit(
        &mut self,
        now: Instant,
        rtp: &RtpIdentity,
        datagram: &[u8],
        mapped: bool,
        repairs: Option<Repairs>,
    ) -> Admission {
        let known = self.sources.iter_mut().find(|source| source.ssrc == rtp.ssrc);
        if let Some(source) = known.filter(|_| mapped) {
            source.hear_again(now, &self.opener, rtp.seq, datagram);
            let late = source.media.filter(|_| source.behind(rtp.seq).is_some_and(|behind| behind > ENGINE_REACHES));
            let Some(media) = late else { return Admission::Engine };
            let opened = Opened::of(&self.opener, source.index(rtp.seq), datagram);
            let packet = opened.filter(|_| media.pt == rtp.pt).and_then(|opened| {
                source.take_late(now, media, source.index(rtp.seq)?, false, datagram, opened.payload())
            });
            let late = |packet| Admission::Late(Late { kind: media.kind, ssrc: rtp.ssrc, packet });
            return packet.map_or(Admission::Dropped, late);
        }
        let Some(opened) = self.introduce(rtp, datagram) else { return Admission::Dropped };
        match repairs {
            Some(Repairs::Kind(kind)) => self.repair(now, kind, self.current[kind], datagram, opened.payload()),
            Some(Repairs::Layer(kind, ssrc)) => self.repair(now, kind, Some(ssrc), datagram, opened.payload()),
            // The engine knows no more than we do, and takes nothing of it but that it has come.
            Some(Repairs::Unknown) | None => Admission::Engine,
        }
    }

    /// Opens a packet of an SSRC that the engine does not map. Only an authentic one makes its SSRC known.
    fn introduce(&mut self, rtp: &RtpIdentity, datagram: &[u8]) -> Option<Opened> {
        let known = self.sources.iter().position(|source| source.ssrc == rtp.ssrc);
        if known.is_none() && self.sources.len() >= MAX_SSRCS {
            return None;
        }
        // RFC 3711 3.3.1: the roll-over counter begins at 0.
        let index = known.map_or(Some(rtp.seq.into()), |at| self.sources[at].index(rtp.seq))?;
        let opened = Opened::of(&self.opener, Some(index), datagram)?;
        let at = known.unwrap_or_else(|| {
            self.sources.push(Source { ssrc: rtp.ssrc, seen: Window::default(), media: None, missing: None });
            self.sources.len() - 1
        });
        self.sources[at].seen.insert(index);
        Some(opened)
    }

    /// Judges a retransmission of a packet of `main` by the number it names (RFC 4588 4).
    fn repair(&mut self, now: Instant, kind: Kind, main: Option<u32>, datagram: &[u8], payload: &[u8]) -> Admission {
        let Some((number, payload)) = payload.split_first_chunk() else { return Admission::Engine };
        let main = self.sources.iter_mut().find(|source| Some(source.ssrc) == main);
        // Whose it is the engine may know.
        let Some((main, newest)) = main.and_then(|main| main.seen.newest().map(|newest| (main, newest))) else {
            return Admission::Engine;
        };
        let number = u16::from_be_bytes(*number);
        // A sender that probes for bandwidth may be ahead by what is on its way.
        let ahead = u64::from(number.wrapping_sub(newest as u16));
        if ahead <= ENGINE_REACHES || main.behind(number).is_some_and(|behind| behind <= ENGINE_REACHES) {
            return Admission::Engine;
        }
        let late = main.media.and_then(|media| {
            main.behind(number)?;
            main.take_late(now, media, main.index(number)?, true, datagram, payload)
        });
        late.map_or(Admission::Dropped, |packet| Admission::Late(Late { kind, ssrc: main.ssrc, packet }))
    }

    /// Whether a packet of an SSRC that is known is authentic, and nothing but padding.
    pub(super) fn is_padding(&self, rtp: &RtpIdentity, datagram: &[u8]) -> bool {
        let source = self.sources.iter().find(|source| source.ssrc == rtp.ssrc);
        let opened = source.and_then(|source| Opened::of(&self.opener, source.index(rtp.seq), datagram));
        opened.is_some_and(|opened| opened.payload().is_empty())
    }

    /// Whether an SRTCP datagram is the peer's, and comes for the first time.
    pub(super) fn is_authentic_rtcp(&mut self, datagram: &[u8]) -> bool {
        self.opener.open_rtcp(&mut datagram.to_vec()).is_ok()
    }
}

/// A packet that was opened.
struct Opened {
    bytes: Vec<u8>,
    header: usize,
    end: usize,
}

impl Opened {
    fn of(opener: &Opener, index: Option<u64>, datagram: &[u8]) -> Option<Opened> {
        let mut bytes = datagram.to_vec();
        let opened = opener.open_as(index?, &mut bytes).ok()?;
        let padded = bytes.first()? & 0x20 != 0;
        let padding = if padded { usize::from(*bytes.get(opened.len.checked_sub(1)?)?) } else { 0 };
        let end = opened.len.checked_sub(padding).filter(|end| *end >= opened.header)?;
        Some(Opened { bytes, header: opened.header, end })
    }

    /// Without padding.
    fn payload(&self) -> &[u8] {
        &self.bytes[self.header..self.end]
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

    /// Notes that a packet comes again, if it matters and is authentic.
    fn hear_again(&mut self, now: Instant, opener: &Opener, seq: u16, datagram: &[u8]) {
        let (Some(index), Some(missing)) = (self.index(seq), &mut self.missing) else { return };
        if missing.is_in_doubt(index) && Opened::of(opener, Some(index), datagram).is_some() {
            missing.came_again(now, index);
        }
    }

    /// The packet of this index, if it comes for the first time and is not only padding. `datagram` has its time and marker,
    /// and is `rtx` or not.
    fn take_late(
        &mut self,
        now: Instant,
        media: Media,
        index: u64,
        rtx: bool,
        datagram: &[u8],
        payload: &[u8],
    ) -> Option<Packet> {
        if self.seen.check(index) != Seen::Late || payload.is_empty() {
            return None;
        }
        let time = u32::from_be_bytes(*datagram.get(4..)?.first_chunk()?);
        let time = media.time.checked_add_signed(i64::from(time.wrapping_sub(media.time as u32) as i32))?;
        let marker = datagram.get(1)? & 0x80 != 0;
        self.seen.insert(index);
        if let Some(missing) = &mut self.missing {
            missing.arrived(now, index, Came::by(rtx, media.resends_by_rtx));
        }
        let payload: Arc<[u8]> = payload.into();
        Some(Packet { seq: index, time, marker, payload, extensions: Extensions::default(), arrived: now })
    }
}

#[cfg(test)]
mod tests;
