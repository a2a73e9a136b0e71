//! The WHEP endpoint, `protocol.md` 3.2: takes a player's offer. An offer for a stream that nobody publishes is 409
//! with `Retry-After`, unless viewers may wait; an empty one (the server-offer mode of the first drafts) is 400, as broken SDP is.

use axum::extract::State as FromState;
use axum::http::header::{self, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};

use super::error::Error;
use super::offer::{self, OFFER};
use super::request::Request;
use super::{Mount, State};
use crate::access::Right;

const ALLOW: &str = "OPTIONS, GET, HEAD, POST";

pub(super) async fn endpoint(
    mount: &'static Mount,
    FromState(state): FromState<State>,
    request: Request,
) -> Result<Response, Error> {
    match *request.method() {
        Method::OPTIONS => offer::endpoint_options(mount, &state, Right::Play, ALLOW, &request),
        Method::POST => {
            let subject = offer::enter(mount, &state, Right::Play, &request)?;
            offer::accept(mount, &state, request, subject).await
        }
        // WHEP -04 4.2: how a player finds out that this is an endpoint.
        Method::GET | Method::HEAD => {
            offer::enter(mount, &state, Right::Play, &request)?;
            mount.stream(&request)?;
            let mut response = StatusCode::OK.into_response();
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(OFFER.media_type));
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
            Ok(response)
        }
        _ => Err(Error::Method { allow: ALLOW }),
    }
}
