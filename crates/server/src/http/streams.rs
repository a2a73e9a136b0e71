//! What is going on: lists and numbers for people and programs who may know.

use std::net::SocketAddr;
use std::time::{Instant, SystemTime};

use axum::Json;
use axum::extract::State as FromState;
use axum::http::Method;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use whipstitch_stream::stats::TrackStats;

use super::error::Error;
use super::ops::ALLOW_READ;
use super::request::Request;
use super::{State, options};
use crate::access::Right;
use crate::media::{Role, SessionReport, StreamReport};

/// Answers OPTIONS and refuses other methods and callers; `None` when the request may go on.
fn before(state: &State, request: &Request) -> Result<Option<Response>, Error> {
    match *request.method() {
        Method::OPTIONS => Ok(Some(options(ALLOW_READ, None))),
        Method::GET | Method::HEAD => state.allow(Right::Observe, request).map(|()| None),
        _ => Err(Error::Method { allow: ALLOW_READ }),
    }
}

/// `GET /api/v3/webrtc/stats` (S3-R3).
#[derive(Serialize)]
struct Numbers {
    /// Streams somebody publishes or watches.
    active_streams: usize,
    /// Sessions that watch.
    active_peers: usize,
    /// Sessions that publish.
    active_publishers: usize,
    /// Sockets media arrives at; sessions share them.
    udp_ports_in_use: usize,
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

/// `GET /api/v1/streams`.
#[derive(Serialize)]
struct Streams {
    streams: Vec<Stream>,
}

/// One stream.
#[derive(Serialize)]
struct Stream {
    name: String,
    /// Whether it can be watched now.
    live: bool,
    publisher: Option<Publisher>,
    subscribers: Vec<Session>,
}

/// `GET /api/v1/sessions`.
#[derive(Serialize)]
struct Sessions {
    sessions: Vec<Listed>,
}

/// One session where its stream does not stand around it.
#[derive(Serialize)]
struct Listed {
    stream: String,
    /// `publisher` or `subscriber`.
    role: &'static str,
    #[serde(flatten)]
    session: Session,
}

/// Who publishes it, and what.
#[derive(Serialize)]
struct Publisher {
    #[serde(flatten)]
    session: Session,
    video: Option<Track>,
    audio: Option<Track>,
}

/// One session.
#[derive(Serialize)]
struct Session {
    /// For `DELETE /api/v1/sessions/{session}`.
    session: String,
    /// RFC 3339, UTC.
    since: String,
    /// Whether media can flow.
    connected: bool,
    /// Address and port of the client's media, once known.
    remote: Option<SocketAddr>,
    user_agent: Option<String>,
    codecs: Vec<&'static str>,
    /// RTP packets received from a publisher or sent to a subscriber.
    packets: u64,
    /// Their bytes.
    bytes: u64,
    /// Packets lost on the way.
    lost: u64,
    /// Share of packets lost, 0 to 1.
    loss: f64,
    /// Round-trip time in milliseconds, once known.
    rtt_ms: Option<f64>,
    nacks: u64,
    resent: u64,
    keyframe_requests: u64,
}

/// One track of a publisher.
#[derive(Serialize)]
struct Track {
    codec: &'static str,
    /// Pixels, once known; video only.
    width: Option<u16>,
    height: Option<u16>,
    /// Pictures, or audio frames, a second.
    fps: f32,
    /// Bits a second.
    bitrate: u64,
    packets: u64,
    lost: u64,
    /// Milliseconds between the last two keyframes; video only.
    keyframe_interval_ms: Option<u64>,
    /// Whether the publisher sends B-frames, which browsers play jerkily.
    b_frames: bool,
}

pub(super) async fn list(FromState(state): FromState<State>, request: Request) -> Result<Response, Error> {
    if let Some(response) = before(&state, &request)? {
        return Ok(response);
    }
    let mut reports = state.ask(|media| media.streams()).await?;
    reports.sort_by(|one, other| one.key.cmp(&other.key));
    let now = Now::read();
    let streams = reports.into_iter().map(|report| stream(report, now)).collect();
    Ok(Json(Streams { streams }).into_response())
}

pub(super) async fn one(FromState(state): FromState<State>, request: Request) -> Result<Response, Error> {
    if let Some(response) = before(&state, &request)? {
        return Ok(response);
    }
    let key = request.stream()?;
    let report = state.ask(move |media| media.stream(&key)).await?;
    let report = report.ok_or(Error::NoSuch("no such stream"))?;
    Ok(Json(stream(report, Now::read())).into_response())
}

pub(super) async fn sessions(FromState(state): FromState<State>, request: Request) -> Result<Response, Error> {
    if let Some(response) = before(&state, &request)? {
        return Ok(response);
    }
    let streams = state.ask(|media| media.streams()).await?;
    let mut reports: Vec<_> =
        streams.into_iter().flat_map(|stream| stream.publisher.into_iter().chain(stream.subscribers)).collect();
    reports.sort_by(|one, other| {
        (&one.stream, one.stats.since, one.session).cmp(&(&other.stream, other.stats.since, other.session))
    });
    let now = Now::read();
    let sessions = reports.into_iter().map(|report| listed(report, now)).collect();
    Ok(Json(Sessions { sessions }).into_response())
}

/// The same moment on both clocks.
#[derive(Clone, Copy)]
struct Now {
    monotonic: Instant,
    wall: SystemTime,
}

impl Now {
    fn read() -> Self {
        Self { monotonic: Instant::now(), wall: SystemTime::now() }
    }

    fn wall_of(self, then: Instant) -> String {
        let wall = self.wall - self.monotonic.saturating_duration_since(then);
        humantime::format_rfc3339_seconds(wall).to_string()
    }
}

fn stream(report: StreamReport, now: Now) -> Stream {
    let tracks = report.stats.map(|stats| stats.tracks);
    let publisher = report.publisher.map(|publisher| Publisher {
        session: session(publisher, now),
        video: tracks.as_ref().and_then(|tracks| tracks.video.as_ref()).map(track),
        audio: tracks.as_ref().and_then(|tracks| tracks.audio.as_ref()).map(track),
    });
    Stream {
        name: report.key.to_string(),
        live: report.live,
        publisher,
        subscribers: report.subscribers.into_iter().map(|subscriber| session(subscriber, now)).collect(),
    }
}

fn listed(report: SessionReport, now: Now) -> Listed {
    let role = match report.role {
        Role::Publisher => "publisher",
        Role::Subscriber => "subscriber",
    };
    Listed { stream: report.stream.to_string(), role, session: session(report, now) }
}

fn session(report: SessionReport, now: Now) -> Session {
    let stats = report.stats;
    Session {
        session: report.session.to_string(),
        since: now.wall_of(stats.since),
        connected: stats.connected,
        remote: stats.remote,
        user_agent: stats.user_agent,
        codecs: stats.codecs.iter().map(|codec| codec.name()).collect(),
        packets: stats.packets,
        bytes: stats.bytes,
        lost: stats.lost,
        loss: share(stats.lost, stats.packets),
        rtt_ms: stats.rtt.map(|rtt| (rtt.as_secs_f64() * 10_000.0).round() / 10.0),
        nacks: stats.nacks,
        resent: stats.resent,
        keyframe_requests: stats.keyframe_requests,
    }
}

fn track(stats: &TrackStats) -> Track {
    Track {
        codec: stats.codec.name(),
        width: stats.size.map(|size| size.0),
        height: stats.size.map(|size| size.1),
        fps: (stats.fps * 10.0).round() / 10.0,
        bitrate: stats.bitrate,
        packets: stats.packets,
        lost: stats.lost,
        keyframe_interval_ms: stats.keyframe_interval.map(|interval| interval.as_millis() as u64),
        b_frames: stats.b_frames,
    }
}

fn share(lost: u64, arrived: u64) -> f64 {
    let all = lost.saturating_add(arrived);
    if all == 0 { 0.0 } else { lost as f64 / all as f64 }
}
