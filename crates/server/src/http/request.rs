//! A request as the routes want it: who asks, for which stream and session, with which body.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};

use axum::RequestExt as _;
use axum::body::Body;
use axum::extract::{FromRequest, Path};
use axum::http::header;
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, Uri};
use whipstitch_stream::{SessionId, StreamKey};

use super::body;
use super::connection::Connection;
use super::error::Error;
use super::{Client, Ours, Takes};
use crate::access::Caller;

/// Longer than any browser's; the rest says nothing.
const LONGEST_USER_AGENT: usize = 256;

/// Which stream a request turned out to name, for whoever stands around the handler; goes with the request as an
/// extension.
#[derive(Clone, Debug, Default)]
pub(crate) struct Named(Arc<OnceLock<StreamKey>>);

impl Named {
    pub(crate) fn stream(&self) -> Option<&StreamKey> {
        self.0.get()
    }
}

/// One request.
#[derive(Debug)]
pub(crate) struct Request {
    parts: Parts,
    peer: SocketAddr,
    client: IpAddr,
    authority: Option<Authority>,
    /// The placeholders of the route, percent-decoded once.
    names: HashMap<String, String>,
    body: Body,
}

impl<S: Send + Sync> FromRequest<S> for Request {
    type Rejection = Error;

    async fn from_request(mut request: axum::extract::Request, _: &S) -> Result<Self, Error> {
        // Placeholders that are not UTF-8 are no legal name of anything.
        let names = request.extract_parts::<Path<HashMap<String, String>>>().await;
        let names = names.map_err(|_| Error::StreamName)?.0;
        let (parts, body) = request.into_parts();
        // Only the listener makes requests, and it says whose they are.
        let connection = parts.extensions.get::<Connection>().ok_or(Error::Internal)?;
        let peer = SocketAddr::new(connection.peer.ip().to_canonical(), connection.peer.port());
        let client = parts.extensions.get::<Client>().map_or(peer.ip(), |client| client.0);
        let authority = authority(&parts.uri, &parts.headers)?;
        Ok(Self { parts, peer, client, authority, names, body })
    }
}

/// The host the client means. RFC 9112 3.2.2: one in the request line wins over the field.
pub(crate) fn authority(uri: &Uri, headers: &HeaderMap) -> Result<Option<Authority>, Error> {
    if let Some(authority) = uri.authority() {
        return Ok(Some(authority.clone()));
    }
    match headers.get(header::HOST) {
        Some(host) if !host.is_empty() => match Authority::try_from(host.as_bytes()) {
            Ok(authority) => Ok(Some(authority)),
            Err(_) => Err(Error::Head("the Host is malformed")),
        },
        _ => Ok(None),
    }
}

impl Request {
    pub(crate) fn method(&self) -> &Method {
        &self.parts.method
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    /// Whether this is a browser that asks on behalf of a page whether the page may ask (Fetch 3.2.2).
    pub(crate) fn is_preflight(&self) -> bool {
        let has = |name| self.parts.headers.contains_key(name);
        self.parts.method == Method::OPTIONS && has(header::ORIGIN) && has(header::ACCESS_CONTROL_REQUEST_METHOD)
    }

    /// Who asks.
    pub(crate) fn caller(&self) -> Caller<'_> {
        Caller {
            peer: self.peer,
            authority: self.authority.as_ref(),
            headers: &self.parts.headers,
            query: self.parts.uri.query(),
            ours: self.parts.extensions.get() == Some(&Ours(true)),
        }
    }

    /// Takes `?token=` for an `Authorization` that is not there: for what a browser navigates to.
    pub(crate) fn take_token_of_query(&mut self) {
        let token = || self.parameter("token", Error::StreamQuery).ok().flatten();
        if !self.parts.headers.contains_key(header::AUTHORIZATION)
            && let Some(token) = token()
            && let Ok(mut field) = header::HeaderValue::from_str(&format!("Bearer {token}"))
        {
            field.set_sensitive(true);
            self.parts.headers.insert(header::AUTHORIZATION, field);
        }
    }

    /// Whom limits go by: the other end of the connection, or whom a trusted proxy there names.
    pub(crate) fn client(&self) -> IpAddr {
        self.client
    }

    /// The host the client used, without port.
    pub(crate) fn host(&self) -> Option<&str> {
        self.authority.as_ref().map(Authority::host)
    }

    /// The stream the URL names.
    pub(crate) fn stream(&self) -> Result<StreamKey, Error> {
        self.stream_called(self.name("stream"))
    }

    /// The stream of this name.
    pub(crate) fn stream_called(&self, name: &str) -> Result<StreamKey, Error> {
        let stream = StreamKey::parse(name).map_err(|_| Error::StreamName)?;
        if let Some(Named(named)) = self.parts.extensions.get() {
            let _ = named.set(stream.clone());
        }
        Ok(stream)
    }

    /// A parameter of the query, decoded; an empty one is none.
    ///
    /// # Errors
    /// `twice`: it is there twice, and nobody could say which is meant.
    pub(crate) fn parameter(&self, wanted: &str, twice: Error) -> Result<Option<String>, Error> {
        let query = self.parts.uri.query().unwrap_or_default();
        let mut values = form_urlencoded::parse(query.as_bytes())
            .filter(|(name, value)| name == wanted && !value.is_empty())
            .map(|(_, value)| value.into_owned());
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(twice),
            (value, None) => Ok(value),
        }
    }

    /// The secret part of a session URL; what it may look like is the media plane's.
    pub(crate) fn resource(&self) -> &str {
        self.name("session")
    }

    /// The session an API URL names.
    pub(crate) fn session(&self) -> Result<SessionId, Error> {
        self.name("session").parse().map_err(|_| Error::SessionId)
    }

    pub(crate) fn name(&self, placeholder: &str) -> &str {
        self.names.get(placeholder).map_or("", String::as_str)
    }

    /// What the client calls itself, as far as it is printable.
    pub(crate) fn user_agent(&self) -> Option<String> {
        let text = self.parts.headers.get(header::USER_AGENT)?.to_str().ok()?;
        Some(text.chars().take(LONGEST_USER_AGENT).collect())
    }

    /// Whether the body is of `media_type`: RFC 9110 8.3.1, letter case and parameters do not matter.
    pub(crate) fn is_of(&self, media_type: &str) -> bool {
        let mut fields = self.parts.headers.get_all(header::CONTENT_TYPE).iter();
        let (Some(field), None) = (fields.next(), fields.next()) else { return false };
        let essence = field.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
        essence.trim().eq_ignore_ascii_case(media_type)
    }

    /// Reads the body of at most `limit` bytes, judges what surrounds it, and gives it as text later: the order is
    /// size, media type, syntax, and the caller has its own checks before the last.
    ///
    /// # Errors
    /// 413, 408, 415 as the order says.
    pub(crate) async fn read(&mut self, limit: usize, takes: &'static Takes) -> Result<Text, Error> {
        let bytes = body::read(std::mem::take(&mut self.body), limit).await?;
        if !self.is_of(takes.media_type) {
            return Err(Error::MediaType(takes));
        }
        let plain = |encoding: &header::HeaderValue| encoding.as_bytes().eq_ignore_ascii_case(b"identity");
        if !self.parts.headers.get_all(header::CONTENT_ENCODING).iter().all(plain) {
            return Err(Error::Encoding);
        }
        Ok(Text(bytes.to_vec()))
    }
}

/// A body that was read and whose syntax nobody has looked at yet.
pub(crate) struct Text(Vec<u8>);

impl Text {
    /// The body as far as it is text.
    pub(crate) fn lossy(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }

    /// The body as it came.
    pub(crate) fn bytes(self) -> Vec<u8> {
        self.0
    }

    /// The body as text.
    pub(crate) fn text(self) -> Result<String, Error> {
        String::from_utf8(self.0).map_err(|_| Error::NotText)
    }
}
