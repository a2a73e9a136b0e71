//! The cheap viewers of a load run: sessions that are up and have seen their first picture, and from then on only count.
//!
//! One thread for all of them. It looks into every socket once in [`SWEEP`], reads the first bytes of what waits there
//! (`net::socket::Skimmer`), and keeps each session alive with connectivity checks of its own; engine and keys are gone.
//! Nobody waits for a datagram, so the gateway's sends wake nobody up, as if its viewers were on other machines.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};
use whipstitch_media::Kind;
use whipstitch_net::socket::Skimmer;
use whipstitch_net::sort::{Sort, sort};
use whipstitch_net::stun;

use super::viewer::TrackSeen;
use crate::error::{CloseReason, Error};
use crate::link::Parted;
use crate::peer::{Credentials, random};

/// A 2.5 Mbit/s stream sends 7 datagrams in it; the receive buffer holds far more.
const SWEEP: Duration = Duration::from_millis(20);
/// Between two checks of consent (RFC 7675 5.1).
const CHECK: Duration = Duration::from_secs(5);
/// Without a datagram for so long, three checks unanswered among them, the session is gone.
const SILENCE: Duration = Duration::from_secs(16);
/// Calls for one socket in one sweep; the rest waits for the next.
const ROUNDS: usize = 16;
/// DTLS content type of an alert (RFC 6347 4.1, RFC 5246 6.2.1): after the handshake, the gateway's goodbye.
const ALERT: u8 = 21;
/// That of a host candidate (RFC 8445 5.1.2.1); there is no other to compare it with.
const PRIORITY: u32 = 126 << 24 | 65_535 << 8 | 255;

/// What a viewer hands over, and gets back in the end.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    pub(crate) audio: TrackSeen,
    pub(crate) video: TrackSeen,
    /// The session ended before it was time.
    pub(crate) closed: Option<CloseReason>,
}

/// A viewer that counts.
struct Seat {
    socket: UdpSocket,
    remote: SocketAddr,
    credentials: Credentials,
    payload_types: [(Option<u8>, Kind); 2],
    counted: Counted,
    heard: Instant,
    next_check: Instant,
    done: oneshot::Sender<Counted>,
}

/// See the module. Its thread ends with the last clone.
#[derive(Clone)]
pub(crate) struct Counter {
    /// Has room for every viewer of the run, each of which comes once.
    seats: SyncSender<Seat>,
}

impl Counter {
    /// Starts the thread, for so many viewers at most. `packets` grows with every media packet; once `stop` says so, or is gone, all get their counts
    /// back.
    ///
    /// # Errors
    /// No thread.
    pub(crate) fn start(
        viewers: usize,
        packets: Arc<AtomicU64>,
        stop: watch::Receiver<bool>,
    ) -> Result<Counter, Error> {
        let (seats, coming) = sync_channel(viewers);
        // Not joined: it ends by itself, see above.
        thread::Builder::new().name("load-counter".to_owned()).spawn(move || count(&coming, &packets, &stop))?;
        Ok(Counter { seats })
    }

    /// Counts on for a viewer until its session or the run ends.
    ///
    /// # Errors
    /// The socket cannot be taken out of its runtime.
    pub(crate) async fn go_on(
        &self,
        parted: Parted,
        payload_types: [(Option<u8>, Kind); 2],
        counted: Counted,
    ) -> Result<Counted, Error> {
        let (done, result) = oneshot::channel();
        let now = Instant::now();
        let seat = Seat {
            socket: parted.socket.into_std()?,
            remote: parted.remote,
            credentials: parted.credentials,
            payload_types,
            counted,
            heard: now,
            next_check: now + CHECK,
            done,
        };
        let gone = || Error::Socket(std::io::Error::other("the counting thread is gone"));
        self.seats.try_send(seat).map_err(|_| gone())?;
        result.await.map_err(|_| gone())
    }
}

fn count(coming: &Receiver<Seat>, packets: &AtomicU64, stop: &watch::Receiver<bool>) {
    let mut seats: Vec<Seat> = Vec::new();
    let mut skimmer = Skimmer::new();
    loop {
        let sweep = Instant::now() + SWEEP;
        let left = loop {
            match coming.recv_timeout(sweep.saturating_duration_since(Instant::now())) {
                Ok(seat) => seats.push(seat),
                Err(RecvTimeoutError::Timeout) => break false,
                Err(RecvTimeoutError::Disconnected) => break true,
            }
        };
        let now = Instant::now();
        let mut seen = 0;
        for seat in &mut seats {
            seen += seat.sweep(now, &mut skimmer);
        }
        packets.fetch_add(seen, Ordering::Relaxed);
        let over = left || *stop.borrow() || stop.has_changed().is_err();
        for seat in seats.extract_if(.., |seat| over || seat.counted.closed.is_some()) {
            // The viewer was dropped with its run: nobody wants to know.
            let _ = seat.done.send(seat.counted);
        }
        if left {
            return;
        }
    }
}

impl Seat {
    /// Takes what has come and does what is due; how many media packets there were.
    fn sweep(&mut self, now: Instant, skimmer: &mut Skimmer) -> u64 {
        let mut media = 0;
        for _ in 0..ROUNDS {
            let taken = skimmer.skim(&self.socket, |head| {
                media += u64::from(head_of_media(head, &self.payload_types, &mut self.counted));
            });
            // An error is the report of an earlier check that did not get through: as good as silence.
            let taken = taken.unwrap_or(0);
            if taken > 0 {
                self.heard = now;
            }
            if !Skimmer::may_go_on(taken) {
                break;
            }
        }
        if now >= self.heard + SILENCE {
            self.counted.closed.get_or_insert(CloseReason::IceTimeout);
        }
        if now >= self.next_check {
            self.next_check = now + CHECK;
            self.check();
        }
        media
    }

    fn check(&self) {
        let mut transaction = [0; 12];
        random(&mut transaction);
        let Credentials { username, pwd } = &self.credentials;
        let request = stun::binding_request(username, pwd, true, 1, PRIORITY, transaction);
        // One that is lost is followed by others.
        let _ = self.socket.send_to(&request, self.remote);
    }
}

/// Counts a datagram by its first bytes; whether it was media.
fn head_of_media(head: &[u8], payload_types: &[(Option<u8>, Kind); 2], counted: &mut Counted) -> bool {
    match (sort(head), head) {
        (Sort::Rtp, &[_, pt, high, low, _, _, _, _, s0, s1, s2, s3]) => {
            let kind = payload_types.iter().find(|(known, _)| *known == Some(pt & 0x7f)).map(|(_, kind)| *kind);
            let track = match kind {
                Some(Kind::Audio) => &mut counted.audio,
                Some(Kind::Video) => &mut counted.video,
                // RTX, for example.
                None => return false,
            };
            track.head(u32::from_be_bytes([s0, s1, s2, s3]), u16::from_be_bytes([high, low]))
        }
        (_, &[ALERT, ..]) => {
            counted.closed.get_or_insert(CloseReason::ByPeer);
            false
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPES: [(Option<u8>, Kind); 2] = [(Some(111), Kind::Audio), (Some(96), Kind::Video)];

    #[test]
    fn heads_are_counted_by_track_and_an_alert_is_the_end() {
        let mut counted = Counted::default();
        let rtp = |pt: u8, seq: u16| {
            let [high, low] = seq.to_be_bytes();
            [0x80, pt, high, low, 0, 0, 0, 0, 0, 0, 0, 0]
        };
        // The marker bit is no part of the payload type; RTX and RTCP do not count.
        for (head, media) in [
            (rtp(96, 65_534), true),
            (rtp(0x80 | 96, 65_535), true),
            (rtp(96, 1), true),
            (rtp(111, 7), true),
            (rtp(97, 3), false),
            (rtp(200, 3), false),
            // Sent to whose port this was before.
            ([0x80, 96, 0, 200, 0, 0, 0, 0, 0, 0, 0, 9], false),
            ([22; 12], false),
        ] {
            assert_eq!(head_of_media(&head, &TYPES, &mut counted), media, "{head:?}");
        }
        assert!(!head_of_media(&[], &TYPES, &mut counted));
        assert_eq!((counted.video.sequence.received, counted.video.sequence.lost()), (3, 1));
        assert_eq!((counted.audio.sequence.received, counted.closed), (1, None));
        assert!(!head_of_media(&[ALERT; 12], &TYPES, &mut counted));
        assert_eq!(counted.closed, Some(CloseReason::ByPeer));
    }
}
