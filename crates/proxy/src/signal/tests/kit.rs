//! An origin that says what a test tells it to, over real HTTP, and a directory that remembers what it was told.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use url::Url;

use super::super::*;
use crate::ice::{Credentials, Generation};
use crate::record::{OriginId, Role, Session, SessionId};

pub(super) const PWD: &str = "0123456789abcdefghijkl";

/// An offer that a browser could make, with LF as some clients have it, and a character outside ASCII.
pub(super) const OFFER: &str = "v=0\no=- 1 1 IN IP4 127.0.0.1\ns=\u{e4}\nt=0 0\na=group:BUNDLE 0\n\
m=audio 9 UDP/TLS/RTP/SAVPF 111\nc=IN IP4 0.0.0.0\na=mid:0\na=ice-ufrag:clnt\na=ice-pwd:0123456789abcdefghijkl\na=rtcp-mux\n";

pub(super) fn answer(media: &str) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=ice-lite\r\na=group:BUNDLE 0\r\n\
         m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=ice-ufrag:orgn\r\na=ice-pwd:{PWD}\r\n\
         a=candidate:1 1 udp 2130706431 {media} typ host\r\na=end-of-candidates\r\n"
    )
}

/// A request as an origin heard it.
#[derive(Debug, Clone)]
pub(super) struct Heard {
    /// `POST /whip/cam?token=t`
    pub(super) line: String,
    headers: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
}

impl Heard {
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// What an origin does then.
#[derive(Debug, Clone)]
pub(super) enum Says {
    /// These bytes, and the end of the connection.
    Bytes(Vec<u8>),
    /// Nothing, for ever.
    Nothing,
}

/// A whole reply.
pub(super) fn says(status: u16, fields: &[(&str, &str)], body: &str) -> Says {
    let mut text = format!("HTTP/1.1 {status} Said\r\ncontent-length: {}\r\nconnection: close\r\n", body.len());
    fields.iter().for_each(|(name, value)| text += &format!("{name}: {value}\r\n"));
    Says::Bytes(format!("{text}\r\n{body}").into_bytes())
}

/// 201 with an answer.
pub(super) fn created() -> Says {
    let fields = [("content-type", "application/sdp"), ("location", "/whip/cam/at-origin"), ("etag", "\"1\"")];
    says(201, &fields, &answer("127.0.0.1 9000"))
}

/// A server that does as it is told.
pub(super) struct Script {
    pub(super) url: Url,
    heard: Arc<Mutex<Vec<Heard>>>,
    came: Arc<Semaphore>,
}

impl Script {
    pub(super) async fn start(reply: impl Fn(&Heard) -> Says + Send + Sync + 'static) -> Self {
        Self::on("127.0.0.1:0", reply).await
    }

    pub(super) async fn on(address: &str, reply: impl Fn(&Heard) -> Says + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(address).await.expect("a free port");
        let url = Url::parse(&format!("http://{}", listener.local_addr().expect("an address"))).expect("a URL");
        let (heard, came) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Semaphore::new(0)));
        let (log, count, reply) = (Arc::clone(&heard), Arc::clone(&came), Arc::new(reply));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (log, count, reply) = (Arc::clone(&log), Arc::clone(&count), Arc::clone(&reply));
                tokio::spawn(async move { Self::serve(stream, &log, &count, &*reply).await });
            }
        });
        Self { url, heard, came }
    }

    async fn serve(
        mut stream: TcpStream,
        log: &Mutex<Vec<Heard>>,
        came: &Semaphore,
        reply: &(dyn Fn(&Heard) -> Says + Send + Sync),
    ) {
        let Some(heard) = read(&mut stream).await else { return };
        log.lock().expect("no test panics with it").push(heard.clone());
        came.add_permits(1);
        match reply(&heard) {
            Says::Bytes(bytes) => {
                let _ = stream.write_all(&bytes).await;
                let _ = stream.shutdown().await;
            }
            Says::Nothing => std::future::pending().await,
        }
    }

    /// Everything heard so far.
    pub(super) fn heard(&self) -> Vec<Heard> {
        self.heard.lock().expect("no test panics with it").clone()
    }

    /// The `n`th request, when it has come.
    pub(super) async fn nth(&self, n: usize) -> Heard {
        let all = u32::try_from(n + 1).expect("few requests");
        let permit = tokio::time::timeout(Duration::from_secs(10), self.came.acquire_many(all)).await;
        drop(permit.expect("it comes").expect("open"));
        self.heard()[n].clone()
    }
}

async fn read(stream: &mut TcpStream) -> Option<Heard> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let text = String::from_utf8(bytes[..head].to_vec()).ok()?;
    let mut lines = text.split("\r\n");
    let line = lines.next()?.trim_end_matches(" HTTP/1.1").to_owned();
    let field = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
    let headers: BTreeMap<_, _> = lines.filter_map(field).collect();
    let length = headers.get("content-length").map_or(Some(0), |length| length.parse().ok())?;
    let mut body = bytes[head + 4..].to_vec();
    while body.len() < length {
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    Some(Heard { line, headers, body })
}

/// Origins in the order they are picked, and what was said of them.
#[derive(Default)]
pub(super) struct Known {
    pub(super) origins: Mutex<Vec<Origin>>,
    pub(super) sessions: Mutex<BTreeMap<SessionId, Arc<Session>>>,
    pub(super) said: Mutex<Vec<String>>,
    pub(super) no_origin: Option<NoOrigin>,
    pub(super) is_away: bool,
    pub(super) is_full: bool,
    /// Set, `opened` waits for ever, and says that it does.
    pub(super) hold: Option<Notify>,
    /// Set, `answered` says that it was reached, and waits for ever.
    pub(super) late: Option<Notify>,
    /// Set, `pick` and `look` wait for ever.
    pub(super) is_undecided: bool,
}

impl Known {
    pub(super) fn of(origins: &[(&Url, Kind)]) -> Self {
        let origin = |(index, (url, kind)): (usize, &(&Url, Kind))| Origin {
            id: OriginId::parse(&format!("origin-{index}")).expect("an id"),
            url: (*url).clone(),
            kind: *kind,
            rtc: None,
        };
        Self { origins: Mutex::new(origins.iter().enumerate().map(origin).collect()), ..Self::default() }
    }

    /// The first one has registered where it takes media.
    pub(super) fn registered(&self, rtc: &str) {
        let mut origins = self.origins.lock().expect("no test panics with it");
        origins[0].rtc = Some(rtc.parse().expect("an address"));
    }

    pub(super) fn said(&self) -> Vec<String> {
        self.said.lock().expect("no test panics with it").clone()
    }

    fn say(&self, what: String) {
        self.said.lock().expect("no test panics with it").push(what);
    }

    /// Waits until somebody waits in `opened`.
    pub(super) async fn reached_hold(&self) {
        self.hold.as_ref().expect("it is to hold").notified().await;
    }

    pub(super) fn session_ids(&self) -> Vec<SessionId> {
        self.sessions.lock().expect("no test panics with it").keys().cloned().collect()
    }

    /// The one session there is.
    pub(super) fn session(&self) -> Arc<Session> {
        let sessions = self.sessions.lock().expect("no test panics with it");
        assert_eq!(sessions.len(), 1);
        Arc::clone(sessions.values().next().expect("one"))
    }
}

impl Directory for Known {
    async fn pick(&self, _: &str, _: Role) -> Result<Picked, NoOrigin> {
        if self.is_undecided {
            std::future::pending::<()>().await;
        }
        let origin = self.origins.lock().expect("no test panics with it").first().cloned();
        match (self.no_origin, origin) {
            (None, Some(origin)) => Ok(Picked { origin, claimed_now: true, token: None, lost: None }),
            (no_origin, _) => Err(no_origin.unwrap_or(NoOrigin::None)),
        }
    }

    async fn look(&self, stream: &str, role: Role) -> Result<Origin, NoOrigin> {
        let picked = self.pick(stream, role).await?;
        self.say(format!("{} is looked at for {stream}", picked.origin.id.as_str()));
        Ok(picked.origin)
    }

    fn failed(&self, origin: &OriginId) {
        self.say(format!("{} failed", origin.as_str()));
        self.origins.lock().expect("no test panics with it").retain(|known| known.id != *origin);
    }

    async fn answered(&self, stream: &str, picked: &Picked, ok: bool) {
        self.say(format!("{} for {stream}: {}", picked.origin.id.as_str(), if ok { "good" } else { "nothing" }));
        if let Some(late) = &self.late {
            late.notify_one();
            std::future::pending::<()>().await;
        }
    }

    async fn opened(&self, session: Arc<Session>) -> Result<(), Full> {
        if let Some(hold) = &self.hold {
            hold.notify_one();
            std::future::pending::<()>().await;
        }
        if self.is_full {
            return Err(Full);
        }
        self.sessions.lock().expect("no test panics with it").insert(session.id.clone(), session);
        Ok(())
    }

    async fn session(&self, id: &SessionId) -> Result<Option<Arc<Session>>, Away> {
        if self.is_away {
            return Err(Away);
        }
        Ok(self.sessions.lock().expect("no test panics with it").get(id).cloned())
    }

    async fn restarted(&self, id: &SessionId, generation: Generation, etag: Option<String>) {
        let mut sessions = self.sessions.lock().expect("no test panics with it");
        let session = sessions.get_mut(id).expect("a known session");
        let mut changed = Session::clone(session);
        changed.generations.push(generation);
        changed.etag = etag;
        *session = Arc::new(changed);
    }

    async fn closed(&self, id: &SessionId) {
        self.sessions.lock().expect("no test panics with it").remove(id);
    }
}

/// The entry before some origins.
pub(super) struct Stage {
    pub(super) signal: Arc<Signal<Known>>,
    pub(super) known: Arc<Known>,
}

impl Stage {
    pub(super) fn of(origins: &[(&Url, Kind)]) -> Self {
        Self::with(Known::of(origins))
    }

    pub(super) fn with(known: Known) -> Self {
        let known = Arc::new(known);
        let signal = Signal::new(Arc::clone(&known), Signalling::Proxy, &Trust::nobody()).expect("a client");
        Self { signal: Arc::new(signal), known }
    }

    /// The same with less patience, for origins that say nothing.
    pub(super) fn impatient(mut self) -> Self {
        Arc::get_mut(&mut self.signal).expect("not shared yet").patience = Duration::from_millis(500);
        self
    }

    pub(super) async fn ask(&self, request: Request) -> Result<Response<Bytes>, Refused> {
        self.signal.answer(request).await
    }

    /// A session by way of `/whip/cam`, and its URL.
    pub(super) async fn session(&self) -> String {
        let response = self.ask(post("/whip/cam", OFFER)).await.expect("a session");
        field(&response, "location").expect("a URL").to_owned()
    }
}

pub(super) fn request(method: Method, url: &str, body: &str, fields: &[(&'static str, &str)]) -> Request {
    let (path, query) = url.split_once('?').map_or((url, None), |(path, query)| (path, Some(query.to_owned())));
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value"));
    }
    let client = Client { ip: IpAddr::from([203, 0, 113, 7]), host: Some("proxy.example.net".to_owned()), https: true };
    Request {
        method,
        path: path.to_owned(),
        query,
        headers,
        body: Bytes::from(body.to_owned()),
        client,
        candidates: vec![SocketAddr::from(([198, 51, 100, 1], 18_000))],
    }
}

pub(super) fn post(url: &str, body: &str) -> Request {
    request(Method::POST, url, body, &[("content-type", "application/sdp"), ("authorization", "Bearer secret")])
}

pub(super) fn field<'a>(response: &'a Response<Bytes>, name: &str) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

pub(super) fn body(response: &Response<Bytes>) -> &str {
    std::str::from_utf8(response.body()).expect("text")
}

/// A generation of these ufrags.
pub(super) fn generation(origin: &str, client: &str) -> Generation {
    let of = |ufrag: &str| Credentials::new(ufrag, PWD).expect("credentials");
    Generation { origin: of(origin), client: of(client) }
}
