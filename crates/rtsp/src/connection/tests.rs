//! Connections in virtual time; where sessions come to a worker, that is a real one.

mod children;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc as std_mpsc;

use tokio::io::DuplexStream;
use tokio::net::TcpSocket;
use whipstitch_media::sdp::Section;
use whipstitch_media::{Codec, Kind};
use whipstitch_plane::{Action, Context, Counters, Ending, Peer, PeerCommand, Role, SessionStats};
use whipstitch_plane::{Plane, PlaneConfig};
use whipstitch_stream::directory::{self, PublisherSlot};
use whipstitch_stream::running::Asks;
use whipstitch_stream::{Directory, SessionId, StreamKey, Track, Tracks, stream};

use super::*;
use crate::access::{Access, Asked, Right, Verdict};
use crate::auth::Proof;
use crate::machine::{Announcement, ChosenWay};
use crate::server::{Bounds, Server};

/// Lets in everybody; children if it finds that connections are ours.
struct Everybody {
    ours: AtomicBool,
    asked: AtomicUsize,
}

impl Default for Everybody {
    fn default() -> Self {
        Everybody { ours: AtomicBool::new(true), asked: AtomicUsize::default() }
    }
}

impl Access for Everybody {
    fn judge(&self, _: Right, _: &StreamKey, _: IpAddr, _: Option<&Proof<'_>>) -> Verdict {
        Verdict::Allowed
    }
    fn judge_child(&self, _: Right, _: &StreamKey, _: IpAddr, ours: Option<bool>, credential: &str) -> Verdict {
        match (credential, ours) {
            ("child", None) => Verdict::Whose,
            ("child", Some(true)) => Verdict::Child("p".into()),
            _ => Verdict::Unknown,
        }
    }
    fn is_ours(&self, client: SocketAddr, port: u16) -> Asked {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let ours = self.ours.load(Ordering::Relaxed);
        Box::pin(async move {
            // It takes its time.
            tokio::task::yield_now().await;
            assert!(client.ip().is_loopback() && port != 0);
            ours
        })
    }
    fn serves(&self, _: &StreamKey) -> bool {
        true
    }
}

/// Does one thing on its worker.
struct Once<F> {
    role: Role,
    stream: StreamKey,
    since: std::time::Instant,
    does: Option<F>,
}

impl<F: FnOnce(&mut Context<'_>) + Send> Peer for Once<F> {
    fn session(&self) -> SessionId {
        SessionId(if self.role == Role::Publisher { 1 } else { 2 })
    }
    fn stream(&self) -> &StreamKey {
        &self.stream
    }
    fn role(&self) -> Role {
        self.role
    }
    fn handle_timeout(&mut self, cx: &mut Context<'_>) {
        self.does.take().into_iter().for_each(|does| does(cx));
    }
    fn handle_command(&mut self, _: &mut Context<'_>, _: PeerCommand) {}
    fn tracks_changed(&mut self, _: &mut Context<'_>, _: &Tracks) {}
    fn request_keyframe(&mut self, _: &mut Context<'_>) {}
    fn close(&mut self, _: &mut Context<'_>, _: &CloseReason) {}
    fn deadline(&self) -> Option<std::time::Instant> {
        self.does.as_ref().map(|_| self.since)
    }
    fn stats(&self, now: std::time::Instant) -> SessionStats {
        SessionStats::new(now)
    }
    fn counters(&self) -> Counters {
        Counters::default()
    }
}

fn once(plane: &Plane, role: Role, does: impl FnOnce(&mut Context<'_>) + Send + 'static) {
    let peer = Once { role, stream: cam(), since: std::time::Instant::now(), does: Some(does) };
    plane.add(0, Box::new(peer), None, Ending::default()).unwrap();
}

/// A server with one stream that is live and sends nothing.
struct Scene {
    shared: Arc<Shared>,
    access: Arc<Everybody>,
    stop: watch::Sender<bool>,
    _publisher: PublisherSlot,
}

fn cam() -> StreamKey {
    StreamKey::parse("cam").unwrap()
}

/// For what a worker does, on a machine that is busy otherwise.
const PATIENCE: Duration = Duration::from_secs(20);

/// Our address and the client's.
fn at() -> (SocketAddr, SocketAddr) {
    ("127.0.0.1:8554".parse().unwrap(), "127.0.0.1:1000".parse().unwrap())
}

const URL: &str = "rtsp://h/cam";
const SETUP: &str = "SETUP rtsp://h/cam/trackID=0";
const TCP: &str = "Transport: RTP/AVP/TCP;interleaved=0-1\r\n";
const UDP: &str = "Transport: RTP/AVP;unicast;client_port=50000-50001\r\n";

impl Scene {
    fn new() -> Scene {
        let (rtc, stream) = ("127.0.0.1:0".parse().unwrap(), stream::Config::default());
        let plane = Plane::start(&PlaneConfig { rtc, workers: 1, stream }).unwrap();
        let now = std::time::Instant::now();
        let directory = Directory::new(directory::Config::default(), now);
        let publisher = directory.reserve_publisher(&cam(), SessionId(1), now).unwrap();
        let video = Some(Track { codec: Codec::Vp8, format: String::new() });
        let tracks = Tracks { audio: None, video };
        assert!(publisher.go_live(tracks.clone(), now));
        once(&plane, Role::Publisher, move |cx| cx.act(Action::Publish(tracks)));
        // What the worker does takes real time, of which those that wait in virtual time have none.
        let begun = std::time::Instant::now();
        while plane.running().get(&cam()).is_none() {
            assert!(begun.elapsed() < PATIENCE, "it is published");
            std::thread::yield_now();
        }
        let access = Arc::<Everybody>::default();
        let shared = Arc::new(Shared::new(plane, directory, Arc::clone(&access) as Arc<dyn Access>));
        Scene { shared, access, stop: watch::channel(false).0, _publisher: publisher }
    }

    /// A client that is connected, with so much room for what it does not read.
    fn client(&self, room: usize) -> Client {
        self.client_in(room, None)
    }

    /// The same in a place that is kept for children.
    fn client_in(&self, room: usize, kept: Option<KeptPlace>) -> Client {
        let (near, far) = tokio::io::duplex(room);
        let (shared, stopped) = (Arc::clone(&self.shared), self.stop.subscribe());
        let task = tokio::spawn(talk(tokio::io::split(near), at(), kept, shared, stopped));
        Client { stream: far, task, cseq: 0 }
    }

    fn playing(&self) -> Playing {
        Playing::reserve(&self.shared, cam(), Asks::Anybody).unwrap()
    }

    fn readers(&self) -> usize {
        self.shared.directory.counts().subscribers
    }
}

struct Client {
    stream: DuplexStream,
    task: tokio::task::JoinHandle<()>,
    cseq: u32,
}

impl Client {
    async fn write(&mut self, line: &str, fields: &str) {
        self.cseq += 1;
        let request = format!("{line} RTSP/1.0\r\nCSeq: {}\r\n{fields}\r\n", self.cseq);
        self.stream.write_all(request.as_bytes()).await.unwrap();
    }

    /// A request's response.
    async fn ask(&mut self, line: &str, fields: &str) -> String {
        self.write(line, fields).await;
        self.reply().await
    }

    async fn reply(&mut self) -> String {
        let mut reply = Vec::new();
        while !reply.ends_with(b"\r\n\r\n") {
            reply.push(tokio::time::timeout(PATIENCE, self.stream.read_u8()).await.unwrap().unwrap());
        }
        String::from_utf8(reply).unwrap()
    }

    async fn status(&mut self, line: &str, fields: &str) -> u16 {
        self.ask(line, fields).await[9..12].parse().unwrap()
    }

    /// Sets the track up; gives the `Session` field.
    async fn set_up(&mut self, transport: &str) -> String {
        self.session(SETUP, transport).await
    }

    /// The same of any SETUP.
    async fn session(&mut self, line: &str, transport: &str) -> String {
        let reply = self.ask(line, transport).await;
        let session = reply.lines().find_map(|line| line.strip_prefix("Session: ")).expect("a session");
        format!("Session: {}\r\n", session.split(';').next().unwrap())
    }
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_is_left_after_its_time() {
    let (scene, start) = (Scene::new(), Instant::now());
    let mut client = scene.client(1000);
    client.ask("OPTIONS *", "").await;
    assert_eq!(client.stream.read(&mut [0]).await.unwrap(), 0);
    assert!((SILENCE..SILENCE + 2 * LOOK).contains(&start.elapsed()), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn who_takes_nothing_is_closed() {
    let (scene, start) = (Scene::new(), Instant::now());
    let client = scene.client(300);
    let (mut reader, mut writer) = tokio::io::split(client.stream);
    // Responses are longer than requests: the first that finds no room is stuck, and no more is read.
    while writer.write_all(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n").await.is_ok() {}
    assert!((STALLED..STALLED + 2 * LOOK).contains(&start.elapsed()), "{:?}", start.elapsed());
    let mut told = Vec::new();
    reader.read_to_end(&mut told).await.unwrap();
    assert_eq!(told.len(), 300);
}

#[tokio::test(start_paused = true)]
async fn a_publisher_that_is_not_understood_and_takes_nothing_is_closed() {
    let scene = Scene::new();
    let mut client = scene.client(300);
    let sdp = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n";
    client.write("ANNOUNCE rtsp://h/mine", &format!("Content-Length: {}\r\n", sdp.len())).await;
    client.stream.write_all(sdp.as_bytes()).await.unwrap();
    client.reply().await;
    let session = client.session("SETUP rtsp://h/mine", TCP).await;
    assert_eq!(client.status("RECORD rtsp://h/mine", &session).await, 200);
    for _ in 0..10 {
        client.write("OPTIONS *", "").await;
    }
    let start = Instant::now();
    client.stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    client.task.await.unwrap();
    assert!((STALLED..STALLED + 2 * LOOK).contains(&start.elapsed()), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_session_that_nobody_speaks_of_ends_although_its_connection_goes_on() {
    let scene = Scene::new();
    let mut client = scene.client(1000);
    let (kept, forgotten) = (client.set_up(TCP).await, client.set_up(UDP).await);
    assert_eq!(scene.readers(), 2);
    for _ in 0..4 {
        tokio::time::sleep(SILENCE / 3).await;
        assert_eq!(client.status(&format!("GET_PARAMETER {URL}"), &kept).await, 200);
    }
    assert_eq!(scene.readers(), 1);
    assert_eq!(client.status(&format!("GET_PARAMETER {URL}"), &forgotten).await, 454);
}

#[tokio::test(start_paused = true)]
async fn a_session_whose_worker_does_not_come_to_it_is_over() {
    let scene = Scene::new();
    let (plug, pulled) = std_mpsc::sync_channel::<()>(1);
    // The worker is kept busy until the other end is dropped.
    once(&scene.shared.plane, Role::Subscriber, move |_| assert!(pulled.recv().is_err()));
    let mut client = scene.client(1000);
    let session = client.set_up(UDP).await;
    assert_eq!(client.status(&format!("PLAY {URL}"), &session).await, 503);
    assert_eq!(client.status(&format!("GET_PARAMETER {URL}"), &session).await, 454);
    drop(plug);
}

#[tokio::test]
async fn a_reader_ends_with_whoever_has_its_session() {
    let scene = Scene::new();
    let (media, _chunks) = queue();
    let (ends, mut ended) = mpsc::channel(1);
    let mut playing = scene.playing();
    playing.set_up("s".into(), None, ChosenWay::Interleaved(0, 1), at()).unwrap();
    let begun = playing.play("s", at().1, (Arc::new(media), ends));
    assert_eq!(playing::begun(begun).await, Ok(Vec::new()));
    drop(playing);
    let ended = tokio::time::timeout(PATIENCE, ended.recv()).await.unwrap();
    assert_eq!(ended.as_deref(), Some("s"));
}

#[tokio::test]
async fn a_publisher_ends_with_whoever_has_its_session() {
    let scene = Scene::new();
    let (media, _chunks) = queue();
    let (ends, mut ended) = mpsc::channel(1);
    let stream = StreamKey::parse("mine").unwrap();
    let sections = vec![Section::of(Codec::Vp8, "")];
    let announcement = Announcement { stream: stream.clone(), sections, process: None, user_agent: None };
    let mut recording = Recording::announce(&scene.shared, announcement).unwrap();
    recording.begin(&[(Kind::Video, (0, 1))], at().1, (Arc::new(media), ends)).unwrap();
    let id = recording.id.clone();
    drop(recording);
    assert_eq!(scene.shared.directory.publisher(&stream), None, "at once");
    let ended = tokio::time::timeout(PATIENCE, ended.recv()).await.unwrap();
    assert_eq!(ended, Some(id));
}

/// Whether a connection from this address is served.
async fn connect(server: &Server, from: u8) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((IpAddr::from([127, 0, 0, from]), 0).into()).unwrap();
    let mut stream = socket.connect(server.local_addr()).await.unwrap();
    stream.write_all(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n").await.ok()?;
    stream.read_u8().await.is_ok().then_some(stream)
}

#[tokio::test]
async fn there_are_only_so_many_connections_and_fewer_of_one_address() {
    let scene = Scene::new();
    let (plane, directory) = (scene.shared.plane.clone(), scene.shared.directory.clone());
    let (any, bounds) = ("127.0.0.1:0".parse().unwrap(), Bounds { total: 3, per_address: 2, children: 0 });
    let server = Server::start(any, plane, directory, Arc::new(Everybody::default()), bounds).await.unwrap();
    let first = connect(&server, 1).await.expect("a place");
    let _second = connect(&server, 1).await.expect("another");
    assert!(connect(&server, 1).await.is_none(), "the address has two");
    let _third = connect(&server, 2).await.expect("the last");
    assert!(connect(&server, 3).await.is_none(), "all are taken");
    drop(first);
    let served = async { while connect(&server, 3).await.is_none() {} };
    tokio::time::timeout(PATIENCE, served).await.expect("a place that is free again");
}

#[tokio::test]
async fn a_track_that_is_set_up_again_goes_the_new_way() {
    let scene = Scene::new();
    let free = scene.shared.udp_tracks.available_permits();
    let mut client = scene.client(1000);
    let session = client.set_up(UDP).await;
    assert_eq!(scene.shared.udp_tracks.available_permits(), free - 1);
    assert_eq!(client.status(SETUP, &format!("{session}{TCP}")).await, 200);
    assert_eq!(scene.shared.udp_tracks.available_permits(), free, "the sockets are closed");
    assert_eq!(client.status(&format!("PLAY {URL}"), &session).await, 200);
}

#[tokio::test]
async fn there_are_only_so_many_tracks_over_udp() {
    let scene = Scene::new();
    let tracks = &scene.shared.udp_tracks;
    let _others = tracks.try_acquire_many(tracks.available_permits() as u32 - 1).unwrap();
    let mut client = scene.client(1000);
    let first = client.set_up(UDP).await;
    assert_eq!(client.status(SETUP, UDP).await, 461);
    assert_eq!(scene.readers(), 1, "who was refused has no place");
    assert_eq!(client.status(SETUP, &format!("{first}{UDP}")).await, 200, "the same track again needs no more");
    assert_eq!(client.status(&format!("TEARDOWN {URL}"), &first).await, 200);
    assert_eq!(client.status(SETUP, UDP).await, 200);
}

#[tokio::test]
async fn everybody_is_told_goodbye_when_the_server_stops() {
    let scene = Scene::new();
    let mut client = scene.client(1 << 20);
    let session = client.set_up(TCP).await;
    assert_eq!(client.status(&format!("PLAY {URL}"), &session).await, 200);
    scene.shared.plane.stop();
    scene.stop.send_replace(true);
    let mut last = Vec::new();
    tokio::time::timeout(PATIENCE, client.stream.read_to_end(&mut last)).await.unwrap().unwrap();
    const BYE: u8 = 203;
    assert!(last.len() > 8 && last[last.len() - 7] == BYE, "{last:02x?}");
    client.task.await.unwrap();
}

#[test]
fn an_address_of_ipv4_is_one_whatever_the_listener_is() {
    for (from, to) in [
        ("[::ffff:192.0.2.1]:5", "192.0.2.1:5"),
        ("192.0.2.1:5", "192.0.2.1:5"),
        ("[2001:db8::1]:5", "[2001:db8::1]:5"),
        ("[fe80::1%7]:5", "[fe80::1%7]:5"),
    ] {
        assert_eq!(canonical(from.parse().unwrap()), to.parse::<SocketAddr>().unwrap());
    }
}
