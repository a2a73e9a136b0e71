//! The configuration of `whipstitch proxy`: its own table of keys, read and judged as that of `serve` is.
//!
//! In a file its keys stand below `[proxy]`, or at the top when the file has nothing else.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::IpNet;
use whipstitch_proxy::registry::RedisUrl;
use whipstitch_proxy::signal::Signalling;
use whipstitch_proxy::trust::Trust;

use super::keys::{Key, Keyed, Takes};
use super::values::{
    address, choice, file, names, networks, number, one, origin_urls, origins, places, public_ips, single, workers,
};
use super::{Environment, File, Mistake, apply, file as files, log, meet, unknown_variables};
use crate::cli::Arguments;
use crate::credentials::Token;
use crate::rates::Rate;
use crate::tls;

/// Every session has a UDP socket of its own towards its origin: more would ask for more local ports and descriptors than
/// systems give without being asked.
const MOST_SESSIONS: usize = 20_000;

/// Where is kept which origin has what.
#[derive(Clone, PartialEq, Eq)]
pub enum Registry {
    /// In this process: for one proxy alone.
    Memory,
    /// In a Redis that several proxies share, by its URL. It may hold a password.
    Redis(String),
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "Memory",
            Self::Redis(_) => "Redis(..)",
        })
    }
}

/// Everything `proxy` needs to know before it starts. It binds nothing and opens nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where HTTP listens; port 0 takes any free one.
    pub http: SocketAddr,
    /// Where datagrams of clients arrive. The unspecified IPv4 address stands for all interfaces of both families.
    pub rtc: SocketAddr,
    /// Where origins register and operators look.
    pub admin: SocketAddr,
    /// Where is kept which origin has what.
    pub registry: Registry,
    /// Addresses to announce instead of the one a client used.
    pub public_ip: Vec<IpAddr>,
    /// Host names of this proxy, lower case, under which its address may be looked up.
    pub host_name: Vec<String>,
    /// Origins that do not register, by the base URL of their HTTP.
    pub origins: Vec<url::Url>,
    /// The file with roots of trust, beside those of this machine, for origins with HTTPS.
    pub origin_ca: Option<std::path::PathBuf>,
    /// What origins show when they register.
    pub secret: Option<Token>,
    /// Threads for datagrams; 0 is one per core.
    pub workers: usize,
    /// What a client is told when it offers.
    pub signalling: Signalling,
    /// Sessions at once.
    pub max_sessions: usize,
    /// Origins of the web pages that may use this proxy, lower case; empty is all.
    pub cors_origin: Vec<String>,
    /// Proxies in front that may say whom a request comes from.
    pub trusted_proxies: Vec<IpNet>,
    /// The file with the certificates of HTTPS.
    pub tls_certificate: Option<std::path::PathBuf>,
    /// The file with their key.
    pub tls_key: Option<std::path::PathBuf>,
    /// Requests of one client address.
    pub requests: Rate,
    /// Filter of the log; from the environment only.
    pub log: String,
}

impl Default for Config {
    /// The defaults of `docs/scale.md`.
    fn default() -> Self {
        Self {
            http: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 11_985)),
            rtc: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 18_000)),
            admin: SocketAddr::from((Ipv4Addr::LOCALHOST, 12_025)),
            registry: Registry::Memory,
            public_ip: Vec::new(),
            host_name: Vec::new(),
            origins: Vec::new(),
            origin_ca: None,
            secret: None,
            workers: 0,
            signalling: Signalling::Proxy,
            max_sessions: MOST_SESSIONS,
            cors_origin: Vec::new(),
            trusted_proxies: Vec::new(),
            tls_certificate: None,
            tls_key: None,
            requests: super::Limits::default().requests,
            log: "info".to_owned(),
        }
    }
}

impl Config {
    /// The files of HTTPS, when it is wanted.
    #[must_use]
    pub(crate) fn tls(&self) -> Option<tls::Files> {
        let (certificate, key) = (self.tls_certificate.clone()?, self.tls_key.clone()?);
        Some(tls::Files { certificate, key })
    }

    /// Reads the files that the configuration names, and judges them.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn load(&self) -> Result<(), Vec<Mistake>> {
        let tls = self.tls().and_then(|files| tls::Tls::open(files).err());
        let tls = tls.map(|error| Mistake::at("tls_certificate, tls_key", error));
        let trust = self.trust().err().map(|what| Mistake::at("origin_ca", what));
        let mistakes: Vec<_> = tls.into_iter().chain(trust).collect();
        if mistakes.is_empty() { Ok(()) } else { Err(mistakes) }
    }

    /// Whom origins with HTTPS are trusted by. Reads files.
    ///
    /// # Errors
    /// What is wrong with which.
    pub(crate) fn trust(&self) -> Result<Trust, String> {
        let Some(path) = &self.origin_ca else {
            return Trust::of_this_machine(None).map_err(|error| error.to_string());
        };
        let wrong = |error: &dyn fmt::Display| format!("{}: {error}", path.display());
        let pem = std::fs::read(path).map_err(|error| wrong(&error))?;
        Trust::of_this_machine(Some(&pem)).map_err(|error| wrong(&error))
    }
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
    let mut config = Config::default();
    let mut mistakes = arguments.mistakes.clone();
    let from_file = file.map(files::read_proxy).unwrap_or_default();
    apply(&mut config, from_file, arguments, environment, &mut mistakes);
    config.log = log(environment, &mut mistakes).unwrap_or(config.log);
    mistakes.extend(unknown_variables(environment));
    mistakes.extend(contradictions(&config));
    if mistakes.is_empty() { Ok(config) } else { Err(mistakes) }
}

/// What is right by itself and wrong together.
fn contradictions(config: &Config) -> impl Iterator<Item = Mistake> {
    let listeners = meet(config.http, config.admin)
        .then(|| Mistake::at("admin", format!("HTTP has TCP port {} already; this needs another", config.http.port())));
    let half = config.tls_certificate.is_some() != config.tls_key.is_some();
    let tls = half.then(|| Mistake::at("tls_certificate, tls_key", "HTTPS needs both"));
    listeners.into_iter().chain(tls)
}

impl Keyed for Config {
    fn keys() -> &'static [Key<Self>] {
        KEYS
    }
}

/// Every key, in the order the help and the example file show them.
static KEYS: &[Key<Config>] = &[
    Key {
        name: "http",
        takes: Takes::Text("A:P"),
        help: "address and port of WHIP and WHEP [0.0.0.0:11985]",
        set: |config, values| address(values, 11_985).map(|address| config.http = address).map_err(single),
    },
    Key {
        name: "rtc",
        takes: Takes::Text("A:P"),
        help: "address and port of media, UDP; 0.0.0.0 is IPv6 too [0.0.0.0:18000]",
        set: |config, values| address(values, 18_000).map(|address| config.rtc = address).map_err(single),
    },
    Key {
        name: "admin",
        takes: Takes::Text("A:P"),
        help: "where origins register and operators look [127.0.0.1:12025]",
        set: |config, values| address(values, 12_025).map(|address| config.admin = address).map_err(single),
    },
    Key {
        name: "registry",
        takes: Takes::Text("WHERE"),
        help: "memory, or the redis:// URL that several proxies share [memory]",
        set: |config, values| registry(values).map(|registry| config.registry = registry).map_err(single),
    },
    Key {
        name: "public_ip",
        takes: Takes::List("IP"),
        help: "address clients reach this machine at (behind NAT, in Docker); repeatable",
        set: |config, values| public_ips(values).map(|ips| config.public_ip = ips).map_err(single),
    },
    Key {
        name: "host_name",
        takes: Takes::List("NAME"),
        help: "host name of this proxy, looked up to announce its address; repeatable",
        set: |config, values| names(values).map(|names| config.host_name = names).map_err(single),
    },
    Key {
        name: "origin",
        takes: Takes::List("URL"),
        help: "gateway that does not register, such as http://10.0.0.2:8555; repeatable",
        set: |config, values| origin_urls(values).map(|urls| config.origins = urls),
    },
    Key {
        name: "origin_ca",
        takes: Takes::Text("FILE"),
        help: "certificates, PEM, that origins with HTTPS may be signed by as well",
        set: |config, values| file(values).map(|path| config.origin_ca = Some(path)).map_err(single),
    },
    Key {
        name: "secret",
        takes: Takes::Text("S"),
        help: "what origins show when they register; without, only this machine's may",
        set: |config, values| {
            one(values).and_then(Token::parse).map(|secret| config.secret = Some(secret)).map_err(single)
        },
    },
    Key {
        name: "workers",
        takes: Takes::Number("N"),
        help: "threads for datagrams; 0 is one per core [0]",
        set: |config, values| workers(values).map(|workers| config.workers = workers).map_err(single),
    },
    Key {
        name: "signalling",
        takes: Takes::Text("HOW"),
        help: "offers are passed on (proxy), or sent to the origin (redirect) [proxy]",
        set: |config, values| {
            let known = [("proxy", Signalling::Proxy), ("redirect", Signalling::Redirect)];
            choice(values, known).map(|how| config.signalling = how).map_err(single)
        },
    },
    Key {
        name: "max_sessions",
        takes: Takes::Number("N"),
        help: "sessions at once [20000]",
        set: |config, values| places(values).map(|most| config.max_sessions = most).map_err(single),
    },
    Key {
        name: "cors_origin",
        takes: Takes::List("ORIGIN"),
        help: "web pages that may use this proxy, by origin; repeatable [all]",
        set: |config, values| origins(values).map(|origins| config.cors_origin = origins),
    },
    Key {
        name: "trusted_proxies",
        takes: Takes::List("NET"),
        help: "IP or network of a proxy whose X-Forwarded-For counts; repeatable",
        set: |config, values| networks(values).map(|networks| config.trusted_proxies = networks),
    },
    Key {
        name: "tls_certificate",
        takes: Takes::Text("FILE"),
        help: "certificates of HTTPS, PEM; read again when the file changes",
        set: |config, values| file(values).map(|path| config.tls_certificate = Some(path)).map_err(single),
    },
    Key {
        name: "tls_key",
        takes: Takes::Text("FILE"),
        help: "their key, PEM",
        set: |config, values| file(values).map(|path| config.tls_key = Some(path)).map_err(single),
    },
    Key {
        name: "request_rate",
        takes: Takes::Number("N"),
        help: "requests a second of one client address; 0 is no limit [100]",
        set: |config, values| number(values, 0, 1_000_000).map(|n| config.requests.per_second = n).map_err(single),
    },
    Key {
        name: "request_burst",
        takes: Takes::Number("N"),
        help: "requests it may make at once [3000]",
        set: |config, values| number(values, 1, 1_000_000).map(|n| config.requests.burst = n).map_err(single),
    },
];

fn registry(values: &[String]) -> Result<Registry, String> {
    match one(values)? {
        "memory" => Ok(Registry::Memory),
        // The text may hold a password and is not repeated.
        text => RedisUrl::parse(text)
            .map(|_| Registry::Redis(text.to_owned()))
            .map_err(|what| format!("is not memory, and {what}")),
    }
}
