//! Probes. They are open to everybody and name no stream.

use axum::Json;
use axum::extract::State as FromState;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::error::Error;
use super::request::Request;
use super::{State, options};

pub(super) const ALLOW_READ: &str = "OPTIONS, GET, HEAD";

/// The process answers.
pub(super) async fn health(request: Request) -> Result<Response, Error> {
    match *request.method() {
        Method::OPTIONS => Ok(options(ALLOW_READ, None)),
        Method::GET | Method::HEAD => Ok(Json(json!({ "status": "ok" })).into_response()),
        _ => Err(Error::Method { allow: ALLOW_READ }),
    }
}

/// New sessions are taken. No problem body: a load balancer reads the status, and nothing failed.
pub(super) async fn ready(FromState(state): FromState<State>, request: Request) -> Result<Response, Error> {
    match *request.method() {
        Method::OPTIONS => Ok(options(ALLOW_READ, None)),
        Method::GET | Method::HEAD if state.is_draining() => {
            Ok((StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "status": "draining" }))).into_response())
        }
        Method::GET | Method::HEAD => Ok(Json(json!({ "status": "ready" })).into_response()),
        _ => Err(Error::Method { allow: ALLOW_READ }),
    }
}
