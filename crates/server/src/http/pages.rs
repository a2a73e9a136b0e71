//! The pages and what they load, all out of the binary. A page is the same for every stream and every caller; it asks
//! for a token when the stream behind it needs one.

use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use rust_embed::{EmbeddedFile, RustEmbed};

use super::error::Error;
use super::offer::value;
use super::ops::ALLOW_READ;
use super::options;
use super::request::Request;

/// `crates/server/pages`.
#[derive(RustEmbed)]
#[folder = "pages/"]
pub(super) struct Files;

/// Nothing from elsewhere, nothing inline. A player may be shown in other sites' frames; a page that uses camera and
/// microphone, or links to one, may not.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     media-src 'self' blob: mediastream:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";
const POLICY_FRAMED: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     media-src 'self' blob: mediastream:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors *";
const PERMISSIONS: HeaderName = HeaderName::from_static("permissions-policy");

/// `/`
pub(super) async fn dashboard(request: Request) -> Result<Response, Error> {
    page(&request, "index.html", POLICY, StatusCode::OK)
}

/// `/processes`
pub(super) async fn processes(request: Request) -> Result<Response, Error> {
    page(&request, "processes.html", POLICY, StatusCode::OK)
}

/// `/watch/{stream}`
pub(super) async fn watch(request: Request) -> Result<Response, Error> {
    page(&request, "watch.html", POLICY_FRAMED, status_for_stream(&request))
}

/// `/publish/{stream}`
pub(super) async fn publish(request: Request) -> Result<Response, Error> {
    page(&request, "publish.html", POLICY, status_for_stream(&request))
}

/// `/watch` and `/publish` without a name: the start page has a field for one. A token in the URL goes along.
pub(super) async fn nameless(request: Request) -> Result<Response, Error> {
    match *request.method() {
        Method::OPTIONS => return Ok(options(ALLOW_READ, None)),
        Method::GET | Method::HEAD => {}
        _ => return Err(Error::Method { allow: ALLOW_READ }),
    }
    let target = request.caller().query.map_or_else(|| "/".to_owned(), |query| format!("/?{query}"));
    let mut response = StatusCode::TEMPORARY_REDIRECT.into_response();
    response.headers_mut().insert(header::LOCATION, value(&target)?);
    Ok(response)
}

/// An illegal name is 400 here too, but with the page, which tells a person what is wrong with it.
fn status_for_stream(request: &Request) -> StatusCode {
    if request.stream().is_ok() { StatusCode::OK } else { StatusCode::BAD_REQUEST }
}

fn page(request: &Request, name: &str, policy: &'static str, status: StatusCode) -> Result<Response, Error> {
    match *request.method() {
        Method::OPTIONS => return Ok(options(ALLOW_READ, None)),
        Method::GET | Method::HEAD => {}
        _ => return Err(Error::Method { allow: ALLOW_READ }),
    }
    let file = Files::get(name).ok_or(Error::NoSuchRoute)?;
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    headers.insert(
        PERMISSIONS,
        HeaderValue::from_static("camera=(self), microphone=(self), display-capture=(self), autoplay=(self)"),
    );
    Ok((status, headers, file.data).into_response())
}

/// `/assets/{file}`: scripts, styles, pictures. Kept by browsers and asked about each time, so that an update of the
/// server is an update of its pages.
pub(super) async fn asset(request: Request) -> Result<Response, Error> {
    // Pages have their own URLs, with their own header fields.
    let name = request.name("file").to_owned();
    let file = Files::get(&name).filter(|_| !name.ends_with(".html")).ok_or(Error::NoSuchRoute)?;
    match *request.method() {
        Method::OPTIONS => return Ok(options(ALLOW_READ, None)),
        Method::GET | Method::HEAD => {}
        _ => return Err(Error::Method { allow: ALLOW_READ }),
    }
    let mut headers = HeaderMap::new();
    if revalidate(&request, &etag(&file), &mut headers)? {
        return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
    }
    let media_type = mime_guess::from_path(&name).first_raw().unwrap_or("application/octet-stream");
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    Ok((headers, file.data).into_response())
}

/// A page of a listener that has no other rules for it.
pub(crate) fn standalone(name: &str) -> Response {
    let Some(file) = Files::get(name) else { return StatusCode::NOT_FOUND.into_response() };
    let fields = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
    ];
    (fields, file.data).into_response()
}

/// What such a page loads.
pub(crate) fn standalone_asset(name: &str) -> Response {
    let Some(file) = Files::get(name).filter(|_| !name.ends_with(".html")) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let media_type = mime_guess::from_path(name).first_raw().unwrap_or("application/octet-stream");
    let fields = [
        (header::CONTENT_TYPE, HeaderValue::from_static(media_type)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (fields, file.data).into_response()
}

/// What makes a browser ask each time; true when it has the file of this ETag.
pub(super) fn revalidate(request: &Request, etag: &str, headers: &mut HeaderMap) -> Result<bool, Error> {
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::ETAG, value(etag)?);
    let known = request.headers().get(header::IF_NONE_MATCH);
    Ok(known.is_some_and(|known| known.as_bytes() == etag.as_bytes()))
}

fn etag(file: &EmbeddedFile) -> String {
    let hash: String = file.metadata.sha256_hash().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hash}\"")
}
