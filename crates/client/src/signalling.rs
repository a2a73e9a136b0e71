//! The HTTP half of WHIP (RFC 9725) and WHEP: an offer posted, the session URL kept, DELETE at the end.
//!
//! Knows nothing of SDP beyond its media type. Bodies are read up to a bound, redirects that keep the method (307, 308)
//! are followed by the HTTP client, and no proxy of the environment is used: media would not go through it.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, ETAG, LOCATION, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, Url};

use crate::Error;

/// The answer may take up to 5 s by protocol.md 15 before the server itself says 503.
const HTTP_TIMEOUT: Duration = Duration::from_secs(8);
/// The limit of an SDP body (protocol.md 15); a longer one is not an answer.
const BODY_LIMIT: usize = 64 * 1024;
/// Enough of an error body to read what is wrong, and no more in a log line.
const DETAIL_LIMIT: usize = 300;

/// An HTTP client, to be shared by the sessions of one process or thread.
pub(crate) fn client() -> Client {
    Client::builder()
        .user_agent(concat!("whipstitch/", env!("CARGO_PKG_VERSION")))
        .no_proxy()
        .timeout(HTTP_TIMEOUT)
        // A session makes two requests minutes apart, and sessions of several runtimes share a client.
        .pool_max_idle_per_host(0)
        // HTTP only: no roots of trust are looked for on the machine, which may have none.
        .tls_certs_only([])
        .build()
        .expect("no roots and no proxy: nothing in the configuration can fail")
}

/// A WHIP or WHEP endpoint and the token for it.
#[derive(Clone)]
pub(crate) struct Endpoint {
    http: Client,
    url: Url,
    token: Option<String>,
}

/// A session that exists on the server.
pub(crate) struct Session {
    endpoint: Endpoint,
    /// Absolute session URL: PATCH and DELETE go there.
    pub(crate) url: Url,
    /// Entity-tag of the ICE generation, as sent (quoted).
    pub(crate) etag: Option<String>,
}

impl Endpoint {
    pub(crate) fn new(http: Client, url: &str, token: Option<&str>) -> Result<Endpoint, Error> {
        let refuse = |reason: String| Error::Url { url: url.to_owned(), reason };
        let parsed = Url::parse(url).map_err(|error| refuse(error.to_string()))?;
        if parsed.scheme() != "http" {
            return Err(refuse(format!("scheme {} is not http", parsed.scheme())));
        }
        Ok(Endpoint { http, url: parsed, token: token.map(str::to_owned) })
    }

    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// Posts the offer; the session and the SDP answer.
    pub(crate) async fn post(&self, offer: String) -> Result<(Session, String), Error> {
        let request = self.http.post(self.url.clone()).header(CONTENT_TYPE, "application/sdp").body(offer);
        let response = self.send(self.authorize(request), &self.url).await?;
        if response.status() != StatusCode::CREATED {
            return Err(refused(&self.url, response).await);
        }
        let unusable = |reason: String| Error::Answer { url: self.url.to_string(), reason };
        let location = header(&response, LOCATION).ok_or_else(|| unusable("no Location".to_owned()))?;
        // After a redirect the session lives where the answer came from (RFC 9110 10.2.2).
        let url = response.url().join(&location).map_err(|error| unusable(format!("Location {location}: {error}")))?;
        let etag = header(&response, ETAG);
        let session = Session { endpoint: self.clone(), url, etag };
        let answer = body(&self.url, response).await?;
        Ok((session, answer))
    }

    fn authorize(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        match &self.token {
            Some(token) => request.header(AUTHORIZATION, format!("Bearer {token}")),
            None => request,
        }
    }

    async fn send(&self, request: reqwest::RequestBuilder, url: &Url) -> Result<Response, Error> {
        request.send().await.map_err(|source| Error::Http { url: url.to_string(), source: source.without_url() })
    }
}

impl Session {
    /// Ends the session on the server. A session the server no longer knows is ended as well.
    pub(crate) async fn delete(self) -> Result<(), Error> {
        let endpoint = &self.endpoint;
        let request = endpoint.authorize(endpoint.http.delete(self.url.clone()));
        // Errors name the endpoint: the session URL is a secret (design.md 1.3).
        let response = endpoint.send(request, &endpoint.url).await?;
        match response.status() {
            StatusCode::OK | StatusCode::NO_CONTENT | StatusCode::NOT_FOUND => Ok(()),
            _ => Err(refused(&endpoint.url, response).await),
        }
    }
}

fn header(response: &Response, name: reqwest::header::HeaderName) -> Option<String> {
    response.headers().get(name)?.to_str().ok().map(str::to_owned)
}

async fn refused(url: &Url, response: Response) -> Error {
    let status = response.status().as_u16();
    let retry_after = header(&response, RETRY_AFTER).and_then(|text| text.parse().ok()).map(Duration::from_secs);
    let detail = body(url, response).await.unwrap_or_default();
    let detail = detail.chars().take(DETAIL_LIMIT).collect();
    Error::Refused { url: url.to_string(), status, retry_after, detail }
}

async fn body(url: &Url, mut response: Response) -> Result<String, Error> {
    let mut bytes = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if bytes.len() + chunk.len() <= BODY_LIMIT => bytes.extend_from_slice(&chunk),
            Ok(Some(_)) => {
                let reason = format!("body of more than {BODY_LIMIT} bytes");
                return Err(Error::Answer { url: url.to_string(), reason });
            }
            Ok(None) => break,
            Err(source) => return Err(Error::Http { url: url.to_string(), source: source.without_url() }),
        }
    }
    String::from_utf8(bytes).map_err(|_| Error::Answer { url: url.to_string(), reason: "body is not UTF-8".to_owned() })
}
