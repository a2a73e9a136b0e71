use whipstitch_media::{Extensions, Packet};
use whipstitch_plane::Batches;
use whipstitch_stream::directory::Config;
use whipstitch_stream::{Clock, Directory, Forwarded};

use super::*;
use crate::queue::{Chunk, frames, queue};

const MS: Duration = Duration::from_millis(1);

/// A reader of both tracks, in virtual time, and what is at the other ends.
struct Scene {
    now: Instant,
    reader: Reader,
    batches: Batches,
    chunks: mpsc::Receiver<Chunk>,
    begun: oneshot::Receiver<Vec<First>>,
    gone: mpsc::Receiver<String>,
    next: PerKind<u64>,
    /// Others before the next burst did not reach the worker.
    after_gap: bool,
}

impl Scene {
    fn new() -> Scene {
        let now = Instant::now();
        let directory = Directory::new(Config::default(), now);
        let slot = directory.reserve_subscriber(&StreamKey::parse("cam").unwrap(), SessionId(1)).unwrap();
        let ((out, chunks), (begun, begins), (ends, gone)) = (queue(), oneshot::channel(), mpsc::channel(1));
        let track = |codec, channels| Some(TrackConfig { codec, pt: 96, ssrc: 1, channels });
        let config = ReaderConfig {
            session: SessionId(1),
            slot,
            tracks: PerKind { audio: track(Codec::Opus, (2, 3)), video: track(Codec::Vp8, (0, 1)) },
            remote: "127.0.0.1:1".parse().unwrap(),
            transport: "tcp",
            out: Arc::new(out),
            begun,
            gone: (ends, "s".into()),
        };
        let reader = Reader::new(now, config);
        let (batches, next) = (Batches::new(), PerKind::default());
        let mut scene = Scene { now, reader, batches, chunks, begun: begins, gone, next, after_gap: false };
        let actions = scene.timeout();
        assert!(matches!(actions[..], [Action::Subscribe]), "{actions:?}");
        scene
    }

    fn timeout(&mut self) -> Vec<Action> {
        let mut actions = Vec::new();
        self.reader.handle_timeout(&mut Context::new(self.now, &mut self.batches, None, &mut actions));
        actions
    }

    fn command(&mut self, command: PeerCommand) {
        let mut actions = Vec::new();
        self.reader.handle_command(&mut Context::new(self.now, &mut self.batches, None, &mut actions), command);
    }

    /// A burst of one packet of this size; true if the reader needs a keyframe from then on.
    fn deliver(&mut self, kind: Kind, start: bool, size: usize) -> bool {
        let seq = self.next[kind];
        self.next[kind] += 1;
        let payload = Arc::from(vec![0; size]);
        let (extensions, arrived) = (Extensions::default(), self.now);
        let packet = Packet { seq, time: 3000 * seq, marker: true, payload, extensions, arrived };
        let clock = Clock { ntp: whipstitch_media::time::Ntp(1 << 40), time: 3000 * seq, at: self.now };
        let mut clocks = PerKind::default();
        clocks[kind] = Some(clock);
        let codec = if kind == Kind::Audio { Codec::Opus } else { Codec::Vp8 };
        let burst = Burst { packets: vec![Forwarded { codec, packet, start }], clocks };
        let mut delivery = Delivery::new(self.now, &mut self.batches);
        delivery.after_gap = std::mem::take(&mut self.after_gap);
        self.reader.deliver(&mut delivery, &burst);
        delivery.wants_keyframe
    }

    /// Everything in the queue: channel, and the sequence number of RTP or the packet type of RTCP.
    fn sent(&mut self) -> Vec<(u8, u16)> {
        let mut sent = Vec::new();
        while let Ok(chunk) = self.chunks.try_recv() {
            let told = |(channel, packet): (u8, &[u8])| match channel % 2 {
                0 => (channel, u16::from_be_bytes([packet[2], packet[3]])),
                _ => (channel, u16::from(packet[1])),
            };
            sent.extend(frames(&chunk.frames).map(told));
        }
        sent
    }
}

const SENDER_REPORT: u16 = 200;

#[test]
fn the_first_packets_are_named_and_have_their_reports_before_them() {
    let mut scene = Scene::new();
    scene.deliver(Kind::Audio, true, 100);
    assert!(scene.sent().is_empty() && scene.begun.try_recv().is_err(), "the pictures are still to come");
    scene.deliver(Kind::Video, false, 100);
    scene.deliver(Kind::Video, true, 100);
    let mut firsts = scene.begun.try_recv().unwrap();
    firsts.sort_by_key(|first| first.kind);
    let sent = scene.sent();
    let reports = sent.iter().take_while(|(_, kind)| *kind == SENDER_REPORT).count();
    assert!([1, 3].into_iter().all(|channel| sent[..reports].contains(&(channel, SENDER_REPORT))), "{sent:?}");
    assert_eq!(sent[reports..], [(2, firsts[0].seq), (0, firsts[1].seq)]);
    scene.deliver(Kind::Audio, true, 100);
    assert_eq!(scene.sent(), [(2, firsts[0].seq.wrapping_add(1))]);
    assert_eq!(scene.reader.stats(scene.now).counters.packets, 3);
}

#[test]
fn a_track_that_does_not_come_is_not_waited_for() {
    let mut scene = Scene::new();
    scene.deliver(Kind::Audio, true, 100);
    scene.now += OPENING;
    assert!(scene.reader.deadline().is_some_and(|at| at <= scene.now));
    scene.timeout();
    let firsts = scene.begun.try_recv().unwrap();
    assert_eq!(firsts.iter().map(|first| first.kind).collect::<Vec<_>>(), [Kind::Audio]);
    assert_eq!(scene.sent().last(), Some(&(2, firsts[0].seq)));
    scene.deliver(Kind::Video, true, 100);
    let sent = scene.sent();
    assert_eq!(sent.last().map(|(channel, _)| *channel), Some(0));
    assert!(sent.contains(&(1, SENDER_REPORT)), "its report comes with its first packet: {sent:?}");
}

#[test]
fn a_reader_that_takes_nothing_loses_pictures_up_to_a_keyframe_and_no_numbers() {
    let mut scene = Scene::new();
    scene.deliver(Kind::Audio, true, 100);
    scene.deliver(Kind::Video, true, 100);
    let first = scene.sent().last().expect("pictures").1;
    let mut told = 0;
    for _ in 0..3 * MAX_WAITING / 50_000 {
        told += usize::from(scene.deliver(Kind::Video, false, 50_000));
    }
    assert_eq!(told, 0, "what came could not be sent");
    assert!(scene.reader.way.out.waiting() <= MAX_WAITING, "{}", scene.reader.way.out.waiting());
    let skipped = scene.reader.counters().skipped;
    assert!(skipped > 50, "{skipped}");
    let kept = scene.sent();
    // Taken, but not at a keyframe: it is asked for once.
    let asked: usize = (0..5).map(|_| usize::from(scene.deliver(Kind::Video, false, 1000))).sum();
    assert_eq!((asked, scene.sent()), (1, vec![]));
    scene.deliver(Kind::Video, true, 1000);
    let next = first.wrapping_add(kept.len() as u16 + 1);
    assert_eq!(scene.sent(), [(0, next)]);
}

#[test]
fn behind_a_gap_of_its_worker_a_reader_goes_on_at_a_keyframe_that_is_asked_for() {
    let mut scene = Scene::new();
    scene.deliver(Kind::Audio, true, 100);
    scene.deliver(Kind::Video, true, 100);
    let first = scene.sent().last().expect("pictures").1;
    (scene.next.video, scene.after_gap) = (5, true);
    assert!(scene.deliver(Kind::Video, false, 100));
    // What was asked for may have been in the next gap.
    scene.after_gap = true;
    assert!(scene.deliver(Kind::Video, false, 100) && !scene.deliver(Kind::Video, false, 100));
    assert_eq!(scene.sent(), []);
    scene.deliver(Kind::Video, true, 100);
    assert_eq!(scene.sent(), [(0, first.wrapping_add(1))], "without a gap in the numbers");
}

#[test]
fn nothing_is_sent_in_a_pause() {
    let mut scene = Scene::new();
    scene.deliver(Kind::Audio, true, 100);
    scene.deliver(Kind::Video, true, 100);
    scene.sent();
    scene.command(PeerCommand::Pause);
    scene.deliver(Kind::Video, true, 100);
    scene.now += 5000 * MS;
    scene.timeout();
    assert!(scene.sent().is_empty());
    scene.command(PeerCommand::Resume);
    scene.deliver(Kind::Video, false, 100);
    assert!(scene.sent().iter().all(|(channel, _)| channel % 2 == 1), "reports only");
    scene.deliver(Kind::Video, true, 100);
    assert_eq!(scene.sent().last().map(|(channel, _)| *channel), Some(0));
}

#[test]
fn who_ends_says_goodbye_and_its_connection_hears_of_it() {
    let mut scene = Scene::new();
    scene.deliver(Kind::Audio, true, 100);
    scene.deliver(Kind::Video, true, 100);
    scene.sent();
    let mut actions = Vec::new();
    let mut cx = Context::new(scene.now, &mut scene.batches, None, &mut actions);
    scene.reader.close(&mut cx, &CloseReason::StreamEnded);
    let chunk = scene.chunks.try_recv().unwrap();
    const BYE: u8 = 203;
    for (_, compound) in frames(&chunk.frames) {
        assert_eq!(compound[compound.len() - 8..][..2], [0x81, BYE]);
    }
    assert_eq!(frames(&chunk.frames).count(), 2);
    drop(scene.reader);
    assert_eq!(scene.gone.try_recv().as_deref(), Ok("s"));
}
