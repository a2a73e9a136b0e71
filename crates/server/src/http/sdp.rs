//! `GET /whip/{stream}/sdp`: a description for FFmpeg on this machine, with ports of its own (design.md 2.4). Each GET
//! leases its own; a HEAD leases nothing, and tells whether the stream is live.

use axum::extract::State as FromState;
use axum::http::Method;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use whipstitch_ffmpeg::Refused as LegRefused;
use whipstitch_stream::running::Asks;
use whipstitch_stream::{PerKind, StreamKey};

use super::error::Error;
use super::offer::OFFER;
use super::request::Request;
use super::{State, options};
use crate::access::{Right, Subject};

const ALLOW: &str = "OPTIONS, GET, HEAD";

pub(super) async fn endpoint(FromState(state): FromState<State>, request: Request) -> Result<Response, Error> {
    match *request.method() {
        Method::OPTIONS => return Ok(options(ALLOW, None)),
        Method::GET | Method::HEAD => {}
        _ => return Err(Error::Method { allow: ALLOW }),
    }
    let name = request.name("stream").to_owned();
    let subject = state.allow_on(Right::Play, StreamKey::parse(&name).ok().as_ref(), &request)?;
    let asks = if matches!(subject, Some(Subject::Process(_))) { Asks::Child } else { Asks::Anybody };
    // Unlike other GETs it takes something. A child need not wait for its neighbours on this machine.
    if request.method() == Method::GET && asks == Asks::Anybody {
        state.0.throttle.request(request.client())?;
    }
    let Some(legs) = &state.0.settings.legs else { return Err(Error::NoSuch("this server leases no RTP ports")) };
    // The media goes to this machine: whoever is elsewhere would only use up ports.
    if !request.caller().is_on_this_machine() {
        return Err(Error::Elsewhere);
    }
    if state.is_draining() {
        return Err(Error::Draining);
    }
    let stream = request.stream_called(&name)?;
    let pts = PerKind { audio: payload_type(&request, "audio_pt")?, video: payload_type(&request, "video_pt")? };
    let text = match *request.method() {
        Method::HEAD => legs.check(&stream).map(|()| String::new()).map_err(Error::Leg)?,
        _ => {
            tokio::select! {
                text = legs.lease(&stream, pts, asks) => text.map_err(Error::Leg)?,
                () = gone(&state, asks, &request)? => return Err(Error::Leg(LegRefused::NotLive)),
            }
        }
    };
    Ok(([(header::CONTENT_TYPE, OFFER.media_type)], text).into_response())
}

/// Comes true when the child that asks has gone, which it may while it waits: its connection does not tell, its credential
/// does.
fn gone(state: &State, asks: Asks, request: &Request) -> Result<impl Future<Output = ()> + use<>, Error> {
    let shown = request.parameter("process", Error::StreamQuery)?.filter(|_| asks == Asks::Child);
    let issued = state.0.policy.issued.clone();
    Ok(async move {
        match shown {
            Some(shown) => issued.over(&shown).await,
            None => std::future::pending().await,
        }
    })
}

/// A payload type that the reader wishes for, of those that a description gives a meaning (RFC 3551 6).
fn payload_type(request: &Request, name: &str) -> Result<Option<u8>, Error> {
    let Some(text) = request.parameter(name, Error::PayloadTypeQuery)? else { return Ok(None) };
    let number = text.parse().ok().filter(|number| (96..=127).contains(number));
    number.map(Some).ok_or(Error::PayloadTypeQuery)
}
