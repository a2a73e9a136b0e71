//! The two ends of a datagram's way.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

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
}

impl Path {
    /// A path to `remote` on which the kernel chooses our address.
    pub fn to(remote: SocketAddr) -> Path {
        Path { remote, local: None }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.local {
            Some(local) => write!(f, "{} at {local}", self.remote),
            None => self.remote.fmt(f),
        }
    }
}
