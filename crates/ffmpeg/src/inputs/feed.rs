//! The task that owns the sockets of an input: what comes is judged, and what is taken goes to the session's worker.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use whipstitch_media::Kind;
use whipstitch_plane::{Ending, Plane, random};
use whipstitch_rtp::{Intake, Taken, publisher, reorder};
use whipstitch_stream::directory::{Lost, PublisherSlot};
use whipstitch_stream::{CloseReason, PerKind, SessionId};

use super::open::Entered;
use super::senders::{Judged, Senders, Waits};
use super::{Client, Inputs, Refused, Wanted};
use crate::inlet::{Datagram, Inlet, InletConfig, WAITING};
use crate::owner::{Owners, Peer};
use crate::sockets::{LARGEST, Port, Receiving, Sockets};

/// How long a configured input waits for its next session: whoever ended the last one, or publishes instead, is not to be
/// fought with.
const PAUSE: Duration = Duration::from_secs(2);

/// What sessions of an input are made of.
pub(super) struct Source {
    pub(super) inputs: Inputs,
    pub(super) wanted: Wanted,
    pub(super) client: Client,
    pub(super) sockets: Sockets,
}

/// The way to a session.
pub(super) struct Fed {
    session: SessionId,
    worker: usize,
    plane: Plane,
    /// Until it is dropped, which ends the session.
    queue: Option<mpsc::Sender<Datagram>>,
    /// What was not taken, or found no room.
    refused: Arc<AtomicU64>,
}

impl Source {
    fn intake(&self) -> Intake {
        Intake::new(PerKind::from_fn(|kind| self.wanted.section(kind).map(|section| section.pt)))
    }

    /// Installs a session in this slot.
    pub(super) fn begin(
        &self,
        slot: PublisherSlot,
        enter: impl FnOnce(SessionId, usize, &Ending) -> Option<Box<dyn Send>>,
    ) -> Result<Fed, Refused> {
        let Inputs { plane, directory, .. } = &self.inputs;
        let (session, stream) = (slot.session(), &self.wanted.stream);
        let (worker, ending) = (plane.home(stream), Ending::default());
        let (queue, datagrams) = mpsc::channel(WAITING);
        let refused = Arc::new(AtomicU64::new(0));
        let mut replies = self.sockets.replies();
        replies.name(self.client.rtcp);
        let inlet = Inlet::new(
            Instant::now(),
            InletConfig {
                slot,
                rtp: publisher::Config {
                    sections: self.wanted.sections.clone(),
                    order: reorder::Limits::default(),
                    ssrc: random::ssrc(),
                    cname: random::text(),
                },
                datagrams,
                replies,
                refused: Arc::clone(&refused),
                ends_with_bye: self.client.ends_with_bye,
                user_agent: self.client.user_agent.clone(),
                guard: enter(session, worker, &ending),
            },
        );
        plane.add(worker, Box::new(inlet), None, ending).map_err(|_| Refused::Full)?;
        // Until here whoever is replaced has lost nothing.
        match directory.take_over(stream, session) {
            Ok(replaced) => {
                replaced.map(|replaced| plane.end_session(replaced, CloseReason::Replaced));
            }
            Err(Lost) if plane.end_session(session, CloseReason::Replaced).is_some() => {
                return Err(Refused::Occupied { retry: PAUSE });
            }
            // Not lost to anybody: somebody has ended the session already.
            Err(Lost) => {}
        }
        tracing::info!(%session, %stream, video = self.sockets.port(Kind::Video), audio = self.sockets.port(Kind::Audio), "plain RTP is awaited");
        Ok(Fed { session, worker, plane: plane.clone(), queue: Some(queue), refused })
    }

    /// The same if nobody publishes the stream; for the child of a process whoever does.
    fn begin_if_free(&self) -> Result<Fed, Refused> {
        let (Inputs { directory, .. }, stream, process) = (&self.inputs, &self.wanted.stream, &self.client.process);
        if process.is_none() && directory.publisher(stream).is_some() {
            return Err(Refused::Occupied { retry: PAUSE });
        }
        let session = SessionId(random::u64());
        let slot = directory.reserve_publisher_as(stream, session, Instant::now(), process.as_deref());
        self.begin(slot.map_err(super::refuse)?, |_, _, _| None)
    }
}

impl Drop for Fed {
    fn drop(&mut self) {
        // The session ends when it finds that nobody feeds it any more.
        self.queue = None;
        self.plane.wake(self.worker, self.session);
    }
}

impl Fed {
    fn put(&self, datagram: Datagram) {
        if self.queue.as_ref().is_none_or(|queue| queue.try_send(datagram).is_err()) {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn wake(&self) {
        self.plane.wake(self.worker, self.session);
    }
}

/// Comes true when the session has ended; never without one.
async fn ended(fed: Option<&Fed>) {
    match fed {
        Some(Fed { queue: Some(queue), .. }) => queue.closed().await,
        _ => std::future::pending().await,
    }
}

/// Feeds the session until it ends; without one from the beginning, feeds one after the other, for ever.
pub(super) async fn run(mut receiving: Receiving, source: Source, mut fed: Option<Fed>, entered: Option<Entered>) {
    let again = fed.is_none();
    let (mut door, mut asking, mut next, mut told) = (Door::of(&source), None, Instant::now(), false);
    loop {
        tokio::select! {
            () = ended(fed.as_ref()) => {
                if !again {
                    return;
                }
                (fed, next) = (None, Instant::now() + PAUSE);
                entered.iter().for_each(|entered| entered.set_session(None));
            }
            () = receiving.some(|kind, port, from, bytes| door.take(Instant::now(), kind, port, from, bytes)) => {}
            answers = answered(&mut asking) => {
                asking = None;
                door.answered(Instant::now(), &answers);
            }
        }
        if asking.is_none() {
            asking = door.asks(&source.inputs.owners);
        }
        let sends = door.came.iter().any(|datagram: &Datagram| datagram.taken == Taken::Rtp);
        if fed.is_none() && sends && next <= Instant::now() {
            next = Instant::now() + PAUSE;
            match source.begin_if_free() {
                Ok(begun) => {
                    entered.iter().for_each(|entered| entered.set_session(Some(begun.session)));
                    (fed, told) = (Some(begun), false);
                }
                Err(error) if !std::mem::replace(&mut told, true) => {
                    tracing::info!(stream = %source.wanted.stream, %error, "configured RTP comes in and has to wait");
                }
                Err(_) => {}
            }
        }
        let refused = std::mem::take(&mut door.refused);
        let Some(fed) = &fed else {
            door.came.clear();
            continue;
        };
        fed.refused.fetch_add(refused, Ordering::Relaxed);
        if !door.came.is_empty() {
            door.came.drain(..).for_each(|datagram| fed.put(datagram));
            fed.wake();
        }
    }
}

/// What the system says of addresses.
type Asked = Pin<Box<dyn Future<Output = Vec<(SocketAddr, bool)>> + Send>>;

async fn answered(asking: &mut Option<Asked>) -> Vec<(SocketAddr, bool)> {
    match asking {
        Some(asked) => asked.await,
        None => std::future::pending().await,
    }
}

/// Decides which datagrams are let in.
struct Door {
    intake: Intake,
    /// Of the output of a process.
    senders: Option<Senders>,
    came: Vec<Datagram>,
    refused: u64,
}

impl Door {
    fn of(source: &Source) -> Door {
        let senders = source.client.process.is_some().then(Senders::default);
        Door { intake: source.intake(), senders, came: Vec::new(), refused: 0 }
    }

    fn take(&mut self, at: Instant, kind: Kind, port: Port, from: SocketAddr, bytes: &[u8]) {
        let judged = self.senders.as_mut().map_or(Judged::Ours, |senders| senders.judge(at, from));
        if bytes.len() > LARGEST || judged == Judged::Refused {
            self.refused += 1;
            return;
        }
        let waits = Waits { kind, port, from, bytes: bytes.to_vec(), at };
        match &mut self.senders {
            Some(senders) if judged == Judged::Unknown => self.refused += u64::from(!senders.wait(waits)),
            _ => self.let_in(waits),
        }
    }

    /// Takes what the session has a use for.
    fn let_in(&mut self, Waits { kind, port, from, bytes, at }: Waits) {
        let taken = match port {
            Port::Rtp => self.intake.rtp(at, kind, from, &bytes),
            Port::Rtcp => self.intake.rtcp(at, from, &bytes),
        };
        match taken {
            Some(taken) => self.came.push(Datagram { kind, taken, port, from, bytes, at }),
            None => self.refused += 1,
        }
    }

    fn answered(&mut self, now: Instant, answers: &[(SocketAddr, bool)]) {
        let Some(senders) = &mut self.senders else { return };
        let (taken, refused) = senders.answered(now, answers);
        self.refused += refused;
        taken.into_iter().for_each(|waits| self.let_in(waits));
    }

    /// What the system says, if there is a question.
    fn asks(&mut self, owners: &Owners) -> Option<Asked> {
        let addresses = self.senders.as_mut()?.question()?;
        let owners = owners.clone();
        Some(Box::pin(async move {
            let ours = owners.are_ours(addresses.iter().map(|from| Peer::Sends(*from)).collect()).await;
            // Should there be no answer, nobody is let in.
            addresses.into_iter().zip(ours.into_iter().chain(std::iter::repeat(false))).collect()
        }))
    }
}

#[cfg(test)]
mod tests;
