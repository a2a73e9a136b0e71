//! STUN and TURN servers that clients are told of (RFC 9725 4.6), for those whose firewall lets no UDP to this server.
//! It does not use them itself.
//!
//! One server is one text, words with spaces between: its URLs, and for TURN either `username=` and `credential=`, or
//! the `secret=` it shares with this server. From a secret every client gets a credential of its own that expires, as
//! coturn's `use-auth-secret` wants it. Nothing here prints a credential or repeats one in a mistake.

use std::fmt;
use std::net::Ipv6Addr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::config::is_host_name;

/// Browsers warn from five on, because each slows them down.
const MOST_URLS: usize = 4;
/// Longer than any in use; all of them together must fit into the heads that clients accept.
const LONGEST: usize = 256;
/// What the draft behind this scheme recommends (draft-uberti-behave-turn-rest 2.2): a session, which may need them to
/// the end, seldom lasts longer.
const TTL: Duration = Duration::from_secs(24 * 60 * 60);
const SHORTEST_TTL: Duration = Duration::from_secs(60);
const LONGEST_TTL: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// One server, or several URLs of one that take the same credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IceServer {
    urls: Vec<Url>,
    credentials: Credentials,
}

/// A URL in the grammar of RFC 7064 or 7065.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Url {
    text: String,
    /// TURN: it needs credentials.
    relays: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Credentials {
    /// STUN asks for none.
    None,
    Static {
        username: String,
        credential: Secret,
    },
    Shared {
        secret: Secret,
        name: Option<String>,
        ttl: Duration,
    },
}

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl IceServer {
    /// A server from its text.
    ///
    /// # Errors
    /// Everything that is wrong with it, by the number of the word and without repeating the text.
    pub(crate) fn parse(text: &str) -> Result<Self, Vec<String>> {
        let mut words = Words::default();
        let mut mistakes = Vec::new();
        for (at, word) in text.split_ascii_whitespace().enumerate() {
            if let Err(what) = words.take(word) {
                mistakes.push(format!("word {}: {what}", at + 1));
            }
        }
        // What is missing can be told only when nothing that is there was misread.
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        words.together().map_err(|what| vec![what.to_owned()])
    }

    /// The values of its `Link` header fields at this time. The form is exact, because clients take it apart as text
    /// (`protocol.md` 2.3).
    pub(crate) fn links(&self, now: SystemTime) -> Vec<String> {
        let credentials = self.credentials.at(now);
        let link = |url: &Url| {
            let link = format!("<{}>; rel=\"ice-server\"", url.text);
            match &credentials {
                Some((username, credential)) if url.relays => format!(
                    "{link}; username=\"{username}\"; credential=\"{credential}\"; credential-type=\"password\""
                ),
                _ => link,
            }
        };
        self.urls.iter().map(link).collect()
    }
}

impl Credentials {
    /// Username and credential for a client that asks now.
    fn at(&self, now: SystemTime) -> Option<(String, String)> {
        match self {
            Self::None => None,
            Self::Static { username, credential } => Some((username.clone(), credential.0.clone())),
            Self::Shared { secret, name, ttl } => {
                let expiry = (now.duration_since(UNIX_EPOCH).unwrap_or_default() + *ttl).as_secs();
                let username = match name {
                    Some(name) => format!("{expiry}:{name}"),
                    None => expiry.to_string(),
                };
                let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.0.as_bytes());
                let credential = STANDARD.encode(hmac::sign(&key, username.as_bytes()));
                Some((username, credential))
            }
        }
    }
}

/// The words of one text as far as they were read.
#[derive(Default)]
struct Words {
    urls: Vec<Url>,
    username: Option<String>,
    credential: Option<String>,
    secret: Option<String>,
    name: Option<String>,
    ttl: Option<Duration>,
}

impl Words {
    fn take(&mut self, word: &str) -> Result<(), &'static str> {
        // A URL first: it may have a = in its query.
        if let Some((scheme, rest)) = word.split_once(':').filter(|(scheme, _)| SCHEMES.contains(scheme)) {
            if self.urls.len() == MOST_URLS {
                return Err("at most 4 URLs can share credentials; write another server");
            }
            self.urls.push(url(scheme, rest)?);
            return Ok(());
        }
        match word.split_once('=') {
            Some(("username", value)) => once(&mut self.username, sendable(value)?),
            Some(("credential", value)) => once(&mut self.credential, sendable(value)?),
            Some(("name", value)) => once(&mut self.name, sendable(value)?),
            Some(("secret", value)) => once(&mut self.secret, printable(value)?),
            Some(("ttl", value)) => once(&mut self.ttl, ttl(value)?),
            _ => Err("is neither a stun: or turn: URL nor username=, credential=, secret=, name= or ttl="),
        }
    }

    fn together(self) -> Result<IceServer, &'static str> {
        let relays = self.urls.iter().any(|url| url.relays);
        let credentials = match (self.username, self.credential, self.secret) {
            (None, None, None) => Credentials::None,
            (Some(username), Some(credential), None) => {
                Credentials::Static { username, credential: Secret(credential) }
            }
            (None, None, Some(secret)) => {
                let ttl = self.ttl.unwrap_or(TTL);
                Credentials::Shared { secret: Secret(secret), name: self.name.clone(), ttl }
            }
            (_, _, Some(_)) => return Err("has a secret and a username or credential; one of the two ways is enough"),
            _ => return Err("username and credential belong together"),
        };
        let is_shared = matches!(credentials, Credentials::Shared { .. });
        match credentials {
            _ if self.urls.is_empty() => Err("has no URL"),
            _ if !is_shared && (self.name.is_some() || self.ttl.is_some()) => Err("name and ttl go with a secret only"),
            Credentials::None if relays => Err("a turn URL needs username and credential, or a secret"),
            Credentials::Static { .. } | Credentials::Shared { .. } if !relays => {
                Err("a stun URL takes no credentials")
            }
            credentials => Ok(IceServer { urls: self.urls, credentials }),
        }
    }
}

const SCHEMES: [&str; 4] = ["stun", "stuns", "turn", "turns"];

fn url(scheme: &str, rest: &str) -> Result<Url, &'static str> {
    const FORM: &str = "a URL is stun:HOST[:PORT] or turn:HOST[:PORT][?transport=udp|tcp] (or stuns:, turns:)";
    let relays = scheme.starts_with("turn");
    let place = match rest.split_once('?') {
        Some((place, "transport=udp" | "transport=tcp")) if relays => place,
        Some(_) => return Err(FORM),
        None => rest,
    };
    let (is_host, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) => (host.parse::<Ipv6Addr>().is_ok(), port),
        None => {
            let (host, port) = place.split_at(place.find(':').unwrap_or(place.len()));
            (is_host_name(host), port)
        }
    };
    let is_port = |port: &str| {
        port.bytes().all(|digit| digit.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|number| number > 0)
    };
    if is_host && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port)) {
        Ok(Url { text: format!("{scheme}:{rest}"), relays })
    } else {
        Err(FORM)
    }
}

fn once<T>(place: &mut Option<T>, value: T) -> Result<(), &'static str> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err("is there twice"),
    }
}

/// What goes to clients: OBS splits a `Link` at every comma and semicolon, and none unquotes.
fn sendable(value: &str) -> Result<String, &'static str> {
    if value.contains([',', ';', '"', '\\']) {
        return Err("a value must be without comma, semicolon, quote and backslash: clients could not read it");
    }
    printable(value)
}

fn printable(value: &str) -> Result<String, &'static str> {
    if (1..=LONGEST).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(value.to_owned())
    } else {
        Err("a value is 1 to 256 printable ASCII characters")
    }
}

fn ttl(value: &str) -> Result<Duration, &'static str> {
    let ttl = humantime::parse_duration(value).ok();
    ttl.filter(|ttl| (SHORTEST_TTL..=LONGEST_TTL).contains(ttl)).ok_or("a ttl is such as 12h, from 1min to 30days")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_699_996_400;

    fn links(text: &str) -> Vec<String> {
        IceServer::parse(text).unwrap().links(UNIX_EPOCH + Duration::from_secs(NOW))
    }

    #[test]
    fn a_link_has_the_one_form_that_all_clients_read() {
        assert_eq!(links("stun:stun.example.net"), ["<stun:stun.example.net>; rel=\"ice-server\""]);
        assert_eq!(
            links("turn:turn.example.net:3478?transport=udp username=u credential=c"),
            ["<turn:turn.example.net:3478?transport=udp>; rel=\"ice-server\"; username=\"u\"; credential=\"c\"; \
                 credential-type=\"password\""]
        );
    }

    #[test]
    fn each_url_is_a_link_and_stun_goes_without_the_credentials_of_its_neighbour() {
        let links = links("username=u stun:a:1 turn:b turns:c:5349?transport=tcp credential=c=");
        assert_eq!(links.len(), 3);
        assert_eq!(links[0], "<stun:a:1>; rel=\"ice-server\"");
        assert!(links[1].starts_with("<turn:b>; ") && links[1].contains("credential=\"c=\""), "{links:?}");
        assert!(links[2].starts_with("<turns:c:5349?transport=tcp>; "), "{links:?}");
    }

    /// Expected values from `printf 1700000000:whip | openssl dgst -sha1 -hmac north -binary | base64`.
    #[test]
    fn a_shared_secret_makes_credentials_that_expire() {
        for (text, username, credential) in [
            ("turn:t secret=north name=whip ttl=1h", "1700000000:whip", "1qRVkmxQHipaU4qv+AbUpclPnMc="),
            ("turn:t secret=north ttl=3600s", "1700000000", "CWyHi3zCeWqXBir9thl4m+iZPRY="),
        ] {
            let expected = format!(
                "<turn:t>; rel=\"ice-server\"; username=\"{username}\"; credential=\"{credential}\"; \
                 credential-type=\"password\""
            );
            assert_eq!(links(text), [expected], "{text}");
        }
        let a_day_later = format!("username=\"{}\"", NOW + 86_400);
        assert!(links("turn:t secret=s")[0].contains(&a_day_later));
    }

    #[test]
    fn urls_are_those_of_rfc_7064_and_7065() {
        for (url, legal) in [
            ("stun:192.0.2.1", true),
            ("stun:[2001:db8::1]:3478", true),
            ("stuns:example.net:5349", true),
            ("stun:example.net?transport=udp", false),
            ("stun://example.net", false),
            ("stun:", false),
            ("stun:example.net:", false),
            ("stun:example.net:0", false),
            ("stun:example.net:65536", false),
            ("stun:example.net:+1", false),
            ("stun:2001:db8::1", false),
            ("stun:[192.0.2.1]", false),
            ("stun:[::1", false),
            ("stun:user@example.net", false),
            ("stun:a,stun:b", false),
            ("stun:a>b", false),
            ("STUN:example.net", false),
            ("http://example.net", false),
        ] {
            assert_eq!(IceServer::parse(url).is_ok(), legal, "{url}");
        }
        for (query, legal) in [("", true), ("?transport=tcp", true), ("?transport=sctp", false), ("?", false)] {
            let text = format!("turn:[::1]:3478{query} username=u credential=c");
            assert_eq!(IceServer::parse(&text).is_ok(), legal, "{text}");
        }
    }

    #[test]
    fn every_mistake_is_told_and_no_value_is_repeated() {
        for (text, starts) in [
            ("", &["has no URL"][..]),
            ("username=hush credential=hush", &["has no URL"]),
            ("turn:t", &["a turn URL needs"]),
            ("turn:t username=hush", &["username and credential belong together"]),
            ("turn:t credential=hush", &["username and credential belong together"]),
            ("turn:t username=u credential=hush secret=hush", &["has a secret and"]),
            ("turn:t username=u credential=hush ttl=1h", &["name and ttl go with"]),
            ("stun:s name=hush", &["name and ttl go with"]),
            ("stun:s username=u credential=hush", &["a stun URL takes no"]),
            ("stun:s secret=hush", &["a stun URL takes no"]),
            ("turn:t secret=hush ttl=1s", &["word 3: a ttl is"]),
            ("turn:t secret=hush ttl=soon", &["word 3: a ttl is"]),
            ("turn:t secret=hush secret=hush", &["word 3: is there twice"]),
            ("turn:t credential hush", &["word 2: is neither", "word 3: is neither"]),
            ("turn:t username=hu,sh credential=hu;sh", &["word 2: a value must", "word 3: a value must"]),
            ("turn:t username=hu\"sh credential=hu\\sh", &["word 2: a value must", "word 3: a value must"]),
            ("turn:t secret=s name=hu,sh", &["word 3: a value must"]),
            ("turn:t username=hüsh credential=", &["word 2: a value is", "word 3: a value is"]),
            ("turn:hush@t stun:?", &["word 1: a URL is", "word 2: a URL is"]),
            ("stun:a stun:b stun:c stun:d stun:e", &["word 5: at most 4"]),
        ] {
            let mistakes = IceServer::parse(text).unwrap_err();
            assert_eq!(mistakes.len(), starts.len(), "{text}: {mistakes:?}");
            for (mistake, start) in mistakes.iter().zip(starts) {
                assert!(mistake.starts_with(start) && !mistake.contains("hu"), "{text}: {mistake}");
            }
        }
        let secrets =
            ["turn:t username=u credential=hush", "turn:t secret=hush"].map(|text| IceServer::parse(text).unwrap());
        assert!(!format!("{secrets:?}").contains("hush"));
    }
}
