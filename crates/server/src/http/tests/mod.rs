//! The routes as clients see them: real connections to the real listener, a scripted media plane behind it. What the
//! media plane itself does is proven with the real one, in `crates/server/tests` and `interop`.

mod access;
mod aliases;
mod direct;
mod ice_servers;
mod limits;
mod matrix;
mod metrics;
mod openapi;
mod pages;
mod processes;
mod rates;
mod sessions;
mod slow;
mod streams;
mod switches;
mod whep;
mod whip;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use whipstitch_stream::{SessionId, StreamKey};

use super::*;
use crate::credentials::Token;
use crate::media::{
    Accepted, ClosedSession, Counts, Join, Measured, NotFound, PatchRefusal, Patched, Refusal, StreamReport,
};

/// Text that is an offer as far as HTTP cares.
const OFFER: &str = "v=0\r\n";
const FRAGMENT: &str = "a=ice-ufrag:abcd\r\n";
const SDP_TYPE: &str = "content-type: application/sdp";
const FRAGMENT_TYPE: &str = "content-type: application/trickle-ice-sdpfrag";

/// Fewer connections than any test but that of the bound opens.
const BOUNDS: connection::Bounds =
    connection::Bounds { connections: 8, patience: Duration::from_secs(600), grace: Duration::from_secs(2) };

/// A media plane that does as it is told and remembers what it was asked.
#[derive(Default)]
struct Script {
    /// What the next offers meet; accepted when empty.
    refusal: Mutex<Option<Refusal>>,
    /// What the next PATCH meets; trickled when empty.
    patched: Mutex<Option<Result<Patched, PatchRefusal>>>,
    /// Live session URLs.
    sessions: Mutex<HashSet<(Role, String, String)>>,
    /// Who asked for the last session.
    subject: Mutex<Option<Arc<str>>>,
    /// Streams somebody publishes.
    live: Mutex<HashSet<String>>,
    streams: Mutex<Vec<StreamReport>>,
    closed: Mutex<Vec<ClosedSession>>,
    measured: Mutex<Measured>,
    asked: Mutex<Vec<String>>,
    /// How often it was asked anything at all.
    touched: AtomicUsize,
    /// Held while an offer is answered.
    gate: Mutex<()>,
}

impl Script {
    fn accept(&self, what: &str, role: Role, join: &Join<'_>) -> Result<Accepted, Refusal> {
        let Join { stream, offer, candidates, user_agent, subject, .. } = join;
        self.note(format!("{what} {stream} {offer:?} {candidates:?} {user_agent:?}"));
        drop(self.gate.lock().unwrap());
        if let Some(refusal) = self.refusal.lock().unwrap().clone() {
            return Err(refusal);
        }
        self.sessions.lock().unwrap().insert((role, stream.to_string(), "secret".to_owned()));
        self.subject.lock().unwrap().clone_from(subject);
        Ok(Accepted {
            session: SessionId(7),
            resource: "secret".to_owned(),
            etag: "\"tag\"".to_owned(),
            answer: "v=0\r\ns=answer\r\n".to_owned(),
        })
    }

    fn note(&self, what: String) {
        self.touch();
        self.asked.lock().unwrap().push(what);
    }

    /// What was asked since the last time.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    fn touch(&self) {
        self.touched.fetch_add(1, Ordering::Relaxed);
    }

    fn holds(&self, role: Role, stream: &StreamKey, resource: &str) -> bool {
        self.sessions.lock().unwrap().contains(&(role, stream.to_string(), resource.to_owned()))
    }
}

impl Media for Script {
    fn publish(&self, join: &Join<'_>) -> Result<Accepted, Refusal> {
        self.accept("publish", Role::Publisher, join)
    }

    fn watch(&self, join: &Join<'_>) -> Result<Accepted, Refusal> {
        self.accept("watch", Role::Subscriber, join)
    }

    fn patch(
        &self,
        role: Role,
        stream: &StreamKey,
        resource: &str,
        if_match: Option<&str>,
        fragment: &str,
    ) -> Result<Patched, PatchRefusal> {
        self.note(format!("patch {role:?} {stream} {resource} {if_match:?} {fragment:?}"));
        self.patched.lock().unwrap().take().unwrap_or(Ok(Patched::Trickled))
    }

    fn delete(&self, role: Role, stream: &StreamKey, resource: &str) -> Result<(), NotFound> {
        self.note(format!("delete {role:?} {stream} {resource}"));
        if self.holds(role, stream, resource) { Ok(()) } else { Err(NotFound) }
    }

    fn exists(&self, role: Role, stream: &StreamKey, resource: &str) -> bool {
        self.touch();
        self.holds(role, stream, resource)
    }

    fn subject(&self, role: Role, stream: &StreamKey, resource: &str) -> Option<Arc<str>> {
        self.touch();
        self.subject.lock().unwrap().clone().filter(|_| self.holds(role, stream, resource))
    }

    fn close_publisher(&self, stream: &StreamKey) -> bool {
        self.note(format!("close {stream}"));
        self.live.lock().unwrap().remove(stream.as_str())
    }

    fn kick(&self, session: SessionId) -> bool {
        self.note(format!("kick {session}"));
        session == SessionId(7)
    }

    fn streams(&self) -> Vec<StreamReport> {
        self.touch();
        self.streams.lock().unwrap().clone()
    }

    fn stream(&self, stream: &StreamKey) -> Option<StreamReport> {
        self.streams().into_iter().find(|report| report.key == *stream)
    }

    fn closed(&self) -> Vec<ClosedSession> {
        self.touch();
        self.closed.lock().unwrap().clone()
    }

    fn counts(&self) -> Counts {
        self.touch();
        Counts { streams: 1, publishers: 2, subscribers: 3, half_open: 0 }
    }

    fn measure(&self) -> Measured {
        self.touch();
        self.measured.lock().unwrap().clone()
    }

    fn knows(&self, stream: &StreamKey) -> bool {
        self.touch();
        self.live.lock().unwrap().contains(stream.as_str())
    }

    fn local_addrs(&self) -> &[SocketAddr] {
        const ADDRESSES: [SocketAddr; 1] = [SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 4000)];
        &ADDRESSES
    }
}

/// A running listener.
struct Site {
    address: SocketAddr,
    media: Arc<Script>,
    state: State,
    stop: watch::Sender<bool>,
}

impl Site {
    /// With this policy, on a free port.
    async fn start(policy: Policy) -> Self {
        Self::set(policy, Settings::default()).await
    }

    async fn announcing(policy: Policy, announcer: Announcer, ice_servers: &[&str]) -> Self {
        let ice_servers = ice_servers.iter().map(|text| IceServer::parse(text).unwrap()).collect();
        Self::with(policy, announcer, Settings { ice_servers, ..Settings::default() }).await
    }

    /// With these settings.
    async fn set(policy: Policy, settings: Settings) -> Self {
        Self::with(policy, local_announcer(), settings).await
    }

    async fn with(policy: Policy, announcer: Announcer, settings: Settings) -> Self {
        let media = Arc::new(Script::default());
        let state = State::new(Arc::clone(&media) as Arc<dyn Media>, policy, announcer, settings);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(connection::serve(listener, app(state.clone()), stopped, BOUNDS, None));
        Self { address, media, state, stop }
    }

    async fn open() -> Self {
        Self::start(nothing_configured()).await
    }

    /// A session URL that exists.
    fn with_session(&self, role: Role, stream: &str) {
        self.media.sessions.lock().unwrap().insert((role, stream.to_owned(), "secret".to_owned()));
    }

    async fn connect(&self) -> Client {
        Client { stream: TcpStream::connect(self.address).await.unwrap(), read: Vec::new() }
    }

    /// One request on a connection of its own. `fields` are lines without their ends.
    async fn ask(&self, method: &str, target: &str, fields: &[&str], body: &str) -> Answer {
        let mut client = self.connect().await;
        client.send(&self.request(method, target, fields, body)).await;
        client.answer(method).await
    }

    fn request(&self, method: &str, target: &str, fields: &[&str], body: &str) -> String {
        let mut request = format!("{method} {target} HTTP/1.1\r\n");
        if !fields.iter().any(|field| field.to_ascii_lowercase().starts_with("host:")) {
            request += &format!("host: {}\r\n", self.address);
        }
        for field in fields {
            request += &format!("{field}\r\n");
        }
        if !body.is_empty() {
            request += &format!("content-length: {}\r\n", body.len());
        }
        request + "\r\n" + body
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

/// An address set by hand is announced to everybody, and nothing of the machine the test runs on is.
fn local_announcer() -> Announcer {
    Announcer::new(vec![[127, 0, 0, 1].into()], Vec::new(), vec!["127.0.0.1:4000".parse().unwrap()])
}

fn nothing_configured() -> Policy {
    Policy { admin: Some(Token::parse("admin").unwrap()), ..Policy::default() }
}

fn with_token() -> Policy {
    Policy { token: Some(Token::parse("good").unwrap()), ..Policy::default() }
}

/// A client's end of a connection.
struct Client {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Client {
    async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// The next answer, to a request of this method.
    async fn answer(&mut self, method: &str) -> Answer {
        let end = loop {
            if let Some(at) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            self.more().await.expect("an answer before the connection closes");
        };
        let head = String::from_utf8(self.read.drain(..end).collect()).unwrap();
        let mut lines = head.trim_end().lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let fields: Vec<(String, String)> = lines
            .map(|line| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned())).unwrap())
            .collect();
        let mut answer = Answer { status, fields, body: String::new() };
        let length = answer.field("content-length").map_or(0, |length| length.parse().unwrap());
        if method != "HEAD" && status >= 200 {
            while self.read.len() < length {
                self.more().await.expect("the whole body");
            }
            answer.body = String::from_utf8(self.read.drain(..length).collect()).unwrap();
        }
        answer
    }

    /// Reads more; `None` at the end.
    async fn more(&mut self) -> Option<()> {
        let mut buf = [0; 4096];
        match self.stream.read(&mut buf).await.unwrap() {
            0 => None,
            n => {
                self.read.extend_from_slice(&buf[..n]);
                Some(())
            }
        }
    }

    /// Whether the server closes without another byte.
    async fn is_closed(&mut self) -> bool {
        self.read.is_empty() && self.more().await.is_none()
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    fields: Vec<(String, String)>,
    body: String,
}

impl Answer {
    fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_str());
        let value = values.next();
        assert!(values.next().is_none(), "{name} twice: {self:?}");
        value
    }

    /// What every answer must have, and every error besides.
    fn check(&self) {
        assert_eq!(self.field("access-control-allow-origin"), Some("*"), "{self:?}");
        for name in ["methods", "headers"] {
            assert!(self.field(&format!("access-control-allow-{name}")).is_some(), "{self:?}");
        }
        let exposed = self.field("access-control-expose-headers").unwrap();
        for name in ["Location", "ETag", "Link", "Retry-After", "WWW-Authenticate", "Accept-Post", "Accept-Patch"] {
            assert!(exposed.contains(name), "{name}");
        }
        assert!(self.field("cache-control").is_some(), "{self:?}");
        if self.status >= 400 {
            assert_eq!(self.field("cache-control"), Some("no-store"));
            assert!(!self.body.contains("v=0"), "no SDP on an error");
        }
    }

    fn problem(&self) -> serde_json::Value {
        assert_eq!(self.field("content-type"), Some("application/problem+json"), "{self:?}");
        let problem: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        assert_eq!(problem["status"], self.status);
        assert_eq!(problem["error"], problem["detail"]);
        problem
    }
}
