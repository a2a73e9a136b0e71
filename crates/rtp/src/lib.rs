//! Floor 2: RTP without encryption, for everything that is not WebRTC: RTSP, and RTP legs of FFmpeg.
//!
//! Machines without I/O and clock. A [`Reader`] is what one player of a stream gets: the replay of what joiners get, both
//! tracks in order ([`Reorder`]), sender reports that align them, BYE. A [`Publisher`] is what somebody sends to us for a
//! stream, a [`Receiver`] one track of it. [`rtcp`] and [`report`] are shared with the WebRTC egress, which protects what is
//! written there.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "virtual time begins at some instant"))]

#[doc(hidden)]
pub mod exercise;
pub mod publisher;
pub mod reader;
pub mod receiver;
pub mod reorder;
pub mod report;
pub mod rtcp;
pub mod sender;
pub mod source;

pub use publisher::Publisher;
pub use reader::{Reader, Reported, Sink, Track};
pub use receiver::Receiver;
pub use reorder::Reorder;
pub use sender::{Outgoing, Sender};
pub use source::{Intake, Lock, Taken};
