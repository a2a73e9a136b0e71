//! `POST /api/v1/origins`: what an origin says of itself, as JSON.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::Deserialize;
use url::Host;

use super::record::{Kind, Load, Origin, OriginRecord, is_instance};
use crate::record::OriginId;

/// Names of streams in one heartbeat. An origin that has more names the others in the next ones.
pub const MOST_STREAMS: usize = 1000;

/// How often origins send a heartbeat that do not say it.
const USUAL: Duration = Duration::from_secs(2);

/// What is wrong with a registration, for whoever wrote it. Repeats nothing secret: secrets are not in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed(pub(crate) String);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Malformed {}

impl From<String> for Malformed {
    fn from(what: String) -> Self {
        Self(what)
    }
}

/// One heartbeat.
#[derive(Debug, Clone, PartialEq)]
pub struct Heartbeat {
    /// The origin that sent it.
    pub record: OriginRecord,
    /// Streams that somebody publishes there.
    pub streams: Vec<String>,
}

#[derive(Deserialize)]
struct Said {
    id: String,
    http: String,
    #[serde(default)]
    rtc: Option<String>,
    #[serde(default = "this_program")]
    kind: Kind,
    #[serde(default)]
    load: Load,
    #[serde(default)]
    streams: Vec<String>,
    #[serde(default)]
    draining: bool,
    #[serde(default)]
    interval_seconds: Option<f64>,
    #[serde(default)]
    instance: String,
}

fn this_program() -> Kind {
    Kind::Whipstitch
}

impl Heartbeat {
    /// Reads a heartbeat that came from `peer`, whose address takes the place of an unspecified one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(body: &[u8], peer: IpAddr) -> Result<Self, Malformed> {
        let said: Said = serde_json::from_slice(body).map_err(|error| format!("no heartbeat: {error}"))?;
        let id =
            OriginId::parse(&said.id).ok_or_else(|| "id: 1 to 128 of letters, digits and . _ : - [ ]".to_owned())?;
        let mut url = Origin::url(&said.http).map_err(|what| format!("http: {what}"))?;
        let host = match url.host() {
            Some(Host::Ipv4(ip)) => Some(IpAddr::V4(ip)),
            Some(Host::Ipv6(ip)) => Some(IpAddr::V6(ip)),
            _ => None,
        };
        let host = if host.is_some_and(|ip| ip.is_unspecified()) {
            url.set_ip_host(peer.to_canonical()).map_err(|()| "http: its host cannot be replaced".to_owned())?;
            Some(peer.to_canonical())
        } else {
            host
        };
        let rtc = said.rtc.as_deref().map(|text| media(text, host)).transpose()?.flatten();
        if !said.load.is_sane() {
            return Err(Malformed("load: cpu is a share from 0 to 1".to_owned()));
        }
        if said.streams.len() > MOST_STREAMS {
            return Err(Malformed(format!("streams: more than {MOST_STREAMS} names")));
        }
        if !said.streams.iter().all(|name| is_stream_name(name)) {
            return Err(Malformed("streams: names are 1 to 128 of letters, digits and . _ -".to_owned()));
        }
        if !is_instance(&said.instance) {
            return Err(Malformed("instance: up to 64 letters, digits, - and _".to_owned()));
        }
        let interval = match said.interval_seconds {
            None => USUAL,
            Some(seconds) => {
                Duration::try_from_secs_f64(seconds).map_err(|_| "interval_seconds: no number of seconds".to_owned())?
            }
        };
        let record = OriginRecord {
            origin: Origin { id, url, kind: said.kind, rtc },
            load: said.load,
            draining: said.draining,
            interval: OriginRecord::interval(interval),
            instance: said.instance,
        };
        Ok(Self { record, streams: said.streams })
    }
}

/// Where media goes; an unspecified address is that of HTTP, and nothing at all where that is a name.
fn media(text: &str, host: Option<IpAddr>) -> Result<Option<SocketAddr>, Malformed> {
    let said: SocketAddr =
        text.parse().map_err(|_| format!("rtc: {text:?} is no address and port such as 10.0.0.2:8189"))?;
    if said.port() == 0 {
        return Err(Malformed("rtc: port 0 is nobody's".to_owned()));
    }
    if !said.ip().is_unspecified() {
        return Ok(Some(SocketAddr::new(said.ip().to_canonical(), said.port())));
    }
    Ok(host.map(|ip| SocketAddr::new(ip, said.port())))
}

/// Whether a stream may have this name: `[A-Za-z0-9._-]{1,128}`, not `.` or `..`.
#[must_use]
pub fn is_stream_name(name: &str) -> bool {
    (1..=128).contains(&name.len())
        && !matches!(name, "." | "..")
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: [u8; 4] = [10, 0, 0, 9];

    fn parse(body: &str) -> Result<Heartbeat, Malformed> {
        Heartbeat::parse(body.as_bytes(), IpAddr::from(PEER))
    }

    #[test]
    fn a_heartbeat_is_read_and_the_peer_fills_in_what_the_origin_cannot_know() {
        let heartbeat = parse(
            r#"{"id":"a","http":"http://0.0.0.0:8555","rtc":"0.0.0.0:8189","kind":"whipstitch",
                "load":{"cpu":0.5,"egress_bps":1000,"sessions":3,"streams":1},"streams":["cam"],"draining":true,
                "interval_seconds":2,"something":"new"}"#,
        )
        .unwrap();
        let record = &heartbeat.record;
        assert_eq!(record.origin.url.as_str(), "http://10.0.0.9:8555/");
        assert_eq!(record.origin.rtc, Some("10.0.0.9:8189".parse().unwrap()));
        assert_eq!((record.load.cpu, record.load.sessions, record.draining), (0.5, 3, true));
        assert_eq!((record.lease(), record.late()), (Duration::from_secs(6), Duration::from_secs(3)));
        assert_eq!(heartbeat.streams, ["cam"]);
        let named = parse(r#"{"id":"a","http":"http://origin:8555","rtc":"[::]:8189","kind":"srs"}"#).unwrap();
        assert_eq!((named.record.origin.rtc, named.record.origin.kind), (None, Kind::Srs));
        assert_eq!(named.record.interval, USUAL);
        let v6 = Heartbeat::parse(br#"{"id":"a","http":"http://[::]:1"}"#, "::ffff:10.0.0.1".parse().unwrap()).unwrap();
        assert_eq!(v6.record.origin.url.as_str(), "http://10.0.0.1:1/");
    }

    #[test]
    fn what_is_wrong_with_a_registration_is_said() {
        let many = format!(r#"{{"id":"a","http":"http://h:1","streams":[{}"x"]}}"#, "\"x\",".repeat(MOST_STREAMS));
        for (body, word) in [
            ("", "no heartbeat"),
            ("[]", "no heartbeat"),
            (r#"{"id":"a"}"#, "http"),
            (r#"{"id":"a b","http":"http://h:1"}"#, "id"),
            (r#"{"id":"a","http":"ftp://h:1"}"#, "http"),
            (r#"{"id":"a","http":"http://h:0"}"#, "http"),
            (r#"{"id":"a","http":"http://h:1","rtc":"h:1"}"#, "rtc"),
            (r#"{"id":"a","http":"http://h:1","rtc":"1.2.3.4:0"}"#, "rtc"),
            (r#"{"id":"a","http":"http://h:1","load":{"cpu":7}}"#, "cpu"),
            (r#"{"id":"a","http":"http://h:1","load":{"sessions":-1}}"#, "no heartbeat"),
            (r#"{"id":"a","http":"http://h:1","streams":["../x"]}"#, "streams"),
            (r#"{"id":"a","http":"http://h:1","streams":[".."]}"#, "streams"),
            (r#"{"id":"a","http":"http://h:1","kind":"rtmp"}"#, "kind"),
            (r#"{"id":"a","http":"http://h:1","interval_seconds":-2}"#, "interval_seconds"),
            (r#"{"id":"a","http":"http://h:1","instance":"a b"}"#, "instance"),
            (&many, "1000"),
        ] {
            let what = parse(body).expect_err(body).to_string();
            assert!(what.contains(word) || word == "kind", "{body}: {what}");
        }
        let slow = parse(r#"{"id":"a","http":"http://h:1","interval_seconds":1e9}"#).unwrap();
        assert_eq!(slow.record.interval, Duration::from_secs(60), "nobody is alive for years");
    }
}
