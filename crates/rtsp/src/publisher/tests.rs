use whipstitch_plane::Batches;
use whipstitch_rtp::rtcp::{Compound, Message};
use whipstitch_stream::Directory;
use whipstitch_stream::directory;

use super::*;
use crate::inbound::{self, Inbound};
use crate::queue::{Chunk, channels, frames, queue};

/// A VP8 key frame of one packet.
const KEY: &[u8] = &[0x10, 0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xf0, 0x00];

/// A publisher of VP8 and Opus in virtual time, whose client has numbered its RTCP channels 7 and 9.
struct Scene {
    now: Instant,
    directory: Directory,
    publisher: Publisher,
    batches: Batches,
    inbound: Inbound,
    chunks: mpsc::Receiver<Chunk>,
    gone: mpsc::Receiver<String>,
}

fn stream() -> StreamKey {
    StreamKey::parse("cam").expect("a legal name")
}

fn rtp(pt: u8, seq: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x80, pt];
    bytes.extend(seq.to_be_bytes());
    bytes.extend((u32::from(seq) * 3000).to_be_bytes());
    bytes.extend(u32::from(pt).to_be_bytes());
    bytes.extend(payload);
    bytes
}

impl Scene {
    fn new() -> Scene {
        let now = Instant::now();
        let config = directory::Config { on_conflict: directory::Conflict::TakeOver, ..directory::Config::default() };
        let directory = Directory::new(config, now);
        let slot = directory.reserve_publisher(&stream(), SessionId(1), now).expect("it is free");
        let ((out, chunks), (inbound, batches), (ends, gone)) = (queue(), inbound::queue(), mpsc::channel(1));
        let section = |codec, pt| Section { pt, ..Section::of(codec, "") };
        let config = PublisherConfig {
            session: SessionId(1),
            slot,
            sections: vec![section(Codec::Vp8, 96), section(Codec::Opus, 97)],
            channels: PerKind { audio: Some(9), video: Some(7) },
            remote: "127.0.0.1:1".parse().expect("an address"),
            user_agent: Some("Lavf".into()),
            batches,
            out: Arc::new(out),
            gone: (ends, "s".into()),
        };
        let publisher = Publisher::new(now, config);
        Scene { now, directory, publisher, batches: Batches::new(), inbound, chunks, gone }
    }

    fn call(&mut self, call: impl FnOnce(&mut Publisher, &mut Context<'_>)) -> Vec<Action> {
        let mut actions = Vec::new();
        call(&mut self.publisher, &mut Context::new(self.now, &mut self.batches, None, &mut actions));
        actions
    }

    /// A batch of frames, of these tracks.
    fn put(&self, packets: &[(Kind, bool, Vec<u8>)]) -> bool {
        let mut frames = Vec::new();
        for (kind, is_rtcp, packet) in packets {
            let (rtp, rtcp) = channels(*kind);
            frame(&mut frames, if *is_rtcp { rtcp } else { rtp }, |bytes| bytes.extend_from_slice(packet));
        }
        self.inbound.put(Batch { at: self.now, frames }).is_ok()
    }

    /// What comes of a batch.
    fn send(&mut self, packets: &[(Kind, bool, Vec<u8>)]) -> Vec<Action> {
        assert!(self.put(packets));
        self.call(|publisher, cx| publisher.handle_command(cx, PeerCommand::Wake))
    }

    /// What goes to the client.
    fn told(&mut self) -> Vec<(u8, Vec<u8>)> {
        let chunks = std::iter::from_fn(|| self.chunks.try_recv().ok());
        chunks
            .flat_map(|chunk| frames(&chunk.frames).map(|(at, bytes)| (at, bytes.to_vec())).collect::<Vec<_>>())
            .collect()
    }
}

fn video(seq: u16) -> (Kind, bool, Vec<u8>) {
    (Kind::Video, false, rtp(96, seq, KEY))
}

#[test]
fn it_is_live_with_its_first_packet() {
    let mut scene = Scene::new();
    assert_eq!(scene.publisher.deadline(), Some(scene.now), "it looks when it comes to its worker");
    assert!(scene.call(|publisher, cx| publisher.handle_timeout(cx)).is_empty());
    assert_eq!((scene.publisher.deadline(), scene.directory.live_tracks(&stream())), (None, None));
    assert!(scene.send(&[(Kind::Video, false, rtp(98, 1, KEY))]).is_empty(), "not announced");
    let actions = scene.send(&[video(1), (Kind::Audio, false, rtp(97, 1, b"opus"))]);
    let [
        Action::Publish(tracks),
        Action::Took(Phase::FirstMedia, _),
        Action::Push(Kind::Video, packet),
        Action::Push(Kind::Audio, _),
    ] = &actions[..]
    else {
        panic!("{actions:?}")
    };
    assert_eq!((scene.directory.live_tracks(&stream()).as_ref(), &*packet.payload), (Some(tracks), KEY));
    assert_eq!(scene.send(&[video(2)]).len(), 1, "once");
    let stats = scene.publisher.stats(scene.now);
    assert_eq!((stats.counters.packets, stats.counters.rejected, stats.user_agent.as_deref()), (3, 1, Some("Lavf")));
    assert_eq!(stats.codecs, [Codec::Vp8, Codec::Opus]);
}

#[test]
fn one_who_sends_too_much_waits_for_its_turn_and_loses_nothing() {
    let mut scene = Scene::new();
    let mut put = 0;
    while scene.put(&[video(put)]) {
        put += 1;
    }
    assert!(put > 8, "{put}");
    let mut pushed = Vec::new();
    let mut calls = 0;
    while scene.publisher.deadline() == Some(scene.publisher.since) {
        let actions = scene.call(|publisher, cx| publisher.handle_timeout(cx));
        let numbers = actions.iter().filter_map(|action| match action {
            Action::Push(_, packet) => Some(packet.seq as u16),
            _ => None,
        });
        let numbers: Vec<_> = numbers.collect();
        assert!(numbers.len() <= BATCHES_A_CALL);
        pushed.extend(numbers);
        calls += 1;
        assert!(calls < 100);
    }
    assert_eq!(pushed, (0..put).collect::<Vec<_>>());
    assert!(scene.put(&[video(put)]), "there is room again");
}

#[test]
fn reports_go_both_ways_and_requests_for_keyframes_back() {
    let mut scene = Scene::new();
    // SR of SSRC 96: NTP, RTP time 3000, nothing sent.
    let mut report = vec![0x80, 200, 0, 6, 0, 0, 0, 96, 1, 2, 3, 4, 5, 6, 7, 8];
    report.extend([0, 0, 11, 184, 0, 0, 0, 0, 0, 0, 0, 0]);
    scene.send(&[video(1)]);
    let actions = scene.send(&[(Kind::Video, true, report), (Kind::Video, true, vec![1, 2, 3])]);
    let [Action::SenderReport(Kind::Video, ntp, time)] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!((ntp.middle(), *time as u32), (0x0304_0506, 3000));
    scene.call(|publisher, cx| publisher.request_keyframe(cx));
    let mut told = scene.told();
    let [(7, compound)] = &mut told[..] else { panic!("{told:?}") };
    let messages: Vec<_> = Compound::parse(compound).expect("it is whole").messages().collect();
    assert!(matches!(messages[..], [Message::Reports(_), Message::Pli { media: 96 }]), "{messages:?}");
    scene.send(&[(Kind::Audio, false, rtp(97, 1, b"opus"))]);
    scene.call(|publisher, cx| publisher.handle_timeout(cx));
    scene.now = scene.publisher.deadline().expect("reports are due");
    scene.call(|publisher, cx| publisher.handle_timeout(cx));
    assert_eq!(scene.told().iter().map(|(channel, _)| *channel).collect::<Vec<_>>(), [9, 7]);
    assert_eq!(scene.publisher.counters().plis, 1);
}

#[test]
fn reports_that_nobody_reads_do_not_pile_up() {
    let mut scene = Scene::new();
    scene.send(&[video(1)]);
    for _ in 0..1000 {
        scene.call(|publisher, cx| publisher.request_keyframe(cx));
    }
    assert!((MAX_UNREAD..MAX_UNREAD + 200).contains(&scene.publisher.out.waiting()));
}

#[test]
fn it_ends_when_it_leaves_or_has_lost_the_stream() {
    let mut scene = Scene::new();
    scene.send(&[video(1), (Kind::Audio, false, rtp(97, 1, b"opus"))]);
    let bye = |ssrc| vec![0x81, 203, 0, 1, 0, 0, 0, ssrc];
    assert!(scene.send(&[(Kind::Video, true, bye(96))]).is_empty());
    let actions = scene.send(&[(Kind::Audio, true, bye(97))]);
    assert!(matches!(actions[..], [Action::Close(CloseReason::ByPeer)]), "{actions:?}");
    drop(scene.publisher);
    assert_eq!(scene.gone.try_recv(), Ok("s".to_owned()), "its connection is told");

    let mut scene = Scene::new();
    let _other = scene.directory.reserve_publisher(&stream(), SessionId(2), scene.now).expect("it may take over");
    scene.directory.take_over(&stream(), SessionId(2)).expect("it was a challenger");
    let actions = scene.send(&[video(1), video(2)]);
    assert!(matches!(actions[..], [Action::Close(CloseReason::Replaced)]), "{actions:?}");
}
