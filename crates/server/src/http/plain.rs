//! An offer of plain RTP at a WHIP endpoint (design.md 2.4): judged by who brings it, answered with ports of its own. Its
//! session has a URL as every session, which knows no PATCH: there is no ICE.

use axum::http::header::{self, HeaderValue};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use whipstitch_ffmpeg::{Client, InputRefused, Wanted};
use whipstitch_media::sdp::{self, Header};
use whipstitch_stream::{PerKind, StreamKey};

use super::error::Error;
use super::offer::{OFFER, value};
use super::request::Request;
use super::{Mount, State};
use crate::access::Subject;
use crate::media::Refusal;
use crate::plain::{Place, Plain};

/// The offer, if it is one of plain RTP and this client may bring one.
pub(super) fn offered(state: &State, request: &Request, text: &str) -> Result<Option<sdp::plain::Offer>, Error> {
    let Some(plain) = &state.0.settings.plain else { return Ok(None) };
    let offer = sdp::plain::Offer::read(text);
    if !matches!(offer, Ok(None)) {
        plain.allows(request.caller().is_on_this_machine()).map_err(Error::NoPlainRtp)?;
    }
    offer.map_err(unusable)
}

/// Accepts an offer that was found to be one.
pub(super) async fn accept(
    mount: &Mount,
    (plain, place): (&Plain, Place),
    stream: &StreamKey,
    offer: &sdp::plain::Offer,
    (user_agent, subject): (Option<String>, Option<Subject>),
) -> Result<Response, Error> {
    let wanted = Wanted { stream: stream.clone(), sections: offer.sections().cloned().collect(), local: place.local };
    let rtcp = PerKind::from_fn(|kind| offer.rtcp_port(kind));
    let client = Client { user_agent, rtcp, ends_with_bye: true, ..Client::default() };
    let subject = subject.map(|subject| subject.name());
    let (input, url) = plain.publish(wanted, client, subject).await.map_err(refused)?;
    let header = Header {
        name: stream.as_str(),
        // 63 bits: some readers take a signed number.
        id: input.session.map_or(1, |session| session.0 >> 1),
        version: 1,
        origin: place.announced,
        connection: place.announced,
        rtsp: false,
    };
    let answer = offer.answer(&header, |kind| input.tracks[kind].map_or(0, |inlet| inlet.port));
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(OFFER.media_type));
    headers.insert(header::LOCATION, value(&mount.location(stream, &url.resource))?);
    headers.insert(header::ETAG, value(&url.etag)?);
    Ok((StatusCode::CREATED, headers, answer).into_response())
}

/// Who takes plain RTP, and where it takes that of a client that called `host`.
pub(super) async fn place<'a>(
    state: &'a State,
    is_on_this_machine: bool,
    host: Option<&str>,
) -> Result<(&'a Plain, Place), Error> {
    let Some(plain) = &state.0.settings.plain else {
        return Err(Error::NoSuch("this server takes no plain RTP"));
    };
    plain.allows(is_on_this_machine).map_err(Error::NoPlainRtp)?;
    let candidates = state.0.announcer.candidates(host, is_on_this_machine).await;
    let place = plain.place(is_on_this_machine, host, &candidates).ok_or(Error::NoAddress)?;
    Ok((plain, place))
}

/// A description that cannot be used.
pub(super) fn unusable(error: sdp::Error) -> Error {
    Error::Offer(match error {
        sdp::Error::Syntax(text) => Refusal::Syntax(text),
        sdp::Error::Codec(text) => Refusal::Codec { lacking: Vec::new(), text },
        sdp::Error::Unusable(text) => Refusal::Unusable(text),
    })
}

/// What an input is refused for.
pub(super) fn refused(refused: InputRefused) -> Error {
    match refused {
        InputRefused::Occupied { retry } => Error::Offer(Refusal::Conflict { retry_after: retry }),
        InputRefused::Held => Error::Offer(Refusal::Held),
        InputRefused::NoPorts => Error::Leg(whipstitch_ffmpeg::Refused::NoPorts),
        InputRefused::Full => Error::Leg(whipstitch_ffmpeg::Refused::Full),
        InputRefused::Bind(_) => Error::Internal,
    }
}
