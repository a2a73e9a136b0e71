//! Floor 0: what media looks like, whoever carries it.
//!
//! Packets, codecs (where a decoder may start, parameter sets, picture size), payloads cut to size, SDP for bridges,
//! sequence and time arithmetic. Every function here is total over its bytes and knows no clock, no socket, no session and
//! no other crate of the workspace.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "virtual time begins at some instant"))]

pub mod codec;
#[doc(hidden)]
pub mod exercise;
pub mod format;
pub mod packet;
pub mod sdp;
pub mod sequence;
pub mod split;
pub mod time;

pub use codec::{Codec, Kind};
pub use packet::{Extensions, Packet};
