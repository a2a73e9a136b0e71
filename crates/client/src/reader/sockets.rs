//! The UDP sockets of a reader: RTP and RTCP of each track, on a port and the next.

use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr};
use std::task::Poll;

use tokio::io::ReadBuf;
use tokio::net::UdpSocket;
use whipstitch_media::Kind;

use super::ended;
use crate::error::Error;

/// How often a pair is looked for: the next to an even port may be another program's.
const TRIES: usize = 64;

/// RTCP packet type of a goodbye (RFC 3550 12.1).
const BYE: u8 = 203;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

struct Pair {
    kind: Kind,
    rtp: UdpSocket,
    rtcp: UdpSocket,
    left: bool,
}

/// The sockets of all tracks.
#[derive(Default)]
pub(crate) struct Sockets(Vec<Pair>);

impl Sockets {
    /// Binds sockets of this machine for a track, on this port and the next or anywhere; says where.
    pub(super) async fn bind(&mut self, kind: Kind, port: Option<u16>) -> Result<(u16, u16), Error> {
        for _ in 0..TRIES {
            let rtp = UdpSocket::bind((LOOPBACK, port.unwrap_or(0))).await?;
            let first = rtp.local_addr()?.port();
            match UdpSocket::bind((LOOPBACK, first.wrapping_add(1))).await {
                Ok(rtcp) if first.is_multiple_of(2) => {
                    self.0.push(Pair { kind, rtp, rtcp, left: false });
                    return Ok((first, first + 1));
                }
                Err(error) if port.is_some() => return Err(error.into()),
                Ok(_) | Err(_) => {}
            }
        }
        Err(Error::Socket(std::io::ErrorKind::AddrInUse.into()))
    }

    /// Waits for a packet of RTP; the end is a BYE on every track. Cancelling it loses nothing.
    pub(super) async fn next(&mut self) -> Result<(Kind, Vec<u8>), Error> {
        let mut bytes = [0; 2048];
        poll_fn(|cx| {
            for pair in &mut self.0 {
                let mut buffer = ReadBuf::new(&mut bytes);
                while let Poll::Ready(received) = pair.rtcp.poll_recv_from(cx, &mut buffer) {
                    received?;
                    pair.left |= says_bye(buffer.filled());
                    buffer.clear();
                }
                if let Poll::Ready(received) = pair.rtp.poll_recv_from(cx, &mut buffer) {
                    received?;
                    return Poll::Ready(Ok((pair.kind, buffer.filled().to_vec())));
                }
            }
            if self.0.iter().all(|pair| pair.left) { Poll::Ready(Err(ended())) } else { Poll::Pending }
        })
        .await
    }

    /// The sockets of RTP and of RTCP, without the runtime.
    pub(super) fn part(self) -> Result<Vec<(Kind, [std::net::UdpSocket; 2])>, Error> {
        self.0.into_iter().map(|pair| Ok((pair.kind, [pair.rtp.into_std()?, pair.rtcp.into_std()?]))).collect()
    }
}

/// Whether a compound has a goodbye in it.
fn says_bye(mut compound: &[u8]) -> bool {
    while let [_, kind, high, low, ..] = *compound {
        if kind == BYE {
            return true;
        }
        let len = 4 * (usize::from(u16::from_be_bytes([high, low])) + 1);
        compound = compound.get(len..).unwrap_or_default();
    }
    false
}
