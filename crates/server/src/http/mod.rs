//! HTTP: the routes, and what holds for all of them. Each module below answers one kind of URL; which status an error
//! has is decided in `error.rs`, who may ask in [`crate::access`], and what happens then in the media plane.
//!
//! Order of checks on every route (`protocol.md` 2): route, method, preflight, access, load, size, media type,
//! preconditions, syntax, meaning, state.

pub(crate) mod body;
pub(crate) mod connection;
pub(crate) mod cors;
mod docs;
pub(crate) mod error;
mod framing;
pub(crate) mod metrics;
mod mounts;
mod offer;
mod openapi;
mod ops;
pub(crate) mod pages;
mod plain;
mod processes;
pub(crate) mod request;
mod rtp;
mod sdp;
mod sessions;
mod shown;
mod streams;
#[cfg(test)]
mod tests;
pub(crate) mod throttle;
mod whep;
mod whip;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use axum::extract::{MatchedPath, Request as RawRequest, State as FromState};
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any};
use tower_http::normalize_path::NormalizePath;
use tracing::{debug, info, warn};
use whipstitch_ffmpeg::Legs;
use whipstitch_ffmpeg::process::{Fed, Processes};
use whipstitch_stream::StreamKey;

use crate::access::{self, Decision, Policy, Right, Subject};
use crate::candidates::Announcer;
use crate::guesses::Guesses;
use crate::ice_servers::IceServer;
use crate::logging::Brake;
use crate::media::{Media, Role};
use crate::patterns::Pattern;
use crate::plain::Plain;
use crate::proxies::Trusted;
use crate::rates::Rate;
use connection::Connection;
use cors::Origins;
use error::{Error, Reason};
use metrics::{Counting, Metrics};
use mounts::{MOUNTS, Mount};
use request::{Named, Request};
use throttle::Throttle;

/// `protocol.md` 15: from POST to answer; OBS waits 8 s and GStreamer 15.
const MEDIA_ANSWERS: Duration = Duration::from_secs(5);

/// What all routes share.
#[derive(Clone)]
pub struct State(Arc<Shared>);

struct Shared {
    media: Arc<dyn Media>,
    policy: Policy,
    announcer: Announcer,
    settings: Settings,
    throttle: Throttle,
    draining: AtomicBool,
    denied: Brake,
    garbage: Brake,
    metrics: Metrics,
}

/// What the configuration says of HTTP.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    /// STUN and TURN servers that clients are told of.
    pub(crate) ice_servers: Vec<IceServer>,
    /// Names that streams may have; empty is all.
    pub(crate) stream_names: Vec<Pattern>,
    /// Web pages that may use this server.
    pub(crate) origins: Origins,
    /// Proxies that may say whom a request comes from.
    pub(crate) trusted: Trusted,
    /// POST, PATCH and DELETE of one client.
    pub(crate) requests: Rate,
    /// PATCH of one session.
    pub(crate) session: Rate,
    /// Who tries tokens.
    pub(crate) guesses: Arc<Guesses>,
    /// Who hands streams to programs on this machine as plain RTP.
    pub(crate) legs: Option<Legs>,
    /// Who takes plain RTP.
    pub(crate) plain: Option<Plain>,
    /// FFmpeg processes.
    pub(crate) processes: Option<Processes>,
}

/// Whom a request comes from, for limits and the log; in the extensions of the request.
#[derive(Clone, Copy, Debug)]
struct Client(IpAddr);

/// Whether the connection is a child's or our own user's; in the extensions of a request that shows the credential of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ours(bool);

/// A kind of body, and the header field (lower case) that tells clients of it.
#[derive(Debug)]
pub(crate) struct Takes {
    field: &'static str,
    media_type: &'static str,
}

impl Takes {
    fn announce(&self, headers: &mut HeaderMap) {
        headers.insert(HeaderName::from_static(self.field), HeaderValue::from_static(self.media_type));
    }
}

impl State {
    /// Routes that ask `media`, let in whom `policy` allows, announce what the server listens on, and do as `settings` say.
    pub(crate) fn new(media: Arc<dyn Media>, policy: Policy, announcer: Announcer, settings: Settings) -> Self {
        Self(Arc::new(Shared {
            media,
            policy,
            announcer,
            throttle: Throttle::new(settings.requests, settings.session),
            settings,
            draining: AtomicBool::new(false),
            denied: Brake::default(),
            garbage: Brake::default(),
            metrics: Metrics::new(),
        }))
    }

    /// From now on nothing new begins: 503 with `Retry-After`.
    pub(crate) fn drain(&self) {
        self.0.draining.store(true, Ordering::Relaxed);
    }

    fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Relaxed)
    }

    /// Access where no stream is named, or the error that says why not.
    fn allow(&self, right: Right, request: &Request) -> Result<(), Error> {
        self.allow_on(right, None, request).map(drop)
    }

    /// Access to the stream that a request names (`None` when its name is illegal, which is said later). A stream that
    /// cannot be is not found, by those who may know. Tells whose token let it in, if one did.
    fn allow_on(&self, right: Right, stream: Option<&StreamKey>, request: &Request) -> Result<Option<Subject>, Error> {
        if self.0.settings.origins.refuse(request.method(), request.headers(), request.caller().authority) {
            return Err(Error::ForeignOrigin);
        }
        let subject = self.decide(right, stream, request)?;
        let names = &self.0.settings.stream_names;
        let may_be = |stream: &StreamKey| names.is_empty() || names.iter().any(|name| name.matches(stream.as_str()));
        if stream.is_none_or(may_be) { Ok(subject) } else { Err(Error::NoSuch("no stream has such a name here")) }
    }

    /// The process that the stream is published for.
    fn fed_by(&self, stream: &StreamKey) -> Option<Fed> {
        self.0.settings.processes.as_ref()?.fed_by(stream.as_str())
    }

    fn decide(&self, right: Right, stream: Option<&StreamKey>, request: &Request) -> Result<Option<Subject>, Error> {
        let verdict = self.0.policy.decide(right, stream, &request.caller(), SystemTime::now());
        let passed = self.0.settings.guesses.pass(request.client(), &verdict, throttle::now());
        passed.map_err(|retry_after| Error::TooMany { retry_after })?;
        match verdict.decision {
            Decision::Allowed => Ok(verdict.subject),
            decision => {
                let token = verdict.subject.and_then(|subject| subject.listed());
                Err(Error::Denied { decision, hint: self.hint(right, decision), token })
            }
        }
    }

    /// What would help, where it is not just another token. The same for every stream.
    fn hint(&self, right: Right, decision: Decision) -> &'static str {
        match right {
            Right::Observe | Right::Control if self.0.policy.needs_token() && decision == Decision::Missing => {
                "it goes into the header field Authorization: Bearer TOKEN"
            }
            _ if self.0.policy.needs_token() => "",
            Right::Publish | Right::Session(Role::Publisher) => {
                "without --token, publishing is for this machine at http://localhost only, and never through a proxy"
            }
            Right::Observe => "without --token, this is for this machine at http://localhost or the admin token",
            Right::Control => "it is in the file admin-token of the data directory",
            Right::Play | Right::Session(Role::Subscriber) => "",
        }
    }

    /// Asks the media plane, off the threads that serve HTTP and not for ever.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&dyn Media) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let media = Arc::clone(&self.0.media);
        let asked = tokio::task::spawn_blocking(move || question(&*media));
        match tokio::time::timeout(MEDIA_ANSWERS, asked).await {
            Ok(Ok(answer)) => Ok(answer),
            // The task itself never panics here on purpose; what it found broken is in the log already.
            Ok(Err(_)) => Err(Error::Internal),
            Err(_) => Err(Error::Overloaded),
        }
    }
}

/// All routes with what holds for each of them around. A slash at the end of a path means nothing (S0).
pub(crate) fn app(state: State) -> App {
    NormalizePath::trim_trailing_slash(routes(state))
}

/// What the listener serves.
pub(crate) type App = NormalizePath<Router>;

fn routes(state: State) -> Router {
    let table = table().into_iter();
    table
        .fold(Router::new(), |router, (path, methods)| router.route(path, methods))
        .fallback(|| async { Error::NoSuchRoute })
        .layer(axum::middleware::from_fn_with_state(state.clone(), around))
        .with_state(state)
}

/// Every route there is. A test goes through this table and wants to know of each who may use it.
fn table() -> Vec<(&'static str, MethodRouter<State>)> {
    let mounted = MOUNTS.iter().flat_map(|mount| {
        let endpoint = match mount.role {
            Role::Publisher => any(move |state, request| whip::endpoint(mount, state, request)),
            Role::Subscriber => any(move |state, request| whep::endpoint(mount, state, request)),
        };
        [
            (mount.endpoint, endpoint),
            (mount.session, any(move |state, request| sessions::session(mount, state, request))),
        ]
    });
    let own = [
        ("/whip/{stream}/sdp", any(sdp::endpoint)),
        ("/api/v3/webrtc/stats", any(streams::counts)),
        ("/api/v3/process", any(processes::list)),
        ("/api/v3/process/{id}", any(processes::one)),
        ("/api/v3/process/{id}/config", any(processes::config)),
        ("/api/v3/process/{id}/state", any(processes::state)),
        ("/api/v3/process/{id}/report", any(processes::report)),
        ("/api/v3/process/{id}/probe", any(processes::probe)),
        ("/api/v3/process/{id}/command", any(processes::command)),
        ("/api/v3/process/{id}/metadata", any(processes::all_metadata)),
        ("/api/v3/process/{id}/metadata/{key}", any(processes::metadata)),
        ("/api/v3/metadata", any(processes::all_server_metadata)),
        ("/api/v3/metadata/{key}", any(processes::server_metadata)),
        ("/api/v3/skills", any(processes::skills)),
        ("/api/v3/skills/reload", any(processes::new_skills)),
        ("/api/v1/streams", any(streams::list)),
        ("/api/v1/streams/{stream}", any(streams::one)),
        ("/api/v1/streams/{stream}/rtp", any(rtp::endpoint)),
        ("/api/v1/sessions", any(streams::sessions)),
        ("/api/v1/sessions/{session}", any(sessions::of_the_api)),
        ("/metrics", any(metrics::scrape)),
        ("/openapi.json", any(docs::description)),
        ("/docs", any(docs::browser)),
        ("/docs/{file}", any(docs::file)),
        ("/healthz", any(ops::health)),
        ("/readyz", any(ops::ready)),
        ("/", any(pages::dashboard)),
        ("/processes", any(pages::processes)),
        ("/watch", any(pages::nameless)),
        ("/publish", any(pages::nameless)),
        ("/watch/{stream}", any(pages::watch)),
        ("/publish/{stream}", any(pages::publish)),
        ("/assets/{file}", any(pages::asset)),
    ];
    mounted.chain(own).collect()
}

/// Around every route: refuses what is no proper request, swallows what was left of the body, completes the header
/// fields, and keeps the log.
async fn around(FromState(state): FromState<State>, mut request: RawRequest, next: Next) -> Response {
    let begun = Instant::now();
    let method = request.method().clone();
    let connection = request.extensions().get::<Connection>().cloned();
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let named = Named::default();
    request.extensions_mut().insert(named.clone());
    let client = connection.as_ref().map(|connection| state.client(connection, request.headers()));
    let origin = request.headers().get(header::ORIGIN).cloned();
    // Polling the rest would ask for a body that the client holds back until it is wanted.
    let body_is_held_back = request.headers().contains_key(header::EXPECT);

    let (request, rest) = {
        let (mut parts, body) = request.into_parts();
        client.map(|client| parts.extensions.insert(client));
        let ours = state.is_ours(&parts.uri, connection.as_ref()).await;
        parts.extensions.insert(Ours(ours));
        let (body, rest) = body::Rest::of(body);
        (RawRequest::from_parts(parts, body), rest)
    };
    let mut response = match improper(&request, connection.as_ref()) {
        Some(error) => error.into_response(),
        None => next.run(request).await,
    };
    if !body_is_held_back {
        rest.swallow().await;
    }
    state.0.settings.origins.tell(origin.as_ref(), response.headers_mut());
    complete(response.headers_mut());
    if connection.as_ref().is_some_and(Connection::is_last) {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    // The path itself is never logged: a session URL is a credential, and so may be the query.
    let (status, took) = (response.status(), begun.elapsed());
    let route = matched.as_ref().map(MatchedPath::as_str);
    state
        .0
        .metrics
        .count(&*state.0.media, &Counting { route, method: &method, named: &named, took, response: &response });
    let route = route.unwrap_or("(none)");
    debug!(%method, route, status = status.as_u16(), ms = took.as_millis(), "HTTP");
    let reason = response.extensions().get::<Reason>().map_or("", |reason| &reason.0);
    state.tell_of(status, reason, client, route);
    response
}

impl State {
    fn client(&self, connection: &Connection, headers: &HeaderMap) -> Client {
        Client(self.0.settings.trusted.client(connection.peer.ip(), headers))
    }

    /// Whether who shows the credential of a child in this query may be one; not asked of who shows none that is good.
    async fn is_ours(&self, uri: &axum::http::Uri, connection: Option<&Connection>) -> bool {
        let issued = &self.0.policy.issued;
        let shown = uri.query().and_then(access::child).filter(|shown| issued.knows(shown));
        match (shown, connection) {
            (Some(_), Some(connection)) => connection.is_ours(issued).await,
            _ => false,
        }
    }

    /// One line a second at most about what strangers get wrong.
    fn tell_of(&self, status: StatusCode, reason: &str, client: Option<Client>, route: &str) {
        let peer = client.map(|Client(ip)| ip.to_string()).unwrap_or_default();
        let status_code = status.as_u16();
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                if let Some(more) = self.0.denied.pass(Instant::now()) {
                    info!(peer, route, status = status_code, reason, more, "access denied");
                }
            }
            StatusCode::BAD_REQUEST
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::REQUEST_TIMEOUT
            | StatusCode::TOO_MANY_REQUESTS => {
                if let Some(more) = self.0.garbage.pass(Instant::now()) {
                    info!(peer, route, status = status_code, reason, more, "improper request");
                }
            }
            status if status.is_server_error() => {
                if let Some(more) = self.0.garbage.pass(Instant::now()) {
                    warn!(peer, route, status = status_code, reason, more, "request failed");
                }
            }
            _ => {}
        }
    }
}

/// What is wrong with a request whatever it asks for.
pub(crate) fn improper(request: &RawRequest, connection: Option<&Connection>) -> Option<Error> {
    if connection.is_some_and(Connection::is_ambiguous) {
        return Some(Error::Head("Content-Length and Transfer-Encoding exclude each other"));
    }
    // RFC 9112 3.2: exactly one Host, unless HTTP/1.0.
    let hosts = request.headers().get_all(header::HOST).iter().count();
    let old = request.version() < axum::http::Version::HTTP_11;
    if hosts > 1 || (hosts == 0 && !old) {
        return Some(Error::Head("exactly one Host is needed"));
    }
    None
}

pub(crate) fn complete(headers: &mut HeaderMap) {
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // A page's URL may carry a token; nobody else needs to read it.
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    // Answers and lists are of the moment; assets say otherwise themselves.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

/// The answer to OPTIONS: never needs a token, because a browser's preflight cannot carry one (RFC 9725 4.7.1).
fn options(allow: &'static str, takes: Option<&'static Takes>) -> Response {
    let mut response = StatusCode::OK.into_response();
    let headers = response.headers_mut();
    headers.insert(header::ALLOW, HeaderValue::from_static(allow));
    if let Some(takes) = takes {
        takes.announce(headers);
    }
    response
}
