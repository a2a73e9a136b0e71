//! One block of `-progress`.

use std::time::Duration;

/// Output streams whose quantizer is kept.
const STREAMS: usize = 64;

/// What a block says; 0 where it says nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Block {
    pub(super) frame: u64,
    /// Bytes.
    pub(super) size: u64,
    pub(super) time: Duration,
    pub(super) speed: f64,
    pub(super) drop: u64,
    pub(super) dup: u64,
    /// Output, stream in it, quantizer.
    q: Vec<(u64, u64, f64)>,
}

impl Block {
    /// True with the last line of the block.
    pub(super) fn line(&mut self, line: &str) -> bool {
        let Some((key, value)) = line.split_once('=') else { return false };
        // FFmpeg pads numbers: `bitrate=  12.3kbits/s`. What it does not know is `N/A`, or below zero.
        let value = value.trim();
        match key.trim() {
            "frame" => self.frame = value.parse().unwrap_or(0),
            "total_size" => self.size = value.parse().unwrap_or(0),
            // Both are microseconds, by an old mistake that FFmpeg keeps for compatibility.
            "out_time_us" | "out_time_ms" => self.time = Duration::from_micros(value.parse().unwrap_or(0)),
            "speed" => self.speed = positive(value.trim_end_matches('x')),
            "drop_frames" => self.drop = value.parse().unwrap_or(0),
            "dup_frames" => self.dup = value.parse().unwrap_or(0),
            "progress" => return true,
            key => self.quantizer(key, value),
        }
        false
    }

    /// `stream_0_1_q=28.0`: of the second stream of the first output.
    fn quantizer(&mut self, key: &str, value: &str) {
        let of = key.strip_prefix("stream_").and_then(|rest| rest.strip_suffix("_q"));
        let Some((index, stream)) = of.and_then(|of| of.split_once('_')) else { return };
        if let (Ok(index), Ok(stream)) = (index.parse(), stream.parse())
            && self.q.len() < STREAMS
        {
            self.q.push((index, stream, positive(value)));
        }
    }

    /// This block after that one. At the end of a file some FFmpegs no longer know what they have said before.
    pub(super) fn over(mut self, before: &Block) -> Block {
        self.frame = self.frame.max(before.frame);
        self.size = self.size.max(before.size);
        self.time = self.time.max(before.time);
        self
    }

    pub(super) fn is_beyond(&self, before: &Block) -> bool {
        self.frame > before.frame || self.size > before.size || self.time > before.time
    }

    /// Of the first stream that has one.
    pub(super) fn q(&self) -> f64 {
        self.q.first().map_or(0.0, |(_, _, q)| *q)
    }

    pub(super) fn q_of(&self, index: u64, stream: u64) -> f64 {
        self.q.iter().find(|q| (q.0, q.1) == (index, stream)).map_or(0.0, |q| q.2)
    }
}

/// -1 is what FFmpeg says of streams that it copies.
fn positive(value: &str) -> f64 {
    value.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0).unwrap_or(0.0)
}
