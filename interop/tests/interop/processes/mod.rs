//! FFmpeg processes of the gateway: with Debian's FFmpeg, none, and an old one; through the gateway's death, a full disk and
//! two minutes of starts and stops.

mod crowd;
mod guarded;
pub(crate) mod kit;
mod lasting;
mod starting;
mod streams;
