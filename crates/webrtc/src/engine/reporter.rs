//! What the engine has to say to a publisher, in the compounds that publishers read.
//!
//! The engine packs whatever is due into one datagram and names nobody. Here every report gets its CNAME, and feedback
//! travels as negotiated: alone where the publisher offered reduced size (RFC 5506), since newer FFmpeg reads a NACK only
//! if it is the one packet of its datagram; else behind a report (RFC 3550 6.1, RFC 4585 3.1).
//!
//! What is missing is asked for by us alone: the engine's requests, which reach less far, are left out.
//!
//! The engine's datagrams are opened and written anew under their own sender's SSRC, with numbers counted here. What the
//! engine sealed never leaves, so that no nonce is seen on the wire twice.

use rtcp_types::prelude::*;
use rtcp_types::{Nack, ReceiverReport, Sdes, SdesChunk, SdesItem, SenderReport, TransportFeedback};
use whipstitch_rtp::rtcp::packets;

use crate::egress::srtp::{Opener, Sealer, Sealers};

/// Extended reports (RFC 3611 2), which `rtcp-types` names nowhere in public.
const XR: u8 = 207;

/// P bit of the first byte of a packet.
const PADDING: u8 = 0x20;

/// FMT of a generic NACK (RFC 4585 6.2.1), and the bits of the first byte that say it.
const NACK: u8 = 1;
const FORMAT: u8 = 0x1f;

/// Plain bytes of a datagram of ours, so that with protection it stays below every path's MTU (protocol.md 9.2).
const LONGEST: usize = 1160;

/// Letters of a CNAME: 96 bits make it unlike all others (RFC 7022 4.2).
const CNAME: usize = 16;

pub(super) struct Reporter {
    opener: Opener,
    sealers: Sealers,
    sealer: Option<Sealer>,
    cname: String,
    reduced: bool,
}

impl Reporter {
    /// `opener` opens what we seal; `reduced` says that feedback may travel alone.
    pub(super) fn new(sealers: Sealers, opener: Opener, reduced: bool) -> Reporter {
        let cname = crate::random::resource().chars().take(CNAME).collect();
        Reporter { opener, sealers, sealer: None, cname, reduced }
    }

    /// Sends what one datagram of the engine says.
    pub(super) fn rewrite(&mut self, datagram: &[u8], mut send: impl FnMut(&[u8])) {
        let mut bytes = datagram.to_vec();
        let Ok(len) = self.opener.open_rtcp(&mut bytes) else { return };
        let plain = &bytes[..len];
        let Some(sender) = plain.get(4..8).and_then(|ssrc| ssrc.first_chunk()).map(|ssrc| u32::from_be_bytes(*ssrc))
        else {
            return;
        };
        if self.sealer.is_none() {
            self.sealer = self.sealers.sealer(sender, 0, 0).ok();
        }
        let mut reports = Vec::new();
        let mut feedback = Vec::new();
        for packet in packets(plain) {
            match packet[1] {
                SenderReport::PACKET_TYPE | ReceiverReport::PACKET_TYPE => reports.insert(0, packet),
                // Asking for the time once is enough, however many streams there are.
                XR if !reports.contains(&packet) => reports.push(packet),
                XR => {}
                TransportFeedback::PACKET_TYPE if packet[0] & FORMAT == NACK => {}
                _ => feedback.push(packet),
            }
        }
        if reports.is_empty() && feedback.is_empty() {
            return;
        }
        if self.reduced {
            if !reports.is_empty() {
                let compound = self.begin(sender, &reports);
                self.seal(compound, &mut send);
            }
            feedback.into_iter().for_each(|packet| self.seal(packet.to_vec(), &mut send));
            return;
        }
        let mut compound = self.begin(sender, &reports);
        let mut padded = false;
        for packet in feedback {
            // RFC 3550 6.4.1: only the last packet may be padded. The engine pads its transport feedback.
            if padded || compound.len() + packet.len() > LONGEST {
                let full = std::mem::replace(&mut compound, self.begin(sender, &[]));
                self.seal(full, &mut send);
            }
            compound.extend_from_slice(packet);
            padded = packet[0] & PADDING != 0;
        }
        self.seal(compound, &mut send);
    }

    /// Whether the engine's SSRC is known, under which everything is sent.
    pub(super) fn is_ready(&self) -> bool {
        self.sealer.is_some()
    }

    /// Asks for packets of a source. All numbers that can be missing at once fit a datagram.
    pub(super) fn ask(&mut self, media: u32, numbers: &[u16], mut send: impl FnMut(&[u8])) {
        let Some(sender) = self.sealer.as_ref().map(Sealer::ssrc) else { return };
        let mut compound = if self.reduced { Vec::with_capacity(LONGEST) } else { self.begin(sender, &[]) };
        let nack = numbers.iter().fold(Nack::builder(), |nack, number| nack.add_rtp_sequence(*number));
        append(&mut compound, &TransportFeedback::builder_owned(nack).sender_ssrc(sender).media_ssrc(media));
        self.seal(compound, &mut send);
    }

    /// A compound with these reports, or an empty one, and the CNAME.
    fn begin(&self, sender: u32, reports: &[&[u8]]) -> Vec<u8> {
        let mut compound = Vec::with_capacity(LONGEST);
        let (first, others) = reports.split_at(reports.iter().take_while(|report| report[1] != XR).count());
        if first.is_empty() {
            append(&mut compound, &ReceiverReport::builder(sender));
        }
        first.iter().for_each(|report| compound.extend_from_slice(report));
        let name = SdesItem::builder(SdesItem::CNAME, &self.cname);
        append(&mut compound, &Sdes::builder().add_chunk(SdesChunk::builder(sender).add_item(name)));
        others.iter().for_each(|report| compound.extend_from_slice(report));
        compound
    }

    fn seal(&mut self, mut compound: Vec<u8>, send: &mut impl FnMut(&[u8])) {
        let Some(sealer) = &mut self.sealer else { return };
        let len = compound.len();
        compound.resize(len + sealer.rtcp_overhead(), 0);
        if let Ok(sealed) = sealer.seal_rtcp(&mut compound, len) {
            send(&compound[..sealed]);
        }
    }
}

fn append(compound: &mut Vec<u8>, packet: &impl RtcpPacketWriter) {
    let at = compound.len();
    let size = packet.calculate_size().expect("its parts are of lengths that RTCP can say");
    compound.resize(at + size, 0);
    packet.write_into(&mut compound[at..]).expect("the buffer is as long as it said");
}

#[cfg(test)]
mod tests;
