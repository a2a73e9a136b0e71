//! POST of an offer, the same for both protocols: read it in the order of checks, ask the media plane, answer 201.

use std::sync::Arc;
use std::time::SystemTime;

use axum::http::header::{self, HeaderValue};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use whipstitch_ffmpeg::process::{self, Fed, Order};
use whipstitch_stream::StreamKey;

use super::error::Error;
use super::request::Request;
use super::{Mount, State, Takes, options, plain};
use crate::access::{Right, Subject};
use crate::media::{Accepted, Join, Media, Role};

/// What a POST takes.
pub(super) static OFFER: Takes = Takes { field: "accept-post", media_type: "application/sdp" };
/// What a PATCH takes.
pub(super) static FRAGMENT: Takes = Takes { field: "accept-patch", media_type: "application/trickle-ice-sdpfrag" };

/// `protocol.md` 15: Chrome's offers reach about 10 KiB.
pub(super) const LARGEST: usize = 64 * 1024;

/// OPTIONS on an endpoint. Clients ask before they offer to learn of ICE servers; who could not offer, and a browser's
/// preflight, which is nobody's question, is not told (`protocol.md` 3.1).
pub(super) fn endpoint_options(
    mount: &Mount,
    state: &State,
    right: Right,
    allow: &'static str,
    request: &Request,
) -> Result<Response, Error> {
    let mut response = options(allow, Some(&OFFER));
    if !request.is_preflight() && enter(mount, state, right, request).is_ok() {
        tell_of_ice_servers(state, response.headers_mut())?;
    }
    Ok(response)
}

/// Access to the stream that a request to an endpoint names.
pub(super) fn enter(mount: &Mount, state: &State, right: Right, request: &Request) -> Result<Option<Subject>, Error> {
    state.allow_on(right, mount.named(request).as_ref(), request)
}

/// RFC 9725 4.6, one field for each URL. Answers that may carry credentials are `no-store` already, as all answers
/// without a word of their own are.
fn tell_of_ice_servers(state: &State, headers: &mut HeaderMap) -> Result<(), Error> {
    let now = SystemTime::now();
    for link in state.0.settings.ice_servers.iter().flat_map(|server| server.links(now)) {
        let mut link = value(&link)?;
        link.set_sensitive(true);
        headers.append(header::LINK, link);
    }
    Ok(())
}

/// Accepts the offer of a request that has access, of this subject.
pub(super) async fn accept(
    mount: &Mount,
    state: &State,
    mut request: Request,
    subject: Option<Subject>,
) -> Result<Response, Error> {
    if state.is_draining() {
        return Err(Error::Draining);
    }
    state.0.throttle.request(request.client())?;
    let text = request.read(LARGEST, &OFFER).await?;
    let stream = mount.stream(&request)?;
    let offer = text.text()?;
    if mount.role == Role::Publisher {
        admitted(state, &stream)?;
    }
    if mount.role == Role::Publisher
        && let Some(plain) = plain::offered(state, &request, &offer)?
    {
        let place = plain::place(state, request.caller().is_on_this_machine(), request.host()).await?;
        let accepted = plain::accept(mount, place, &stream, &plain, (request.user_agent(), subject)).await?;
        if let Err(refused) = settled(state, &stream).await {
            state.0.media.close_publisher(&stream);
            return Err(refused);
        }
        return Ok(accepted);
    }
    let caller = request.caller();
    let client = request.client();
    let candidates = state.0.announcer.candidates_for(request.host(), &caller).await;
    if candidates.is_empty() {
        return Err(Error::NoAddress);
    }
    let (role, user_agent, asked, media) =
        (mount.role, request.user_agent(), stream.clone(), Arc::clone(&state.0.media));
    let subject = subject.map(|subject| subject.name());
    let answer = state.ask(move |_| {
        let join = Join { stream: &asked, offer: &offer, candidates: &candidates, client, user_agent, subject };
        let accepted = match role {
            Role::Publisher => media.publish(&join),
            Role::Subscriber => media.watch(&join),
        };
        accepted.map(|accepted| Untold { media, role, stream: asked, accepted: Some(accepted) })
    });
    let untold = answer.await?.map_err(Error::Offer)?;
    if role == Role::Publisher {
        settled(state, &stream).await?;
    }
    let accepted = untold.tell()?;
    let mut response = created(mount, &stream, accepted)?;
    tell_of_ice_servers(state, response.headers_mut())?;
    Ok(response)
}

const NO_INGEST: Error = Error::NoSuch("webrtc: whip: no ingest registered for process");

/// Whether the stream may be published as far as processes are concerned (S1-R3): one that is for a process is let in while
/// that is ordered to run, or if it starts with its publisher.
fn admitted(state: &State, stream: &StreamKey) -> Result<(), Error> {
    match state.fed_by(stream) {
        Some(Fed { order: Order::Stop, start_on_publish: false, .. }) => Err(NO_INGEST),
        _ => Ok(()),
    }
}

/// The same for who has been accepted: a process may have been stopped meanwhile, and one that starts with its publisher is
/// started now. Whoever is refused here ends.
async fn settled(state: &State, stream: &StreamKey) -> Result<(), Error> {
    match state.fed_by(stream) {
        Some(Fed { process, order: Order::Stop, start_on_publish: true }) => {
            let started = match &state.0.settings.processes {
                Some(processes) => processes.start_for_publisher(&process).await,
                None => Ok(()),
            };
            started.map_err(|error| match error {
                process::Error::Closed => Error::Draining,
                error => {
                    tracing::warn!(process, %error, "a publisher could not start it");
                    NO_INGEST
                }
            })
        }
        Some(Fed { order: Order::Stop, .. }) => Err(NO_INGEST),
        _ => Ok(()),
    }
}

/// A session whose URL nobody was told yet. Dropped, it ends: who has waited too long for the answer, or has gone, may come
/// back at once and finds the stream free.
struct Untold {
    media: Arc<dyn Media>,
    role: Role,
    stream: StreamKey,
    accepted: Option<Accepted>,
}

impl Untold {
    fn tell(mut self) -> Result<Accepted, Error> {
        self.accepted.take().ok_or(Error::Internal)
    }
}

impl Drop for Untold {
    fn drop(&mut self) {
        if let Some(Accepted { resource, .. }) = &self.accepted {
            // Not found: it has ended by itself.
            let _ = self.media.delete(self.role, &self.stream, resource);
        }
    }
}

/// RFC 9725 4.2. OBS replaces the path of its URL with `Location` as it is.
fn created(mount: &Mount, stream: &StreamKey, accepted: Accepted) -> Result<Response, Error> {
    let location = mount.location(stream, &accepted.resource);
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(OFFER.media_type));
    headers.insert(header::LOCATION, value(&location)?);
    headers.insert(header::ETAG, value(&accepted.etag)?);
    FRAGMENT.announce(&mut headers);
    Ok((StatusCode::CREATED, headers, accepted.answer).into_response())
}

/// A header value of text that is ours. What cannot be sent would be a fault of the media plane.
pub(super) fn value(text: &str) -> Result<HeaderValue, Error> {
    HeaderValue::from_str(text).map_err(|_| Error::Internal)
}
