//! The way of a player's reports from its sockets to its reader on the worker.

use std::time::{Duration, Instant};

use whipstitch_media::Kind;
use whipstitch_plane::{PeerCommand, Plane};
use whipstitch_stream::{PerKind, SessionId};

/// Reports of one track pass no more often than this: a fifth of what RFC 3550 6.2 has, and FFmpeg sends thirty a second.
/// What comes in between is dropped; the next says it all again. So a player costs its worker two commands a second.
const INTERVAL: Duration = Duration::from_secs(1);

/// Longer ones are dropped: RR, SDES with any name and more are shorter.
const MAX_REPORT: usize = 1200;

/// Passes the reports of one session on.
pub(crate) struct Reports {
    plane: Plane,
    worker: usize,
    session: SessionId,
    gates: PerKind<Gate>,
}

/// When a track's next report may pass.
#[derive(Clone, Copy, Debug, Default)]
struct Gate(Option<Instant>);

impl Reports {
    /// To the reader of this session.
    pub(crate) fn new(plane: Plane, worker: usize, session: SessionId) -> Reports {
        Reports { plane, worker, session, gates: PerKind::default() }
    }

    /// Takes what has come for the RTCP of a track. A worker that is too far behind does without it.
    pub(crate) fn pass(&mut self, now: Instant, kind: Kind, compound: &[u8]) {
        if compound.len() <= MAX_REPORT && self.gates[kind].opens(now) {
            let _ = self.plane.tell(self.worker, self.session, PeerCommand::Rtcp(compound.to_vec()));
        }
    }
}

impl Gate {
    fn opens(&mut self, now: Instant) -> bool {
        let opens = self.0.is_none_or(|at| at <= now);
        if opens {
            self.0 = Some(now + INTERVAL);
        }
        opens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_reports_is_one_a_second() {
        let (mut gate, start) = (Gate::default(), Instant::now());
        let times = (0..3000).filter(|ms| gate.opens(start + Duration::from_millis(*ms)));
        assert_eq!(times.collect::<Vec<_>>(), [0, 1000, 2000]);
    }
}
