//! The server of a test.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use whipstitch::cli::Arguments;
use whipstitch::config::{self, Config, Environment, File};
use whipstitch::run::Server;

use super::{Answer, Connection, Live, PATIENCE, SDP, offers};

/// Between two questions of one test.
const POLL: Duration = Duration::from_millis(200);

/// A running server on free ports of loopback, with the defaults of the program. It ends with the test.
pub(crate) struct Site {
    runtime: Runtime,
    server: Option<Server>,
    http: SocketAddr,
    _data: tempfile::TempDir,
}

impl Site {
    pub(crate) fn start() -> Site {
        Site::with(|_| ())
    }

    /// Starts it with what a configuration file says.
    pub(crate) fn configured(file: &str) -> Site {
        let file = File { path: Path::new("conformance.toml"), text: file };
        let config = config::resolve(&Arguments::default(), &Environment::new(), Some(file)).expect("a configuration");
        Site::with(|defaults| {
            let (http, rtc, rtsp, workers) = (defaults.http, defaults.rtc, defaults.rtsp, defaults.workers);
            let data = std::mem::take(&mut defaults.data);
            *defaults = Config { http, rtc, rtsp, workers, data, ..config };
        })
    }

    /// Starts it after `change` had its way with the configuration.
    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Site {
        let data = tempfile::tempdir().expect("a place for data");
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut config = Config {
            http: anywhere,
            rtc: anywhere,
            rtsp: None,
            workers: 1,
            data: data.path().to_owned(),
            ..Config::default()
        };
        change(&mut config);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("threads for the server");
        let server = runtime.block_on(Server::start(config)).expect("free ports on loopback");
        let http = server.http();
        Site { runtime, server: Some(server), http, _data: data }
    }

    /// Where HTTP listens.
    pub(crate) fn http(&self) -> SocketAddr {
        self.http
    }

    /// A new connection.
    pub(crate) fn connect(&self) -> Connection {
        Connection::open(self.http)
    }

    /// One request on a connection of its own. `fields` are lines without their ends.
    #[track_caller]
    pub(crate) fn ask(&self, method: &str, target: &str, fields: &[&str], body: impl AsRef<[u8]>) -> Answer {
        let mut connection = self.connect();
        connection.request(method, target, fields, body);
        connection.answer(method)
    }

    /// POSTs an offer.
    #[track_caller]
    pub(crate) fn post(&self, target: &str, offer: &str) -> Answer {
        self.ask("POST", target, &[SDP], offer)
    }

    /// A publisher of that stream with this fixture as its offer, connected and live. It sends no media.
    #[track_caller]
    pub(crate) fn live(&self, stream: &str, fixture: &str) -> Live {
        self.live_with(stream, &offers::offer(fixture))
    }

    /// The same with any offer.
    #[track_caller]
    pub(crate) fn live_with(&self, stream: &str, offer: &str) -> Live {
        let live = Live::connect(self, &format!("/whip/{stream}"), offer);
        self.until(|| self.stream(stream)["live"] == true);
        live
    }

    /// What the API says of a stream; null when there is none.
    #[track_caller]
    pub(crate) fn stream(&self, stream: &str) -> serde_json::Value {
        let answer = self.ask("GET", &format!("/api/v1/streams/{stream}"), &[], "");
        if answer.status == 404 {
            return serde_json::Value::Null;
        }
        serde_json::from_slice(&answer.is(200).body).expect("JSON")
    }

    /// Asks until it is so.
    #[track_caller]
    pub(crate) fn until(&self, happened: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !happened() {
            assert!(Instant::now() < deadline, "it did not happen in {PATIENCE:?}");
            // No client asks more often, and who does is told to wait.
            std::thread::sleep(POLL);
        }
    }

    /// Begins to stop the server as SIGTERM does; the handle ends with it.
    pub(crate) fn stop(&mut self) -> JoinHandle<()> {
        self.runtime.spawn(self.server.take().expect("stopped once").stop())
    }

    /// Waits for a task of the server.
    pub(crate) fn wait<T>(&self, task: impl Future<Output = T>) -> T {
        self.runtime.block_on(task)
    }
}
