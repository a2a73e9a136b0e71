//! Conformance: the running server with real sockets, seen by clients that keep to nobody's library. Which row of the
//! specifications is proven where stands in `README.md` beside this file.

mod clients;
mod codecs;
mod dtls;
mod endpoints;
mod ffmpeg;
mod gstreamer;
mod judge;
mod judged;
mod kit;
mod lifecycle;
mod obs;
mod offers;
mod plain;
mod repair;
mod restarts;
mod rtcp;
mod sessions;
mod stun;
mod tcp;
