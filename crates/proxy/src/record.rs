//! What is kept of a session, in the memory of one proxy or in the registry that several share.

use std::fmt;
use std::net::SocketAddr;

use aws_lc_rs::rand;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::ice::{Credentials, CredentialsError, Generation, Pair};

/// The version of the record that this program writes, and the only one it reads.
const VERSION: u32 = 1;

/// Longer than what any origin says; what is longer was not written by a proxy.
const MOST_BYTES: usize = 16 * 1024;

/// The proxy's own name of a session, in its URL: 128 random bits, so that it is its own capability.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SessionId(String);

impl SessionId {
    /// A new one.
    ///
    /// # Panics
    /// When the system has no random numbers.
    #[must_use]
    pub fn random() -> Self {
        let mut bytes = [0; 16];
        rand::fill(&mut bytes).expect("the system has random numbers");
        Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Reads 32 hexadecimal digits, lower case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (text.len() == 32 && text.bytes().all(is_digit)).then(|| Self(text.to_owned()))
    }

    /// For URLs and keys; whoever has it may end the session, so it does not belong in a log.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SessionId {
    /// Enough to tell sessions apart, too little to use one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}…", &self.0[..8])
    }
}

impl TryFrom<String> for SessionId {
    type Error = RecordError;

    fn try_from(text: String) -> Result<Self, RecordError> {
        Self::parse(&text).ok_or(RecordError::Malformed)
    }
}

impl From<SessionId> for String {
    fn from(id: SessionId) -> String {
        id.0
    }
}

/// Names an origin among all: what it registered with, or for one given by URL its host and port.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OriginId(String);

impl OriginId {
    /// 1 to 128 of `A-Z a-z 0-9 . _ : - [ ]`; else `None`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_allowed =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'-' | b'[' | b']');
        ((1..=128).contains(&text.len()) && text.bytes().all(is_allowed)).then(|| Self(text.to_owned()))
    }

    /// As it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for OriginId {
    type Error = RecordError;

    fn try_from(text: String) -> Result<Self, RecordError> {
        Self::parse(&text).ok_or(RecordError::Malformed)
    }
}

impl From<OriginId> for String {
    fn from(id: OriginId) -> String {
        id.0
    }
}

/// Which way media goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sends to the origin.
    Publisher,
    /// Gets from the origin.
    Viewer,
}

/// What any proxy must know to route a session and to forward requests about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its name in the proxy's URLs.
    pub id: SessionId,
    /// Name of the stream.
    pub stream: String,
    /// Which way media goes.
    pub role: Role,
    /// Which origin answered; no other is ever asked about this session.
    pub origin: OriginId,
    /// Where that origin takes media.
    pub rtc: SocketAddr,
    /// One or, while an ICE restart is under way, two; the newest last.
    pub generations: Vec<Generation>,
    /// The absolute URL of the session at the origin: a capability, not for logs or lists.
    pub resource: String,
    /// The entity tag of its ICE generation, as the origin gave it (RFC 9725 section 4.3.1).
    pub etag: Option<String>,
    /// Milliseconds since 1970.
    pub created_ms: u64,
}

/// Why a text is no record of a session.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RecordError {
    /// Written by another version of this program, whose meaning is not known.
    #[error("the record has version {0}, this program knows {VERSION}")]
    Version(u32),
    /// No JSON of the right shape, too long, or a value that cannot be.
    #[error("the record is malformed")]
    Malformed,
    /// Its ICE credentials are none.
    #[error("the record is malformed: {0}")]
    Credentials(#[from] CredentialsError),
}

/// First of all the version, so that another one can be told from garbage.
#[derive(Deserialize)]
struct Versioned {
    v: u32,
}

#[derive(Serialize, Deserialize)]
struct Written {
    v: u32,
    id: SessionId,
    stream: String,
    role: Role,
    origin: OriginId,
    rtc: SocketAddr,
    ice: Vec<WrittenGeneration>,
    resource: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    created_ms: u64,
}

#[derive(Serialize, Deserialize)]
struct WrittenGeneration {
    origin: (String, String),
    client: (String, String),
}

impl Session {
    /// The names that checks of this session use, the newest last.
    pub fn pairs(&self) -> impl Iterator<Item = Pair> + '_ {
        self.generations.iter().map(Generation::pair)
    }

    /// The record as text, with its version.
    ///
    /// # Panics
    /// Never: nothing in it can fail to be JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        let both = |credentials: &Credentials| (credentials.ufrag().to_owned(), credentials.pwd().to_owned());
        let written = Written {
            v: VERSION,
            id: self.id.clone(),
            stream: self.stream.clone(),
            role: self.role,
            origin: self.origin.clone(),
            rtc: self.rtc,
            ice: self
                .generations
                .iter()
                .map(|generation| WrittenGeneration {
                    origin: both(&generation.origin),
                    client: both(&generation.client),
                })
                .collect(),
            resource: self.resource.clone(),
            etag: self.etag.clone(),
            created_ms: self.created_ms,
        };
        serde_json::to_string(&written).expect("strings and numbers are JSON")
    }

    /// Reads what [`Session::to_json`] wrote, judging everything: whoever can write to the registry may not be one of us.
    ///
    /// # Errors
    /// Another version, or anything that no proxy wrote.
    pub fn from_json(text: &str) -> Result<Self, RecordError> {
        if text.len() > MOST_BYTES {
            return Err(RecordError::Malformed);
        }
        let Versioned { v } = serde_json::from_str(text).map_err(|_| RecordError::Malformed)?;
        if v != VERSION {
            return Err(RecordError::Version(v));
        }
        let written: Written = serde_json::from_str(text).map_err(|_| RecordError::Malformed)?;
        if !(1..=2).contains(&written.ice.len()) || written.rtc.port() == 0 || written.rtc.ip().is_unspecified() {
            return Err(RecordError::Malformed);
        }
        let read = |(ufrag, pwd): &(String, String)| Credentials::new(ufrag, pwd);
        let generations = written
            .ice
            .iter()
            .map(|ice| Ok(Generation { origin: read(&ice.origin)?, client: read(&ice.client)? }))
            .collect::<Result<_, CredentialsError>>()?;
        Ok(Self {
            id: written.id,
            stream: written.stream,
            role: written.role,
            origin: written.origin,
            rtc: written.rtc,
            generations,
            resource: written.resource,
            etag: written.etag,
            created_ms: written.created_ms,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session {
        let of = |ufrag: &str| Credentials::new(ufrag, &ufrag.repeat(6)).expect("a ufrag and a password");
        Session {
            id: SessionId::random(),
            stream: "camera".to_owned(),
            role: Role::Viewer,
            origin: OriginId::parse("10.0.0.2:8555").expect("an id"),
            rtc: SocketAddr::from(([10, 0, 0, 2], 8189)),
            generations: vec![
                Generation { origin: of("aaaa"), client: of("bbbb") },
                Generation { origin: of("cccc"), client: of("dddd") },
            ],
            resource: "http://10.0.0.2:8555/whep/camera/0123".to_owned(),
            etag: Some("\"1\"".to_owned()),
            created_ms: 7,
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let session = session();
        assert_eq!(Session::from_json(&session.to_json()), Ok(session.clone()));
        let pairs: Vec<_> = session.pairs().map(String::from).collect();
        assert_eq!(pairs, ["aaaa:bbbb", "cccc:dddd"]);
    }

    #[test]
    fn another_version_and_garbage_are_errors() {
        let good = session().to_json();
        assert_eq!(Session::from_json(&good.replace("\"v\":1", "\"v\":2")), Err(RecordError::Version(2)));
        let poisoned = [
            String::new(),
            "{}".to_owned(),
            good.replace("10.0.0.2:8189", "0.0.0.0:8189"),
            good.replace("\"aaaa\"", "\"a:aa\""),
            good.replace("\"viewer\"", "\"root\""),
            good.replace("camera", &"c".repeat(MOST_BYTES)),
        ];
        for text in poisoned {
            assert!(Session::from_json(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_secret_is_not_shown() {
        let session = session();
        let shown = format!("{:?}", (&session.id, &session.generations));
        assert!(!shown.contains(session.id.as_str()) && !shown.contains("aaaaaa"), "{shown}");
    }
}
