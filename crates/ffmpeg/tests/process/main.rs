//! Processes with real children: FFmpeg, and programs that behave worse than it does.

mod bench;
mod children;
mod ends;
mod ffmpeg;
mod launching;
