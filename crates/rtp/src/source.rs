//! Whom media is taken from, where nothing but its address tells.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// How long a source must be silent before another may take its place (protocol.md 12.3): longer than a sender that
/// restarts needs, so that nobody slips in between.
const SILENCE: Duration = Duration::from_secs(5);

/// The first address that sends has the place, and keeps it as long as it goes on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lock {
    holder: Option<(SocketAddr, Instant)>,
}

impl Lock {
    /// Whether RTP from this address is taken now.
    pub fn admits(&mut self, now: Instant, from: SocketAddr) -> bool {
        let is_free = |(holder, heard): (SocketAddr, Instant)| {
            // A sender that restarts on the same machine comes from another port.
            let silence = if holder.ip() == from.ip() { SILENCE / 10 } else { SILENCE };
            holder == from || now.saturating_duration_since(heard) >= silence
        };
        let admits = self.holder.is_none_or(is_free);
        if admits {
            self.holder = Some((from, now));
        }
        admits
    }

    /// Whether RTCP from this address is taken: senders use another port for it.
    pub fn knows(&self, from: IpAddr) -> bool {
        self.holder.is_some_and(|(holder, _)| holder.ip() == from)
    }

    /// Who has the place.
    pub fn holder(&self) -> Option<SocketAddr> {
        self.holder.map(|(holder, _)| holder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_sends_keeps_the_place_until_it_is_silent() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let [alice, restarted, mallory] =
            ["10.0.0.1:5000", "10.0.0.1:5002", "10.0.0.2:5000"].map(|text| text.parse().unwrap());
        let mut lock = Lock::default();
        assert!(!lock.knows(IpAddr::from([10, 0, 0, 1])));
        for (millis, from, admitted) in [
            (0, alice, true),
            (100, mallory, false),
            (200, restarted, false),
            (300, alice, true),
            (799, restarted, false),
            (800, restarted, true),
            (801, alice, false),
            (5799, mallory, false),
            (5800, mallory, true),
            (5801, restarted, false),
        ] {
            assert_eq!(lock.admits(at(millis), from), admitted, "{from} after {millis} ms");
        }
        assert!(lock.knows(mallory.ip()) && !lock.knows(alice.ip()));
    }
}
