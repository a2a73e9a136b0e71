//! Floor 3: what FFmpeg needs that is not RTSP. A [`Legs`] hands running streams to programs on this machine as plain RTP:
//! each asks for an SDP, which leases it ports of its own.

mod leg;
mod legs;
mod ports;
mod ways;

pub use legs::{Legs, Refused};
pub use ports::{Ports, TooFew};
