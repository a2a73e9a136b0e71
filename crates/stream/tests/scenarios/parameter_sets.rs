//! A key picture that comes without some or all of its parameter sets gets the latest ones put in front.

use whipstitch_media::{Codec, Kind};
use whipstitch_stream::{Forwarded, Track, Tracks};

use crate::kit::{ALICE, BOB, Scene, accept, seqs, subscription, tracks};

const SPS: &[u8] = &[0x67, 0x42, 0xc0, 0x1f, 0xd9, 0x00, 0xa0, 0x2f, 0xf9, 0x50];
const PPS: &[u8] = &[0x68, 0xce, 0x3c, 0x80];
const IDR: &[u8] = &[0x65, 0x88, 0x84];
const SECOND_SLICE: &[u8] = &[0x65, 0x40, 0x84];
const P: &[u8] = &[0x41, 0x9a, 0x02];

/// H.265: the sets, and the first slices of an IDR picture and of a P picture.
const SETS_265: [&[u8]; 3] = [&[0x40, 0x01, 0x0c], &[0x42, 0x01, 0x01], &[0x44, 0x01, 0xc1]];
const IDR_265: &[u8] = &[0x26, 0x01, 0xaf];
const P_265: &[u8] = &[0x02, 0x01, 0xd0];

fn published(format: &str) -> Scene {
    published_in(Codec::H264, format)
}

fn published_in(codec: Codec, format: &str) -> Scene {
    let mut scene = Scene::empty();
    let video = Some(Track { codec, format: format.into() });
    scene.stream.publish(scene.now, ALICE, Tracks { video, ..tracks(codec) });
    scene
}

fn starts(packets: &[Forwarded]) -> Vec<bool> {
    packets.iter().map(|forwarded| forwarded.start).collect()
}

#[test]
fn sets_that_came_along_are_not_put_in_again() {
    let mut scene = published("");
    let packets =
        [scene.video(1, 0, SPS), scene.video(2, 0, PPS), scene.video(3, 0, IDR), scene.video(4, 0, SECOND_SLICE)];
    let packets = packets.concat();
    assert_eq!(starts(&packets), [true, false, false, false]);
}

#[test]
fn an_idr_without_them_starts_with_those_known() {
    let mut scene = published("");
    let before = [scene.video(1, 0, SPS), scene.video(2, 0, PPS), scene.video(3, 0, IDR)].concat();
    let p = scene.video(4, 3000, P);
    let idr = scene.video(5, 6000, IDR);
    let rest = [scene.video(6, 6000, SECOND_SLICE), scene.video(7, 9000, P)].concat();
    assert_eq!(starts(&idr), [true, false]);
    assert_eq!(idr[0].packet.payload[0] & 0x1f, 24, "a STAP-A");
    assert_eq!(idr[0].packet.time, idr[1].packet.time);
    assert!(!idr[0].packet.marker);

    let mut early = subscription(Kind::Video);
    let all = [before, p, idr.clone(), rest.clone()].concat();
    assert_eq!(accept(&mut early, &all), (1000..1008).collect::<Vec<_>>());
    let mut late = subscription(Kind::Video);
    assert_eq!(accept(&mut late, &[idr, rest].concat()), [1000, 1001, 1002, 1003]);
}

#[test]
fn missing_packets_before_it_keep_their_places() {
    let mut scene = published("");
    let mut packets = [scene.video(1, 0, SPS), scene.video(2, 0, PPS), scene.video(3, 0, IDR)].concat();
    packets.extend(scene.video(5, 6000, IDR)); // the sets of it, and 4, are missing
    packets.extend(scene.video(4, 3000, P));
    packets.extend(scene.video(6, 9000, P));
    let first = packets[0].packet.seq;
    assert_eq!(seqs(&packets), [0, 1, 2, 4, 5, 3, 6].map(|offset| first + offset));
}

#[test]
fn sets_from_the_offer_are_known_from_the_beginning() {
    let mut scene = published("packetization-mode=1;sprop-parameter-sets=Z0LAH9kAoC/5UA==,aM48gA==");
    assert!(scene.video(1, 0, P).is_empty());
    assert_eq!(starts(&scene.video(2, 3000, IDR)), [true, false]);
    assert!(scene.outputs().len() <= 2);
    assert_eq!(scene.stream.deadline(), None, "and a request for a keyframe is met by it");
}

#[test]
fn nothing_starts_without_them() {
    let mut scene = published("");
    assert!(scene.video(1, 0, IDR).is_empty());
    assert!(scene.video(2, 3000, PPS).is_empty());
    assert_eq!(starts(&scene.video(3, 6000, SPS)), [true]);
}

/// The kinds of NAL units a decoder gets, those of aggregation packets too.
fn units(packets: &[Forwarded]) -> Vec<u8> {
    let mut units = Vec::new();
    for forwarded in packets {
        let payload = &forwarded.packet.payload;
        let (kind, header): (fn(u8) -> u8, _) = match forwarded.codec {
            Codec::H264 => (|byte| byte & 0x1f, 1),
            _ => (|byte| byte >> 1, 2),
        };
        if ![24, 48].contains(&kind(payload[0])) {
            units.push(kind(payload[0]));
            continue;
        }
        let mut rest = &payload[header..];
        while let [high, low, unit @ ..] = rest {
            units.push(kind(unit[0]));
            rest = &unit[usize::from(u16::from_be_bytes([*high, *low]))..];
        }
    }
    units
}

#[test]
fn who_joins_at_a_repeated_sps_gets_the_pps_that_is_not_repeated() {
    let mut scene = published("");
    let before = [scene.video(1, 0, SPS), scene.video(2, 0, PPS), scene.video(3, 0, IDR), scene.video(4, 3000, P)];
    let next = [scene.video(5, 6000, SPS), scene.video(6, 6000, IDR), scene.video(7, 6000, SECOND_SLICE)].concat();
    let rest = scene.video(8, 9000, P);
    assert_eq!(starts(&next), [true, false, false, false], "one start for the picture");
    assert_eq!(units(&next), [7, 7, 8, 5, 5]);
    assert!(next.iter().all(|forwarded| forwarded.packet.time == next[0].packet.time));
    let mut late = subscription(Kind::Video);
    assert_eq!(accept(&mut late, &[next.clone(), rest.clone()].concat()), (1000..1005).collect::<Vec<_>>());
    let mut early = subscription(Kind::Video);
    assert_eq!(accept(&mut early, &[before.concat(), next, rest].concat()), (1000..1009).collect::<Vec<_>>());
}

#[test]
fn an_sps_and_an_idr_in_one_packet_start_with_the_sets_put_in_front() {
    let mut scene = published("");
    let both = [&[0x78, 0, 10][..], SPS, &[0, 3], IDR].concat();
    assert!(scene.video(1, 0, &both).is_empty(), "no decoder could start there");
    scene.video(2, 3000, PPS);
    let next = scene.video(3, 6000, &both);
    assert_eq!((starts(&next), units(&next)), (vec![true, false], vec![7, 8, 7, 5]));
}

#[test]
fn a_pps_that_may_be_on_its_way_is_waited_for() {
    let mut scene = published("");
    let mut packets = [scene.video(1, 0, SPS), scene.video(2, 0, PPS), scene.video(3, 0, IDR)].concat();
    packets.extend(scene.video(4, 3000, SPS));
    // 5 is lost, and comes late: another picture parameter set than the one known.
    packets.extend(scene.video(6, 3000, IDR));
    packets.extend(scene.video(5, 3000, &[0x68, 0xce, 0x3c, 0x81]));
    assert_eq!(seqs(&packets), [0, 1, 2, 3, 5, 4].map(|offset| packets[0].packet.seq + offset));
    // Of the next picture nothing is missing.
    let next = [scene.video(7, 6000, SPS), scene.video(8, 6000, IDR)].concat();
    assert_eq!(units(&next), [7, 7, 8, 5]);
    assert_eq!(*next[1].packet.payload.last_chunk::<4>().expect("a set"), [0x68, 0xce, 0x3c, 0x81]);
}

#[test]
fn who_joins_at_repeated_h265_sets_gets_all_three() {
    let [vps, sps, pps] = SETS_265;
    for some in [vec![vps, sps], vec![sps], vec![vps, pps], vec![sps, pps]] {
        let mut scene = published_in(Codec::H265, "");
        for (at, unit) in [vps, sps, pps, IDR_265].into_iter().enumerate() {
            scene.video(at as u64, 0, unit);
        }
        let mut next = Vec::new();
        for (at, unit) in some.iter().chain([&IDR_265]).enumerate() {
            next.extend(scene.video(4 + at as u64, 3000, unit));
        }
        assert_eq!(starts(&next).iter().position(|start| *start), Some(0), "{some:02x?}");
        assert_eq!(starts(&next).iter().filter(|start| **start).count(), 1, "{some:02x?}");
        assert!(units(&next).ends_with(&[32, 33, 34, 19]), "{some:02x?}: {:?}", units(&next));
    }
}

#[test]
fn an_h265_idr_without_them_starts_with_all_three() {
    let mut scene = published_in(Codec::H265, "");
    let [vps, sps, pps] = SETS_265;
    let before = [scene.video(1, 0, vps), scene.video(2, 0, sps), scene.video(3, 0, pps), scene.video(4, 0, IDR_265)];
    assert_eq!(starts(&before.concat()), [true, false, false, false]);
    scene.video(5, 3000, P_265);
    let idr = scene.video(6, 6000, IDR_265);
    assert_eq!(starts(&idr), [true, false]);
    // RFC 7798 4.4.2: type 48, then each unit after its size.
    let aggregated = SETS_265.iter().flat_map(|set| [&[0, 3], *set].concat());
    assert_eq!(*idr[0].packet.payload, *[0x60, 0x01].into_iter().chain(aggregated).collect::<Vec<u8>>());
    assert_eq!((idr[0].packet.time, idr[0].packet.marker), (idr[1].packet.time, false));
    let mut late = subscription(Kind::Video);
    let rest = scene.video(7, 9000, P_265);
    assert_eq!(accept(&mut late, &[idr, rest].concat()), [1000, 1001, 1002]);
}

#[test]
fn part_of_the_h265_sets_is_not_put_in() {
    let mut scene = published_in(Codec::H265, "");
    let [vps, sps, pps] = SETS_265;
    assert!(scene.video(1, 0, IDR_265).is_empty());
    assert_eq!(starts(&[scene.video(2, 3000, vps), scene.video(3, 3000, sps)].concat()), [true, false]);
    assert_eq!(starts(&scene.video(4, 6000, IDR_265)), [false], "its picture parameter set is not known");
    scene.video(5, 9000, pps);
    assert_eq!(starts(&scene.video(6, 12_000, IDR_265)), [true, false]);
}

/// The format of the video, and whether all sets are known.
fn described(scene: &mut Scene) -> Option<(String, bool)> {
    let description = scene.stream.take_description()?.expect("somebody publishes");
    Some((description.tracks.video.expect("a video track").format, description.whole))
}

#[test]
fn the_description_has_the_newest_sets_and_is_told_when_they_change() {
    let mut scene = published("profile-level-id=640028");
    let first = scene.stream.take_description().flatten().expect("at once");
    assert_eq!((first.publisher, first.whole, first.version), (ALICE, false, 1));
    assert_eq!(first.tracks.audio.map(|track| track.codec), Some(Codec::Opus));
    scene.video(1, 0, SPS);
    let half = "profile-level-id=42c01f;packetization-mode=1";
    assert_eq!(described(&mut scene), Some((half.to_owned(), false)));
    scene.video(2, 0, PPS);
    let whole = format!("{half};sprop-parameter-sets=Z0LAH9kAoC/5UA==,aM48gA==");
    assert_eq!(described(&mut scene), Some((whole, true)));
    for packet in [SPS, PPS, IDR] {
        scene.video(3, 3000, packet);
    }
    assert_eq!(described(&mut scene), None, "they are what they were");
    scene.video(7, 6000, &[0x68, 0xce, 0x3c, 0x81]);
    let (format, _) = described(&mut scene).expect("another PPS");
    assert!(format.ends_with(",aM48gQ=="), "{format}");
}

#[test]
fn another_publisher_is_described_anew_and_none_not_at_all() {
    let mut scene = published("sprop-parameter-sets=Z0LAH9kAoC/5UA==,aM48gA==");
    assert!(scene.stream.take_description().flatten().expect("at once").whole);
    scene.stream.publish(scene.now, BOB, tracks(Codec::H264));
    let second = scene.stream.take_description().flatten().expect("of another");
    assert_eq!((second.publisher, second.whole, second.version), (BOB, false, 2), "without the sets of the first");
    scene.stream.unpublish(scene.now, ALICE);
    assert_eq!(scene.stream.take_description(), None, "who is not the publisher");
    scene.stream.unpublish(scene.now, BOB);
    assert_eq!(scene.stream.take_description(), Some(None));
}
