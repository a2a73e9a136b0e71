use std::time::Instant;

use super::*;
use crate::codec::Inspector;
use crate::packet::Extensions;

/// A sender's packets, one number after the other, and what viewers get of them.
struct Scene {
    splitter: Splitter,
    seq: u64,
    time: u64,
}

impl Scene {
    fn new(codec: Codec) -> Self {
        Self { splitter: Splitter::new(codec), seq: 10, time: 90_000 }
    }

    fn push(&mut self, payload: &[u8], marker: bool) -> Vec<Packet> {
        let (seq, time, arrived) = (self.seq, self.time, Instant::now());
        self.seq += 1;
        let extensions = Extensions::default();
        let mut out = Vec::new();
        self.splitter.push(Packet { seq, time, marker, payload: payload.into(), extensions, arrived }, |packet| {
            out.push(packet)
        });
        out
    }

    /// Number, length and marker of what goes out.
    fn shown(&mut self, payload: &[u8], marker: bool) -> Vec<(u64, usize, bool)> {
        self.push(payload, marker).iter().map(|packet| (packet.seq, packet.payload.len(), packet.marker)).collect()
    }
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8).collect()
}

/// The NAL units in payloads of H.264, headers included.
fn units(payloads: &[Packet]) -> Vec<Vec<u8>> {
    let (mut units, mut open) = (Vec::new(), Vec::new());
    for packet in payloads {
        let payload = &packet.payload;
        match payload[0] & 0x1f {
            24 => units.extend(crate::codec::aggregated(&payload[1..]).map(|unit| unit.expect("whole").to_vec())),
            28 => {
                if payload[1] & 0x80 != 0 {
                    open = vec![payload[0] & 0xe0 | payload[1] & 0x1f];
                }
                open.extend_from_slice(&payload[2..]);
                if payload[1] & 0x40 != 0 {
                    units.push(std::mem::take(&mut open));
                }
            }
            _ => units.push(payload.to_vec()),
        }
    }
    assert!(open.is_empty(), "a unit has no end");
    units
}

/// A NAL unit as a sender fragments it that makes packets of `size`.
fn fragments(unit: &[u8], size: usize) -> Vec<Vec<u8>> {
    let chunks: Vec<&[u8]> = unit[1..].chunks(size - 2).collect();
    let header = |at| u8::from(at == 0) << 7 | u8::from(at + 1 == chunks.len()) << 6 | unit[0] & 0x1f;
    let fragment = |(at, chunk): (usize, &&[u8])| [&[unit[0] & 0xe0 | 28, header(at)], *chunk].concat();
    chunks.iter().enumerate().map(fragment).collect()
}

#[test]
fn what_fits_passes_untouched() {
    let mut scene = Scene::new(Codec::H264);
    for len in [1, 100, MAX_PAYLOAD] {
        let payload = [&[0x41], &bytes(len - 1)[..]].concat();
        let out = scene.push(&payload, len == 100);
        assert_eq!((out.len(), &*out[0].payload, out[0].seq), (1, &payload[..], scene.seq - 1));
        assert_eq!(out[0].marker, len == 100);
    }
}

#[test]
fn a_unit_that_does_not_fit_is_fragmented_and_what_follows_moves_on() {
    let mut scene = Scene::new(Codec::H264);
    let unit = [&[0x65], &bytes(2999)[..]].concat();
    let out = scene.push(&unit, true);
    let shown: Vec<_> = out.iter().map(|packet| (packet.seq, packet.payload.len(), packet.marker)).collect();
    assert_eq!(shown, [(10, 1200, false), (11, 1200, false), (12, 2999 - 2 * 1198 + 2, true)]);
    assert_eq!(units(&out), [unit]);
    assert_eq!(scene.shown(&[0x41, 1], true), [(13, 2, true)]);
    scene.seq += 3;
    assert_eq!(scene.shown(&[0x41, 1], true), [(17, 2, true)], "three are missing still");
}

#[test]
fn fragments_that_do_not_fit_come_out_full() {
    let mut scene = Scene::new(Codec::H264);
    // What FFmpeg makes of a key picture: nine packets of 1460.
    let unit = [&[0x65], &bytes(13_000)[..]].concat();
    let fragments = fragments(&unit, 1460);
    let mut out = Vec::new();
    for (at, fragment) in fragments.iter().enumerate() {
        out.extend(scene.push(fragment, at + 1 == fragments.len()));
    }
    assert_eq!(units(&out), [unit]);
    assert_eq!((fragments.len(), out.len()), (9, 13_000usize.div_ceil(1198)));
    assert!(out[..out.len() - 1].iter().all(|packet| packet.payload.len() == MAX_PAYLOAD && !packet.marker));
    assert!(out.last().is_some_and(|packet| packet.marker));
    assert!(out.windows(2).all(|pair| pair[0].seq + 1 == pair[1].seq));
    assert!(Inspector::new(Codec::H264).inspect(1, &out[0].payload).keyframe);
    // As many as before, or fewer: numbers have no hole.
    assert_eq!(scene.shown(&[0x41, 1], true), [(10 + out.len() as u64, 2, true)]);
}

#[test]
fn what_is_left_of_a_unit_without_an_end_goes_before_the_next() {
    let unit = [&[0x65], &bytes(5000)[..]].concat();
    let fragments = fragments(&unit, 1460);
    for (what, gap, time) in [("a gap", 1, 0), ("another picture", 0, 3000), ("another unit", 0, 0)] {
        let mut scene = Scene::new(Codec::H264);
        assert_eq!(scene.shown(&fragments[0], false), [(10, 1200, false)]);
        scene.seq += gap;
        scene.time += time;
        let next = [&[0x41], &bytes(1459)[..]].concat();
        let left = 1458 - 1198 + 2;
        let expected = [(11, left, false), (12 + gap, 1200, false), (13 + gap, 1459 - 1198 + 2, true)];
        assert_eq!(scene.shown(&next, true), expected, "{what}");
    }
}

#[test]
fn a_marker_ends_what_is_left() {
    let mut scene = Scene::new(Codec::H264);
    let unit = [&[0x65], &bytes(5000)[..]].concat();
    assert_eq!(scene.shown(&fragments(&unit, 1460)[0], true), [(10, 1200, false), (11, 262, true)]);
}

#[test]
fn an_aggregate_is_taken_apart() {
    let mut scene = Scene::new(Codec::H264);
    let sets: [&[u8]; 3] = [&[0x67, 0x64, 0, 0x1f], &[0x68, 0xee], &[&[0x65], &bytes(1300)[..]].concat()];
    let mut aggregate = vec![0x78];
    for unit in sets {
        aggregate.extend((unit.len() as u16).to_be_bytes());
        aggregate.extend_from_slice(unit);
    }
    let out = scene.push(&aggregate, true);
    assert_eq!(units(&out), sets);
    assert_eq!(out.iter().map(|packet| packet.marker).collect::<Vec<_>>(), [false, false, false, true]);
}

#[test]
fn h265_is_cut_like_h264_with_its_own_headers() {
    let mut scene = Scene::new(Codec::H265);
    // IDR_W_RADL (19), layer 0, temporal id 0; then the same as a fragment of 1460 bytes.
    let unit = [&[19 << 1, 1], &bytes(2000)[..]].concat();
    let out = scene.push(&unit, true);
    let headers: Vec<_> = out.iter().map(|packet| packet.payload[..3].to_vec()).collect();
    assert_eq!(headers, [[49 << 1, 1, 0x80 | 19], [49 << 1, 1, 0x40 | 19]]);
    assert_eq!([&out[0].payload[3..], &out[1].payload[3..]].concat(), bytes(2000));
    let fragment = [&[49 << 1, 1, 0x80 | 19], &bytes(1457)[..]].concat();
    assert_eq!(scene.shown(&fragment, false), [(12, 1200, false)]);
    let end = [&[49 << 1, 1, 0x40 | 19], &bytes(100)[..]].concat();
    assert_eq!(scene.shown(&end, true), [(13, 3 + 1457 - 1197 + 100, true)]);
    let aggregate = [&[48 << 1, 1, 0, 4, 33 << 1, 1, 7, 7][..], &(1302u16).to_be_bytes(), &unit[..1302]].concat();
    assert_eq!(scene.shown(&aggregate, true).len(), 3);
}

#[test]
fn frames_of_vp8_and_vp9_keep_their_descriptors() {
    // VP8 with a picture id of two bytes; VP9 with one, layers and a scalability structure.
    let vp8 = [&[0x90, 0x80, 0x81, 0x23, 0x02, 0x00, 0x9d, 0x9d, 0x01, 0x2a][..], &bytes(1450)].concat();
    let vp9 = [&[0xae, 0x11, 0x00, 0x07, 0x00][..], &bytes(1455)].concat();
    for (codec, payload, first, later, last) in [
        (Codec::Vp8, &vp8, &[0x90, 0x80, 0x81, 0x23][..], &[0x80, 0x80, 0x81, 0x23][..], 0x80),
        (Codec::Vp9, &vp9, &[0xaa, 0x11, 0x00, 0x07, 0x00][..], &[0xa0, 0x11, 0x00, 0x07][..], 0xa4),
    ] {
        let mut scene = Scene::new(codec);
        let ends = codec == Codec::Vp8;
        let out = scene.push(payload, ends);
        let [one, two] = &out[..] else { panic!("{codec}: {out:?}") };
        assert_eq!(
            (&one.payload[..first.len()], one.payload.len(), one.marker),
            (first, MAX_PAYLOAD, false),
            "{codec}"
        );
        assert_eq!((two.payload[0], &two.payload[1..later.len()]), (last, &later[1..]), "{codec}");
        let frame = [&one.payload[first.len()..], &two.payload[later.len()..]].concat();
        assert_eq!(frame, payload[first.len()..], "{codec}");
    }
}

#[test]
fn a_frame_of_several_packets_is_filled_up() {
    let mut scene = Scene::new(Codec::Vp8);
    let mut out = scene.push(&[&[0x10, 0x02, 0x00, 0x9d][..], &bytes(1456)].concat(), false);
    out.extend(scene.push(&[&[0x00][..], &bytes(1459)].concat(), false));
    out.extend(scene.push(&[&[0x00][..], &bytes(500)].concat(), true));
    let lengths: Vec<_> = out.iter().map(|packet| packet.payload.len()).collect();
    assert_eq!(lengths, [1200, 1200, 3 + 1456 + 1459 + 500 - 2 * 1199 + 1]);
    assert_eq!(out.iter().map(|packet| packet.payload[0]).collect::<Vec<_>>(), [0x10, 0, 0]);
}

#[test]
fn obus_are_cut_where_they_are_too_long() {
    let mut scene = Scene::new(Codec::Av1);
    // A sequence header and the beginning of a frame: N, Y, two elements.
    let frame = bytes(1400);
    let one = [&[0x68, 3, 0x08, 0x00, 0x00][..], &frame].concat();
    let out = scene.push(&one, false);
    let headers: Vec<_> = out.iter().map(|packet| packet.payload[0]).collect();
    assert_eq!(headers, [0x18, 0x50], "N and W=1; Y and W=1");
    assert_eq!(&out[0].payload[1..], [0x08, 0x00, 0x00]);
    // Z, one element: its end.
    let last = scene.push(&[&[0x90][..], &bytes(100)].concat(), true);
    assert_eq!((last.len(), last[0].payload[0]), (1, 0x90));
    let whole = [&out[1].payload[1..], &last[0].payload[1..]].concat();
    assert_eq!(whole, [frame, bytes(100)].concat());
}

#[test]
fn samples_have_times_of_their_own() {
    let mut scene = Scene::new(Codec::Pcmu);
    let out = scene.push(&bytes(2500), true);
    let shown: Vec<_> = out.iter().map(|packet| (packet.time - 90_000, packet.payload.len(), packet.marker)).collect();
    assert_eq!(shown, [(0, 1200, true), (1200, 1200, false), (2400, 100, false)]);
}

#[test]
fn what_cannot_be_cut_passes_as_it_is() {
    for (codec, first) in [(Codec::Opus, 0), (Codec::Aac { clock_rate: 48_000, channels: 2 }, 0), (Codec::H264, 0x9f)] {
        let mut payload = bytes(1300);
        payload[0] = first;
        assert_eq!(Scene::new(codec).shown(&payload, true), [(10, 1300, true)], "{codec}");
    }
}
