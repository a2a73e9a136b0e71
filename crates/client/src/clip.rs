//! The clip of the built-in test source, made by `scripts/make-clip.sh`: pictures and sound already packetized.
//!
//! The video is Annex B with an access unit delimiter before every picture, the sound Ogg Opus. Both are as long as each
//! other to the sample, so that a loop has neither gap nor overlap.

use std::io::Cursor;
use std::sync::{Arc, OnceLock};

use ogg::PacketReader;
use str0m::unversioned::{H264Packetizer, Packetizer};

/// RTP ticks of one picture: 30 a second at 90 kHz.
pub(crate) const PICTURE_TICKS: u32 = 3_000;
/// RTP ticks of one Opus packet: 20 ms at 48 kHz.
pub(crate) const SOUND_TICKS: u32 = 960;

/// Leaves room for RTP header, extensions, SRTP tag and RTX in a datagram of 1200 bytes (protocol.md 9.2).
const PAYLOAD_LIMIT: usize = 1180;

const VIDEO: &[u8] = include_bytes!("../assets/clip.h264");
const AUDIO: &[u8] = include_bytes!("../assets/clip.opus");

/// NAL unit types (RFC 6184 and ITU-T H.264 table 7-1).
const NAL_IDR: u8 = 5;
const NAL_SPS: u8 = 7;
const NAL_PPS: u8 = 8;
const NAL_DELIMITER: u8 = 9;

/// One coded picture.
pub(crate) struct Picture {
    /// RFC 6184 mode 1 payloads; the last one carries the marker.
    pub(crate) payloads: Vec<Arc<[u8]>>,
    /// Whether a decoder may start here.
    pub(crate) keyframe: bool,
}

/// Pictures and sound to publish over and over.
pub struct Clip {
    pub(crate) pictures: Vec<Picture>,
    /// Opus packets of 20 ms.
    pub(crate) sounds: Vec<Arc<[u8]>>,
    /// The first sequence and picture parameter set, without start codes.
    pub(crate) parameter_sets: (Vec<u8>, Vec<u8>),
}

/// Why a clip cannot be played.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClipError {
    /// The first picture is not one to start with.
    #[error("the video does not begin with a keyframe and its parameter sets")]
    NoStart,
    /// Picture or sound would be ahead after a loop.
    #[error("{pictures} pictures and {sounds} sounds do not last equally long")]
    Uneven {
        /// 30 a second.
        pictures: usize,
        /// 50 a second.
        sounds: usize,
    },
    /// The sound cannot be read.
    #[error("the sound is not Ogg Opus: {0}")]
    Sound(String),
    /// The video cannot be sent.
    #[error("a picture cannot be packetized")]
    Picture,
}

impl Clip {
    /// The embedded clip, parsed at first use.
    pub(crate) fn builtin() -> Arc<Clip> {
        static CLIP: OnceLock<Arc<Clip>> = OnceLock::new();
        let parsed = || Arc::new(Clip::parse(VIDEO, AUDIO).expect("the committed clip parses: a test says so"));
        Arc::clone(CLIP.get_or_init(parsed))
    }

    /// The built-in sound with other pictures: 10 s of H.264 at 30 a second in Annex B form, without B-frames, an access
    /// unit delimiter before every picture, the first of which a decoder can start at. For tests.
    ///
    /// # Errors
    /// When it is none of that.
    pub fn with_pictures(video: &[u8]) -> Result<Clip, ClipError> {
        Clip::parse(video, AUDIO)
    }

    /// The pictures of the built-in clip as a file: a counter in each says which of the 300 it is.
    pub fn builtin_pictures() -> &'static [u8] {
        VIDEO
    }

    pub(crate) fn parse(video: &[u8], audio: &[u8]) -> Result<Clip, ClipError> {
        let units = nal_units(video);
        let first = |wanted| units.iter().find(|unit| nal_type(unit) == Some(wanted)).map(|unit| unit.to_vec());
        let parameter_sets = first(NAL_SPS).zip(first(NAL_PPS)).ok_or(ClipError::NoStart)?;
        let pictures = pictures(&units)?;
        let sounds = sounds(audio)?;
        if !pictures.first().is_some_and(|picture| picture.keyframe) {
            return Err(ClipError::NoStart);
        }
        // Lengths in seconds, compared crosswise to stay in integers.
        let video = pictures.len() as u64 * u64::from(PICTURE_TICKS) * 48_000;
        let audio = sounds.len() as u64 * u64::from(SOUND_TICKS) * 90_000;
        if video != audio {
            return Err(ClipError::Uneven { pictures: pictures.len(), sounds: sounds.len() });
        }
        Ok(Clip { pictures, sounds, parameter_sets })
    }
}

fn nal_type(unit: &[u8]) -> Option<u8> {
    unit.first().map(|byte| byte & 0x1f)
}

/// The NAL units of an Annex B stream, without start codes and trailing zeros (ITU-T H.264 B.1).
fn nal_units(stream: &[u8]) -> Vec<&[u8]> {
    let starts: Vec<usize> =
        stream.windows(3).enumerate().filter(|(_, window)| *window == [0, 0, 1]).map(|(at, _)| at).collect();
    let ends = starts.iter().skip(1).copied().chain([stream.len()]);
    let units = starts.iter().zip(ends).filter_map(|(start, end)| stream.get(start + 3..end));
    units
        .map(|unit| {
            let length = unit.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            &unit[..length]
        })
        .filter(|unit| !unit.is_empty())
        .collect()
}

fn pictures(units: &[&[u8]]) -> Result<Vec<Picture>, ClipError> {
    let mut packetizer = H264Packetizer::default();
    let by_picture = units.split(|unit| nal_type(unit) == Some(NAL_DELIMITER));
    let by_picture = by_picture.filter(|units| !units.is_empty());
    by_picture.map(|units| picture(&mut packetizer, units)).collect()
}

fn picture(packetizer: &mut H264Packetizer, units: &[&[u8]]) -> Result<Picture, ClipError> {
    let has = |wanted| units.iter().any(|unit| nal_type(unit) == Some(wanted));
    let keyframe = has(NAL_IDR) && has(NAL_SPS) && has(NAL_PPS);
    let annex_b: Vec<u8> = units.iter().flat_map(|unit| [&[0, 0, 0, 1], *unit].concat()).collect();
    let payloads = packetizer.packetize(PAYLOAD_LIMIT, &annex_b).map_err(|_| ClipError::Picture)?;
    if payloads.is_empty() {
        return Err(ClipError::Picture);
    }
    Ok(Picture { payloads: payloads.into_iter().map(Arc::from).collect(), keyframe })
}

fn sounds(ogg: &[u8]) -> Result<Vec<Arc<[u8]>>, ClipError> {
    let mut reader = PacketReader::new(Cursor::new(ogg));
    let mut packets = Vec::new();
    loop {
        match reader.read_packet() {
            Ok(Some(packet)) => packets.push(packet.data),
            Ok(None) => break,
            Err(error) => return Err(ClipError::Sound(error.to_string())),
        }
    }
    // RFC 7845 3: the first packet is OpusHead, the second OpusTags.
    match packets.as_slice() {
        [head, tags, sounds @ ..] if head.starts_with(b"OpusHead") && tags.starts_with(b"OpusTags") => {
            Ok(sounds.iter().map(|packet| Arc::from(packet.as_slice())).collect())
        }
        _ => Err(ClipError::Sound("no OpusHead and OpusTags".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use str0m::unversioned::{Depacketizer, H264Depacketizer};
    use whipstitch_media::Codec;
    use whipstitch_media::codec::Inspector;

    use super::*;

    #[test]
    fn clip_is_under_a_megabyte_and_loops_in_ten_seconds() {
        assert!(VIDEO.len() + AUDIO.len() < 1_000_000);
        let clip = Clip::builtin();
        assert_eq!((clip.pictures.len(), clip.sounds.len()), (300, 500));
    }

    #[test]
    fn keyframes_come_every_second_and_start_with_parameter_sets() {
        for (index, picture) in Clip::builtin().pictures.iter().enumerate() {
            assert_eq!(picture.keyframe, index % 30 == 0, "picture {index}");
            // STAP-A (RFC 6184 5.7.1) whose first unit is the SPS.
            let first = &picture.payloads[0];
            assert_eq!(first[0] & 0x1f == 24 && first[3] & 0x1f == NAL_SPS, picture.keyframe, "picture {index}");
        }
    }

    #[test]
    fn payloads_fit_a_datagram() {
        let longest = Clip::builtin().pictures.iter().flat_map(|picture| &picture.payloads).map(|p| p.len()).max();
        assert!(longest.is_some_and(|longest| longest <= PAYLOAD_LIMIT), "{longest:?}");
    }

    #[test]
    fn depacketized_pictures_are_those_of_the_file() {
        let units = nal_units(VIDEO);
        let expected: Vec<Vec<&[u8]>> = units
            .split(|unit| nal_type(unit) == Some(NAL_DELIMITER))
            .filter(|units| !units.is_empty())
            .map(<[_]>::to_vec)
            .collect();
        let pictures = &Clip::builtin().pictures;
        assert_eq!(pictures.len(), expected.len());
        for (picture, expected) in pictures.iter().zip(expected) {
            let mut depacketizer = H264Depacketizer::default();
            let mut bytes = Vec::new();
            for payload in &picture.payloads {
                let mut extra = str0m::format::CodecExtra::None;
                depacketizer.depacketize(payload, &mut bytes, &mut extra).expect("well-formed");
            }
            assert_eq!(nal_units(&bytes), expected);
        }
    }

    #[test]
    fn gateway_sees_one_start_in_every_keyframe_and_its_size() {
        let mut inspector = Inspector::new(Codec::H264);
        for (index, picture) in Clip::builtin().pictures.iter().enumerate() {
            let time = index as u64 * u64::from(PICTURE_TICKS);
            let seen: Vec<_> = picture.payloads.iter().map(|payload| inspector.inspect(time, payload)).collect();
            assert!(seen.iter().all(|inspection| !inspection.broken), "picture {index}");
            let starts = seen.iter().filter(|inspection| inspection.start).count();
            assert_eq!(starts, usize::from(picture.keyframe), "picture {index}");
            if picture.keyframe {
                assert_eq!(seen[0].size, Some((1280, 720)), "picture {index}");
            }
        }
    }

    #[test]
    fn every_sound_is_one_packet_of_twenty_milliseconds() {
        for sound in &Clip::builtin().sounds {
            // RFC 6716 3.1: configuration in the upper five bits, frame count code in the lower two.
            let (configuration, code) = (sound[0] >> 3, sound[0] & 3);
            let hybrid_or_celt = matches!(configuration, 13 | 15 | 19 | 23 | 27 | 31);
            let silk = matches!(configuration, 1 | 5 | 9);
            assert!(code == 0 && (hybrid_or_celt || silk), "configuration {configuration}, code {code}");
        }
    }

    #[test]
    fn half_a_clip_is_refused() {
        assert_eq!(Clip::parse(&[], AUDIO).err(), Some(ClipError::NoStart));
        assert!(matches!(Clip::parse(VIDEO, &AUDIO[..100]), Err(ClipError::Sound(_))));
        let second = VIDEO.len() / 2;
        assert!(matches!(Clip::parse(&VIDEO[..second], AUDIO), Err(ClipError::Uneven { .. })));
    }
}
