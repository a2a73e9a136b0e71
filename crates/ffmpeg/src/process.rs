//! FFmpeg processes: what one is defined as, how its streams reach it, and how its child is kept running.

#[allow(dead_code, reason = "the collection of processes is what uses all of it")]
mod addresses;
mod child;
#[allow(dead_code, reason = "the collection of processes is what uses all of it")]
mod command;
mod definition;
pub(crate) mod exercise;
mod lines;
mod machine;
mod order;
mod progress;
mod report;
mod runner;
mod spawner;
#[allow(dead_code, reason = "the collection of processes is what uses all of it")]
mod store;
#[allow(dead_code, reason = "the collection of processes is what uses all of it")]
mod templates;
mod usage;
mod wiring;

pub use addresses::{Access, Lists};
pub use definition::{Definition, End, Limits, Mistake, Unreadable, WhepEgress, WhipIngest};
pub use machine::{Counts, Exec, Limits as RunLimits, Rules};
pub use order::{Ended, Limit, Order};
pub use progress::{Framerate, Io, Progress, arguments};
pub use report::{Line, Report, Run};
pub use runner::{Launch, Launcher, RunState, Runner};
pub use store::{FILE, StoreError};
pub use usage::Usage;
pub use wiring::{Ingest, Leg, Legs, Transport, Wired, Wiring};
