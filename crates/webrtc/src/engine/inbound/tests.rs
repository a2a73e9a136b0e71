//! A publisher's sealed packets, in any order, among a stranger's.

use super::super::header::rtp_identity;
use super::*;
use crate::egress::srtp::{Sealer, Sealers};
use crate::egress::{Keys, Profile};

const PT: u8 = 96;
const RTX: u8 = 97;

fn keys(client: bool) -> Keys {
    let profile = Profile::Aes128Gcm;
    Keys::split(profile, &vec![5; profile.material_len()], client).expect("the right length")
}

struct Scene {
    sealers: Sealers,
    inbound: Inbound,
    now: Instant,
}

impl Scene {
    fn new() -> Scene {
        Scene {
            sealers: keys(true).into_contexts().0,
            inbound: Inbound::new(keys(false).into_contexts().1),
            now: Instant::now(),
        }
    }

    fn sealer(&mut self, ssrc: u32) -> Sealer {
        self.sealers.sealer(ssrc, 0, 0).expect("the first of its SSRC")
    }

    fn admit(&mut self, datagram: &[u8], mapped: bool) -> Admission {
        let rtp = rtp_identity(datagram).expect("RTP");
        let repairs = (rtp.pt == RTX).then_some(Repairs::Kind(Kind::Video));
        self.inbound.admit(self.now, &rtp, datagram, mapped, repairs)
    }

    /// The packets up to this index, as the engine tells of them.
    fn told(&mut self, sealer: &mut Sealer, indices: impl Iterator<Item = u64>) {
        for index in indices {
            let datagram = seal(sealer, index, PT, &[index as u8; 30]);
            assert!(matches!(self.admit(&datagram, true), Admission::Engine), "{index}");
            let (ssrc, time) = (sealer.ssrc(), index * 10);
            self.inbound.note(self.now, &noted(ssrc, index, time));
        }
    }
}

/// A packet of a sender that resends what it is asked for by RTX.
fn noted(ssrc: u32, index: u64, time: u64) -> Noted {
    Noted { ssrc, kind: Kind::Video, pt: PT, index, time, asks: true, rtx: false, resends_by_rtx: true }
}

/// A packet at ten ticks a number.
fn seal(sealer: &mut Sealer, index: u64, pt: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = [&[0x80, 0x80 | pt, 0, 0][..], &(index as u32 * 10).to_be_bytes(), &[0; 4], payload].concat();
    let len = bytes.len();
    bytes.resize(len + sealer.tag_len(), 0);
    sealer.seal(index, &mut bytes, 12, len).expect("each index once");
    bytes
}

/// RTX that names `number`.
fn rtx(sealer: &mut Sealer, index: u64, number: u64) -> Vec<u8> {
    seal(sealer, index, RTX, &[&(number as u16).to_be_bytes()[..], &[7; 30]].concat())
}

fn late(admission: Admission) -> Option<(u64, u64)> {
    match admission {
        Admission::Late(late) => {
            assert!(matches!(late.kind, Kind::Video) && late.ssrc == 5);
            Some((late.packet.seq, late.packet.time))
        }
        _ => None,
    }
}

#[test]
fn an_ssrc_is_introduced_by_an_authentic_packet_only() {
    let mut scene = Scene::new();
    let mut sealer = scene.sealer(5);
    let good = seal(&mut sealer, 1, PT, &[1; 30]);
    let mut forged = good.clone();
    forged[20] ^= 1;
    for mapped in [false, true] {
        assert!(matches!(scene.admit(&forged, mapped), Admission::Dropped));
    }
    assert!(scene.inbound.sources.is_empty());
    assert!(matches!(scene.admit(&good, false), Admission::Engine));
    // Known, but the engine has given its place to another: proof again.
    assert!(matches!(scene.admit(&forged, false), Admission::Dropped));
}

#[test]
fn ssrcs_are_bounded_and_the_first_ones_stay() {
    let mut scene = Scene::new();
    for ssrc in 0..100 {
        let mut sealer = scene.sealer(ssrc);
        let admission = scene.admit(&seal(&mut sealer, 1, PT, &[1; 30]), false);
        assert_eq!(matches!(admission, Admission::Engine), ssrc < MAX_SSRCS as u32, "{ssrc}");
    }
}

#[test]
fn what_is_too_late_for_the_engine_is_opened_once_within_the_window() {
    let mut scene = Scene::new();
    let mut sealer = scene.sealer(5);
    // Over a wrap of the number.
    let first = 20_000;
    let kept: Vec<(u64, Vec<u8>)> = [64_700, 65_000, 65_535, 65_536, 65_600]
        .map(|index| (index, seal(&mut Scene::new().sealer(5), index, PT, &[9; 30])))
        .into();
    let missing: Vec<u64> = kept.iter().map(|(index, _)| *index).collect();
    scene.told(&mut sealer, (first..=65_700).filter(|index| !missing.contains(index)));
    for (index, datagram) in &kept {
        let behind = 65_700 - index;
        let expected = (behind > ENGINE_REACHES && behind < WINDOW).then_some((*index, index * 10));
        let mut forged = datagram.clone();
        forged[14] ^= 1;
        assert_eq!(late(scene.admit(&forged, true)), None);
        assert_eq!(late(scene.admit(datagram, true)), expected, "{index}");
        assert_eq!(late(scene.admit(datagram, true)), None, "{index} again");
    }
}

#[test]
fn a_retransmission_is_judged_by_the_number_it_names() {
    let mut scene = Scene::new();
    let (mut sealer, mut repair) = (scene.sealer(5), scene.sealer(6));
    scene.told(&mut sealer, (0..5000).filter(|index| *index != 4500));
    let newest = 4999;
    for (index, (number, expected)) in [
        (newest - 50, "engine"),
        (4500, "late"),
        (4500, "dropped"),
        (4600, "dropped"),
        (newest + 20, "engine"),
        (newest + 30_000, "dropped"),
        (newest - 3000, "dropped"),
    ]
    .into_iter()
    .enumerate()
    {
        let datagram = rtx(&mut repair, index as u64, number);
        let found = match scene.admit(&datagram, false) {
            Admission::Engine => "engine",
            Admission::Late(late) => {
                assert_eq!((late.ssrc, late.packet.seq, &late.packet.payload[..]), (5, number, &[7; 30][..]));
                "late"
            }
            Admission::Dropped => "dropped",
        };
        assert_eq!(found, expected, "{number}");
    }
    let empty = seal(&mut repair, 100, RTX, &[]);
    assert!(matches!(scene.admit(&empty, false), Admission::Engine), "a probe for bandwidth");
}

#[test]
fn a_retransmission_is_judged_by_the_numbers_of_the_layer_it_repairs() {
    let mut scene = Scene::new();
    let (mut low, mut high, mut repair) = (scene.sealer(5), scene.sealer(7), scene.sealer(6));
    scene.told(&mut low, (0..1000).filter(|index| *index != 700));
    scene.told(&mut high, 30_000..30_100);
    for (index, (number, repairs, expected)) in [
        (700, Repairs::Layer(Kind::Video, 7), None),
        (30_101, Repairs::Layer(Kind::Video, 5), None),
        (700, Repairs::Layer(Kind::Video, 5), Some((700, 5))),
        (700, Repairs::Layer(Kind::Video, 5), None),
    ]
    .into_iter()
    .enumerate()
    {
        let datagram = rtx(&mut repair, index as u64, number);
        let rtp = rtp_identity(&datagram).expect("RTP");
        let found = match scene.inbound.admit(scene.now, &rtp, &datagram, false, Some(repairs)) {
            Admission::Engine => panic!("the engine would believe {number}"),
            Admission::Late(late) => Some((late.packet.seq, late.ssrc)),
            Admission::Dropped => None,
        };
        assert_eq!(found, expected, "{number}");
    }
}

#[test]
fn of_sources_that_resend_what_is_missing_is_asked_for_until_it_comes_by_any_way() {
    let mut scene = Scene::new();
    let (mut sealer, mut repair) = (scene.sealer(5), scene.sealer(6));
    let late_one = seal(&mut Scene::new().sealer(5), 4100, PT, &[9; 30]);
    scene.told(&mut sealer, (4000..4500).filter(|index| ![4100, 4200, 4300].contains(index)));
    let silent = Noted { asks: false, ..noted(5, 4500, 0) };
    let asked = |scene: &mut Scene, millis| {
        let mut asked = Vec::new();
        scene.now += Duration::from_millis(millis);
        scene.inbound.poll_missing(scene.now, None, |ssrc, numbers| asked.push((ssrc, numbers.to_vec())));
        asked
    };
    assert_eq!(asked(&mut scene, 10), [(5, vec![4100, 4200, 4300])]);
    assert!(late(scene.admit(&late_one, true)).is_some());
    assert!(late(scene.admit(&rtx(&mut repair, 0, 4200), false)).is_some());
    assert_eq!(asked(&mut scene, 200), [(5, vec![4300])]);
    assert_eq!(asked(&mut scene, 5000), []);
    assert_eq!(
        (scene.inbound.take_given_up(Kind::Audio), scene.inbound.take_given_up(Kind::Video)),
        (None, Some(4300))
    );
    scene.told(&mut sealer, [4600].into_iter());
    assert!(scene.inbound.deadline().is_some());
    scene.inbound.note(scene.now, &silent);
    assert_eq!((scene.inbound.deadline(), asked(&mut scene, 10)), (None, vec![]));
}

#[test]
fn what_is_missing_of_a_source_that_another_has_replaced_is_neither_asked_for_nor_given_up() {
    let mut scene = Scene::new();
    let (mut before, mut after) = (scene.sealer(5), scene.sealer(7));
    scene.told(&mut before, [30_000, 30_002].into_iter());
    scene.told(&mut after, [10, 12].into_iter());
    // One that was overtaken by its successor's.
    scene.told(&mut before, [30_003].into_iter());
    let mut asked = Vec::new();
    for _ in 0..300 {
        scene.now += Duration::from_millis(10);
        scene.inbound.poll_missing(scene.now, None, |ssrc, numbers| asked.push((ssrc, numbers.to_vec())));
    }
    assert!(!asked.is_empty() && asked.iter().all(|asked| *asked == (7, vec![11])), "{asked:?}");
    assert_eq!(scene.inbound.take_given_up(Kind::Video), Some(11), "a number of the one that sends");
}

#[test]
fn what_comes_again_under_its_own_number_was_asked_for_in_vain_if_it_is_authentic() {
    for forge in [true, false] {
        let mut scene = Scene::new();
        let mut sealer = scene.sealer(5);
        let mut tell = |scene: &mut Scene, index| {
            let datagram = seal(&mut sealer, index, PT, &[index as u8; 30]);
            assert!(matches!(scene.admit(&datagram, true), Admission::Engine));
            scene.inbound.note(scene.now, &Noted { resends_by_rtx: false, ..noted(5, index, index * 10) });
            datagram
        };
        let waits = |scene: &mut Scene| {
            scene.inbound.poll_missing(scene.now, None, |_, _| {});
            scene.inbound.deadline().expect("something is missing") - scene.now
        };
        [1, 3].into_iter().for_each(|index| drop(tell(&mut scene, index)));
        assert_eq!(waits(&mut scene), Duration::from_millis(10));
        scene.now += Duration::from_millis(10);
        scene.inbound.poll_missing(scene.now, None, |ssrc, numbers| assert_eq!((ssrc, numbers), (5, &[2][..])));
        scene.now += Duration::from_millis(9);
        let mut again = tell(&mut scene, 2);
        again[14] ^= u8::from(forge);
        assert!(matches!(scene.admit(&again, true), Admission::Engine));
        scene.now += Duration::from_millis(500);
        tell(&mut scene, 5);
        assert_eq!(waits(&mut scene), Duration::from_millis(if forge { 10 } else { 20 }));
    }
}
