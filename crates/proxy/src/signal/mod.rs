//! The HTTP entry: requests about WHIP and WHEP sessions are passed on to the origin that has them.
//!
//! A request comes in whole and a reply goes out whole: whatever fails on the way, no half of a reply has been sent.
//! Listening, limits and CORS are the caller's; which origin it is and what is known of sessions are the
//! [`Directory`]'s. Here are the URLs, the header fields that pass, the description whose candidates become the proxy's,
//! and what to do when an origin fails.

mod directory;
mod endpoint;
mod forward;
mod refused;
mod session;
#[cfg(test)]
mod tests;
mod untold;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode};
use tokio::time::Instant;

use crate::headers::{self, Client};
pub use crate::origins::{Kind, Origin};
pub use crate::registry::Away;
pub use crate::state::{Full, NoOrigin, Picked};
use crate::trust::Trust;
use crate::urls::{self, Manners, Target};
pub use directory::Directory;
use forward::{Forward, Incoming, Trouble};
pub use forward::{Meter, Outcome};
pub use refused::Refused;

const ENDPOINT_ALLOW: &str = "OPTIONS, GET, HEAD, POST, DELETE";
const ENVELOPE_ALLOW: &str = "OPTIONS, POST";
const SESSION_ALLOW: &str = "OPTIONS, GET, HEAD, PATCH, DELETE";

/// What a client is told when it offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Signalling {
    /// Requests and media go through the proxy.
    #[default]
    Proxy,
    /// 307 to the origin, for clients that can reach it.
    Redirect,
}

/// A request as it came, its body whole (at most [`crate::sdp::MOST_BYTES`]).
#[derive(Clone)]
pub struct Request {
    /// Its method.
    pub method: Method,
    /// The path of its URL, as written.
    pub path: String,
    /// The query of its URL, as written.
    pub query: Option<String>,
    /// Its header fields.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// Whom it comes from.
    pub client: Client,
    /// Where this client can send its datagrams, the best first.
    pub candidates: Vec<SocketAddr>,
}

/// The entry.
pub struct Signal<D> {
    directory: Arc<D>,
    forward: Forward,
    signalling: Signalling,
    /// For all of a request.
    patience: Duration,
}

impl<D: Directory> Signal<D> {
    /// One that asks this directory, and speaks HTTPS to origins that are trusted so.
    ///
    /// # Errors
    /// The HTTP client cannot be made.
    pub fn new(directory: Arc<D>, signalling: Signalling, trust: &Trust) -> Result<Self, reqwest::Error> {
        Ok(Self { directory, forward: Forward::new(trust)?, signalling, patience: forward::TOTAL })
    }

    /// The same, and `meter` hears of every request to an origin.
    #[must_use]
    pub fn metered(mut self, meter: Meter) -> Self {
        self.forward.meter = Some(meter);
        self
    }

    /// Answers a request. Takes about 5 s at most. Dropped on the way, a session that an origin has begun for it ends.
    ///
    /// # Errors
    /// What the client is to be told when no origin has said anything.
    pub async fn answer(&self, request: Request) -> Result<Response<Bytes>, Refused> {
        if headers::is_loop(&request.headers) {
            return Err(Refused::Loop);
        }
        match urls::target(&request.path, request.query.as_deref())? {
            Target::Endpoint(place, stream) => self.endpoint(place, stream, request).await,
            Target::Session(place, stream, id) => self.session(place, &stream, id, request).await,
        }
    }

    /// For a request that begins now.
    fn deadline(&self) -> Instant {
        Instant::now() + self.patience
    }
}

/// The answer to a browser that asks whether a page may ask (Fetch 3.2.2), and to all who ask what there is.
fn options(allow: &'static str, takes: Option<(&'static str, &'static str)>) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    if let Some((name, value)) = takes {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

/// Whether a request is a browser's question whether a page may ask, which is answered here and asks nobody.
#[must_use]
pub fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    *method == Method::OPTIONS
        && headers.contains_key(header::ORIGIN)
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// A reply of an origin as it goes on, with this body.
fn relayed(incoming: &Incoming, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = incoming.status;
    *response.headers_mut() = headers::to_client(&incoming.headers);
    response
}

/// The same with its own body, which must be no description: those hold addresses that nobody out here can reach.
fn relayed_as_is(incoming: Incoming) -> Response<Bytes> {
    let body = incoming.body.clone();
    let mut response = relayed(&incoming, body);
    let content_type = response.headers().get(header::CONTENT_TYPE);
    let is_sdp =
        content_type.is_some_and(|value| value.as_bytes().to_ascii_lowercase().starts_with(b"application/sdp"));
    if is_sdp {
        response.headers_mut().remove(header::CONTENT_TYPE);
        *response.body_mut() = Bytes::new();
    }
    response
}

/// What the client is told of trouble with an origin.
fn refused(trouble: Trouble, origin: &crate::record::OriginId) -> Refused {
    let origin = origin.clone();
    match trouble {
        Trouble::Connect => Refused::Unreachable(origin),
        Trouble::Distrusted => Refused::Distrusted(origin),
        Trouble::Slow => Refused::Slow(origin),
        Trouble::Broken => Refused::Broken(origin),
        Trouble::TooLarge => Refused::Unusable(origin),
    }
}

/// A field's value as text.
fn text(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// What an endpoint of this kind allows.
fn allowed(manners: Manners) -> &'static str {
    if manners == Manners::Envelope { ENVELOPE_ALLOW } else { ENDPOINT_ALLOW }
}

/// Success as origins say it (S4-R4): 201 by RFC 9725, 200 by SRS.
fn is_created(status: StatusCode) -> bool {
    status == StatusCode::CREATED || status == StatusCode::OK
}
