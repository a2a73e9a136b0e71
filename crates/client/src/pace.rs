//! Sending on time: a [`Script`] says what is due when, [`perform`] writes it.

use std::time::{Duration, Instant};

use crate::error::{CloseReason, Error};
use crate::whip::{Event, Packet, Publisher};

/// A sender that was kept from running for longer than this goes on from now instead of catching up: a burst of old
/// pictures would only fill the queues of every viewer.
const PATIENCE: Duration = Duration::from_millis(500);

/// An endless sequence of packets on a timeline that starts at zero.
pub(crate) trait Script {
    /// When the next packet is due, from the start. Never goes back.
    fn due(&self) -> Duration;
    /// The next packet, of a performance that began at `start`. `now` is when it is sent.
    fn take(&mut self, start: Instant, now: Instant) -> Packet;
    /// The gateway wants a keyframe.
    fn keyframe_requested(&mut self);
}

/// When a performance that began at `start` has to be taken to have begun, for a sender that runs again at `now`.
fn caught_up(script: &impl Script, start: Instant, now: Instant) -> Instant {
    let late = now.saturating_duration_since(start + script.due());
    if late > PATIENCE { start + late } else { start }
}

/// Performs a script until the session ends. Cancelling it leaves the publisher usable.
pub(crate) async fn perform(
    publisher: &mut Publisher,
    script: &mut impl Script,
    mut start: Instant,
) -> Result<CloseReason, Error> {
    loop {
        tokio::select! {
            biased;
            event = publisher.next() => match event? {
                Event::KeyframeRequest => script.keyframe_requested(),
                Event::Closed(reason) => return Ok(reason),
            },
            () = tokio::time::sleep_until((start + script.due()).into()) => {
                let now = Instant::now();
                start = caught_up(script, start, now);
                while start + script.due() <= now {
                    // One by one, so that each is taken at the instant it is sent. A kind that was not accepted is left out.
                    publisher.write_burst([script.take(start, Instant::now())]).await?;
                }
            }
        }
    }
}

/// What [`perform`] does when it wakes at `now`, in virtual time.
#[cfg(test)]
pub(crate) fn wake(script: &mut impl Script, start: &mut Instant, now: Instant) -> Vec<Packet> {
    *start = caught_up(script, *start, now);
    let mut burst = Vec::new();
    while *start + script.due() <= now {
        burst.push(script.take(*start, now));
    }
    burst
}
