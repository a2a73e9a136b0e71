//! A session that an origin has begun and whose URL no client was told yet.

use http::{HeaderMap, Method};
use tokio::time::Instant;
use url::Url;

use super::forward::{Forward, Outgoing, TOTAL};

/// Dropped, it ends the session at the origin: who has gone meanwhile, or cannot be answered, leaves no publisher behind
/// that holds the stream.
pub(super) struct Untold {
    forward: Forward,
    /// The URL of the session there, and what to say to it.
    ends: Option<(Url, HeaderMap)>,
}

impl Untold {
    /// `resource` is where the origin says the session is; without one there is nothing to be done.
    pub(super) fn new(forward: Forward, resource: Option<Url>, headers: &HeaderMap) -> Self {
        let mut headers = headers.clone();
        headers.remove(http::header::CONTENT_TYPE);
        Self { forward, ends: resource.map(|url| (url, headers)) }
    }

    /// The client hears of it now.
    pub(super) fn tell(mut self) {
        self.ends = None;
    }
}

impl Drop for Untold {
    fn drop(&mut self) {
        let Some((url, headers)) = self.ends.take() else { return };
        let forward = self.forward.clone();
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            let outgoing = Outgoing { method: Method::DELETE, url, headers, body: bytes::Bytes::new() };
            // An origin that does not hear it ends the session by itself, as nobody connects.
            let _ = forward.send(outgoing, Instant::now() + TOTAL).await;
        });
    }
}
