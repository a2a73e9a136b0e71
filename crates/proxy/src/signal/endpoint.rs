//! Requests to an endpoint: offers, and whatever else is asked about a stream.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Response, StatusCode};
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};
use url::Url;
use whipstitch_stream::StreamKey;

use super::forward::{Incoming, Outgoing, Trouble};
use super::untold::Untold;
use super::{
    Directory, NoOrigin, Picked, Refused, Request, Signal, Signalling, allowed, is_created, is_preflight, options,
    refused, relayed, relayed_as_is, text,
};
use crate::envelope;
use crate::headers;
use crate::record::{Session, SessionId};
use crate::sdp::{Description, SdpError};
use crate::urls::{self, Manners, Place};

const SDP: HeaderValue = HeaderValue::from_static("application/sdp");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const ACCEPT_POST: (&str, &str) = ("accept-post", "application/sdp");

/// An offer that may go out.
struct Offer {
    description: Description,
    /// The SDP alone, as it came.
    sdp: Bytes,
}

/// What an origin was asked, and what it said.
struct Exchange {
    picked: Picked,
    url: Url,
    headers: HeaderMap,
    in_envelope: bool,
    incoming: Incoming,
}

impl<D: Directory> Signal<D> {
    /// Any request to an endpoint.
    pub(super) async fn endpoint(
        &self,
        place: &'static Place,
        stream: Option<StreamKey>,
        request: Request,
    ) -> Result<Response<Bytes>, Refused> {
        let allow = allowed(place.manners);
        match (&request.method, stream) {
            (&Method::OPTIONS, Some(stream)) if !is_preflight(&request.method, &request.headers) => {
                Ok(self.asked_options(place, &stream, request).await)
            }
            (&Method::OPTIONS, _) => Ok(options(allow, (place.manners != Manners::Envelope).then_some(ACCEPT_POST))),
            (&Method::POST, Some(stream)) => {
                let offer = read_offer(request.body.clone())?;
                self.offer(place, stream, offer, request).await
            }
            (&Method::POST, None) => {
                let asked = envelope::Request::read(&request.body)?;
                let stream = urls::named_by_stream_url(&asked.streamurl)?;
                let offer = read_offer(Bytes::from(asked.sdp))?;
                self.offer(place, stream, offer, request).await
            }
            (&Method::GET | &Method::HEAD | &Method::DELETE, Some(stream)) => {
                self.exchange(place, &stream, &request, None).await.map(|exchange| relayed_as_is(exchange.incoming))
            }
            _ => Err(Refused::Method { allow }),
        }
    }

    /// What an origin says to OPTIONS (its ICE servers), on top of what is true anyway. An origin that fails is no reason to
    /// fail: clients take that for the end.
    async fn asked_options(&self, place: &'static Place, stream: &StreamKey, request: Request) -> Response<Bytes> {
        let mut response = options(allowed(place.manners), Some(ACCEPT_POST));
        if let Ok(exchange) = self.exchange(place, stream, &request, None).await
            && exchange.incoming.status.is_success()
        {
            let links = headers::to_client(&exchange.incoming.headers);
            for link in links.get_all(header::LINK) {
                response.headers_mut().append(header::LINK, link.clone());
            }
        }
        response
    }

    /// An offer, from the choice of the origin to the answer.
    async fn offer(
        &self,
        place: &'static Place,
        stream: StreamKey,
        offer: Offer,
        request: Request,
    ) -> Result<Response<Bytes>, Refused> {
        if self.signalling == Signalling::Redirect
            && let Some(redirect) = self.redirect(place, &stream, &request).await?
        {
            return Ok(redirect);
        }
        if request.candidates.is_empty() {
            return Err(Refused::NoAddress);
        }
        let exchange = self.exchange(place, &stream, &request, Some(&offer)).await?;
        let picked = exchange.picked.clone();
        let reply = self.begin(place, &stream, &offer, &request, exchange).await;
        let ok = matches!(reply, Ok((_, Some(_))));
        self.directory.answered(stream.as_str(), &picked, ok).await;
        let (response, begun) = reply?;
        // Nothing is waited for from here on: either the client hears of the session, or it ends.
        if let Some(untold) = begun {
            untold.tell();
        }
        Ok(response)
    }

    /// 307 to the origin (RFC 9725 section 4.5); `None` where the origin does not speak what the client does.
    async fn redirect(
        &self,
        place: &Place,
        stream: &StreamKey,
        request: &Request,
    ) -> Result<Option<Response<Bytes>>, Refused> {
        let picked = self.pick(place, stream, self.deadline()).await?;
        let (url, in_envelope) = place.at(&picked.origin, stream, request.query.as_deref());
        let can = in_envelope || place.manners != Manners::Envelope;
        let Some(location) = HeaderValue::from_str(url.as_str()).ok().filter(|_| can) else {
            self.directory.answered(stream.as_str(), &picked, false).await;
            return Ok(None);
        };
        // The stream is the origin's for the time a claim lasts. That it has it the origin has not said: what it names in its
        // heartbeats counts, not what somebody was sent to it for.
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
        response.headers_mut().insert(header::LOCATION, location);
        Ok(Some(response))
    }

    async fn pick(&self, place: &Place, stream: &StreamKey, deadline: Instant) -> Result<Picked, Refused> {
        chosen(timeout_at(deadline, self.directory.pick(stream.as_str(), place.role)).await)
    }

    /// The same for who only asks: the stream stays whose it is.
    async fn look(&self, place: &Place, stream: &StreamKey, deadline: Instant) -> Result<Picked, Refused> {
        let origin = chosen(timeout_at(deadline, self.directory.look(stream.as_str(), place.role)).await)?;
        Ok(Picked { origin, claimed_now: false, token: None, lost: None })
    }

    /// Asks the stream's origin; when nobody listens there, once another one. With an offer, that is what goes out.
    async fn exchange(
        &self,
        place: &'static Place,
        stream: &StreamKey,
        request: &Request,
        offer: Option<&Offer>,
    ) -> Result<Exchange, Refused> {
        let deadline = self.deadline();
        let choose = async || match offer {
            Some(_) => self.pick(place, stream, deadline).await,
            None => self.look(place, stream, deadline).await,
        };
        let mut picked = choose().await?;
        let mut again = true;
        loop {
            match self.ask(place, stream, request, offer, &picked, deadline).await {
                Ok(exchange) => return Ok(exchange),
                Err(trouble) => {
                    if offer.is_some() {
                        self.directory.answered(stream.as_str(), &picked, false).await;
                    }
                    let failed = picked.origin.id.clone();
                    if trouble.is_before_all() {
                        self.directory.failed(&failed);
                        if std::mem::take(&mut again)
                            && let Ok(other) = choose().await
                        {
                            picked = other;
                            continue;
                        }
                    }
                    return Err(refused(trouble, &failed));
                }
            }
        }
    }

    async fn ask(
        &self,
        place: &'static Place,
        stream: &StreamKey,
        request: &Request,
        offer: Option<&Offer>,
        picked: &Picked,
        deadline: Instant,
    ) -> Result<Exchange, Trouble> {
        let (mut url, in_envelope) = place.at(&picked.origin, stream, request.query.as_deref());
        let mut headers = headers::to_origin(&request.headers, &request.client);
        let body = match offer {
            Some(offer) if place.manners == Manners::Envelope && !in_envelope => {
                headers.insert(header::CONTENT_TYPE, SDP);
                if let Ok(asked) = envelope::Request::read(&request.body) {
                    url = urls::with_stream_url(url, &asked.streamurl);
                }
                offer.sdp.clone()
            }
            _ => request.body.clone(),
        };
        let outgoing = Outgoing { method: request.method.clone(), url: url.clone(), headers: headers.clone(), body };
        let incoming = self.forward.send(outgoing, deadline).await?;
        Ok(Exchange { picked: picked.clone(), url, headers, in_envelope, incoming })
    }

    /// Makes a session of what the origin said to an offer, if it is one: then nobody has been told of it yet.
    async fn begin(
        &self,
        place: &'static Place,
        stream: &StreamKey,
        offer: &Offer,
        request: &Request,
        exchange: Exchange,
    ) -> Result<(Response<Bytes>, Option<Untold<D>>), Refused> {
        let Exchange { picked, url, headers, in_envelope, incoming } = exchange;
        if incoming.status.is_redirection() {
            return Ok((redirected(&url, incoming), None));
        }
        if !is_created(incoming.status) {
            return Ok((relayed_as_is(incoming), None));
        }
        let resource = text(&incoming.headers, header::LOCATION).and_then(|location| urls::resource(&url, &location));
        let mut untold = Untold::new(self.forward.clone(), Arc::clone(&self.directory), resource.clone(), &headers);
        let unusable = || Refused::Unusable(picked.origin.id.clone());

        let reply = in_envelope.then(|| envelope::Reply::read(&incoming.body));
        let answer = match &reply {
            // SRS says what is wrong with a status of 200.
            Some(None) => return Ok((relayed_as_is(incoming), None)),
            Some(Some(reply)) => reply.sdp.as_bytes(),
            None => &incoming.body[..],
        };
        let answer = Description::parse(answer).map_err(|_| unusable())?;
        let generation = answer.generation(&offer.description).map_err(|_| unusable())?;
        let told = picked.origin.rtc.or_else(|| answer.media_address(incoming.peer?));
        let pair = generation.pair();
        let session = Session {
            id: SessionId::random(),
            stream: stream.as_str().to_owned(),
            role: place.role,
            origin: picked.origin.id.clone(),
            rtc: told.ok_or_else(unusable)?,
            generations: vec![generation],
            resource: resource.map(String::from).unwrap_or_default(),
            etag: text(&incoming.headers, header::ETAG),
            created_ms: now_ms(),
        };
        let sdp = answer.with_candidates(&request.candidates).map_err(|_| unusable())?;
        let session = Arc::new(session);
        untold.is_known_as(session.id.clone());
        self.directory.opened(Arc::clone(&session)).await.map_err(|_| Refused::Full)?;

        let (body, content_type) = match (&reply, place.manners) {
            (Some(Some(reply)), _) => (reply.with(&sdp), None),
            (_, Manners::Envelope) => (envelope::made(&sdp, pair.as_str()), Some(JSON)),
            _ => (sdp, Some(SDP)),
        };
        let mut response = relayed(&incoming, Bytes::from(body));
        let fields = response.headers_mut();
        if let Some(content_type) = content_type {
            fields.insert(header::CONTENT_TYPE, content_type);
        }
        fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if place.manners == Manners::Envelope {
            // Its clients know 200 only.
            *response.status_mut() = StatusCode::OK;
        } else {
            let location = place.location(stream, &session.id);
            let location = HeaderValue::from_str(&location).map_err(|_| unusable())?;
            response.headers_mut().insert(header::LOCATION, location);
        }
        Ok((response, Some(untold)))
    }
}

/// What came of choosing an origin, which may have taken too long.
fn chosen<T>(choice: Result<Result<T, NoOrigin>, Elapsed>) -> Result<T, Refused> {
    match choice {
        Ok(Ok(origin)) => Ok(origin),
        Ok(Err(NoOrigin::None)) => Err(Refused::NoOrigin),
        Ok(Err(NoOrigin::RegistryAway)) | Err(_) => Err(Refused::RegistryAway),
    }
}

/// An origin that sends on to another one: the client goes there itself.
fn redirected(asked: &Url, incoming: Incoming) -> Response<Bytes> {
    let location = text(&incoming.headers, header::LOCATION).and_then(|location| asked.join(&location).ok());
    let mut response = relayed_as_is(incoming);
    if let Some(location) = location.and_then(|location| HeaderValue::from_str(location.as_str()).ok()) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// What must be known of an offer before anybody acts on it.
fn read_offer(sdp: Bytes) -> Result<Offer, SdpError> {
    let description = Description::parse(&sdp)?;
    description.has_credentials()?;
    Ok(Offer { description, sdp })
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
