//! Readers of a stream without WebRTC: by RTSP, in its connection or over UDP, and as plain RTP on ports that an SDP
//! leases (docs/ffmpeg.md).
//!
//! A [`Reader`] is one player that does all as it should. Dropped, it vanishes without a word, as a player that is killed.
//! Who plays a player that does otherwise has [`rtsp::Connection`].

pub mod rtsp;
mod sockets;

use std::time::{Duration, Instant};

use rtp_types::RtpPacket;
use whipstitch_media::sdp::{self, Section};
use whipstitch_media::sequence::Unwrap;
use whipstitch_media::{Codec, Kind};

use crate::error::{CloseReason, Error};
use crate::peer::Received;
use crate::signalling;
use crate::whep::{Milestones, Packet, Watch};
use rtsp::{Connection, Item};
pub(crate) use sockets::Sockets;

/// An answer that takes longer is none: a gateway waits up to 5 s for parameter sets.
const PATIENCE: Duration = Duration::from_secs(15);

/// How packets come to a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// RTSP, interleaved in its connection.
    Tcp,
    /// RTSP, over UDP.
    Udp,
    /// Plain RTP on leased ports of this machine.
    Leased,
}

/// One track of a description.
struct Track {
    section: Section,
    /// Whose packets they are, once known: a port may have been another's, and what is sent to that one still comes.
    ssrc: Option<u32>,
    seq: Unwrap,
    time: Unwrap32,
}

/// RTP times with their wraps.
#[derive(Default)]
struct Unwrap32(Option<u64>);

impl Unwrap32 {
    fn extend(&mut self, time: u32) -> u64 {
        // One circle up, so that a step back from the first one stays above zero.
        let last = self.0.unwrap_or((1 << 32) + u64::from(time));
        let step = i64::from(time.wrapping_sub(last as u32) as i32);
        *self.0.insert(last.saturating_add_signed(step))
    }
}

/// One reader. It moves only while [`Reader::next`] is awaited.
pub struct Reader {
    source: Source,
    tracks: Vec<Track>,
    watch: Watch,
}

/// Where packets come from.
enum Source {
    Connection(Connection),
    /// With the connection that keeps them, if there is one.
    Sockets(Sockets, Option<Connection>),
}

impl Reader {
    /// Asks for the stream and has it played. The URL is that of RTSP or, for leased ports, that of the SDP.
    ///
    /// # Errors
    /// [`Error::Refused`] with the status; [`Error::Answer`]; no connection.
    pub async fn connect(way: Way, url: &str) -> Result<Reader, Error> {
        let connected = async {
            match way {
                Way::Leased => lease(url).await,
                Way::Tcp | Way::Udp => play(way, url).await,
            }
        };
        let late = |_| Error::Answer { url: url.to_owned(), reason: "no answer in time".to_owned() };
        tokio::time::timeout(PATIENCE, connected).await.map_err(late)?
    }

    /// The codecs of the description, video first.
    pub fn codecs(&self) -> Vec<Codec> {
        self.tracks.iter().map(|track| track.section.codec).collect()
    }

    /// When what happened; `posted` is when the connection was opened, `answered` and `connected` are the answer to PLAY.
    pub fn milestones(&self) -> Milestones {
        self.watch.milestones
    }

    /// Waits for the next packet of media. Cancelling it loses nothing.
    ///
    /// # Errors
    /// [`Error::Closed`] when the gateway ends it: by the end of the connection, or BYE on leased ports.
    pub async fn next(&mut self) -> Result<Packet, Error> {
        loop {
            let (kind, bytes) = match &mut self.source {
                Source::Connection(connection) => match connection.next().await? {
                    // Two channels for each track, in the order of SETUP.
                    Item::Frame(channel, bytes) if channel.is_multiple_of(2) => {
                        let Some(track) = self.tracks.get(usize::from(channel / 2)) else { continue };
                        (track.section.codec.kind(), bytes)
                    }
                    Item::Frame(..) | Item::Response(_) => continue,
                },
                Source::Sockets(sockets, None) => sockets.next().await?,
                Source::Sockets(sockets, Some(connection)) => tokio::select! {
                    packet = sockets.next() => packet?,
                    item = connection.next() => {
                        item?;
                        continue;
                    }
                },
            };
            if let Some(packet) = self.packet(kind, &bytes) {
                return Ok(packet);
            }
        }
    }

    /// Ends it as a player does: TEARDOWN, or by closing leased ports.
    ///
    /// # Errors
    /// TEARDOWN was refused.
    pub async fn close(self) -> Result<(), Error> {
        match self.source {
            Source::Connection(connection) | Source::Sockets(_, Some(connection)) => connection.tear_down().await,
            Source::Sockets(_, None) => Ok(()),
        }
    }

    /// Its parts, for who counts without looking: sockets, or the connection with its bytes.
    pub(crate) fn part(self) -> Result<Parted, Error> {
        let kinds = self.tracks.iter().map(|track| track.section.codec.kind()).collect();
        Ok(match self.source {
            Source::Connection(connection) => Parted::Connection(connection.part()?, kinds),
            Source::Sockets(sockets, connection) => Parted::Sockets(sockets.part()?, connection),
        })
    }

    fn packet(&mut self, kind: Kind, bytes: &[u8]) -> Option<Packet> {
        let rtp = RtpPacket::parse(bytes).ok()?;
        let track = self.tracks.iter_mut().find(|track| track.section.codec.kind() == kind)?;
        if rtp.payload_type() != track.section.pt || *track.ssrc.get_or_insert(rtp.ssrc()) != rtp.ssrc() {
            return None;
        }
        let received = Received {
            kind,
            codec: track.section.codec,
            ssrc: rtp.ssrc(),
            seq: track.seq.extend(rtp.sequence_number()),
            time: track.time.extend(rtp.timestamp()),
            marker: rtp.marker_bit(),
            payload: rtp.payload().into(),
        };
        Some(self.watch.packet(Instant::now(), received))
    }
}

/// What a reader is made of.
pub(crate) enum Parted {
    /// Non-blocking, what was read of it already, and which track comes on each pair of channels.
    Connection((std::net::TcpStream, Vec<u8>), Vec<Kind>),
    /// Non-blocking sockets of RTP and RTCP, and the connection, without which there is no session.
    Sockets(Vec<(Kind, [std::net::UdpSocket; 2])>, Option<Connection>),
}

async fn play(way: Way, url: &str) -> Result<Reader, Error> {
    let begun = Instant::now();
    let mut connection = Connection::open(url).await?;
    let sections = connection.describe().await?;
    let (mut sockets, mut ssrcs) = (Sockets::default(), Vec::new());
    for (section, first) in sections.iter().zip((0..).step_by(2)) {
        let transport = if way == Way::Tcp {
            format!("RTP/AVP/TCP;unicast;interleaved={first}-{}", first + 1)
        } else {
            let (rtp, rtcp) = sockets.bind(section.codec.kind(), None).await?;
            format!("RTP/AVP;unicast;client_port={rtp}-{rtcp}")
        };
        let chosen = connection.set_up(section, &transport).await?;
        let ssrc = chosen.split(';').find_map(|field| field.strip_prefix("ssrc="));
        ssrcs.push(ssrc.and_then(|digits| u32::from_str_radix(digits, 16).ok()));
    }
    connection.play().await?;
    let source =
        if way == Way::Tcp { Source::Connection(connection) } else { Source::Sockets(sockets, Some(connection)) };
    Ok(reader(source, sections.into_iter().zip(ssrcs), begun))
}

async fn lease(url: &str) -> Result<Reader, Error> {
    let begun = Instant::now();
    let failed = |source| Error::Http { url: url.to_owned(), source };
    let response = signalling::client().get(url).send().await.map_err(failed)?;
    let status = response.status().as_u16();
    let text = response.text().await.map_err(failed)?;
    if status != 200 {
        return Err(Error::Refused { url: url.to_owned(), status, retry_after: None, detail: text });
    }
    let sections = described(url, &text)?;
    let mut sockets = Sockets::default();
    for section in &sections {
        sockets.bind(section.codec.kind(), Some(section.port)).await?;
    }
    let sections = sections.into_iter().map(|section| (section, None));
    Ok(reader(Source::Sockets(sockets, None), sections, begun))
}

fn reader(source: Source, sections: impl Iterator<Item = (Section, Option<u32>)>, begun: Instant) -> Reader {
    let now = Instant::now();
    let track = |(section, ssrc)| Track { section, ssrc, seq: Unwrap::new(), time: Unwrap32::default() };
    Reader { source, tracks: sections.map(track).collect(), watch: Watch::new(Milestones::new(begun, now, now)) }
}

fn described(url: &str, text: &str) -> Result<Vec<Section>, Error> {
    sdp::read(text).map_err(|error| Error::Answer { url: url.to_owned(), reason: error.to_string() })
}

/// The end of a connection, or what is no packet any more.
fn ended() -> Error {
    Error::Closed(CloseReason::ByPeer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_go_on_through_a_wrap_and_a_step_back() {
        let mut time = Unwrap32::default();
        let first = time.extend(u32::MAX - 10);
        assert_eq!(time.extend(10), first + 21);
        assert_eq!(time.extend(u32::MAX), first + 10);
        assert_eq!(time.extend(20), first + 31);
    }
}
