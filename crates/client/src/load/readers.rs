//! Readers that come, stay for a while and leave in every way there is: by RTSP over TCP and UDP, and on leased ports.
//!
//! What must hold all the time is counted where it does not. All chance is seeded; what remains is the machine's timing.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::sleep_until;
use whipstitch_media::Kind;

use super::stamp::Stamp;
use super::tally::Tally;
use crate::error::Error;
use crate::loss::Dice;
use crate::reader::{Reader, Way};

/// A reader stays at least and at most so long.
const STAY: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(8)];
/// And is away so long.
const AWAY: [Duration; 2] = [Duration::ZERO, Duration::from_secs(2)];
/// Who gets nothing for so long has been forgotten. (A second from one keyframe to the next is far less.)
const STARVED: Duration = Duration::from_secs(6);

/// What to do.
#[derive(Clone, Debug)]
pub struct ReadersOptions {
    /// The stream's URL of RTSP.
    pub rtsp_url: String,
    /// The one that leases ports.
    pub sdp_url: String,
    /// Readers at once, at most.
    pub readers: usize,
    /// How long.
    pub duration: Duration,
    /// How long readers over UDP may vanish without TEARDOWN: a server notices that by silence only, which takes long.
    pub vanishing: Duration,
    /// Of all chance.
    pub seed: u64,
}

/// What came of it; the second half is faults, each 0 with a gateway that has none.
#[derive(Clone, Debug, Default)]
pub struct ReadersReport {
    /// Readers that got a first picture, by way: in the connection, over UDP, on leased ports.
    pub attached: [u64; 3],
    /// Those that ended as they should.
    pub left: u64,
    /// Those that ended without a word.
    pub vanished: u64,
    /// Those that took nothing for a while, and then vanished.
    pub stalled: u64,
    /// Packets received.
    pub packets: u64,
    /// From the first request to the first picture: the longest of all.
    pub slowest: Duration,
    /// Packets missing over UDP, where the reader itself may have been too slow.
    pub missing: u64,
    /// Packets missing in a connection.
    pub lost: u64,
    /// Packets that came twice, or behind a later one.
    pub misplaced: u64,
    /// Payloads that are not what a publisher wrote.
    pub corrupt: u64,
    /// Times that nothing came for 6 s.
    pub starved: u64,
    /// Sessions that could not be made, or were ended by the gateway.
    pub failed: u64,
    /// Why the first of them failed.
    pub first_error: Option<String>,
}

/// Comes and goes until the time is over; everybody has left then, or vanished. The stream is a load run's, and its
/// publisher stays.
pub async fn readers(options: ReadersOptions) -> ReadersReport {
    let options = Arc::new(options);
    let begin = Instant::now();
    let mut actors = JoinSet::new();
    for number in 0..options.readers as u64 {
        let dice = Dice::new(options.seed.wrapping_add(number << 32));
        actors.spawn(come_and_go(Arc::clone(&options), begin, dice));
    }
    let mut report = ReadersReport::default();
    while let Some(actor) = actors.join_next().await {
        match actor {
            Ok(actor) => report.add(actor),
            Err(error) => report.fail(&error),
        }
    }
    report
}

/// One reader after the other.
async fn come_and_go(options: Arc<ReadersOptions>, begin: Instant, mut dice: Dice) -> ReadersReport {
    let mut report = ReadersReport::default();
    let end = begin + options.duration;
    loop {
        sleep_until((Instant::now() + dice.between(AWAY[0], AWAY[1])).min(end).into()).await;
        if Instant::now() >= end {
            return report;
        }
        let (way, url) = match dice.below(3) {
            0 => (Way::Tcp, &options.rtsp_url),
            1 => (Way::Udp, &options.rtsp_url),
            _ => (Way::Leased, &options.sdp_url),
        };
        let leaves = (Instant::now() + dice.between(STAY[0], STAY[1])).min(end);
        let mut stay = Stay::default();
        let reader = match stay.until(leaves, way, url).await {
            Ok(reader) => reader,
            Err(error) => {
                report.fail(&error);
                continue;
            }
        };
        report.take(way, &reader, &stay);
        let may_vanish = way != Way::Udp || begin.elapsed() < options.vanishing;
        let left = match dice.below(10) {
            0..=2 if may_vanish => {
                report.vanished += 1;
                drop(reader);
                Ok(())
            }
            3 if may_vanish => {
                report.stalled += 1;
                sleep_until((Instant::now() + dice.between(STAY[0], STAY[1])).min(end).into()).await;
                drop(reader);
                Ok(())
            }
            _ => {
                report.left += 1;
                reader.close().await
            }
        };
        if let Err(error) = left {
            report.fail(&error);
        }
    }
}

/// What one reader sees.
#[derive(Default)]
struct Stay {
    tracks: [Tally; 2],
    corrupt: u64,
    starved: u64,
}

impl Stay {
    async fn until(&mut self, leaves: Instant, way: Way, url: &str) -> Result<Reader, Error> {
        let mut reader = Reader::connect(way, url).await?;
        loop {
            let patience = tokio::time::timeout(STARVED, reader.next());
            tokio::select! {
                packet = patience => match packet {
                    Ok(packet) => {
                        let packet = packet?;
                        self.tracks[usize::from(packet.kind == Kind::Video)].see(packet.seq);
                        self.corrupt += u64::from(Stamp::open(&packet.payload).is_none());
                    }
                    Err(_) => self.starved += 1,
                },
                () = sleep_until(leaves.into()) => return Ok(reader),
            }
        }
    }
}

impl ReadersReport {
    fn fail(&mut self, why: &dyn fmt::Display) {
        self.failed += 1;
        self.first_error.get_or_insert_with(|| why.to_string());
    }

    fn take(&mut self, way: Way, reader: &Reader, stay: &Stay) {
        let milestones = reader.milestones();
        if let Some(picture) = milestones.first_picture {
            self.attached[way as usize] += 1;
            self.slowest = self.slowest.max(picture - milestones.posted);
        }
        self.corrupt += stay.corrupt;
        self.starved += stay.starved;
        for track in &stay.tracks {
            self.packets += track.received;
            self.misplaced += track.reordered + track.duplicates;
            *if way == Way::Tcp { &mut self.lost } else { &mut self.missing } += track.lost();
        }
    }

    fn add(&mut self, other: ReadersReport) {
        for (mine, theirs) in self.attached.iter_mut().zip(other.attached) {
            *mine += theirs;
        }
        self.left += other.left;
        self.vanished += other.vanished;
        self.stalled += other.stalled;
        self.packets += other.packets;
        self.slowest = self.slowest.max(other.slowest);
        self.missing += other.missing;
        self.lost += other.lost;
        self.misplaced += other.misplaced;
        self.corrupt += other.corrupt;
        self.starved += other.starved;
        self.failed += other.failed;
        self.first_error = self.first_error.take().or(other.first_error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_add_up_and_the_slowest_counts() {
        let mut one = ReadersReport { attached: [1, 0, 2], lost: 1, ..ReadersReport::default() };
        let mut other = ReadersReport { attached: [0, 3, 1], slowest: Duration::from_secs(2), ..Default::default() };
        other.fail(&"first");
        other.fail(&"second");
        one.add(other);
        assert_eq!((one.attached, one.lost, one.failed, one.slowest), ([1, 3, 3], 1, 2, Duration::from_secs(2)));
        assert_eq!(one.first_error.as_deref(), Some("first"));
    }
}
