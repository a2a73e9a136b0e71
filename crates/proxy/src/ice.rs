//! ICE's short-term credentials, as both sides of a session told them in offer and answer (RFC 8445 section 5.3, RFC 8839
//! section 5.4).

use std::borrow::Borrow;
use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::Zeroizing;

/// ufrag and password of one side in one ICE generation. The password is wiped on drop, and no `Debug` shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    ufrag: Box<str>,
    pwd: Zeroizing<Box<str>>,
}

/// Why two texts are no credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CredentialsError {
    /// Not 4 to 256 ice-chars.
    #[error("the ice-ufrag is not 4 to 256 letters, digits, + or /")]
    Ufrag,
    /// Not 22 to 256 ice-chars.
    #[error("the ice-pwd is not 22 to 256 letters, digits, + or /")]
    Pwd,
}

impl Credentials {
    /// Judges both by the grammar of RFC 8839 section 5.4.
    ///
    /// # Errors
    /// Which of the two it is not.
    pub fn new(ufrag: &str, pwd: &str) -> Result<Self, CredentialsError> {
        if !is_ice_chars(ufrag, 4) {
            return Err(CredentialsError::Ufrag);
        }
        if !is_ice_chars(pwd, 22) {
            return Err(CredentialsError::Pwd);
        }
        Ok(Self { ufrag: ufrag.into(), pwd: Zeroizing::new(pwd.into()) })
    }

    /// The public half.
    #[must_use]
    pub fn ufrag(&self) -> &str {
        &self.ufrag
    }

    /// The secret half.
    #[must_use]
    pub fn pwd(&self) -> &str {
        &self.pwd
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("ufrag", &self.ufrag).finish_non_exhaustive()
    }
}

/// `ice-char` is a letter, a digit, `+` or `/`. Browsers and servers are known to send `-` and `_` as well, which do
/// no harm in a USERNAME; a colon would.
fn is_ice_chars(text: &str, least: usize) -> bool {
    let is_ice_char = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'=');
    (least..=256).contains(&text.len()) && text.bytes().all(is_ice_char)
}

/// One ICE generation of a session: a restart begins another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    /// What the answer said: the first half of the USERNAME of the client's checks, and their key.
    pub origin: Credentials,
    /// What the offer said: the second half.
    pub client: Credentials,
}

impl Generation {
    /// The USERNAME of the client's connectivity checks (RFC 8445 section 7.2.2).
    #[must_use]
    pub fn pair(&self) -> Pair {
        Pair::of(self.origin.ufrag(), self.client.ufrag())
    }
}

/// `<origin's ufrag>:<client's ufrag>`: what a connectivity check of a client names its session with.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pair(Box<str>);

impl Pair {
    /// Both halves, already judged.
    fn of(origin: &str, client: &str) -> Self {
        Self(format!("{origin}:{client}").into())
    }

    /// A USERNAME as it came: two ufrags of 4 to 256 ice-chars and a colon between them; else `None`.
    #[must_use]
    pub fn parse(username: &[u8]) -> Option<Self> {
        let (origin, client) = std::str::from_utf8(username).ok()?.split_once(':')?;
        (is_ice_chars(origin, 4) && is_ice_chars(client, 4)).then(|| Self::of(origin, client))
    }

    /// As it is on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A USERNAME finds its pair in a map without being copied.
impl Borrow<str> for Pair {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Pair {
    type Error = CredentialsError;

    fn try_from(text: String) -> Result<Self, CredentialsError> {
        Self::parse(text.as_bytes()).ok_or(CredentialsError::Ufrag)
    }
}

impl From<Pair> for String {
    fn from(pair: Pair) -> String {
        pair.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_judged_by_the_grammar_and_keep_their_password_to_themselves() {
        let pwd = "p".repeat(22);
        assert!(Credentials::new("abcd", &pwd).is_ok());
        assert_eq!(Credentials::new("abc", &pwd), Err(CredentialsError::Ufrag));
        assert_eq!(Credentials::new("ab:cd", &pwd), Err(CredentialsError::Ufrag));
        assert_eq!(Credentials::new("abcd", &pwd[1..]), Err(CredentialsError::Pwd));
        assert_eq!(Credentials::new("abcd", &"p".repeat(257)), Err(CredentialsError::Pwd));
        let shown = format!("{:?}", Credentials::new("abcd", &"secret".repeat(4)));
        assert!(shown.contains("abcd") && !shown.contains("secret"), "{shown}");
    }

    #[test]
    fn a_pair_is_two_whole_ufrags() {
        assert_eq!(Pair::parse(b"abcd:efgh").map(String::from).as_deref(), Some("abcd:efgh"));
        for wrong in [&b"abcdefgh"[..], b"abc:efgh", b"abcd:", b"abcd:efgh:ijkl", b"abcd:ef\xffgh", b""] {
            assert_eq!(Pair::parse(wrong), None, "{wrong:?}");
        }
    }
}
