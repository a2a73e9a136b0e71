//! Floor 3: RTSP 1.0 (RFC 2326). Players read any stream, in their TCP connection or over UDP; programs send one in theirs.
//!
//! [`Server`] listens and serves: a task for each connection, which owns the socket (`connection`), reads messages (`wire`),
//! lets a machine without I/O decide on them (`machine`), and finds the answers to its questions. A session that plays is a
//! subscriber on a media worker (`reader`); between the two stands a bounded queue (`queue`) that the worker never waits
//! for. One that is sent is a publisher on its stream's worker (`publisher`), behind a queue that the connection waits for
//! (`inbound`). Who may do what is decided by whoever starts the server ([`Access`]).

mod access;
mod auth;
mod connection;
#[doc(hidden)]
pub mod exercise;
mod inbound;
mod kept;
mod machine;
mod publisher;
mod queue;
mod reader;
mod reply;
mod reports;
mod server;
mod target;
mod transport;
mod udp;
mod wire;

pub use access::{Access, Asked, Right, Verdict};
pub use auth::Proof;
pub use server::{Bounds, Server};
