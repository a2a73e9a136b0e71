//! A publisher of plain RTP in virtual time: what a task would put into its queue, and what real sockets of this machine
//! get of its reports.

use std::net::UdpSocket;
use std::sync::LazyLock;

use whipstitch_media::Codec;
use whipstitch_media::sdp::Section;
use whipstitch_plane::{Ending, Stepped};
use whipstitch_rtp::reorder::Limits;
use whipstitch_rtp::rtcp;
use whipstitch_stream::directory::{self, Conflict};
use whipstitch_stream::stream::Config;
use whipstitch_stream::{Directory, PerKind};

use super::*;
use crate::ports::{Ports, Whose};
use crate::sockets::Sockets;

const MS: Duration = Duration::from_millis(1);
/// RTCP packet types (RFC 3550 12.1, RFC 4585 6.1).
const RR: u8 = 201;
const SDES: u8 = 202;
const BYE: u8 = 203;
const PSFB: u8 = 206;
/// VP8: the payload descriptor, then a key frame of 576 by 496.
const KEY: &[u8] = &[0x10, 0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x40, 0x02, 0xf0, 0x01];
const DELTA: &[u8] = &[0x10, 0x11, 0x02, 0x00];
const SESSION: SessionId = SessionId(7);

struct Scene {
    worker: Stepped,
    directory: Directory,
    queue: Option<mpsc::Sender<Datagram>>,
    refused: Arc<AtomicU64>,
    ending: Ending,
    /// The sender's two sockets.
    sender: [UdpSocket; 2],
    ssrc: u32,
    seq: u16,
}

impl Scene {
    fn new(ends_with_bye: bool) -> Scene {
        Scene::with(ends_with_bye, directory::Config::default())
    }

    fn with(ends_with_bye: bool, places: directory::Config) -> Scene {
        let mut worker = Stepped::new(1, Config::default()).unwrap();
        let directory = Directory::new(places, worker.now());
        let slot = directory.reserve_publisher(&stream(), SESSION, worker.now()).unwrap();
        // One for all tests of the process: what one leases no other gets.
        static PORTS: LazyLock<Ports> = LazyLock::new(|| {
            let first = 32_000 + 16 * (std::process::id() % 500) as u16;
            Ports::new(first..=first + 2_000).unwrap()
        });
        let has = PerKind { audio: false, video: true };
        let sockets = Sockets::lease(&PORTS, Whose::Ours, [127, 0, 0, 1].into(), has).expect("one of 500 blocks");
        let sender = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
        sender.iter().for_each(|socket| socket.set_nonblocking(true).unwrap());
        let (queue, datagrams) = mpsc::channel(16);
        let refused = Arc::new(AtomicU64::new(0));
        let inlet = Inlet::new(
            worker.now(),
            InletConfig {
                slot,
                rtp: publisher::Config {
                    sections: vec![Section::of(Codec::Vp8, "")],
                    order: Limits::default(),
                    ssrc: 1,
                    cname: "c".into(),
                },
                datagrams,
                replies: sockets.replies(),
                refused: Arc::clone(&refused),
                ends_with_bye,
                user_agent: Some("test".into()),
                guard: None,
            },
        );
        let ending = Ending::default();
        worker.add(0, Box::new(inlet), None, ending.clone()).unwrap();
        Scene { worker, directory, queue: Some(queue), refused, ending, sender, ssrc: 77, seq: 0 }
    }

    fn put(&mut self, taken: Taken, bytes: Vec<u8>) {
        let port = if taken == Taken::Rtp { Port::Rtp } else { Port::Rtcp };
        let from = self.sender[usize::from(taken == Taken::Rtcp)].local_addr().unwrap();
        let at = self.worker.now();
        let datagram = Datagram { kind: Kind::Video, taken, port, from, bytes, at };
        self.queue.as_ref().unwrap().try_send(datagram).unwrap();
        self.worker.tell(0, SESSION, PeerCommand::Wake).unwrap();
    }

    fn video(&mut self, payload: &[u8]) {
        self.seq += 1;
        let mut packet = vec![0x80, 0x80 | 96];
        packet.extend(self.seq.to_be_bytes());
        packet.extend((u32::from(self.seq) * 3000).to_be_bytes());
        packet.extend(self.ssrc.to_be_bytes());
        packet.extend(payload);
        self.put(Taken::Rtp, packet);
    }

    fn bye(&mut self) {
        let mut bye = vec![0x81, BYE, 0, 1];
        bye.extend(self.ssrc.to_be_bytes());
        self.put(Taken::Rtcp, bye);
    }

    /// RTCP packet types that came to the sender's sockets.
    fn told(&self) -> [Vec<u8>; 2] {
        self.sender.each_ref().map(|socket| {
            let mut bytes = [0; 512];
            let compounds = std::iter::from_fn(|| socket.recv(&mut bytes).ok().map(|len| bytes[..len].to_vec()));
            compounds
                .flat_map(|compound| rtcp::packets(&compound).map(|packet| packet[1]).collect::<Vec<_>>())
                .collect()
        })
    }

    fn stats(&mut self) -> Option<SessionStats> {
        self.worker.report().sessions.into_iter().find(|report| report.session == SESSION).map(|report| report.stats)
    }

    /// Forwarded packets of the stream's video, and key pictures among them.
    fn forwarded(&mut self) -> (u64, u64) {
        let (_, stats) = self.worker.report().streams.into_iter().next().expect("a stream");
        let video = stats.tracks.video.expect("video");
        (video.packets, video.keyframes)
    }

    fn is_live(&self) -> bool {
        self.directory.live_tracks(&stream()).is_some()
    }
}

fn stream() -> StreamKey {
    StreamKey::parse("cam").unwrap()
}

#[test]
fn a_stream_is_live_with_the_first_packet_and_not_before() {
    let mut scene = Scene::new(true);
    scene.worker.pass(1000 * MS);
    assert!(!scene.is_live() && scene.stats().unwrap().connected.is_none());
    scene.video(KEY);
    scene.video(DELTA);
    assert!(scene.is_live());
    assert_eq!(scene.forwarded(), (2, 1));
    let stats = scene.stats().unwrap();
    assert_eq!((stats.counters.packets, stats.codecs, stats.transport), (2, vec![Codec::Vp8], Some("udp")));
    assert_eq!((stats.remote, stats.user_agent), (scene.sender[0].local_addr().ok(), Some("test".into())));
    assert!(stats.connected.is_some() && stats.first_media.is_some());
}

#[test]
fn what_came_before_the_session_has_reached_its_worker_is_taken() {
    let mut scene = Scene::new(true);
    let from = scene.sender[0].local_addr().unwrap();
    let mut bytes = vec![0x80, 0x80 | 96, 0, 1, 0, 0, 0, 1, 0, 0, 0, 77];
    bytes.extend(KEY);
    let at = scene.worker.now();
    let datagram = Datagram { kind: Kind::Video, taken: Taken::Rtp, port: Port::Rtp, from, bytes, at };
    // Nobody is woken: the session was not there yet.
    scene.queue.as_ref().unwrap().try_send(datagram).unwrap();
    scene.worker.pass(5 * MS);
    assert!(scene.is_live());
}

#[test]
fn a_sender_is_told_what_came_every_second_and_a_keyframe_is_asked_for_at_once() {
    let mut scene = Scene::new(true);
    scene.video(DELTA);
    let (rtp, rtcp) = (scene.sender[0].local_addr().unwrap(), scene.sender[1].local_addr().unwrap());
    // It has sent no RTCP: the port after that of its RTP is told, where nobody listens here.
    scene.worker.pass(1500 * MS);
    assert_eq!(scene.told(), [Vec::<u8>::new(), Vec::new()], "{rtp}");
    let mut report = vec![0x80, 200, 0, 6];
    report.extend(scene.ssrc.to_be_bytes());
    report.extend([0; 20]);
    scene.put(Taken::Rtcp, report);
    scene.video(DELTA);
    scene.worker.pass(2000 * MS);
    let [to_rtp, to_rtcp] = scene.told();
    assert!(to_rtp.is_empty() && to_rtcp.contains(&PSFB), "video waits for a keyframe: {to_rtcp:?} to {rtcp}");
    let reports = to_rtcp.chunks(2).filter(|pair| *pair == [RR, SDES]).count();
    assert!(reports >= 2, "{to_rtcp:?}");
}

#[test]
fn a_sender_that_begins_anew_goes_on_in_the_same_session() {
    let mut scene = Scene::new(true);
    scene.video(KEY);
    scene.video(DELTA);
    scene.worker.pass(600 * MS);
    (scene.ssrc, scene.seq) = (78, 40_000);
    scene.video(KEY);
    assert_eq!(scene.forwarded(), (2, 1), "one packet proves nothing");
    scene.video(DELTA);
    assert_eq!(scene.forwarded(), (4, 2));
    assert!(scene.stats().is_some());
}

#[test]
fn nothing_for_half_a_minute_ends_it_whether_or_not_it_has_begun() {
    for begins in [false, true] {
        let mut scene = Scene::new(true);
        if begins {
            scene.worker.pass(1000 * MS);
            scene.video(KEY);
        }
        scene.worker.pass(PATIENCE - 10 * MS);
        assert!(scene.stats().is_some(), "begins: {begins}");
        scene.worker.pass(20 * MS);
        assert!(scene.stats().is_none(), "begins: {begins}");
        assert!(scene.queue.as_ref().unwrap().is_closed(), "its task is told");
        assert!(scene.directory.publisher(&stream()).is_none(), "its place is free");
    }
}

#[test]
fn bye_ends_it_where_it_is_meant_to() {
    for ends in [true, false] {
        let mut scene = Scene::new(ends);
        scene.video(KEY);
        scene.bye();
        assert_eq!(scene.stats().is_none(), ends);
    }
}

#[test]
fn one_that_has_lost_the_stream_before_its_first_packet_ends() {
    let places = directory::Config { on_conflict: Conflict::TakeOver, ..directory::Config::default() };
    let mut scene = Scene::with(true, places);
    let other = scene.directory.reserve_publisher(&stream(), SessionId(8), scene.worker.now()).unwrap();
    scene.directory.take_over(&stream(), SessionId(8)).unwrap();
    scene.video(KEY);
    assert!(scene.stats().is_none() && other.holds());
}

#[test]
fn hostile_bytes_are_counted_and_change_nothing() {
    let mut scene = Scene::new(true);
    scene.video(KEY);
    for bytes in [vec![], vec![0x80], vec![0xff; 40], vec![0x80, 96], vec![0x80; 2000]] {
        scene.put(Taken::Rtp, bytes.clone());
        scene.put(Taken::Rtcp, bytes);
    }
    scene.refused.fetch_add(1, Ordering::Relaxed);
    scene.video(DELTA);
    let counters = scene.stats().unwrap().counters;
    assert_eq!((counters.packets, scene.forwarded()), (2, (2, 1)));
    assert_eq!(counters.rejected, 11, "those, and what the task refused");
}

#[test]
fn it_is_ended_from_outside_like_every_publisher() {
    let mut scene = Scene::new(true);
    scene.video(KEY);
    let ending = scene.ending.clone();
    scene.worker.end(0, SESSION, &ending, CloseReason::ByRequest);
    assert!(scene.stats().is_none() && scene.queue.take().unwrap().is_closed());
}
