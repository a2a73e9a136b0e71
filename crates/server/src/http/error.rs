//! Every way a request can fail, and what the client is told: status, header fields and problem body (RFC 9457).
//! Nothing else in this crate chooses an error status. Texts are for people, name no token, no session and no address
//! of this machine, and do not depend on which streams exist unless the caller may know.

mod core;

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::http::header::{self, HeaderValue};
use axum::http::{StatusCode, header::HeaderMap};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use whipstitch_ffmpeg::Refused as LegRefused;
use whipstitch_ffmpeg::process;
use whipstitch_proxy::signal::Refused as ProxyRefused;

use super::Takes;
use crate::access::Decision;
use crate::media::{PatchRefusal, Refusal};
use crate::plain::NotTaken;

/// When a server that is going away may be back, or the next one in its place.
const DRAINING: Duration = Duration::from_secs(5);
/// When the media plane did not answer in time.
const OVERLOADED: Duration = Duration::from_secs(2);

/// Why a request failed.
#[derive(Debug)]
pub(crate) enum Error {
    /// Nothing has this URL.
    NoSuchRoute,
    /// It has, but not this method.
    Method { allow: &'static str },
    /// The body's length is said twice and differently (RFC 9112 6.1), or the host is (RFC 9112 3.2).
    Head(&'static str),
    /// No access; never [`Decision::Allowed`]. `token` names the one that came, for the log.
    Denied { decision: Decision, hint: &'static str, token: Option<Arc<str>> },
    /// A web page that may not use this server.
    ForeignOrigin,
    /// Too many requests of this client, or to this session, or too many wrong tokens from its address.
    TooMany { retry_after: Duration },
    /// The server is about to stop.
    Draining,
    /// The media plane did not answer in time.
    Overloaded,
    /// No address is known to announce to this client.
    NoAddress,
    /// More bytes than `limit`.
    TooLarge { limit: usize },
    /// The body did not come in time.
    BodyTimeout,
    /// The body did not come whole.
    BodyBroken,
    /// Not the media type wanted.
    MediaType(&'static Takes),
    /// The body is compressed.
    Encoding,
    /// An illegal stream name.
    StreamName,
    /// A query that should name the stream and does not, or does twice.
    StreamQuery,
    /// A list of sessions in a state there is not.
    StateQuery,
    /// A payload type that a reader cannot have.
    PayloadTypeQuery,
    /// An illegal session id of the API.
    SessionId,
    /// A body that is not text.
    NotText,
    /// An SDP to a WHEP session whose exchange is complete.
    NoCounterOffer,
    /// No such session URL, session or live stream, for those who may know.
    NoSuch(&'static str),
    /// An offer the media plane refuses.
    Offer(Refusal),
    /// A leg it cannot have.
    Leg(LegRefused),
    /// What is for programs on this machine only.
    Elsewhere,
    /// Plain RTP that is not taken from this client.
    NoPlainRtp(NotTaken),
    /// What the configuration has begun is not ended by a request.
    Configured,
    /// A fragment it refuses.
    Fragment(PatchRefusal),
    /// What was wanted of processes is not done.
    Process(process::Error),
    /// What the proxy does not pass on, or could not.
    Proxy(ProxyRefused),
    /// A broken invariant of ours; the log has the rest.
    Internal,
}

/// Why a request failed, for the log; goes with the response as an extension.
#[derive(Clone, Debug)]
pub(crate) struct Reason(pub(crate) String);

/// What the metrics count of an error beside its status; goes with the response as an extension.
#[derive(Clone, Debug, Default)]
pub(super) struct Counted {
    /// The bound that was reached: one of [`CAPS`].
    pub(super) cap: Option<&'static str>,
    /// See [`Refusal::Codec`].
    pub(super) lacking: Vec<&'static str>,
}

/// Every bound a request may be refused for.
pub(super) const CAPS: [&str; 5] = ["global", "conflict", "draining", "overload", "rate"];

/// The members of RFC 9457, and `error`, which players of MediaMTX read on a 400.
#[derive(Serialize, ToSchema)]
pub(super) struct Problem<'a> {
    r#type: &'static str,
    /// The status in words.
    title: &'a str,
    status: u16,
    /// What was wrong, for a person.
    detail: &'a str,
    /// The same.
    error: &'a str,
    #[serde(flatten)]
    core: Option<core::Problem>,
}

impl Error {
    fn status(&self) -> StatusCode {
        match self {
            Self::NoSuchRoute | Self::NoSuch(_) | Self::Fragment(PatchRefusal::NotFound) => StatusCode::NOT_FOUND,
            Self::Method { .. } | Self::Fragment(PatchRefusal::NoIce) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Denied { decision, .. } => match decision {
                Decision::Allowed => StatusCode::INTERNAL_SERVER_ERROR,
                Decision::Missing | Decision::Wrong | Decision::Expired => StatusCode::UNAUTHORIZED,
                Decision::Malformed => StatusCode::BAD_REQUEST,
                Decision::Insufficient => StatusCode::FORBIDDEN,
            },
            Self::ForeignOrigin | Self::Elsewhere | Self::NoPlainRtp(NotTaken::Elsewhere) => StatusCode::FORBIDDEN,
            Self::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Draining
            | Self::Overloaded
            | Self::NoAddress
            | Self::Leg(LegRefused::NoPorts | LegRefused::Full)
            | Self::Offer(Refusal::Busy { .. })
            | Self::Fragment(PatchRefusal::Busy { .. }) => StatusCode::SERVICE_UNAVAILABLE,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::MediaType(_) | Self::Encoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Fragment(PatchRefusal::PreconditionRequired) => StatusCode::PRECONDITION_REQUIRED,
            Self::Fragment(PatchRefusal::PreconditionFailed) => StatusCode::PRECONDITION_FAILED,
            Self::Head(_)
            | Self::BodyBroken
            | Self::StreamName
            | Self::StreamQuery
            | Self::StateQuery
            | Self::PayloadTypeQuery
            | Self::SessionId
            | Self::NotText
            | Self::Offer(Refusal::Syntax(_))
            | Self::Fragment(PatchRefusal::Syntax(_)) => StatusCode::BAD_REQUEST,
            Self::NoCounterOffer
            | Self::NoPlainRtp(NotTaken::Off | NotTaken::NoPorts)
            | Self::Offer(Refusal::Unusable(_) | Refusal::Codec { .. })
            | Self::Fragment(PatchRefusal::Unprocessable(_)) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Configured
            | Self::Offer(Refusal::Conflict { .. } | Refusal::Held | Refusal::NotLive { .. })
            | Self::Leg(LegRefused::NotLive) => StatusCode::CONFLICT,
            Self::Process(error) => core::status(error),
            Self::Proxy(refused) => refused.status(),
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn detail(&self) -> String {
        let text = match self {
            Self::NoSuchRoute => "nothing is at this URL",
            Self::Method { .. } => "this URL has no such method",
            Self::Denied { decision, hint, .. } => return denied(*decision, hint),
            Self::ForeignOrigin => "web pages of that origin may not use this server",
            Self::TooMany { .. } => {
                "too many requests, or wrong tokens, from here; wait for the seconds of Retry-After"
            }
            Self::Draining => "the server is stopping",
            Self::Overloaded | Self::Fragment(PatchRefusal::Busy { .. }) => "the server is too busy",
            Self::Offer(Refusal::Busy { .. }) => "the server has no room for another session now",
            Self::NoAddress => "the server knows no address of its own that you could send to (see --public-ip)",
            Self::TooLarge { limit } => return format!("the body is larger than {limit} bytes"),
            Self::BodyTimeout => "the body did not arrive in time",
            Self::BodyBroken => "the body did not arrive whole",
            Self::MediaType(takes) => return format!("the body must be of type {}", takes.media_type),
            Self::Encoding => "the body must not be compressed",
            Self::StreamName => "a stream name is 1 to 128 of the characters A-Z a-z 0-9 . _ - and not . or ..",
            Self::StreamQuery => "the URL must name the stream, and once: ?app=live&stream=NAME",
            Self::PayloadTypeQuery => "video_pt and audio_pt are numbers from 96 to 127, each named once",
            Self::StateQuery => "the state of sessions to list is open or closed, and named once",
            Self::SessionId => "a session id is 16 hex digits",
            Self::NotText => "the body is not UTF-8 text",
            Self::NoCounterOffer => "the exchange of offer and answer is complete; start a new session to change it",
            Self::NoSuch(what) | Self::Head(what) => what,
            Self::Offer(Refusal::Conflict { .. }) => "somebody is publishing this stream already",
            Self::Offer(Refusal::Held) => {
                "an FFmpeg process of this server feeds this stream, which is kept for it while it is to run"
            }
            Self::Leg(LegRefused::NoPorts) => {
                "all ports of --rtp-ports are taken; wait until a reader ends, or widen it"
            }
            Self::Leg(LegRefused::Full) => "the server has no room for another session now",
            Self::NoPlainRtp(NotTaken::Off) => {
                "this server takes no plain RTP (plain_rtp = \"off\"); offer UDP/TLS/RTP/SAVPF with ICE and DTLS"
            }
            Self::NoPlainRtp(NotTaken::NoPorts) => "this server has no ports for plain RTP (rtp_ports = \"off\")",
            Self::NoPlainRtp(NotTaken::Elsewhere) => {
                "plain RTP is taken from programs on this machine only (plain_rtp = \"loopback\"); offer \
                 UDP/TLS/RTP/SAVPF with ICE and DTLS"
            }
            Self::Configured => "this input is one of the configuration ([[rtp_input]]), which alone can end it",
            Self::Fragment(PatchRefusal::NoIce) => "the session is plain RTP, without ICE: there is nothing to trickle",
            Self::Elsewhere => "this is for programs on this machine: the media goes to ports of 127.0.0.1",
            Self::Offer(Refusal::NotLive { .. }) | Self::Leg(LegRefused::NotLive) => {
                "nobody is publishing this stream yet"
            }
            Self::Offer(Refusal::Syntax(text) | Refusal::Unusable(text) | Refusal::Codec { text, .. }) => {
                return text.clone();
            }
            Self::Fragment(PatchRefusal::NotFound) => "no such session",
            Self::Fragment(PatchRefusal::PreconditionRequired) => "the request needs If-Match with the session's ETag",
            Self::Fragment(PatchRefusal::PreconditionFailed) => "If-Match names no current ETag of the session",
            Self::Fragment(PatchRefusal::Syntax(what) | PatchRefusal::Unprocessable(what)) => return what.clone(),
            Self::Process(error) => return error.to_string(),
            Self::Proxy(refused) => return refused.to_string(),
            Self::Internal => "an error of the server's own; its log says more",
        };
        text.to_owned()
    }

    fn add_fields(&self, headers: &mut HeaderMap) {
        match self {
            Self::Method { allow } | Self::Proxy(ProxyRefused::Method { allow }) => {
                headers.insert(header::ALLOW, HeaderValue::from_static(allow));
            }
            Self::Fragment(PatchRefusal::NoIce) => {
                headers.insert(header::ALLOW, HeaderValue::from_static("OPTIONS, GET, HEAD, DELETE"));
            }
            Self::MediaType(takes) => takes.announce(headers),
            Self::Denied { decision, .. } => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge(*decision)));
            }
            _ => {}
        }
        if let Some(after) = self.retry_after() {
            // RFC 9110 10.2.3: whole seconds; a zero would make clients hammer.
            headers.insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs_f64().ceil().max(1.0) as u64));
        }
    }

    /// What the metrics count of it beside its status.
    fn counted(&self) -> Counted {
        let cap = match self {
            Self::Draining | Self::Process(process::Error::Closed) => Some("draining"),
            Self::Overloaded => Some("overload"),
            Self::TooMany { .. } => Some("rate"),
            Self::Offer(Refusal::Conflict { .. } | Refusal::Held) => Some("conflict"),
            Self::Leg(LegRefused::NoPorts | LegRefused::Full)
            | Self::Offer(Refusal::Busy { .. })
            | Self::Fragment(PatchRefusal::Busy { .. }) => Some("global"),
            _ => None,
        };
        let lacking = match self {
            Self::Offer(Refusal::Codec { lacking, .. }) => lacking.clone(),
            _ => Vec::new(),
        };
        Counted { cap, lacking }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Draining | Self::Process(process::Error::Closed) => Some(DRAINING),
            Self::TooMany { retry_after } => Some(*retry_after),
            Self::Overloaded | Self::NoAddress | Self::Leg(_) => Some(OVERLOADED),
            Self::Offer(
                Refusal::Conflict { retry_after } | Refusal::NotLive { retry_after } | Refusal::Busy { retry_after },
            )
            | Self::Fragment(PatchRefusal::Busy { retry_after }) => Some(*retry_after),
            Self::Proxy(refused) => refused.retry_after(),
            _ => None,
        }
    }
}

/// RFC 6750 3: no error code when no credential came.
fn challenge(decision: Decision) -> &'static str {
    match decision {
        Decision::Allowed | Decision::Missing => "Bearer realm=\"whipstitch\"",
        Decision::Wrong | Decision::Expired => "Bearer realm=\"whipstitch\", error=\"invalid_token\"",
        Decision::Malformed => "Bearer realm=\"whipstitch\", error=\"invalid_request\"",
        Decision::Insufficient => "Bearer realm=\"whipstitch\", error=\"insufficient_scope\"",
    }
}

fn denied(decision: Decision, hint: &str) -> String {
    let reason = match decision {
        Decision::Allowed | Decision::Missing => "a token is needed",
        Decision::Wrong => "the token is wrong",
        Decision::Expired => "the token has expired",
        Decision::Malformed => "the Authorization field or token is malformed",
        Decision::Insufficient => "this token does not allow that",
    };
    if hint.is_empty() { reason.to_owned() } else { format!("{reason}; {hint}") }
}

impl From<process::Error> for Error {
    fn from(error: process::Error) -> Self {
        Self::Process(error)
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        self.respond(None)
    }
}

impl Error {
    /// The same for clients of datarhei Core, who read `code`, `message` and `details`.
    pub(super) fn into_core_response(self) -> Response {
        let core = core::Problem::of(self.status(), &self);
        self.respond(Some(core))
    }

    fn respond(self, core: Option<core::Problem>) -> Response {
        let (status, detail) = (self.status(), self.detail());
        let title = status.canonical_reason().unwrap_or("Error");
        let problem =
            Problem { r#type: "about:blank", title, status: status.as_u16(), detail: &detail, error: &detail, core };
        let mut response = (status, Json(problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        self.add_fields(headers);
        let reason = match &self {
            // What a stranger's body says stays out of the log.
            Self::Offer(Refusal::Syntax(_) | Refusal::Unusable(_) | Refusal::Codec { .. })
            | Self::Fragment(PatchRefusal::Syntax(_) | PatchRefusal::Unprocessable(_)) => {
                "the body cannot be used".to_owned()
            }
            Self::Process(error) if error.is_of_the_client() => "the definition or command cannot be used".to_owned(),
            Self::Proxy(refused) => match refused.origin() {
                Some(origin) => format!("{detail} (origin {})", origin.as_str()),
                None => detail,
            },
            Self::Denied { token: Some(name), .. } => format!("{detail} (token {name:?})"),
            _ => detail,
        };
        response.extensions_mut().insert(Reason(reason));
        response.extensions_mut().insert(self.counted());
        response
    }
}
