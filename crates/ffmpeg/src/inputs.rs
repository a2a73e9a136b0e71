//! The control side of plain RTP that comes in: who is to send gets ports, and a [task](feed) that watches them for as
//! long as that is so.

mod feed;
mod open;
mod senders;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use whipstitch_media::sdp::Section;
use whipstitch_media::{Codec, Kind};
use whipstitch_plane::{Ending, Plane, random};
use whipstitch_stream::{Directory, PerKind, SessionId, StreamKey, directory};

use self::feed::{Source, run};
use self::open::Open;
use crate::owner::Owners;
use crate::ports::{Ports, Whose};
use crate::sockets::Sockets;

/// Ports below this one in an SDP are not meant: 0 is none, 9 is how WebRTC says so (RFC 8829 5.2.1).
pub const LEAST_PORT: u16 = 10;

/// Why nothing can come in.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The stream has a publisher that is alive.
    #[error("the stream is being published already")]
    Occupied {
        /// When its place is free at the earliest.
        retry: Duration,
    },
    /// Every block of ports is leased, or another program's.
    #[error("all RTP ports are taken")]
    NoPorts,
    /// The stream is held for a process of this server.
    #[error("the stream is kept for a process of this server")]
    Held,
    /// A cap is reached, or the machine has nothing more to give.
    #[error("the gateway is full")]
    Full,
    /// The ports that were asked for cannot be had.
    #[error("{0}")]
    Bind(io::Error),
}

/// What is to come in.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The stream it is.
    pub stream: StreamKey,
    /// Its tracks, one of a kind at most.
    pub sections: Vec<Section>,
    /// The address to take it at.
    pub local: IpAddr,
}

impl Wanted {
    fn section(&self, kind: Kind) -> Option<&Section> {
        self.sections.iter().find(|section| section.codec.kind() == kind)
    }

    fn has(&self) -> PerKind<bool> {
        PerKind::from_fn(|kind| self.section(kind).is_some())
    }

    /// The ports that the sections name for RTP.
    pub fn named_ports(&self) -> PerKind<Option<u16>> {
        PerKind::from_fn(|kind| self.section(kind).map(|section| section.port).filter(|port| *port >= LEAST_PORT))
    }
}

/// What a client brings along that wants to send.
#[derive(Clone, Debug, Default)]
pub struct Client {
    /// What it called itself.
    pub user_agent: Option<String>,
    /// The ports that it named for RTCP to it (RFC 3605).
    pub rtcp: PerKind<Option<u16>>,
    /// Whether BYE ends the session. If not, it waits for the next sender.
    pub ends_with_bye: bool,
    /// Whether [`Inputs::of`] shows it.
    pub listed: bool,
    /// The process whose child sends, of whom the stream may be [held](Directory::hold).
    pub process: Option<Arc<str>>,
}

/// Where a stream is taken.
#[derive(Clone, Debug)]
pub struct Input {
    /// The stream.
    pub stream: StreamKey,
    /// The session that feeds it; of a configured input only while somebody sends.
    pub session: Option<SessionId>,
    /// The configuration asked for it, and no client.
    pub configured: bool,
    /// The address it is taken at.
    pub local: IpAddr,
    /// Each track.
    pub tracks: PerKind<Option<Inlet>>,
}

/// Where one track is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inlet {
    /// The port of RTP; RTCP has the next.
    pub port: u16,
    /// What comes there.
    pub codec: Codec,
    /// Its payload type.
    pub pt: u8,
}

/// Takes plain RTP from senders. Clones are the same.
#[derive(Clone)]
pub struct Inputs {
    plane: Plane,
    directory: Directory,
    ports: Ports,
    open: Open,
    /// Whose the senders are of what processes put out.
    owners: Owners,
}

impl std::fmt::Debug for Inputs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inputs").field("ports", &self.ports).finish_non_exhaustive()
    }
}

impl Inputs {
    /// Publishers of the streams of this plane, at these ports.
    pub fn new(plane: Plane, directory: Directory, ports: Ports) -> Inputs {
        Inputs { plane, directory, ports, open: Open::default(), owners: Owners::default() }
    }

    /// The ports they have.
    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    /// Leases ports to one session that publishes the stream. It ends as every publisher's does, and when nothing comes for
    /// 30 s. `enter` is told the session, its worker and how to end it, and gives what is to be dropped with it. Within a
    /// runtime.
    ///
    /// # Errors
    /// [`Refused`]; nothing is taken or leased then.
    pub async fn open(
        &self,
        wanted: Wanted,
        client: Client,
        enter: impl FnOnce(SessionId, usize, &Ending) -> Option<Box<dyn Send>>,
    ) -> Result<Input, Refused> {
        let session = SessionId(random::u64());
        let process = client.process.as_deref();
        let slot = self.directory.reserve_publisher_as(&wanted.stream, session, Instant::now(), process);
        let slot = slot.map_err(refuse)?;
        let sockets = self.lease(&wanted).await?;
        let input = describe(&wanted, Some(session), false, &sockets);
        let entered = client.listed.then(|| self.open.enter(input.clone()));
        let receiving = sockets.receive().map_err(|_| Refused::Full)?;
        let source = Source { inputs: self.clone(), wanted, client, sockets };
        let fed = source.begin(slot, enter)?;
        tokio::spawn(run(receiving, source, Some(fed), entered));
        Ok(input)
    }

    /// Takes the stream whenever somebody sends it and nobody else publishes it, at the ports that its sections name, or at
    /// leased ones if they name none; until the handle is dropped. Within a runtime.
    ///
    /// # Errors
    /// [`Refused`], when the ports cannot be had.
    pub fn configure(&self, wanted: Wanted) -> Result<Configured, Refused> {
        self.configure_for(wanted, None)
    }

    /// The same for what the child of this process sends: what comes from another user of this machine, who can read the
    /// ports in its arguments, is refused. Where the stream is held for that process, whoever publishes it gives way.
    ///
    /// # Errors
    /// As of [`configure`](Self::configure).
    pub fn configure_for(&self, wanted: Wanted, process: Option<&str>) -> Result<Configured, Refused> {
        let named = wanted.named_ports();
        let sockets = if named == PerKind::default() {
            Sockets::lease(&self.ports, Whose::Ours, wanted.local, wanted.has()).ok_or(Refused::NoPorts)?
        } else {
            Sockets::at(&self.ports, wanted.local, named).map_err(Refused::Bind)?
        };
        let input = describe(&wanted, None, true, &sockets);
        let entered = self.open.enter(input.clone());
        let receiving = sockets.receive().map_err(|_| Refused::Full)?;
        let client = Client { ends_with_bye: true, process: process.map(Arc::from), ..Client::default() };
        let source = Source { inputs: self.clone(), wanted, client, sockets };
        let task = tokio::spawn(run(receiving, source, None, Some(entered)));
        Ok(Configured { input, task })
    }

    /// The input of a stream: the one a client asked for, else the one that is configured.
    pub fn of(&self, stream: &StreamKey) -> Option<Input> {
        self.open.of(stream)
    }

    /// On a thread that may wait: clients may ask for one after the other.
    async fn lease(&self, wanted: &Wanted) -> Result<Sockets, Refused> {
        let (ports, local, has) = (self.ports.clone(), wanted.local, wanted.has());
        let leased = tokio::task::spawn_blocking(move || Sockets::lease(&ports, Whose::Anybody, local, has));
        leased.await.map_err(|_| Refused::Full)?.ok_or(Refused::NoPorts)
    }
}

/// An input of the configuration. It ends when this is dropped.
#[derive(Debug)]
pub struct Configured {
    input: Input,
    task: JoinHandle<()>,
}

impl Configured {
    /// Where it is taken.
    pub fn input(&self) -> &Input {
        &self.input
    }
}

impl Drop for Configured {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn describe(wanted: &Wanted, session: Option<SessionId>, configured: bool, sockets: &Sockets) -> Input {
    let tracks = PerKind::from_fn(|kind| {
        let section = wanted.section(kind)?;
        Some(Inlet { port: sockets.port(kind)?, codec: section.codec, pt: section.pt })
    });
    Input { stream: wanted.stream.clone(), session, configured, local: wanted.local, tracks }
}

fn refuse(refused: directory::Refused) -> Refused {
    match refused {
        directory::Refused::Occupied { retry } => Refused::Occupied { retry },
        directory::Refused::Held => Refused::Held,
        directory::Refused::Full(_) => Refused::Full,
    }
}
