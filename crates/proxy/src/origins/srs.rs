//! `POST /api/v1/srs/register`: what SRS sends to the address of its heartbeat (S4-R12).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::Deserialize;
use url::Url;

use super::heartbeat::Malformed;
use super::record::{Kind, Load, Origin, OriginRecord};
use crate::record::OriginId;

/// SRS says nothing of it; 9.3 s is what its configuration has when nothing else is written.
const INTERVAL: Duration = Duration::from_secs(10);

/// Endpoints of one kind that are looked at.
const MOST_ENDPOINTS: usize = 16;

#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    ip: String,
    #[serde(default)]
    server: String,
    #[serde(default)]
    service: String,
    #[serde(default)]
    pid: serde_json::Value,
    #[serde(default)]
    api: Vec<String>,
    #[serde(default)]
    rtc: Vec<String>,
}

/// Reads a registration that came from `peer`, whose address is taken where SRS tells none that others could use.
///
/// # Errors
/// What is wrong with it.
pub fn parse(body: &[u8], peer: IpAddr) -> Result<OriginRecord, Malformed> {
    let said: Said = serde_json::from_slice(body).map_err(|error| format!("no registration of SRS: {error}"))?;
    let ip = match said.ip.as_str() {
        "" => peer,
        text => text.parse().map_err(|_| format!("ip: {text:?} is no IP address"))?,
    };
    let ip = if ip.is_unspecified() { peer.to_canonical() } else { ip.to_canonical() };
    let api = first(&said.api, "api", ip)?
        .ok_or_else(|| "api: SRS does not say where its HTTP API is: `heartbeat` needs `ports on;` (SRS 5.0.215 or later), and `http_api` has to be enabled".to_owned())?;
    let rtc = first(&said.rtc, "rtc", ip)?;
    let url: Url = format!("http://{api}").parse().map_err(|_| "api: no address".to_owned())?;
    let id = OriginId::parse(&api.to_string()).ok_or_else(|| "ip and api: no name of an origin".to_owned())?;
    Ok(OriginRecord {
        origin: Origin { id, url, kind: Kind::Srs, rtc },
        load: Load::default(),
        draining: false,
        interval: INTERVAL,
        instance: instance(&[&said.server, &said.service, &said.pid.to_string()]),
    })
}

/// What tells two runs apart: SRS's names for itself, of which nothing else is used.
fn instance(parts: &[&str]) -> String {
    let legal = |c: &char| c.is_ascii_alphanumeric() || *c == '-';
    let parts: Vec<String> = parts.iter().map(|part| part.chars().filter(legal).take(20).collect()).collect();
    parts.join("_")
}

/// The first endpoint: a port, `address:port` or `protocol://address:port`.
fn first(endpoints: &[String], what: &str, ip: IpAddr) -> Result<Option<SocketAddr>, Malformed> {
    if endpoints.len() > MOST_ENDPOINTS {
        return Err(Malformed(format!("{what}: more than {MOST_ENDPOINTS} endpoints")));
    }
    endpoints
        .first()
        .map(|text| endpoint(text, ip).ok_or_else(|| Malformed(format!("{what}: {text:?} has no port"))))
        .transpose()
}

fn endpoint(text: &str, ip: IpAddr) -> Option<SocketAddr> {
    let bare = text.split_once("://").map_or(text, |(_, rest)| rest);
    let address = match bare.parse::<SocketAddr>() {
        Ok(address) if !address.ip().is_unspecified() => address,
        Ok(address) => SocketAddr::new(ip, address.port()),
        Err(_) => SocketAddr::new(ip, bare.strip_prefix(':').unwrap_or(bare).parse().ok()?),
    };
    (address.port() != 0).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<OriginRecord, Malformed> {
        parse(body.as_bytes(), IpAddr::from([10, 0, 0, 9]))
    }

    #[test]
    fn a_registration_of_srs_is_an_origin() {
        let record = read(
            r#"{"device_id":"d","ip":"10.0.0.3","server":"vid-1","service":"s","pid":"77","rtmp":["1935"],
                "http":["8080"],"api":["1985"],"srt":["10080"],"rtc":["udp://0.0.0.0:8000"]}"#,
        )
        .unwrap();
        assert_eq!(record.origin.id.as_str(), "10.0.0.3:1985");
        assert_eq!(record.origin.url.as_str(), "http://10.0.0.3:1985/");
        assert_eq!(record.origin.rtc, Some("10.0.0.3:8000".parse().unwrap()));
        assert_eq!(record.origin.kind, Kind::Srs);
        assert_eq!(record.lease(), Duration::from_secs(30));
        assert_eq!(OriginRecord::from_json(&record.to_json()), Ok(record));
        let v6 = read(r#"{"ip":"2001:db8::1","pid":7,"api":["tcp://[::]:1985"],"rtc":[":8000"]}"#).unwrap();
        assert_eq!(v6.origin.url.as_str(), "http://[2001:db8::1]:1985/");
        assert_eq!(v6.origin.rtc, Some("[2001:db8::1]:8000".parse().unwrap()));
        let bare = read(r#"{"api":["1985"]}"#).unwrap();
        assert_eq!((bare.origin.id.as_str(), bare.origin.rtc), ("10.0.0.9:1985", None));
    }

    #[test]
    fn what_is_wrong_with_it_is_said() {
        for (body, word) in [
            ("{}", "`ports on;`"),
            (r#"{"ip":"host","api":["1985"]}"#, "ip"),
            (r#"{"api":["x"]}"#, "api"),
            (r#"{"api":["0"]}"#, "api"),
            (r#"{"api":["99999"]}"#, "api"),
            (r#"{"api":["1985"],"rtc":["udp://"]}"#, "rtc"),
            (r#"{"api":"1985"}"#, "no registration"),
            ("\u{0}", "no registration"),
        ] {
            let what = read(body).expect_err(body).to_string();
            assert!(what.contains(word), "{body}: {what}");
        }
    }
}
