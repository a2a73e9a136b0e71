//! The proxy before many origins (`whipstitch proxy`): its listeners, and what joins signalling, datagrams and registry.
//!
//! Its life is that of the server ([`crate::run`]): the datagram plane listens before HTTP, so that whoever gets an answer
//! can use it. When it ends it tells nobody: sessions are their origins', and another proxy that shares the registry goes
//! on with them.

pub mod admin;
mod announce;
mod counted;
pub(crate) mod http;
mod metrics;
mod room;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tower_http::normalize_path::NormalizePath;
use tracing::{info, warn};
use whipstitch_proxy::origins::probe::HttpProbe;
use whipstitch_proxy::origins::{Kind, Origin};
use whipstitch_proxy::registry::{Memory, Redis, RedisUrl, Registry};
use whipstitch_proxy::relay::{Relay, RelayConfig};
use whipstitch_proxy::signal::Signal;
use whipstitch_proxy::state::{State, StateConfig};

use crate::candidates::{self, Announcer};
use crate::config::proxy::{self, Config};
use crate::http::connection::{self, Bounds};
use crate::http::cors::Origins;
use crate::proxies::Trusted;
use crate::run::{hint, workers};
use crate::tls::{Tls, TlsError};
use counted::Counted;
use http::{Entry, Settings};
use room::Room;

/// For requests that are under way when it is time to stop.
const GRACE: Duration = Duration::from_secs(2);
/// For the datagram plane to join its threads.
const RELAY_STOPS: Duration = Duration::from_secs(5);

/// Why the proxy did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener has no address.
    #[error("--{flag} {address}: cannot listen on TCP: {source}{}", hint(source.kind()))]
    Listen {
        /// Which one.
        flag: &'static str,
        /// What the configuration says.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// Datagrams cannot be had there.
    #[error("--rtc {address}: cannot listen on UDP: {source}{}", hint(source.kind()))]
    Relay {
        /// What the configuration says.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The registry cannot be that.
    #[error("registry: {0}")]
    Registry(String),
    /// HTTPS has no certificate any more.
    #[error("tls_certificate, tls_key: {0}")]
    Tls(String),
    /// The roots of trust of HTTPS to origins are no good any more.
    #[error("origin_ca: {0}")]
    Trust(String),
    /// No HTTP client can be made.
    #[error("HTTP towards origins: {0}")]
    Client(String),
}

impl From<TlsError> for StartError {
    fn from(error: TlsError) -> Self {
        Self::Tls(error.to_string())
    }
}

/// A running proxy.
pub struct Proxy {
    config: Config,
    http: SocketAddr,
    admin: SocketAddr,
    rtc: Vec<SocketAddr>,
    entry: Entry<State>,
    relay: Arc<Relay>,
    stop: watch::Sender<bool>,
    serving: Vec<JoinHandle<()>>,
    /// HTTPS; tests do not wait until somebody looks whether its files have changed.
    #[cfg(test)]
    tls: Option<Tls>,
    looking: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Binds everything and begins to serve.
    ///
    /// # Errors
    /// An address cannot be bound, or a file is no good.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let tls = config.tls().map(Tls::open).transpose()?;
        let client = |error: reqwest::Error| StartError::Client(error.to_string());
        let trust = config.trust().map_err(StartError::Trust)?;
        let probe = HttpProbe::new(&trust).map_err(client)?;
        let origins = config.origins.iter().filter_map(|url| Origin::given(url.clone(), Kind::Whip)).collect();
        let state = StateConfig { origins, most_sessions: config.max_sessions };
        let state = State::start(registry(&config)?, Arc::new(probe), state);

        let relay = RelayConfig {
            addresses: both_families(config.rtc),
            workers: workers(config.workers),
            most_sessions: config.max_sessions,
            ..RelayConfig::default()
        };
        let relay = Relay::start(&relay, Arc::clone(&state) as Arc<_>);
        let relay = Arc::new(relay.map_err(|source| StartError::Relay { address: config.rtc, source })?);
        let rtc = relay.local_addresses();
        state.attach(&relay);

        let (http_listener, http) = listen("http", config.http).await?;
        let (admin_listener, admin) = listen("admin", config.admin).await?;
        let signal = Signal::new(Arc::clone(&state), config.signalling, &trust).map_err(client)?;
        let counted = Arc::new(Counted::new());
        let meter = Arc::clone(&counted);
        let signal = signal.metered(Arc::new(move |took, outcome| meter.origin(took, outcome)));
        let entry = Entry::new(signal, settings(&config, rtc.clone(), &state), Arc::clone(&counted));
        let (stop, stopped) = watch::channel(false);
        let bounds = Bounds::beside(config.max_sessions, GRACE);
        let looking = tls.clone().map(|tls| tokio::spawn(tls.watch()));
        let weak = Arc::downgrade(&relay);
        let more: admin::MoreMetrics = Arc::new(move || {
            let families = |relay: Arc<Relay>| metrics::families(&relay.counters(), &relay.snapshot());
            let datagrams = weak.upgrade().map(families).unwrap_or_default();
            [counted.families(), datagrams].concat()
        });
        let admin_routes = admin::routes(Arc::clone(&state), config.secret.clone(), more);
        let admin_routes = NormalizePath::trim_trailing_slash(admin_routes);
        let serving = vec![
            tokio::spawn(connection::serve(http_listener, entry.app(), stopped.clone(), bounds, tls.clone())),
            tokio::spawn(connection::serve(admin_listener, admin_routes, stopped, bounds, None)),
        ];
        info!(%http, ?rtc, %admin, "started");
        Ok(Self {
            config,
            http,
            admin,
            rtc,
            entry,
            relay,
            stop,
            serving,
            #[cfg(test)]
            tls,
            looking,
        })
    }

    /// Where HTTP listens.
    #[must_use]
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// The lines for whoever started it.
    #[must_use]
    pub fn announcement(&self) -> Vec<String> {
        let room = Room::of_this_machine(self.config.max_sessions);
        announce::lines(&self.config, self.http, &self.rtc, self.admin, &candidates::reachable(), room)
    }

    /// Takes no more sessions, finishes what is under way, and ends. Takes less than 10 s.
    pub async fn stop(self) {
        self.entry.drain();
        info!("stopping");
        self.stop.send_replace(true);
        for serving in self.serving {
            let _ = serving.await;
        }
        self.looking.inspect(JoinHandle::abort);
        // Whoever holds it besides does so for a moment, and then stops it by letting go.
        let relay = self.relay;
        let relay = tokio::task::spawn_blocking(move || drop(relay));
        if !matches!(tokio::time::timeout(RELAY_STOPS, relay).await, Ok(Ok(()))) {
            warn!("the datagram plane did not stop in order");
        }
        info!("stopped");
    }
}

fn registry(config: &Config) -> Result<Arc<dyn Registry>, StartError> {
    match &config.registry {
        proxy::Registry::Memory => Ok(Arc::new(Memory::new(config.max_sessions))),
        proxy::Registry::Redis(url) => {
            let url = RedisUrl::parse(url).map_err(StartError::Registry)?;
            Ok(Arc::new(Redis::new(url)))
        }
    }
}

/// The unspecified IPv4 address stands for all interfaces of both families.
fn both_families(address: SocketAddr) -> Vec<SocketAddr> {
    match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => {
            vec![address, SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), address.port())]
        }
        _ => vec![address],
    }
}

async fn listen(flag: &'static str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Listen { flag, address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let local = listener.local_addr().map_err(failed)?;
    Ok((listener, local))
}

fn settings(config: &Config, rtc: Vec<SocketAddr>, state: &Arc<State>) -> Settings {
    let state = Arc::clone(state);
    Settings {
        unready: Arc::new(move || state.unready()),
        announcer: Announcer::new(config.public_ip.clone(), config.host_name.clone(), rtc),
        origins: Origins::new(config.cors_origin.clone()),
        trusted: Trusted::new(config.trusted_proxies.clone()),
        requests: config.requests,
    }
}

#[cfg(test)]
mod tests;
