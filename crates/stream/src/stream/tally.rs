//! What is counted of one track.

use std::time::{Duration, Instant};

use whipstitch_media::{Codec, Packet};

use crate::stats::{Meter, TrackStats};

#[derive(Debug)]
pub(super) struct Tally {
    pub(super) lost: u64,
    pub(super) duplicates: u64,
    pub(super) broken: u64,
    pub(super) misplaced: u64,
    pub(super) b_frames: bool,
    packets: u64,
    bytes: u64,
    size: Option<(u16, u16)>,
    keyframes: u64,
    keyframe_interval: Option<Duration>,
    last_keyframe: Option<Instant>,
    meter: Meter,
}

impl Tally {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            lost: 0,
            duplicates: 0,
            broken: 0,
            misplaced: 0,
            b_frames: false,
            packets: 0,
            bytes: 0,
            size: None,
            keyframes: 0,
            keyframe_interval: None,
            last_keyframe: None,
            meter: Meter::new(now),
        }
    }

    /// Forgets what is true of one source only; the counts go on.
    pub(super) fn new_source(&mut self) {
        self.size = None;
        self.b_frames = false;
        self.keyframe_interval = None;
        self.last_keyframe = None;
    }

    pub(super) fn forwarded(&mut self, packet: &Packet, size: Option<(u16, u16)>, new_frame: bool, keyframe: bool) {
        self.packets += 1;
        self.bytes += packet.payload.len() as u64;
        self.size = size.or(self.size);
        self.meter.add(packet.arrived, packet.payload.len(), new_frame);
        if keyframe {
            self.keyframes += 1;
            let last = self.last_keyframe.replace(packet.arrived);
            self.keyframe_interval = last.map(|last| packet.arrived.saturating_duration_since(last));
        }
    }

    pub(super) fn stats(&self, codec: Codec, now: Instant) -> TrackStats {
        let (bitrate, fps) = self.meter.rates(now);
        TrackStats {
            codec,
            size: self.size,
            fps,
            bitrate,
            packets: self.packets,
            bytes: self.bytes,
            lost: self.lost,
            duplicates: self.duplicates,
            broken: self.broken,
            misplaced: self.misplaced,
            keyframes: self.keyframes,
            keyframe_interval: self.keyframe_interval,
            b_frames: self.b_frames,
        }
    }
}
