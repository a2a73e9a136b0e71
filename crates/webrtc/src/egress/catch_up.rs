//! From the join to the live edge: what the stream's cache holds, sent in slices ahead of what comes.

use std::time::Instant;

use whipstitch_media::Kind;
use whipstitch_net::Path;
use whipstitch_net::batch::Batch;
use whipstitch_net::outbox::Room;
use whipstitch_stream::replay::Step;
use whipstitch_stream::{Forwarded, History, Replay};

use super::Egress;
use super::congestion::Congestion;

impl Egress {
    /// Begins to replay the video since the last start, if `history`, which belongs to the viewer's stream, offers any and
    /// none was sent yet. The rest follows with `handle_timeout`; what is delivered meanwhile waits its turn.
    pub fn replay(&mut self, now: Instant, path: Path, history: &History, room: Room, batch: &mut Batch) {
        let Some(track) = &self.tracks.video else { return };
        if self.closed || self.replay.is_some() || track.subscription().newest().is_some() {
            return;
        }
        self.replay = history.cache().and_then(|cache| Replay::begin(now, cache));
        self.catch_up(now, path, Some(history), room, batch);
    }

    /// Sends what of the replay is due. A path of less than the replay's rate sets the pace: as long as much waits in it the
    /// replay waits, too, but not for ever.
    pub(super) fn catch_up(
        &mut self,
        now: Instant,
        path: Path,
        history: Option<&History>,
        room: Room,
        batch: &mut Batch,
    ) {
        let (Some(replay), Some(track)) = (&mut self.replay, &mut self.tracks.video) else { return };
        if !Congestion::takes_slice(room) {
            if !replay.pause(now) {
                track.drop_to_start();
                self.replay = None;
            }
            return;
        }
        let cache = history.and_then(History::cache);
        loop {
            match cache.map_or(Step::Lost, |cache| replay.step(now, cache)) {
                Step::Packet(forwarded) => track.send(path, forwarded, batch),
                Step::Skip => track.drop_to_start(),
                Step::Wait => break,
                Step::Live => {
                    self.replay = None;
                    break;
                }
                Step::Lost => {
                    track.drop_to_start();
                    self.replay = None;
                    break;
                }
            }
        }
        track.end_burst(now);
    }

    /// Whether the replay will come to this packet by itself: it is in the cache as well.
    pub(super) fn is_to_be_replayed(&self, forwarded: &Forwarded) -> bool {
        let ahead = |replay: &Replay| !replay.passed(forwarded.packet.seq);
        forwarded.kind() == Kind::Video && self.replay.as_ref().is_some_and(ahead)
    }
}
