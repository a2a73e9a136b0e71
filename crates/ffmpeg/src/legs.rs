//! The control side of legs: who asks for a stream gets an SDP that names ports of its own.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use whipstitch_media::sdp::{self, Header, Section};
use whipstitch_media::{Codec, Kind};
use whipstitch_plane::{Ending, Plane};
use whipstitch_rtp::{Reader, sender};
use whipstitch_stream::running::Description;
use whipstitch_stream::{Directory, PerKind, SessionId, StreamKey};

use crate::leg::Leg;
use crate::ports::Ports;
use crate::random;
use crate::ways::Ways;

/// How long parameter sets are waited for (design.md 2.4): FFmpeg would wait as long for them itself.
const WHOLE: Duration = Duration::from_secs(5);

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Why there is no SDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Nobody publishes the stream.
    #[error("nobody is publishing this stream")]
    NotLive,
    /// Every block of ports is leased, or another program's.
    #[error("all RTP ports are taken")]
    NoPorts,
    /// A cap is reached, or the machine has no more sockets to give.
    #[error("the gateway is full")]
    Full,
}

/// Hands streams to programs on this machine. Clones are the same.
#[derive(Clone)]
pub struct Legs {
    plane: Plane,
    directory: Directory,
    ports: Ports,
}

impl std::fmt::Debug for Legs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Legs").field("ports", &self.ports).finish_non_exhaustive()
    }
}

impl Legs {
    /// Legs of the streams of this plane, with these ports.
    pub fn new(plane: Plane, directory: Directory, ports: Ports) -> Legs {
        Legs { plane, directory, ports }
    }

    /// Leases ports for the stream and describes what will come there, with its parameter sets; waits for these for up to
    /// 5 s, and where a publisher is expected for it, however long that takes. The lease ends when nobody binds the ports for 30 s, when who did has gone, and with the stream.
    ///
    /// # Errors
    /// [`Refused`]; nothing is leased then.
    pub async fn lease(&self, stream: &StreamKey) -> Result<String, Refused> {
        let running = self.plane.running();
        loop {
            if self.directory.live_tracks(stream).is_none() && !running.is_expected(stream) {
                return Err(Refused::NotLive);
            }
            let whole = tokio::time::timeout(WHOLE, running.whole(stream)).await.ok();
            // What there is may do all the same: the sets come with the keyframes.
            match whole.or_else(|| running.get(stream)) {
                Some(description) => return self.begin(stream, &description),
                None if running.is_expected(stream) => {}
                None => return Err(Refused::NotLive),
            }
        }
    }

    fn begin(&self, stream: &StreamKey, description: &Description) -> Result<String, Refused> {
        let session = SessionId(random::u64());
        let slot = self.directory.reserve_subscriber(stream, session).map_err(|_| Refused::Full)?;
        let block = self.ports.lease().ok_or(Refused::NoPorts)?;
        let sections = sections(description, |kind| block.port(kind));
        let port =
            |kind: Kind| sections.iter().find(|section| section.codec.kind() == kind).map(|section| section.port);
        let ways = Ways::open(PerKind::from_fn(port)).map_err(|_| Refused::Full)?;
        let cname = format!("{:016x}", random::u64());
        let reader = Reader::new(cname, sections.iter().map(sender));
        let codecs: Vec<Codec> = sections.iter().map(|section| section.codec).collect();
        let header = Header {
            name: stream.as_str(),
            // 63 bits: some readers take a signed number.
            id: random::u64() >> 1,
            version: description.version,
            origin: LOOPBACK,
            connection: LOOPBACK,
            rtsp: false,
        };
        let text = sdp::write(&header, &sections);
        let (worker, port) = (self.plane.next_worker(), block.first());
        let leg = Leg::new(Instant::now(), slot, block, codecs, reader, ways);
        self.plane.add(worker, Box::new(leg), None, Ending::default()).map_err(|_| Refused::Full)?;
        tracing::info!(%session, %stream, port, "ports leased to a reader of plain RTP");
        Ok(text)
    }
}

/// Video first: FFmpeg numbers its streams in this order.
fn sections(description: &Description, port: impl Fn(Kind) -> u16) -> Vec<Section> {
    let sections = [Kind::Video, Kind::Audio].into_iter().filter_map(|kind| {
        let track = description.tracks.get(kind)?;
        Some(Section { port: port(kind), ..Section::of(track.codec, &track.format) })
    });
    sections.collect()
}

fn sender(section: &Section) -> sender::Config {
    let random = random::u64();
    sender::Config {
        kind: section.codec.kind(),
        clock_rate: section.codec.clock_rate(),
        pt: section.pt,
        ssrc: random as u32,
        first_seq: (random >> 32) as u16,
        time_offset: (random >> 20) as u32,
    }
}
