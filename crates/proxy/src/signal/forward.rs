//! Requests to origins: one deadline for all of it, bounded bodies, no redirection followed.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, StatusCode};
use reqwest::Client;
use tokio::time::{Instant, timeout_at};
use url::Url;

use crate::sdp::MOST_BYTES;
use crate::trust::{Trust, distrusted};

/// From the request to its whole answer, another origin after a failed one included: OBS gives up after 8 s.
pub(super) const TOTAL: Duration = Duration::from_secs(5);
/// Of which a connection may take so much, so that there is time for another origin.
const CONNECT: Duration = Duration::from_secs(2);
/// Connections are kept for the next request that long: shorter than servers do, which close them without a word.
const IDLE: Duration = Duration::from_secs(15);

/// What came of a request to an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A whole answer, whatever it said.
    Answered,
    /// No connection.
    Unreachable,
    /// No certificate that is trusted.
    Distrusted,
    /// No answer in time.
    Slow,
    /// The connection ended, or it was no HTTP.
    Broken,
    /// More than may be.
    TooLarge,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Answered, Self::Unreachable, Self::Distrusted, Self::Slow, Self::Broken, Self::TooLarge];

    /// As metrics call it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Unreachable => "unreachable",
            Self::Distrusted => "distrusted",
            Self::Slow => "slow",
            Self::Broken => "broken",
            Self::TooLarge => "too_large",
        }
    }

    fn of<T>(result: &Result<T, Trouble>) -> Self {
        match result {
            Ok(_) => Self::Answered,
            Err(Trouble::Connect) => Self::Unreachable,
            Err(Trouble::Distrusted) => Self::Distrusted,
            Err(Trouble::Slow) => Self::Slow,
            Err(Trouble::Broken) => Self::Broken,
            Err(Trouble::TooLarge) => Self::TooLarge,
        }
    }
}

/// Hears of each request to an origin how long it took to its end, and what came of it. Must not block.
pub type Meter = Arc<dyn Fn(Duration, Outcome) + Send + Sync>;

/// The HTTP client of all requests.
#[derive(Clone)]
pub(super) struct Forward {
    client: Client,
    pub(super) meter: Option<Meter>,
}

/// What goes out.
#[derive(Clone)]
pub(super) struct Outgoing {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// What comes back.
pub(super) struct Incoming {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// Where it came from.
    pub(super) peer: Option<IpAddr>,
}

/// Why nothing usable came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// There was no connection, so nothing was sent.
    Connect,
    /// There was one, to somebody whose certificate is not trusted. Nothing was sent.
    Distrusted,
    /// Time is up.
    Slow,
    /// The connection ended, or it was no HTTP.
    Broken,
    /// More than [`MOST_BYTES`].
    TooLarge,
}

impl Trouble {
    /// Whether the origin has heard nothing, so that another one may be asked.
    pub(super) fn is_before_all(self) -> bool {
        matches!(self, Self::Connect | Self::Distrusted)
    }
}

impl Forward {
    /// # Errors
    /// The client cannot be made: the system gives it no random numbers, or the like.
    pub(super) fn new(trust: &Trust) -> Result<Self, reqwest::Error> {
        let client = trust.client().connect_timeout(CONNECT).pool_idle_timeout(IDLE).build()?;
        Ok(Self { client, meter: None })
    }

    pub(super) async fn send(&self, outgoing: Outgoing, deadline: Instant) -> Result<Incoming, Trouble> {
        let begun = Instant::now();
        let done = timeout_at(deadline, self.exchange(outgoing)).await.unwrap_or(Err(Trouble::Slow));
        if let Some(meter) = &self.meter {
            meter(begun.elapsed(), Outcome::of(&done));
        }
        done
    }

    async fn exchange(&self, outgoing: Outgoing) -> Result<Incoming, Trouble> {
        let has_body = outgoing.method != Method::HEAD;
        let request = self.client.request(outgoing.method, outgoing.url).headers(outgoing.headers).body(outgoing.body);
        let mut response = request.send().await.map_err(|error| trouble(&error))?;
        let peer = response.remote_addr().map(|peer| peer.ip().to_canonical());
        let too_large = |length: u64| length > MOST_BYTES as u64;
        if has_body && response.content_length().is_some_and(too_large) {
            return Err(Trouble::TooLarge);
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| trouble(&error))? {
            if body.len() + chunk.len() > MOST_BYTES {
                return Err(Trouble::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Incoming {
            status: response.status(),
            headers: std::mem::take(response.headers_mut()),
            body: body.freeze(),
            peer,
        })
    }
}

fn trouble(error: &reqwest::Error) -> Trouble {
    if distrusted(error).is_some() {
        Trouble::Distrusted
    } else if error.is_connect() {
        Trouble::Connect
    } else if error.is_timeout() {
        Trouble::Slow
    } else {
        Trouble::Broken
    }
}
