//! The built-in test source: the clip, published over and over in real time.
//!
//! RTP time and sequence numbers go on through every loop; what starts again is the counter in the picture. A keyframe
//! request needs no answer of its own: the clip has a keyframe every second.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use whipstitch_media::Kind;

use crate::clip::{Clip, PICTURE_TICKS, SOUND_TICKS};
use crate::error::Error;
use crate::pace::{self, Script};
use crate::peer::random_u32;
use crate::whip::{self, Packet, Publisher};

/// First pause before trying again: a gateway that restarts is back within a second.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Longest pause, so that a gateway that was away for long is found again before anybody wonders.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A session that held this long was a good one: the next failure starts with the first pause again.
const GOOD_SESSION: Duration = Duration::from_secs(5);
/// How long the end may take: one DELETE on loopback.
const FAREWELL: Duration = Duration::from_secs(2);

/// Where to publish, and until when.
#[derive(Clone, Debug)]
pub struct Options {
    /// The WHIP endpoint, e.g. `http://127.0.0.1:8555/whip/demo`.
    pub url: String,
    /// Sent as `Authorization: Bearer`.
    pub token: Option<String>,
    /// Becomes true, or loses its sender, when it is time to stop.
    pub stop: watch::Receiver<bool>,
}

/// Publishes the clip until told to stop; ends the session then. A gateway that refuses, goes away or is not there yet
/// is tried again with capped back-off, with a log line for each failure.
pub async fn run(options: Options) {
    run_clip(options, Clip::builtin()).await;
}

/// The same with a clip of one's own.
pub async fn run_clip(options: Options, clip: Arc<Clip>) {
    let mut stop = options.stop.clone();
    // An error means that the sender is gone: nobody is left to say stop.
    let stopped = async {
        let _ = stop.wait_for(|stop| *stop).await;
    };
    tokio::pin!(stopped);
    let mut publish = whip::Options::new(options.url);
    publish.token = options.token;
    let mut pause = FIRST_PAUSE;
    loop {
        let mut publisher = tokio::select! {
            () = &mut stopped => return,
            connected = Publisher::connect(&publish) => match connected {
                Ok(publisher) => publisher,
                Err(error) => {
                    tracing::warn!(%error, ?pause, "test source not connected, trying again");
                    tokio::select! {
                        () = &mut stopped => return,
                        () = tokio::time::sleep(jittered(pause).max(asked_to_wait(&error))) => {}
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    continue;
                }
            },
        };
        tracing::info!("test source is publishing");
        let began = Instant::now();
        let mut script = ClipScript::new(Arc::clone(&clip));
        let end = tokio::select! {
            () = &mut stopped => None,
            end = pace::perform(&mut publisher, &mut script, began) => Some(end),
        };
        // Also after a failure: the gateway may still hold the stream for us.
        if tokio::time::timeout(FAREWELL, publisher.close()).await.is_err() {
            tracing::debug!("test source: no answer to DELETE");
        }
        match end {
            None => return,
            Some(Ok(reason)) => tracing::warn!(%reason, "test source was disconnected, connecting again"),
            Some(Err(error)) => tracing::warn!(%error, "test source lost its session, connecting again"),
        }
        if began.elapsed() >= GOOD_SESSION {
            pause = FIRST_PAUSE;
        }
        tokio::select! {
            () = &mut stopped => return,
            () = tokio::time::sleep(jittered(pause)) => {}
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Between three quarters of the pause and all of it, so that several sources do not come back in step.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(1.0 - 0.25 * f64::from(random_u32()) / f64::from(u32::MAX))
}

/// What the gateway asked for with Retry-After, within reason.
fn asked_to_wait(error: &Error) -> Duration {
    match error {
        Error::Refused { retry_after: Some(wait), .. } => (*wait).min(LONGEST_PAUSE),
        _ => Duration::ZERO,
    }
}

/// The clip as an endless script: pictures and sounds merged by time, a picture before the sound of the same instant.
struct ClipScript {
    clip: Arc<Clip>,
    /// Pictures and sounds sent whole, loops included.
    pictures: u64,
    sounds: u64,
    /// Payloads of the current picture sent.
    payloads: usize,
}

impl ClipScript {
    fn new(clip: Arc<Clip>) -> ClipScript {
        ClipScript { clip, pictures: 0, sounds: 0, payloads: 0 }
    }

    fn picture_due(&self) -> Duration {
        whipstitch_media::time::duration(self.pictures * u64::from(PICTURE_TICKS), 90_000)
    }

    fn sound_due(&self) -> Duration {
        whipstitch_media::time::duration(self.sounds * u64::from(SOUND_TICKS), 48_000)
    }

    fn picture_payload(&mut self, captured: Instant) -> Packet {
        let pictures = &self.clip.pictures;
        let picture = &pictures[(self.pictures % pictures.len() as u64) as usize];
        let payload = picture.payloads[self.payloads].clone();
        let time = (self.pictures * u64::from(PICTURE_TICKS)) as u32;
        self.payloads += 1;
        let marker = self.payloads == picture.payloads.len();
        if marker {
            self.payloads = 0;
            self.pictures += 1;
        }
        Packet { kind: Kind::Video, time, marker, payload, captured }
    }

    fn sound(&mut self, captured: Instant) -> Packet {
        let sounds = &self.clip.sounds;
        let payload = sounds[(self.sounds % sounds.len() as u64) as usize].clone();
        let time = (self.sounds * u64::from(SOUND_TICKS)) as u32;
        self.sounds += 1;
        Packet { kind: Kind::Audio, time, marker: false, payload, captured }
    }
}

impl Script for ClipScript {
    fn due(&self) -> Duration {
        self.picture_due().min(self.sound_due())
    }

    fn take(&mut self, start: Instant, _now: Instant) -> Packet {
        let captured = start + self.due();
        if self.picture_due() <= self.sound_due() { self.picture_payload(captured) } else { self.sound(captured) }
    }

    fn keyframe_requested(&mut self) {
        tracing::trace!("keyframe requested; the next one is at most a second away");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packets of the first 25 s: two loops and a half.
    fn performance() -> Vec<Packet> {
        let begin = Instant::now();
        let (mut start, mut now) = (begin, begin);
        let mut script = ClipScript::new(Clip::builtin());
        let mut packets = Vec::new();
        while now < begin + Duration::from_secs(25) {
            now = start + script.due();
            packets.extend(pace::wake(&mut script, &mut start, now));
        }
        packets
    }

    #[test]
    fn both_timelines_advance_evenly_through_the_loops() {
        let packets = performance();
        let sounds: Vec<u32> = packets.iter().filter(|p| p.kind == Kind::Audio).map(|p| p.time).collect();
        assert!(sounds.windows(2).all(|pair| pair[1] - pair[0] == SOUND_TICKS));
        let last_payloads = packets.iter().filter(|p| p.kind == Kind::Video && p.marker);
        let pictures: Vec<u32> = last_payloads.map(|p| p.time).collect();
        assert!(pictures.windows(2).all(|pair| pair[1] - pair[0] == PICTURE_TICKS));
        assert!(pictures.len() >= 749 && sounds.len() >= 1249, "{} and {}", pictures.len(), sounds.len());
    }

    #[test]
    fn capture_instants_agree_with_rtp_time() {
        let packets = performance();
        let begin = packets[0].captured;
        for packet in packets {
            let rate = if packet.kind == Kind::Audio { 48_000 } else { 90_000 };
            let media = whipstitch_media::time::duration(u64::from(packet.time), rate);
            assert_eq!(packet.captured - begin, media, "{:?}", packet.kind);
        }
    }

    #[test]
    fn first_packet_is_a_keyframe() {
        let first = &performance()[0];
        assert_eq!(first.payload, Clip::builtin().pictures[0].payloads[0]);
    }

    #[test]
    fn long_sleep_is_not_caught_up_with() {
        let begin = Instant::now();
        let mut start = begin;
        let mut script = ClipScript::new(Clip::builtin());
        pace::wake(&mut script, &mut start, begin);
        let woken = begin + Duration::from_secs(60);
        let burst = pace::wake(&mut script, &mut start, woken);
        assert!(burst.iter().all(|packet| packet.captured == woken), "only what is due at this very instant");
        assert!(!burst.is_empty());
    }
}
