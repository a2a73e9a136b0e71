//! Floor 2: the media plane. N worker threads, each owning its sockets, sessions and timers outright.
//!
//! Control hands a finished session to a worker and talks to it through a bounded mailbox from then on; nothing on the
//! packet path is locked or shared. A stream lives on the worker its name chooses, where its publisher is placed; its
//! bursts travel once to each worker that has subscribers. What a session is, this crate does not know: it drives
//! whatever implements [`Peer`].

mod bind;
mod closed;
mod fanout;
mod mailbox;
mod measure;
mod notes;
mod outboxes;
mod peer;
mod plane;
pub mod random;
mod report;
mod roster;
mod strangers;
mod worker;

pub use closed::ClosedSession;
pub use mailbox::Full;
pub use measure::{BOUNDS, Histogram, Phase, Totals, Traffic, WorkerReport};
pub use notes::{Ending, MAX_ROUTES, Notes, RouteNote, Routes};
pub use peer::{Action, Batches, Context, Delivery, IceRestart, Peer, PeerCommand};
pub use plane::{MAX_WORKERS, Plane, PlaneConfig, StartError, ufrag_tag};
pub use report::{Counters, Report, Role, SessionReport, SessionStats};
#[doc(hidden)]
pub use worker::Stepped;
