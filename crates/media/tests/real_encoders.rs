//! What the inspectors find in payloads that FFmpeg made with real encoders.

use whipstitch_media::Codec;
use whipstitch_media::codec::Inspector;

/// RTP time and payload of each packet.
fn packets(fixture: &str) -> Vec<(u64, Vec<u8>)> {
    let lines = fixture.lines().filter(|line| !line.starts_with('#'));
    let parse = |line: &str| {
        let mut fields = line.split(' ');
        let time = fields.next()?.parse().ok()?;
        let hex = fields.nth(1)?;
        let bytes = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok());
        Some((time, bytes.collect::<Option<_>>()?))
    };
    lines.map(|line| parse(line).expect("a fixture's line is time, marker and hex digits")).collect()
}

/// Starts are the first packets of the pictures at 0 and 10800; the size of the picture is known from then on.
fn starts_at_every_third_picture(codec: Codec, fixture: &str, size: Option<(u16, u16)>) {
    let mut inspector = Inspector::new(codec);
    let mut previous = None;
    for (time, payload) in packets(fixture) {
        let found = inspector.inspect(time, &payload);
        let first_of_picture = previous.replace(time) != Some(time);
        assert!(!found.broken, "{codec} at {time}");
        assert_eq!(found.start, first_of_picture && time % 10800 == 0, "{codec} at {time}");
        assert!(!found.keyframe || time % 10800 == 0, "{codec} at {time}");
        assert!(!found.bare, "{codec} at {time}");
        if found.start {
            assert_eq!(found.size, size, "{codec} at {time}");
        }
    }
}

#[test]
fn h264() {
    starts_at_every_third_picture(Codec::H264, include_str!("fixtures/h264.txt"), Some((192, 108)));
}

#[test]
fn h265() {
    starts_at_every_third_picture(Codec::H265, include_str!("fixtures/h265.txt"), Some((192, 108)));
}

#[test]
fn vp8() {
    starts_at_every_third_picture(Codec::Vp8, include_str!("fixtures/vp8.txt"), Some((192, 108)));
}

/// FFmpeg never sets the P bit: only the frame tells that it is predicted.
#[test]
fn vp9() {
    starts_at_every_third_picture(Codec::Vp9, include_str!("fixtures/vp9.txt"), None);
}

/// The same packets without their parameter sets: every key picture is bare, once.
#[test]
fn key_pictures_without_their_sets_are_bare() {
    for (codec, fixture) in
        [(Codec::H264, include_str!("fixtures/h264.txt")), (Codec::H265, include_str!("fixtures/h265.txt"))]
    {
        let mut inspector = Inspector::new(codec);
        let mut bare = Vec::new();
        for (time, payload) in packets(fixture) {
            let aggregated = matches!((codec, payload[0]), (Codec::H264, 0x18) | (Codec::H265, 0x60));
            // The first sets are let through, with a time of their own, to be known.
            if aggregated && time > 0 {
                continue;
            }
            if inspector.inspect(if aggregated { 1 } else { time }, &payload).bare {
                bare.push(time);
            }
        }
        assert_eq!(bare, [0, 10800], "{codec}");
        assert!(inspector.parameter_sets().is_some(), "{codec}");
    }
}
