//! The registry in a real Redis (Debian's `redis-server`), and proxies that share it while it is restarted, held up, killed and
//! filled with garbage.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid as ProcessId;
use tempfile::TempDir;
use whipstitch_proxy::origins::{Heartbeat, Origin, Probe, Probed};
use whipstitch_proxy::registry::exercise::{everything, origin, session};
use whipstitch_proxy::registry::{Away, Failure, Redis, RedisUrl, Registry};
use whipstitch_proxy::state::{NoOrigin, Sessions, State, StateConfig};
use whipstitch_proxy::{OriginId, Pair, Role, Session, SessionId};

/// For what happens each second or so; the rest is room for a machine that is busy building.
const SOON: Duration = Duration::from_secs(20);

/// A server without persistence; killed on drop.
struct Server {
    child: Child,
    address: SocketAddr,
    folder: TempDir,
}

impl Server {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        // Somebody else may take the port in between.
        for _ in 0..10 {
            let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let address = free.local_addr().expect("it is bound");
            drop(free);
            if let Some(child) = spawn(address, &folder) {
                return Self { child, address, folder };
            }
        }
        panic!("redis-server does not start");
    }

    fn url(&self) -> RedisUrl {
        RedisUrl::parse(&format!("redis://{}/0", self.address)).expect("a URL")
    }

    fn registry(&self) -> Arc<Redis> {
        Arc::new(Redis::new(self.url()))
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("Linux process ids are below 2^22");
        kill(ProcessId::from_raw(pid), signal).expect("it runs");
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// It has lost everything.
    fn start_again(&mut self) {
        self.child = spawn(self.address, &self.folder).expect("its port is still free");
    }

    /// What `redis-cli` says to these words.
    fn cli(&self, words: &[&str]) -> String {
        let port = self.address.port().to_string();
        let output = Command::new("redis-cli").args(["-p", &port]).args(words).output().expect("redis-cli");
        String::from_utf8(output.stdout).expect("text")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(address: SocketAddr, folder: &TempDir) -> Option<Child> {
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port", &address.port().to_string()]);
    command.arg("--dir").arg(folder.path()).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("redis-server of Debian is installed");
    let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let is_ready = lines.map_while(Result::ok).any(|line| line.contains("Ready to accept connections"));
    if !is_ready {
        let _ = child.wait();
    }
    is_ready.then_some(child)
}

/// Every origin lives.
struct Alive;

impl Probe for Alive {
    fn probe<'a>(&'a self, _: &'a Origin, _: bool) -> std::pin::Pin<Box<dyn Future<Output = Probed> + Send + 'a>> {
        Box::pin(async { Probed::Alive { draining: false, kind: None } })
    }
}

/// Remembers what it was given.
#[derive(Default)]
struct Plane(Mutex<Vec<SessionId>>);

impl Sessions for Plane {
    fn install(&self, session: Arc<Session>) -> bool {
        self.0.lock().unwrap().push(session.id.clone());
        true
    }

    fn has(&self, id: &SessionId) -> bool {
        self.0.lock().unwrap().contains(id)
    }

    fn unknown(&self, _: &Pair) {}

    fn end(&self, id: &SessionId) {
        self.0.lock().unwrap().retain(|own| own != id);
    }
}

struct Proxy {
    state: Arc<State>,
    plane: Arc<Plane>,
}

fn proxy(server: &Server) -> Proxy {
    let config = StateConfig { origins: Vec::new(), most_sessions: 100 };
    let state = State::start(server.registry(), Arc::new(Alive), config);
    let plane = Arc::new(Plane::default());
    state.attach(&plane);
    Proxy { state, plane }
}

impl Proxy {
    async fn heartbeat(&self, of: &str, streams: &[&str]) {
        let streams = streams.iter().map(|stream| (*stream).to_owned()).collect();
        self.state.heartbeat(Heartbeat { record: origin(of), streams }).await.unwrap();
    }

    async fn pick(&self, stream: &str) -> Result<OriginId, NoOrigin> {
        let picked = self.state.pick(stream, Role::Viewer).await?;
        self.state.answered(stream, &picked, true).await;
        Ok(picked.origin.id)
    }
}

/// Waits until it is so.
async fn until<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < SOON, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn id(text: &str) -> OriginId {
    OriginId::parse(text).unwrap()
}

#[tokio::test]
async fn redis_does_what_every_registry_does_and_every_key_expires() {
    let server = Server::start();
    everything(&*server.registry()).await;
    let keys = server.cli(&["keys", "*"]);
    assert!(keys.lines().count() > 5, "{keys}");
    for key in keys.lines() {
        assert!(key.starts_with("whipstitch:"), "{key}");
        let left: i64 = server.cli(&["pttl", key]).trim().parse().unwrap();
        assert!(left > 0, "{key}: {left}");
    }
}

#[tokio::test]
async fn two_proxies_share_origins_claims_and_sessions() {
    let server = Server::start();
    let (one, two) = (proxy(&server), proxy(&server));
    one.heartbeat("a", &[]).await;
    assert_eq!(one.pick("cam").await, Ok(id("a")));
    assert_eq!(two.pick("cam").await, Ok(id("a")), "of a heartbeat that it did not get");
    let kept = Arc::new(session("one", "cam", &id("a")));
    one.state.opened(Arc::clone(&kept)).await.unwrap();
    assert_eq!(two.state.session(&kept.id).await, Ok(Some(Arc::clone(&kept))));
    assert!(two.state.wanted(kept.pairs().next().unwrap()));
    until("the session is taken over", async || two.plane.0.lock().unwrap().contains(&kept.id)).await;
    two.state.closed(&kept.id).await;
    one.state.in_use(vec![kept.id.clone()]);
    until("it has ended there too", async || one.plane.0.lock().unwrap().is_empty()).await;
}

#[tokio::test]
async fn a_restarted_redis_is_told_again_what_it_lost() {
    let mut server = Server::start();
    let (one, two) = (proxy(&server), proxy(&server));
    one.heartbeat("a", &[]).await;
    assert_eq!(one.pick("cam").await, Ok(id("a")));
    assert_eq!(two.pick("cam").await, Ok(id("a")));
    let kept = Arc::new(session("one", "cam", &id("a")));
    one.state.opened(Arc::clone(&kept)).await.unwrap();
    server.kill();
    assert_eq!(one.pick("cam").await, Ok(id("a")), "what it knows it serves");
    assert_eq!(one.pick("new").await, Err(NoOrigin::RegistryAway));
    let late = Arc::new(session("two", "cam", &id("a")));
    one.state.opened(Arc::clone(&late)).await.unwrap();
    assert_eq!(two.state.session(&late.id).await, Err(Away));
    server.start_again();
    for session in [&kept, &late] {
        until("its record is there again", async || {
            two.state.session(&session.id).await == Ok(Some(Arc::clone(session)))
        })
        .await;
    }
    let registry = server.registry();
    until("its claim is there again", async || registry.claim_of("cam").await == Ok(Some(id("a")))).await;
    one.heartbeat("a", &[]).await;
    until("new streams are served again", async || one.pick("new").await.is_ok()).await;
}

#[tokio::test]
async fn a_redis_that_is_held_up_holds_nobody_up() {
    let server = Server::start();
    let one = proxy(&server);
    one.heartbeat("a", &[]).await;
    assert_eq!(one.pick("cam").await, Ok(id("a")));
    server.signal(Signal::SIGSTOP);
    let begun = Instant::now();
    for _ in 0..50 {
        assert_eq!(one.pick("cam").await, Ok(id("a")));
        assert_eq!(one.pick("new").await, Err(NoOrigin::RegistryAway));
    }
    // The first waits half a second, and one that tries again whether it is back.
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    server.signal(Signal::SIGCONT);
    one.heartbeat("a", &[]).await;
    until("new streams are served again", async || one.pick("new").await.is_ok()).await;
}

#[tokio::test]
async fn a_server_that_becomes_a_replica_is_left() {
    let server = Server::start();
    let registry = server.registry();
    assert!(registry.claim("cam", &id("a")).await.is_ok());
    let ours = |clients: &str| clients.lines().find_map(|line| Some(line.split_once(" cmd=evalsha")?.0.to_owned()));
    let client = ours(&server.cli(&["client", "list"])).expect("it is connected");
    let (client, _) = client.split_once(" addr=").expect("its number");
    // Its master is nobody: port 1 is not listened at.
    server.cli(&["replicaof", "127.0.0.1", "1"]);
    assert_eq!(registry.claim("new", &id("a")).await, Err(Failure::Away));
    until("the connection is closed", async || !server.cli(&["client", "list"]).contains(client)).await;
    // That another can be read is not enough.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(registry.claim_of("cam").await, Err(Failure::Away));
    server.cli(&["replicaof", "no", "one"]);
    until("it is used again", async || registry.claim("new", &id("a")).await.is_ok()).await;
}

#[tokio::test]
async fn what_no_proxy_wrote_is_passed_over_and_counted() {
    let server = Server::start();
    let registry = server.registry();
    let (a, kept) = (origin("a"), session("one", "cam", &id("a")));
    let (pair, key) = (kept.pairs().next().unwrap(), format!("whipstitch:session:{}", kept.id.as_str()));
    let pair_key = format!("whipstitch:pair:{}", pair.as_str());
    let long = "a".repeat(150);
    for garbage in ["", "garbage!", "{\"v\":1}", "{\"v\":2}", "a b c", "\u{1}", &long] {
        let before = registry.poisoned();
        server.cli(&["set", "whipstitch:stream:cam", garbage]);
        assert_eq!(registry.claim("cam", &a.origin.id).await.unwrap().holder, a.origin.id, "{garbage:?}");
        server.cli(&["set", "whipstitch:stream:cam", garbage]);
        let renewed = registry.refresh_claims(&[("cam".to_owned(), id("a"))]).await;
        assert_eq!(renewed, Ok(vec![id("a")]), "{garbage:?}");
        server.cli(&["set", &key, garbage]);
        assert_eq!(registry.by_id(&kept.id).await, Ok(None), "{garbage:?}");
        assert!(registry.store(&kept).await.unwrap());
        server.cli(&["set", &pair_key, garbage]);
        assert_eq!(registry.by_pair(&pair).await, Ok(None), "{garbage:?}");
        server.cli(&["zadd", "whipstitch:origins", "99999999999999", "evil"]);
        server.cli(&["set", "whipstitch:origin:evil", garbage, "PX", "60000"]);
        assert_eq!(registry.origins().await.unwrap().origins, [], "{garbage:?}");
        assert!(registry.poisoned() >= before + 3, "{garbage:?}");
    }
    let other = session("two", "cam", &id("a"));
    registry.store(&other).await.unwrap();
    server.cli(&["set", &pair_key, other.id.as_str()]);
    assert_eq!(registry.by_pair(&pair).await, Ok(None), "another session's record is no answer");
    for key in
        ["whipstitch:stream:cam", &key, &pair_key, "whipstitch:origin:a", "whipstitch:origins", "whipstitch:drained"]
    {
        server.cli(&["del", key]);
        server.cli(&["rpush", key, "a list"]);
    }
    assert_eq!(registry.claim_of("cam").await, Ok(None));
    assert_eq!(registry.refresh_claims(&[("cam".to_owned(), id("a"))]).await, Ok(vec![id("a")]));
    assert_eq!(registry.by_id(&kept.id).await, Ok(None));
    assert_eq!(registry.by_pair(&pair).await, Ok(None));
    assert_eq!(registry.heartbeat(&a).await, Ok(true));
    registry.drain(&a.origin.id, true).await.unwrap();
    let listing = registry.origins().await.unwrap();
    assert_eq!((listing.origins.len(), listing.drained.len()), (1, 1));
    assert_eq!(registry.store(&kept).await, Ok(true));
    assert_eq!(registry.by_pair(&pair).await, Ok(Some(kept)));
}
