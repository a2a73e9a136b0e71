//! Session URLs, `protocol.md` 3.3 and 4: trickle, ICE restart and teardown; and the API's way to see and end a session.
//!
//! The URL is the credential. Whether an `If-Match` is missing, stale or right is the media plane's to say, because
//! only it knows the generation at that very moment; what comes before that check comes here.

use axum::extract::State as FromState;
use axum::http::header::{self, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use whipstitch_stream::StreamKey;

use super::error::Error;
use super::mounts::Manners;
use super::offer::{FRAGMENT, OFFER, value};
use super::request::Request;
use super::{Mount, State, options, streams};
use crate::access::{Decision, Right, SessionAuth, Subject};
use crate::media::{NotFound, Patched, Role};

const ALLOW: &str = "OPTIONS, GET, HEAD, PATCH, DELETE";
const NO_SESSION: &str = "no such session";

/// `protocol.md` 15: 64 candidates.
const LARGEST: usize = 16 * 1024;

/// What names a session to the media plane. A session of WHIP is none under a path of WHEP.
#[derive(Clone)]
struct SessionUrl {
    role: Role,
    stream: StreamKey,
    resource: String,
}

pub(super) async fn session(
    mount: &'static Mount,
    FromState(state): FromState<State>,
    request: Request,
) -> Result<Response, Error> {
    if request.method() == Method::OPTIONS {
        return Ok(options(ALLOW, Some(&FRAGMENT)));
    }
    if ![Method::GET, Method::HEAD, Method::PATCH, Method::DELETE].contains(request.method()) {
        return Err(Error::Method { allow: ALLOW });
    }
    let stream = StreamKey::parse(request.name("stream")).ok();
    let subject = state.allow_on(Right::Session(mount.role), stream.as_ref(), &request)?;
    if [Method::PATCH, Method::DELETE].contains(request.method()) {
        state.0.throttle.request(request.client())?;
    }
    let url = SessionUrl { role: mount.role, stream: request.stream()?, resource: request.resource().to_owned() };
    belongs(&state, url.clone(), subject).await?;
    match *request.method() {
        Method::PATCH => {
            exists(&state, url.clone()).await?;
            state.0.throttle.session(&url.resource)?;
            patch(mount, &state, url, request).await
        }
        // `If-Match` is ignored (RFC 9725 4.3.1), and the status is exactly 200: OBS calls 204 an error.
        Method::DELETE => match state.ask(move |media| media.delete(url.role, &url.stream, &url.resource)).await? {
            _ if mount.manners == Manners::Core => Ok(StatusCode::NO_CONTENT.into_response()),
            Ok(()) => Ok(StatusCode::OK.into_response()),
            Err(NotFound) => Err(Error::NoSuch(NO_SESSION)),
        },
        _ => {
            exists(&state, url).await?;
            Ok(StatusCode::NO_CONTENT.into_response())
        }
    }
}

/// With `session_auth = "token"` a session is used by whoever asked for it, and by the owner of all (`protocol.md` 2.5).
async fn belongs(state: &State, url: SessionUrl, subject: Option<Subject>) -> Result<(), Error> {
    if state.0.policy.session_auth == SessionAuth::Capability || subject == Some(Subject::Owner) {
        return Ok(());
    }
    let whose = state.ask(move |media| media.subject(url.role, &url.stream, &url.resource)).await?;
    if whose.is_none() || whose == subject.as_ref().map(Subject::name) {
        return Ok(());
    }
    let decision = if subject.is_some() { Decision::Insufficient } else { Decision::Missing };
    Err(Error::Denied { decision, hint: "", token: subject.and_then(|subject| subject.listed()) })
}

/// 404 comes before everything that could be said about the body.
async fn exists(state: &State, url: SessionUrl) -> Result<(), Error> {
    match state.ask(move |media| media.exists(url.role, &url.stream, &url.resource)).await? {
        true => Ok(()),
        false => Err(Error::NoSuch(NO_SESSION)),
    }
}

async fn patch(mount: &Mount, state: &State, url: SessionUrl, mut request: Request) -> Result<Response, Error> {
    let text = match request.read(LARGEST, &FRAGMENT).await {
        // WHEP -04 4.5.1: an SDP is what would complete a counter-offer, and there is none.
        Err(Error::MediaType(_)) if url.role == Role::Subscriber && request.is_of(OFFER.media_type) => {
            return Err(Error::NoCounterOffer);
        }
        text => text?,
    };
    let if_match = match (if_match(&request), mount.manners) {
        (None, Manners::Core) => Some("*".to_owned()),
        (if_match, _) => if_match,
    };
    // Bytes that are no text cannot be a fragment; that is for the media plane to say, after the preconditions.
    let fragment = text.lossy();
    let patched =
        state.ask(move |media| media.patch(url.role, &url.stream, &url.resource, if_match.as_deref(), &fragment));
    match patched.await?.map_err(Error::Fragment)? {
        // RFC 9725 4.3.2: no ETag here.
        Patched::Trickled => Ok(StatusCode::NO_CONTENT.into_response()),
        Patched::Restarted { etag, fragment } => {
            let fields =
                [(header::CONTENT_TYPE, HeaderValue::from_static(FRAGMENT.media_type)), (header::ETAG, value(&etag)?)];
            Ok((fields, fragment).into_response())
        }
    }
}

/// RFC 9110 5.3: several fields are one list. A value that is not text matches no tag, but it is there.
fn if_match(request: &Request) -> Option<String> {
    let fields = request.headers().get_all(header::IF_MATCH).iter();
    let values: Vec<_> = fields.map(|field| String::from_utf8_lossy(field.as_bytes())).collect();
    if values.is_empty() { None } else { Some(values.join(", ")) }
}

/// `/api/v1/sessions/{id}`: what it is, and its end.
pub(super) async fn of_the_api(FromState(state): FromState<State>, request: Request) -> Result<Response, Error> {
    const ALLOW: &str = "OPTIONS, GET, HEAD, DELETE";
    match *request.method() {
        Method::OPTIONS => Ok(options(ALLOW, None)),
        Method::GET | Method::HEAD => {
            state.allow(Right::Observe, &request)?;
            streams::session(&state, request.session()?).await
        }
        Method::DELETE => {
            state.allow(Right::Control, &request)?;
            let session = request.session()?;
            match state.ask(move |media| media.kick(session)).await? {
                true => Ok(StatusCode::NO_CONTENT.into_response()),
                false => Err(Error::NoSuch(NO_SESSION)),
            }
        }
        _ => Err(Error::Method { allow: ALLOW }),
    }
}
