//! Who may do what. Every route asks here and nowhere else, before it looks at anything a stream could be told by.
//!
//! With `--token`, whoever has it may do everything; a token of the list may do what its table says; and nobody else may
//! do anything but load a page. With none, watching is open, publishing and reading are for this machine, and what changes something needs the
//! admin token from the data directory. `docs/operate.md` says the same to users.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::SystemTime;

use axum::http::header::{self, HeaderMap};
use axum::http::uri::Authority;

use whipstitch_stream::StreamKey;

use crate::credentials::{Token, is_b64token};
use crate::issued::Issued;
use crate::media::Role;
use crate::tokens::Listed;

/// What a request wants to do, as far as access cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Send media to a stream, or end its publisher.
    Publish,
    /// Receive a stream.
    Play,
    /// Use the session URL of a publisher or of a viewer. It is 128 random bits long and, unless configured otherwise, its
    /// own credential; one that comes along must still be good for that stream and direction.
    Session(Role),
    /// Read lists and statistics.
    Observe,
    /// End somebody else's session: everything that changes or runs something.
    Control,
}

impl Right {
    /// Whether `?token=` counts: where players and pages put it, and not on the API.
    fn allows_token_in_query(self) -> bool {
        matches!(self, Self::Publish | Self::Play | Self::Session(_))
    }
}

/// What PATCH and DELETE of a session need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SessionAuth {
    /// The session URL.
    #[default]
    Capability,
    /// What the POST needed, shown by the same subject, or the owner's token. Players that send no `Authorization` along then
    /// cannot end their sessions.
    Token,
}

/// The answer, and who was recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The answer.
    pub decision: Decision,
    /// Whose token came; `None` when no token did, none was looked at, or it is nobody's.
    pub subject: Option<Subject>,
}

/// Whose a token is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// Of who started the server: `--token`.
    Owner,
    /// Of who may read the data directory.
    Admin,
    /// Of the list, by its name: tokens of one name are one subject's.
    Listed(Arc<str>),
    /// Of a process that this server runs, by its id.
    Process(Arc<str>),
}

impl Subject {
    /// What it is called; no two are called the same, since a name in the list has no slash.
    pub(crate) fn name(&self) -> Arc<str> {
        match self {
            Self::Owner => "/owner".into(),
            Self::Admin => "/admin".into(),
            Self::Listed(name) => name.clone(),
            Self::Process(id) => format!("/process/{id}").into(),
        }
    }

    /// What the log calls a token of the list.
    pub(crate) fn listed(&self) -> Option<Arc<str>> {
        match self {
            Self::Listed(name) => Some(name.clone()),
            Self::Owner | Self::Admin | Self::Process(_) => None,
        }
    }
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Go on.
    Allowed,
    /// 401 without an error code: a credential is needed and none (of scheme Bearer) came.
    Missing,
    /// 401 `invalid_token`.
    Wrong,
    /// 401 `invalid_token`: it was good until lately.
    Expired,
    /// 400 `invalid_request`: RFC 6750 3.1.
    Malformed,
    /// 403 `insufficient_scope`: a good token that does not carry this right.
    Insufficient,
}

/// Who asks, as far as the request tells.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// The other end of the TCP connection.
    pub peer: SocketAddr,
    /// The host and port the client thinks it talks to; `None` when the request leaves that open.
    pub authority: Option<&'a Authority>,
    /// All header fields.
    pub headers: &'a HeaderMap,
    /// The query of the URL, still encoded.
    pub query: Option<&'a str>,
    /// Whether the connection is a child's, or at least our own user's: asked where one shows the credential of a child.
    pub ours: bool,
}

/// The credentials of this server and what is open without one.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// The configured token: all rights.
    pub token: Option<Token>,
    /// Tokens with some rights on some streams.
    pub tokens: Vec<Listed>,
    /// The token of the data directory, in use when none with that right is configured: [`Right::Observe`] and
    /// [`Right::Control`].
    pub admin: Option<Token>,
    /// Those of the processes that this server runs.
    pub issued: Issued,
    /// `--open-publish`.
    pub open_publish: bool,
    /// What a session URL needs besides itself.
    pub session_auth: SessionAuth,
}

impl Policy {
    /// Decides on one request. Depends on the request and the configuration only, never on which streams exist. `stream` is
    /// the one it names, when its name is legal.
    #[must_use]
    pub fn decide(&self, right: Right, stream: Option<&StreamKey>, caller: &Caller<'_>, now: SystemTime) -> Verdict {
        if let Some(shown) = caller.child(right) {
            return self.decide_for_child(right, stream, caller.is_on_this_machine() && caller.ours, &shown);
        }
        let open = self.is_open(right, caller);
        let decision = |decision| Verdict { decision, subject: None };
        // Some players send `Bearer undefined` to servers that ask for nothing.
        if open && !self.needs_token() {
            return decision(Decision::Allowed);
        }
        match caller.credential(right) {
            Credential::None if open => decision(Decision::Allowed),
            Credential::None | Credential::OtherScheme => decision(Decision::Missing),
            Credential::Malformed => decision(Decision::Malformed),
            Credential::Bearer(text) => self.judge(right, stream, |token| token.matches(&text), now),
        }
    }

    /// Whether any token is configured.
    #[must_use]
    pub fn needs_token(&self) -> bool {
        self.token.is_some() || !self.tokens.is_empty()
    }

    fn is_open(&self, right: Right, caller: &Caller<'_>) -> bool {
        self.is_open_to(right, caller.is_local())
    }

    fn is_open_to(&self, right: Right, local: bool) -> bool {
        let configured = self.needs_token();
        match (right, self.session_auth) {
            (Right::Session(_), SessionAuth::Capability) => true,
            (Right::Control, _) => false,
            (Right::Play | Right::Session(Role::Subscriber), _) => !configured,
            (Right::Publish | Right::Session(Role::Publisher), _) => self.open_publish || (!configured && local),
            (Right::Observe, _) => !configured && local,
        }
    }

    /// Decides on a client of another protocol than HTTP, which knows of no pages and no proxies. `shows` tells whether it
    /// has shown a token; `None` when it has shown nothing.
    #[must_use]
    pub fn decide_for(
        &self,
        right: Right,
        stream: &StreamKey,
        peer: IpAddr,
        shows: Option<&dyn Fn(&Token) -> bool>,
        now: SystemTime,
    ) -> Verdict {
        let local = peer.to_canonical().is_loopback();
        match (self.is_open_to(right, local), shows) {
            (true, _) if !self.needs_token() => Verdict { decision: Decision::Allowed, subject: None },
            (true, None) => Verdict { decision: Decision::Allowed, subject: None },
            (false, None) => Verdict { decision: Decision::Missing, subject: None },
            (_, Some(shows)) => self.judge(right, Some(stream), shows, now),
        }
    }

    /// Decides on who says that it is the child of a process of ours, whatever is open to others: it is that, or may
    /// nothing. `ours`: the connection is of this machine, and a child's or our own user's.
    #[must_use]
    pub fn decide_for_child(&self, right: Right, stream: Option<&StreamKey>, ours: bool, shown: &str) -> Verdict {
        match self.issued.find(right, stream, shown).filter(|_| ours) {
            Some((id, true)) => Verdict { decision: Decision::Allowed, subject: Some(Subject::Process(id)) },
            Some((id, false)) => Verdict { decision: Decision::Insufficient, subject: Some(Subject::Process(id)) },
            None => Verdict { decision: Decision::Wrong, subject: None },
        }
    }

    fn judge(
        &self,
        right: Right,
        stream: Option<&StreamKey>,
        shows: impl Fn(&Token) -> bool,
        now: SystemTime,
    ) -> Verdict {
        // All are compared always: which one matched must not show in the time taken.
        let owner = self.token.as_ref().is_some_and(&shows);
        let admin = self.admin.as_ref().is_some_and(&shows);
        let listed =
            self.tokens.iter().fold(None, |found, listed| if shows(&listed.token) { Some(listed) } else { found });
        let decision = match (owner, listed, admin, right) {
            (true, ..) | (_, None, true, Right::Observe | Right::Control) => Decision::Allowed,
            (_, Some(listed), ..) if listed.is_expired(now) => Decision::Expired,
            (_, Some(listed), ..) if listed.allows(right, stream) => Decision::Allowed,
            (_, Some(_), ..) | (_, _, true, _) => Decision::Insufficient,
            _ => Decision::Wrong,
        };
        let subject = match (owner, listed) {
            (true, _) => Some(Subject::Owner),
            (_, Some(listed)) => Some(Subject::Listed(listed.name.clone())),
            _ => admin.then_some(Subject::Admin),
        };
        Verdict { decision, subject }
    }
}

#[derive(Debug)]
enum Credential {
    None,
    OtherScheme,
    Malformed,
    Bearer(String),
}

impl Caller<'_> {
    /// Whether this is somebody at this very machine and not a proxy, nor a foreign web page in a browser here.
    pub(crate) fn is_local(&self) -> bool {
        self.is_on_this_machine()
            && self.authority.is_some_and(|authority| is_local_name(authority.host()))
            && self.is_same_origin()
    }

    /// Whether the client runs on this machine, as far as can be told: a proxy that does not name itself looks so too.
    pub(crate) fn is_on_this_machine(&self) -> bool {
        self.peer.ip().to_canonical().is_loopback() && !self.is_forwarded()
    }

    /// Whether a proxy says it passed this on.
    fn is_forwarded(&self) -> bool {
        let by_proxy =
            |name: &str| name == "forwarded" || name.starts_with("x-forwarded-") || matches!(name, "x-real-ip" | "via");
        self.headers.keys().any(|name| by_proxy(name.as_str()))
    }

    /// A browser names the page that asks. No `Origin` is no page, or a page of ours that only reads.
    fn is_same_origin(&self) -> bool {
        let mut origins = self.headers.get_all(header::ORIGIN).iter();
        match (origins.next(), origins.next(), self.authority) {
            (None, ..) => true,
            (Some(origin), None, Some(authority)) => {
                let host = origin.to_str().ok().and_then(|origin| origin.strip_prefix("http://"));
                host.is_some_and(|host| without_default_port(host).eq_ignore_ascii_case(written(authority)))
            }
            _ => false,
        }
    }

    /// What the client shows for itself. The header wins over the query; an empty query value is none.
    fn credential(&self, right: Right) -> Credential {
        let mut fields = self.headers.get_all(header::AUTHORIZATION).iter();
        match (fields.next(), fields.next()) {
            (None, _) if right.allows_token_in_query() => self.credential_in_query(),
            (None, _) => Credential::None,
            (Some(_), Some(_)) => Credential::Malformed,
            (Some(field), None) => match field.to_str() {
                Ok(text) => bearer(text),
                Err(_) => Credential::Malformed,
            },
        }
    }

    /// What the child of a process shows: FFmpeg sends a password only to who asks for one, which a server that is open does
    /// not do. Shown twice it is nobody's.
    fn child(&self, right: Right) -> Option<String> {
        child(self.query.filter(|_| right.allows_token_in_query())?)
    }

    fn credential_in_query(&self) -> Credential {
        let pairs = form_urlencoded::parse(self.query.unwrap_or_default().as_bytes());
        let mut tokens = pairs.filter(|(name, value)| name == "token" && !value.is_empty());
        match (tokens.next(), tokens.next()) {
            (None, _) => Credential::None,
            (Some((_, token)), None) if is_b64token(&token) => Credential::Bearer(token.into_owned()),
            _ => Credential::Malformed,
        }
    }
}

/// What a query shows for the credential of a child; one that is nobody's if it does so twice.
pub(crate) fn child(query: &str) -> Option<String> {
    let pairs = form_urlencoded::parse(query.as_bytes());
    let mut shown = pairs.filter(|(name, _)| name == "process").map(|(_, value)| value.into_owned());
    let (first, second) = (shown.next()?, shown.next());
    Some(if second.is_none() { first } else { String::new() })
}

/// RFC 6750 2.1, RFC 9110 11.1: the scheme in any letter case, one or more spaces, the token.
fn bearer(field: &str) -> Credential {
    let (scheme, token) = field.split_once(' ').unwrap_or((field, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Credential::OtherScheme;
    }
    let token = token.trim_start_matches(' ');
    if is_b64token(token) { Credential::Bearer(token.to_owned()) } else { Credential::Malformed }
}

/// A host that means this machine wherever it is read, so that no DNS server can make it mean something else.
pub(crate) fn is_local_name(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || literal(host).is_some_and(|ip| ip.is_loopback())
}

/// The address in a host that is an IP literal, brackets taken off.
pub(crate) fn literal(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    bare.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

fn written(authority: &Authority) -> &str {
    without_default_port(authority.as_str())
}

fn without_default_port(authority: &str) -> &str {
    authority.strip_suffix(":80").unwrap_or(authority)
}

#[cfg(test)]
mod tests;
