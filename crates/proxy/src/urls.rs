//! The URLs that clients use and those that origins have: which stream a request names, in every shape that is in use,
//! and where the same thing is at an origin of each kind.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use thiserror::Error;
use url::Url;
use whipstitch_stream::StreamKey;

use crate::record::{Role, SessionId};
use crate::signal::{Kind, Origin};

/// The application whose streams have no prefix: the one in everybody's examples.
const DEFAULT_APP: &str = "live";

/// A place where clients come in. All of one role lead to the same streams.
#[derive(Debug, PartialEq, Eq)]
pub struct Place {
    /// What every URL of it begins with.
    prefix: &'static str,
    /// What stands behind the name of the stream, if anything does.
    suffix: Option<&'static str>,
    /// Which way media goes.
    pub role: Role,
    naming: Naming,
    /// Which manners its clients expect.
    pub manners: Manners,
}

/// Where a request to an endpoint names its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Naming {
    /// `/whip/{stream}`.
    Path,
    /// `?app=&stream=`, as SRS has it; else `/{app}/{stream}` in the path.
    Query,
    /// `streamurl` of a JSON body, as SRS's first API has it.
    Body,
}

/// How a place behaves beside its URLs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manners {
    /// RFC 9725 and WHEP.
    Standard,
    /// Clients of the media core behind `/api/v3`: DELETE is 204 whether or not there was something to end, and a PATCH
    /// without `If-Match` counts as one with the wildcard.
    Core,
    /// Offer and answer travel in SRS's JSON envelope; there is no session URL.
    Envelope,
}

const fn place(prefix: &'static str, role: Role, naming: Naming, manners: Manners) -> Place {
    Place { prefix, suffix: None, role, naming, manners }
}

static PLACES: [Place; 9] = [
    place("/whip", Role::Publisher, Naming::Path, Manners::Standard),
    place("/whep", Role::Viewer, Naming::Path, Manners::Standard),
    // `/whip/{stream}/whep`. No session of the first place is called `whep`.
    Place { suffix: Some("whep"), ..place("/whip", Role::Viewer, Naming::Path, Manners::Standard) },
    place("/api/v3/whip", Role::Publisher, Naming::Path, Manners::Core),
    place("/api/v3/whep", Role::Viewer, Naming::Path, Manners::Core),
    place("/rtc/v1/whip", Role::Publisher, Naming::Query, Manners::Standard),
    place("/rtc/v1/whep", Role::Viewer, Naming::Query, Manners::Standard),
    place("/rtc/v1/publish", Role::Publisher, Naming::Body, Manners::Envelope),
    place("/rtc/v1/play", Role::Viewer, Naming::Body, Manners::Envelope),
];

/// What a URL leads to.
#[derive(Debug, PartialEq, Eq)]
pub enum Target {
    /// Takes offers for this stream; `None` where the body is to name it.
    Endpoint(&'static Place, Option<StreamKey>),
    /// A session; `None` where its name cannot be one of ours.
    Session(&'static Place, StreamKey, Option<SessionId>),
}

/// Why a URL leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum UrlError {
    /// Nothing is there.
    #[error("nothing is at this URL")]
    Nothing,
    /// The name cannot be that of a stream.
    #[error("a stream name is 1 to 128 of the characters A-Z a-z 0-9 . _ - and not . or ..")]
    Name,
    /// The stream is not named, or twice.
    #[error("the URL must name the stream, and once: ?app=live&stream=NAME")]
    Query,
}

/// What the path and query of a request lead to. A slash at the end means nothing.
///
/// # Errors
/// Nothing is there, or no legal stream is named.
pub fn target(path: &str, query: Option<&str>) -> Result<Target, UrlError> {
    let (place, rest) = PLACES.iter().find_map(|place| Some((place, place.rest(path)?))).ok_or(UrlError::Nothing)?;
    let rest: Vec<Cow<'_, str>> = rest
        .iter()
        .map(|part| percent_decode_str(part).decode_utf8())
        .collect::<Result<_, _>>()
        .map_err(|_| UrlError::Name)?;
    let parts: Vec<&str> = rest.iter().map(AsRef::as_ref).collect();
    match (place.naming, parts.as_slice()) {
        (Naming::Body, []) => Ok(Target::Endpoint(place, None)),
        (Naming::Query, []) => Ok(Target::Endpoint(place, Some(named_by(query.unwrap_or_default())?))),
        (Naming::Path | Naming::Query, [stream]) => Ok(Target::Endpoint(place, Some(key(DEFAULT_APP, stream)?))),
        (Naming::Path, [stream, id]) => Ok(Target::Session(place, key(DEFAULT_APP, stream)?, SessionId::parse(id))),
        (Naming::Query, [first, second]) => match SessionId::parse(second) {
            Some(id) => Ok(Target::Session(place, key(DEFAULT_APP, first)?, Some(id))),
            None => Ok(Target::Endpoint(place, Some(key(first, without_extension(second))?))),
        },
        _ => Err(UrlError::Nothing),
    }
}

/// The stream that the `streamurl` of an SRS envelope names: `webrtc://host/app/stream`, the application perhaps missing.
///
/// # Errors
/// It is no such URL.
pub fn named_by_stream_url(text: &str) -> Result<StreamKey, UrlError> {
    let url = Url::parse(text).map_err(|_| UrlError::Query)?;
    let parts: Vec<_> = url.path().split('/').filter(|part| !part.is_empty()).collect();
    let decoded: Vec<_> = parts
        .iter()
        .map(|part| percent_decode_str(part).decode_utf8())
        .collect::<Result<_, _>>()
        .map_err(|_| UrlError::Name)?;
    match decoded.as_slice() {
        [stream] => key(DEFAULT_APP, stream),
        [app, stream] => key(app, stream),
        _ => Err(UrlError::Query),
    }
}

/// `?app=&stream=`.
fn named_by(query: &str) -> Result<StreamKey, UrlError> {
    let once = |wanted: &str| {
        let mut values = form_urlencoded::parse(query.as_bytes())
            .filter(|(name, value)| name == wanted && !value.is_empty())
            .map(|(_, value)| value.into_owned());
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(UrlError::Query),
            (value, None) => Ok(value),
        }
    };
    let app = once("app")?;
    key(app.as_deref().unwrap_or(DEFAULT_APP), &once("stream")?.ok_or(UrlError::Query)?)
}

/// One name for both: `stream` in the usual application, `app.stream` in any other.
fn key(app: &str, stream: &str) -> Result<StreamKey, UrlError> {
    let name = if app == DEFAULT_APP { stream.to_owned() } else { format!("{app}.{stream}") };
    StreamKey::parse(&name).map_err(|_| UrlError::Name)
}

/// What [`key`] made one name of: the first part is the application.
fn app_and_stream(stream: &StreamKey) -> (&str, &str) {
    let parts = stream.as_str().split_once('.').filter(|(app, stream)| !app.is_empty() && !stream.is_empty());
    parts.unwrap_or((DEFAULT_APP, stream.as_str()))
}

fn without_extension(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(name, _)| name)
}

impl Place {
    /// The parts of a path behind the prefix, without the suffix; `None` when the path is not of this place.
    fn rest<'a>(&self, path: &'a str) -> Option<Vec<&'a str>> {
        let rest = path.strip_prefix(self.prefix)?;
        if !rest.is_empty() && !rest.starts_with('/') {
            return None;
        }
        let rest = rest.trim_end_matches('/');
        let mut parts: Vec<&str> = rest.split('/').skip(1).collect();
        match self.suffix {
            Some(suffix) if parts.get(1) == Some(&suffix) => {
                parts.remove(1);
            }
            Some(_) => return None,
            None if self.takes_whep_apart(&parts) => return None,
            None => {}
        }
        Some(parts)
    }

    /// `/whip/{stream}/whep` is the place of a viewer.
    fn takes_whep_apart(&self, parts: &[&str]) -> bool {
        let other = |place: &&Place| place.prefix == self.prefix && place.suffix.is_some();
        parts.len() > 1 && PLACES.iter().filter(other).any(|place| place.suffix == Some(parts[1]))
    }

    /// The URL of a session: an absolute path inside the prefix that was called, without a query, which OBS would drop.
    #[must_use]
    pub fn location(&self, stream: &StreamKey, id: &SessionId) -> String {
        let suffix = self.suffix.map(|suffix| format!("/{suffix}")).unwrap_or_default();
        format!("{}/{}{suffix}/{}", self.prefix, stream.as_str(), id.as_str())
    }

    /// Where the stream's endpoint is at an origin, and whether it takes the envelope there. The query goes along, without
    /// what named the stream where that stands in the path.
    #[must_use]
    pub fn at(&self, origin: &Origin, stream: &StreamKey, query: Option<&str>) -> (Url, bool) {
        let query = query.unwrap_or_default();
        let (path, query, in_envelope) = match (origin.kind, self.naming) {
            (Kind::Srs, Naming::Body) => (format!("{}/", self.prefix), query.to_owned(), true),
            (Kind::Srs, naming) => {
                let path = format!("/rtc/v1/{}/", self.protocol());
                // The path may have named another one, and has the say.
                let names_it = naming == Naming::Query && named_by(query).as_ref() == Ok(stream);
                (path, if names_it { query.to_owned() } else { srs_query(stream, query) }, false)
            }
            (Kind::Whipstitch | Kind::Whip, naming) => {
                let query = if naming == Naming::Path { query.to_owned() } else { without_name(query) };
                (format!("/{}/{}", self.protocol(), stream.as_str()), query, false)
            }
        };
        let mut url = origin.url.clone();
        url.set_path(&format!("{}{path}", origin.url.path().trim_end_matches('/')));
        url.set_query(Some(query.as_str()).filter(|query| !query.is_empty()));
        url.set_fragment(None);
        (url, in_envelope)
    }

    fn protocol(&self) -> &'static str {
        match self.role {
            Role::Publisher => "whip",
            Role::Viewer => "whep",
        }
    }
}

/// The query that names a stream to SRS, and whatever else the client's says.
fn srs_query(stream: &StreamKey, query: &str) -> String {
    let (app, name) = app_and_stream(stream);
    let rest = without_name(query);
    let and = if rest.is_empty() { "" } else { "&" };
    format!("app={app}&stream={name}{and}{rest}")
}

/// A query without `app` and `stream`; the rest as it was written.
fn without_name(query: &str) -> String {
    let names_stream = |pair: &&str| {
        form_urlencoded::parse(pair.as_bytes()).next().is_some_and(|(name, _)| name == "app" || name == "stream")
    };
    let kept: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty() && !names_stream(pair)).collect();
    kept.join("&")
}

/// The absolute URL of what a `Location` of an origin names. Whatever host it gives: the session is where the answer came
/// from, and nobody else is ever asked about it. `None` where it names the endpoint itself: what ends there is whoever
/// publishes then.
#[must_use]
pub fn resource(asked: &Url, location: &str) -> Option<Url> {
    let named = asked.join(location).ok()?;
    let mut url = asked.clone();
    url.set_path(named.path());
    url.set_query(named.query());
    url.set_fragment(None);
    Some(url).filter(|url| url != asked)
}

/// `url` with the query of a client behind its own.
#[must_use]
pub fn with_query(mut url: Url, query: Option<&str>) -> Url {
    let Some(query) = query.filter(|query| !query.is_empty()) else { return url };
    let own = url.query().filter(|own| !own.is_empty()).map(|own| format!("{own}&{query}"));
    url.set_query(Some(own.as_deref().unwrap_or(query)));
    url
}

/// `url` with what the query of an envelope's `streamurl` says beyond its own: clients of SRS have their token there.
#[must_use]
pub fn with_stream_url(url: Url, stream_url: &str) -> Url {
    let Some(said) = Url::parse(stream_url).ok().and_then(|said| said.query().map(without_name)) else { return url };
    let is_new = |pair: &&str| {
        let name = form_urlencoded::parse(pair.as_bytes()).next().map(|(name, _)| name);
        name.is_some_and(|name| url.query_pairs().all(|(own, _)| own != name))
    };
    let more = said.split('&').filter(is_new).collect::<Vec<_>>().join("&");
    with_query(url, Some(&more))
}

#[cfg(test)]
mod tests;
