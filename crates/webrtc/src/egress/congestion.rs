//! What a viewer gets whose path takes no more: all or nothing of a burst, then nothing until a keyframe.
//!
//! A path over UDP never says so. One over TCP does, and what it cannot take is left out before it is sealed, so that
//! numbers stay without a gap: video up to the next start after the path has recovered, audio burst by burst.

use whipstitch_media::Kind;
use whipstitch_net::outbox::Room;
use whipstitch_stream::{Burst, PerKind};

/// More than a packet grows by on its way: header with every extension, protection, the frame's length.
const OVERHEAD: usize = 100;

/// Bytes that may wait however low the viewer's bitrate is: a keyframe of a slow stream and what follows it.
const LEAST_WAITING: usize = 128 * 1024;

/// The state of the path as far as it matters.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Congestion {
    /// Video is left out, and not asked for: what would come could not be sent.
    held: bool,
    /// Packets left out.
    skipped: u64,
}

impl Congestion {
    /// Whether video waits for the path.
    pub(super) fn is_held(self) -> bool {
        self.held
    }

    /// Packets left out so far.
    pub(super) fn skipped(self) -> u64 {
        self.skipped
    }

    /// There is no path.
    pub(super) fn hold(&mut self) {
        self.held = true;
    }

    /// Whether a slice of a replay may be sent: it is at most 75 KB, and live packets must find room behind it.
    pub(super) fn takes_slice(room: Room) -> bool {
        room != Room::NONE && room.waiting() <= LEAST_WAITING / 4
    }

    /// Which tracks get their packets of a burst. `bitrate` is what was sent over the last second: as much may wait, for
    /// a viewer who is later than that is better served by the next keyframe.
    pub(super) fn judge(&mut self, burst: &Burst, room: Room, bitrate: impl FnOnce() -> u64) -> PerKind<bool> {
        if room == Room::UNBOUNDED {
            self.held = false;
            return PerKind::from_fn(|_| true);
        }
        let most = usize::try_from(bitrate() / 8).unwrap_or(usize::MAX).max(LEAST_WAITING);
        self.held &= room == Room::NONE || room.waiting() > most / 2;
        let of = |kind| burst.packets.iter().filter(move |forwarded| forwarded.kind() == kind);
        let bytes = |kind| of(kind).map(|forwarded| forwarded.packet.payload.len() + OVERHEAD).sum::<usize>();
        let (audio, video) = (bytes(Kind::Audio), bytes(Kind::Video));
        self.held |= video > 0 && (audio + video > room.free || room.waiting() > most);
        let takes = PerKind { audio: audio <= room.free, video: !self.held };
        for (kind, takes) in takes.iter().filter(|(_, takes)| !**takes) {
            self.skipped += u64::from(!takes) * of(kind).count() as u64;
        }
        takes
    }
}
