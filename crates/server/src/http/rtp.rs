//! `/api/v1/streams/{stream}/rtp`: a stream that is fed by plain RTP, at ports that are leased for it.

use axum::Json;
use axum::extract::State as FromState;
use axum::http::header;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use whipstitch_ffmpeg::{Client, Wanted};
use whipstitch_media::sdp;

use super::error::Error;
use super::offer::{LARGEST, OFFER, value};
use super::request::Request;
use super::shown::RtpInput;
use super::{State, options, plain};
use crate::access::Right;

const ALLOW: &str = "OPTIONS, GET, HEAD, POST, DELETE";

const NO_INPUT: Error = Error::NoSuch("no plain RTP is taken for this stream");

pub(super) async fn endpoint(FromState(state): FromState<State>, request: Request) -> Result<Response, Error> {
    let method = request.method().clone();
    if method == Method::OPTIONS {
        return Ok(options(ALLOW, Some(&OFFER)));
    }
    if ![Method::GET, Method::HEAD, Method::POST, Method::DELETE].contains(&method) {
        return Err(Error::Method { allow: ALLOW });
    }
    let named = whipstitch_stream::StreamKey::parse(request.name("stream")).ok();
    state.allow_on(Right::Publish, named.as_ref(), &request)?;
    if method == Method::POST {
        return open(&state, request).await;
    }
    let stream = request.stream()?;
    let input = state.0.settings.plain.as_ref().and_then(|plain| plain.input(&stream)).ok_or(NO_INPUT)?;
    if method != Method::DELETE {
        return Ok(Json(RtpInput::of(&input, input.local)).into_response());
    }
    state.0.throttle.request(request.client())?;
    match input.session {
        Some(session) if !input.configured => match state.ask(move |media| media.kick(session)).await? {
            true => Ok(StatusCode::NO_CONTENT.into_response()),
            false => Err(NO_INPUT),
        },
        _ => Err(Error::Configured),
    }
}

async fn open(state: &State, mut request: Request) -> Result<Response, Error> {
    if state.is_draining() {
        return Err(Error::Draining);
    }
    state.0.throttle.request(request.client())?;
    let text = request.read(LARGEST, &OFFER).await?;
    let stream = request.stream()?;
    let (plain, place) = plain::place(state, request.caller().is_on_this_machine(), request.host()).await?;
    let sections = sdp::read(&text.text()?).map_err(plain::unusable)?;
    let wanted = Wanted { stream: stream.clone(), sections, local: place.local };
    let client = Client { user_agent: request.user_agent(), listed: true, ..Client::default() };
    let input = plain.open(wanted, client).await.map_err(plain::refused)?;
    let location = value(&format!("/api/v1/streams/{stream}/rtp"))?;
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(RtpInput::of(&input, place.announced)))
        .into_response())
}
