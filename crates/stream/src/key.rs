//! Names: of streams, as people choose them, and of sessions, as logs and the API show them.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The name of a stream: 1 to 128 characters of `[A-Za-z0-9._-]`, not `.` and not `..`. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamKey(Arc<str>);

/// A text that is no stream name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// No character at all.
    #[error("a stream name has at least one character")]
    Empty,
    /// More than [`StreamKey::MAX_LEN`] bytes.
    #[error("a stream name has at most {} characters", StreamKey::MAX_LEN)]
    TooLong,
    /// A character outside `[A-Za-z0-9._-]`, at this byte.
    #[error("a stream name consists of letters, digits, '.', '_' and '-'; see byte {0}")]
    Character(usize),
    /// `.` or `..`, which a path would swallow.
    #[error("'.' and '..' are no stream names")]
    Dots,
}

impl StreamKey {
    /// The longest name: it has to fit a file name and a log line.
    pub const MAX_LEN: usize = 128;

    /// Checks a name. It is taken as it is: percent-decoding is the caller's, once.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(name: &str) -> Result<Self, InvalidKey> {
        if name.is_empty() {
            return Err(InvalidKey::Empty);
        }
        if name.len() > Self::MAX_LEN {
            return Err(InvalidKey::TooLong);
        }
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if let Some(at) = name.bytes().position(|byte| !legal(byte)) {
            return Err(InvalidKey::Character(at));
        }
        if matches!(name, "." | "..") {
            return Err(InvalidKey::Dots);
        }
        Ok(Self(name.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for StreamKey {
    type Err = InvalidKey;

    fn from_str(name: &str) -> Result<Self, InvalidKey> {
        Self::parse(name)
    }
}

impl Borrow<str> for StreamKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// The public name of a session, 16 hex digits in text. It names the session in logs and the API and is no secret: it
/// opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

/// A text that is no session id: not exactly 16 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a session id is 16 hex digits")]
pub struct InvalidSessionId;

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for SessionId {
    type Err = InvalidSessionId;

    fn from_str(text: &str) -> Result<Self, InvalidSessionId> {
        // from_str_radix alone would take a sign.
        if text.len() != 16 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(InvalidSessionId);
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| InvalidSessionId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_names_are_checked() {
        let long = "a".repeat(129);
        for (name, expected) in [
            ("demo", Ok(())),
            ("A.b_c-9", Ok(())),
            ("...", Ok(())),
            (&long[..128], Ok(())),
            ("", Err(InvalidKey::Empty)),
            (&long, Err(InvalidKey::TooLong)),
            (".", Err(InvalidKey::Dots)),
            ("..", Err(InvalidKey::Dots)),
            ("a/b", Err(InvalidKey::Character(1))),
            ("a%2e", Err(InvalidKey::Character(1))),
            ("straße", Err(InvalidKey::Character(4))),
            ("a\0", Err(InvalidKey::Character(1))),
            ("a b", Err(InvalidKey::Character(1))),
        ] {
            assert_eq!(StreamKey::parse(name).map(|_| ()), expected, "{name:?}");
        }
    }

    #[test]
    fn session_ids_read_back() {
        for id in [SessionId(0), SessionId(0xdead_beef), SessionId(u64::MAX)] {
            assert_eq!(id.to_string().len(), 16);
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        for text in ["", "1", "+00000000000000a", "00000000000000000", "000000000000000g"] {
            assert_eq!(text.parse::<SessionId>(), Err(InvalidSessionId), "{text:?}");
        }
    }
}
