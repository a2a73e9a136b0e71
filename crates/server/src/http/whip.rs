//! The WHIP endpoint, `protocol.md` 3.1: takes a publisher's offer, and ends the current publisher on DELETE.

use axum::extract::State as FromState;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};

use super::error::Error;
use super::mounts::Manners;
use super::offer;
use super::request::Request;
use super::{Mount, State};
use crate::access::Right;

const ALLOW: &str = "OPTIONS, GET, HEAD, POST, DELETE";

pub(super) async fn endpoint(
    mount: &'static Mount,
    FromState(state): FromState<State>,
    request: Request,
) -> Result<Response, Error> {
    match *request.method() {
        Method::OPTIONS => offer::endpoint_options(mount, &state, Right::Publish, ALLOW, &request),
        Method::POST => {
            let subject = offer::enter(mount, &state, Right::Publish, &request)?;
            offer::accept(mount, &state, request, subject).await
        }
        // RFC 9725 4.1: success without content.
        Method::GET | Method::HEAD => {
            offer::enter(mount, &state, Right::Publish, &request)?;
            mount.stream(&request)?;
            Ok(StatusCode::NO_CONTENT.into_response())
        }
        Method::DELETE => {
            offer::enter(mount, &state, Right::Publish, &request)?;
            state.0.throttle.request(request.client())?;
            let stream = mount.stream(&request)?;
            match state.ask(move |media| media.close_publisher(&stream)).await? {
                _ if mount.manners == Manners::Core => Ok(StatusCode::NO_CONTENT.into_response()),
                true => Ok(StatusCode::OK.into_response()),
                false => Err(Error::NoSuch("nobody is publishing this stream")),
            }
        }
        _ => Err(Error::Method { allow: ALLOW }),
    }
}
