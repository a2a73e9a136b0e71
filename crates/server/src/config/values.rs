//! What may be written as the value of a key: each function judges one kind and says what is wrong.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use axum::http::uri::Authority;
use ipnet::IpNet;
use reqwest::Url;
use whipstitch_ffmpeg::Ports;
use whipstitch_plane::MAX_WORKERS;
use whipstitch_proxy::OriginId;
use whipstitch_proxy::origins::Origin;

use crate::access::literal;
use crate::ice_servers::IceServer;
use crate::patterns::Pattern;
use crate::proxies;

/// An answer carries every announced address as a candidate, and FFmpeg reads at most 8191 bytes of it.
const MOST_PUBLIC_IPS: usize = 8;
/// Every answer carries all of them, and browsers slow down with more than a handful.
const MOST_ICE_SERVERS: usize = 8;
/// Each hears from this server every two seconds; those that share a registry need not all.
const MOST_PROXIES: usize = 16;
/// More than any machine has.
const MOST_PLACES: u32 = 1_000_000;

pub(super) fn single(mistake: String) -> Vec<String> {
    vec![mistake]
}

pub(super) fn one(values: &[String]) -> Result<&str, String> {
    match values {
        [value] => Ok(value),
        _ => Err("takes exactly one value".to_owned()),
    }
}

/// An address of this machine and a port; `port` is the usual one.
pub(super) fn address(values: &[String], port: u16) -> Result<SocketAddr, String> {
    let text = one(values)?;
    text.parse().map_err(|_| format!("{text:?} is not an IP address and port such as 0.0.0.0:{port} or [::1]:{port}"))
}

/// A range of ports that holds at least one block, or `off`.
pub(super) fn ports(values: &[String]) -> Result<Option<RangeInclusive<u16>>, String> {
    let text = one(values)?;
    if text == "off" {
        return Ok(None);
    }
    let range = text.split_once('-').and_then(|(first, last)| Some(first.parse().ok()?..=last.parse().ok()?));
    let range = range.ok_or_else(|| format!("{text:?} is not a range of ports such as 10000-10999, or off"))?;
    Ports::new(range.clone()).map_err(|error| error.to_string())?;
    Ok(Some(range))
}

pub(super) fn address_or_off(values: &[String], port: u16) -> Result<Option<SocketAddr>, String> {
    match one(values)? {
        "off" => Ok(None),
        _ => address(values, port).map(Some).map_err(|what| format!("{what}, or off")),
    }
}

pub(super) fn public_ips(values: &[String]) -> Result<Vec<IpAddr>, String> {
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

pub(super) fn names(values: &[String]) -> Result<Vec<String>, String> {
    let judged = values.iter().map(|text| {
        if is_host_name(text) { Ok(text.to_ascii_lowercase()) } else { Err(format!("{text:?} is not a host name")) }
    });
    judged.collect()
}

/// Whether a text could be a host name or IPv4 address.
pub(crate) fn is_host_name(text: &str) -> bool {
    (1..=253).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
}

pub(super) fn ice_servers(values: &[String]) -> Result<Vec<IceServer>, Vec<String>> {
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

pub(super) fn workers(values: &[String]) -> Result<usize, String> {
    let text = one(values)?;
    text.parse()
        .ok()
        .filter(|workers| *workers <= MAX_WORKERS)
        .ok_or_else(|| format!("{text:?} is not a number of threads from 0 to {MAX_WORKERS}"))
}

pub(super) fn directory(values: &[String]) -> Result<PathBuf, String> {
    match one(values)? {
        "" => Err("is empty".to_owned()),
        text => Ok(PathBuf::from(text)),
    }
}

pub(super) fn file(values: &[String]) -> Result<PathBuf, String> {
    directory(values)
}

/// Base URLs of servers behind the proxy.
pub(super) fn origin_urls(values: &[String]) -> Result<Vec<url::Url>, Vec<String>> {
    each(values, |text| match Origin::url(text)? {
        url if url.path() != "/" => Err(format!("{text:?}: the URL of an origin has no path")),
        url => Ok(url),
    })
}

pub(super) fn switch(values: &[String]) -> Result<bool, String> {
    match one(values)? {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        text => Err(format!("{text:?} is neither true nor false")),
    }
}

/// How many there may be of something.
pub(super) fn count(values: &[String]) -> Result<usize, String> {
    number(values, 0, MOST_PLACES).map(|number| number as usize)
}

/// How many there may be, where none makes no sense.
pub(super) fn places(values: &[String]) -> Result<usize, String> {
    number(values, 1, MOST_PLACES).map(|number| number as usize)
}

/// A whole number in a range.
pub(super) fn number(values: &[String], least: u32, most: u32) -> Result<u32, String> {
    let text = one(values)?;
    let number = text.parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("{text:?} is not a whole number from {least} to {most}"))
}

/// A time in whole seconds, at most a day.
pub(super) fn seconds(values: &[String], least: u32) -> Result<Duration, String> {
    number(values, least, 86_400).map(|seconds| Duration::from_secs(seconds.into()))
}

/// One word of a few.
pub(super) fn choice<T, const N: usize>(values: &[String], known: [(&str, T); N]) -> Result<T, String> {
    let text = one(values)?;
    let words: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
    let mistake = format!("{text:?} is none of: {}", words.join(", "));
    known.into_iter().find(|(word, _)| *word == text).map(|(_, meaning)| meaning).ok_or(mistake)
}

/// Judges each of a list; all mistakes or all values.
fn each<T>(values: &[String], judge: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, Vec<String>> {
    let (mut good, mut mistakes) = (Vec::new(), Vec::new());
    for text in values {
        match judge(text) {
            Ok(value) => good.push(value),
            Err(mistake) => mistakes.push(mistake),
        }
    }
    if mistakes.is_empty() { Ok(good) } else { Err(mistakes) }
}

/// FFmpeg's names of protocols.
pub(super) fn protocols(values: &[String]) -> Result<Vec<String>, Vec<String>> {
    each(values, |text| {
        let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte);
        match !text.is_empty() && text.bytes().all(legal) {
            true => Ok(text.to_owned()),
            false => Err(format!("{text:?} is no protocol of FFmpeg such as rtmp or file (ffmpeg -protocols)")),
        }
    })
}

/// Folders by paths that mean the same wherever the server is started.
pub(super) fn folders(values: &[String]) -> Result<Vec<PathBuf>, Vec<String>> {
    each(values, |text| match PathBuf::from(text) {
        path if path.is_absolute() => Ok(path),
        _ => Err(format!("{text:?} is no absolute path")),
    })
}

pub(super) fn patterns(values: &[String]) -> Result<Vec<Pattern>, Vec<String>> {
    each(values, Pattern::parse)
}

pub(super) fn networks(values: &[String]) -> Result<Vec<IpNet>, Vec<String>> {
    each(values, proxies::parse)
}

/// Admin listeners of proxies.
pub(super) fn joined(values: &[String]) -> Result<Vec<Url>, Vec<String>> {
    if values.len() > MOST_PROXIES {
        return Err(vec![format!("at most {MOST_PROXIES} proxies can be joined")]);
    }
    each(values, |text| {
        Origin::url(text)
            .map_err(|_| format!("{text:?} is no URL of a proxy's admin listener such as http://10.0.0.1:12025"))
    })
}

/// The name of an origin.
pub(super) fn origin_id(values: &[String]) -> Result<OriginId, String> {
    let text = one(values)?;
    OriginId::parse(text).ok_or_else(|| format!("{text:?} is not 1 to 128 of letters, digits and . _ : - [ ]"))
}

/// Origins as browsers write them; `*` alone is all of them, as none is.
pub(super) fn origins(values: &[String]) -> Result<Vec<String>, Vec<String>> {
    if matches!(values, [all] if all == "*") {
        return Ok(Vec::new());
    }
    each(values, origin)
}

fn origin(text: &str) -> Result<String, String> {
    let mistake = || format!("{text:?} is no origin such as https://example.net or http://localhost:3000");
    let lower = text.to_ascii_lowercase();
    let (scheme, host) = lower.split_once("://").ok_or_else(mistake)?;
    let authority: Authority = host.parse().map_err(|_| mistake())?;
    let name = authority.host();
    let is_host = is_host_name(name) || (name.starts_with('[') && literal(name).is_some());
    let is_plain = host.strip_prefix(name).is_some_and(|port| port.is_empty() || authority.port_u16().is_some());
    if !is_host || !is_plain || !["http", "https"].contains(&scheme) {
        return Err(mistake());
    }
    // A browser never writes the port that the scheme means anyway.
    let default = if scheme == "http" { ":80" } else { ":443" };
    Ok(lower.strip_suffix(default).unwrap_or(&lower).to_owned())
}
