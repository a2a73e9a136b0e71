//! A reader over UDP: the sockets of its session, and the task that owns them.
//!
//! The task lives as long as the session: until its reader on the worker is gone. Of what comes in, reports go to the
//! reader, and anything shows that somebody is still there.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::io::ReadBuf;
use tokio::net::UdpSocket;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::Instant;
use whipstitch_media::Kind;
use whipstitch_stream::PerKind;

use crate::queue::{Chunk, carried, frames};
use crate::reports::Reports;

/// How often a pair of ports is looked for: the next to an even one may be another program's.
const TRIES: usize = 64;

/// A session without any sign of life for so long is over: its timeout and what some players are late (protocol.md 13.5).
pub(crate) const SILENCE: Duration = Duration::from_secs(crate::machine::TIMEOUT_S + 30);

/// How often that is looked at.
const LOOK: Duration = Duration::from_secs(5);

/// The two sockets of a track.
#[derive(Debug)]
pub(crate) struct Pair {
    rtp: UdpSocket,
    rtcp: UdpSocket,
    /// The player's.
    to: (SocketAddr, SocketAddr),
    /// Of those that a server has.
    _place: OwnedSemaphorePermit,
}

impl Pair {
    /// Binds an even port of `local`'s address and the next one, for a player at `peer` with these ports. Within a runtime.
    pub(crate) fn bind(
        (local, peer): (SocketAddr, SocketAddr),
        ports: (u16, u16),
        place: OwnedSemaphorePermit,
    ) -> io::Result<Pair> {
        let open = |port| {
            let socket = std::net::UdpSocket::bind(with_port(local, port))?;
            socket.set_nonblocking(true)?;
            UdpSocket::from_std(socket)
        };
        let to = (with_port(peer, ports.0), with_port(peer, ports.1));
        for _ in 0..TRIES {
            let rtp = open(0)?;
            let port = rtp.local_addr()?.port();
            if port % 2 == 0
                && let Ok(rtcp) = open(port + 1)
            {
                return Ok(Pair { rtp, rtcp, to, _place: place });
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }

    /// Our ports.
    pub(crate) fn ports(&self) -> io::Result<(u16, u16)> {
        Ok((self.rtp.local_addr()?.port(), self.rtcp.local_addr()?.port()))
    }
}

/// The same place, with the scope an address of IPv6 may have.
fn with_port(mut address: SocketAddr, port: u16) -> SocketAddr {
    address.set_port(port);
    address
}

/// When somebody was heard of last; clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    origin: Instant,
    at: Arc<AtomicU64>,
}

impl Heard {
    pub(crate) fn now() -> Heard {
        Heard { origin: Instant::now(), at: Arc::default() }
    }

    /// There is a sign of life.
    pub(crate) fn touch(&self) {
        self.at.fetch_max(self.origin.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// How long there has been none.
    pub(crate) fn silence(&self) -> Duration {
        self.origin.elapsed().saturating_sub(Duration::from_millis(self.at.load(Ordering::Relaxed)))
    }
}

/// Sends what the reader puts into the queue, once it may begin, until the reader is gone. `silent` is called when nobody
/// was heard of for too long.
pub(crate) async fn run(
    sockets: PerKind<Option<Pair>>,
    mut chunks: mpsc::Receiver<Chunk>,
    begin: oneshot::Receiver<()>,
    heard: Heard,
    mut reports: Reports,
    silent: impl Fn(),
) {
    // Dropped when the connection was closed before: then it begins all the same, and ends for want of a reader.
    let _ = begin.await;
    let mut look = tokio::time::interval(LOOK);
    let mut bytes = [0; 1500];
    loop {
        tokio::select! {
            chunk = chunks.recv() => match chunk {
                Some(chunk) => send(&sockets, &chunk.frames).await,
                None => break,
            },
            (kind, len) = hear(&sockets, &mut bytes) => {
                heard.touch();
                if let Some(kind) = kind {
                    reports.pass(Instant::now().into_std(), kind, bytes.get(..len).unwrap_or_default());
                }
            },
            _ = look.tick() => if heard.silence() > SILENCE {
                silent();
            },
        }
    }
}

async fn send(sockets: &PerKind<Option<Pair>>, chunk: &[u8]) {
    for (channel, packet) in frames(chunk) {
        let (kind, is_rtcp) = carried(channel);
        let Some(Pair { rtp, rtcp, to, .. }) = &sockets[kind] else { continue };
        let (socket, to) = if is_rtcp { (rtcp, to.1) } else { (rtp, to.0) };
        // Errors are those of the player's end (RFC 1122 4.1.3.3), which may come back.
        let _ = socket.send_to(packet, to).await;
    }
}

/// Waits for anything from the player itself: a report of the track, and its length; or what is sent to open a NAT.
async fn hear(sockets: &PerKind<Option<Pair>>, bytes: &mut [u8]) -> (Option<Kind>, usize) {
    poll_fn(|cx| {
        for (kind, pair) in sockets.iter() {
            let Some(Pair { rtp, rtcp, to, .. }) = pair else { continue };
            for (socket, to, reported) in [(rtp, to.0, None), (rtcp, to.1, Some(kind))] {
                loop {
                    let mut buffer = ReadBuf::new(bytes);
                    match socket.poll_recv_from(cx, &mut buffer) {
                        Poll::Ready(Ok(from)) if is_players(from, to) => {
                            return Poll::Ready((reported, buffer.filled().len()));
                        }
                        Poll::Ready(_) => {}
                        Poll::Pending => break,
                    }
                }
            }
        }
        Poll::Pending
    })
    .await
}

/// Whether what comes from there is the player's. Behind a NAT it may have another port; on this machine there is none, and
/// another port is another program's: of a dead player's session it may be ours, for a port that was the player's then is
/// ours now. Two such sessions would keep each other alive.
fn is_players(from: SocketAddr, to: SocketAddr) -> bool {
    from.ip() == to.ip() && (from.port() == to.port() || !from.ip().to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_this_machine_a_player_is_known_by_its_port() {
        for (from, to, expected) in [
            ("127.0.0.1:5000", "127.0.0.1:5000", true),
            ("127.0.0.1:5002", "127.0.0.1:5000", false),
            ("[::ffff:127.0.0.1]:5002", "[::ffff:127.0.0.1]:5000", false),
            ("192.0.2.1:5002", "192.0.2.1:5000", true),
            ("192.0.2.2:5000", "192.0.2.1:5000", false),
        ] {
            assert_eq!(is_players(from.parse().unwrap(), to.parse().unwrap()), expected, "{from} for {to}");
        }
    }
}
