//! Which web pages may use this server, and the header fields that tell browsers (`protocol.md` 2.4). They are on every
//! answer: without them a browser shows a page no status and no error, only that something failed.

use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method};

/// The same on every answer.
const FIELDS: [(HeaderName, HeaderValue); 4] = [
    (header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("OPTIONS, GET, HEAD, POST, PUT, PATCH, DELETE")),
    // ETag because Eyevinn's SDK sends it in requests.
    (
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("Authorization, Content-Type, If-Match, ETag, Accept"),
    ),
    (
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static(
            "Location, ETag, Link, Retry-After, WWW-Authenticate, Accept-Post, Accept-Patch, \
             Access-Control-Allow-Methods",
        ),
    ),
    (header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("7200")),
];

/// The origins whose pages may use this server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origins {
    /// Lower case, without default ports; empty is all.
    listed: Vec<String>,
}

impl Origins {
    pub(crate) fn new(listed: Vec<String>) -> Self {
        Self { listed }
    }

    /// Whether a request is refused for the page it comes from: it would change something, and the page is neither listed
    /// nor one of this server's own. What is no browser names no page.
    pub(crate) fn refuse(&self, method: &Method, headers: &HeaderMap, authority: Option<&Authority>) -> bool {
        let changes = [Method::POST, Method::PUT, Method::PATCH, Method::DELETE].contains(method);
        let is_known = |origin: &HeaderValue| self.lists(origin) || is_own(origin, authority);
        changes && !self.listed.is_empty() && !headers.get_all(header::ORIGIN).iter().all(is_known)
    }

    /// What an answer to a page of this origin carries.
    pub(crate) fn tell(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        headers.extend(FIELDS);
        if self.listed.is_empty() {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            return;
        }
        // The answer depends on who asks, and a cache must know.
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
        if let Some(origin) = origin.filter(|origin| self.lists(origin)) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        }
    }

    fn lists(&self, origin: &HeaderValue) -> bool {
        self.listed.iter().any(|listed| origin.as_bytes().eq_ignore_ascii_case(listed.as_bytes()))
    }
}

/// Whether the page came from this server, as the client sees it; a proxy in front may have made HTTPS of it.
fn is_own(origin: &HeaderValue, authority: Option<&Authority>) -> bool {
    let (Ok(origin), Some(authority)) = (origin.to_str(), authority) else { return false };
    [("http://", ":80"), ("https://", ":443")].into_iter().any(|(scheme, port)| {
        let own = authority.as_str().strip_suffix(port).unwrap_or(authority.as_str());
        origin.strip_prefix(scheme).is_some_and(|host| host.eq_ignore_ascii_case(own))
    })
}
