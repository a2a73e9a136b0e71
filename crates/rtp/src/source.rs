//! Whom media is taken from, where nothing but its address tells: [`Lock`] for one port, [`Intake`] for all of a sender.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use rtp_types::RtpPacket;
use whipstitch_media::Kind;
use whipstitch_stream::PerKind;

/// How long a source must be silent before another may take its place (protocol.md 12.3): longer than a sender that
/// restarts needs, so that nobody slips in between.
const SILENCE: Duration = Duration::from_secs(5);

/// The first address that sends has the place, and keeps it as long as it goes on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lock {
    holder: Option<(SocketAddr, Instant)>,
}

impl Lock {
    /// Whether RTP from this address is taken now.
    pub fn admits(&mut self, now: Instant, from: SocketAddr) -> bool {
        let is_free = |(holder, heard): (SocketAddr, Instant)| {
            // A sender that restarts on the same machine comes from another port.
            let silence = if holder.ip() == from.ip() { SILENCE / 10 } else { SILENCE };
            holder == from || now.saturating_duration_since(heard) >= silence
        };
        let admits = self.holder.is_none_or(is_free);
        if admits {
            self.holder = Some((from, now));
        }
        admits
    }

    /// Whether RTCP from this address is taken: senders use another port for it.
    pub fn knows(&self, from: IpAddr) -> bool {
        self.holder.is_some_and(|(holder, _)| holder.ip() == from)
    }

    /// Whether somebody at another address has the place now.
    fn is_foreign(&self, now: Instant, from: IpAddr) -> bool {
        self.holder.is_some_and(|(holder, heard)| holder.ip() != from && now.saturating_duration_since(heard) < SILENCE)
    }

    /// Who has the place.
    pub fn holder(&self) -> Option<SocketAddr> {
        self.holder.map(|(holder, _)| holder)
    }
}

/// What a datagram is that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// RTP.
    Rtp,
    /// RTCP.
    Rtcp,
}

/// Judges what arrives at the ports of one sender, each track at a port of its own, before anything is made of it.
///
/// The first address that sends RTP of an announced payload type has the whole session: other tracks are taken from the
/// same address only, whatever port they come from, and so is RTCP. Nothing else can take or keep a place.
#[derive(Debug)]
pub struct Intake {
    payload_types: PerKind<Option<u8>>,
    locks: PerKind<Lock>,
}

impl Intake {
    /// Tracks with these payload types; no packet of a kind without one is taken.
    pub fn new(payload_types: PerKind<Option<u8>>) -> Intake {
        Intake { payload_types, locks: PerKind::default() }
    }

    /// What a datagram at the port of RTP of this kind is, `None` if it is not taken. RTCP that comes there is known by its
    /// packet type (RFC 5761 4).
    pub fn rtp(&mut self, now: Instant, kind: Kind, from: SocketAddr, bytes: &[u8]) -> Option<Taken> {
        if bytes.get(1).is_some_and(|second| (192..=223).contains(second)) {
            return self.rtcp(now, from, bytes);
        }
        let pt = RtpPacket::parse(bytes).ok()?.payload_type();
        let is_taken = self.payload_types[kind] == Some(pt)
            && !self.locks.iter().any(|(other, lock)| other != kind && lock.is_foreign(now, from.ip()))
            && self.locks[kind].admits(now, from);
        is_taken.then_some(Taken::Rtp)
    }

    /// The same of a datagram at a port of RTCP. Before the first RTP anybody's is taken: FFmpeg reports before it sends.
    pub fn rtcp(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) -> Option<Taken> {
        let is_free = self.locks.iter().all(|(_, lock)| lock.holder().is_none());
        let is_known = || {
            self.locks.iter().any(|(_, lock)| lock.knows(from.ip()))
                && !self.locks.iter().any(|(_, lock)| lock.is_foreign(now, from.ip()))
        };
        let is_rtcp = bytes.len() >= 8 && bytes.first().is_some_and(|first| first >> 6 == 2);
        (is_rtcp && (is_free || is_known())).then_some(Taken::Rtcp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_sends_keeps_the_place_until_it_is_silent() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let [alice, restarted, mallory] =
            ["10.0.0.1:5000", "10.0.0.1:5002", "10.0.0.2:5000"].map(|text| text.parse().unwrap());
        let mut lock = Lock::default();
        assert!(!lock.knows(IpAddr::from([10, 0, 0, 1])));
        for (millis, from, admitted) in [
            (0, alice, true),
            (100, mallory, false),
            (200, restarted, false),
            (300, alice, true),
            (799, restarted, false),
            (800, restarted, true),
            (801, alice, false),
            (5799, mallory, false),
            (5800, mallory, true),
            (5801, restarted, false),
        ] {
            assert_eq!(lock.admits(at(millis), from), admitted, "{from} after {millis} ms");
        }
        assert!(lock.knows(mallory.ip()) && !lock.knows(alice.ip()));
    }

    /// RTP with this payload type.
    fn rtp(pt: u8) -> Vec<u8> {
        let mut packet = vec![0x80, pt];
        packet.extend([0; 10]);
        packet
    }

    /// A receiver report of nothing.
    const RTCP: [u8; 8] = [0x80, 201, 0, 1, 0, 0, 0, 7];

    #[test]
    fn all_tracks_and_reports_are_taken_from_the_address_that_sent_first() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let [alice, audio, reports, mallory] =
            ["10.0.0.1:5000", "10.0.0.1:6000", "10.0.0.1:5001", "10.0.0.2:5000"].map(|text| text.parse().unwrap());
        let mut intake = Intake::new(PerKind { audio: Some(97), video: Some(96) });
        let (video, sound) = (rtp(96), rtp(0x80 | 97));
        assert_eq!(intake.rtcp(at(0), reports, &RTCP), Some(Taken::Rtcp), "a report before the first packet");
        for (millis, kind, from, bytes, taken) in [
            (0, Kind::Video, mallory, &rtp(97)[..], None),
            (0, Kind::Video, mallory, &[0x80; 11], None),
            (0, Kind::Video, mallory, &[0x40, 96, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], None),
            (0, Kind::Video, mallory, &[], None),
            (1, Kind::Video, alice, &video, Some(Taken::Rtp)),
            (2, Kind::Video, mallory, &video, None),
            (2, Kind::Audio, mallory, &sound, None),
            (2, Kind::Audio, mallory, &RTCP, None),
            (3, Kind::Audio, audio, &sound, Some(Taken::Rtp)),
            (4, Kind::Audio, alice, &sound, None),
            (5, Kind::Video, alice, &RTCP, Some(Taken::Rtcp)),
            (6, Kind::Video, alice, &RTCP[..7], None),
        ] {
            assert_eq!(intake.rtp(at(millis), kind, from, bytes), taken, "{kind} {from} after {millis} ms");
        }
        assert_eq!(intake.rtcp(at(7), reports, &RTCP), Some(Taken::Rtcp));
        assert_eq!(intake.rtcp(at(7), mallory, &RTCP), None);
        // Silent for five seconds, the place is free for anybody, and the other track's with it.
        assert_eq!(intake.rtp(at(5002), Kind::Audio, mallory, &sound), None);
        assert_eq!(intake.rtp(at(5003), Kind::Audio, mallory, &sound), Some(Taken::Rtp));
        assert_eq!(intake.rtp(at(5004), Kind::Video, alice, &video), None, "the whole session is another's now");
        assert_eq!(intake.rtcp(at(5004), reports, &RTCP), None);
    }

    #[test]
    fn a_kind_that_was_not_announced_is_not_taken() {
        let mut intake = Intake::new(PerKind { audio: None, video: Some(96) });
        let from = "10.0.0.1:5000".parse().unwrap();
        assert_eq!(intake.rtp(Instant::now(), Kind::Audio, from, &rtp(96)), None);
        assert_eq!(intake.rtp(Instant::now(), Kind::Video, from, &rtp(96)), Some(Taken::Rtp));
    }
}
