//! Comings and goings for as long as one likes: three streams whose publishers leave in every way there is and come back,
//! and viewers who come, stay for a while and leave in every way there is. What must hold all the time is counted where
//! it does not.
//!
//! One stream is without loss, so that its viewers must get everything; on one the publisher loses what it sends, on one
//! the viewers lose what they receive. All chance is seeded; what remains is the machine's timing.

mod report;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep_until;
use whipstitch_media::Kind;

pub use report::ChurnReport;

use super::stamp::Stamp;
use super::synthetic::{Shape, Synthetic};
use super::tally::Tally;
use crate::error::Error;
use crate::loss::Dice;
use crate::pace;
use crate::{whep, whip};

/// What is lost on a stream with loss.
const PER_MILLE: u64 = 30;
/// A publisher stays at least and at most so long.
const ON_AIR: [Duration; 2] = [Duration::from_secs(3), Duration::from_secs(9)];
/// And is away so long. Viewers stay meanwhile: a gateway waits 15 s for a publisher.
const AWAY: [Duration; 2] = [Duration::ZERO, Duration::from_secs(4)];
/// Most viewers stay so long,
const SHORT_STAY: [Duration; 2] = [Duration::from_millis(300), Duration::from_secs(6)];
/// and one in eight through several publishers.
const LONG_STAY: [Duration; 2] = [Duration::from_secs(20), Duration::from_secs(40)];
/// A viewer who sees nothing new for so long while somebody publishes has been forgotten. Repairs and requests for
/// keyframes take far less, also on a busy machine.
const STARVED: Duration = Duration::from_secs(6);
/// Between two looks whether that is so.
const LOOK: Duration = Duration::from_secs(1);

/// What to do.
#[derive(Clone, Debug)]
pub struct ChurnOptions {
    /// Where publishers publish, followed by `-1`, `-2`, `-3`. The gateway lets the newer publisher have the stream.
    pub whip_url: String,
    /// Where viewers watch, likewise.
    pub whep_url: String,
    /// How long.
    pub duration: Duration,
    /// Viewers of each stream at once.
    pub viewers: usize,
    /// Of all chance.
    pub seed: u64,
}

/// Comes and goes until the time is over; everybody has left then, or vanished.
pub async fn churn(options: ChurnOptions) -> ChurnReport {
    let begin = Instant::now();
    let mut actors = JoinSet::new();
    for (number, weather) in (1..).zip([Weather::Clear, Weather::PublisherLoses, Weather::ViewersLose]) {
        let stage = Arc::new(Stage {
            whip: whip::Options::new(format!("{}-{number}", options.whip_url)),
            whep: whep::Options::new(format!("{}-{number}", options.whep_url)),
            weather,
            on_air: watch::Sender::new(None),
            begin,
            end: begin + options.duration,
        });
        let seed = options.seed.wrapping_add(number << 32);
        actors.spawn(publish(stage.clone(), Dice::new(seed)));
        for viewer in 1..=options.viewers as u64 {
            actors.spawn(view(stage.clone(), Dice::new(seed.wrapping_add(viewer))));
        }
    }
    let mut report = ChurnReport::default();
    while let Some(actor) = actors.join_next().await {
        match actor {
            Ok(actor) => report.add(actor),
            Err(error) => report.fail(&error),
        }
    }
    report
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Weather {
    Clear,
    PublisherLoses,
    ViewersLose,
}

/// A stream, and what its actors know of each other.
struct Stage {
    whip: whip::Options,
    whep: whep::Options,
    weather: Weather,
    /// Since when somebody publishes without a pause.
    on_air: watch::Sender<Option<Instant>>,
    begin: Instant,
    end: Instant,
}

impl Stage {
    fn is_over(&self) -> bool {
        Instant::now() >= self.end
    }

    async fn pause(&self, span: Duration) {
        sleep_until((Instant::now() + span).min(self.end).into()).await;
    }

    async fn publisher(&self, dice: &mut Dice) -> Result<whip::Publisher, Error> {
        let mut publisher = whip::Publisher::connect(&self.whip).await?;
        if self.weather == Weather::PublisherLoses {
            publisher.lose(PER_MILLE, dice.roll());
        }
        Ok(publisher)
    }

    async fn player(&self, dice: &mut Dice) -> Result<whep::Player, Error> {
        let mut player = whep::Player::connect(&self.whep).await?;
        if self.weather == Weather::ViewersLose {
            player.lose(PER_MILLE, dice.roll());
        }
        Ok(player)
    }

    /// Another size and pace each time.
    fn script(&self, dice: &mut Dice) -> Synthetic {
        let (bitrate, paced) = (200_000 + 100_000 * dice.below(4) as u32, dice.below(2) == 0);
        let shape = Shape { bitrate, pictures_per_second: 30, gop: 60, paced, obeys: true };
        Synthetic::new(shape, self.begin, Arc::default())
    }
}

/// One publisher after the other.
async fn publish(stage: Arc<Stage>, mut dice: Dice) -> ChurnReport {
    let mut report = ChurnReport::default();
    let mut next = None;
    while !stage.is_over() {
        let connected = match next.take() {
            Some(connected) => connected,
            None => stage.publisher(&mut dice).await,
        };
        let mut publisher = match connected {
            Ok(publisher) => publisher,
            Err(error) => {
                report.fail(&error);
                stage.pause(AWAY[1]).await;
                continue;
            }
        };
        report.publishers += 1;
        let began = Instant::now();
        stage.on_air.send_replace(Some(began));
        let mut script = stage.script(&mut dice);
        let performed = tokio::select! {
            end = pace::perform(&mut publisher, &mut script, began) => Some(end),
            () = stage.pause(dice.between(ON_AIR[0], ON_AIR[1])) => None,
        };
        let over = stage.is_over();
        match (performed, dice.below(3)) {
            (Some(Ok(reason)), _) => report.fail(&format!("publisher: {reason}")),
            (Some(Err(error)), _) => report.fail(&error),
            (None, 0) if !over => {
                report.replaced += 1;
                let connecting = stage.publisher(&mut dice);
                tokio::pin!(connecting);
                // The old one sends until the gateway ends it.
                next = Some(tokio::select! {
                    next = &mut connecting => next,
                    _ = pace::perform(&mut publisher, &mut script, began) => connecting.await,
                });
                continue;
            }
            (None, 1) if !over => {
                report.killed += 1;
                stage.on_air.send_replace(None);
                drop(publisher);
            }
            (None, _) => {
                report.left += 1;
                stage.on_air.send_replace(None);
                if let Err(error) = publisher.close().await {
                    report.fail(&error);
                }
            }
        }
        stage.on_air.send_replace(None);
        stage.pause(dice.between(AWAY[0], AWAY[1])).await;
    }
    report
}

/// One viewer after the other.
async fn view(stage: Arc<Stage>, mut dice: Dice) -> ChurnReport {
    let mut report = ChurnReport::default();
    loop {
        stage.pause(dice.between(Duration::ZERO, Duration::from_millis(500))).await;
        if stage.is_over() {
            return report;
        }
        let mut player = match stage.player(&mut dice).await {
            Ok(player) => player,
            // Nobody publishes (protocol.md 3.2).
            Err(Error::Refused { status: 409, .. }) => {
                report.offline += 1;
                continue;
            }
            Err(error) => {
                report.fail(&error);
                continue;
            }
        };
        report.joined += 1;
        let span = if dice.below(8) == 0 { LONG_STAY } else { SHORT_STAY };
        let leaves = (Instant::now() + dice.between(span[0], span[1])).min(stage.end);
        let mut stay = Stay::new();
        let stayed = stay.until(leaves, &stage, &mut player).await;
        stay.tell(stage.weather, &mut report);
        if let Err(error) = stayed {
            report.fail(&error);
            continue;
        }
        let left = match dice.below(20) {
            0 => {
                report.vanished += 1;
                drop(player);
                Ok(())
            }
            1..=4 => player.hang_up().await,
            _ => player.close().await,
        };
        if let Err(error) = left {
            report.fail(&error);
        }
    }
}

/// What one viewer sees.
struct Stay {
    tracks: [Tally; 2],
    corrupt: u64,
    starved: u64,
    last_picture: Instant,
}

impl Stay {
    fn new() -> Stay {
        Stay { tracks: Default::default(), corrupt: 0, starved: 0, last_picture: Instant::now() }
    }

    async fn until(&mut self, leaves: Instant, stage: &Stage, player: &mut whep::Player) -> Result<(), Error> {
        let leave = sleep_until(leaves.into());
        tokio::pin!(leave);
        let mut looks = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                event = player.next() => match event? {
                    whep::Event::Packet(packet) => self.packet(&packet, stage.weather),
                    whep::Event::Closed(reason) => return Err(Error::Closed(reason)),
                },
                () = &mut leave => return Ok(()),
                _ = looks.tick() => self.look(Instant::now(), *stage.on_air.borrow()),
            }
        }
    }

    fn packet(&mut self, packet: &whep::Packet, weather: Weather) {
        let video = packet.kind == Kind::Video;
        self.tracks[usize::from(video)].see(packet.seq);
        // Where the publisher's parameter sets are lost, the gateway puts in what it knows.
        let put_in = weather == Weather::PublisherLoses && video && is_parameter_sets(&packet.payload);
        self.corrupt += u64::from(!put_in && Stamp::open(&packet.payload).is_none());
        if video {
            self.last_picture = packet.arrived;
        }
    }

    fn look(&mut self, now: Instant, on_air: Option<Instant>) {
        let Some(on_air) = on_air else { return };
        if now >= self.last_picture.max(on_air) + STARVED {
            self.starved += 1;
            self.last_picture = now;
        }
    }

    fn tell(&self, weather: Weather, report: &mut ChurnReport) {
        report.corrupt += self.corrupt;
        report.starved += self.starved;
        for track in &self.tracks {
            report.packets += track.received;
            if weather == Weather::Clear {
                report.lost += track.lost();
                report.duplicates += track.duplicates;
            } else {
                report.unrepaired += track.lost();
            }
        }
    }
}

/// Whether an H.264 payload holds whole units of which the first is a parameter set (RFC 6184 5.7.1; H.264 7.4.1).
fn is_parameter_sets(payload: &[u8]) -> bool {
    const SPS: u8 = 7;
    const STAP_A: u8 = 24;
    match *payload {
        [header, _, _, first, ..] if header & 0x1f == STAP_A => first & 0x1f == SPS,
        [header, ..] => header & 0x1f == SPS,
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameter_sets_of_the_gateway_are_no_damage_where_the_publisher_loses_its_own() {
        let stap = [&[0x78, 0, 4, 0x67][..], &[0; 40]].concat();
        let slice = [&[0x7c, 0x85][..], &[0; 40]].concat();
        for (payload, weather, corrupt) in [
            (&stap, Weather::PublisherLoses, 0),
            (&stap, Weather::ViewersLose, 1),
            (&slice, Weather::PublisherLoses, 1),
        ] {
            let mut stay = Stay::new();
            let packet = whep::Packet {
                kind: Kind::Video,
                codec: whipstitch_media::Codec::H264,
                seq: 1,
                time: 1,
                marker: false,
                payload: payload.as_slice().into(),
                arrived: Instant::now(),
                start: false,
            };
            stay.packet(&packet, weather);
            assert_eq!(stay.corrupt, corrupt, "{:02x}", payload[0]);
        }
    }

    #[test]
    fn a_viewer_starves_only_while_somebody_publishes() {
        let mut stay = Stay::new();
        let start = stay.last_picture;
        let at = |seconds| start + Duration::from_secs(seconds);
        for (now, on_air, starved) in [
            (at(20), None, 0),
            (at(21), Some(at(16)), 0),
            (at(22), Some(at(16)), 1),
            (at(27), Some(at(16)), 1),
            (at(28), Some(at(16)), 2),
        ] {
            stay.look(now, on_air);
            assert_eq!(stay.starved, starved, "{:?}", now - start);
        }
    }
}
