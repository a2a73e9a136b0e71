//! The listener, and what all connections have in common.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rtsp_types::StatusCode;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use whipstitch_media::sdp::{self, Section};
use whipstitch_net::places::Places;
use whipstitch_plane::Plane;
use whipstitch_stream::running::{Asks, Description};
use whipstitch_stream::{Directory, StreamKey};

use crate::access::Access;
use crate::connection;
use crate::kept::Kept;
use crate::target::control;
use crate::udp::Pair;

/// Bounds of the connections. Each costs a descriptor and up to 2.3 MiB while it is stalled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Of all clients.
    pub total: usize,
    /// Of one client address; of IPv6 the network of 64 bits.
    pub per_address: usize,
    /// More than these, for children of processes: for connections of this machine that show that they are one.
    pub children: usize,
}

impl Default for Bounds {
    /// Half of all for one address: one alone cannot keep the others out. Children of 250 processes that read two streams
    /// and feed two.
    fn default() -> Bounds {
        Bounds { total: 2000, per_address: 1000, children: 1000 }
    }
}

/// How often the log says that connections are refused: strangers can cause it.
const TOLD: Duration = Duration::from_secs(10);

/// Tracks over UDP at once, each with two sockets; who wants more is told to take TCP.
const MAX_UDP_TRACKS: usize = 1000;

/// How long a player waits for a stream that is about to begin, or for its parameter sets (design.md 2.4).
const DESCRIBE_WAIT: Duration = Duration::from_secs(5);

/// What waits after a failure to accept, of which the usual one is a want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long those that were told goodbye may take to hear it.
const GRACE: Duration = Duration::from_secs(2);

/// What all connections use.
pub(crate) struct Shared {
    pub(crate) plane: Plane,
    pub(crate) directory: Directory,
    pub(crate) access: Arc<dyn Access>,
    draining: AtomicBool,
    /// Places for tracks over UDP.
    pub(crate) udp_tracks: Arc<Semaphore>,
    tasks: Mutex<JoinSet<()>>,
}

/// The running server.
pub struct Server {
    shared: Arc<Shared>,
    local: SocketAddr,
    stop: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl Server {
    /// Listens and begins to serve as many connections as `bounds` say; more are closed as they come. Within a runtime.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub async fn start(
        address: SocketAddr,
        plane: Plane,
        directory: Directory,
        access: Arc<dyn Access>,
        bounds: Bounds,
    ) -> io::Result<Server> {
        let listener = TcpListener::bind(address).await?;
        let local = listener.local_addr()?;
        let shared = Arc::new(Shared::new(plane, directory, access));
        let (stop, stopped) = watch::channel(false);
        let accepting = tokio::spawn(accept(listener, bounds, Arc::clone(&shared), stopped));
        Ok(Server { shared, local, stop, accepting })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Takes no more sessions from now on.
    pub fn drain(&self) {
        self.shared.draining.store(true, Ordering::Relaxed);
    }

    /// Closes every connection once what waits for it is written, which takes two seconds at most. The sessions are the
    /// plane's to end before.
    pub async fn stop(self) {
        self.drain();
        self.stop.send_replace(true);
        let _ = self.accepting.await;
        let mut tasks = std::mem::take(&mut *self.shared.tasks());
        let all = async { while tasks.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(GRACE, all).await;
        tasks.shutdown().await;
    }
}

async fn accept(listener: TcpListener, bounds: Bounds, shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let places = Places::new(bounds.total, bounds.per_address);
    let kept = Kept::new(bounds.children);
    let mut told: Option<Instant> = None;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.wait_for(|stopped| *stopped) => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                let place = places.take(peer.ip());
                let is_here = peer.ip().to_canonical().is_loopback();
                let kept = if place.is_none() && is_here { kept.take() } else { None };
                if place.is_none() {
                    if told.is_none_or(|told| told.elapsed() >= TOLD) {
                        told = Some(Instant::now());
                        tracing::warn!(%peer, open = places.taken(), "RTSP connections are refused: there are too many");
                    }
                    if kept.is_none() {
                        continue;
                    }
                }
                let connection = connection::serve(stream, peer, kept, Arc::clone(&shared), stopped.clone());
                shared.spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection of RTSP");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

impl Shared {
    pub(crate) fn new(plane: Plane, directory: Directory, access: Arc<dyn Access>) -> Shared {
        let udp_tracks = Arc::new(Semaphore::new(MAX_UDP_TRACKS));
        Shared { plane, directory, access, draining: AtomicBool::new(false), udp_tracks, tasks: Mutex::default() }
    }

    /// Sockets of ours for a track over UDP between these two `ends`, our address and the player's, and their ports; `None`
    /// when there are no more.
    pub(crate) fn bind(&self, ends: (SocketAddr, SocketAddr), to: (u16, u16)) -> Option<(Pair, (u16, u16))> {
        let place = Arc::clone(&self.udp_tracks).try_acquire_owned().ok()?;
        let pair = Pair::bind(ends, to, place).ok()?;
        let ports = pair.ports().ok()?;
        Some((pair, ports))
    }

    /// Runs a task of the server, which waits for its end.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// The description of a stream for a player that reaches us at `local`. Waits for what its decoders have to know; a child
    /// for its publisher, too, as long as one is expected.
    pub(crate) async fn describe(&self, stream: &StreamKey, asks: Asks, local: IpAddr) -> Result<String, StatusCode> {
        if self.is_draining() {
            return Err(StatusCode::ServiceUnavailable);
        }
        let patience = || tokio::time::sleep(DESCRIBE_WAIT);
        let described = self.plane.running().described(&self.directory, stream, asks, patience).await;
        described.map(|description| text(stream, local, &description)).ok_or(StatusCode::NotFound)
    }

    fn tasks(&self) -> std::sync::MutexGuard<'_, JoinSet<()>> {
        // Nothing in here panics half-way through a change.
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn text(stream: &StreamKey, local: IpAddr, description: &Description) -> String {
    let sections: Vec<Section> = [whipstitch_media::Kind::Video, whipstitch_media::Kind::Audio]
        .into_iter()
        .filter_map(|kind| {
            let track = description.tracks.get(kind)?;
            Some(Section { control: Some(control(kind).to_owned()), ..Section::of(track.codec, &track.format) })
        })
        .collect();
    let connection = match local {
        IpAddr::V4(_) => IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
    };
    let header = sdp::Header {
        name: stream.as_str(),
        id: description.publisher.0 >> 2,
        version: description.version,
        origin: local,
        connection,
        rtsp: true,
    };
    sdp::write(&header, &sections)
}
