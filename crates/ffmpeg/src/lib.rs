//! Floor 3: what FFmpeg needs that is not RTSP: plain RTP, both ways. A [`Legs`] hands running streams to programs on this
//! machine: each asks for an SDP, which leases it ports of its own. An [`Inputs`] takes streams from who sends them to ports
//! that it leases or has been told. [`process`] is FFmpeg itself, as children of ours.

pub mod exercise;
mod inlet;
mod inputs;
mod leg;
mod legs;
pub mod owner;
mod ports;
pub mod process;
mod sockets;
mod ways;

pub use inputs::{Client, Configured, Inlet, Input, Inputs, LEAST_PORT, Refused as InputRefused, Wanted};
pub use legs::{Legs, Refused};
pub use ports::{Ports, TooFew};
