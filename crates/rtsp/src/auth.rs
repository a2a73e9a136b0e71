//! What a player shows for itself: Basic (RFC 7617) or Digest with MD5 and without `qop` (RFC 2617 2.1: the form that every
//! player knows). The password is a token; the user name means nothing.
//!
//! Basic says the password to whoever listens, so it counts between programs of one machine only. A nonce is one
//! connection's: what was heard of one is of no use on another.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use md5::{Digest as _, Md5};
use subtle::ConstantTimeEq as _;

const REALM: &str = "whipstitch";

/// What came in `Authorization`.
#[derive(Debug)]
pub(crate) enum Credential<'a> {
    /// Nothing, or nothing of use.
    None,
    /// A password. It has no way out but [`Proof`].
    Basic(Password),
    /// A digest.
    Digest(Digest<'a>),
}

/// A password somebody sent.
pub(crate) struct Password(String);

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(…)")
    }
}

/// The fields of a digest.
#[derive(Debug, Default)]
pub(crate) struct Digest<'a> {
    username: &'a str,
    realm: &'a str,
    nonce: &'a str,
    /// The URI it was made for.
    pub(crate) uri: &'a str,
    response: &'a str,
}

/// Shows whether a player knows a password.
pub struct Proof<'a>(Shown<'a>);

enum Shown<'a> {
    Password(&'a str),
    Digest { digest: &'a Digest<'a>, method: &'a str },
}

impl Proof<'_> {
    /// Whether the player knows this one. Takes the same time for each of the same length.
    pub fn of(&self, password: &str) -> bool {
        match self.0 {
            Shown::Password(shown) => shown.as_bytes().ct_eq(password.as_bytes()).into(),
            Shown::Digest { digest, method } => {
                let expected = digest.expected(method, password);
                digest.response.to_ascii_lowercase().as_bytes().ct_eq(expected.as_bytes()).into()
            }
        }
    }
}

impl<'a> Credential<'a> {
    /// Reads the field of a request.
    pub(crate) fn parse(field: Option<&'a str>) -> Credential<'a> {
        let Some((scheme, rest)) = field.and_then(|field| field.trim().split_once(' ')) else {
            return Credential::None;
        };
        if scheme.eq_ignore_ascii_case("basic") {
            let text = BASE64_STANDARD.decode(rest.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let password = text.and_then(|text| text.split_once(':').map(|(_, password)| password.to_owned()));
            return password.map_or(Credential::None, |password| Credential::Basic(Password(password)));
        }
        if scheme.eq_ignore_ascii_case("digest") {
            return digest(rest).map_or(Credential::None, Credential::Digest);
        }
        Credential::None
    }

    /// What can be tried with it: Basic on this machine, and a digest of this connection's nonce.
    pub(crate) fn proof<'p>(&'p self, method: &'p str, nonce: &str, on_this_machine: bool) -> Option<Proof<'p>> {
        match self {
            Credential::Basic(Password(password)) if on_this_machine => Some(Proof(Shown::Password(password))),
            Credential::Digest(digest) if digest.nonce == nonce && digest.realm == REALM => {
                Some(Proof(Shown::Digest { digest, method }))
            }
            _ => None,
        }
    }

    /// A digest of another connection's nonce: the player need not ask its user again.
    pub(crate) fn is_stale(&self, nonce: &str) -> bool {
        matches!(self, Credential::Digest(digest) if digest.nonce != nonce)
    }
}

impl Digest<'_> {
    fn expected(&self, method: &str, password: &str) -> String {
        let known = hex_md5(&[self.username, self.realm, password]);
        hex_md5(&[&known, self.nonce, &hex_md5(&[method, self.uri])])
    }
}

/// The values of `WWW-Authenticate`, one line each.
pub(crate) fn challenges(nonce: &str, stale: bool, on_this_machine: bool) -> Vec<String> {
    let stale = if stale { ", stale=true" } else { "" };
    let digest = format!("Digest realm=\"{REALM}\", nonce=\"{nonce}\"{stale}");
    let basic = on_this_machine.then(|| format!("Basic realm=\"{REALM}\""));
    std::iter::once(digest).chain(basic).collect()
}

fn hex_md5(parts: &[&str]) -> String {
    let mut md5 = Md5::new();
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            md5.update(b":");
        }
        md5.update(part);
    }
    md5.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// RFC 2617 3.2.2: `name=value` or `name="value"`, with commas between.
fn digest(mut rest: &str) -> Option<Digest<'_>> {
    let mut digest = Digest::default();
    loop {
        rest = rest.trim_start_matches([' ', ',', '\t']);
        if rest.is_empty() {
            break;
        }
        let (name, after) = rest.split_once('=')?;
        let value;
        if let Some(quoted) = after.strip_prefix('"') {
            (value, rest) = quoted.split_once('"')?;
        } else {
            (value, rest) = after.split_once(',').unwrap_or((after, ""));
        }
        match name.trim().to_ascii_lowercase().as_str() {
            "username" => digest.username = value,
            "realm" => digest.realm = value,
            "nonce" => digest.nonce = value,
            "uri" => digest.uri = value,
            "response" => digest.response = value.trim(),
            "algorithm" if !value.trim().eq_ignore_ascii_case("md5") => return None,
            // Not offered, so whoever uses it has not read the challenge.
            "qop" => return None,
            _ => {}
        }
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proven(field: &str, nonce: &str, local: bool, password: &str) -> Option<bool> {
        let credential = Credential::parse(Some(field));
        credential.proof("DESCRIBE", nonce, local).map(|proof| proof.of(password))
    }

    #[test]
    fn a_password_in_the_clear_counts_on_this_machine_only() {
        // user:secret
        let field = "basic dXNlcjpzZWNyZXQ=";
        assert_eq!(proven(field, "n", true, "secret"), Some(true));
        assert_eq!(proven(field, "n", true, "secre"), Some(false));
        assert_eq!(proven(field, "n", false, "secret"), None);
        for field in ["Basic", "Basic !", "Basic dXNlcg==", "Bearer secret", ""] {
            assert!(proven(field, "n", true, "secret").is_none(), "{field}");
        }
    }

    #[test]
    fn a_digest_proves_the_password_for_its_nonce() {
        // By md5sum: HA1 of u:whipstitch:secret, HA2 of DESCRIBE:rtsp://h/live/cam.
        let (first, second) = (hex_md5(&["u", "whipstitch", "secret"]), hex_md5(&["DESCRIBE", "rtsp://h/live/cam"]));
        let response = hex_md5(&[&first, "n1", &second]);
        let field = |extra: &str| {
            format!(
                "Digest username=\"u\", realm=\"whipstitch\", nonce=\"n1\", uri=\"rtsp://h/live/cam\", response=\"{response}\"{extra}"
            )
        };
        assert_eq!(proven(&field(""), "n1", false, "secret"), Some(true));
        assert_eq!(proven(&field(", algorithm=MD5"), "n1", false, "secret"), Some(true));
        assert_eq!(proven(&field(""), "n1", false, "other"), Some(false));
        assert_eq!(proven(&field(""), "n2", false, "secret"), None, "another connection's nonce");
        assert!(Credential::parse(Some(&field(""))).is_stale("n2"));
        for extra in [", qop=auth", ", algorithm=SHA-256", ", realm=\"other\"", ", x", ", y=\"open"] {
            assert_eq!(proven(&field(extra), "n1", false, "secret"), None, "{extra}");
        }
    }

    #[test]
    fn the_digest_is_that_of_rfc_2617() {
        // RFC 2069 2.4 as corrected by its erratum.
        let digest = Digest {
            username: "Mufasa",
            realm: "testrealm@host.com",
            nonce: "dcd98b7102dd2f0e8b11d0f600bfb0c093",
            uri: "/dir/index.html",
            response: "",
        };
        assert_eq!(digest.expected("GET", "CircleOfLife"), "1949323746fe6a43ef61f9606e7febea");
    }

    #[test]
    fn basic_is_offered_on_this_machine_only() {
        assert_eq!(challenges("n", false, false), ["Digest realm=\"whipstitch\", nonce=\"n\""]);
        assert_eq!(challenges("n", true, true).len(), 2);
        assert!(challenges("n", true, true)[0].ends_with("stale=true"));
    }
}
