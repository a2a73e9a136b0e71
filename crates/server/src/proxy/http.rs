//! The HTTP entry of the proxy around [`Signal`]: reads requests whole, says whom they come from, keeps limits, and puts on
//! every reply what browsers need. What is not passed on is answered here as `serve` would.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Request as RawRequest, State as FromState};
use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::http::uri::Authority;
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde_json::json;
use tower_http::normalize_path::NormalizePath;
use tracing::{debug, info, warn};
use whipstitch_proxy::headers::Client;
use whipstitch_proxy::sdp::MOST_BYTES;
use whipstitch_proxy::signal::{Directory, Request, Signal, is_preflight};

use crate::access::Caller;
use crate::candidates::Announcer;
use crate::http::connection::Connection;
use crate::http::cors::Origins;
use crate::http::error::{Error, Reason};
use crate::http::throttle::Throttle;
use crate::http::{App, body, complete, improper, request};
use crate::logging::Brake;
use crate::proxies::Trusted;
use crate::rates::Rate;

use super::counted::Counted;

/// Says why nothing new can begin; `None` while it can.
pub(crate) type Unready = Arc<dyn Fn() -> Option<&'static str> + Send + Sync>;

/// What the entry needs beside the origins.
pub(crate) struct Settings {
    /// Where clients can send their datagrams.
    pub(crate) announcer: Announcer,
    /// Web pages that may use it.
    pub(crate) origins: Origins,
    /// Proxies in front that may say whom a request comes from.
    pub(crate) trusted: Trusted,
    /// Why nothing new can begin, if that is so.
    pub(crate) unready: Unready,
    /// Requests of one client, but what browsers ask before those of pages.
    pub(crate) requests: Rate,
}

/// The entry; clones are the same.
pub(crate) struct Entry<D>(Arc<Shared<D>>);

impl<D> Clone for Entry<D> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

struct Shared<D> {
    signal: Signal<D>,
    settings: Settings,
    throttle: Throttle,
    counted: Arc<Counted>,
    draining: AtomicBool,
    strange: Brake,
    failing: Brake,
}

impl<D: Directory> Entry<D> {
    pub(super) fn new(signal: Signal<D>, settings: Settings, counted: Arc<Counted>) -> Self {
        // A session's own rate is kept by its origin.
        let throttle = Throttle::new(settings.requests, Rate::default());
        let (strange, failing) = (Brake::default(), Brake::default());
        let draining = AtomicBool::new(false);
        Self(Arc::new(Shared { signal, settings, throttle, counted, draining, strange, failing }))
    }

    /// From now on nothing new begins: 503 with `Retry-After`.
    pub(crate) fn drain(&self) {
        self.0.draining.store(true, Ordering::Relaxed);
    }

    fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Relaxed)
    }

    /// Everything that the listener serves. A slash at the end of a path means nothing.
    pub(crate) fn app(&self) -> App {
        let router = Router::new()
            .fallback(answer::<D>)
            .layer(axum::middleware::from_fn_with_state(self.clone(), around::<D>))
            .with_state(self.clone());
        NormalizePath::trim_trailing_slash(router)
    }

    /// `/healthz`: the program lives. `/readyz`: new sessions can begin; for what stands before several proxies and chooses.
    fn probe(&self, path: &str) -> Option<Response> {
        let said = |status: StatusCode, word: &str| (status, Json(json!({ "status": word }))).into_response();
        match path {
            "/healthz" => Some(said(StatusCode::OK, "ok")),
            "/readyz" if self.is_draining() => Some(said(StatusCode::SERVICE_UNAVAILABLE, "draining")),
            "/readyz" => Some(match (self.0.settings.unready)() {
                None => said(StatusCode::OK, "ready"),
                Some(reason) => {
                    let body = json!({ "status": "unready", "reason": reason });
                    (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
                }
            }),
            _ => None,
        }
    }

    /// Whom a request comes from.
    fn client(&self, connection: &Connection, headers: &HeaderMap, authority: Option<&Authority>) -> Client {
        let peer = connection.peer.ip();
        let says = |name: &str| match self.0.settings.trusted.trusts(peer) {
            true => headers.get(name).and_then(|value| value.to_str().ok()),
            false => None,
        };
        Client {
            ip: self.0.settings.trusted.client(peer, headers),
            host: says("x-forwarded-host").or(authority.map(Authority::as_str)).map(str::to_owned),
            https: connection.encrypted || says("x-forwarded-proto") == Some("https"),
        }
    }
}

async fn answer<D: Directory>(FromState(entry): FromState<Entry<D>>, request: RawRequest) -> Result<Response, Error> {
    let (parts, whole) = request.into_parts();
    if let (&(Method::GET | Method::HEAD), Some(said)) = (&parts.method, entry.probe(parts.uri.path())) {
        return Ok(said);
    }
    // Only the listener makes requests, and it says whose they are.
    let connection = parts.extensions.get::<Connection>().ok_or(Error::Internal)?;
    let authority = request::authority(&parts.uri, &parts.headers)?;
    let settings = &entry.0.settings;
    if settings.origins.refuse(&parts.method, &parts.headers, authority.as_ref()) {
        return Err(Error::ForeignOrigin);
    }
    let client = entry.client(connection, &parts.headers, authority.as_ref());
    if parts.method == Method::POST && entry.is_draining() {
        return Err(Error::Draining);
    }
    // Whatever may ask an origin or the registry counts; what pages ask before that is answered here.
    if !is_preflight(&parts.method, &parts.headers) {
        entry.0.throttle.request(client.ip)?;
    }
    let bytes = body::read(whole, MOST_BYTES).await?;
    let caller = Caller {
        peer: connection.peer,
        authority: authority.as_ref(),
        headers: &parts.headers,
        query: parts.uri.query(),
        ours: false,
    };
    let called = client.host.as_deref().and_then(|host| host.parse::<Authority>().ok());
    let candidates = match parts.method {
        Method::POST | Method::PATCH => {
            settings.announcer.candidates_for(called.as_ref().map(Authority::host), &caller).await
        }
        _ => Vec::new(),
    };
    let request = Request {
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().map(str::to_owned),
        headers: parts.headers,
        body: bytes,
        client,
        candidates,
    };
    entry.0.signal.answer(request).await.map(|response| response.map(Body::from)).map_err(Error::Proxy)
}

/// Around every request: refuses what is none, swallows what was left of the body, completes the header fields, and keeps
/// the log.
async fn around<D: Directory>(FromState(entry): FromState<Entry<D>>, request: RawRequest, next: Next) -> Response {
    let begun = Instant::now();
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let connection = request.extensions().get::<Connection>().cloned();
    let origin = request.headers().get(header::ORIGIN).cloned();
    let peer = connection.as_ref().map(|connection| connection.peer.ip());
    let client = peer.map(|peer| entry.0.settings.trusted.client(peer, request.headers()));
    // Polling the rest would ask for a body that the client holds back until it is wanted.
    let body_is_held_back = request.headers().contains_key(header::EXPECT);
    let (parts, whole) = request.into_parts();
    let (whole, rest) = body::Rest::of(whole);
    let request = RawRequest::from_parts(parts, whole);
    let mut response = match improper(&request, connection.as_ref()) {
        Some(error) => error.into_response(),
        None => next.run(request).await,
    };
    if !body_is_held_back {
        rest.swallow().await;
    }
    entry.0.settings.origins.tell(origin.as_ref(), response.headers_mut());
    complete(response.headers_mut());
    if connection.as_ref().is_some_and(Connection::is_last) {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    // The path is never logged: a session URL is a credential, and so may be the query.
    debug!(%method, status = response.status().as_u16(), ms = begun.elapsed().as_millis(), "HTTP");
    entry.0.counted.request(&uri, &method, response.status());
    entry.tell_of(&response, client);
    response
}

impl<D> Entry<D> {
    /// One line a second at most about what goes wrong. What an origin refuses is in its own log.
    fn tell_of(&self, response: &Response, client: Option<IpAddr>) {
        let (status, now) = (response.status(), Instant::now());
        let Some(Reason(reason)) = response.extensions().get::<Reason>() else { return };
        let (peer, status_code) = (client.map(|ip| ip.to_string()).unwrap_or_default(), status.as_u16());
        if status.is_server_error() {
            if let Some(more) = self.0.failing.pass(now) {
                warn!(peer, status = status_code, reason, more, "request not passed on");
            }
        } else if let Some(more) = self.0.strange.pass(now) {
            info!(peer, status = status_code, reason, more, "improper request");
        }
    }
}
