//! The way of a leg's packets to the ports it leased: for each track a socket to RTP and one to RTCP.
//!
//! They are connected, so that the system tells when nobody has the port (RFC 1122 4.1.3.3); and they never wait: over
//! loopback a datagram is at the other end when the call returns, or is dropped there for want of room.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use whipstitch_media::Kind;
use whipstitch_rtp::{Outgoing, Sink};
use whipstitch_stream::PerKind;

/// Report of a receiver of nothing (RFC 3550 6.4.2): means nothing to who gets it, and asks whether somebody does.
const NOTHING: [u8; 8] = [0x80, 201, 0, 1, 0, 0, 0, 0];

#[derive(Debug)]
struct Way {
    rtp: UdpSocket,
    rtcp: UdpSocket,
}

/// The ways of all tracks.
#[derive(Debug)]
pub(crate) struct Ways {
    tracks: PerKind<Option<Way>>,
    buffer: Vec<u8>,
    /// Somebody was there, and is no longer.
    gone: bool,
}

impl Ways {
    /// Ways to these ports of this machine, each followed by that of RTCP.
    pub(crate) fn open(ports: PerKind<Option<u16>>) -> io::Result<Ways> {
        let open = |port: Option<u16>| {
            port.map(|port| Ok::<_, io::Error>(Way { rtp: connect(port)?, rtcp: connect(port + 1)? })).transpose()
        };
        let tracks = PerKind { audio: open(ports.audio)?, video: open(ports.video)? };
        Ok(Ways { tracks, buffer: Vec::new(), gone: false })
    }

    /// Asks once more whether somebody has the ports. True when the question before found somebody at each of them: who
    /// opens a description binds them one after the other, and needs all.
    pub(crate) fn asks(&mut self, asked: bool) -> bool {
        let mut all = asked;
        for way in [&self.tracks.video, &self.tracks.audio].into_iter().flatten() {
            // What the last question brought back comes first; it must not be taken for an answer to this one.
            all &= way.rtcp.take_error().is_ok_and(|error| error.is_none());
            if way.rtcp.send(&NOTHING).is_err() {
                all = false;
            }
        }
        all
    }

    /// Asks somebody who was there whether that is still so; [`is_gone`](Self::is_gone) tells, at the latest after the next.
    pub(crate) fn ask(&mut self) {
        for kind in Kind::ALL {
            self.rtcp(kind, &NOTHING);
        }
    }

    /// Whether a packet has found nobody since there was somebody.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone
    }

    fn send(&mut self, sent: io::Result<usize>) {
        // Everything else passes: a full buffer is a lost packet.
        self.gone |= sent.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
    }
}

impl Sink for Ways {
    fn has_room(&mut self, _: Kind) -> bool {
        true
    }

    fn rtp(&mut self, kind: Kind, packet: &Outgoing<'_>) {
        let Some(way) = &self.tracks[kind] else { return };
        self.buffer.clear();
        packet.append_to(&mut self.buffer);
        let sent = way.rtp.send(&self.buffer);
        self.send(sent);
    }

    fn rtcp(&mut self, kind: Kind, compound: &[u8]) {
        let Some(way) = &self.tracks[kind] else { return };
        let sent = way.rtcp.send(compound);
        self.send(sent);
    }
}

fn connect(port: u16) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_nonblocking(true)?;
    socket.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    Ok(socket)
}
