//! Floor 3: our own WHIP and WHEP client.
//!
//! [`whip::Publisher`] and [`whep::Player`] are one session each: an offer posted over HTTP, ICE, DTLS and SRTP by
//! str0m over one UDP socket or over TCP connections, DELETE at the end. [`source`] publishes the built-in clip until told to stop; [`load`]
//! puts many viewers on one stream and proves what arrived. [`reader`] reads over RTSP and as plain RTP, as FFmpeg does. Nothing here runs on a task of its own: a session moves when
//! its owner awaits `next` or `write`, and ends with its owner.

mod clip;
mod error;
mod link;
pub mod load;
mod loss;
mod pace;
mod peer;
pub mod reader;
mod session;
mod signalling;
mod socket;
pub mod source;
pub mod whep;
pub mod whip;

pub use clip::{Clip, ClipError};
pub use error::{CloseReason, Error};
pub use peer::VideoFormat;
