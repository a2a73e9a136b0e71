//! Whoever reads a stream without WebRTC: FFmpeg by RTSP over TCP and UDP and by SDP, other players played by a script, and
//! many that come and go.

mod crowd;
pub(crate) mod kit;
mod lasting;
mod recording;
mod returning;
