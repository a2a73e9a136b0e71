//! The admin listener of a proxy: where origins register, operators drain them, and everybody who may sees what there is.
//!
//! Who may is one rule: with a secret, whoever shows it (`Authorization: Bearer`; SRS, which cannot, in its URL); without
//! one, programs on this machine. `/healthz` says nothing and is open, and so are the page and its files, which hold
//! nothing and ask for the secret. What is shown names no session's URL and no password of anybody.

mod metrics;
mod refusal;
mod shown;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use axum::Json;
use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::{Extension, Path, Request, State as FromState};
use axum::http::header;
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use prometheus::proto::MetricFamily;
use serde_json::json;
use tracing::{info, warn};
use whipstitch_proxy::OriginId;
use whipstitch_proxy::origins::{Heartbeat, srs};
use whipstitch_proxy::state::{Refused, State};

use self::refusal::Refusal;
use crate::access::{Caller, Decision, Policy, Right, Subject, Verdict};
use crate::credentials::Token;
use crate::guesses::{GUESSES, Guesses};
use crate::http::connection::Connection;
use crate::http::pages;
use crate::http::request::authority;
use crate::logging::Brake;

/// A heartbeat with a thousand names of 128 letters, and room.
const LARGEST: usize = 256 * 1024;
/// Letters of what is wrong with a registration that go into the log.
const MOST_OF_A_REASON: usize = 200;
/// For a body to come.
const BODY: Duration = Duration::from_secs(10);

/// What else the metrics say: of the parts of the proxy that the state knows nothing of.
pub type MoreMetrics = Arc<dyn Fn() -> Vec<MetricFamily> + Send + Sync>;

/// What all routes share.
#[derive(Clone)]
struct Admin(Arc<Shared>);

struct Shared {
    state: Arc<State>,
    policy: Policy,
    guesses: Guesses,
    denied: Brake,
    malformed: Brake,
    refused: Brake,
    /// Requests that were denied, by why.
    denials: Mutex<BTreeMap<&'static str, u64>>,
    malformations: AtomicU64,
    started: SystemTime,
    more: MoreMetrics,
}

/// The routes of the admin listener. They need the listener's [`Connection`] in each request's extensions.
pub fn routes(state: Arc<State>, secret: Option<Token>, more: MoreMetrics) -> Router {
    let admin = Admin(Arc::new(Shared {
        state,
        policy: Policy { token: secret, ..Policy::default() },
        guesses: Guesses::new(GUESSES, Instant::now()),
        denied: Brake::default(),
        malformed: Brake::default(),
        refused: Brake::default(),
        denials: Mutex::new(["missing", "wrong", "malformed", "guessing"].map(|why| (why, 0)).into()),
        malformations: AtomicU64::new(0),
        started: SystemTime::now(),
        more,
    }));
    let guarded = Router::new()
        .route("/api/v1/origins", get(origins).post(heartbeat))
        .route("/api/v1/origins/{id}", delete(remove))
        .route("/api/v1/origins/{id}/drain", post(drain).delete(undrain))
        .route("/api/v1/srs/register", post(register))
        .route("/api/v1/versions", get(versions))
        .route("/api/v1/streams", get(streams))
        .route("/api/v1/sessions", get(sessions))
        .route("/metrics", get(scrape))
        .layer(from_fn_with_state(admin.clone(), guard));
    Router::new()
        .merge(guarded)
        .route("/healthz", get(|| async { Json(json!({ "status": "ok" })) }))
        .route("/", get(|| async { pages::standalone("map.html") }))
        .route("/assets/{file}", get(|Path(file): Path<String>| async move { pages::standalone_asset(&file) }))
        .fallback(|| async { Refusal::NoSuchRoute })
        .with_state(admin)
}

/// Lets in whom the rule lets in.
async fn guard(FromState(admin): FromState<Admin>, mut request: Request, next: Next) -> Response {
    let Some(peer) = request.extensions().get::<Connection>().map(|connection| connection.peer) else {
        return Refusal::Internal.into_response();
    };
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    if let Err(refusal) = admin.judge(peer, &request) {
        return refusal.into_response();
    }
    request.extensions_mut().insert(Peer(peer.ip()));
    next.run(request).await
}

/// Whom a request comes from.
#[derive(Clone, Copy)]
struct Peer(IpAddr);

impl Admin {
    fn judge(&self, from: SocketAddr, request: &Request) -> Result<(), Refusal> {
        let (verdict, peer) = (self.verdict(from, request), from.ip());
        if let Err(wait) = self.0.guesses.pass(peer, &verdict, Instant::now()) {
            self.denied(peer, "guessing");
            return Err(Refusal::Guessing { wait });
        }
        match verdict.decision {
            Decision::Allowed => Ok(()),
            Decision::Malformed => {
                self.denied(peer, "malformed");
                Err(Refusal::Credential)
            }
            Decision::Missing => {
                self.denied(peer, "missing");
                Err(Refusal::Denied { has_secret: self.0.policy.token.is_some(), invalid: false })
            }
            Decision::Wrong | Decision::Expired | Decision::Insufficient => {
                self.denied(peer, "wrong");
                Err(Refusal::Denied { has_secret: true, invalid: true })
            }
        }
    }

    fn verdict(&self, peer: SocketAddr, request: &Request) -> Verdict {
        let said = |decision| Verdict { decision, subject: None };
        let (Ok(host), headers) = (authority(request.uri(), request.headers()), request.headers()) else {
            return said(Decision::Malformed);
        };
        if let (Some(secret), Some(shown)) = (&self.0.policy.token, secret_in_url(request.uri())) {
            return match secret.matches(&shown) {
                true => Verdict { decision: Decision::Allowed, subject: Some(Subject::Owner) },
                false => said(Decision::Wrong),
            };
        }
        let caller = Caller { peer, authority: host.as_ref(), headers, query: None, ours: false };
        self.0.policy.decide(Right::Observe, None, &caller, SystemTime::now())
    }

    fn denied(&self, peer: IpAddr, why: &'static str) {
        let mut denials = self.0.denials.lock().unwrap_or_else(PoisonError::into_inner);
        *denials.entry(why).or_default() += 1;
        if let Some(more) = self.0.denied.pass(Instant::now()) {
            warn!(%peer, why, more, "a request to the admin listener was denied");
        }
    }

    /// Says what is wrong with a registration, and logs that there was one.
    fn malformed(&self, peer: IpAddr, what: String) -> Refusal {
        self.0.malformations.fetch_add(1, Ordering::Relaxed);
        if let Some(more) = self.0.malformed.pass(Instant::now()) {
            // It may repeat what came, in quotes.
            let reason: String = what.chars().take(MOST_OF_A_REASON).collect();
            warn!(%peer, reason, more, "a registration is malformed");
        }
        Refusal::Malformed(what)
    }
}

/// SRS's heartbeat has a URL and nothing else; `?secret=` counts on that route only.
fn secret_in_url(uri: &Uri) -> Option<String> {
    if uri.path() != "/api/v1/srs/register" {
        return None;
    }
    let mut pairs = form_urlencoded::parse(uri.query()?.as_bytes());
    pairs.find(|(name, _)| name == "secret").map(|(_, secret)| secret.into_owned())
}

/// A whole body, of at most [`LARGEST`] bytes.
async fn body(request: Request) -> Result<Bytes, Refusal> {
    let whole = tokio::time::timeout(BODY, to_bytes(request.into_body(), LARGEST)).await;
    whole.map_err(|_| Refusal::Late)?.map_err(|_| Refusal::TooLarge)
}

fn origin_id(text: &str) -> Result<OriginId, Refusal> {
    OriginId::parse(text).ok_or(Refusal::NoSuchOrigin)
}

impl Admin {
    /// Says why an origin is not taken, and logs it: it is alive, and nobody sends it anything.
    fn refused(&self, peer: IpAddr, origin: &OriginId, refused: Refused) -> Refusal {
        if let Some(more) = self.0.refused.pass(Instant::now()) {
            warn!(%peer, origin = origin.as_str(), reason = %refused, more, "an origin is refused");
        }
        match refused {
            Refused::Taken => Refusal::Taken,
            Refused::TooMany => Refusal::TooMany,
        }
    }
}

/// `POST /api/v1/origins`
async fn heartbeat(
    FromState(admin): FromState<Admin>,
    Extension(Peer(peer)): Extension<Peer>,
    request: Request,
) -> Result<Response, Refusal> {
    let body = body(request).await?;
    let heartbeat = Heartbeat::parse(&body, peer).map_err(|what| admin.malformed(peer, what.to_string()))?;
    let (interval, id) = (heartbeat.record.interval, heartbeat.record.origin.id.clone());
    let taken = admin.0.state.heartbeat(heartbeat).await;
    taken.map_err(|refused| admin.refused(peer, &id, refused))?;
    Ok(Json(json!({ "interval_seconds": interval.as_secs_f64() })).into_response())
}

/// `POST /api/v1/srs/register`
async fn register(
    FromState(admin): FromState<Admin>,
    Extension(Peer(peer)): Extension<Peer>,
    request: Request,
) -> Result<Response, Refusal> {
    let body = body(request).await?;
    let record = srs::parse(&body, peer).map_err(|what| admin.malformed(peer, what.to_string()))?;
    let id = record.origin.id.clone();
    let taken = admin.0.state.registered(record).await;
    taken.map_err(|refused| admin.refused(peer, &id, refused))?;
    Ok(Json(json!({ "code": 0, "pid": std::process::id().to_string() })).into_response())
}

/// `DELETE /api/v1/origins/{id}`
async fn remove(FromState(admin): FromState<Admin>, Path(id): Path<String>) -> Result<Response, Refusal> {
    let id = origin_id(&id)?;
    match admin.0.state.remove(&id).await {
        Ok(true) => {
            info!(origin = id.as_str(), "an origin said goodbye");
            Ok(StatusCode::NO_CONTENT.into_response())
        }
        Ok(false) => Err(Refusal::NoSuchOrigin),
        Err(_) => Err(Refusal::RegistryAway),
    }
}

/// `POST /api/v1/origins/{id}/drain`
async fn drain(FromState(admin): FromState<Admin>, Path(id): Path<String>) -> Result<Response, Refusal> {
    admin.set_drained(&id, true).await
}

/// `DELETE /api/v1/origins/{id}/drain`
async fn undrain(FromState(admin): FromState<Admin>, Path(id): Path<String>) -> Result<Response, Refusal> {
    admin.set_drained(&id, false).await
}

impl Admin {
    async fn set_drained(&self, id: &str, on: bool) -> Result<Response, Refusal> {
        let id = origin_id(id)?;
        match self.0.state.drain(&id, on).await {
            Ok(true) => {
                let what = if on { "an operator drains an origin" } else { "an operator drains an origin no more" };
                info!(origin = id.as_str(), "{what}");
                Ok(StatusCode::NO_CONTENT.into_response())
            }
            Ok(false) => Err(Refusal::NoSuchOrigin),
            Err(_) => Err(Refusal::RegistryAway),
        }
    }
}

/// `GET /api/v1/origins`
async fn origins(FromState(admin): FromState<Admin>) -> Json<shown::Origins> {
    Json(shown::origins(&admin.0.state))
}

/// `GET /api/v1/streams`
async fn streams(FromState(admin): FromState<Admin>) -> Json<shown::Streams> {
    Json(shown::streams(&admin.0.state))
}

/// `GET /api/v1/sessions`
async fn sessions(FromState(admin): FromState<Admin>) -> Json<shown::Sessions> {
    Json(shown::sessions(&admin.0.state))
}

/// `GET /api/v1/versions`, as SRS has it.
async fn versions() -> Json<serde_json::Value> {
    let number = |text: &str| text.parse::<u32>().unwrap_or_default();
    Json(json!({
        "code": 0,
        "server": "whipstitch",
        "pid": std::process::id().to_string(),
        "data": {
            "major": number(env!("CARGO_PKG_VERSION_MAJOR")),
            "minor": number(env!("CARGO_PKG_VERSION_MINOR")),
            "revision": number(env!("CARGO_PKG_VERSION_PATCH")),
            "version": env!("CARGO_PKG_VERSION"),
        },
    }))
}

/// `GET /metrics`
async fn scrape(FromState(admin): FromState<Admin>) -> Result<Response, Refusal> {
    // What the process uses is read from files.
    let text = tokio::task::spawn_blocking(move || admin.metrics()).await;
    let text = text.ok().flatten().ok_or(Refusal::Internal)?;
    let media_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, media_type)], text).into_response())
}
