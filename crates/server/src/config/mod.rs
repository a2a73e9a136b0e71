//! Configuration: one value, made once at the edge from arguments, environment and file, that cannot be wrong
//! afterwards.
//!
//! [`resolve`] is a pure function of those three texts. A flag beats the environment, the environment beats the file,
//! and every mistake in any of them is reported together, one line each, even where a stronger source would have
//! hidden it. What a key is called, takes and means stands once, in `keys.rs`.

mod file;
pub(crate) mod keys;
mod limits;
pub(crate) mod processes;
pub mod proxy;
mod rtp_inputs;
mod tables;
mod tokens;
mod values;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use ipnet::IpNet;
use reqwest::Url;
use whipstitch_ffmpeg::process::{self, Definition};
use whipstitch_proxy::OriginId;
use whipstitch_stream::StreamKey;
use whipstitch_stream::directory::Conflict;
use whipstitch_webrtc::WhenOffline;

use crate::access::{Right, SessionAuth};
use crate::cli::Arguments;
use crate::credentials::Token;
use crate::ice_servers::IceServer;
use crate::patterns::Pattern;
use crate::plain::PlainRtp;
use crate::tokens::Listed;
pub use file::commands;
use keys::{Keyed, Name, Takes};
pub use limits::Limits;
pub use rtp_inputs::{RtpInput, Sdp};
pub(crate) use values::is_host_name;

/// The variables of the process, by name.
pub type Environment = BTreeMap<String, String>;

/// The variable that holds the log filter; it is no key because it must work before a file is read.
pub(crate) const LOG_VARIABLE: &str = "WHIPSTITCH_LOG";

/// The variable that names the file, as `--config` does.
const CONFIG_VARIABLE: &str = "WHIPSTITCH_CONFIG";

/// Everything `serve` and `demo` need to know before they start. It binds nothing and opens nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where HTTP listens; port 0 takes any free one.
    pub http: SocketAddr,
    /// Where ICE, DTLS and SRTP arrive. The unspecified IPv4 address stands for all interfaces of both families.
    pub rtc: SocketAddr,
    /// Where RTSP players are served; `None` is nowhere.
    pub rtsp: Option<SocketAddr>,
    /// Addresses to announce instead of the one a client used; empty when there are none to override.
    pub public_ip: Vec<IpAddr>,
    /// Host names of this server, lower case, under which its address may be looked up.
    pub host_name: Vec<String>,
    /// STUN and TURN servers that clients are told of.
    pub ice_server: Vec<IceServer>,
    /// The one token with all rights.
    pub token: Option<Token>,
    /// UDP ports of this machine that are leased to readers and senders of plain RTP, four to each; `None` leases none.
    pub rtp_ports: Option<RangeInclusive<u16>>,
    /// From whom plain RTP is taken.
    pub plain_rtp: PlainRtp,
    /// Streams that are fed by plain RTP for as long as the server runs; from the file only.
    pub rtp_inputs: Vec<RtpInput>,
    /// FFmpeg, for processes: a path, or a name that is looked for in `PATH`.
    pub ffmpeg: PathBuf,
    /// Processes that the API only reads; from the file only.
    pub processes: Vec<Definition>,
    /// What processes may read and write.
    pub process_access: process::Access,
    /// Media threads; 0 is one per core.
    pub workers: usize,
    /// Whether who joins gets everything since the last keyframe at once.
    pub keyframe_cache: bool,
    /// Where this server keeps what must survive a restart.
    pub data: PathBuf,
    /// Whether anybody may publish without a credential.
    pub open_publish: bool,
    /// Tokens with less than all rights; from the file only.
    pub tokens: Vec<Listed>,
    /// What a second publisher of a stream meets.
    pub on_conflict: Conflict,
    /// Whether viewers wait for a publisher.
    pub wait: bool,
    /// How long they do, at the beginning and between two publishers.
    pub max_wait: Duration,
    /// How long viewers stay when the publisher has gone, unless they wait anyway.
    pub grace: Duration,
    /// How long a stream without publisher and viewers is known.
    pub stream_ttl: Duration,
    /// The names streams may have; empty is all.
    pub stream_names: Vec<Pattern>,
    /// What a session URL needs besides itself.
    pub session_auth: SessionAuth,
    /// Whether a PATCH without `If-Match` may trickle.
    pub lenient_precondition: bool,
    /// Origins of the web pages that may use this server, lower case; empty is all.
    pub cors_origin: Vec<String>,
    /// Proxies that may say whom a request comes from.
    pub trusted_proxies: Vec<IpNet>,
    /// Admin listeners of proxies that this server is an origin of.
    pub join: Vec<Url>,
    /// What it is called there; `None` is its host name and port.
    pub origin_id: Option<OriginId>,
    /// What those need.
    pub secret: Option<Token>,
    /// How much of everything there may be.
    pub limits: Limits,
    /// Filter of the log, in the words of `tracing_subscriber::EnvFilter`; from the environment only.
    pub log: String,
}

impl Default for Config {
    /// The defaults of `docs/operate.md`. `data` is the last resort; [`resolve`] finds a better one where it can.
    fn default() -> Self {
        Self {
            http: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8555)),
            rtc: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8189)),
            rtsp: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 8554))),
            public_ip: Vec::new(),
            host_name: Vec::new(),
            ice_server: Vec::new(),
            token: None,
            rtp_ports: Some(10_000..=10_999),
            plain_rtp: PlainRtp::Loopback,
            rtp_inputs: Vec::new(),
            ffmpeg: PathBuf::from("ffmpeg"),
            processes: Vec::new(),
            process_access: process::Access::default(),
            workers: 0,
            keyframe_cache: true,
            data: PathBuf::from("whipstitch-data"),
            open_publish: false,
            tokens: Vec::new(),
            on_conflict: Conflict::Reject,
            wait: false,
            max_wait: Duration::from_secs(600),
            grace: Duration::from_secs(15),
            stream_ttl: Duration::from_secs(60),
            stream_names: Vec::new(),
            session_auth: SessionAuth::Capability,
            lenient_precondition: false,
            cors_origin: Vec::new(),
            trusted_proxies: Vec::new(),
            join: Vec::new(),
            origin_id: None,
            secret: None,
            limits: Limits::default(),
            log: "info".to_owned(),
        }
    }
}

impl Config {
    /// Whether any token is configured: then nothing but pages and probes is open without one.
    #[must_use]
    pub fn needs_token(&self) -> bool {
        self.token.is_some() || !self.tokens.is_empty()
    }

    /// Reads the files that the configuration names.
    ///
    /// # Errors
    /// Everything that is wrong with them, and with what they say together.
    pub fn load(&mut self) -> Result<(), Vec<Mistake>> {
        let mut mistakes: Vec<_> = self.rtp_inputs.iter_mut().filter_map(|input| input.load().err()).collect();
        mistakes.extend(inputs_that_meet(self));
        if mistakes.is_empty() { Ok(()) } else { Err(mistakes) }
    }

    /// What a viewer meets whose stream nobody publishes.
    #[must_use]
    pub fn when_offline(&self) -> WhenOffline {
        if self.wait { WhenOffline::Wait(self.max_wait) } else { WhenOffline::Reject }
    }

    /// How long a stream keeps the viewers of a publisher that has gone; `None` leaves that to each viewer's patience.
    #[must_use]
    pub fn grace(&self) -> Option<Duration> {
        (!self.wait).then_some(self.grace)
    }

    /// A token that may publish this stream, for a source of our own.
    #[must_use]
    pub fn token_to_publish(&self, stream: &StreamKey, now: SystemTime) -> Option<&Token> {
        let listed =
            self.tokens.iter().find(|token| token.allows(Right::Publish, Some(stream)) && !token.is_expired(now));
        self.token.as_ref().or(listed.map(|listed| &listed.token))
    }
}

/// Something the user wrote that cannot be meant. The text is one line and names the place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake(String);

impl Mistake {
    /// A mistake at `place` (a flag, a variable, a line of the file).
    pub fn at(place: impl fmt::Display, what: impl fmt::Display) -> Self {
        // One line each is a promise to scripts; a value may hold anything.
        Self(format!("{place}: {what}").replace(['\n', '\r'], " "))
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A configuration file: where it was found and what it says.
#[derive(Clone, Copy, Debug)]
pub struct File<'a> {
    /// For messages only.
    pub path: &'a Path,
    /// Its whole text, TOML.
    pub text: &'a str,
}

/// One value as somebody wrote it, not yet judged.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) key: Name,
    pub(crate) values: Vec<String>,
    pub(crate) place: String,
}

/// Which file to read: `--config`, else `WHIPSTITCH_CONFIG`, else none.
pub fn path(arguments: &Arguments, environment: &Environment) -> Option<PathBuf> {
    let named = arguments.config.clone().or_else(|| variable(environment, CONFIG_VARIABLE).map(str::to_owned));
    named.map(PathBuf::from)
}

/// The configuration these texts amount to, or everything that is wrong with them.
///
/// # Errors
/// At least one mistake; those of `arguments` are included.
pub fn resolve(
    arguments: &Arguments,
    environment: &Environment,
    file: Option<File<'_>>,
) -> Result<Config, Vec<Mistake>> {
    let mut config = Config { data: default_data(environment), ..Config::default() };
    let mut mistakes = arguments.mistakes.clone();

    let mut tables = file::Tables::default();
    let from_file = file.map(|file| file::read(file, &mut tables)).unwrap_or_default();
    (config.tokens, config.rtp_inputs, config.processes) = (tables.tokens, tables.rtp_inputs, tables.processes);
    apply(&mut config, from_file, arguments, environment, &mut mistakes);
    config.log = log(environment, &mut mistakes).unwrap_or(config.log);
    mistakes.extend(unknown_variables(environment));
    mistakes.extend(contradictions(&config));
    mistakes.extend(processes::contradictions(&config));
    if mistakes.is_empty() { Ok(config) } else { Err(mistakes) }
}

/// Sets what the three sources say, the weakest first.
fn apply<C: Keyed>(
    config: &mut C,
    from_file: Vec<Result<Setting, Mistake>>,
    arguments: &Arguments,
    environment: &Environment,
    mistakes: &mut Vec<Mistake>,
) {
    let elsewhere = from_environment::<C>(environment).into_iter().chain(arguments.list());
    for setting in from_file.into_iter().chain(elsewhere.map(Ok)) {
        let Setting { key, values, place } = match setting {
            Ok(setting) => setting,
            Err(mistake) => {
                mistakes.push(mistake);
                continue;
            }
        };
        match C::keys().iter().find(|known| known.name == key.name) {
            Some(known) => {
                let all = (known.set)(config, &values).err().unwrap_or_default();
                mistakes.extend(all.into_iter().map(|what| Mistake::at(&place, what)));
            }
            None => mistakes.push(Mistake::at(place, "is a flag of another command (see --help)")),
        }
    }
}

/// What is to be logged, if the environment says so.
fn log(environment: &Environment, mistakes: &mut Vec<Mistake>) -> Option<String> {
    let filter = variable(environment, LOG_VARIABLE)?;
    match crate::logging::filter(filter) {
        Ok(_) => Some(filter.to_owned()),
        Err(error) => {
            mistakes.push(Mistake::at(LOG_VARIABLE, error));
            None
        }
    }
}

/// What is right by itself and wrong together.
fn contradictions(config: &Config) -> impl Iterator<Item = Mistake> {
    let (http, rtc) = (config.http, config.rtc);
    let media = meet(http, rtc)
        .then(|| Mistake::at("rtc", format!("HTTP has TCP port {} already; media needs another", http.port())));
    let others = [("HTTP", http), ("media", rtc)];
    let other = config.rtsp.and_then(|rtsp| others.into_iter().find(|(_, other)| meet(rtsp, *other)));
    let rtsp = other.map(|(name, other)| {
        Mistake::at("rtsp", format!("{name} has TCP port {} already; RTSP needs another", other.port()))
    });
    let twice = config.tokens.iter().filter(|listed| Some(&listed.token) == config.token.as_ref());
    let twice = twice.map(|listed| {
        Mistake::at("tokens", format!("the token of {:?} is the one of `token`, which has all rights", &*listed.name))
    });
    let hidden = config.rtp_inputs.iter().filter(|input| {
        let names = &config.stream_names;
        !names.is_empty() && !names.iter().any(|name| name.matches(input.stream.as_str()))
    });
    let hidden = hidden.map(|input| {
        Mistake::at("rtp_input", format!("no pattern of stream_names has the name of its stream {}", input.stream))
    });
    media.into_iter().chain(rtsp).chain(twice).chain(hidden)
}

/// Whether two listeners could not both have their address.
fn meet(one: SocketAddr, other: SocketAddr) -> bool {
    let hosts = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    hosts && one.port() == other.port() && one.port() != 0
}

/// Inputs that want the same ports, or that of media, or ports of a range that is off.
fn inputs_that_meet(config: &Config) -> Vec<Mistake> {
    let (mut taken, mut mistakes) = (vec![config.rtc.port()], Vec::new());
    for input in &config.rtp_inputs {
        let place = format!("rtp_input of {}", input.stream);
        let ports = input.fixed_ports();
        if let Some(port) = ports.iter().find(|port| taken.contains(port)) {
            mistakes.push(Mistake::at(&place, format!("UDP port {port} is taken by another input, or by media (rtc)")));
        }
        if ports.is_empty() && config.rtp_ports.is_none() && matches!(input.sdp, Sdp::Sections(_)) {
            mistakes.push(Mistake::at(&place, "its SDP names no ports, and rtp_ports is off: there are none to lease"));
        }
        taken.extend(ports);
    }
    mistakes
}

/// Variables that look like ours and set nothing: most likely misspelt.
fn unknown_variables(environment: &Environment) -> impl Iterator<Item = Mistake> {
    let names = keys::all_names();
    let unknown = environment.keys().filter(move |name| {
        let Some(rest) = name.strip_prefix("WHIPSTITCH_") else { return false };
        let known =
            *name == LOG_VARIABLE || *name == CONFIG_VARIABLE || names.iter().any(|key| key.variable() == **name);
        !known && !is_service_link(rest)
    });
    unknown.map(|name| Mistake::at(name, "no such variable"))
}

/// Container platforms tell every program of services with variables such as `WHIPSTITCH_SERVICE_HOST` and
/// `WHIPSTITCH_PORT_8555_TCP_ADDR`, for a service of that name.
fn is_service_link(rest: &str) -> bool {
    let words: Vec<&str> = rest.split('_').collect();
    words.contains(&"PORT") || words.windows(2).any(|pair| pair == ["SERVICE", "HOST"])
}

/// What the environment sets. What it says of keys that another command has is for that.
fn from_environment<C: Keyed>(environment: &Environment) -> Vec<Setting> {
    let set = |key: Name| {
        let place = key.variable();
        let text = variable(environment, &place)?;
        let values = match key.takes {
            Takes::List(_) => text.split(',').map(|item| item.trim().to_owned()).collect(),
            _ => vec![text.to_owned()],
        };
        Some(Setting { key, values, place })
    };
    keys::names_of::<C>().into_iter().filter_map(set).collect()
}

/// A variable that is set to something: an empty one is how a shell or a compose file says "unset".
fn variable<'a>(environment: &'a Environment, name: &str) -> Option<&'a str> {
    environment.get(name).map(String::as_str).filter(|text| !text.is_empty())
}

/// The user's state directory (XDG base directories), else one in the working directory.
fn default_data(environment: &Environment) -> PathBuf {
    if let Some(state) = variable(environment, "XDG_STATE_HOME").filter(|dir| dir.starts_with('/')) {
        return Path::new(state).join("whipstitch");
    }
    match variable(environment, "HOME").filter(|dir| dir.starts_with('/')) {
        Some(home) => Path::new(home).join(".local/state/whipstitch"),
        None => Config::default().data,
    }
}

#[cfg(test)]
mod tests;
