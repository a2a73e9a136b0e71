//! One connection's part of the protocol: requests go in, responses come out (RFC 2326 10, A.2). No I/O and no clock: what
//! it takes to answer a request is a [`Question`], and whoever has the sockets gives the [`Answer`].
//!
//! A session belongs to the connection that set it up; its id is 128 random bits and no other connection can use it.

use std::net::SocketAddr;
use std::sync::Arc;

use rtsp_types::headers;
use rtsp_types::{Method, StatusCode};
use whipstitch_media::Kind;
use whipstitch_stream::StreamKey;
use whipstitch_stream::running::Asks;

use crate::access::{Access, Right};
use crate::reply::{self, HTTP, Reply};
use crate::target::Target;
use crate::wire::{Item, Request, Violation};

use self::entry::asks;
use self::record::Announced;
pub(crate) use self::record::{Announcement, Begins, Refusal};

mod entry;
mod record;
mod set_up;

/// Sessions of one connection: FFmpeg has two when it changes from UDP to TCP.
const MAX_SESSIONS: usize = 4;

/// A client that is not allowed so many things in a row is closed. FFmpeg, GStreamer and VLC ask without a password first, and
/// again when their digest was for another nonce, or to let their user type it once more; who tries others has to connect anew.
const MOST_REFUSALS: usize = 5;

/// Told to clients; they ping at half of it.
pub(crate) const TIMEOUT_S: u64 = 60;

/// In the order of RFC 2326 10. What stands here is known; what of it is not built is answered 405.
const ALLOWED: &str = "OPTIONS, DESCRIBE, ANNOUNCE, SETUP, PLAY, PAUSE, GET_PARAMETER, TEARDOWN, RECORD";

/// What is known of a connection.
pub(crate) struct Facts {
    pub(crate) peer: SocketAddr,
    /// For challenges; random, of this connection alone.
    pub(crate) nonce: String,
    pub(crate) access: Arc<dyn Access>,
    /// Its place is one of those that are kept for children of processes.
    pub(crate) only_children: bool,
}

/// One connection.
pub(crate) struct Machine {
    facts: Facts,
    sessions: Vec<Session>,
    /// What the client is to send: one stream of a connection.
    announced: Option<Announced>,
    asked: Option<Asked>,
    /// The credential of a child that it has shown: whoever has is one from then on, as it need not say so with each request.
    child: Option<String>,
    /// Whether the connection is a child's or our own user's, once that was asked.
    ours: Option<bool>,
    /// Requests in a row that their sender was not allowed.
    refusals: usize,
}

/// A session, set up track by track.
struct Session {
    id: String,
    stream: StreamKey,
    /// Media flows: to the client, or from it in the session that it has announced.
    playing: bool,
    tracks: Vec<Prepared>,
}

/// A track of a session.
struct Prepared {
    kind: Kind,
    /// The URI it was set up by: what the client knows it as.
    uri: String,
    way: ChosenWay,
}

/// How packets of a track travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChosenWay {
    /// Channel numbers of RTP and RTCP.
    Interleaved(u8, u8),
    /// Ports of the player.
    Udp(u16, u16),
}

/// A request that waits for its answer.
struct Asked {
    cseq: String,
    what: Waiting,
}

enum Waiting {
    Described { base: String },
    SetUp { session: Option<String>, stream: StreamKey, uri: String, way: ChosenWay },
    Playing { session: String },
    Announced(Announced),
    Recording { session: String },
}

/// What to do with a request.
#[derive(Debug, PartialEq)]
pub(crate) enum Step {
    /// Write this.
    Reply(Vec<u8>),
    /// Write this, and nothing more: the connection is over.
    Last(Vec<u8>),
    /// Do this, then write that.
    Do(Effect, Vec<u8>),
    /// Find out [whose](crate::access::Access::is_ours) the connection is, [say so](Machine::tell), and handle this again;
    /// nothing else comes before. Asked once of a connection.
    Whose(Box<Request>),
    /// Answer this; nothing else comes before.
    Ask(Question),
}

/// What a request has brought about.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// The session is alive.
    Touch(String),
    /// It is to send nothing.
    Pause(String),
    /// It is over.
    End(String),
}

/// What the machine cannot know.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// What does a player of this stream have to know?
    Describe { stream: StreamKey, asks: Asks },
    /// Can a player have this track of the stream this way?
    SetUp { session: Option<String>, stream: StreamKey, asks: Asks, track: Option<Kind>, way: ChosenWay },
    /// With which packets does it begin?
    Play { session: String },
    /// May the client send this stream?
    Announce(Announcement),
    /// Will you take what it sends from now on?
    Record(Begins),
}

/// What was found.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The description; or why not.
    Described(Result<String, StatusCode>),
    /// The track is set up; or why not.
    SetUp(Result<SetUp, StatusCode>),
    /// It plays, and these are the first packets, as far as known; or why not.
    Playing(Result<Vec<First>, StatusCode>),
    /// The stream is the client's to send, in the session with this id; or why not.
    Announced(Result<String, Refusal>),
    /// What it sends is taken; or why not.
    Recording(Result<(), Refusal>),
    /// Whether the connection is a child's or our own user's.
    Whose(bool),
}

/// A track that was set up.
#[derive(Clone, Debug)]
pub(crate) struct SetUp {
    /// The session it belongs to.
    pub(crate) session: String,
    pub(crate) kind: Kind,
    pub(crate) ssrc: u32,
    /// Our ports of RTP and RTCP, over UDP.
    pub(crate) ports: Option<(u16, u16)>,
}

/// The first packet of a track after PLAY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct First {
    pub(crate) kind: Kind,
    pub(crate) seq: u16,
    pub(crate) time: u32,
}

impl Machine {
    pub(crate) fn new(facts: Facts) -> Machine {
        Machine { facts, sessions: Vec::new(), announced: None, asked: None, child: None, ours: None, refusals: 0 }
    }

    /// Whether the connection is a child's or our own user's.
    pub(crate) fn tell(&mut self, ours: bool) {
        self.ours = Some(ours);
    }

    /// Whether the client has shown that it is the child of a process.
    pub(crate) fn is_a_child(&self) -> bool {
        self.child.is_some()
    }

    /// What cannot be understood.
    pub(crate) fn violated(&self, violation: Violation) -> Vec<u8> {
        match violation {
            Violation::Http => HTTP.to_vec(),
            Violation::Rtsp(status) => Reply::new(status, None).header(headers::CONNECTION, "close").empty(),
        }
    }

    /// What to do with a request or with what looked like one. Frames are not for the machine.
    pub(crate) fn handle(&mut self, item: Item) -> Option<Step> {
        match item {
            Item::Request(request) => Some(self.request(&request)),
            Item::Refused(status, cseq) => Some(Step::Reply(Reply::new(status, cseq.as_deref()).empty())),
            Item::Frame(..) => None,
        }
    }

    fn request(&mut self, request: &Request) -> Step {
        for required in [headers::REQUIRE, headers::PROXY_REQUIRE] {
            if let Some(option) = request.header(&required) {
                let reply = Reply::new(StatusCode::OptionNotSupported, Some(&request.cseq));
                return Step::Reply(reply.header(headers::UNSUPPORTED, option).empty());
            }
        }
        match request.method() {
            Method::Options => self.options(request),
            Method::Describe => self.describe(request),
            Method::Setup => self.set_up(request),
            Method::Play => self.play(request),
            Method::Pause => self.pause(request),
            Method::GetParameter => self.parameter(request),
            Method::Teardown => self.tear_down(request),
            Method::Announce => self.announce(request),
            Method::Record => self.record(request),
            Method::SetParameter => {
                let reply = Reply::new(StatusCode::MethodNotAllowed, Some(&request.cseq));
                Step::Reply(reply.header(headers::ALLOW, ALLOWED).empty())
            }
            Method::Redirect | Method::PlayNotify | Method::Extension(_) => refuse(request, StatusCode::NotImplemented),
        }
    }

    fn options(&self, request: &Request) -> Step {
        let reply = ok(request).header(headers::PUBLIC, ALLOWED).empty();
        match session_id(request).filter(|id| self.find(id).is_some()) {
            Some(id) => Step::Do(Effect::Touch(id.to_owned()), reply),
            None => Step::Reply(reply),
        }
    }

    fn describe(&mut self, request: &Request) -> Step {
        let Target { stream, child, .. } = match self.target(request, Right::Play) {
            Ok(target) => target,
            Err(step) => return step,
        };
        if !request.header(&headers::ACCEPT).is_none_or(accepts_sdp) {
            return refuse(request, StatusCode::NotAcceptable);
        }
        // Players put the tracks behind it: without a query, behind which a track would be none.
        let uri = request.uri().and_then(|uri| uri.split(['?', '#']).next()).unwrap_or_default();
        let base = if uri.ends_with('/') { uri.to_owned() } else { format!("{uri}/") };
        self.ask(request, Waiting::Described { base }, Question::Describe { stream, asks: asks(child.as_deref()) })
    }

    fn play(&mut self, request: &Request) -> Step {
        let Some(session) = session_id(request).and_then(|id| self.find(id)) else {
            return refuse(request, StatusCode::SessionNotFound);
        };
        let id = session.id.clone();
        if self.sends(&id) {
            return refuse(request, StatusCode::MethodNotValidInThisState);
        }
        if session.playing {
            let reply = ok(request).header(headers::SESSION, told(&id)).empty();
            return Step::Do(Effect::Touch(id), reply);
        }
        self.ask(request, Waiting::Playing { session: id.clone() }, Question::Play { session: id })
    }

    fn pause(&mut self, request: &Request) -> Step {
        let Some(session) = session_id(request).and_then(|id| self.find_mut(id)) else {
            return refuse(request, StatusCode::SessionNotFound);
        };
        if !std::mem::take(&mut session.playing) {
            return refuse(request, StatusCode::MethodNotValidInThisState);
        }
        let reply = ok(request).header(headers::SESSION, told(&session.id)).empty();
        Step::Do(Effect::Pause(session.id.clone()), reply)
    }

    fn parameter(&self, request: &Request) -> Step {
        let session = session_id(request);
        if session.is_some_and(|id| self.find(id).is_none()) {
            return refuse(request, StatusCode::SessionNotFound);
        }
        if !request.body().trim_ascii().is_empty() {
            return refuse(request, StatusCode::ParameterNotUnderstood);
        }
        match session {
            None => Step::Reply(ok(request).empty()),
            Some(id) => Step::Do(Effect::Touch(id.to_owned()), ok(request).header(headers::SESSION, told(id)).empty()),
        }
    }

    fn tear_down(&mut self, request: &Request) -> Step {
        let Some(id) = session_id(request).filter(|id| self.find(id).is_some()) else {
            return refuse(request, StatusCode::SessionNotFound);
        };
        self.forget(id);
        Step::Do(Effect::End(id.to_owned()), ok(request).empty())
    }

    /// The session has ended by itself: from now on it is unknown.
    pub(crate) fn forget(&mut self, id: &str) {
        self.sessions.retain(|session| session.id != id);
        self.announced.take_if(|announced| announced.session == id);
    }

    /// The answer to what was asked last.
    pub(crate) fn answered(&mut self, answer: Answer) -> Vec<u8> {
        let Some(Asked { cseq, what }) = self.asked.take() else { return Vec::new() };
        let refused = |status| Reply::new(status, Some(&cseq)).empty();
        let ok = || Reply::new(StatusCode::Ok, Some(&cseq));
        match (what, answer) {
            (Waiting::Described { base }, Answer::Described(Ok(text))) => {
                let reply = ok().header(headers::CONTENT_TYPE, "application/sdp").header(headers::CONTENT_BASE, base);
                reply.body(text.into_bytes())
            }
            (Waiting::SetUp { session, stream, uri, way }, Answer::SetUp(Ok(set_up))) => {
                let reply = ok().header(headers::SESSION, told(&set_up.session));
                let reply = reply.header(headers::TRANSPORT, set_up::transport(way, &set_up)).empty();
                if session.is_none() {
                    let (id, tracks) = (set_up.session.clone(), Vec::new());
                    self.sessions.push(Session { id, stream, playing: false, tracks });
                }
                if let Some(session) = self.find_mut(&set_up.session) {
                    session.tracks.retain(|track| track.kind != set_up.kind);
                    session.tracks.push(Prepared { kind: set_up.kind, uri, way });
                }
                reply
            }
            (Waiting::Playing { session }, Answer::Playing(Ok(firsts))) => {
                let Some(session) = self.find_mut(&session) else { return refused(StatusCode::SessionNotFound) };
                session.playing = true;
                let info: Vec<String> = firsts.iter().filter_map(|first| session.rtp_info(first)).collect();
                let mut reply = ok().header(headers::SESSION, told(&session.id)).header(headers::RANGE, "npt=now-");
                if !info.is_empty() {
                    reply = reply.header(headers::RTP_INFO, info.join(","));
                }
                reply.empty()
            }
            (Waiting::Announced(announced), Answer::Announced(Ok(session))) => {
                self.announced = Some(Announced { session, ..announced });
                ok().empty()
            }
            (Waiting::Recording { session }, Answer::Recording(Ok(()))) => {
                let Some(session) = self.find_mut(&session) else { return refused(StatusCode::SessionNotFound) };
                session.playing = true;
                let reply = ok().header(headers::SESSION, told(&session.id)).empty();
                self.announced.iter_mut().for_each(|announced| announced.begun = true);
                reply
            }
            (Waiting::Recording { session }, Answer::Recording(Err(refusal))) => {
                self.forget(&session);
                refusal.written(&cseq)
            }
            (_, Answer::Described(Err(StatusCode::NotFound))) => {
                Reply::new(StatusCode::NotFound, Some(&cseq)).reason(reply::NOBODY).empty()
            }
            (_, Answer::Announced(Err(refusal)) | Answer::Recording(Err(refusal))) => refusal.written(&cseq),
            (_, Answer::Described(Err(status)) | Answer::SetUp(Err(status)) | Answer::Playing(Err(status))) => {
                refused(status)
            }
            _ => refused(StatusCode::InternalServerError),
        }
    }

    fn ask(&mut self, request: &Request, what: Waiting, question: Question) -> Step {
        self.asked = Some(Asked { cseq: request.cseq.clone(), what });
        Step::Ask(question)
    }

    fn find(&self, id: &str) -> Option<&Session> {
        self.sessions.iter().find(|session| session.id == id)
    }

    fn find_mut(&mut self, id: &str) -> Option<&mut Session> {
        self.sessions.iter_mut().find(|session| session.id == id)
    }
}

impl Session {
    fn rtp_info(&self, first: &First) -> Option<String> {
        let track = self.tracks.iter().find(|track| track.kind == first.kind)?;
        Some(format!("url={};seq={};rtptime={}", track.uri, first.seq, first.time))
    }
}

fn ok(request: &Request) -> Reply {
    Reply::new(StatusCode::Ok, Some(&request.cseq))
}

fn refuse(request: &Request, status: StatusCode) -> Step {
    Step::Reply(Reply::new(status, Some(&request.cseq)).empty())
}

fn refuse_saying(request: &Request, status: StatusCode, words: &str) -> Step {
    Step::Reply(Reply::new(status, Some(&request.cseq)).reason(words).empty())
}

/// The `Session` field with the timeout. FFmpeg looks for `;timeout=` without a blank.
fn told(id: &str) -> String {
    format!("{id};timeout={TIMEOUT_S}")
}

fn session_id(request: &Request) -> Option<&str> {
    request.header(&headers::SESSION)?.split(';').next().map(str::trim)
}

fn accepts_sdp(field: &str) -> bool {
    let mut types = field.split(',').filter_map(|range| range.split(';').next()).map(str::trim);
    types.any(|range| ["application/sdp", "application/*", "*/*"].iter().any(|sdp| range.eq_ignore_ascii_case(sdp)))
}

#[cfg(test)]
mod tests;
