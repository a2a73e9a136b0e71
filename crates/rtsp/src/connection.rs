//! One RTSP connection: its bytes, its timers, and the sessions that belong to it.
//!
//! A task owns the socket. It reads requests for the [`Machine`], finds the answers to what that asks, and writes responses
//! and, for readers in the connection, what their workers have put into the queue. It reads no further while a request
//! waits for its answer or a response finds no room, so a client that asks and does not listen waits for itself; nor while
//! what it sends as a publisher finds no room on the way to its worker.

mod asked;
mod out;
mod playing;
mod recording;

use std::collections::HashMap;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use whipstitch_plane::random;
use whipstitch_stream::CloseReason;

use self::out::Out;
use self::playing::Playing;
use self::recording::Recording;
use crate::kept::{KeptPlace, SHOWS};
use crate::machine::{Answer, Effect, Facts, Machine, Step};
use crate::queue::{Chunk, Outgoing, queue};
use crate::server::Shared;
use crate::udp::SILENCE;
use crate::wire::{Decoder, Item, Request};

/// What may wait to be written before no more is taken from anywhere: two of the largest reads of a socket.
const WRITE_AHEAD: usize = 128 * 1024;

/// What is read while a response is owed, so that the end of the connection is noticed: pipelined requests, no more.
const READ_AHEAD: usize = 32 * 1024;

/// A reader that takes nothing for so long is closed (protocol.md 13.5).
const STALLED: Duration = Duration::from_secs(10);

/// How often the timers above are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// The answer to a question that takes time.
type Pending = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// Serves a connection until it is closed from either side, or `stopped` says that everything ends.
/// `kept` is its place, if that is one of those.
pub(crate) async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    kept: Option<KeptPlace>,
    shared: Arc<Shared>,
    stopped: watch::Receiver<bool>,
) {
    let Ok(local) = stream.local_addr() else { return };
    // Responses and packets are written when they are there: nothing is gained by waiting for more.
    let _ = stream.set_nodelay(true);
    talk(stream.into_split(), (canonical(local), canonical(peer)), kept, shared, stopped).await;
}

/// Serves whoever is at the other end of these bytes. `ends`: our address and the client's.
async fn talk(
    (reader, writer): (impl AsyncRead + Unpin, impl AsyncWrite + Unpin),
    (local, peer): (SocketAddr, SocketAddr),
    kept: Option<KeptPlace>,
    shared: Arc<Shared>,
    stopped: watch::Receiver<bool>,
) {
    let (access, only_children) = (Arc::clone(&shared.access), kept.is_some());
    let facts = Facts { peer, nonce: random::text(), access, only_children };
    let (media, chunks) = queue();
    let (ends, ended) = mpsc::channel(8);
    let connection = Connection {
        shared,
        peer,
        local,
        kept,
        since: Instant::now(),
        machine: Machine::new(facts),
        decoder: Decoder::default(),
        pending: None,
        playing: HashMap::new(),
        recording: None,
        media: Arc::new(media),
        ends,
        out: Out::default(),
        heard: Instant::now(),
        closing: false,
    };
    connection.run(reader, writer, chunks, ended, stopped).await;
}

/// An IPv4 address as such, also where the listener is one of IPv6: clients name it so.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::new(ip.into(), address.port()),
        // With its scope.
        IpAddr::V6(_) => address,
    }
}

struct Connection {
    shared: Arc<Shared>,
    peer: SocketAddr,
    local: SocketAddr,
    /// Its place, where that is one of those kept for children.
    kept: Option<KeptPlace>,
    since: Instant,
    machine: Machine,
    decoder: Decoder,
    pending: Option<(Pending, After)>,
    /// The sessions, by their ids.
    playing: HashMap<String, Playing>,
    /// What the client sends, or is about to.
    recording: Option<Recording>,
    /// Where readers in the connection put their packets.
    media: Arc<Outgoing>,
    /// Readers that are gone say so here.
    ends: mpsc::Sender<String>,
    out: Out,
    /// When something was read last.
    heard: Instant,
    /// What is to be written is the last.
    closing: bool,
}

/// What is done once a question is answered.
enum After {
    Nothing,
    /// Media of this session may begin: the response stands before it.
    Begin(String),
    /// This is asked again.
    Again(Box<Request>),
}

impl Connection {
    async fn run(
        mut self,
        mut reader: impl AsyncRead + Unpin,
        mut writer: impl AsyncWrite + Unpin,
        mut chunks: mpsc::Receiver<Chunk>,
        mut ended: mpsc::Receiver<String>,
        mut stopped: watch::Receiver<bool>,
    ) {
        let mut look = tokio::time::interval(LOOK);
        let mut bytes = vec![0; 16 * 1024];
        let mut reason = CloseReason::ByPeer;
        loop {
            self.take_requests();
            if self.closing && self.out.waiting() == 0 {
                break;
            }
            let room = self.out.waiting() < WRITE_AHEAD;
            let asks = self.pending.is_some();
            let backed_up = self.recording.as_ref().is_some_and(Recording::is_backed_up);
            // While it asks, the client may go away: its next requests are read, a few of them, and kept.
            let may_read = room && !self.closing && !backed_up && (!asks || self.decoder.kept() < READ_AHEAD);
            // A response is written before the media it speaks of.
            let may_send = room && !matches!(self.pending, Some((_, After::Begin(_))));
            tokio::select! {
                read = reader.read(&mut bytes), if may_read => match read {
                    Ok(0) | Err(_) => break,
                    Ok(len) => {
                        self.heard = Instant::now();
                        self.decoder.push(bytes.get(..len).unwrap_or_default());
                    }
                },
                written = self.out.write(&mut writer), if self.out.waiting() > 0 => match written {
                    Ok(0) | Err(_) => break,
                    Ok(len) => self.out.wrote(len),
                },
                () = room_for(&self.recording), if backed_up => {}
                () = displaced(&mut self.kept), if !self.closing => self.closing = true,
                answer = answer(&mut self.pending), if asks => self.answered(answer),
                Some(chunk) = chunks.recv(), if may_send => self.out.media(chunk),
                Some(id) = ended.recv() => {
                    self.take_goodbyes(&mut chunks);
                    self.gone(&id);
                }
                _ = look.tick() => {
                    self.end_forgotten();
                    if let Some(because) = self.is_over() {
                        reason = because;
                        break;
                    }
                }
                _ = stopped.wait_for(|stopped| *stopped), if !self.closing => {
                    self.take_goodbyes(&mut chunks);
                    self.closing = true;
                }
            }
        }
        let _ = writer.shutdown().await;
        for (_, playing) in self.playing.drain() {
            playing.left_alone(reason);
        }
        if let Some(recording) = self.recording.take() {
            recording.end(reason);
        }
    }

    /// What sessions that have ended said goodbye with is in the queue before anybody hears of their end.
    fn take_goodbyes(&mut self, chunks: &mut mpsc::Receiver<Chunk>) {
        while let Ok(chunk) = chunks.try_recv() {
            self.out.media(chunk);
        }
    }

    /// Does what the client asks for, as far as one thing after the other can be done now.
    fn take_requests(&mut self) {
        while self.pending.is_none() && !self.closing && self.out.waiting() < WRITE_AHEAD {
            match self.decoder.next() {
                Ok(None) => break,
                Ok(Some(Item::Frame(channel, packet))) => {
                    self.playing.values_mut().for_each(|playing| playing.hear(channel, &packet));
                    if let Some(recording) = &mut self.recording {
                        recording.take(channel, &packet);
                    }
                }
                Ok(Some(item)) => self.handle(item),
                Err(violation) => {
                    self.out.reply(self.machine.violated(violation));
                    self.closing = true;
                }
            }
        }
        if let Some(recording) = &mut self.recording {
            recording.hand_on();
        }
    }

    fn handle(&mut self, item: Item) {
        if let Some(step) = self.machine.handle(item) {
            self.step(step);
        }
        if self.machine.is_a_child() {
            self.kept.iter_mut().for_each(KeptPlace::prove);
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Reply(reply) => self.out.reply(reply),
            Step::Last(reply) => {
                self.out.reply(reply);
                self.closing = true;
            }
            Step::Whose(request) => {
                let asked = self.shared.access.is_ours(self.peer, self.local.port());
                self.pending = Some((Box::pin(async { Answer::Whose(asked.await) }), After::Again(request)));
            }
            Step::Do(effect, reply) => {
                self.effect(effect);
                self.out.reply(reply);
            }
            Step::Ask(question) => self.find_out(question),
        }
    }

    fn effect(&mut self, effect: Effect) {
        match effect {
            Effect::Touch(id) => {
                if let Some(playing) = self.playing.get(&id) {
                    playing.touch();
                }
            }
            Effect::Pause(id) => {
                if let Some(playing) = self.playing.get_mut(&id) {
                    playing.pause();
                }
            }
            Effect::End(id) => {
                self.end(&id, CloseReason::ByRequest);
                if let Some(recording) = self.recording.take_if(|recording| recording.id == id) {
                    recording.end(CloseReason::ByRequest);
                }
            }
        }
    }

    fn answered(&mut self, answer: Answer) {
        let Some((_, after)) = self.pending.take() else { return };
        let plays = matches!(answer, Answer::Playing(Ok(_)));
        let id = match (after, answer) {
            (After::Again(request), Answer::Whose(ours)) => {
                self.machine.tell(ours);
                return self.handle(Item::Request(*request));
            }
            (after, answer) => {
                self.out.reply(self.machine.answered(answer));
                let After::Begin(id) = after else { return };
                id
            }
        };
        match self.playing.get_mut(&id) {
            Some(playing) if plays => playing.begin(),
            // The client was told that it does not play; what it is to get once its worker comes to it would be a surprise.
            Some(playing) if playing.has_not_begun() => {
                self.machine.forget(&id);
                self.end(&id, CloseReason::Idle);
            }
            _ => {}
        }
    }

    fn end(&mut self, id: &str, reason: CloseReason) {
        if let Some(playing) = self.playing.remove(id) {
            playing.end(reason);
        }
    }

    /// Sessions that send nothing through the connection and that the client has not spoken of for too long.
    fn end_forgotten(&mut self) {
        let forgotten = self.playing.iter().filter(|(_, playing)| playing.is_silent());
        for id in forgotten.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.machine.forget(&id);
            self.end(&id, CloseReason::Idle);
        }
    }

    /// A session has ended by itself. A player whose last one that is gets nothing any more, and hears of it best by the
    /// end of the connection.
    fn gone(&mut self, id: &str) {
        self.machine.forget(id);
        let recorded = self.recording.take_if(|recording| recording.id == id).is_some();
        let played = self.playing.remove(id).is_some();
        if (played || recorded) && self.playing.is_empty() && self.recording.is_none() {
            self.closing = true;
        }
    }

    /// Whether the client is gone, as far as can be told.
    fn is_over(&self) -> Option<CloseReason> {
        if self.kept.as_ref().is_some_and(KeptPlace::is_a_strangers) && self.since.elapsed() >= SHOWS {
            return Some(CloseReason::Idle);
        }
        // A publisher may read nothing of what it is told, as long as it is listened to.
        if (self.recording.is_none() || self.closing)
            && self.out.stuck().is_some_and(|since| since.elapsed() >= STALLED)
        {
            return Some(CloseReason::Idle);
        }
        // Whose packets are taken, who sends reports over UDP, or who waits for an answer, is there.
        let is_there = self.pending.is_some() || self.playing.values().any(|playing| !playing.is_silent());
        (!is_there && self.heard.elapsed() > SILENCE).then_some(CloseReason::Idle)
    }
}

/// Waits for room for what the client sends.
async fn room_for(recording: &Option<Recording>) {
    match recording {
        Some(recording) => recording.room().await,
        None => std::future::pending().await,
    }
}

/// Waits until the connection has to give way to one that may be a child's.
async fn displaced(kept: &mut Option<KeptPlace>) {
    match kept {
        Some(kept) => kept.displaced().await,
        None => std::future::pending().await,
    }
}

async fn answer(pending: &mut Option<(Pending, After)>) -> Answer {
    match pending {
        Some((pending, _)) => pending.await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
