//! What carries a session's datagrams: one UDP socket, or a TCP connection to each passive candidate of the gateway
//! (RFC 6544, framed by RFC 4571).

use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::RcvBuf;
use reqwest::Url;
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use whipstitch_net::framing::Deframer;
use whipstitch_net::outbox::Outbox;

use crate::error::Error;

/// Larger than any datagram of a peer that keeps to 1200 bytes (RFC 9725 needs no more).
pub(crate) const DATAGRAM: usize = 2048;
/// Asked of the kernel, which counts its own overhead and so takes twice that: a second of a 2.5 Mbit/s stream, which a
/// session among many may be late by on a busy machine.
const BUFFER_BYTES: usize = 512 * 1024;
/// Read at once from a connection.
const READ: usize = 16 * 1024;
/// Connections at once: a gateway announces a dozen addresses. To more of them nothing is sent.
const MAX_CONNECTIONS: usize = 16;
/// The port that an active candidate names: nobody connects to it (RFC 6544 4.5).
const DISCARD: u16 = 9;

/// See the module.
pub(crate) enum Socket {
    Udp(UdpSocket),
    Tcp(Connections),
}

impl Socket {
    /// A socket at the local address that leads to the endpoint's host: the one host candidate of our offers.
    pub(crate) async fn towards(url: &Url, tcp: bool) -> Result<Socket, Error> {
        let refuse = |reason: String| Error::Url { url: url.to_string(), reason };
        let host = url.host_str().ok_or_else(|| refuse("no host".to_owned()))?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = url.port_or_known_default().unwrap_or(80);
        let found = tokio::net::lookup_host((host, port)).await.map_err(|error| refuse(format!("{host}: {error}")))?;
        let found: Vec<SocketAddr> = found.collect();
        // IPv4 first, like the candidates of an answer (protocol.md 5.3).
        let remote = found.iter().find(|address| address.is_ipv4()).or(found.first());
        let remote = *remote.ok_or_else(|| refuse(format!("{host} has no address")))?;
        let any: IpAddr = if remote.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        // Connecting a UDP socket sends nothing; it asks the routing table which address of ours would be used.
        let probe = UdpSocket::bind((any, 0)).await?;
        probe.connect(remote).await?;
        let local = probe.local_addr()?.ip();
        if tcp {
            return Ok(Socket::Tcp(Connections { local, all: Vec::new() }));
        }
        let socket = UdpSocket::bind((local, 0)).await?;
        // May be granted in part.
        let _ = setsockopt(&socket, RcvBuf, &BUFFER_BYTES);
        Ok(Socket::Udp(socket))
    }

    /// The address of the host candidate.
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Socket::Udp(socket) => socket.local_addr(),
            Socket::Tcp(connections) => Ok(SocketAddr::new(connections.local, DISCARD)),
        }
    }

    /// Waits until there may be something to receive. Cancelling it loses nothing.
    pub(crate) async fn readable(&mut self) -> io::Result<()> {
        match self {
            Socket::Udp(socket) => socket.readable().await,
            Socket::Tcp(connections) => {
                poll_fn(|context| connections.poll(context)).await;
                Ok(())
            }
        }
    }

    /// The next datagram with its length and where it came from; would block when there is none.
    pub(crate) fn try_recv(&mut self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        match self {
            Socket::Udp(socket) => socket.try_recv_from(buffer),
            Socket::Tcp(connections) => connections.try_recv(buffer).ok_or_else(|| ErrorKind::WouldBlock.into()),
        }
    }

    /// Sends a datagram, as far as that can be said: what does not get through is ICE's business, and RTP's.
    pub(crate) async fn send(&mut self, datagram: &[u8], to: SocketAddr) {
        match self {
            Socket::Udp(socket) => drop(socket.send_to(datagram, to).await),
            Socket::Tcp(connections) => connections.send(datagram, to),
        }
    }
}

/// The connections of one session. One that breaks is made anew with the next datagram for its address.
pub(crate) struct Connections {
    local: IpAddr,
    all: Vec<Connection>,
}

struct Connection {
    remote: SocketAddr,
    state: State,
    outbox: Outbox,
    deframer: Deframer,
}

enum State {
    Connecting(Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send + Sync>>),
    Open(TcpStream),
    Broken,
}

impl Connections {
    fn send(&mut self, datagram: &[u8], to: SocketAddr) {
        let at = self.all.iter().position(|connection| connection.remote == to);
        if at.is_none() && self.all.len() < MAX_CONNECTIONS {
            self.all.push(Connection::to(self.local, to));
        }
        let at = at.unwrap_or(self.all.len().saturating_sub(1));
        let Some(connection) = self.all.get_mut(at).filter(|connection| connection.remote == to) else { return };
        // What finds no room is lost, as over UDP.
        let _ = connection.outbox.push(datagram);
        connection.write();
        self.all.retain(|connection| !matches!(connection.state, State::Broken));
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut readable = false;
        for connection in &mut self.all {
            readable |= connection.poll(context).is_ready();
        }
        if readable { Poll::Ready(()) } else { Poll::Pending }
    }

    fn try_recv(&mut self, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
        let received = self.all.iter_mut().find_map(|connection| {
            let len = connection.try_recv(buffer)?;
            Some((len, connection.remote))
        });
        self.all.retain(|connection| !matches!(connection.state, State::Broken));
        received
    }
}

impl Connection {
    fn to(local: IpAddr, remote: SocketAddr) -> Connection {
        let connecting = async move {
            let socket = if remote.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            socket.set_nodelay(true)?;
            socket.bind(SocketAddr::new(local, 0))?;
            socket.connect(remote).await
        };
        let state = State::Connecting(Box::pin(connecting));
        Connection { remote, state, outbox: Outbox::new(), deframer: Deframer::new(DATAGRAM) }
    }

    /// Goes on connecting or writing; ready when there may be something to read, the end included.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let State::Connecting(connecting) = &mut self.state {
            match connecting.as_mut().poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(stream)) => self.state = State::Open(stream),
                Poll::Ready(Err(_)) => self.state = State::Broken,
            }
        }
        self.write();
        while let State::Open(stream) = &self.state
            && !self.outbox.is_empty()
            && stream.poll_write_ready(context).is_ready()
        {
            self.write();
        }
        match &self.state {
            State::Open(stream) => stream.poll_read_ready(context).map(|_| ()),
            State::Connecting(_) | State::Broken => Poll::Ready(()),
        }
    }

    fn write(&mut self) {
        if let State::Open(stream) = &self.state
            && self.outbox.write(&mut Writer(stream)).is_err()
        {
            self.state = State::Broken;
        }
    }

    fn try_recv(&mut self, buffer: &mut [u8]) -> Option<usize> {
        loop {
            match self.deframer.next() {
                Some(Ok(frame)) => {
                    let datagram = buffer.get_mut(..frame.len())?;
                    datagram.copy_from_slice(frame);
                    return Some(datagram.len());
                }
                Some(Err(_)) => {
                    self.state = State::Broken;
                    return None;
                }
                None => {}
            }
            let State::Open(stream) = &self.state else { return None };
            let mut bytes = [0; READ];
            match stream.try_read(&mut bytes) {
                Ok(read) if read > 0 => self.deframer.push(&bytes[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Ok(_) | Err(_) => {
                    self.state = State::Broken;
                    return None;
                }
            }
        }
    }
}

/// A stream as an outbox writes to it.
struct Writer<'a>(&'a TcpStream);

impl io::Write for Writer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
