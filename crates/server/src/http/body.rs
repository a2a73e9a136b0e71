//! Request bodies: read whole up to a limit, and swallowed where a request was answered without its body.
//!
//! A connection that closes with unread bytes is reset, and the reset can overtake the answer: a client that sent too
//! much would see a broken connection instead of 413. So what a route leaves unread is read and thrown away first,
//! up to a bound in bytes and time.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::error::Error;

/// For a whole body. Real offers are at most 64 KiB and come in one piece.
const WHOLE: Duration = Duration::from_secs(10);
/// What is swallowed at most: a client with more to say than this is not one of ours.
const SWALLOWED: u64 = 16 * 1024 * 1024;
/// And for how long.
const SWALLOWING: Duration = Duration::from_secs(3);

/// Reads a body of at most `limit` bytes.
///
/// # Errors
/// It is larger, takes too long, or the connection breaks.
pub(crate) async fn read(body: Body, limit: usize) -> Result<Bytes, Error> {
    // Known before the first byte: then a client that waits for `100 Continue` is told not to send at all.
    if body.size_hint().lower() > limit as u64 {
        return Err(Error::TooLarge { limit });
    }
    match tokio::time::timeout(WHOLE, Limited::new(body, limit).collect()).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Error::TooLarge { limit }),
        Ok(Err(_)) => Err(Error::BodyBroken),
        Err(_) => Err(Error::BodyTimeout),
    }
}

/// Where an unread rest of a body comes back to.
#[derive(Debug)]
pub(crate) struct Rest(Arc<Mutex<Option<Body>>>);

impl Rest {
    /// `body` as something to hand to a route, and the place to find again what the route leaves of it.
    pub(crate) fn of(body: Body) -> (Body, Self) {
        let home = Arc::new(Mutex::new(None));
        (Body::new(Returning { inner: Some(body), home: Arc::clone(&home) }), Self(home))
    }

    /// Reads and forgets what was left.
    pub(crate) async fn swallow(self) {
        let left = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut body) = left.filter(|body| !body.is_end_stream()) else { return };
        let all = async {
            let mut seen = 0;
            while let Some(Ok(frame)) = body.frame().await {
                seen += frame.data_ref().map_or(0, |data| data.len() as u64);
                if seen > SWALLOWED {
                    break;
                }
            }
        };
        let _ = tokio::time::timeout(SWALLOWING, all).await;
    }
}

/// A body that goes home when it is dropped.
struct Returning {
    inner: Option<Body>,
    home: Arc<Mutex<Option<Body>>>,
}

impl Drop for Returning {
    fn drop(&mut self) {
        *self.home.lock().unwrap_or_else(PoisonError::into_inner) = self.inner.take();
    }
}

impl HttpBody for Returning {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match &mut self.inner {
            Some(inner) => Pin::new(inner).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}
