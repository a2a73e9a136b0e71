//! FFmpeg processes: what one is defined as, and how its streams reach it.

mod order;
mod wiring;

pub use order::{Ended, Order};
pub use wiring::{Ingest, Leg, Legs, Transport, Wired, Wiring};
