//! The control side of legs: who asks for a stream gets an SDP that names ports of its own.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use whipstitch_media::sdp::{self, Header, Section};
use whipstitch_media::{Codec, Kind};
use whipstitch_plane::{Ending, Plane, random};
use whipstitch_rtp::{Reader, sender};
use whipstitch_stream::running::{Asks, Description};
use whipstitch_stream::{Directory, PerKind, SessionId, StreamKey};

use crate::leg::Leg;
use crate::ports::{Ports, Whose};
use crate::ways::Ways;

/// How long a stream that is about to begin, or its parameter sets, are waited for (design.md 2.4): FFmpeg would wait as long
/// for them itself.
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

    /// Whether there is something to lease ports for, or about to be.
    ///
    /// # Errors
    /// [`Refused::NotLive`].
    pub fn check(&self, stream: &StreamKey) -> Result<(), Refused> {
        self.directory.live_tracks(stream).map(drop).ok_or(Refused::NotLive)
    }

    /// Leases ports for the stream and describes what will come there, with its parameter sets; waits for these for up to
    /// 5 s. A child waits for its publisher, too, as long as one is expected: it is the caller's to give up. The
    /// lease ends when nobody binds the ports for 30 s, when who did has gone, and with the stream. `pts` are the payload types to send with, of those whose meaning
    /// the description gives (96 to 127, RFC 3551 6); otherwise what is usual.
    ///
    /// # Errors
    /// [`Refused`]; nothing is leased then.
    pub async fn lease(&self, stream: &StreamKey, pts: PerKind<Option<u8>>, asks: Asks) -> Result<String, Refused> {
        let patience = || tokio::time::sleep(WHOLE);
        let described = self.plane.running().described(&self.directory, stream, asks, patience).await;
        let described = described.ok_or(Refused::NotLive)?;
        self.begin(stream, &described, pts, asks).await
    }

    async fn begin(
        &self,
        stream: &StreamKey,
        description: &Description,
        pts: PerKind<Option<u8>>,
        asks: Asks,
    ) -> Result<String, Refused> {
        let session = SessionId(random::u64());
        let (slot, whose) = match asks {
            Asks::Anybody => (self.directory.reserve_subscriber(stream, session), Whose::Anybody),
            Asks::Child => (self.directory.reserve_subscriber_of_child(stream, session), Whose::Ours),
        };
        let slot = slot.map_err(|_| Refused::Full)?;
        let ports = self.ports.clone();
        let leased = tokio::task::spawn_blocking(move || ports.lease(whose));
        let block = leased.await.map_err(|_| Refused::Full)?.ok_or(Refused::NoPorts)?;
        let sections = sections(description, pts, |kind| block.port(kind));
        let port =
            |kind: Kind| sections.iter().find(|section| section.codec.kind() == kind).map(|section| section.port);
        let ways = Ways::open(PerKind::from_fn(port)).map_err(|_| Refused::Full)?;
        let reader = Reader::new(random::text(), sections.iter().map(sender));
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
fn sections(description: &Description, pts: PerKind<Option<u8>>, port: impl Fn(Kind) -> u16) -> Vec<Section> {
    let sections = [Kind::Video, Kind::Audio].into_iter().filter_map(|kind| {
        let track = description.tracks.get(kind)?;
        let usual = Section::of(track.codec, &track.format);
        Some(Section { port: port(kind), pt: pts[kind].unwrap_or(usual.pt), ..usual })
    });
    sections.collect()
}

fn sender(section: &Section) -> sender::Config {
    sender::Config {
        kind: section.codec.kind(),
        clock_rate: section.codec.clock_rate(),
        pt: section.pt,
        ssrc: random::ssrc(),
        first_seq: random::u16(),
        time_offset: random::u32(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_track_begins_tells_nothing_of_its_other_numbers() {
        let drawn: Vec<_> = (0..16).map(|_| sender(&Section::of(Codec::Vp8, ""))).collect();
        // Any bits of one that are always those of another.
        let always = |same: &dyn Fn(&sender::Config) -> bool| drawn.iter().all(same);
        for shift in 0..16 {
            assert!(!always(&|one| (one.ssrc >> shift) as u16 == one.first_seq), "{shift}");
            assert!(!always(&|one| (one.time_offset >> shift) as u16 == one.first_seq), "{shift}");
            assert!(!always(&|one| (one.ssrc >> shift) as u8 == (one.time_offset >> 24) as u8), "{shift}");
            assert!(!always(&|one| (one.time_offset >> shift) as u8 == (one.ssrc >> 24) as u8), "{shift}");
        }
        assert!(!always(&|one| one.ssrc >> 20 == one.time_offset & 0xfff), "as they once were");
    }
}
