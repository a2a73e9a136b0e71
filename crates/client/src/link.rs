//! A [`Peer`] on a [`Socket`], moved by whoever awaits it.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::{Duration, Instant};

use str0m::net::DatagramSend;
use tokio::net::UdpSocket;
use tokio::time::Sleep;
use whipstitch_net::sort::{Sort, sort};

use crate::error::Error;
use crate::loss::Loss;
use crate::peer::{Credentials, Event, FAR, Outgoing, Output, Peer};
use crate::socket::{DATAGRAM, Socket};

/// From the answer until media may flow. A gateway gives up after 20 s (protocol.md 15); on a path that works at all
/// ICE and DTLS take well under one.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Datagrams taken per turn, so that a flood cannot keep timers and the outbox waiting.
const BURST: usize = 64;

/// The header fields of an RTP packet that are in clear under SRTP (RFC 3711 3.1).
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClearHeader {
    pub(crate) pt: u8,
    pub(crate) seq: u16,
}

/// What a link has to say: the peer's events, and in light mode the headers it read.
#[derive(Debug)]
pub(crate) enum LinkEvent {
    Peer(Event),
    Header(ClearHeader),
}

/// What is left of a link whose engine is gone.
pub(crate) struct Parted {
    pub(crate) socket: UdpSocket,
    /// Where the gateway's last datagram came from.
    pub(crate) remote: SocketAddr,
    pub(crate) credentials: Credentials,
}

/// See the module.
pub(crate) struct Link {
    peer: Peer,
    socket: Socket,
    sleep: Pin<Box<Sleep>>,
    deadline: Instant,
    outbox: VecDeque<(SocketAddr, DatagramSend)>,
    events: VecDeque<(Instant, LinkEvent)>,
    buffer: Box<[u8; DATAGRAM]>,
    /// Where the last datagram came from.
    remote: Option<SocketAddr>,
    /// What is lost on purpose.
    outgoing_loss: Option<Loss>,
    incoming_loss: Option<Loss>,
    /// RTP is counted by its header and RTCP skipped, neither is decrypted.
    light: bool,
}

impl Link {
    pub(crate) fn new(peer: Peer, socket: Socket) -> Link {
        let now = Instant::now();
        Link {
            peer,
            socket,
            sleep: Box::pin(tokio::time::sleep_until(now.into())),
            deadline: now,
            outbox: VecDeque::new(),
            events: VecDeque::new(),
            buffer: Box::new([0; DATAGRAM]),
            remote: None,
            outgoing_loss: None,
            incoming_loss: None,
            light: false,
        }
    }

    pub(crate) fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Runs until ICE and DTLS are up. Packets that come with the last datagram of the handshake are kept.
    pub(crate) async fn connect(&mut self) -> Result<(), Error> {
        let expired = tokio::time::sleep(CONNECT_TIMEOUT);
        tokio::pin!(expired);
        let mut stage = "ICE";
        let mut early = VecDeque::new();
        loop {
            let next = tokio::select! {
                next = self.next() => next?,
                () = &mut expired => return Err(Error::ConnectTimeout { after: CONNECT_TIMEOUT, stage }),
            };
            match next {
                (_, LinkEvent::Peer(Event::Connected)) => break,
                (_, LinkEvent::Peer(Event::IceConnected)) => stage = "DTLS",
                (_, LinkEvent::Peer(Event::Closed(reason))) => return Err(Error::Closed(reason)),
                other => early.push_back(other),
            }
        }
        early.append(&mut self.events);
        self.events = early;
        Ok(())
    }

    /// The next event with the instant of its datagram. Cancelling it loses nothing.
    pub(crate) async fn next(&mut self) -> Result<(Instant, LinkEvent), Error> {
        loop {
            self.flush().await?;
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            tokio::select! {
                readable = self.socket.readable() => {
                    readable?;
                    self.receive()?;
                }
                () = &mut self.sleep => self.pass_time()?,
            }
        }
    }

    /// Queues packets and sends them as one burst. False if a packet's kind was not negotiated; it is left out.
    pub(crate) async fn write(&mut self, packets: impl IntoIterator<Item = Outgoing>) -> Result<bool, Error> {
        let mut all = true;
        for packet in packets {
            all &= self.peer.write(packet);
            self.drain()?;
        }
        self.pass_time()?;
        self.flush().await?;
        Ok(all)
    }

    pub(crate) fn request_keyframe(&mut self) -> Result<bool, Error> {
        let asked = self.peer.request_keyframe();
        self.drain()?;
        Ok(asked)
    }

    /// From now on loses some of what it sends.
    pub(crate) fn lose_outgoing(&mut self, loss: Loss) {
        self.outgoing_loss = Some(loss);
    }

    /// From now on loses some of what it receives.
    pub(crate) fn lose_incoming(&mut self, loss: Loss) {
        self.incoming_loss = Some(loss);
    }

    /// From the next datagram on media is counted by its headers and not decrypted.
    pub(crate) fn go_light(&mut self) {
        self.light = true;
    }

    /// Whether [`Link::part`] would do: a session over UDP whose events have all been taken.
    pub(crate) fn can_part(&self) -> bool {
        matches!(self.socket, Socket::Udp(_)) && self.events.is_empty() && self.remote.is_some()
    }

    /// Gives the engine up and keeps what it takes to count and to stay alive; `None` unless [`Link::can_part`].
    pub(crate) fn part(mut self) -> Option<Parted> {
        let credentials = self.peer.take_credentials()?;
        match self.socket {
            Socket::Udp(socket) => Some(Parted { socket, remote: self.remote?, credentials }),
            Socket::Tcp(_) => None,
        }
    }

    /// Tells the peer that this is the end, as far as one datagram can.
    pub(crate) async fn close(mut self) -> Result<(), Error> {
        self.peer.close()?;
        self.drain()?;
        self.flush().await
    }

    fn receive(&mut self) -> Result<(), Error> {
        for _ in 0..BURST {
            let (length, from) = match self.socket.try_recv(&mut self.buffer[..]) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // An ICMP error for a datagram sent earlier; ICE finds out by itself whether the pair still works.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
                Err(error) => return Err(error.into()),
            };
            let now = Instant::now();
            self.remote = Some(from);
            let bytes = self.buffer.get(..length).unwrap_or_default();
            if self.incoming_loss.as_mut().is_some_and(|loss| loss.takes(bytes)) {
                continue;
            }
            match sort(bytes) {
                Sort::Rtp if self.light => {
                    self.events.extend(clear_header(bytes).map(|header| (now, LinkEvent::Header(header))));
                    continue;
                }
                Sort::Rtcp if self.light => continue,
                _ => {}
            }
            self.peer.handle_datagram(now, from, bytes)?;
            self.drain_at(now)?;
        }
        Ok(())
    }

    fn pass_time(&mut self) -> Result<(), Error> {
        let now = Instant::now();
        self.peer.handle_timeout(now)?;
        self.drain_at(now)
    }

    fn drain(&mut self) -> Result<(), Error> {
        self.drain_at(Instant::now())
    }

    fn drain_at(&mut self, now: Instant) -> Result<(), Error> {
        loop {
            match self.peer.poll()? {
                Output::Transmit { to, bytes } => self.outbox.push_back((to, bytes)),
                Output::Event(event) => self.events.push_back((now, LinkEvent::Peer(event))),
                Output::Idle(at) => {
                    // str0m names an instant decades away when nothing is scheduled.
                    let at = at.min(now + FAR);
                    if at != self.deadline {
                        self.deadline = at;
                        self.sleep.as_mut().reset(at.into());
                    }
                    return Ok(());
                }
            }
        }
    }

    async fn flush(&mut self) -> Result<(), Error> {
        while let Some((to, bytes)) = self.outbox.front() {
            if !self.outgoing_loss.as_mut().is_some_and(|loss| loss.takes(bytes)) {
                // A candidate that cannot be reached (another family, no route) is ICE's business, not the end.
                self.socket.send(bytes, *to).await;
            }
            self.outbox.pop_front();
        }
        Ok(())
    }
}

/// The header of an RTP packet, read without its keys.
fn clear_header(bytes: &[u8]) -> Option<ClearHeader> {
    let [_, pt, high, low, ..] = *bytes else { return None };
    Some(ClearHeader { pt: pt & 0x7f, seq: u16::from_be_bytes([high, low]) })
}
