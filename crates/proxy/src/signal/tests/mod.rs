//! The entry before origins over real HTTP.

mod kit;
mod offers;
mod sessions;
mod srs;
mod trouble;
