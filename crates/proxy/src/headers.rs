//! Which header fields pass, by name: everything else stays on its side.

use std::net::IpAddr;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// From a client to the origin. `ETag` because a client in use sends it in requests.
const REQUEST: [HeaderName; 7] = [
    header::ACCEPT,
    header::AUTHORIZATION,
    header::CONTENT_ENCODING,
    header::CONTENT_TYPE,
    header::ETAG,
    header::IF_MATCH,
    header::USER_AGENT,
];

/// From the origin to a client; `Location` and `Link` are looked at one by one.
const RESPONSE: [HeaderName; 8] = [
    HeaderName::from_static("accept-patch"),
    HeaderName::from_static("accept-post"),
    header::ALLOW,
    header::CACHE_CONTROL,
    header::CONTENT_TYPE,
    header::ETAG,
    header::RETRY_AFTER,
    header::WWW_AUTHENTICATE,
];

/// What this proxy calls itself in `Via` (RFC 9110 section 7.6.3).
const VIA: HeaderValue = HeaderValue::from_static("1.1 whipstitch-proxy");
/// Proxies one behind the other that a request may have passed. More is one that has itself for an origin.
const MOST_PROXIES: usize = 4;

/// Whom a request comes from and what he called, for the origin's rules and log.
#[derive(Debug, Clone)]
pub struct Client {
    /// The client's address, or what a trusted proxy in front says it is.
    pub ip: IpAddr,
    /// The host and port in the URL it used.
    pub host: Option<String>,
    /// Whether it used HTTPS.
    pub https: bool,
}

/// The fields of a request to an origin.
#[must_use]
pub fn to_origin(from: &HeaderMap, client: &Client) -> HeaderMap {
    let mut headers = passed(from, &REQUEST);
    let mut say = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    say("x-forwarded-for", &client.ip.to_string());
    say("x-forwarded-proto", if client.https { "https" } else { "http" });
    if let Some(host) = &client.host {
        say("x-forwarded-host", host);
    }
    for via in from.get_all(header::VIA) {
        headers.append(header::VIA, via.clone());
    }
    headers.append(header::VIA, VIA);
    if let Some(authorization) = headers.get_mut(header::AUTHORIZATION) {
        authorization.set_sensitive(true);
    }
    headers
}

/// The fields of an answer to a client, without `Location`.
#[must_use]
pub fn to_client(from: &HeaderMap) -> HeaderMap {
    let mut headers = passed(from, &RESPONSE);
    // What else an origin links to (RFC 9725 section 4.9) is at a URL of its own, which nobody out here can reach.
    for link in from.get_all(header::LINK).iter().filter(|link| is_ice_server(link)) {
        let mut link = link.clone();
        link.set_sensitive(true);
        headers.append(header::LINK, link);
    }
    headers
}

/// Whether a request goes round in circles.
#[must_use]
pub fn is_loop(headers: &HeaderMap) -> bool {
    let fields = headers.get_all(header::VIA).iter().filter_map(|via| via.to_str().ok());
    fields.flat_map(|via| via.split(',')).filter(|hop| hop.trim() == VIA).count() >= MOST_PROXIES
}

fn passed(from: &HeaderMap, names: &[HeaderName]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for name in names {
        for value in from.get_all(name) {
            headers.append(name.clone(), value.clone());
        }
    }
    headers
}

fn is_ice_server(link: &HeaderValue) -> bool {
    let Ok(text) = link.to_str() else { return false };
    let text = text.to_ascii_lowercase().replace(' ', "");
    let is_ice = text.contains("rel=\"ice-server\"") || text.contains("rel=ice-server");
    is_ice && !text.contains("urn:ietf:params:")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).fold(
            HeaderMap::new(),
            |mut headers, (name, value)| {
                headers.append(name, value);
                headers
            },
        )
    }

    fn written(headers: &HeaderMap) -> Vec<String> {
        let mut all: Vec<_> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap_or("?"))).collect();
        all.sort();
        all
    }

    #[test]
    fn a_request_takes_along_what_an_origin_needs_and_says_whom_it_is_from() {
        let from = fields(&[
            ("authorization", "Bearer t"),
            ("content-type", "application/sdp"),
            ("if-match", "\"1\""),
            ("cookie", "secret"),
            ("connection", "x-mine"),
            ("x-forwarded-for", "1.1.1.1"),
            ("host", "proxy.example.net"),
            ("expect", "100-continue"),
            ("origin", "https://page.example.net"),
        ]);
        let client =
            Client { ip: IpAddr::from([203, 0, 113, 7]), host: Some("proxy.example.net".to_owned()), https: true };
        let to = to_origin(&from, &client);
        assert_eq!(
            written(&to),
            [
                "authorization: Bearer t",
                "content-type: application/sdp",
                "if-match: \"1\"",
                "via: 1.1 whipstitch-proxy",
                "x-forwarded-for: 203.0.113.7",
                "x-forwarded-host: proxy.example.net",
                "x-forwarded-proto: https",
            ]
        );
        assert!(to[header::AUTHORIZATION].is_sensitive());
    }

    #[test]
    fn an_answer_keeps_what_clients_need_and_no_link_to_where_they_cannot_go() {
        let from = fields(&[
            ("etag", "\"2\""),
            ("retry-after", "3"),
            ("location", "/whip/cam/x"),
            ("server", "nginx"),
            ("set-cookie", "a=b"),
            ("link", "<stun:s:3478>; rel=\"ice-server\""),
            ("link", "</whep/cam/x/sse>; rel=\"urn:ietf:params:whep:ext:core:server-sent-events\""),
            ("access-control-allow-origin", "*"),
        ]);
        assert_eq!(
            written(&to_client(&from)),
            ["etag: \"2\"", "link: <stun:s:3478>; rel=\"ice-server\"", "retry-after: 3"]
        );
    }

    #[test]
    fn a_proxy_that_is_its_own_origin_is_found_out() {
        let client = Client { ip: IpAddr::from([127, 0, 0, 1]), host: None, https: false };
        let mut headers = HeaderMap::new();
        for hop in 0..MOST_PROXIES {
            assert!(!is_loop(&headers), "{hop}");
            headers = to_origin(&headers, &client);
        }
        assert!(is_loop(&headers));
    }
}
