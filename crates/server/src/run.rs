//! The life of the server: start, announce, drain, stop. `main` and the tests start the very same thing.
//!
//! The order matters. Media listens before HTTP, so that whoever gets an answer can use it; HTTP goes on while media
//! stops, so that a player whose session was just ended and who comes back at once hears 503 and when to try again
//! rather than nothing.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{info, warn};
use whipstitch_ffmpeg::process::Processes;
use whipstitch_ffmpeg::{Configured, InputRefused, Inputs, Legs, Ports, Wanted};
use whipstitch_plane as plane;
use whipstitch_rtsp::Server as Rtsp;
use whipstitch_stream::StreamKey;
use whipstitch_stream::directory;
use whipstitch_stream::stream::Config as StreamConfig;
use whipstitch_webrtc::{Gateway, GatewayConfig, GatewayError};

use crate::access::Policy;
use crate::announce;
use crate::candidates::{self, Announcer};
use crate::config::{self, Config, RtpInput};
use crate::credentials;
use crate::guesses::{GUESSES, Guesses};
use crate::http::connection::Bounds;
use crate::http::cors::Origins;
use crate::http::{self, Settings, State};
use crate::issued::Issued;
use crate::join::Joined;
use crate::plain::Plain;
use crate::proxies::Trusted;
use crate::rtsp::Guard;
use crate::wires::Wires;

/// How long players that were just told goodbye may still ask when to come back.
const FAREWELL: Duration = Duration::from_secs(1);
/// For requests that are under way then. With the farewell and what media takes, well below the 10 s of design 1.1.
const GRACE: Duration = Duration::from_secs(2);
/// For media to say goodbye and join its threads.
const MEDIA_STOPS: Duration = Duration::from_secs(5);
/// For children of processes: they have 5 s themselves, and are killed then.
const CHILDREN_STOP: Duration = Duration::from_secs(6);

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// HTTP cannot listen there.
    #[error("--http {address}: cannot listen on TCP: {source}{}", hint(source.kind()))]
    Http {
        /// What the configuration says.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// RTSP cannot listen there.
    #[error("--rtsp {address}: cannot listen on TCP: {source}{}", hint(source.kind()))]
    Rtsp {
        /// What the configuration says.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// Ports of an input cannot be had.
    #[error("rtp_input of {stream}: {source}")]
    RtpInput {
        /// The stream it feeds.
        stream: StreamKey,
        /// Why.
        source: InputRefused,
    },
    /// Media cannot listen there, or not start at all.
    #[error("--rtc {address}: {source}{}", media_hint(source))]
    Media {
        /// What the configuration says.
        address: SocketAddr,
        /// What the media plane says.
        source: GatewayError,
    },
}

/// What is most likely behind it, and what would help.
pub(crate) fn hint(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::AddrInUse => "; is another Whipstitch running? End it, or give another port here",
        io::ErrorKind::AddrNotAvailable => "; no interface of this machine has that address: 0.0.0.0 is all it has",
        io::ErrorKind::PermissionDenied => "; ports below 1024 are for root, or need CAP_NET_BIND_SERVICE",
        _ => "",
    }
}

fn media_hint(error: &GatewayError) -> &'static str {
    match error {
        GatewayError::Plane(plane::StartError::Bind { source, .. }) => hint(source.kind()),
        _ => "",
    }
}

/// A running server.
pub struct Server {
    config: Config,
    http: SocketAddr,
    rtc: Vec<SocketAddr>,
    admin: Option<Result<PathBuf, String>>,
    gateway: Gateway,
    rtsp: Option<Rtsp>,
    inputs: Vec<Configured>,
    processes: Processes,
    joined: Option<Joined>,
    state: State,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl Server {
    /// Binds everything and begins to serve.
    ///
    /// # Errors
    /// An address cannot be bound.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let gateway = Gateway::start(&GatewayConfig {
            rtc: config.rtc,
            workers: workers(config.workers),
            directory: places(&config),
            stream: stream(&config),
            when_offline: config.when_offline(),
            half_open: config.limits.half_open,
            lenient_precondition: config.lenient_precondition,
        })
        .map_err(|source| StartError::Media { address: config.rtc, source })?;
        let failed = |source| StartError::Http { address: config.http, source };
        let listener = TcpListener::bind(config.http).await.map_err(failed)?;
        let http = listener.local_addr().map_err(failed)?;
        let rtc = gateway.local_addrs().to_vec();

        let (policy, admin) = policy(&config);
        let issued = policy.issued.clone();
        let guesses = Arc::new(Guesses::new(GUESSES, Instant::now()));
        let known = Arc::<OnceLock<Processes>>::default();
        let rtsp = start_rtsp(&config, &gateway, &policy, &guesses, &known).await?;
        let announcer = Announcer::new(config.public_ip.clone(), config.host_name.clone(), rtc.clone());
        // The configuration has been judged: the range holds a block.
        let ports = config.rtp_ports.clone().and_then(|range| Ports::new(range).ok()).unwrap_or_else(Ports::none);
        let inputs = Inputs::new(gateway.plane().clone(), gateway.directory().clone(), ports);
        let configured = configured(&config, &inputs)?;
        let wires = Wires::new(gateway.clone(), inputs.clone(), issued, rtsp.as_ref().map(Rtsp::local_addr), http);
        let processes = Processes::open(config::processes::settings(&config), Arc::new(wires)).await;
        let _ = known.set(processes.clone());
        let settings = Settings { processes: Some(processes.clone()), ..settings(&config, &gateway, inputs, guesses) };
        let state = State::new(Arc::new(gateway.clone()), policy, announcer, settings);
        let (stop, stopped) = watch::channel(false);
        let serving = tokio::spawn(http::connection::serve(
            listener,
            http::app(state.clone()),
            stopped,
            Bounds::of_this_process(GRACE),
            None,
        ));
        let joined = Joined::start(&config, &gateway, http);
        let served = rtsp.as_ref().map(Rtsp::local_addr);
        info!(%http, ?rtc, rtsp = ?served, "started");
        Ok(Self {
            config,
            http,
            rtc,
            admin,
            gateway,
            rtsp,
            inputs: configured,
            processes,
            joined,
            state,
            stop,
            serving,
        })
    }

    /// Where HTTP listens.
    #[must_use]
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// The lines for whoever started the server. `demo` names the stream of a built-in source.
    #[must_use]
    pub fn announcement(&self, demo: Option<&str>) -> Vec<String> {
        announce::lines(&announce::Facts {
            config: &self.config,
            http: self.http,
            rtc: &self.rtc,
            rtsp: self.rtsp.as_ref().map(Rtsp::local_addr),
            machine: &candidates::reachable(),
            admin: self.admin.as_ref(),
            demo,
            inputs: self.inputs.iter().map(Configured::input).collect(),
            processes: self.processes.problem(),
        })
    }

    /// Takes no more sessions, says goodbye to those there are, and ends. Takes less than 10 s.
    pub async fn stop(self) {
        self.state.drain();
        self.processes.close();
        self.joined.iter().for_each(Joined::drain);
        self.rtsp.iter().for_each(Rtsp::drain);
        drop(self.inputs);
        info!("stopping");
        let gateway = self.gateway;
        let media = tokio::task::spawn_blocking(move || gateway.stop());
        let children = tokio::time::timeout(CHILDREN_STOP, self.processes.finish());
        let (media, (), children) =
            tokio::join!(tokio::time::timeout(MEDIA_STOPS, media), tokio::time::sleep(FAREWELL), children);
        if children.is_err() {
            warn!("children did not stop in order");
        }
        if !matches!(media, Ok(Ok(()))) {
            warn!("media did not stop in order");
        }
        if let Some(joined) = self.joined {
            joined.end().await;
        }
        self.stop.send_replace(true);
        // Its sessions have ended with media; what they were told is written now.
        if let Some(rtsp) = self.rtsp {
            rtsp.stop().await;
        }
        let _ = self.serving.await;
        info!("stopped");
    }
}

async fn start_rtsp(
    config: &Config,
    gateway: &Gateway,
    policy: &Policy,
    guesses: &Arc<Guesses>,
    processes: &Arc<OnceLock<Processes>>,
) -> Result<Option<Rtsp>, StartError> {
    let Some(address) = config.rtsp else { return Ok(None) };
    let (stream_names, guesses) = (config.stream_names.clone(), Arc::clone(guesses));
    let guard = Guard { policy: policy.clone(), stream_names, guesses, processes: Arc::clone(processes) };
    let (plane, directory) = (gateway.plane().clone(), gateway.directory().clone());
    let rtsp = Rtsp::start(address, plane, directory, Arc::new(guard), config.limits.rtsp).await;
    rtsp.map(Some).map_err(|source| StartError::Rtsp { address, source })
}

fn stream(config: &Config) -> StreamConfig {
    let default = StreamConfig::default();
    let cache = default.cache.filter(|_| config.keyframe_cache);
    StreamConfig { cache, rate: config.limits.publisher, grace: config.grace(), ttl: config.stream_ttl, ..default }
}

/// Threads for media: as many as are configured, else one per core.
pub(crate) fn workers(configured: usize) -> usize {
    match configured {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        workers => workers,
    }
}

/// Who gets a place.
fn places(config: &Config) -> directory::Config {
    directory::Config {
        on_conflict: config.on_conflict,
        ttl: config.stream_ttl,
        streams: config.limits.streams,
        publishers: config.limits.publishers,
        subscribers: config.limits.viewers,
        subscribers_per_stream: config.limits.viewers_per_stream,
        ..directory::Config::default()
    }
}

/// Opens the inputs of the configuration, whose files have been read.
fn configured(config: &Config, inputs: &Inputs) -> Result<Vec<Configured>, StartError> {
    let wanted = config.rtp_inputs.iter().filter_map(RtpInput::wanted);
    let open = |wanted: Wanted| {
        let stream = wanted.stream.clone();
        inputs.configure(wanted).map_err(|source| StartError::RtpInput { stream, source })
    };
    wanted.map(open).collect()
}

/// What HTTP needs to know.
fn settings(config: &Config, gateway: &Gateway, inputs: Inputs, guesses: Arc<Guesses>) -> Settings {
    let ports = Some(inputs.ports()).filter(|ports| ports.can_lease()).cloned();
    Settings {
        legs: ports.map(|ports| Legs::new(gateway.plane().clone(), gateway.directory().clone(), ports)),
        plain: Some(Plain { inputs, gateway: gateway.clone(), from: config.plain_rtp }),
        ice_servers: config.ice_server.clone(),
        stream_names: config.stream_names.clone(),
        origins: Origins::new(config.cors_origin.clone()),
        trusted: Trusted::new(config.trusted_proxies.clone()),
        requests: config.limits.requests,
        session: config.limits.session,
        guesses,
        processes: None,
    }
}

/// Who may do what; and where the generated admin token is, when there is no configured one.
fn policy(config: &Config) -> (Policy, Option<Result<PathBuf, String>>) {
    let (admin, told) = if config.token.is_some() || config.tokens.iter().any(|token| token.rights.admin) {
        (None, None)
    } else {
        match credentials::admin_token(&config.data) {
            Ok((token, path)) => (Some(token), Some(Ok(path))),
            // A read-only container serves all the same; the start-up lines tell what it cannot do.
            Err(error) => (None, Some(Err(explained(&config.data, &error)))),
        }
    };
    let policy = Policy {
        token: config.token.clone(),
        tokens: config.tokens.clone(),
        admin,
        issued: Issued::default(),
        open_publish: config.open_publish,
        session_auth: config.session_auth,
    };
    (policy, told)
}

fn explained(data: &std::path::Path, error: &io::Error) -> String {
    format!("{}, --data {}", error, data.display())
}
