//! What is going on: lists and numbers for people and programs who may know.

use axum::Json;
use axum::extract::State as FromState;
use axum::http::Method;
use axum::response::{IntoResponse, Response};
use whipstitch_stream::SessionId;

use super::error::Error;
use super::ops::ALLOW_READ;
use super::request::Request;
use super::shown::{self, Listed, Now, Numbers, Sessions, Streams};
use super::{State, options};
use crate::access::Right;

/// Answers OPTIONS and refuses other methods and callers; `None` when the request may go on.
pub(super) fn before(state: &State, request: &Request) -> Result<Option<Response>, Error> {
    match *request.method() {
        Method::OPTIONS => Ok(Some(options(ALLOW_READ, None))),
        Method::GET | Method::HEAD => state.allow(Right::Observe, request).map(|()| None),
        _ => Err(Error::Method { allow: ALLOW_READ }),
    }
}

pub(super) async fn counts(FromState(state): FromState<State>, request: Request) -> Result<Response, Error> {
    if let Some(response) = before(&state, &request)? {
        return Ok(response);
    }
    let (counts, sockets) = state.ask(|media| (media.counts(), media.local_addrs().len())).await?;
    let numbers = Numbers {
        active_streams: counts.streams,
        active_peers: counts.subscribers,
        active_publishers: counts.publishers,
        udp_ports_in_use: sockets,
    };
    Ok(Json(numbers).into_response())
}

pub(super) async fn list(FromState(state): FromState<State>, request: Request) -> Result<Response, Error> {
    if let Some(response) = before(&state, &request)? {
        return Ok(response);
    }
    let mut reports = state.ask(|media| media.streams()).await?;
    reports.sort_by(|one, other| one.key.cmp(&other.key));
    let now = Now::read();
    let streams = reports.into_iter().map(|report| shown::stream(report, now)).collect();
    Ok(Json(Streams { streams }).into_response())
}

pub(super) async fn one(FromState(state): FromState<State>, request: Request) -> Result<Response, Error> {
    if let Some(response) = before(&state, &request)? {
        return Ok(response);
    }
    let key = request.stream()?;
    let report = state.ask(move |media| media.stream(&key)).await?;
    let report = report.ok_or(Error::NoSuch("no such stream"))?;
    Ok(Json(shown::stream(report, Now::read())).into_response())
}

/// The sessions there are; with `?state=closed` those that ended lately.
pub(super) async fn sessions(FromState(state): FromState<State>, request: Request) -> Result<Response, Error> {
    if let Some(response) = before(&state, &request)? {
        return Ok(response);
    }
    let sessions = match request.parameter("state", Error::StateQuery)?.as_deref() {
        None | Some("open") => open(&state).await?.into_iter().map(|(_, shown)| shown).collect(),
        Some("closed") => closed(&state).await?.into_iter().map(|(_, shown)| shown).collect(),
        Some(_) => return Err(Error::StateQuery),
    };
    Ok(Json(Sessions { sessions }).into_response())
}

/// One session, also if it ended lately.
pub(super) async fn session(state: &State, session: SessionId) -> Result<Response, Error> {
    let is_it = |(id, _): &(SessionId, Listed)| *id == session;
    if let Some((_, shown)) = open(state).await?.into_iter().find(is_it) {
        return Ok(Json(shown).into_response());
    }
    let (_, shown) = closed(state).await?.into_iter().find(is_it).ok_or(Error::NoSuch("no such session"))?;
    Ok(Json(shown).into_response())
}

/// By stream, the oldest first.
async fn open(state: &State) -> Result<Vec<(SessionId, Listed)>, Error> {
    let streams = state.ask(|media| media.streams()).await?;
    let now = Now::read();
    let mut all: Vec<_> = streams.into_iter().flat_map(|stream| shown::listed(stream, now)).collect();
    all.sort_by(|(one, _), (other, _)| {
        (&one.stream, one.stats.since, one.session).cmp(&(&other.stream, other.stats.since, other.session))
    });
    Ok(all.into_iter().map(|(report, shown)| (report.session, shown)).collect())
}

/// The latest first.
async fn closed(state: &State) -> Result<Vec<(SessionId, Listed)>, Error> {
    let sessions = state.ask(|media| media.closed()).await?;
    let now = Now::read();
    Ok(sessions.iter().map(|closed| (closed.report.session, shown::closed(closed, now))).collect())
}
