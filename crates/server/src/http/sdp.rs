//! `GET /whip/{stream}/sdp`: a description for FFmpeg on this machine, with ports of its own (design.md 2.4). Each GET
//! leases its own; a HEAD leases nothing, and tells whether the stream is live.

use std::time::Duration;

use axum::extract::State as FromState;
use axum::http::Method;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use whipstitch_ffmpeg::Refused as LegRefused;
use whipstitch_stream::{PerKind, StreamKey};

use super::error::Error;
use super::offer::OFFER;
use super::request::Request;
use super::{State, options};
use crate::access::Right;

const ALLOW: &str = "OPTIONS, GET, HEAD";

/// How often it is looked whether a child that waits is still there.
const LOOK: Duration = Duration::from_secs(1);

pub(super) async fn endpoint(FromState(state): FromState<State>, request: Request) -> Result<Response, Error> {
    match *request.method() {
        Method::OPTIONS => return Ok(options(ALLOW, None)),
        Method::GET | Method::HEAD => {}
        _ => return Err(Error::Method { allow: ALLOW }),
    }
    let name = request.name("stream").to_owned();
    state.allow_on(Right::Play, StreamKey::parse(&name).ok().as_ref(), &request)?;
    // Unlike other GETs it takes something.
    if request.method() == Method::GET {
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
            let child =
                request.parameter("token", Error::StreamQuery)?.filter(|text| state.0.policy.issued.holds(text));
            let lease = legs.lease(&stream, pts, child.is_some());
            tokio::select! {
                text = lease => text.map_err(Error::Leg)?,
                () = given_up(&state, child.as_deref()) => return Err(Error::Leg(LegRefused::NotLive)),
            }
        }
    };
    Ok(([(header::CONTENT_TYPE, OFFER.media_type)], text).into_response())
}

/// A child of ours may wait as long as it likes, and its connection does not tell when it has gone: its credential does.
async fn given_up(state: &State, child: Option<&str>) {
    let Some(child) = child else { return std::future::pending().await };
    while state.0.policy.issued.holds(child) {
        tokio::time::sleep(LOOK).await;
    }
}

/// A payload type that the reader wishes for, of those that a description gives a meaning (RFC 3551 6).
fn payload_type(request: &Request, name: &str) -> Result<Option<u8>, Error> {
    let Some(text) = request.parameter(name, Error::PayloadTypeQuery)? else { return Ok(None) };
    let number = text.parse().ok().filter(|number| (96..=127).contains(number));
    number.map(Some).ok_or(Error::PayloadTypeQuery)
}
