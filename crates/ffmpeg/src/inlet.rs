//! A publisher of plain RTP as its worker drives it.
//!
//! waiting ─ first packet ─▶ live ─ 30 s without any, or BYE ─▶ closed. Datagrams come through a bounded queue from the task
//! that owns the sockets, which has judged whose they are; what they are made of is [`whipstitch_rtp::Publisher`]'s to say.
//! Reports and keyframe requests leave from the same sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TryRecvError;
use whipstitch_media::Kind;
use whipstitch_plane::{Action, Context, Counters, Peer, PeerCommand, Role, SessionStats};
use whipstitch_rtp::{Publisher, Taken, publisher};
use whipstitch_stream::directory::PublisherSlot;
use whipstitch_stream::{CloseReason, SessionId, StreamKey, Tracks};

use crate::sockets::{Port, Replies};

/// A publisher from which no packet comes for so long has gone, also one that has not begun.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Datagrams that wait for the worker: 100 ms of the most a publisher may send, and as long as it is well nothing waits. One
/// more is dropped.
pub(crate) const WAITING: usize = 2048;

/// What came, and was taken.
#[derive(Debug)]
pub(crate) struct Datagram {
    pub(crate) kind: Kind,
    pub(crate) taken: Taken,
    pub(crate) port: Port,
    pub(crate) from: SocketAddr,
    pub(crate) bytes: Vec<u8>,
    pub(crate) at: Instant,
}

/// What an inlet is made of.
pub(crate) struct InletConfig {
    pub(crate) slot: PublisherSlot,
    pub(crate) rtp: publisher::Config,
    pub(crate) datagrams: mpsc::Receiver<Datagram>,
    pub(crate) replies: Replies,
    /// Counted by who fills the queue: what was not taken, and what found no room.
    pub(crate) refused: Arc<AtomicU64>,
    /// Whether BYE ends it.
    pub(crate) ends_with_bye: bool,
    pub(crate) user_agent: Option<String>,
    /// Dropped with it.
    pub(crate) guard: Option<Box<dyn Send>>,
}

/// A publisher.
pub(crate) struct Inlet {
    slot: PublisherSlot,
    rtp: Publisher,
    datagrams: mpsc::Receiver<Datagram>,
    replies: Replies,
    refused: Arc<AtomicU64>,
    ends_with_bye: bool,
    user_agent: Option<String>,
    _guard: Option<Box<dyn Send>>,
    since: Instant,
    /// It has looked once for what came before it did.
    looked: bool,
    live: Option<Instant>,
    heard: Instant,
    remote: Option<SocketAddr>,
}

impl Inlet {
    pub(crate) fn new(now: Instant, config: InletConfig) -> Inlet {
        Inlet {
            slot: config.slot,
            rtp: Publisher::new(config.rtp),
            datagrams: config.datagrams,
            replies: config.replies,
            refused: config.refused,
            ends_with_bye: config.ends_with_bye,
            user_agent: config.user_agent,
            _guard: config.guard,
            since: now,
            looked: false,
            live: None,
            heard: now,
            remote: None,
        }
    }

    /// Takes what waits.
    fn drain(&mut self, cx: &mut Context<'_>) {
        // What comes while this goes on is announced by another wake.
        for _ in 0..WAITING {
            match self.datagrams.try_recv() {
                Ok(datagram) => {
                    self.take(datagram);
                    self.pass_on(cx);
                }
                Err(TryRecvError::Empty) => break,
                // Who has its sockets is gone: nothing will come any more, and its place is another's.
                Err(TryRecvError::Disconnected) => {
                    cx.act(Action::Close(CloseReason::ByPeer));
                    break;
                }
            }
        }
    }

    fn take(&mut self, datagram: Datagram) {
        let Datagram { kind, taken, port, from, mut bytes, at } = datagram;
        match taken {
            Taken::Rtp => {
                self.replies.heard_rtp(kind, from);
                if self.rtp.receive(at, kind, &bytes).is_ok() {
                    self.heard = self.heard.max(at);
                    if kind == Kind::Video || self.remote.is_none_or(|remote| remote.ip() != from.ip()) {
                        self.remote = Some(from);
                    }
                }
            }
            Taken::Rtcp => {
                self.replies.heard_rtcp(kind, port, from);
                // Counted where it is malformed.
                let _ = self.rtp.receive_rtcp(at, kind, &mut bytes);
            }
        }
    }

    /// Gives the stream what the machine has for it.
    fn pass_on(&mut self, cx: &mut Context<'_>) {
        while let Some(event) = self.rtp.poll(cx.now) {
            match event {
                publisher::Event::Packet(kind, packet) => {
                    self.slot.touch(packet.arrived);
                    self.go_live(cx);
                    cx.act(Action::Push(kind, packet));
                }
                publisher::Event::Restarted(kind) => {
                    tracing::info!(session = %self.slot.session(), %kind, "the sender of plain RTP has begun anew");
                    cx.act(Action::Restarted(kind));
                }
                publisher::Event::Report(kind, ntp, time) => cx.act(Action::SenderReport(kind, ntp, time)),
                publisher::Event::Left if self.ends_with_bye => cx.act(Action::Close(CloseReason::ByPeer)),
                publisher::Event::Left => {}
            }
        }
    }

    fn go_live(&mut self, cx: &mut Context<'_>) {
        if self.live.is_some() {
            return;
        }
        self.live = Some(cx.now);
        let (session, tracks) = (self.slot.session(), self.rtp.tracks().clone());
        // Silent for too long, it may have lost the stream to another.
        if self.slot.go_live(tracks.clone(), cx.now) {
            tracing::info!(%session, stream = %self.slot.key(), "plain RTP comes in");
            cx.act(Action::Publish(tracks));
        } else {
            cx.act(Action::Close(CloseReason::Replaced));
        }
    }
}

impl Peer for Inlet {
    fn session(&self) -> SessionId {
        self.slot.session()
    }

    fn stream(&self) -> &StreamKey {
        self.slot.key()
    }

    fn role(&self) -> Role {
        Role::Publisher
    }

    fn handle_timeout(&mut self, cx: &mut Context<'_>) {
        self.looked = true;
        self.drain(cx);
        let Inlet { rtp, replies, .. } = self;
        rtp.handle_timeout(cx.now, |kind, compound| replies.send(kind, compound));
        self.pass_on(cx);
        if cx.now >= self.heard + PATIENCE {
            cx.act(Action::Close(CloseReason::Idle));
        }
    }

    fn handle_command(&mut self, cx: &mut Context<'_>, command: PeerCommand) {
        if let PeerCommand::Wake = command {
            self.drain(cx);
        }
    }

    fn tracks_changed(&mut self, _: &mut Context<'_>, _: &Tracks) {}

    fn request_keyframe(&mut self, cx: &mut Context<'_>) {
        let Inlet { rtp, replies, .. } = self;
        rtp.request_keyframe(cx.now, |kind, compound| replies.send(kind, compound));
    }

    fn close(&mut self, _: &mut Context<'_>, _: &CloseReason) {}

    fn deadline(&self) -> Option<Instant> {
        let first = (!self.looked).then_some(self.since);
        [first, self.rtp.deadline(), Some(self.heard + PATIENCE)].into_iter().flatten().min()
    }

    fn stats(&self, _: Instant) -> SessionStats {
        let (told, tracks) = (self.rtp.told(), self.rtp.tracks());
        SessionStats {
            connected: self.live,
            first_media: self.live,
            remote: self.remote,
            protocol: "rtp",
            transport: Some("udp"),
            user_agent: self.user_agent.clone(),
            codecs: [Kind::Video, Kind::Audio].into_iter().filter_map(|kind| Some(tracks.get(kind)?.codec)).collect(),
            loss: told.loss,
            jitter: told.jitter,
            counters: self.counters(),
            ..SessionStats::new(self.since)
        }
    }

    fn counters(&self) -> Counters {
        let mut counters = self.rtp.told().counters;
        counters.rejected += self.refused.load(Ordering::Relaxed);
        counters
    }
}

#[cfg(test)]
mod tests;
