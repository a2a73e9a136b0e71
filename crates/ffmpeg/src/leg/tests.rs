//! Legs in virtual time, to real sockets of this machine.

use std::collections::VecDeque;
use std::net::UdpSocket;
use std::sync::{Arc, LazyLock, Mutex};

use whipstitch_media::{Extensions, Kind, Packet};
use whipstitch_plane::{Ending, IceRestart, Stepped};
use whipstitch_rtp::sender;
use whipstitch_stream::stream::Config;
use whipstitch_stream::{Directory, PerKind, Track, directory};

use super::*;
use crate::ports::{Ports, Whose};

const MS: Duration = Duration::from_millis(1);
const KEY: &[u8] = &[0x10, 0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xf0, 0x00];
const DELTA: &[u8] = &[0x10, 0x11, 0x02, 0x00];
const PUBLISHER: SessionId = SessionId(1);
const LEG: SessionId = SessionId(2);

/// Does what is queued when it is told anything.
struct Publisher {
    stream: StreamKey,
    queue: Arc<Mutex<VecDeque<Action>>>,
}

impl Peer for Publisher {
    fn session(&self) -> SessionId {
        PUBLISHER
    }
    fn stream(&self) -> &StreamKey {
        &self.stream
    }
    fn role(&self) -> Role {
        Role::Publisher
    }
    fn handle_timeout(&mut self, _: &mut Context<'_>) {}
    fn handle_command(&mut self, cx: &mut Context<'_>, _: PeerCommand) {
        self.queue.lock().unwrap().drain(..).for_each(|action| cx.act(action));
    }
    fn tracks_changed(&mut self, _: &mut Context<'_>, _: &Tracks) {}
    fn request_keyframe(&mut self, _: &mut Context<'_>) {}
    fn close(&mut self, _: &mut Context<'_>, _: &CloseReason) {}
    fn deadline(&self) -> Option<Instant> {
        None
    }
    fn stats(&self, now: Instant) -> SessionStats {
        SessionStats::new(now)
    }
    fn counters(&self) -> Counters {
        Counters::default()
    }
}

struct Scene {
    worker: Stepped,
    directory: Directory,
    queue: Arc<Mutex<VecDeque<Action>>>,
    stream: StreamKey,
    publisher: Ending,
    port: u16,
    seq: u64,
}

/// What a program has bound: RTP and RTCP of video.
struct Player([UdpSocket; 2]);

impl Player {
    fn bind(port: u16) -> Player {
        Player([port, port + 1].map(|port| {
            let socket = UdpSocket::bind(("0.0.0.0", port)).expect("leased ports are free");
            socket.set_nonblocking(true).unwrap();
            socket
        }))
    }

    /// What has come: sequence numbers of RTP, types of RTCP but for the questions.
    fn got(&self) -> (Vec<u16>, Vec<u8>) {
        let datagrams = |socket: &UdpSocket| {
            let mut bytes = [0; 2048];
            std::iter::from_fn(|| socket.recv(&mut bytes).ok().map(|len| bytes[..len].to_vec())).collect::<Vec<_>>()
        };
        let [rtp, rtcp] = [&self.0[0], &self.0[1]].map(datagrams);
        let types = |compound: Vec<u8>| {
            whipstitch_rtp::rtcp::packets(&compound)
                .map(|packet| packet[1])
                .filter(|kind| *kind != 201)
                .collect::<Vec<_>>()
        };
        (
            rtp.iter().map(|packet| u16::from_be_bytes([packet[2], packet[3]])).collect(),
            rtcp.into_iter().flat_map(types).collect(),
        )
    }
}

impl Scene {
    /// A stream with a publisher, a keyframe, and a leg to ports that nobody has bound.
    fn new() -> Scene {
        Scene::of(|scene| scene.video(KEY))
    }

    /// The same of a publisher that has done `before` so far.
    fn of(before: impl FnOnce(&mut Scene)) -> Scene {
        let mut worker = Stepped::new(1, Config::default()).unwrap();
        let stream = StreamKey::parse("cam").unwrap();
        let directory = Directory::new(directory::Config::default(), worker.now());
        let (queue, publisher) = (Arc::default(), Ending::default());
        let peer = Publisher { stream: stream.clone(), queue: Arc::clone(&queue) };
        worker.add(0, Box::new(peer), None, publisher.clone()).unwrap();
        // One for all tests of the process: what one leases no other gets.
        static PORTS: LazyLock<Ports> = LazyLock::new(|| {
            let first = 30_000 + 16 * (std::process::id() % 500) as u16;
            Ports::new(first..=first + 2_000).unwrap()
        });
        let block = PORTS.lease(Whose::Ours).unwrap();
        let port = block.first();
        let config = sender_config();
        let ways = Ways::open(PerKind { audio: None, video: Some(port) }).unwrap();
        let slot = directory.reserve_subscriber(&stream, LEG).unwrap();
        let leg = Leg::new(worker.now(), slot, block, vec![Codec::Vp8], Reader::new("c".into(), [config]), ways);
        let mut scene = Scene { worker, directory, queue, stream, publisher, port, seq: 100 };
        scene.publish();
        before(&mut scene);
        scene.worker.add(0, Box::new(leg), None, Ending::default()).unwrap();
        scene
    }

    fn act(&mut self, action: Action) {
        self.queue.lock().unwrap().push_back(action);
        let nothing = || (String::new(), String::new());
        let told = PeerCommand::IceRestart(IceRestart { local: nothing(), remote: nothing() });
        self.worker.tell(0, PUBLISHER, told).unwrap();
    }

    fn publish(&mut self) {
        let video = Some(Track { codec: Codec::Vp8, format: String::new() });
        self.act(Action::Publish(Tracks { audio: None, video }));
    }

    fn video(&mut self, payload: &[u8]) {
        self.seq += 1;
        let (payload, extensions, arrived) = (payload.into(), Extensions::default(), self.worker.now());
        let packet = Packet { seq: self.seq, time: self.seq * 3000, marker: true, payload, extensions, arrived };
        self.act(Action::Push(Kind::Video, packet));
    }

    fn legs(&self) -> usize {
        self.directory.counts().subscribers
    }
}

fn sender_config() -> sender::Config {
    sender::Config { kind: Kind::Video, clock_rate: 90_000, pt: 96, ssrc: 7, first_seq: 1000, time_offset: 0 }
}

/// RTCP packet types (RFC 3550 12.1).
const SR: u8 = 200;
const SDES: u8 = 202;
const BYE: u8 = 203;

#[test]
fn who_binds_the_ports_gets_reports_and_the_last_keyframe_and_what_follows() {
    let mut scene = Scene::new();
    for _ in 0..10 {
        scene.worker.pass(LOOK);
        scene.video(DELTA);
    }
    let player = Player::bind(scene.port);
    (0..30).for_each(|_| scene.worker.pass(10 * MS));
    scene.video(DELTA);
    scene.worker.pass(MS);
    let (numbers, types) = player.got();
    assert_eq!(numbers, (1000..1012).collect::<Vec<_>>(), "from the keyframe on, without a gap");
    assert_eq!(types[..2], [SR, SDES]);
}

#[test]
fn a_leg_whose_player_has_gone_ends_and_gives_its_ports_and_place_back() {
    let mut scene = Scene::new();
    let player = Player::bind(scene.port);
    (0..10).for_each(|_| scene.worker.pass(LOOK));
    scene.video(DELTA);
    scene.worker.pass(MS);
    assert_eq!((player.got().0.len(), scene.legs()), (2, 1));
    drop(player);
    for _ in 0..3 {
        scene.video(DELTA);
        scene.worker.pass(MS);
    }
    assert_eq!(scene.legs(), 0);
}

#[test]
fn a_player_gets_a_report_every_second_whatever_is_sent() {
    let mut scene = Scene::new();
    let player = Player::bind(scene.port);
    (0..10).for_each(|_| scene.worker.pass(LOOK));
    scene.video(DELTA);
    scene.worker.pass(MS);
    assert_eq!(player.got().1, [SR, SDES]);
    (0..3).for_each(|_| scene.worker.pass(1000 * MS));
    assert_eq!(player.got().1, [SR, SDES, SR, SDES, SR, SDES]);
}

#[test]
fn a_player_of_a_stream_that_sends_nothing_is_asked_whether_it_is_there() {
    let mut scene = Scene::of(|_| {});
    let player = Player::bind(scene.port);
    (0..60).for_each(|_| scene.worker.pass(1000 * MS));
    assert_eq!((scene.legs(), player.got()), (1, (vec![], vec![])));
    drop(player);
    (0..3).for_each(|_| scene.worker.pass(1000 * MS));
    assert_eq!(scene.legs(), 0);
}

#[test]
fn ports_that_nobody_binds_are_kept_for_half_a_minute() {
    let mut scene = Scene::new();
    (0..745).for_each(|_| scene.worker.pass(LOOK));
    assert_eq!(scene.legs(), 1);
    (0..10).for_each(|_| scene.worker.pass(LOOK));
    assert_eq!(scene.legs(), 0);
}

#[test]
fn a_leg_goes_on_with_the_next_publisher_and_says_bye_when_none_comes() {
    let mut scene = Scene::new();
    let player = Player::bind(scene.port);
    (0..10).for_each(|_| scene.worker.pass(LOOK));
    assert_eq!(player.got().0, [1000]);
    scene.publish();
    scene.seq = 9000;
    scene.video(DELTA);
    scene.video(KEY);
    scene.video(DELTA);
    scene.worker.pass(MS);
    assert_eq!(player.got().0, [1001, 1002], "from its first keyframe on, with the next number");
    let ending = scene.publisher.clone();
    scene.worker.end(0, PUBLISHER, &ending, CloseReason::ByPeer);
    (0..14).for_each(|_| scene.worker.pass(1000 * MS));
    assert_eq!(scene.legs(), 1, "in the grace time");
    assert!(!player.got().1.contains(&BYE));
    (0..3).for_each(|_| scene.worker.pass(1000 * MS));
    assert_eq!((scene.legs(), player.got().1.last()), (0, Some(&BYE)));
    assert!(scene.directory.list().iter().all(|entry| entry.key == scene.stream));
}
