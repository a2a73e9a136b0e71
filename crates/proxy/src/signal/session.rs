//! Requests to a session: trickle, ICE restart and teardown, at the origin that has it and at no other.

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Response, StatusCode};
use url::Url;
use whipstitch_stream::StreamKey;

use super::forward::{Incoming, Outgoing};
use super::{Directory, Refused, Request, SESSION_ALLOW, Signal, options, refused, relayed, relayed_as_is, text};
use crate::headers;
use crate::record::{Session, SessionId};
use crate::sdp::Description;
use crate::urls::{self, Manners, Place};

const ACCEPT_PATCH: (&str, &str) = ("accept-patch", "application/trickle-ice-sdpfrag");

impl<D: Directory> Signal<D> {
    /// Any request to a session URL.
    pub(super) async fn session(
        &self,
        place: &'static Place,
        stream: &StreamKey,
        id: Option<SessionId>,
        request: Request,
    ) -> Result<Response<Bytes>, Refused> {
        match request.method {
            Method::OPTIONS => return Ok(options(SESSION_ALLOW, Some(ACCEPT_PATCH))),
            Method::GET | Method::HEAD | Method::PATCH | Method::DELETE => {}
            _ => return Err(Refused::Method { allow: SESSION_ALLOW }),
        }
        let deletes_in_core = request.method == Method::DELETE && place.manners == Manners::Core;
        match self.of_session(place, stream, id, request).await {
            Err(Refused::NoSession) if deletes_in_core => Ok(no_content()),
            Ok(response) if deletes_in_core && is_over(response.status()) => Ok(no_content()),
            reply => reply,
        }
    }

    async fn of_session(
        &self,
        place: &'static Place,
        stream: &StreamKey,
        id: Option<SessionId>,
        request: Request,
    ) -> Result<Response<Bytes>, Refused> {
        let known = self.directory.session(&id.ok_or(Refused::NoSession)?).await.map_err(|_| Refused::RegistryAway)?;
        let is_here =
            |session: &std::sync::Arc<Session>| session.role == place.role && session.stream == stream.as_str();
        let session = known.filter(is_here).ok_or(Refused::NoSession)?;
        // An origin that gave no session URL has nothing to be asked; the proxy's own part can be ended.
        let Ok(resource) = Url::parse(&session.resource) else {
            return match request.method {
                Method::DELETE => {
                    self.directory.closed(&session.id).await;
                    Ok(Response::new(Bytes::new()))
                }
                Method::PATCH => Err(Refused::Method { allow: "OPTIONS, GET, HEAD, DELETE" }),
                _ => Ok(no_content()),
            };
        };
        let mut headers = headers::to_origin(&request.headers, &request.client);
        if request.method == Method::PATCH && place.manners == Manners::Core {
            headers.entry(header::IF_MATCH).or_insert(HeaderValue::from_static("*"));
        }
        let url = urls::with_query(resource, request.query.as_deref());
        let (method, body) = (request.method.clone(), request.body.clone());
        let sent = self.forward.send(Outgoing { method, url, headers, body }, self.deadline()).await;
        let incoming = sent.map_err(|trouble| refused(trouble, &session.origin))?;
        match request.method {
            Method::DELETE => {
                if is_over(incoming.status) {
                    self.directory.closed(&session.id).await;
                }
                Ok(relayed_as_is(incoming))
            }
            Method::PATCH if incoming.status == StatusCode::OK && !incoming.body.is_empty() => {
                self.restarted(&session, &request, incoming).await
            }
            _ => Ok(relayed_as_is(incoming)),
        }
    }

    /// The origin has answered a PATCH with a fragment: an ICE restart (RFC 9725 section 4.3.3). Its generation is known here
    /// before the client hears of it.
    async fn restarted(
        &self,
        session: &Session,
        request: &Request,
        incoming: Incoming,
    ) -> Result<Response<Bytes>, Refused> {
        let unusable = || Refused::Unusable(session.origin.clone());
        let (asked, answer) = (Description::parse_fragment(&request.body), Description::parse_fragment(&incoming.body));
        let (Ok(asked), Ok(answer)) = (asked, answer) else { return Err(unusable()) };
        let generation = answer.generation(&asked).map_err(|_| unusable())?;
        let fragment = answer.with_candidates(&request.candidates).map_err(|_| Refused::NoAddress)?;
        self.directory.restarted(&session.id, generation, text(&incoming.headers, header::ETAG)).await;
        Ok(relayed(&incoming, Bytes::from(fragment)))
    }
}

/// Whether a session has ended with this answer to DELETE, or had before.
fn is_over(status: StatusCode) -> bool {
    status.is_success() || status == StatusCode::NOT_FOUND || status == StatusCode::GONE
}

fn no_content() -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}
