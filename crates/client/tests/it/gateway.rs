//! A gateway just good enough to test a client with: one stream, str0m for every session, every packet forwarded as it
//! comes, from the first keyframe on; and ways to misbehave.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use str0m::change::SdpOffer;
use str0m::media::{MediaKind, Mid, Pt};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{RtpPacket, RtpWrite};
use str0m::{Candidate, Event, Input, Output, Rtc};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{mpsc, oneshot};

/// What the gateway does wrong, to the hundredth video packet it forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// It is not forwarded, its number is left out.
    Drops,
    /// It is not forwarded, its number goes to the next one.
    Swallows,
    /// A bit is flipped.
    Corrupts,
    /// It comes after the next one.
    Swaps,
}

/// How POST is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Post {
    Normally,
    /// With this status, `Retry-After: 7` and a body that says why.
    With(u16),
    WithoutLocation,
    /// With an answer that is not SDP.
    WithNonsense,
    /// Normally, but the candidate leads nowhere.
    WithDeadCandidate,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Behaviour {
    pub(crate) fault: Fault,
    pub(crate) post: Post,
}

/// Viewers of a stream whose hundredth packet is faulty.
pub(crate) const VIEWERS: usize = 4;

pub(crate) const WELL: Behaviour = Behaviour { fault: Fault::None, post: Post::Normally };

/// An HTTP request as the gateway saw it: method, path, `Authorization`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) authorization: Option<String>,
}

/// A running gateway; it ends when dropped.
pub(crate) struct Gateway {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Seen>>>,
    kick: mpsc::Sender<()>,
    sessions: Arc<Mutex<usize>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Gateway {
    pub(crate) async fn start(behaviour: Behaviour) -> Gateway {
        let http = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let rtc = UdpSocket::bind("127.0.0.1:0").await.expect("loopback");
        let address = http.local_addr().expect("bound");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let sessions = Arc::new(Mutex::new(0));
        let (kick, kicks) = mpsc::channel(1);
        let (ask, asked) = mpsc::channel(16);
        let engine = Engine {
            behaviour,
            local: rtc.local_addr().expect("bound"),
            rtc,
            sessions: HashMap::new(),
            next: 0,
            forwarded: 0,
            held: None,
            count: sessions.clone(),
        };
        let log = requests.clone();
        let task = tokio::spawn(async move {
            tokio::select! {
                () = serve(http, ask, log) => {}
                () = engine.run(asked, kicks) => {}
            }
        });
        Gateway { address, requests, kick, sessions, task }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn requests(&self) -> Vec<Seen> {
        self.requests.lock().expect("no panics").clone()
    }

    pub(crate) fn sessions(&self) -> usize {
        *self.sessions.lock().expect("no panics")
    }

    /// Ends every session with DTLS close_notify.
    pub(crate) async fn kick(&self) {
        self.kick.send(()).await.expect("running");
    }
}

/// A request for the engine, and where its answer goes: status, extra headers, body.
struct Ask {
    method: String,
    path: String,
    body: String,
    answer: oneshot::Sender<(u16, String, String)>,
}

async fn serve(listener: TcpListener, ask: mpsc::Sender<Ask>, log: Arc<Mutex<Vec<Seen>>>) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.expect("listening");
        connections.spawn(answer(stream, ask.clone(), log.clone()));
    }
}

async fn answer(mut stream: TcpStream, ask: mpsc::Sender<Ask>, log: Arc<Mutex<Vec<Seen>>>) -> io::Result<()> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
    };
    let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
    let header = |name: &str| {
        text.lines().find_map(|line| line.split_once(": ").filter(|(key, _)| key.eq_ignore_ascii_case(name)))
    };
    let length: usize = header("content-length").and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
    while bytes.len() < head + 4 + length {
        stream.read_buf(&mut bytes).await?;
    }
    let mut words = text.split(' ');
    let (method, path) = (words.next().unwrap_or_default().to_owned(), words.next().unwrap_or_default().to_owned());
    let authorization = header("authorization").map(|(_, value)| value.to_owned());
    log.lock().expect("no panics").push(Seen { method: method.clone(), path: path.clone(), authorization });
    let (reply, replied) = oneshot::channel();
    let body = String::from_utf8_lossy(&bytes[head + 4..]).into_owned();
    if ask.send(Ask { method, path, body, answer: reply }).await.is_err() {
        return Ok(());
    }
    let Ok((status, headers, body)) = replied.await else { return Ok(()) };
    let length = body.len();
    let response =
        format!("HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}");
    stream.write_all(response.as_bytes()).await?;
    stream.shutdown().await
}

struct Session {
    path: String,
    rtc: Rtc,
    publishes: bool,
    mids: Vec<(MediaKind, Mid)>,
    /// For a viewer: video waits for a keyframe.
    started: bool,
    remote: Option<SocketAddr>,
    deadline: Instant,
}

struct Engine {
    behaviour: Behaviour,
    local: SocketAddr,
    rtc: UdpSocket,
    sessions: HashMap<usize, Session>,
    next: usize,
    forwarded: usize,
    held: Option<RtpPacket>,
    count: Arc<Mutex<usize>>,
}

impl Engine {
    async fn run(mut self, mut asked: mpsc::Receiver<Ask>, mut kicks: mpsc::Receiver<()>) {
        let mut buffer = vec![0; 2000];
        loop {
            *self.count.lock().expect("no panics") = self.sessions.len();
            let far = Instant::now() + Duration::from_secs(1);
            let deadline = self.sessions.values().map(|session| session.deadline).min().unwrap_or(far);
            tokio::select! {
                ask = asked.recv() => if let Some(ask) = ask { self.ask(ask) },
                received = self.rtc.recv_from(&mut buffer) => {
                    let (length, from) = received.expect("loopback");
                    self.datagram(from, &buffer[..length]);
                }
                () = tokio::time::sleep_until(deadline.into()) => {}
                Some(()) = kicks.recv() => {
                    self.sessions.values_mut().for_each(|session| session.rtc.close().expect("open"));
                    self.turn().await;
                    self.sessions.clear();
                }
            }
            self.turn().await;
        }
    }

    fn ask(&mut self, ask: Ask) {
        let Ask { method, path, body, answer } = ask;
        let reply = match (method.as_str(), self.behaviour.post) {
            ("POST", Post::With(status)) => (status, "Retry-After: 7\r\n".to_owned(), "the\nreason".to_owned()),
            ("POST", post) => self.post(&path, &body, post),
            ("DELETE", _) => {
                let known = self.sessions.iter().find(|(_, session)| session.path == path).map(|(id, _)| *id);
                let status = known.and_then(|id| self.sessions.remove(&id)).map_or(404, |_| 200);
                (status, String::new(), String::new())
            }
            _ => (405, String::new(), String::new()),
        };
        let _ = answer.send(reply);
    }

    fn post(&mut self, path: &str, offer: &str, post: Post) -> (u16, String, String) {
        let now = Instant::now();
        let codecs = Rtc::builder().clear_codecs().enable_opus(true, false).enable_h264(true);
        let mut rtc = codecs.set_rtp_mode(true).set_ice_lite(true).build(now);
        let dead: SocketAddr = "127.0.0.1:9".parse().expect("literal");
        let address = if post == Post::WithDeadCandidate { dead } else { self.local };
        rtc.add_local_candidate(Candidate::host(address, "udp").expect("address"));
        let parsed = SdpOffer::from_sdp_string(offer).expect("offer parses");
        let answer = rtc.sdp_api().accept_offer(parsed).expect("offer is good").to_sdp_string();
        let kind = |line: &str| if line.starts_with("m=audio") { MediaKind::Audio } else { MediaKind::Video };
        let kinds = answer.lines().filter(|line| line.starts_with("m=")).map(kind);
        let mids = answer.lines().filter_map(|line| line.strip_prefix("a=mid:")).map(Mid::from);
        let mids = kinds.zip(mids).collect();
        self.next += 1;
        let location = format!("/session/{}", self.next);
        let publishes = path.starts_with("/whip");
        let session =
            Session { path: location.clone(), rtc, publishes, mids, started: false, remote: None, deadline: now };
        self.sessions.insert(self.next, session);
        match post {
            Post::WithoutLocation => (201, String::new(), answer),
            Post::WithNonsense => (201, format!("Location: {location}\r\n"), "nonsense".to_owned()),
            _ => (201, format!("Location: {location}\r\nETag: \"tag\"\r\n"), answer),
        }
    }

    fn datagram(&mut self, from: SocketAddr, bytes: &[u8]) {
        let now = Instant::now();
        let Ok(receive) = Receive::new(Protocol::Udp, from, self.local, bytes) else { return };
        let input = Input::Receive(now, receive);
        let by_address = self.sessions.values_mut().find(|session| session.remote == Some(from));
        if let Some(session) = by_address {
            session.rtc.handle_input(input).expect("alive");
            return;
        }
        if let Some(session) = self.sessions.values_mut().find(|session| session.rtc.accepts(&input)) {
            session.remote = Some(from);
            session.rtc.handle_input(input).expect("alive");
        }
    }

    /// Drains every session until none has anything to say, forwarding what publishers sent.
    async fn turn(&mut self) {
        loop {
            let mut packets = Vec::new();
            let mut closed = Vec::new();
            for (id, session) in &mut self.sessions {
                let mut late = session.deadline <= Instant::now();
                loop {
                    match session.rtc.poll_output().expect("alive") {
                        Output::Timeout(_) if late => {
                            late = false;
                            session.rtc.handle_input(Input::Timeout(Instant::now())).expect("alive");
                        }
                        Output::Timeout(at) => {
                            session.deadline = at;
                            break;
                        }
                        Output::Transmit(send) => {
                            self.rtc.send_to(&send.contents, send.destination).await.expect("loopback");
                        }
                        Output::Event(Event::RtpPacket(packet)) if session.publishes => packets.push(packet),
                        Output::Event(Event::Closed) => closed.push(*id),
                        Output::Event(_) => {}
                    }
                }
            }
            for id in closed {
                self.sessions.remove(&id);
            }
            if packets.is_empty() {
                return;
            }
            packets.into_iter().for_each(|packet| self.forward(packet));
        }
    }

    fn forward(&mut self, packet: RtpPacket) {
        let video = packet.header.payload_type != Pt::from(111);
        // Counted from when every viewer has its first picture: on a busy machine the last one is late.
        let watching = self.sessions.values().filter(|session| !session.publishes && session.started).count();
        let counts = video && watching == VIEWERS;
        self.forwarded += usize::from(counts);
        let hundredth = counts && self.forwarded == 100;
        match self.behaviour.fault {
            Fault::Drops | Fault::Swallows if hundredth => {}
            Fault::Swallows if video && self.forwarded > 100 => self.send(&packet, None, -1),
            Fault::Corrupts if hundredth => {
                let mut payload = packet.payload.to_vec();
                payload[20] ^= 1;
                self.send(&packet, Some(payload), 0);
            }
            Fault::Swaps if hundredth => self.held = Some(packet),
            _ => {
                self.send(&packet, None, 0);
                if let Some(held) = self.held.take_if(|_| video) {
                    self.send(&held, None, 0);
                }
            }
        }
    }

    fn send(&mut self, packet: &RtpPacket, payload: Option<Vec<u8>>, shift: i64) {
        let audio = packet.header.payload_type == Pt::from(111);
        let kind = if audio { MediaKind::Audio } else { MediaKind::Video };
        // The aggregation packet with the parameter sets that begins every keyframe of our own publishers.
        let starts = packet.payload.first() == Some(&0x78);
        let now = Instant::now();
        for session in self.sessions.values_mut().filter(|session| !session.publishes && session.rtc.is_connected()) {
            session.started |= starts;
            let Some((_, mid)) = session.mids.iter().find(|(of, _)| *of == kind) else { continue };
            if !audio && !session.started {
                continue;
            }
            let payload = payload.clone().map_or_else(|| packet.payload.clone(), Into::into);
            let pt = session.rtc.media(*mid).and_then(|media| media.remote_pts().first().copied()).expect("negotiated");
            let seq = packet.seq_no.wrapping_add_signed(shift);
            let header = &packet.header;
            let mut api = session.rtc.direct_api();
            let stream = api.stream_tx_by_mid(*mid, None).expect("declared");
            stream.write_rtp(
                RtpWrite::new(pt, seq.into(), header.timestamp, now, payload).marker(header.marker).nackable(!audio),
            );
            session.deadline = now;
        }
    }
}
