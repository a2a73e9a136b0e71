//! The description of the API and a browser for it (Swagger UI), all out of the binary. Both need the right that lists
//! need; the browser's own files are the same for everybody and open.

use std::sync::Arc;

use axum::extract::State as FromState;
use axum::http::header::{self, HeaderValue};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use utoipa_swagger_ui::Config;

use super::error::Error;
use super::ops::ALLOW_READ;
use super::pages::{self, Files};
use super::request::Request;
use super::{State, openapi, options, streams};

/// Swagger UI styles its elements one by one and draws its pictures from data URLs. Everything else is from here.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
     connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// `/openapi.json`
pub(super) async fn description(FromState(state): FromState<State>, mut request: Request) -> Result<Response, Error> {
    request.take_token_of_query();
    if let Some(response) = streams::before(&state, &request)? {
        return Ok(response);
    }
    let media_type = HeaderValue::from_static("application/json");
    Ok(([(header::CONTENT_TYPE, media_type)], openapi::document()).into_response())
}

/// `/docs`. A browser that brings no token gets the refusal with a page that asks for one.
pub(super) async fn browser(FromState(state): FromState<State>, mut request: Request) -> Result<Response, Error> {
    request.take_token_of_query();
    let (name, refusal) = match streams::before(&state, &request) {
        Ok(Some(response)) => return Ok(response),
        Ok(None) => ("docs.html", None),
        Err(error @ Error::Denied { .. }) if wants_html(&request) => ("docs-token.html", Some(error.into_response())),
        Err(error) => return Err(error),
    };
    let file = Files::get(name).ok_or(Error::NoSuchRoute)?;
    let mut response = file.data.into_response();
    if let Some(refusal) = refusal {
        *response.status_mut() = refusal.status();
        *response.extensions_mut() = refusal.extensions().clone();
        response.headers_mut().extend(refusal.headers().clone());
        response.headers_mut().remove(header::CONTENT_LENGTH);
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    Ok(response)
}

fn wants_html(request: &Request) -> bool {
    let accepts = request.headers().get_all(header::ACCEPT).iter();
    accepts.filter_map(|field| field.to_str().ok()).any(|field| field.contains("text/html"))
}

/// `/docs/{file}`: Swagger UI's own files.
pub(super) async fn file(request: Request) -> Result<Response, Error> {
    // Its page and its configuration are ours.
    let name = request.name("file");
    let file = if name.is_empty() || name.ends_with(".html") || name == "swagger-initializer.js" {
        None
    } else {
        utoipa_swagger_ui::serve(name, Arc::new(Config::default())).ok().flatten()
    };
    let file = file.ok_or(Error::NoSuchRoute)?;
    match *request.method() {
        Method::OPTIONS => return Ok(options(ALLOW_READ, None)),
        Method::GET | Method::HEAD => {}
        _ => return Err(Error::Method { allow: ALLOW_READ }),
    }
    let mut headers = HeaderMap::new();
    // They change with the program only.
    let etag = format!("\"{}-{}\"", env!("CARGO_PKG_VERSION"), file.bytes.len());
    if pages::revalidate(&request, &etag, &mut headers)? {
        return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
    }
    headers.insert(header::CONTENT_TYPE, super::offer::value(&file.content_type)?);
    if file.gzpipped {
        // They are in the program like this, and every browser reads it.
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok((headers, file.bytes.into_owned()).into_response())
}
