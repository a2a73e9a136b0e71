//! How far a child has got: what FFmpeg writes as `-progress`, a block of `key=value` lines every 0.5 s, and what its log says of
//! its inputs and outputs. In the shape of datarhei Core's JSON. Total over whatever is written: what is not understood is
//! left out, and what is kept is bounded. One [`Parser`] for each run.

use std::time::Instant;

use serde::Serialize;

use self::block::Block;
use self::rates::Rates;
use self::streams::Streams;

mod block;
mod rates;
mod streams;

/// How far a child has got. What FFmpeg does not say is zero or empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Progress {
    /// One for each stream of each input, as the log lists them; at most 64. FFmpeg does not count what it reads.
    pub inputs: Vec<Io>,
    /// One for each stream of each output, as the log lists them; at most 64.
    pub outputs: Vec<Io>,
    /// Frames of the first output with video.
    pub frame: u64,
    /// Packets; FFmpeg does not say.
    pub packet: u64,
    /// Frames a second, over the last 30 s.
    pub fps: f64,
    /// Quantizer of the last frame of the first output with video.
    pub q: f64,
    /// Bytes written to the first output, in units of 1024.
    pub size_kb: u64,
    /// Seconds of media written.
    pub time: f64,
    /// kbit/s written to the first output, over the last 30 s.
    pub bitrate_kbit: f64,
    /// Seconds of media in a second, over the whole run.
    pub speed: f64,
    /// Frames that were left out to keep a constant rate.
    pub drop: u64,
    /// Frames that were repeated to keep a constant rate.
    pub dup: u64,
}

/// One stream of an input or output.
#[derive(Clone, Debug, Default, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Io {
    /// Name of the input or output in the definition; the parser does not know it.
    pub id: String,
    /// Its URL as the log shows it, without secrets.
    pub address: String,
    /// Which input or output, from 0.
    pub index: u64,
    /// Which stream in it, from 0.
    pub stream: u64,
    /// Container or protocol, as FFmpeg names it.
    pub format: String,
    /// `video`, `audio` or `subtitle`.
    #[serde(rename = "type")]
    pub kind: String,
    /// As FFmpeg names it.
    pub codec: String,
    /// What decodes or encodes it: a library, `native`, or `copy`.
    pub coder: String,
    /// Frames written.
    pub frame: u64,
    /// Keyframes; FFmpeg does not say.
    pub keyframe: u64,
    /// Frames a second that the stream says it has.
    pub framerate: Framerate,
    /// Frames a second, over the last 30 s.
    pub fps: f64,
    /// Packets; FFmpeg does not say.
    pub packet: u64,
    /// Packets a second; FFmpeg does not say.
    pub pps: f64,
    /// Bytes, in units of 1024.
    pub size_kb: u64,
    /// kbit/s, over the last 30 s.
    pub bitrate_kbit: f64,
    /// Bytes of codec setup; FFmpeg does not say.
    pub extradata_size_bytes: u64,
    /// Video: layout of pixels.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pix_fmt: String,
    /// Video: quantizer of the last frame.
    pub q: f64,
    /// Video: pixels.
    #[serde(skip_serializing_if = "is_zero")]
    pub width: u64,
    /// Video: pixels.
    #[serde(skip_serializing_if = "is_zero")]
    pub height: u64,
    /// Audio: samples a second.
    #[serde(skip_serializing_if = "is_zero")]
    pub sampling_hz: u64,
    /// Audio: arrangement of channels.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub layout: String,
    /// Audio: how many channels.
    #[serde(skip_serializing_if = "is_zero")]
    pub channels: u64,
}

/// Frames a second of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Framerate {
    /// FFmpeg does not say.
    pub min: f64,
    /// FFmpeg does not say.
    pub max: f64,
    /// As the stream says of itself.
    pub avg: f64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Arguments of FFmpeg with what the supervisor needs of it before them.
///
/// - `-progress pipe:1`: how far it has got, on standard output. Not `-stats_period`, which FFmpeg before 4.4 refuses: 0.5 s
///   is the default of all.
/// - `-nostats`: the same is not wanted in the log.
/// - `-n` where neither `-y` nor `-n` is given: FFmpeg would ask whether to overwrite a file and wait for ever for the
///   answer, as its standard input is open (for `q`; hence no `-nostdin`). Without a terminal it answers itself: no.
pub fn arguments(args: Vec<String>) -> Vec<String> {
    let mut all: Vec<String> = ["-progress", "pipe:1", "-nostats"].map(str::to_owned).into();
    if !args.iter().any(|arg| arg == "-y" || arg == "-n") {
        all.push("-n".to_owned());
    }
    all.extend(args);
    all
}

/// Reads what one child writes.
#[derive(Default)]
pub(crate) struct Parser {
    streams: Streams,
    /// What has come of the block that is on.
    block: Block,
    /// The last one that was whole.
    last: Block,
    rates: Rates,
}

impl Parser {
    /// A line of the log, without secrets.
    pub(crate) fn log(&mut self, line: &str) {
        self.streams.line(line);
    }

    /// A line of `-progress`. With the last one of a block: whether it tells of anything new.
    pub(crate) fn report(&mut self, now: Instant, line: &str) -> Option<bool> {
        if !self.block.line(line) {
            return None;
        }
        let block = std::mem::take(&mut self.block).over(&self.last);
        let advanced = block.is_beyond(&self.last);
        self.rates.add(now, block.frame, block.size);
        self.last = block;
        Some(advanced)
    }

    /// How far it has got, with what it did until `now`.
    pub(crate) fn progress(&self, now: Instant) -> Progress {
        let rates = self.rates.at(now);
        let mut outputs = self.streams.outputs();
        for io in &mut outputs {
            io.q = self.last.q_of(io.index, io.stream);
        }
        if let Some(first) = outputs.iter_mut().find(|io| io.kind == "video") {
            (first.frame, first.fps) = (self.last.frame, rates.frames);
        }
        // Alone in the first output, all that is written there is its own.
        if let [only] = &mut *outputs {
            (only.size_kb, only.bitrate_kbit) = (self.last.size / 1024, rates.kbit);
        }
        Progress {
            inputs: self.streams.inputs(),
            outputs,
            frame: self.last.frame,
            packet: 0,
            fps: rates.frames,
            q: self.last.q(),
            size_kb: self.last.size / 1024,
            time: self.last.time.as_secs_f64(),
            bitrate_kbit: rates.kbit,
            speed: self.last.speed,
            drop: self.last.drop,
            dup: self.last.dup,
        }
    }
}

#[cfg(test)]
mod tests;
