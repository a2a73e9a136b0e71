//! Many origins behind one address: WHIP and WHEP are forwarded to the origin that has the stream, and the datagrams of
//! their sessions by the ufrags of both sides, proven with the origin's password.
//!
//! A [`Session`] is what any of several proxies must know to route one session; it is stored under its [`Pair`]s and
//! its [`SessionId`] in a [`registry`] that they share, so that each can take over what another began. Requests come in
//! through [`signal::Signal`], datagrams through [`relay::Relay`], which is told of sessions and asks for those it does
//! not know. [`origins`] are known by heartbeats and probes, and [`state`] says which of them a request goes to.

pub mod envelope;
pub mod exercise;
pub mod headers;
mod ice;
pub mod origins;
mod record;
pub mod registry;
pub mod relay;
pub mod sdp;
pub mod signal;
pub mod state;
pub mod trust;
pub mod urls;

pub use ice::{Credentials, CredentialsError, Generation, Pair};
pub use record::{OriginId, RecordError, Role, Session, SessionId};
