//! The keys: each stands here once and gives a flag, a variable and a line of TOML.
//!
//! A new key is one row here and one line in `whipstitch.example.toml`; a test holds the two together.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use whipstitch_plane::MAX_WORKERS;

use super::Config;
use crate::credentials::Token;
use crate::ice_servers::IceServer;

/// An answer carries every announced address as a candidate, and FFmpeg reads at most 8191 bytes of it.
const MOST_PUBLIC_IPS: usize = 8;
/// Every answer carries all of them, and browsers slow down with more than a handful.
const MOST_ICE_SERVERS: usize = 8;

/// What may be written for a key; the text is the placeholder in the help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    /// Nothing as a flag; `true` or `false` elsewhere.
    Switch,
    /// A whole number.
    Number(&'static str),
    /// One text.
    Text(&'static str),
    /// Several texts: the flag repeated, commas in the environment, an array in TOML.
    List(&'static str),
}

/// One key of the configuration.
#[derive(Debug)]
pub(crate) struct Key {
    /// Its name in TOML, `snake_case`; flag and variable follow from it.
    pub(crate) name: &'static str,
    pub(crate) takes: Takes,
    /// One line for `--help`.
    pub(crate) help: &'static str,
    /// Judges what was written and stores it, or says everything that is wrong with it.
    pub(crate) set: fn(&mut Config, &[String]) -> Result<(), Vec<String>>,
}

impl Key {
    /// `public_ip` as a flag: `--public-ip`.
    pub(crate) fn flag(&self) -> String {
        format!("--{}", self.name.replace('_', "-"))
    }

    /// `public_ip` in the environment: `WHIPSTITCH_PUBLIC_IP`.
    pub(crate) fn variable(&self) -> String {
        format!("WHIPSTITCH_{}", self.name.to_ascii_uppercase())
    }
}

/// Every key, in the order the help and the example file show them.
pub(crate) static KEYS: &[Key] = &[
    Key {
        name: "http",
        takes: Takes::Text("A:P"),
        help: "address and port of WHIP, WHEP, API and pages [0.0.0.0:8555]",
        set: |config, values| address(values).map(|address| config.http = address).map_err(single),
    },
    Key {
        name: "rtc",
        takes: Takes::Text("A:P"),
        help: "address and port of media, UDP and TCP; 0.0.0.0 is IPv6 too [0.0.0.0:8189]",
        set: |config, values| address(values).map(|address| config.rtc = address).map_err(single),
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
        help: "host name of this server, looked up to announce its address; repeatable",
        set: |config, values| names(values).map(|names| config.host_name = names).map_err(single),
    },
    Key {
        name: "ice_server",
        takes: Takes::List("SERVER"),
        help: "STUN or TURN server to tell clients of, with its credentials; repeatable",
        set: |config, values| ice_servers(values).map(|servers| config.ice_server = servers),
    },
    Key {
        name: "token",
        takes: Takes::Text("T"),
        help: "token that publishing, watching, lists and statistics then need",
        set: |config, values| {
            one(values).and_then(Token::parse).map(|token| config.token = Some(token)).map_err(single)
        },
    },
    Key {
        name: "workers",
        takes: Takes::Number("N"),
        help: "media threads; 0 is one per core [0]",
        set: |config, values| workers(values).map(|workers| config.workers = workers).map_err(single),
    },
    Key {
        name: "data",
        takes: Takes::Text("DIR"),
        help: "directory for what survives a restart [~/.local/state/whipstitch]",
        set: |config, values| directory(values).map(|data| config.data = data).map_err(single),
    },
    Key {
        name: "open_publish",
        takes: Takes::Switch,
        help: "let anybody who reaches this server publish",
        set: |config, values| switch(values).map(|open| config.open_publish = open).map_err(single),
    },
];

/// The key of that name in TOML.
pub(crate) fn named(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

fn single(mistake: String) -> Vec<String> {
    vec![mistake]
}

fn one(values: &[String]) -> Result<&str, String> {
    match values {
        [value] => Ok(value),
        _ => Err("takes exactly one value".to_owned()),
    }
}

fn address(values: &[String]) -> Result<SocketAddr, String> {
    let text = one(values)?;
    text.parse().map_err(|_| format!("{text:?} is not an address and port such as 0.0.0.0:8555 or [::1]:8555"))
}

fn public_ips(values: &[String]) -> Result<Vec<IpAddr>, String> {
    if values.len() > MOST_PUBLIC_IPS {
        return Err(format!("at most {MOST_PUBLIC_IPS} addresses can be announced"));
    }
    values.iter().map(|text| public_ip(text)).collect()
}

fn public_ip(text: &str) -> Result<IpAddr, String> {
    let ip: IpAddr = text.parse().map_err(|_| format!("{text:?} is not an IP address such as 203.0.113.7"))?;
    if ip.is_unspecified() || ip.is_multicast() {
        return Err(format!("{text:?} is not an address a client could send to"));
    }
    Ok(ip.to_canonical())
}

fn names(values: &[String]) -> Result<Vec<String>, String> {
    let judged = values.iter().map(|text| {
        if is_host_name(text) { Ok(text.to_ascii_lowercase()) } else { Err(format!("{text:?} is not a host name")) }
    });
    judged.collect()
}

/// Whether a text could be a host name or IPv4 address.
pub(crate) fn is_host_name(text: &str) -> bool {
    (1..=253).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
}

fn ice_servers(values: &[String]) -> Result<Vec<IceServer>, Vec<String>> {
    if values.len() > MOST_ICE_SERVERS {
        return Err(vec![format!("at most {MOST_ICE_SERVERS} servers can be told of")]);
    }
    let mut servers = Vec::new();
    let mut mistakes = Vec::new();
    for (at, text) in values.iter().enumerate() {
        match IceServer::parse(text) {
            Ok(server) => servers.push(server),
            Err(all) => mistakes.extend(all.into_iter().map(|what| format!("server {}: {what}", at + 1))),
        }
    }
    if mistakes.is_empty() { Ok(servers) } else { Err(mistakes) }
}

fn workers(values: &[String]) -> Result<usize, String> {
    let text = one(values)?;
    text.parse()
        .ok()
        .filter(|workers| *workers <= MAX_WORKERS)
        .ok_or_else(|| format!("{text:?} is not a number of threads from 0 to {MAX_WORKERS}"))
}

fn directory(values: &[String]) -> Result<PathBuf, String> {
    match one(values)? {
        "" => Err("is empty".to_owned()),
        text => Ok(PathBuf::from(text)),
    }
}

fn switch(values: &[String]) -> Result<bool, String> {
    match one(values)? {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        text => Err(format!("{text:?} is neither true nor false")),
    }
}
