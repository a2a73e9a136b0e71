//! Floor 3: WebRTC. Offers become sessions, sessions live on media workers, packets go out protected.
//!
//! [`Gateway`] is the face for whoever serves HTTP. `negotiate` judges offers and writes answers; `ice` is the ICE-lite
//! edge; `dtls` the back end and the tap for keys; `engine` is str0m, for DTLS and everything that comes in; `egress` is
//! our own sender towards viewers; `session` puts them together for a worker.

mod dtls;
pub mod egress;
mod engine;
#[doc(hidden)]
pub mod exercise;
mod gateway;
mod ice;
pub mod negotiate;
mod random;
mod reception;
mod session;

pub use dtls::IdentityError;
pub use gateway::{
    Accepted, Counts, Gateway, GatewayConfig, GatewayError, HalfOpen, Join, Measured, NotFound, PatchRefusal, Patched,
    Refusal, SessionUrl, StreamReport, WhenOffline,
};
pub use whipstitch_plane::{
    BOUNDS, ClosedSession, Counters, Histogram, Role, SessionReport, SessionStats, Totals, WorkerReport,
};
