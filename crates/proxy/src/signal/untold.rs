//! A session that an origin has begun and whose URL no client was told yet.

use std::sync::Arc;

use http::{HeaderMap, Method};
use tokio::time::Instant;
use url::Url;

use super::Directory;
use super::forward::{Forward, Outgoing, TOTAL};
use crate::record::SessionId;

/// Dropped, it ends the session at the origin and here: who has gone meanwhile, or cannot be answered, leaves no publisher
/// behind that holds the stream.
pub(super) struct Untold<D: Directory> {
    forward: Forward,
    directory: Arc<D>,
    /// The URL of the session at the origin, and what to say to it.
    there: Option<(Url, HeaderMap)>,
    /// What it is called here, once anybody may know it.
    here: Option<SessionId>,
}

impl<D: Directory> Untold<D> {
    /// `resource` is where the origin says the session is; without one there is nothing to be done there.
    pub(super) fn new(forward: Forward, directory: Arc<D>, resource: Option<Url>, headers: &HeaderMap) -> Self {
        let mut headers = headers.clone();
        headers.remove(http::header::CONTENT_TYPE);
        Self { forward, directory, there: resource.map(|url| (url, headers)), here: None }
    }

    /// The directory is about to hear of it.
    pub(super) fn is_known_as(&mut self, id: SessionId) {
        self.here = Some(id);
    }

    /// The client hears of it now.
    pub(super) fn tell(mut self) {
        (self.there, self.here) = (None, None);
    }
}

impl<D: Directory> Drop for Untold<D> {
    fn drop(&mut self) {
        let (there, here) = (self.there.take(), self.here.take());
        if there.is_none() && here.is_none() {
            return;
        }
        let (forward, directory) = (self.forward.clone(), Arc::clone(&self.directory));
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            if let Some(id) = here {
                directory.closed(&id).await;
            }
            if let Some((url, headers)) = there {
                let outgoing = Outgoing { method: Method::DELETE, url, headers, body: bytes::Bytes::new() };
                // An origin that does not hear it ends the session by itself, as nobody connects.
                let _ = forward.send(outgoing, Instant::now() + TOTAL).await;
            }
        });
    }
}
