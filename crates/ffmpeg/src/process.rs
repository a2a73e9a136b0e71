//! FFmpeg processes: what one is defined as, how its streams reach it, and how its child is kept running.

mod addresses;
mod ask;
mod child;
mod command;
pub mod definition;
mod disk;
pub(crate) mod exercise;
mod lines;
mod machine;
mod order;
mod probe;
mod processes;
mod progress;
mod report;
mod runner;
mod skills;
mod spawner;
mod store;
mod templates;
mod usage;
mod wiring;

pub use addresses::{Access, Lists};
pub use definition::{Definition, Mistake, Unreadable};
pub use machine::{Counts, Exec, Limits, Rules};
pub use order::{Ended, Limit, Order};
pub use probe::{Probe, ProbeIo};
pub use processes::{Command, Error, Fed, Process, Processes, Query, Settings, mistakes};
pub use progress::{Framerate, Io, Progress, arguments};
pub use report::{Line, Report, Run};
pub use runner::{Launch, Launcher, RunState, Runner};
pub use skills::Skills;
pub use store::{FILE, StoreError};
pub use usage::Usage;
pub use wiring::{Ingest, Leg, Legs, Transport, Wired, Wiring};
