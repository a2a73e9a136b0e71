//! The publisher of a load run, on a thread of its own so that viewers do not make it late.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime;
use tokio::sync::{oneshot, watch};

use super::LoadOptions;
use super::report::Quantiles;
use super::synthetic::Synthetic;
use crate::error::Error;
use crate::pace;
use crate::whip;

/// From the last packet to the count of what was sent: long enough for the last repair (protocol.md 8.2: a second).
const SETTLE: Duration = Duration::from_secs(1);

/// How far a run is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// Packets are sent.
    Sending,
    /// Nothing new is sent; repairs are.
    Quiet,
    /// The session is deleted.
    Over,
}

/// A synthetic stream that goes on until it is told to be quiet, and whose session lasts until closed or dropped.
pub struct Publisher {
    phase: watch::Sender<Phase>,
    published: oneshot::Receiver<Result<Published, Error>>,
    over: oneshot::Receiver<()>,
}

/// What a publisher sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Published {
    /// Packets of video.
    pub video_packets: u64,
    /// Packets of audio.
    pub audio_packets: u64,
    /// How long after its due time each packet was handed over.
    pub lateness: Quantiles,
}

impl Publisher {
    /// Connects and begins to send. Stamps count from `epoch`; `sent` grows with each packet.
    ///
    /// # Errors
    /// No connection, or no thread.
    pub async fn start(
        url: &str,
        options: &LoadOptions,
        epoch: Instant,
        sent: Arc<AtomicU64>,
    ) -> Result<Publisher, Error> {
        let mut publish = whip::Options::new(url);
        publish.tcp = options.tcp;
        publish.token.clone_from(&options.token);
        let shape = options.shape();
        let (phase, phases) = watch::channel(Phase::Sending);
        let (connected, ready) = oneshot::channel();
        let (counted, published) = oneshot::channel();
        let (finished, over) = oneshot::channel();
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        // Not joined: it ends by itself after `close`, or when the publisher is dropped.
        thread::Builder::new().name("load-publisher".to_owned()).spawn(move || {
            runtime.block_on(async {
                match whip::Publisher::connect(&publish).await {
                    Ok(mut publisher) => {
                        let _ = connected.send(Ok(()));
                        let _ = counted
                            .send(send(&mut publisher, Synthetic::new(shape, epoch, sent), phases.clone()).await);
                        end(publisher, phases).await;
                    }
                    Err(error) => {
                        let _ = connected.send(Err(error));
                    }
                }
            });
            let _ = finished.send(());
        })?;
        ready.await.unwrap_or_else(|_| Err(thread_gone()))?;
        Ok(Publisher { phase, published, over })
    }

    /// From now on nothing new is sent.
    pub fn stop(&self) {
        self.phase.send_replace(Phase::Quiet);
    }

    /// Sends nothing new any more, answers what is asked for again for a second, and says what was sent.
    ///
    /// # Errors
    /// The session was lost before.
    pub async fn quiet(&mut self) -> Result<Published, Error> {
        self.stop();
        (&mut self.published).await.unwrap_or_else(|_| Err(thread_gone()))
    }

    /// Deletes the session.
    pub async fn close(self) {
        self.phase.send_replace(Phase::Over);
        // An error means that the thread ended in a panic, which it has reported itself.
        let _ = self.over.await;
    }
}

fn thread_gone() -> Error {
    Error::Socket(std::io::Error::other("the publisher's thread is gone"))
}

/// Until this phase, or until the run is dropped.
async fn reached(phases: &mut watch::Receiver<Phase>, wanted: Phase) {
    let _ = phases.wait_for(|phase| *phase >= wanted).await;
}

async fn send(
    publisher: &mut whip::Publisher,
    mut script: Synthetic,
    mut phases: watch::Receiver<Phase>,
) -> Result<Published, Error> {
    tokio::select! {
        () = reached(&mut phases, Phase::Quiet) => {}
        end = pace::perform(publisher, &mut script, Instant::now()) => return Err(Error::Closed(end?)),
    }
    tokio::select! {
        () = tokio::time::sleep(SETTLE) => {}
        end = listen(publisher) => return Err(end),
    }
    Ok(Published {
        video_packets: script.video_packets,
        audio_packets: script.audio_packets,
        lateness: Quantiles::of(&script.lateness),
    })
}

/// Answers what the gateway asks until the session ends.
async fn listen(publisher: &mut whip::Publisher) -> Error {
    loop {
        match publisher.next().await {
            Ok(whip::Event::KeyframeRequest) => {}
            Ok(whip::Event::Closed(reason)) => return Error::Closed(reason),
            Err(error) => return error,
        }
    }
}

async fn end(mut publisher: whip::Publisher, mut phases: watch::Receiver<Phase>) {
    tokio::select! {
        () = reached(&mut phases, Phase::Over) => {}
        error = listen(&mut publisher) => tracing::debug!(%error, "load publisher's session ended first"),
    }
    if let Err(error) = publisher.close().await {
        tracing::debug!(%error, "load publisher not deleted");
    }
}
