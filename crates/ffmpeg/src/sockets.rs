//! The sockets of what comes in as plain RTP: of each track one for RTP, and one for RTCP at the next port.
//!
//! A task reads them ([`Receiving`]); a worker sends reports from them ([`Replies`]). Their ports are nobody else's until
//! both have gone.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::task::Poll;

use socket2::SockRef;
use tokio::io::ReadBuf;
use whipstitch_media::Kind;
use whipstitch_stream::PerKind;

use crate::ports::{Block, Claim, Ports, Whose};

/// A keyframe comes in one burst, and the system counts each packet twice: room for 1 MB of it, as far as it is allowed.
const RECEIVE_BUFFER: usize = 2 * 1024 * 1024;

/// The largest datagram taken: what jumbo frames carry. Longer ones are cut off, and refused for it.
pub(crate) const LARGEST: usize = 9000;

/// Datagrams of one socket at a time.
const BURST: usize = 64;

/// Blocks that are tried: other programs bind ports as well.
const TRIES: usize = 8;

/// Which of a track's two sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Port {
    Rtp,
    Rtcp,
}

/// Whose ports they are, for as long as somebody has the sockets.
#[derive(Debug)]
#[expect(dead_code, reason = "guards")]
enum Held {
    Leased(Block),
    Claimed(Claim),
}

/// The sockets of a track.
#[derive(Debug)]
struct Pair {
    port: u16,
    rtp: UdpSocket,
    rtcp: UdpSocket,
}

/// The sockets of all tracks. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Sockets {
    pairs: PerKind<Option<Arc<Pair>>>,
    held: Arc<Held>,
}

impl Sockets {
    /// Binds leased ports of this address, for the kinds there are; `None` when no more can be had.
    pub(crate) fn lease(ports: &Ports, whose: Whose, local: IpAddr, has: PerKind<bool>) -> Option<Sockets> {
        (0..TRIES).find_map(|_| {
            let block = ports.lease(whose)?;
            let wanted = PerKind::from_fn(|kind| has[kind].then(|| block.port(kind)));
            bind(local, wanted, Held::Leased(block)).ok()
        })
    }

    /// Binds these ports, and those after them.
    ///
    /// # Errors
    /// What the system says; [`io::ErrorKind::AddrInUse`] also if they are leased.
    pub(crate) fn at(ports: &Ports, local: IpAddr, wanted: PerKind<Option<u16>>) -> io::Result<Sockets> {
        let all: Vec<u16> =
            wanted.iter().filter_map(|(_, port)| *port).flat_map(|port| [port, port.saturating_add(1)]).collect();
        let claim = ports.claim(&all).ok_or(io::ErrorKind::AddrInUse)?;
        bind(local, wanted, Held::Claimed(claim))
    }

    /// The port of RTP of a track.
    pub(crate) fn port(&self, kind: Kind) -> Option<u16> {
        self.pairs[kind].as_ref().map(|pair| pair.port)
    }

    /// A way for reports, from the same ports.
    pub(crate) fn replies(&self) -> Replies {
        Replies { sockets: self.clone(), to: PerKind::default(), named: PerKind::default() }
    }

    /// The reading end, for a task. Within a runtime.
    ///
    /// # Errors
    /// The process has no more descriptors.
    pub(crate) fn receive(&self) -> io::Result<Receiving> {
        let mut sockets = Vec::new();
        for (kind, pair) in [(Kind::Video, &self.pairs.video), (Kind::Audio, &self.pairs.audio)] {
            let Some(pair) = pair else { continue };
            for (port, socket) in [(Port::Rtp, &pair.rtp), (Port::Rtcp, &pair.rtcp)] {
                sockets.push((kind, port, tokio::net::UdpSocket::from_std(socket.try_clone()?)?));
            }
        }
        Ok(Receiving { sockets, buffer: vec![0; LARGEST + 1].into_boxed_slice(), _held: Arc::clone(&self.held) })
    }
}

fn bind(local: IpAddr, wanted: PerKind<Option<u16>>, held: Held) -> io::Result<Sockets> {
    let open = |port: u16| {
        let socket = UdpSocket::bind((local, port))?;
        socket.set_nonblocking(true)?;
        // What the system allows is what there is.
        let _ = SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER);
        Ok::<_, io::Error>(socket)
    };
    let pair = |port: Option<u16>| {
        let pair = |port: u16| {
            Ok::<_, io::Error>(Arc::new(Pair {
                port,
                rtp: open(port)?,
                rtcp: open(port.checked_add(1).ok_or(io::ErrorKind::InvalidInput)?)?,
            }))
        };
        port.map(pair).transpose()
    };
    let pairs = PerKind { audio: pair(wanted.audio)?, video: pair(wanted.video)? };
    Ok(Sockets { pairs, held: Arc::new(held) })
}

/// The reading end.
#[derive(Debug)]
pub(crate) struct Receiving {
    sockets: Vec<(Kind, Port, tokio::net::UdpSocket)>,
    buffer: Box<[u8]>,
    _held: Arc<Held>,
}

impl Receiving {
    /// Waits until something has come, and gives some of it to `each`. Cancelling it loses nothing.
    pub(crate) async fn some(&mut self, mut each: impl FnMut(Kind, Port, SocketAddr, &[u8])) {
        let Receiving { sockets, buffer, .. } = self;
        poll_fn(|cx| {
            let mut any = false;
            for (kind, port, socket) in sockets.iter() {
                for _ in 0..BURST {
                    let mut read = ReadBuf::new(buffer);
                    match socket.poll_recv_from(cx, &mut read) {
                        Poll::Ready(Ok(from)) => each(*kind, *port, from, read.filled()),
                        // What was sent before found nobody (RFC 1122 4.1.3.3); the socket is fine.
                        Poll::Ready(Err(_)) => {}
                        Poll::Pending => break,
                    }
                    any = true;
                }
            }
            if any { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// The way of reports to the sender. Over UDP nothing is waited for: what finds no room is lost.
#[derive(Debug)]
pub(crate) struct Replies {
    sockets: Sockets,
    /// Where they go, and from which socket.
    to: PerKind<Option<(Port, SocketAddr)>>,
    /// The ports that the sender named for it (RFC 3605).
    named: PerKind<Option<u16>>,
}

impl Replies {
    /// The sender has named ports for what it is told.
    pub(crate) fn name(&mut self, ports: PerKind<Option<u16>>) {
        self.named = ports;
    }

    /// RTP comes from there. Reports go to the next port of that address, or the one that was named, as long as it sends
    /// none of its own.
    pub(crate) fn heard_rtp(&mut self, kind: Kind, from: SocketAddr) {
        let port = self.named[kind].unwrap_or(from.port().wrapping_add(1));
        let to = &mut self.to[kind];
        if to.is_none_or(|(_, to)| to.ip() != from.ip()) {
            *to = Some((Port::Rtcp, SocketAddr::new(from.ip(), port)));
        }
    }

    /// RTCP comes from there: that is where it is listened for as well (RFC 4961), unless another port was named.
    pub(crate) fn heard_rtcp(&mut self, kind: Kind, port: Port, from: SocketAddr) {
        if self.named[kind].is_none() {
            self.to[kind] = Some((port, from));
        }
    }

    /// Sends to whom the track comes from.
    pub(crate) fn send(&self, kind: Kind, compound: &[u8]) {
        let (Some(pair), Some((port, to))) = (&self.sockets.pairs[kind], self.to[kind]) else { return };
        let socket = if port == Port::Rtp { &pair.rtp } else { &pair.rtcp };
        let _ = socket.send_to(compound, to);
    }
}
