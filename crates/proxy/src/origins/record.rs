//! What is kept of an origin, and the text it is stored as.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::{Host, Url};

use crate::record::{OriginId, RecordError};

/// Origins that are known at once, in one proxy and in the registry. One more is refused.
pub const MOST_ORIGINS: usize = 1000;

/// The version of the record that this program writes, and the only one it reads.
const VERSION: u32 = 1;

/// Longer than what any proxy writes.
const MOST_BYTES: usize = 4096;

/// Heartbeats come neither more often nor more rarely than that, whatever an origin says.
const INTERVALS: std::ops::RangeInclusive<u64> = 500..=60_000;

/// An origin is gone after so many intervals without a heartbeat.
const LEASE: u32 = 3;

/// What an origin speaks, and so which URLs it is asked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// This program.
    Whipstitch,
    /// SRS, with its own URLs.
    Srs,
    /// Any other server of WHIP and WHEP.
    Whip,
}

impl Kind {
    /// As it is written in records, lists and logs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Whipstitch => "whipstitch",
            Self::Srs => "srs",
            Self::Whip => "whip",
        }
    }
}

/// One server behind the proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Its name among all.
    pub id: OriginId,
    /// Where its HTTP is: scheme, host and port; no path that matters, no query, no credentials.
    pub url: Url,
    /// What it speaks.
    pub kind: Kind,
    /// Where it takes media, if it said so; else its answers say it.
    pub rtc: Option<SocketAddr>,
}

impl Origin {
    /// Judges a URL of an origin.
    ///
    /// # Errors
    /// What is wrong with it, in words for whoever wrote it.
    pub fn url(text: &str) -> Result<Url, String> {
        let url = Url::parse(text).map_err(|error| format!("{text:?} is no URL: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(format!("{text:?} is no URL such as http://10.0.0.2:8555"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("the URL of an origin has no user and no password".to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(format!("{text:?}: the URL of an origin has no query and no fragment"));
        }
        if url.port_or_known_default() == Some(0) {
            return Err(format!("{text:?}: port 0 is nobody's"));
        }
        Ok(url)
    }

    /// One that is given by its URL: its id is host and port.
    #[must_use]
    pub fn given(url: Url, kind: Kind) -> Option<Self> {
        let host = match url.host()? {
            Host::Ipv6(ip) => format!("[{ip}]"),
            host => host.to_string(),
        };
        let id = OriginId::parse(&format!("{host}:{}", url.port_or_known_default()?))?;
        Some(Self { id, url, kind, rtc: None })
    }
}

/// What an origin says of how much it does. Shares are found by what it says it can do, where it does.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Load {
    /// Share of the cores it may use, 0 to 1.
    pub cpu: f32,
    /// Media it sends, in bit/s.
    pub egress_bps: u64,
    /// What it can send, in bit/s; 0 is not known.
    pub egress_capacity_bps: u64,
    /// Sessions it has.
    pub sessions: u32,
    /// Sessions it can have; 0 is not known.
    pub sessions_capacity: u32,
    /// Streams it has.
    pub streams: u32,
}

impl Load {
    /// Whether the origin said anything of it: SRS does not, nor does one that is given.
    #[must_use]
    pub fn is_told(&self) -> bool {
        *self != Self::default()
    }

    /// Whether the numbers can be meant.
    #[must_use]
    pub fn is_sane(&self) -> bool {
        (0.0..=1.0).contains(&self.cpu)
    }
}

/// An origin that registered, as every proxy knows it.
#[derive(Debug, Clone, PartialEq)]
pub struct OriginRecord {
    /// Who it is, and where.
    pub origin: Origin,
    /// What it does.
    pub load: Load,
    /// Whether it takes no more sessions, by its own word.
    pub draining: bool,
    /// Between two heartbeats.
    pub interval: Duration,
    /// Which run of which program calls itself by this id: two at once are a mistake of the operator.
    pub instance: String,
}

#[derive(Deserialize)]
struct Versioned {
    v: u32,
}

#[derive(Serialize, Deserialize)]
struct Written {
    v: u32,
    id: OriginId,
    http: String,
    kind: Kind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rtc: Option<SocketAddr>,
    load: Load,
    draining: bool,
    interval_ms: u64,
    instance: String,
}

impl OriginRecord {
    /// How long a heartbeat is good for: three intervals.
    #[must_use]
    pub fn lease(&self) -> Duration {
        self.interval * LEASE
    }

    /// After this time without a heartbeat it is suspect: half an interval late.
    #[must_use]
    pub fn late(&self) -> Duration {
        self.interval * 3 / 2
    }

    /// The time between heartbeats as it is kept: what an origin says, within bounds.
    #[must_use]
    pub fn interval(said: Duration) -> Duration {
        let ms = u64::try_from(said.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(ms.clamp(*INTERVALS.start(), *INTERVALS.end()))
    }

    /// The record as text, with its version.
    ///
    /// # Panics
    /// Never: nothing in it can fail to be JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        let written = Written {
            v: VERSION,
            id: self.origin.id.clone(),
            http: self.origin.url.to_string(),
            kind: self.origin.kind,
            rtc: self.origin.rtc,
            load: self.load,
            draining: self.draining,
            interval_ms: u64::try_from(self.interval.as_millis()).unwrap_or(u64::MAX),
            instance: self.instance.clone(),
        };
        serde_json::to_string(&written).expect("strings and numbers are JSON")
    }

    /// Reads what [`OriginRecord::to_json`] wrote, judging everything.
    ///
    /// # Errors
    /// Another version, or anything that no proxy wrote.
    pub fn from_json(text: &str) -> Result<Self, RecordError> {
        let malformed = RecordError::Malformed;
        if text.len() > MOST_BYTES {
            return Err(malformed);
        }
        let Versioned { v } = serde_json::from_str(text).map_err(|_| RecordError::Malformed)?;
        if v != VERSION {
            return Err(RecordError::Version(v));
        }
        let written: Written = serde_json::from_str(text).map_err(|_| RecordError::Malformed)?;
        let url = Origin::url(&written.http).map_err(|_| RecordError::Malformed)?;
        let has_no_media = written.rtc.is_some_and(|rtc| rtc.port() == 0 || rtc.ip().is_unspecified());
        if has_no_media
            || !written.load.is_sane()
            || !INTERVALS.contains(&written.interval_ms)
            || !is_instance(&written.instance)
        {
            return Err(malformed);
        }
        Ok(Self {
            origin: Origin { id: written.id, url, kind: written.kind, rtc: written.rtc },
            load: written.load,
            draining: written.draining,
            interval: Duration::from_millis(written.interval_ms),
            instance: written.instance,
        })
    }
}

/// Up to 64 letters, digits, `-` and `_`; nothing is nobody in particular.
pub(crate) fn is_instance(text: &str) -> bool {
    text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An origin that sends a heartbeat each two seconds.
    pub(crate) fn record(id: &str) -> OriginRecord {
        OriginRecord {
            origin: Origin {
                id: OriginId::parse(id).expect("an id"),
                url: Origin::url("http://10.0.0.2:8555").expect("a URL"),
                kind: Kind::Whipstitch,
                rtc: Some(SocketAddr::from(([10, 0, 0, 2], 8189))),
            },
            load: Load { cpu: 0.25, sessions: 7, ..Load::default() },
            draining: false,
            interval: Duration::from_secs(2),
            instance: "1".to_owned(),
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let record = record("a");
        assert_eq!(OriginRecord::from_json(&record.to_json()), Ok(record.clone()));
        let other = record.to_json().replacen("\"v\":1", "\"v\":2", 1);
        assert_eq!(OriginRecord::from_json(&other), Err(RecordError::Version(2)));
    }

    #[test]
    fn what_no_proxy_wrote_is_no_record() {
        let good = record("a").to_json();
        for (from, to) in [
            ("http://10.0.0.2:8555/", "redis://10.0.0.2/"),
            ("http://10.0.0.2:8555/", "http://user:secret@10.0.0.2/"),
            ("http://10.0.0.2:8555/", "http://10.0.0.2/?x"),
            ("10.0.0.2:8189", "10.0.0.2:0"),
            ("10.0.0.2:8189", "0.0.0.0:8189"),
            ("\"cpu\":0.25", "\"cpu\":2.0"),
            ("\"cpu\":0.25", "\"cpu\":-1"),
            ("\"interval_ms\":2000", "\"interval_ms\":0"),
            ("\"interval_ms\":2000", "\"interval_ms\":86400000"),
            ("\"instance\":\"1\"", "\"instance\":\"<b>\""),
            ("\"id\":\"a\"", "\"id\":\"a b\""),
            ("\"v\":1", "\"w\":1"),
        ] {
            let broken = good.replacen(from, to, 1);
            assert_ne!(broken, good, "{from}");
            assert_eq!(OriginRecord::from_json(&broken), Err(RecordError::Malformed), "{to}");
        }
        assert_eq!(OriginRecord::from_json(&format!("{good}{}", " ".repeat(5000))), Err(RecordError::Malformed));
    }

    #[test]
    fn an_origin_given_by_url_is_named_by_host_and_port() {
        for (url, id) in [
            ("http://10.0.0.2:8555", "10.0.0.2:8555"),
            ("https://cam.example.net", "cam.example.net:443"),
            ("http://[2001:db8::1]:1985/", "[2001:db8::1]:1985"),
        ] {
            let origin = Origin::given(Origin::url(url).unwrap(), Kind::Whip).unwrap();
            assert_eq!(origin.id.as_str(), id);
        }
    }
}
