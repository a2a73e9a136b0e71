//! Floor 4, the program: configuration, HTTP, access, pages, start and stop. It joins what the floors below provide
//! and decides nothing about media.
//!
//! `main.rs` reads as the list of what happens; [`run::Server`] is the running thing, which tests start as well.
//! A request goes from [`mod@http`] (routes, order of checks, statuses) past [`access`] (who may do what) to the media plane
//! ([`media`]). [`config`] turns flags, environment and file into one value that cannot be wrong.

pub mod access;
mod announce;
mod candidates;
pub mod cli;
pub mod config;
pub mod credentials;
pub mod demo;
mod guesses;
pub mod http;
pub mod ice_servers;
pub mod issued;
mod join;
pub mod logging;
pub mod media;
pub mod patterns;
pub mod plain;
mod proxies;
pub mod proxy;
pub mod rates;
mod rtsp;
pub mod run;
mod tls;
pub mod tokens;
mod wires;
