//! The two ends of a datagram's way.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;

/// Where a datagram came from and which of our addresses it was sent to; also where an answer goes and what its source
/// must be, so that a received path is the path of the reply.
///
/// Our port is not part of it: it is the socket's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Path {
    /// The peer's address.
    pub remote: SocketAddr,
    /// Our address, as the kernel reported it (`IP_PKTINFO`). None lets the kernel choose by its routes, which on a
    /// machine with several addresses need not be the one the peer talks to.
    pub local: Option<IpAddr>,
    /// What carries it.
    pub transport: Transport,
}

/// What carries datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// UDP, through the worker's socket of the family.
    Udp,
    /// Frames on a TCP connection (RFC 4571).
    Tcp(ConnectionId),
}

/// The name of a TCP connection on the worker that owns it. No other connection there has it as long as this one lives,
/// and the next 2^32 do not get it either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub NonZeroU32);

impl Transport {
    /// The word for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Transport::Udp => "udp",
            Transport::Tcp(_) => "tcp",
        }
    }
}

impl Path {
    /// A path over UDP to `remote` on which the kernel chooses our address.
    pub fn to(remote: SocketAddr) -> Path {
        Path { remote, local: None, transport: Transport::Udp }
    }

    /// Whether the same end of the peer is there, whichever of our addresses it uses. An address over UDP and the same
    /// one over TCP are two ends, and so are two connections from one address.
    pub fn has_same_end(&self, other: &Path) -> bool {
        self.remote == other.remote && self.transport == other.transport
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.remote.fmt(f)?;
        if let Transport::Tcp(_) = self.transport {
            f.write_str("/tcp")?;
        }
        match self.local {
            Some(local) => write!(f, " at {local}"),
            None => Ok(()),
        }
    }
}
