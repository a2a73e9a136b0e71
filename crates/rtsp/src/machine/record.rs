//! The part of the client that sends: ANNOUNCE says what, SETUP how, RECORD that it begins (RFC 2326 10.3, 10.11, C.1).
//!
//! A connection sends one stream at a time, interleaved. Whether the client may is asked at ANNOUNCE, and holds for the
//! connection: what follows there is about what it has announced.

use std::sync::Arc;

use rtsp_types::StatusCode;
use rtsp_types::headers;
use whipstitch_media::Kind;
use whipstitch_media::sdp::{self, Section};
use whipstitch_stream::StreamKey;

use super::{
    ALLOWED, ChosenWay, Effect, Machine, Prepared, Question, Session, Step, Waiting, ok, refuse, session_id, told,
};
use crate::access::Right;
use crate::reply::Reply;
use crate::target::{self, Target, Track};
use crate::transport::{self, Unsuitable};
use crate::wire::Request;

/// What the client is to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Announced {
    /// Of the session in which it is sent; known once it may be.
    pub(super) session: String,
    pub(super) stream: StreamKey,
    /// The URI of ANNOUNCE, without a slash at its end.
    pub(super) uri: String,
    /// Each track, and where SETUP finds it.
    pub(super) tracks: Vec<(Kind, Option<String>)>,
    /// It was recorded, and goes on as it was set up.
    pub(super) begun: bool,
}

/// A stream that a client wants to send.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Announcement {
    pub(crate) stream: StreamKey,
    pub(crate) sections: Vec<Section>,
    /// The process whose child the client is.
    pub(crate) process: Option<Arc<str>>,
    /// What the client calls itself.
    pub(crate) user_agent: Option<String>,
}

/// A client is about to send.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Begins {
    pub(crate) session: String,
    /// Its tracks with the channels of their RTP and RTCP.
    pub(crate) tracks: Vec<(Kind, (u8, u8))>,
}

/// Why a client may not send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    status: StatusCode,
    /// Other words than the status' own.
    reason: Option<String>,
    /// Seconds after which it may be otherwise.
    retry: Option<u64>,
}

impl From<StatusCode> for Refusal {
    fn from(status: StatusCode) -> Refusal {
        Refusal { status, reason: None, retry: None }
    }
}

impl Refusal {
    /// Somebody sends the stream. RTSP has no 409; 455 is what cannot be done in the present state, and may be later.
    pub(crate) fn occupied(retry: u64) -> Refusal {
        let reason = Some("The stream is being published already".to_owned());
        Refusal { status: StatusCode::MethodNotValidInThisState, reason, retry: Some(retry) }
    }

    /// A process of this server sends the stream, or is about to: not to be waited for.
    pub(crate) fn held() -> Refusal {
        let reason = Some("The stream is kept for a process of this server that feeds it".to_owned());
        Refusal { status: StatusCode::MethodNotValidInThisState, reason, retry: None }
    }

    pub(super) fn written(&self, cseq: &str) -> Vec<u8> {
        let mut reply = Reply::new(self.status, Some(cseq));
        if let Some(reason) = &self.reason {
            reply = reply.reason(reason);
        }
        if let Some(seconds) = self.retry {
            reply = reply.header(headers::RETRY_AFTER, seconds.to_string());
        }
        if self.status == StatusCode::MethodNotValidInThisState {
            // RFC 2326 11.3.6.
            reply = reply.header(headers::ALLOW, ALLOWED);
        }
        reply.empty()
    }
}

impl Announced {
    /// Whether a SETUP is about this: it names its session, or none and the stream or one of its tracks.
    pub(super) fn is_meant(&self, request: &Request) -> bool {
        match session_id(request) {
            Some(id) => id == self.session,
            None => self.track(request) != Err(StatusCode::NotFound),
        }
    }

    /// The track that a SETUP is about: by its control URL (RFC 2326 C.1.1), which clients put behind the URI of ANNOUNCE,
    /// query and all; or the only one.
    fn track(&self, request: &Request) -> Result<Kind, StatusCode> {
        let uri = request.uri().unwrap_or_default();
        let uri = uri.strip_suffix('/').unwrap_or(uri);
        let is_its = |(_, control): &&(Kind, Option<String>)| {
            let Some(control) = control.as_deref().map(|control| control.strip_suffix('/').unwrap_or(control)) else {
                return false;
            };
            let before = uri.strip_suffix(control).and_then(|before| before.strip_suffix('/'));
            uri == control || before.is_some_and(|before| self.is_of(before))
        };
        match (self.tracks.iter().find(is_its), &self.tracks[..]) {
            (Some((kind, _)), _) => Ok(*kind),
            (None, [(kind, _)]) if self.is_of(uri) => Ok(*kind),
            (None, _) if self.is_of(uri) => Err(StatusCode::AggregateOperationNotAllowed),
            (None, _) => Err(StatusCode::NotFound),
        }
    }

    fn is_of(&self, uri: &str) -> bool {
        uri == self.uri || target::parse(uri).is_some_and(|target| target.stream == self.stream)
    }
}

impl Machine {
    /// Whether this is the session in which the client sends.
    pub(super) fn sends(&self, id: &str) -> bool {
        self.announced.as_ref().is_some_and(|announced| announced.session == id)
    }

    pub(super) fn announce(&mut self, request: &Request) -> Step {
        let target = match self.target(request, Right::Publish) {
            Ok(target) => target,
            Err(step) => return step,
        };
        if target.track != Track::All {
            return refuse(request, StatusCode::NotFound);
        }
        let is_sdp = |field: &str| {
            field.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/sdp"))
        };
        if !request.header(&headers::CONTENT_TYPE).is_none_or(is_sdp) {
            let reply = Reply::new(StatusCode::UnsupportedMediaType, Some(&request.cseq));
            return Step::Reply(reply.header(headers::ACCEPT, "application/sdp").empty());
        }
        let sending = self.announced.as_ref().and_then(|announced| self.find(&announced.session));
        if sending.is_some_and(|session| session.playing) {
            return refuse(request, StatusCode::MethodNotValidInThisState);
        }
        let sections = match sdp::read(&String::from_utf8_lossy(request.body())) {
            Ok(sections) => sections,
            Err(error) => {
                let status = match error {
                    sdp::Error::Codec(_) => StatusCode::UnsupportedMediaType,
                    sdp::Error::Syntax(_) | sdp::Error::Unusable(_) => StatusCode::BadRequest,
                };
                let refusal = Refusal { reason: Some(error.to_string()), ..status.into() };
                return Step::Reply(refusal.written(&request.cseq));
            }
        };
        // What was announced before is no longer meant (RFC 2326 10.3).
        if let Some(before) = self.announced.take() {
            self.forget(&before.session);
        }
        let uri = request.uri().unwrap_or_default();
        let announced = Announced {
            session: String::new(),
            stream: target.stream.clone(),
            uri: uri.strip_suffix('/').unwrap_or(uri).to_owned(),
            tracks: sections.iter().map(|section| (section.codec.kind(), section.control.clone())).collect(),
            begun: false,
        };
        let user_agent = request.header(&headers::USER_AGENT).map(sdp::text::shown);
        let Target { stream, child: process, .. } = target;
        let question = Question::Announce(Announcement { stream, sections, process, user_agent });
        self.ask(request, Waiting::Announced(announced), question)
    }

    /// A track of what is announced.
    pub(super) fn set_up_announced(&mut self, announced: &Announced, request: &Request) -> Step {
        let Announced { session: id, stream, .. } = announced;
        // Also while it is paused: its publisher knows its tracks.
        if announced.begun {
            return refuse(request, StatusCode::MethodNotValidInThisState);
        }
        let kind = match announced.track(request) {
            Ok(kind) => kind,
            Err(status) => return refuse(request, status),
        };
        let offered = request.header(&headers::TRANSPORT).unwrap_or_default();
        let way = match transport::choose(offered, self.facts.peer.ip(), true) {
            Ok(way) => self.place(way, Some(id), Some(kind)),
            Err(Unsuitable::Transport) => None,
            Err(Unsuitable::Destination) => return refuse(request, StatusCode::Forbidden),
        };
        // Over UDP packets would be lost that nobody sends again: FFmpeg and GStreamer go on with TCP.
        let Some(way @ ChosenWay::Interleaved(rtp, rtcp)) = way else {
            return refuse(request, StatusCode::UnsupportedTransport);
        };
        if self.find(id).is_none() {
            self.sessions.push(Session { id: id.clone(), stream: stream.clone(), playing: false, tracks: Vec::new() });
        }
        if let Some(session) = self.find_mut(id) {
            session.tracks.retain(|track| track.kind != kind);
            session.tracks.push(Prepared { kind, uri: request.uri().unwrap_or_default().to_owned(), way });
        }
        let transport = format!("RTP/AVP/TCP;unicast;interleaved={rtp}-{rtcp};mode=record");
        Step::Reply(ok(request).header(headers::SESSION, told(id)).header(headers::TRANSPORT, transport).empty())
    }

    pub(super) fn record(&mut self, request: &Request) -> Step {
        let Some(id) = session_id(request) else {
            // Before SETUP there is no session to name.
            let is_early = self.announced.is_some();
            let status = if is_early { StatusCode::MethodNotValidInThisState } else { StatusCode::SessionNotFound };
            return refuse(request, status);
        };
        let Some(session) = self.find(id) else { return refuse(request, StatusCode::SessionNotFound) };
        if !self.sends(id) {
            return refuse(request, StatusCode::MethodNotValidInThisState);
        }
        if session.playing {
            return Step::Do(Effect::Touch(id.to_owned()), ok(request).header(headers::SESSION, told(id)).empty());
        }
        let channels = |track: &Prepared| match track.way {
            ChosenWay::Interleaved(rtp, rtcp) => Some((track.kind, (rtp, rtcp))),
            ChosenWay::Udp(..) => None,
        };
        let tracks = session.tracks.iter().filter_map(channels).collect();
        let question = Question::Record(Begins { session: id.to_owned(), tracks });
        self.ask(request, Waiting::Recording { session: id.to_owned() }, question)
    }
}

#[cfg(test)]
mod tests;
