//! FFmpeg processes: what one is defined as, and how its streams reach it.

#[allow(dead_code, reason = "the collection of processes is what uses all of it")]
mod addresses;
#[allow(dead_code, reason = "the collection of processes is what uses all of it")]
mod command;
mod definition;
mod order;
#[allow(dead_code, reason = "the collection of processes is what uses all of it")]
mod store;
#[allow(dead_code, reason = "the collection of processes is what uses all of it")]
mod templates;
mod wiring;

pub use addresses::{Access, Lists};
pub use definition::{Definition, End, Limits, Mistake, Unreadable, WhepEgress, WhipIngest};
pub use order::{Ended, Order};
pub use store::{FILE, StoreError};
pub use wiring::{Ingest, Leg, Legs, Transport, Wired, Wiring};
