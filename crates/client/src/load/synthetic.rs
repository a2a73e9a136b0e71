//! The load publisher's media: H.264 packets that are well-formed RFC 6184 and Opus packets of one frame, noise inside,
//! each closed by a [`Stamp`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use whipstitch_media::Kind;
use whipstitch_media::time::duration;

use super::histogram::Histogram;
use super::stamp::{Stamp, TAIL};
use crate::clip::{Clip, SOUND_TICKS};
use crate::pace::Script;
use crate::whip::Packet;

/// What to make.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Bits a second of video payload.
    pub(crate) bitrate: u32,
    pub(crate) pictures_per_second: u32,
    /// Pictures from one keyframe to the next.
    pub(crate) gop: u32,
    /// A picture's packets spread over its time in bursts 5 ms apart, instead of one burst.
    pub(crate) paced: bool,
    /// A keyframe request is answered by the next picture; otherwise it is ignored, as OBS and FFmpeg do.
    pub(crate) obeys: bool,
}

/// Payload bytes of a video packet before rounding: what encoders make of 1200-byte datagrams.
const PACKET: u32 = 1150;
/// The same limit as for the clip.
const PACKET_LIMIT: usize = 1180;
/// Payload bytes of an Opus packet: 32 kbit/s.
const SOUND: usize = 80;
/// 48 kHz full band, 20 ms, mono, one frame (RFC 6716 3.1: configuration 15).
const OPUS_TOC: u8 = 15 << 3;
/// Bursts of a paced publisher, as libwebrtc's pacer makes them.
const PACE: Duration = Duration::from_millis(5);

/// NAL unit header bytes: F, NRI and type (RFC 6184 1.3, 5.7.1, 5.8).
const STAP_A: u8 = 0x78;
const FILLER: u8 = 0x0c;
const FU_A_REFERENCE: u8 = 0x5c;
const FU_A_KEY: u8 = 0x7c;
const FU_START: u8 = 0x80;
const FU_END: u8 = 0x40;
const SLICE: u8 = 1;
const IDR_SLICE: u8 = 5;

/// See the module.
pub(crate) struct Synthetic {
    shape: Shape,
    /// Zero of the stamps.
    epoch: Instant,
    /// Slices a picture is cut into, and bytes of each.
    parts: u32,
    part_length: usize,
    /// Counts pictures begun, parts sent of the current one (a keyframe has one more), sounds sent.
    picture: u64,
    part: u32,
    sound: u64,
    since_keyframe: u32,
    keyframe_wanted: bool,
    /// Grows with each packet.
    sent: Arc<AtomicU64>,
    /// Packets sent of each kind: what viewers must have seen in the end.
    pub(crate) video_packets: u64,
    pub(crate) audio_packets: u64,
    /// How long after its due time each packet was handed over.
    pub(crate) lateness: Histogram,
}

impl Synthetic {
    pub(crate) fn new(shape: Shape, epoch: Instant, sent: Arc<AtomicU64>) -> Synthetic {
        let bytes = shape.bitrate / 8 / shape.pictures_per_second.max(1);
        let parts = ((bytes + PACKET / 2) / PACKET).max(2);
        let part_length = (bytes as usize / parts as usize).clamp(TAIL + 8, PACKET_LIMIT);
        Synthetic {
            shape,
            epoch,
            parts,
            part_length,
            picture: 0,
            part: 0,
            sound: 0,
            since_keyframe: 0,
            keyframe_wanted: true,
            sent,
            video_packets: 0,
            audio_packets: 0,
            lateness: Histogram::default(),
        }
    }

    fn picture_captured(&self) -> Duration {
        duration(self.picture * 90_000 / u64::from(self.shape.pictures_per_second.max(1)), 90_000)
    }

    fn picture_due(&self) -> Duration {
        let captured = self.picture_captured();
        if !self.shape.paced {
            return captured;
        }
        let interval = Duration::from_secs(1) / self.shape.pictures_per_second.max(1);
        let bursts = (interval.as_micros() / PACE.as_micros()).max(1) as u32;
        captured + PACE * (self.part * bursts / (self.parts + 1))
    }

    fn sound_captured(&self) -> Duration {
        duration(self.sound * u64::from(SOUND_TICKS), 48_000)
    }

    fn video(&mut self, start: Instant, now: Instant) -> Packet {
        let captured = start + self.picture_captured();
        let time = (self.picture * 90_000 / u64::from(self.shape.pictures_per_second.max(1))) as u32;
        if self.part == 0 {
            self.since_keyframe += 1;
            if self.keyframe_wanted || self.since_keyframe >= self.shape.gop {
                self.since_keyframe = 0;
                self.keyframe_wanted = false;
            } else {
                // No parameter sets before an ordinary picture.
                self.part = 1;
            }
        }
        let keyframe = self.since_keyframe == 0;
        let mut payload = if self.part == 0 { parameter_sets() } else { self.slice(keyframe) };
        let stamp = Stamp { sent: micros(now - self.epoch), number: self.video_packets, time };
        stamp.seal(&mut payload);
        self.video_packets += 1;
        let marker = self.part == self.parts;
        if marker {
            self.part = 0;
            self.picture += 1;
        } else {
            self.part += 1;
        }
        Packet { kind: Kind::Video, time, marker, payload: payload.into(), captured }
    }

    /// One fragment of the picture's only slice, without its stamp.
    fn slice(&self, keyframe: bool) -> Vec<u8> {
        let (indicator, slice) = if keyframe { (FU_A_KEY, IDR_SLICE) } else { (FU_A_REFERENCE, SLICE) };
        let first = if self.part == 1 { FU_START } else { 0 };
        let last = if self.part == self.parts { FU_END } else { 0 };
        let mut payload = Vec::with_capacity(self.part_length);
        payload.extend_from_slice(&[indicator, slice | first | last]);
        // Begins with a one bit: first_mb_in_slice is 0.
        payload.resize(self.part_length - TAIL, 0xaa);
        payload
    }

    fn audio(&mut self, start: Instant, now: Instant) -> Packet {
        let captured = start + self.sound_captured();
        let time = (self.sound * u64::from(SOUND_TICKS)) as u32;
        let mut payload = Vec::with_capacity(SOUND);
        payload.push(OPUS_TOC);
        payload.resize(SOUND - TAIL, 0x55);
        let stamp = Stamp { sent: micros(now - self.epoch), number: self.audio_packets, time };
        stamp.seal(&mut payload);
        self.audio_packets += 1;
        self.sound += 1;
        Packet { kind: Kind::Audio, time, marker: false, payload: payload.into(), captured }
    }
}

impl Script for Synthetic {
    fn due(&self) -> Duration {
        self.picture_due().min(self.sound_captured())
    }

    fn take(&mut self, start: Instant, now: Instant) -> Packet {
        self.sent.fetch_add(1, Ordering::Relaxed);
        self.lateness.record(now.saturating_duration_since(start + self.due()));
        if self.picture_due() <= self.sound_captured() { self.video(start, now) } else { self.audio(start, now) }
    }

    fn keyframe_requested(&mut self) {
        self.keyframe_wanted |= self.shape.obeys;
    }
}

/// A STAP-A of the clip's parameter sets and a filler unit whose end is left for the stamp.
fn parameter_sets() -> Vec<u8> {
    let (sps, pps) = &Clip::builtin().parameter_sets;
    let mut payload = vec![STAP_A];
    for unit in [sps, pps] {
        payload.extend_from_slice(&(unit.len() as u16).to_be_bytes());
        payload.extend_from_slice(unit);
    }
    payload.extend_from_slice(&(TAIL as u16 + 1).to_be_bytes());
    payload.push(FILLER);
    payload
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use whipstitch_media::Codec;
    use whipstitch_media::codec::Inspector;

    use super::*;
    use crate::pace;

    const SHAPE: Shape = Shape { bitrate: 2_500_000, pictures_per_second: 30, gop: 60, paced: false, obeys: true };

    /// Ten seconds of bursts with the offset at which each was due.
    fn bursts(shape: Shape, mut at: impl FnMut(Duration, &mut Synthetic)) -> Vec<(Duration, Vec<Packet>)> {
        let begin = Instant::now();
        let mut start = begin;
        let mut script = Synthetic::new(shape, begin, Arc::default());
        let mut bursts = Vec::new();
        while script.due() < Duration::from_secs(10) {
            let due = script.due();
            at(due, &mut script);
            bursts.push((due, pace::wake(&mut script, &mut start, begin + due)));
        }
        bursts
    }

    fn packets(shape: Shape) -> Vec<Packet> {
        bursts(shape, |_, _| ()).into_iter().flat_map(|(_, burst)| burst).collect()
    }

    fn keyframes(packets: &[Packet]) -> Vec<u32> {
        let starts = |packet: &&Packet| packet.kind == Kind::Video && packet.payload[0] == STAP_A;
        packets.iter().filter(starts).map(|packet| packet.time).collect()
    }

    #[test]
    fn rate_is_the_one_asked_for() {
        let packets = packets(SHAPE);
        let bytes = |kind| packets.iter().filter(|p| p.kind == kind).map(|p| p.payload.len()).sum::<usize>();
        let video = bytes(Kind::Video) as f64 * 8.0 / 10.0;
        assert!((2_450_000.0..2_550_000.0).contains(&video), "{video}");
        assert_eq!(bytes(Kind::Audio), 500 * SOUND);
        assert!(packets.iter().all(|packet| packet.payload.len() <= PACKET_LIMIT));
    }

    #[test]
    fn picture_is_one_burst_unless_paced() {
        let picture = |burst: &Vec<Packet>| burst.iter().filter(|packet| packet.kind == Kind::Video).count();
        assert!(bursts(SHAPE, |_, _| ()).iter().all(|(_, burst)| matches!(picture(burst), 0 | 9 | 10)));
        let paced = bursts(Shape { paced: true, ..SHAPE }, |_, _| ());
        assert!(paced.iter().all(|(_, burst)| picture(burst) <= 2));
        assert_eq!(paced.iter().map(|(_, burst)| picture(burst)).sum::<usize>(), 2705);
    }

    #[test]
    fn keyframe_comes_with_each_gop_and_on_request() {
        let on_time: Vec<u32> = (0..5).map(|gop| gop * 60 * 3000).collect();
        assert_eq!(keyframes(&packets(SHAPE)), on_time);
        for (obeys, expected) in [(true, vec![0, 10 * 3000]), (false, vec![0])] {
            let ask = |due: Duration, script: &mut Synthetic| {
                if due == Duration::from_millis(320) {
                    script.keyframe_requested();
                }
            };
            let asked = bursts(Shape { gop: 900, obeys, ..SHAPE }, ask);
            let asked: Vec<Packet> = asked.into_iter().flat_map(|(_, burst)| burst).collect();
            assert_eq!(keyframes(&asked), expected);
        }
    }

    #[test]
    fn stamps_count_every_packet_of_a_kind() {
        for paced in [false, true] {
            let packets = packets(Shape { paced, ..SHAPE });
            for kind in [Kind::Audio, Kind::Video] {
                let of_kind = packets.iter().filter(|packet| packet.kind == kind);
                for (number, packet) in of_kind.enumerate() {
                    let stamp = Stamp::open(&packet.payload).expect("sealed");
                    assert_eq!((stamp.number, stamp.time), (number as u64, packet.time));
                }
            }
        }
    }

    #[test]
    fn gateway_sees_well_formed_video_with_one_start_a_keyframe() {
        let packets = packets(SHAPE);
        let mut inspector = Inspector::new(Codec::H264);
        let mut starts = Vec::new();
        for packet in packets.iter().filter(|packet| packet.kind == Kind::Video) {
            let inspection = inspector.inspect(packet.time.into(), &packet.payload);
            assert!(!inspection.broken, "{:02x?}", &packet.payload[..2]);
            if inspection.start {
                starts.push(packet.time);
            }
        }
        assert_eq!(starts, keyframes(&packets));
    }
}
