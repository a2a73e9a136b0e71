//! The gateway's edge to the network: sockets, batches, and the first look at a datagram.
//!
//! A datagram comes in through [`socket::Udp::recv`], [`sort::sort`] says what it is, [`stun`] judges connectivity
//! checks; what goes out is written into a [`batch::Batch`] and handed to the kernel by [`socket::Udp::send`].
//! Over TCP it comes as a frame (RFC 4571) of a connection that a [`tcp::Listener`] took, and leaves through the
//! connection's [`outbox::Outbox`]; [`framing`] cuts and writes the frames. [`addresses`] says which of a client's addresses
//! media goes to. Nothing here knows a session or a stream, reads a clock, starts a thread or waits: whoever owns the
//! socket drives it, and [`floor`] measures what it cannot cost less than. [`places`] bounds how many clients there are,
//! [`brake`] how many lines of log they cause.

pub mod addresses;
pub mod batch;
pub mod brake;
#[doc(hidden)]
pub mod exercise;
pub mod floor;
pub mod framing;
pub mod group;
pub mod outbox;
mod path;
pub mod places;
#[cfg(test)]
mod random;
pub mod socket;
pub mod sort;
pub mod stun;
pub mod tcp;
pub mod timers;

pub use batch::Batch;
pub use path::{ConnectionId, Path, Transport};
