//! What a client sends over its connection: from ANNOUNCE, which takes the stream's place, to the end of its session.
//!
//! What is read from the socket goes, as it came, into a bounded queue that the publisher's worker empties. Without room in
//! it nothing more is read from the connection, so that a client that sends more than can be taken is slowed down by TCP:
//! nothing is lost on the way.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use rtsp_types::StatusCode;
use tokio::sync::mpsc;
use whipstitch_media::Kind;
use whipstitch_media::sdp::Section;
use whipstitch_plane::{Ending, random};
use whipstitch_stream::directory::{PublisherSlot, Refused};
use whipstitch_stream::{CloseReason, PerKind, SessionId};

use crate::inbound::{self, Batch, Inbound};
use crate::machine::{Announcement, Refusal};
use crate::publisher::{Publisher, PublisherConfig};
use crate::queue::{self, Outgoing, frame};
use crate::server::Shared;

/// The client's stream. When it is dropped, its publisher ends.
pub(super) struct Recording {
    shared: Arc<Shared>,
    /// Of its session.
    pub(super) id: String,
    session: SessionId,
    announcement: Announcement,
    /// Goes to the publisher.
    slot: Option<PublisherSlot>,
    running: Option<Running>,
}

/// It sends.
struct Running {
    worker: usize,
    ending: Ending,
    /// Of RTP and RTCP, as the client numbers them.
    channels: PerKind<Option<(u8, u8)>>,
    inbound: Inbound,
    /// What was read and is not in the queue yet.
    frames: Vec<u8>,
}

impl Recording {
    /// Takes the publisher's place of the stream.
    pub(super) fn announce(shared: &Arc<Shared>, announcement: Announcement) -> Result<Recording, Refusal> {
        if shared.is_draining() {
            return Err(StatusCode::ServiceUnavailable.into());
        }
        let session = SessionId(random::u64());
        let Announcement { stream, process, .. } = &announcement;
        let slot = shared.directory.reserve_publisher_as(stream, session, Instant::now(), process.as_deref());
        let slot = slot.map_err(refusal)?;
        let (shared, id) = (Arc::clone(shared), random::text());
        Ok(Recording { shared, id, session, announcement, slot: Some(slot), running: None })
    }

    /// From now on its frames are taken. `way`: the connection's queue, and where the publisher says that it is gone.
    pub(super) fn begin(
        &mut self,
        tracks: &[(Kind, (u8, u8))],
        peer: SocketAddr,
        way: (Arc<Outgoing>, mpsc::Sender<String>),
    ) -> Result<(), Refusal> {
        if self.running.is_some() {
            // It goes on after a pause.
            return Ok(());
        }
        let Announcement { stream, sections, user_agent, .. } = &self.announcement;
        let mut channels = PerKind::default();
        for (kind, pair) in tracks {
            channels[*kind] = Some(*pair);
        }
        let is_set_up = |section: &&Section| channels[section.codec.kind()].is_some();
        let sections: Vec<Section> = sections.iter().filter(is_set_up).cloned().collect();
        if sections.is_empty() {
            return Err(StatusCode::MethodNotValidInThisState.into());
        }
        let slot = self.slot.take().ok_or(StatusCode::SessionNotFound)?;
        let shared = &self.shared;
        let (worker, ending) = (shared.plane.home(stream), Ending::default());
        let (inbound, batches) = inbound::queue();
        let (out, ends) = way;
        let config = PublisherConfig {
            session: self.session,
            slot,
            sections,
            channels: PerKind::from_fn(|kind| channels[kind].map(|(_, rtcp)| rtcp)),
            remote: peer,
            user_agent: user_agent.clone(),
            batches,
            out,
            gone: (ends, self.id.clone()),
        };
        let publisher = Box::new(Publisher::new(Instant::now(), config));
        let added = shared.plane.add(worker, publisher, None, ending.clone());
        added.map_err(|_| StatusCode::ServiceUnavailable)?;
        // It goes live with its first packet, which is not read before this.
        match shared.directory.take_over(stream, self.session) {
            Ok(replaced) => {
                if let Some(replaced) = replaced {
                    shared.plane.end_session(replaced, CloseReason::Replaced);
                }
            }
            Err(_) => {
                shared.plane.end(worker, self.session, &ending, CloseReason::Replaced);
                return Err(Refusal::occupied(RETRY_S));
            }
        }
        self.running = Some(Running { worker, ending, channels, inbound, frames: Vec::new() });
        Ok(())
    }

    /// Takes a frame. Those of channels that are nobody's, and those before RECORD, mean nothing.
    pub(super) fn take(&mut self, channel: u8, packet: &[u8]) {
        let Some(Running { channels, frames, .. }) = &mut self.running else { return };
        let ours = channels.iter().find_map(|(kind, pair)| {
            let (rtp, rtcp) = (*pair)?;
            let (our_rtp, our_rtcp) = queue::channels(kind);
            (channel == rtp).then_some(our_rtp).or((channel == rtcp).then_some(our_rtcp))
        });
        if let Some(ours) = ours {
            frame(frames, ours, |bytes| bytes.extend_from_slice(packet));
        }
    }

    /// Puts what was taken into the queue, as far as there is room.
    pub(super) fn hand_on(&mut self) {
        let Some(Running { worker, inbound, frames, .. }) = &mut self.running else { return };
        if frames.is_empty() {
            return;
        }
        match inbound.put(Batch { at: Instant::now(), frames: std::mem::take(frames) }) {
            Ok(()) => self.shared.plane.wake(*worker, self.session),
            Err(batch) => *frames = batch.frames,
        }
    }

    /// Whether something waits for room: then nothing more is to be read.
    pub(super) fn is_backed_up(&self) -> bool {
        self.running.as_ref().is_some_and(|running| !running.frames.is_empty())
    }

    /// Waits for room in the queue.
    pub(super) async fn room(&self) {
        match &self.running {
            Some(running) => running.inbound.room().await,
            None => std::future::pending().await,
        }
    }

    pub(super) fn end(mut self, reason: CloseReason) {
        self.end_now(reason);
    }

    fn end_now(&mut self, reason: CloseReason) {
        if let Some(Running { worker, ending, .. }) = self.running.take() {
            self.shared.plane.end(worker, self.session, &ending, reason);
            // Free for others at once, before its worker has taken notice.
            self.shared.directory.vacate(&self.announcement.stream, self.session);
        }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.end_now(CloseReason::ByPeer);
    }
}

/// When it may be tried again; the directory's word for it is as long.
const RETRY_S: u64 = 2;

fn refusal(refused: Refused) -> Refusal {
    match refused {
        Refused::Occupied { retry } => Refusal::occupied(retry.as_secs().max(1)),
        Refused::Held => Refusal::held(),
        Refused::Full(_) => StatusCode::ServiceUnavailable.into(),
    }
}
