//! What is going on: lists and numbers for people and programs who may know.

use axum::Json;
use axum::extract::State as FromState;
use axum::http::Method;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use whipstitch_stream::SessionId;

use super::error::Error;
use super::ops::ALLOW_READ;
use super::request::Request;
use super::shown::{self, Listed, Now, Numbers, Sessions, Streams};
use super::{State, options};
use crate::access::Right;
use crate::media::Media;

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
    let leased = state.0.settings.plain.as_ref().map_or(0, |plain| plain.inputs.ports().in_use());
    let numbers = Numbers {
        active_streams: counts.streams,
        active_peers: counts.subscribers,
        active_publishers: counts.publishers,
        udp_ports_in_use: sockets + leased,
    };
    Ok(Json(numbers).into_response())
}

pub(super) async fn list(FromState(state): FromState<State>, request: Request) -> Result<Response, Error> {
    if let Some(response) = before(&state, &request)? {
        return Ok(response);
    }
    let list = |media: &dyn Media| {
        let mut reports = media.streams();
        reports.sort_by(|one, other| one.key.cmp(&other.key));
        let now = Now::read();
        Ok(Streams { streams: reports.into_iter().map(|report| shown::stream(report, now)).collect() })
    };
    tell(&state, list).await
}

pub(super) async fn one(FromState(state): FromState<State>, request: Request) -> Result<Response, Error> {
    if let Some(response) = before(&state, &request)? {
        return Ok(response);
    }
    let key = request.stream()?;
    let one = move |media: &dyn Media| {
        let report = media.stream(&key).ok_or(Error::NoSuch("no such stream"))?;
        Ok(shown::stream(report, Now::read()))
    };
    tell(&state, one).await
}

/// The sessions there are; with `?state=closed` those that ended lately.
pub(super) async fn sessions(FromState(state): FromState<State>, request: Request) -> Result<Response, Error> {
    if let Some(response) = before(&state, &request)? {
        return Ok(response);
    }
    let list = match request.parameter("state", Error::StateQuery)?.as_deref() {
        None | Some("open") => open,
        Some("closed") => closed,
        Some(_) => return Err(Error::StateQuery),
    };
    let sessions = move |media: &dyn Media| list(media).into_iter().map(|(_, shown)| shown).collect();
    tell(&state, move |media| Ok(Sessions { sessions: sessions(media) })).await
}

/// One session, also if it ended lately.
pub(super) async fn session(state: &State, session: SessionId) -> Result<Response, Error> {
    let one = move |media: &dyn Media| {
        let among = |list: Vec<(SessionId, Listed)>| list.into_iter().find(|(id, _)| *id == session);
        let found = among(open(media)).or_else(|| among(closed(media)));
        found.map(|(_, shown)| shown).ok_or(Error::NoSuch("no such session"))
    };
    tell(state, one).await
}

/// What the media plane says, as JSON. All of it is made off the threads that serve HTTP: with many viewers a list is
/// megabytes.
async fn tell<T: Serialize>(
    state: &State,
    question: impl FnOnce(&dyn Media) -> Result<T, Error> + Send + 'static,
) -> Result<Response, Error> {
    state.ask(move |media| question(media).map(|shown| Json(shown).into_response())).await?
}

/// By stream, the oldest first.
fn open(media: &dyn Media) -> Vec<(SessionId, Listed)> {
    let streams = media.streams();
    let now = Now::read();
    let mut all: Vec<_> = streams.into_iter().flat_map(|stream| shown::listed(stream, now)).collect();
    all.sort_by(|(one, _), (other, _)| {
        (&one.stream, one.stats.since, one.session).cmp(&(&other.stream, other.stats.since, other.session))
    });
    all.into_iter().map(|(report, shown)| (report.session, shown)).collect()
}

/// The latest first.
fn closed(media: &dyn Media) -> Vec<(SessionId, Listed)> {
    let sessions = media.closed();
    let now = Now::read();
    sessions.iter().map(|closed| (closed.report.session, shown::closed(closed, now))).collect()
}
