//! RTCP compounds of strangers: read tolerantly, but whole or not at all.
//!
//! Framing is ours, because `rtcp-types` checks the version of the first packet only and leaves padding inside feedback;
//! the packets themselves are its. A compound may be reduced-size (RFC 5506); unknown types, APP, SDES and all of XR but a
//! receiver's time are skipped by their length; what is broken anywhere is dropped whole, before any of it has an effect.

use rtcp_types::prelude::*;
use rtcp_types::{
    Bye, FciFeedbackPacketType, Fir, Nack, PayloadFeedback, Pli, ReceiverReferenceTime, ReceiverReport, ReportBlock,
    RtcpParseError, SenderReport, TransportFeedback, Xr,
};
use whipstitch_media::time::Ntp;

/// The compound is not what RFC 3550 6.1 and RFC 4585 6.1 describe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed RTCP compound")]
pub struct Malformed;

impl From<RtcpParseError> for Malformed {
    fn from(_: RtcpParseError) -> Malformed {
        Malformed
    }
}

/// One thing a peer says. SSRCs are as they came: whether they are ours is for the caller to see.
#[derive(Debug)]
pub enum Message<'a> {
    /// A receiver report, or the report blocks of a sender report.
    Reports(Reports<'a>),
    /// Generic NACK (RFC 4585 6.2.1).
    Nack {
        /// The SSRC it is about.
        media: u32,
        /// The sequence numbers.
        nack: Nack<'a>,
    },
    /// Picture loss indication (RFC 4585 6.3.1).
    Pli {
        /// The SSRC it is about.
        media: u32,
    },
    /// Full intra requests (RFC 5104 4.3.1); the media SSRCs are in the entries.
    Fir {
        /// Who asks.
        sender: u32,
        /// The entries.
        fir: Fir<'a>,
    },
    /// Receiver estimated maximum bitrate in bits a second (draft-alvestrand-rmcat-remb-03 2.2).
    Remb {
        /// In bits a second.
        bitrate: u64,
    },
    /// What time it is where nothing is sent: an answer tells that receiver the round trip (RFC 3611 4.4).
    ReferenceTime {
        /// Who asks.
        sender: u32,
        /// Its time.
        ntp: Ntp,
    },
    /// The SSRCs in it are used no more (RFC 3550 6.6).
    Bye(Bye<'a>),
}

/// Report blocks, whichever report they came in.
#[derive(Debug)]
pub enum Reports<'a> {
    /// Of who only receives.
    Receiver(ReceiverReport<'a>),
    /// Of who sends as well: what it says of itself is in there.
    Sender(SenderReport<'a>),
}

impl<'a> Reports<'a> {
    /// Visits every block.
    pub fn for_each(&self, visit: impl FnMut(ReportBlock<'a>)) {
        match self {
            Reports::Receiver(report) => report.report_blocks().for_each(visit),
            Reports::Sender(report) => report.report_blocks().for_each(visit),
        }
    }
}

/// A compound in which every packet was found to be whole.
pub struct Compound<'a>(&'a [u8]);

impl<'a> Compound<'a> {
    /// Checks a compound in plain. Padding at its end is cut off in place.
    ///
    /// # Errors
    /// [`Malformed`] if any of it is.
    pub fn parse(bytes: &'a mut [u8]) -> Result<Compound<'a>, Malformed> {
        let (mut at, mut end) = (0, bytes.len());
        while at < end {
            let rest = bytes.get_mut(at..).ok_or(Malformed)?;
            let len = packet_len(rest)?;
            let packet = rest.get_mut(..len).ok_or(Malformed)?;
            let mut kept = len;
            if packet.first().is_some_and(|first| first & PADDING != 0) {
                // RFC 3550 6.4.1: only the last packet of a compound may be padded.
                if at + len != end {
                    return Err(Malformed);
                }
                kept -= strip_padding(packet)?;
                end = at + kept;
            }
            message(packet.get(..kept).ok_or(Malformed)?)?;
            at += kept;
        }
        // Not even one packet is no compound.
        if end == 0 { Err(Malformed) } else { Ok(Compound(bytes.get(..end).ok_or(Malformed)?)) }
    }

    /// What the peer says, in order.
    pub fn messages(self) -> impl Iterator<Item = Message<'a>> {
        packets(self.0).filter_map(|packet| message(packet).ok().flatten())
    }
}

/// The packets of a compound, each with its header, up to the first that is not whole.
pub fn packets(mut compound: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (packet, after) = compound.split_at_checked(packet_len(compound).ok()?)?;
        compound = after;
        Some(packet)
    })
}

/// P bit of the first byte.
const PADDING: u8 = 0x20;

/// Length of the packet that begins here, by its header.
fn packet_len(bytes: &[u8]) -> Result<usize, Malformed> {
    let [first, _, high, low] = *bytes.first_chunk().ok_or(Malformed)?;
    if first >> 6 != 2 {
        return Err(Malformed);
    }
    Ok(4 * (usize::from(u16::from_be_bytes([high, low])) + 1))
}

/// Cuts the padding off a packet: clears the P bit, corrects the length, returns how much it was.
fn strip_padding(packet: &mut [u8]) -> Result<usize, Malformed> {
    let padding = usize::from(*packet.last().ok_or(Malformed)?);
    let left = packet.len().checked_sub(padding).filter(|left| *left >= 4).ok_or(Malformed)?;
    if padding == 0 || padding % 4 != 0 {
        return Err(Malformed);
    }
    let header = packet.first_chunk_mut::<4>().ok_or(Malformed)?;
    header[0] &= !PADDING;
    header[2..].copy_from_slice(&((left / 4 - 1) as u16).to_be_bytes());
    Ok(padding)
}

/// What one packet says; None for what does not concern us.
fn message(packet: &[u8]) -> Result<Option<Message<'_>>, Malformed> {
    Ok(match packet.get(1).copied().ok_or(Malformed)? {
        ReceiverReport::PACKET_TYPE => Some(Message::Reports(Reports::Receiver(ReceiverReport::parse(packet)?))),
        SenderReport::PACKET_TYPE => Some(Message::Reports(Reports::Sender(SenderReport::parse(packet)?))),
        Bye::PACKET_TYPE => Some(Message::Bye(Bye::parse(packet)?)),
        TransportFeedback::PACKET_TYPE => transport(TransportFeedback::parse(packet)?)?,
        PayloadFeedback::PACKET_TYPE => payload(PayloadFeedback::parse(packet)?)?,
        Xr::PACKET_TYPE => reference_time(packet),
        _ => None,
    })
}

/// The first receiver's time among extended reports; what else they say, and whether they are whole, does not concern us.
fn reference_time<'a>(packet: &[u8]) -> Option<Message<'a>> {
    let reports = Xr::parse(packet).ok()?;
    let time = reports.block_iter().find_map(|block| block.parse_into::<ReceiverReferenceTime<'_>>().ok());
    time.map(|time| Message::ReferenceTime { sender: reports.sender_ssrc(), ntp: Ntp(time.ntp_timestamp()) })
}

fn transport(feedback: TransportFeedback<'_>) -> Result<Option<Message<'_>>, Malformed> {
    if feedback.count() != Nack::FCI_FORMAT {
        return Ok(None);
    }
    Ok(Some(Message::Nack { media: feedback.media_ssrc(), nack: feedback.parse_fci()? }))
}

fn payload(feedback: PayloadFeedback<'_>) -> Result<Option<Message<'_>>, Malformed> {
    Ok(match feedback.count() {
        Pli::FCI_FORMAT => Some(Message::Pli { media: feedback.media_ssrc() }),
        Fir::FCI_FORMAT => Some(Message::Fir { sender: feedback.sender_ssrc(), fir: feedback.parse_fci()? }),
        // Application layer feedback that is not REMB is somebody else's.
        Remb::FCI_FORMAT => feedback.parse_fci::<Remb>().ok().map(|remb| Message::Remb { bitrate: remb.bitrate }),
        _ => None,
    })
}

/// REMB as feedback control information, which `rtcp-types` does not have.
struct Remb {
    bitrate: u64,
}

impl<'a> FciParser<'a> for Remb {
    const PACKET_TYPE: FciFeedbackPacketType = FciFeedbackPacketType::PAYLOAD;
    /// Application layer feedback (RFC 4585 6.4).
    const FCI_FORMAT: u8 = 15;

    fn parse(data: &'a [u8]) -> Result<Self, RtcpParseError> {
        let Some([b'R', b'E', b'M', b'B', _count, high, middle, low]) = data.first_chunk() else {
            return Err(RtcpParseError::WrongImplementation);
        };
        // 6 bits of exponent, 18 of mantissa: up to 81 bits.
        let mantissa = u128::from(u32::from_be_bytes([0, high & 3, *middle, *low]));
        let bitrate = mantissa << (high >> 2);
        Ok(Remb { bitrate: u64::try_from(bitrate).unwrap_or(u64::MAX) })
    }
}

#[cfg(test)]
#[path = "rtcp_tests.rs"]
mod tests;
