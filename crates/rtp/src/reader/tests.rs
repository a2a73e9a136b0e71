use std::sync::Arc;
use std::time::Duration;

use rtcp_types::SenderReport;
use rtcp_types::prelude::*;
use whipstitch_media::time::Ntp;
use whipstitch_media::{Codec, Extensions, Packet};
use whipstitch_stream::{cache, history};

use super::*;

const MS: Duration = Duration::from_millis(1);

/// What was sent, as text: `v7@900` is video number 7 of time 900, `V` a report of it, `VB` its BYE.
#[derive(Default)]
struct Seen {
    sent: Vec<String>,
    full: bool,
}

impl Sink for Seen {
    fn has_room(&mut self, _: Kind) -> bool {
        !self.full
    }

    fn rtp(&mut self, kind: Kind, packet: &Outgoing<'_>) {
        assert_eq!(packet.len(), 12 + packet.payload.len());
        let letter = if kind == Kind::Video { "v" } else { "a" };
        self.sent.push(format!("{letter}{}@{}", packet.seq(), packet.time()));
    }

    fn rtcp(&mut self, kind: Kind, compound: &[u8]) {
        let letter = if kind == Kind::Video { "V" } else { "A" };
        let bye = if crate::rtcp::packets(compound).any(|packet| packet[1] == 203) { "B" } else { "" };
        self.sent.push(format!("{letter}{bye}"));
    }
}

struct Scene {
    now: Instant,
    reader: Reader,
    history: History,
    clocks: PerKind<Option<Clock>>,
    seen: Seen,
}

fn config(kind: Kind, clock_rate: u32, pt: u8, first_seq: u16) -> Config {
    Config { kind, clock_rate, pt, ssrc: u32::from(pt), first_seq, time_offset: 0 }
}

impl Scene {
    fn new() -> Scene {
        let now = Instant::now();
        let reader =
            Reader::new("c".into(), [config(Kind::Video, 90_000, 96, 100), config(Kind::Audio, 48_000, 111, 200)]);
        let history = History::new(history::Limits::default()).with_cache(Some(cache::Limits::default()));
        let clock = Some(Clock { ntp: Ntp(1 << 40), time: 0, at: now });
        Scene { now, reader, history, clocks: PerKind { audio: clock, video: clock }, seen: Seen::default() }
    }

    fn packet(&self, kind: Kind, seq: u64, start: bool) -> Forwarded {
        let (payload, extensions) = (Arc::from(&b"media"[..]), Extensions::default());
        let packet = Packet { seq, time: seq * 10, marker: true, payload, extensions, arrived: self.now };
        let codec = if kind == Kind::Audio { Codec::Opus } else { Codec::Vp8 };
        Forwarded { codec, packet, start: start || kind == Kind::Audio }
    }

    /// Video of these numbers comes; a negative one is a start.
    fn video(&mut self, numbers: &[i64]) -> Vec<String> {
        let packets = numbers.iter().map(|seq| self.packet(Kind::Video, seq.unsigned_abs(), *seq < 0)).collect();
        self.burst(packets)
    }

    fn burst(&mut self, packets: Vec<Forwarded>) -> Vec<String> {
        packets.iter().for_each(|packet| self.history.insert(packet));
        self.reader.deliver(self.now, &Burst { packets, clocks: self.clocks }, &mut self.seen);
        std::mem::take(&mut self.seen.sent)
    }

    /// On to the next deadline.
    fn next(&mut self) -> Vec<String> {
        self.now = self.reader.deadline().expect("something is to come");
        self.reader.handle_timeout(self.now, Some(&self.history), &mut self.seen);
        std::mem::take(&mut self.seen.sent)
    }
}

#[test]
fn reports_come_before_the_first_packets_and_every_second() {
    let mut scene = Scene::new();
    let audio = scene.packet(Kind::Audio, 5, true);
    assert_eq!(scene.burst(vec![audio]), ["A", "V", "a200@50"]);
    let start = scene.now;
    assert_eq!(scene.next(), ["A", "V"]);
    assert_eq!(scene.now, start + Duration::from_secs(1));
}

#[test]
fn a_track_whose_clock_is_known_later_is_reported_then_with_the_other() {
    let mut scene = Scene::new();
    let clock = scene.clocks.video.take();
    let audio = scene.packet(Kind::Audio, 5, true);
    assert_eq!(scene.burst(vec![audio.clone()]), ["A", "a200@50"]);
    scene.clocks.video = clock;
    let next = scene.packet(Kind::Audio, 6, true);
    assert_eq!(scene.burst(vec![next]), ["A", "V", "a201@60"]);
}

#[test]
fn both_tracks_report_the_same_moment() {
    struct Reports(Vec<(u64, u32)>);
    impl Sink for Reports {
        fn has_room(&mut self, _: Kind) -> bool {
            true
        }
        fn rtp(&mut self, _: Kind, _: &Outgoing<'_>) {}
        fn rtcp(&mut self, _: Kind, compound: &[u8]) {
            let report = crate::rtcp::packets(compound).next().map(SenderReport::parse).expect("SR is first");
            let report = report.expect("it is whole");
            self.0.push((report.ntp_timestamp(), report.rtp_timestamp()));
        }
    }
    let mut scene = Scene::new();
    let mut reports = Reports(Vec::new());
    scene.now += 500 * MS;
    let burst = Burst { packets: Vec::new(), clocks: scene.clocks };
    scene.reader.deliver(scene.now, &burst, &mut reports);
    let half = (1 << 40) + (1 << 31);
    assert_eq!(reports.0, [(half, 24_000), (half, 45_000)]);
}

#[test]
fn video_begins_at_a_start_and_goes_on_in_order_without_gaps() {
    let mut scene = Scene::new();
    scene.video(&[1, 2]);
    assert!(scene.reader.wants_keyframe());
    assert_eq!(scene.video(&[-3, 4, 6, 7]), ["v100@30", "v101@40"]);
    assert!(!scene.reader.wants_keyframe());
    assert_eq!(scene.video(&[5, 8]), ["v102@50", "v103@60", "v104@70", "v105@80"]);
    assert_eq!(scene.video(&[10, 5]), [""; 0]);
    assert_eq!(scene.next(), ["v107@100"], "what did not come is a gap");
    assert_eq!(scene.video(&[9, 11]), ["v108@110"], "and never comes later");
}

#[test]
fn who_joins_gets_the_video_since_the_last_start_and_then_what_is_live() {
    let mut scene = Scene::new();
    let packets = [(-3, true), (4, false), (6, false)];
    let packets: Vec<_> =
        packets.map(|(seq, start): (i64, _)| scene.packet(Kind::Video, seq.unsigned_abs(), start)).into();
    packets.iter().for_each(|packet| scene.history.insert(packet));
    scene.history.set_clocks(&scene.clocks);
    scene.reader.replay(scene.now, &scene.history, &mut scene.seen);
    let mut sent = std::mem::take(&mut scene.seen.sent);
    // Live packets meanwhile are in the cache, too, and come from there.
    sent.extend(scene.video(&[7, 8]));
    while scene.reader.replay.is_some() {
        sent.extend(scene.next());
    }
    assert_eq!(sent, ["A", "V", "v100@30", "v101@40", "v103@60", "v104@70", "v105@80"]);
    assert_eq!(scene.video(&[5, 9]), ["v106@90"], "what the replay passed is too late");
}

/// Video from 3, which is a start, to 23, and sound from 5 to 24 between; then the reader joins. What it gets at once.
fn joins_with_sound() -> (Scene, Vec<String>) {
    let mut scene = Scene::new();
    let pictures = (4..24).flat_map(|seq| [(Kind::Audio, seq + 1), (Kind::Video, seq)]);
    for (kind, seq) in [(Kind::Audio, 4), (Kind::Video, 3)].into_iter().chain(pictures) {
        let packet = scene.packet(kind, seq, seq == 3);
        scene.history.insert(&packet);
        scene.now += 20 * MS;
    }
    scene.history.set_clocks(&scene.clocks);
    scene.reader.replay(scene.now, &scene.history, &mut scene.seen);
    assert!(scene.reader.replay.is_some(), "it takes more than one slice");
    let sent = std::mem::take(&mut scene.seen.sent);
    (scene, sent)
}

#[test]
fn who_joins_gets_the_sound_of_the_same_time() {
    let (mut scene, mut sent) = joins_with_sound();
    // Live packets meanwhile are in the cache, too, and come from there.
    let live = [(Kind::Video, 24), (Kind::Audio, 25)].map(|(kind, seq)| scene.packet(kind, seq, false));
    sent.extend(scene.burst(live.into()));
    while scene.reader.replay.is_some() {
        sent.extend(scene.next());
    }
    let sound: Vec<_> = sent.iter().filter(|one| one.starts_with('a')).cloned().collect();
    assert_eq!(sound, (0..21).map(|n| format!("a{}@{}", 200 + n, 50 + 10 * n)).collect::<Vec<_>>());
    let at = |one: &str| sent.iter().position(|other| other == one);
    assert!(at("v100@30") < at("a200@50") && at("a200@50") < at("v102@50"), "between the pictures: {sent:?}");
    let live = [(Kind::Audio, 24), (Kind::Audio, 26)].map(|(kind, seq)| scene.packet(kind, seq, false));
    assert_eq!(scene.burst(live.into()), ["a221@260"], "once, and then live");
}

#[test]
fn a_replay_that_breaks_off_leaves_no_gap_in_the_sound() {
    let (mut scene, sent) = joins_with_sound();
    let replayed = sent.iter().filter(|one| one.starts_with('a')).count();
    scene.history.fill_cache([]);
    assert_eq!(scene.next(), [""; 0]);
    assert!(scene.reader.replay.is_none() && scene.reader.wants_keyframe());
    let live = scene.packet(Kind::Audio, 50, false);
    assert_eq!(scene.burst(vec![live]), [format!("a{}@500", 200 + replayed)]);
}

#[test]
fn what_the_player_reports_is_told() {
    let mut scene = Scene::new();
    assert_eq!(scene.reader.reported(), Reported::default());
    scene.video(&[-1, 2]);
    // Of SSRC 96, which is video: a quarter lost, 5 in all, a jitter of 900 ticks, of our report of 125 ms ago, held for none.
    let ntp = Ntp(1 << 40).middle();
    let words = [0x81c9_0007_u32, 7, 96, 64 << 24 | 5, 101, 900, ntp, 0];
    let mut report: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
    scene.reader.handle_rtcp(scene.now + 125 * MS, &mut report.clone());
    let reported = Reported { loss: Some(0.25), jitter: Some(10 * MS), rtt: Some(125 * MS), lost: 5 };
    assert_eq!(scene.reader.reported(), reported);
    // Of a stranger's SSRC, and damaged.
    report[11] = 95;
    scene.reader.handle_rtcp(scene.now, &mut report.clone());
    report[11] = 96;
    scene.reader.handle_rtcp(scene.now, &mut report[..30]);
    assert_eq!(scene.reader.reported(), reported);
}

#[test]
fn without_room_everything_up_to_the_next_start_is_left_out() {
    let mut scene = Scene::new();
    scene.video(&[-1, 2]);
    scene.seen.full = true;
    assert_eq!(scene.video(&[3, 4]), [""; 0]);
    scene.seen.full = false;
    assert_eq!(scene.video(&[5, 6]), [""; 0]);
    assert!(scene.reader.wants_keyframe());
    assert_eq!(scene.video(&[-7, 8]), ["v102@70", "v103@80"], "without a gap");
}

#[test]
fn a_pause_ends_at_a_start_with_reports() {
    let mut scene = Scene::new();
    scene.video(&[-1, 2]);
    scene.reader.pause();
    assert_eq!((scene.video(&[-3, 4]), scene.reader.deadline()), (vec![], None));
    scene.reader.resume();
    assert_eq!(scene.video(&[5]), ["A", "V"]);
    assert_eq!(scene.video(&[-6]), ["v102@60"]);
}

#[test]
fn bye_is_said_on_every_track_once_and_nothing_after_it() {
    let mut scene = Scene::new();
    scene.clocks = PerKind::default();
    scene.reader.close(scene.now, &mut scene.seen);
    assert_eq!(scene.seen.sent, ["AB", "VB"], "even before anything is known");
    scene.reader.close(scene.now, &mut scene.seen);
    assert_eq!(scene.video(&[-1]).len(), 2);
    assert_eq!(scene.reader.deadline(), None);
}
