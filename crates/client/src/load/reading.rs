//! One reader of a load run: a viewer that comes by RTSP or takes plain RTP from leased ports.
//!
//! A full one opens every stamp. A light one looks into its sockets once in [`SWEEP`] after its first picture and counts
//! headers, so that the gateway's sends wake nobody up, as with light viewers of WebRTC (`counter`).

use std::io::{ErrorKind, Read as _};
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rtp_types::RtpPacket;
use whipstitch_media::Kind;
use whipstitch_net::socket::Skimmer;

use super::viewer::{JOIN_TIMEOUT, Plan, Seen};
use crate::error::{CloseReason, Error};
use crate::reader::{Parted, Reader, Way};

/// A 2.5 Mbit/s stream sends 7 packets in it; a receive buffer holds far more.
const SWEEP: Duration = Duration::from_millis(20);

/// Bytes of the header of an interleaved frame (RFC 2326 10.12).
const FRAME: usize = 4;

/// Lives the life of one reader.
pub(super) async fn read(plan: &Plan, way: Way, url: &str) -> Seen {
    let mut seen = Seen { full: plan.full, ..Seen::default() };
    let mut stop = plan.stop.clone();
    // A sender that is gone means that the run was abandoned.
    let stopped = async {
        let _ = stop.wait_for(|stop| *stop).await;
    };
    let ended = tokio::select! {
        () = stopped => return seen,
        Err(error) = live(plan, way, url, &mut seen) => error,
    };
    match ended {
        Error::Closed(reason) => seen.closed = Some(reason),
        error => seen.error = Some(error),
    }
    if seen.milestones.is_none_or(|milestones| milestones.first_picture.is_none()) {
        let _ = plan.joined.send(()).await;
    }
    seen
}

/// Until it ends, which is before it was time.
async fn live(plan: &Plan, way: Way, url: &str, seen: &mut Seen) -> Result<std::convert::Infallible, Error> {
    tokio::time::sleep_until(plan.begins.into()).await;
    let late = |_| Error::ConnectTimeout { after: JOIN_TIMEOUT, stage: "a first picture" };
    let mut reader = tokio::time::timeout(JOIN_TIMEOUT, joined(plan, way, url, seen)).await.map_err(late)??;
    let _ = plan.joined.send(()).await;
    if !plan.full {
        return sweep(plan, reader.part()?, seen).await;
    }
    loop {
        let packet = reader.next().await?;
        plan.packets.fetch_add(1, Ordering::Relaxed);
        seen.take(plan, reader.milestones(), &packet, packet.arrived);
    }
}

/// Up to the first picture.
async fn joined(plan: &Plan, way: Way, url: &str, seen: &mut Seen) -> Result<Reader, Error> {
    let mut reader = Reader::connect(way, url).await?;
    while reader.milestones().first_picture.is_none() {
        let packet = reader.next().await?;
        plan.packets.fetch_add(1, Ordering::Relaxed);
        seen.milestones = Some(reader.milestones());
        seen.take(plan, reader.milestones(), &packet, packet.arrived);
    }
    seen.milestones = Some(reader.milestones());
    Ok(reader)
}

/// Counts headers.
async fn sweep(plan: &Plan, mut parted: Parted, seen: &mut Seen) -> Result<std::convert::Infallible, Error> {
    let mut skimmer = Skimmer::new();
    let mut bytes = vec![0; 256 * 1024];
    loop {
        tokio::time::sleep(SWEEP).await;
        let mut packets = 0;
        match &mut parted {
            Parted::Connection((stream, rest), kinds) => {
                while take(stream, rest, &mut bytes)? {
                    packets += frames(rest, |channel, packet| {
                        let kind = kinds.get(usize::from(channel / 2)).filter(|_| channel.is_multiple_of(2));
                        kind.is_some_and(|kind| header(seen, *kind, packet))
                    });
                }
            }
            Parted::Sockets(sockets, _kept) => {
                for (kind, [rtp, rtcp]) in &*sockets {
                    loop {
                        let taken = skimmer.skim(rtp, |head| packets += u64::from(header(seen, *kind, head)))?;
                        if !Skimmer::may_go_on(taken) {
                            break;
                        }
                    }
                    skimmer.skim(rtcp, |_| {})?;
                }
            }
        }
        plan.packets.fetch_add(packets, Ordering::Relaxed);
    }
}

/// Reads what has come; false when nothing has.
fn take(stream: &mut TcpStream, rest: &mut Vec<u8>, bytes: &mut [u8]) -> Result<bool, Error> {
    match stream.read(bytes) {
        Ok(0) => Err(Error::Closed(CloseReason::ByPeer)),
        Ok(len) => {
            rest.extend_from_slice(bytes.get(..len).unwrap_or_default());
            Ok(true)
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Takes whole frames from the front; how many of them `count`.
fn frames(rest: &mut Vec<u8>, mut count: impl FnMut(u8, &[u8]) -> bool) -> u64 {
    let (mut at, mut counted) = (0, 0);
    while let Some(&[_, channel, high, low]) = rest.get(at..).and_then(|left| left.first_chunk::<FRAME>()) {
        let end = at + FRAME + usize::from(u16::from_be_bytes([high, low]));
        let Some(packet) = rest.get(at + FRAME..end) else { break };
        counted += u64::from(count(channel, packet));
        at = end;
    }
    rest.drain(..at);
    counted
}

fn header(seen: &mut Seen, kind: Kind, head: &[u8]) -> bool {
    RtpPacket::parse(head).is_ok_and(|rtp| seen.track(kind).head(rtp.ssrc(), rtp.sequence_number()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_frames_are_taken_and_the_rest_is_kept() {
        let mut rest = [&b"$\x00\x00\x02ab$\x01\x00\x01c"[..], b"$\x02\x00\x03de"].concat();
        let mut seen = Vec::new();
        let counted = frames(&mut rest, |channel, packet| {
            seen.push((channel, packet.to_vec()));
            channel == 0
        });
        assert_eq!((counted, seen), (1, vec![(0, b"ab".to_vec()), (1, b"c".to_vec())]));
        assert_eq!(rest, b"$\x02\x00\x03de");
    }
}
