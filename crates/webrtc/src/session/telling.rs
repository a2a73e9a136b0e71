//! What a session tells of itself: the API's figures and the metrics' counters.

use std::time::Instant;

use whipstitch_media::Kind;
use whipstitch_plane::{Counters, SessionStats};

use super::{RoleState, Session};
use crate::egress::Profile;

impl Session {
    /// Everything there is to tell.
    pub(super) fn told(&self, now: Instant) -> SessionStats {
        let mut stats = SessionStats {
            connected: self.connected,
            first_media: self.first_media,
            remote: self.edge.path().map(|path| path.remote),
            transport: self.edge.path().map(|path| path.transport.as_str()),
            srtp: self.srtp.map(Profile::name),
            user_agent: self.identified.user_agent.clone(),
            counters: self.counted(),
            ..SessionStats::new(self.since)
        };
        match &self.role {
            RoleState::Publisher { tracks, .. } => {
                let codecs = [Kind::Video, Kind::Audio].into_iter().filter_map(|kind| tracks.get(kind));
                stats.codecs = codecs.map(|track| track.codec).collect();
                let told = self.engine.counters();
                (stats.loss, stats.jitter, stats.rtt) = (told.loss, told.jitter, told.rtt);
            }
            RoleState::Subscriber { agreed, egress, .. } => {
                stats.codecs = agreed.codecs();
                if let Some(egress) = egress {
                    let told = egress.stats();
                    stats.bitrate = Some(egress.bitrate(now));
                    (stats.loss, stats.jitter) = told.reported.then_some((told.loss, told.jitter)).unzip();
                    stats.rtt = told.rtt;
                }
            }
        }
        stats
    }

    /// What was counted.
    pub(super) fn counted(&self) -> Counters {
        let rejected = self.rejected + self.engine.rejected();
        match self.egress() {
            Some(egress) => {
                let sent = egress.stats().counters;
                Counters { rejected: rejected + sent.rejected, ..sent }
            }
            // Of a subscriber that is not connected yet all of this is zero.
            None => {
                let told = self.engine.counters();
                Counters {
                    packets: self.received.packets,
                    bytes: self.received.bytes,
                    lost: self.received.tracks.iter().map(|(_, track)| track.lost()).sum(),
                    nacks: told.nacks,
                    rtx: self.received.rtx,
                    plis: told.plis,
                    firs: told.firs,
                    rejected,
                    ..Counters::default()
                }
            }
        }
    }
}
