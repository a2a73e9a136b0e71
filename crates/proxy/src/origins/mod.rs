//! Origins: what is known of each server behind the proxy, and which of them is asked.
//!
//! [`Origins`] is a machine without clock and network: it hears of heartbeats, probes and failures, and says how each
//! origin stands; [`best`] picks among them. What a heartbeat says is read in [`Heartbeat`], what SRS sends in
//! [`srs`]. [`probe`] asks origins whether they live. Who remembers which origin has a stream is the registry.

mod heartbeat;
mod machine;
mod news;
mod pick;
pub mod probe;
mod record;
pub mod srs;

pub use heartbeat::{Heartbeat, MOST_STREAMS, Malformed, is_stream_name};
pub use machine::{Counted, Origins, Seen, Standing, TooMany, Unlike};
pub(crate) use news::News;
pub use pick::best;
pub use probe::{Probe, Probed};
pub use record::{Kind, Load, MOST_ORIGINS, Origin, OriginRecord};
