//! The built gateway against real peers, each test named for what it shows.
//!
//! Everything in `browser` starts browsers and is run alone (`cargo xtask test` does so).

mod browser;
mod clients;
mod crowd;
mod description;
mod ffmpeg;
mod hosts;
mod load;
mod processes;
mod readers;
mod rtp;
mod rtsp;
mod sending;
