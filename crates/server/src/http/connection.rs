//! The HTTP listener: accepts connections, bounds how many there are and how long each may dawdle, and ends them in
//! order. What is said on them is `http`'s.
//!
//! A client that sends a head too slowly, leaves its connection idle or does not read its answers is cut off; when
//! there are as many connections as may be, `seats` says which one gives way, or that the new one is closed at once.
//! All of that costs a log line a second at most.

mod seats;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OnceCell, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Sleep;
use tracing::{debug, warn};

use self::seats::{Got, Seats};
use super::App;
use super::framing::Stage;
use crate::issued::Issued;
use crate::logging::Brake;
use crate::tls::Tls;

/// Connections at once, where the machine has file descriptors for them. Each costs two buffers of a few KiB; browsers
/// keep up to six to one host, and players none after their session began.
const MOST_CONNECTIONS: usize = 4096;
/// However little there is, so many are served.
const FEWEST_CONNECTIONS: usize = 64;
/// From the first byte of a request head to its last, and from the connection to its first byte.
const HEAD: Duration = Duration::from_secs(10);
/// Between two requests on one connection (what the predecessors of this server allowed, S0-R3).
const IDLE: Duration = Duration::from_secs(60);
/// Without a byte of a body or, while one is being answered, without progress at all.
const BODY: Duration = Duration::from_secs(30);
/// For a client to take some of what was written to it.
const WRITE: Duration = Duration::from_secs(10);
/// For an answer to arrive, or a request to come, before its own address may take the connection's seat.
const PATIENCE: Duration = Duration::from_secs(2);
/// Heads are below 1 KiB in practice; this also bounds what is buffered of a body.
const LARGEST_HEAD: usize = 32 * 1024;
/// After running out of file descriptors: time for some to come back.
const PAUSE: Duration = Duration::from_millis(100);

/// What one connection knows of itself; in the extensions of its requests.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    /// The other end.
    pub(crate) peer: SocketAddr,
    /// Whether it is encrypted.
    pub(crate) encrypted: bool,
    /// Our port; none without a socket.
    port: Option<u16>,
    /// Whether it is a child's or our own user's, once that was asked.
    ours: Arc<OnceCell<bool>>,
    stage: Arc<Mutex<Stage>>,
}

impl Connection {
    /// One without a socket.
    #[cfg(test)]
    pub(crate) fn of(peer: SocketAddr) -> Self {
        Self { peer, encrypted: false, port: None, ours: Arc::default(), stage: Arc::new(Mutex::new(Stage::Idle)) }
    }

    /// Whether it is a child's, or at least our own user's. Asked once.
    pub(crate) async fn is_ours(&self, issued: &Issued) -> bool {
        let Some(port) = self.port else { return false };
        *self.ours.get_or_init(|| issued.is_ours(self.peer, port)).await
    }

    /// Whether the request being served came with two contradicting lengths.
    pub(crate) fn is_ambiguous(&self) -> bool {
        matches!(*self.stage.lock().unwrap_or_else(PoisonError::into_inner), Stage::Opaque { ambiguous: true })
    }

    /// Whether all of the request being served has come, as far as its framing tells.
    fn is_whole(&self) -> bool {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner).is_whole()
    }

    /// Whether the connection must close after the request being served.
    pub(crate) fn is_last(&self) -> bool {
        matches!(*self.stage.lock().unwrap_or_else(PoisonError::into_inner), Stage::Opaque { .. })
    }
}

/// What a listener allows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Connections at once.
    pub(crate) connections: usize,
    /// How long a connection must have waited before one more of its own address takes its place.
    pub(crate) patience: Duration,
    /// For requests that are being served when it is time to stop.
    pub(crate) grace: Duration,
}

impl Bounds {
    /// Takes as much of the file descriptors this process may have as HTTP needs, and leaves it half of them.
    pub(crate) fn of_this_process(grace: Duration) -> Self {
        Self::beside(0, grace)
    }

    /// The same in a process that needs so many for something else.
    pub(crate) fn beside(others: usize, grace: Duration) -> Self {
        let connections = match raise_descriptors(others) {
            Ok(descriptors) => {
                let ours = usize::try_from(descriptors).unwrap_or(usize::MAX).saturating_sub(others) / 2;
                ours.clamp(FEWEST_CONNECTIONS, MOST_CONNECTIONS)
            }
            Err(_) => MOST_CONNECTIONS,
        };
        Self { connections, patience: PATIENCE, grace }
    }
}

/// Many systems start a process with 1024 descriptors and let it have more for the asking: as many as it may, up to what HTTP
/// and `others` need.
///
/// # Errors
/// The system does not say.
pub(crate) fn raise_descriptors(others: usize) -> nix::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let wanted = hard.min((4 * MOST_CONNECTIONS + others) as u64).max(soft);
    setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).map(|()| wanted).or(Ok(soft))
}

/// Serves `listener` until `stop` turns true; over TLS, if that is given.
pub(crate) async fn serve(
    listener: TcpListener,
    app: App,
    mut stop: watch::Receiver<bool>,
    bounds: Bounds,
    tls: Option<Tls>,
) {
    let table = Arc::new(Mutex::new(Seats::new(bounds.connections, bounds.patience)));
    let (full, failing) = (Brake::default(), Brake::default());
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            () = stopped(&mut stop) => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let seat = Place::take(&table, peer);
                if seat.as_ref().is_none_or(|(.., displaces)| *displaces)
                    && let Some(more) = full.pass(Instant::now())
                {
                    let what = if seat.is_some() { "took the place of another" } else { "refused" };
                    warn!(%peer, more, "HTTP connection {what}: {} are open", bounds.connections);
                }
                if let Some((place, displaced, _)) = seat {
                    // Answers are small and complete; Nagle would hold the last segment back.
                    let _ = stream.set_nodelay(true);
                    let port = stream.local_addr().ok().map(|local| local.port());
                    let guest = Guest { peer, port, app: app.clone(), stop: stop.clone(), place, displaced };
                    match tls.clone() {
                        Some(tls) => connections.spawn(guest.encrypted(stream, tls)),
                        None => connections.spawn(guest.serve(stream, false)),
                    };
                }
            }
            Err(error) => {
                if let Some(more) = failing.pass(Instant::now()) {
                    warn!(%error, more, "HTTP connection could not be accepted");
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    // Who is not done by then is cut off as the set is dropped.
    let _ = tokio::time::timeout(bounds.grace, all).await;
}

/// Resolves when it is time to stop, or nobody is left to say so.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// A connection that has got a seat.
struct Guest {
    peer: SocketAddr,
    port: Option<u16>,
    app: App,
    stop: watch::Receiver<bool>,
    place: Place,
    displaced: oneshot::Receiver<()>,
}

impl Guest {
    /// The handshake of TLS, for which there is as much time as for a head, and then as any other.
    async fn encrypted(mut self, stream: TcpStream, tls: Tls) {
        let shaken = tokio::select! {
            shaken = tokio::time::timeout(HEAD, tls.acceptor().accept(stream)) => shaken,
            () = stopped(&mut self.stop) => return,
            _ = &mut self.displaced => return,
        };
        match shaken {
            Ok(Ok(stream)) => self.serve(stream, true).await,
            Ok(Err(error)) => debug!(peer = %self.peer, %error, "TLS handshake failed"),
            Err(_) => debug!(peer = %self.peer, "TLS handshake did not come to an end"),
        }
    }

    /// From its first byte to its last.
    async fn serve<S>(self, stream: S, encrypted: bool)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self { peer, port, app, mut stop, place, mut displaced } = self;
        let stage = Arc::new(Mutex::new(Stage::Idle));
        let place = Arc::new(place);
        let timed = Timed::new(stream, Arc::clone(&stage), Some(Arc::clone(&place)));
        let connection = Connection { peer, encrypted, port, ours: Arc::default(), stage: Arc::clone(&stage) };
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            let mut app = app.clone();
            request.extensions_mut().insert(connection.clone());
            let place = Arc::clone(&place);
            let is_whole = request.body().is_end_stream() || connection.is_whole();
            async move {
                if !place.begin(is_whole) {
                    // Displaced this very moment, and dropped as soon as that is seen.
                    std::future::pending::<()>().await;
                }
                let Ok(response) = tower::Service::call(&mut app, request).await;
                place.end();
                Ok::<_, Infallible>(response)
            }
        });
        let serving = http1::Builder::new()
            // The timeouts are `Timed`'s.
            .header_read_timeout(None)
            .max_buf_size(LARGEST_HEAD)
            .half_close(true)
            .serve_connection(TokioIo::new(timed), service);
        let mut serving = std::pin::pin!(serving);
        let ended = tokio::select! {
            ended = serving.as_mut() => ended,
            () = stopped(&mut stop) => {
                serving.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = serving => ended,
                    _ = &mut displaced => return,
                }
            }
            _ = &mut displaced => return,
        };
        if let Err(error) = ended {
            debug!(%peer, %error, "HTTP connection broken off");
        }
    }
}

/// What a seat is displaced by: the other half resolves when this is dropped.
type Ticket = oneshot::Sender<()>;

/// One connection's seat, given up on drop.
struct Place {
    table: Arc<Mutex<Seats<Ticket>>>,
    id: u64,
    /// Whether a request is being served, complete or not.
    is_serving: AtomicBool,
}

impl Place {
    /// A seat, what resolves when it is taken away, and whether it was another's.
    fn take(table: &Arc<Mutex<Seats<Ticket>>>, peer: SocketAddr) -> Option<(Self, oneshot::Receiver<()>, bool)> {
        let (ticket, displaced) = oneshot::channel();
        let got = table.lock().unwrap_or_else(PoisonError::into_inner).take(peer.ip(), ticket, Instant::now());
        let Got { id, instead } = got?;
        let place = Self { table: Arc::clone(table), id, is_serving: AtomicBool::new(false) };
        Some((place, displaced, instead.is_some()))
    }

    fn seats(&self) -> MutexGuard<'_, Seats<Ticket>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request is served from now on; `false` when the seat was taken away.
    fn begin(&self, is_whole: bool) -> bool {
        self.is_serving.store(true, Ordering::Relaxed);
        !is_whole || self.seats().answer(self.id)
    }

    /// All that was to come has; `false` when the seat was taken away.
    fn whole(&self) -> bool {
        !self.is_serving.load(Ordering::Relaxed) || self.seats().answer(self.id)
    }

    fn end(&self) {
        self.is_serving.store(false, Ordering::Relaxed);
        self.seats().wait(self.id, Instant::now());
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.seats().leave(self.id);
    }
}

/// A stream that gives up on the other end, by where in a request it stands.
struct Timed<S> {
    inner: S,
    stage: Arc<Mutex<Stage>>,
    place: Option<Arc<Place>>,
    reading: Pin<Box<Sleep>>,
    in_head: bool,
    /// Set while the other end takes nothing.
    writing: Option<Pin<Box<Sleep>>>,
}

impl<S> Timed<S> {
    fn new(inner: S, stage: Arc<Mutex<Stage>>, place: Option<Arc<Place>>) -> Self {
        // A connection that says nothing at all is no better than one that says half a head.
        let reading = Box::pin(tokio::time::sleep(HEAD));
        Self { inner, stage, place, reading, in_head: true, writing: None }
    }

    /// Follows what was read and sets the time for what comes next. A head has one deadline from its first byte on;
    /// everything else gets new time for every byte.
    fn follow(&mut self, bytes: &[u8]) {
        let allowed = {
            let mut stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
            stage.follow(bytes);
            match *stage {
                Stage::Head(_) if self.in_head => return,
                Stage::Head(_) => HEAD,
                Stage::Idle => IDLE,
                Stage::Body(_) | Stage::Opaque { .. } => BODY,
            }
        };
        self.in_head = allowed == HEAD;
        self.reading.as_mut().reset(tokio::time::Instant::now() + allowed);
    }

    /// `poll` with a deadline that starts when the other end first takes nothing.
    fn written<T>(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut S, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(result) = poll(&mut self.inner, cx) {
            self.writing = None;
            return Poll::Ready(result);
        }
        let deadline = self.writing.get_or_insert_with(|| Box::pin(tokio::time::sleep(WRITE)));
        ready!(deadline.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Timed<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match Pin::new(&mut self.inner).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => {
                let bytes = buf.filled().get(before..).unwrap_or_default();
                self.follow(bytes);
                let is_whole = self.stage.lock().unwrap_or_else(PoisonError::into_inner).is_whole();
                match &self.place {
                    Some(place) if is_whole && !bytes.is_empty() && !place.whole() => {
                        Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()))
                    }
                    _ => Poll::Ready(Ok(())),
                }
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                ready!(self.reading.as_mut().poll(cx));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Timed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.written(cx, |inner, cx| Pin::new(inner).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.written(cx, |inner, cx| Pin::new(inner).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.written(cx, |inner, cx| Pin::new(inner).poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.written(cx, |inner, cx| Pin::new(inner).poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests;
