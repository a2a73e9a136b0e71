//! What is kept for those that join: everything of the video since its last start.

use std::time::Duration;

use whipstitch_media::Kind;
use whipstitch_stream::{Forwarded, History, cache, history};

use crate::kit::{DELTA, KEY, Scene, seqs};

/// A stream whose packets go into a history with a cache.
struct Kept {
    scene: Scene,
    history: History,
}

impl Kept {
    fn new(limits: cache::Limits) -> Self {
        let history = History::new(history::Limits::default()).with_cache(Some(limits));
        Self { scene: Scene::published(), history }
    }

    fn keep(&mut self, packets: Vec<Forwarded>) -> Vec<u64> {
        packets.iter().for_each(|forwarded| self.history.insert(forwarded));
        seqs(&packets)
    }

    fn video(&mut self, seq: u64, time: u64, payload: &[u8]) -> Vec<u64> {
        let packets = self.scene.video(seq, time, payload);
        self.keep(packets)
    }

    fn kept(&self) -> Vec<u64> {
        self.history.cache().expect("one with a cache").from(0).map(|kept| kept.packet.seq).collect()
    }

    fn sound(&self) -> Vec<u64> {
        self.history.cache().expect("one with a cache").sound_from(0).map(|kept| kept.packet.seq).collect()
    }

    /// The age of the start that is offered, in milliseconds.
    fn offer(&self) -> Option<u128> {
        self.history.cache()?.offer(self.scene.now).map(|age| age.as_millis())
    }
}

#[test]
fn a_repaired_packet_is_kept_in_its_place_once() {
    let mut kept = Kept::new(cache::Limits::default());
    let first = kept.video(10, 0, KEY)[0];
    kept.video(12, 6000, DELTA);
    kept.video(13, 9000, DELTA);
    let late = kept.scene.video(11, 3000, DELTA);
    kept.keep(late.clone());
    kept.keep(late);
    assert_eq!(kept.kept(), [first, first + 1, first + 2, first + 3]);
}

#[test]
fn each_start_begins_it_anew() {
    let mut kept = Kept::new(cache::Limits::default());
    assert_eq!((kept.kept(), kept.offer()), (vec![], None));
    kept.video(10, 0, KEY);
    kept.video(12, 6000, DELTA);
    let start = kept.video(13, 9000, KEY)[0];
    kept.video(11, 3000, DELTA);
    assert_eq!(kept.kept(), [start], "what is late belongs to the picture before");
    let audio = kept.scene.audio(1, 0);
    let sound = kept.keep(audio)[0];
    assert_eq!((kept.kept(), kept.sound()), (vec![start], vec![sound]), "sound is kept beside the pictures");
    let next = kept.video(14, 10_000, KEY)[0];
    assert_eq!((kept.kept(), kept.sound()), (vec![next], vec![]), "and goes with them");
    kept.history.fill_cache([]);
    kept.video(15, 12_000, DELTA);
    let audio = kept.scene.audio(2, 960);
    kept.keep(audio);
    assert_eq!((kept.kept(), kept.offer()), (vec![], None), "nothing decodes without its start");
    assert!(kept.sound().is_empty());
}

#[test]
fn what_is_too_long_is_offered_no_more_but_kept_a_while_and_then_goes_as_a_whole() {
    let bytes = KEY.len() + 7 * DELTA.len();
    for limits in
        [cache::Limits { packets: 8, ..cache::Limits::default() }, cache::Limits { bytes, ..cache::Limits::default() }]
    {
        let mut kept = Kept::new(limits);
        kept.video(10, 0, KEY);
        (11..18).for_each(|seq| drop(kept.video(seq, 0, DELTA)));
        assert_eq!((kept.kept().len(), kept.offer()), (8, Some(0)));
        kept.video(18, 0, DELTA);
        assert_eq!((kept.kept().len(), kept.offer()), (9, None), "a replay may be on its way");
        (19..30).for_each(|seq| drop(kept.video(seq, 0, DELTA)));
        assert_eq!((kept.kept().len(), kept.history.cache().map(cache::Cache::bytes)), (0, Some(0)));
        kept.video(30, 3000, KEY);
        assert_eq!((kept.kept().len(), kept.offer()), (1, Some(0)));
    }
}

#[test]
fn of_too_much_sound_the_newest_is_kept() {
    let mut kept = Kept::new(cache::Limits::default());
    kept.video(10, 0, KEY);
    let mut last = 0;
    for seq in 0..1100 {
        let audio = kept.scene.audio(seq, 960 * seq);
        last = kept.keep(audio)[0];
    }
    assert_eq!(kept.sound(), (last - 1023..=last).collect::<Vec<_>>());
}

#[test]
fn what_is_too_old_is_offered_no_more_and_then_goes() {
    let mut kept = Kept::new(cache::Limits::default());
    kept.video(10, 0, KEY);
    kept.scene.wait(10_000);
    assert_eq!(kept.offer(), Some(10_000));
    kept.scene.wait(1);
    kept.history.expire(kept.scene.now);
    assert_eq!((kept.kept().len(), kept.offer()), (1, None));
    kept.scene.wait(2500);
    kept.history.expire(kept.scene.now);
    assert_eq!((kept.kept().len(), kept.history.bytes()), (0, 0), "a stream that has stopped holds nothing");
}

#[test]
fn packets_too_old_for_the_history_are_found_in_the_cache() {
    let mut kept = Kept::new(cache::Limits::default());
    let first = kept.video(10, 0, KEY)[0];
    for step in 1..100 {
        kept.scene.wait(50);
        kept.video(10 + step, 4500 * step, DELTA);
    }
    let found = (first..first + 100).filter(|seq| kept.history.get(Kind::Video, *seq).is_some()).count();
    assert_eq!(found, 100);
    assert!(kept.history.get(Kind::Audio, first).is_none());
    kept.video(200, 900_000, KEY);
    assert!(kept.history.get(Kind::Video, first).is_none());
}

#[test]
fn without_a_cache_nothing_is_offered() {
    let mut kept = Kept::new(cache::Limits::default());
    kept.history = History::new(history::Limits::default()).with_cache(None);
    kept.video(10, 0, KEY);
    kept.scene.wait(Duration::from_secs(1).as_millis() as u64);
    assert!(kept.history.cache().is_none());
}
