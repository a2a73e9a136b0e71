//! The hub in virtual time: one file for each behaviour. `README.md` says what is proven where, here and above.

#![allow(clippy::disallowed_methods, reason = "virtual time begins at some instant")]

mod kit;

mod audio_at_once;
mod clocks;
mod duplicates;
mod every_phase;
mod foreign_packets;
mod holds;
mod idle_and_ended;
mod joining;
mod keyframe_cache;
mod keyframe_requests;
mod late_packets;
mod padding;
mod parameter_sets;
mod publisher_slots;
mod publisher_switch;
mod random_schedules;
mod replay;
mod sender_restart;
mod skipping;
mod statistics;
mod wrap_around;
