//! RTP of a publisher: judged, given to the engine, and told of in the order of arrival.

use std::time::Instant;

use str0m::media::Rid;
use str0m::rtp::RtpPacket;
use whipstitch_media::time::Ntp;
use whipstitch_media::{Extensions, Packet};

use super::header::{RtpIdentity, extension, rtp_identity};
use super::inbound::{Admission, Noted, Repairs};
use super::layers::{Choice, Layers};
use super::{Engine, EngineError, EngineEvent};

impl Engine {
    /// An SRTP datagram of the peer. Before [`Engine::secure`] nothing of it can be authentic.
    pub(crate) fn handle_rtp(&mut self, now: Instant, datagram: &[u8]) -> Result<(), EngineError> {
        let Some(rtp) = rtp_identity(datagram) else {
            self.rejected += 1;
            return Ok(());
        };
        let mapped = self.is_mapped(rtp.ssrc);
        let repairs = self.repairs(&rtp, datagram);
        self.opens_rtx = repairs.is_some();
        let Some(inbound) = &mut self.inbound else {
            self.rejected += 1;
            return Ok(());
        };
        match inbound.admit(now, &rtp, datagram, mapped, repairs) {
            Admission::Dropped => {
                self.rejected += 1;
                return Ok(());
            }
            Admission::Late(late) => {
                self.authentic = true;
                let section = self.sections.iter().find(|section| section.kind == late.kind);
                // Of simulcast layers, only the one that is forwarded.
                let chosen = section.and_then(|section| section.layers.as_ref()).map(Layers::chosen);
                if chosen.is_none_or(|chosen| chosen == Some(late.ssrc)) {
                    self.events.push_back(EngineEvent::Packet(late.kind, late.packet));
                }
                // What came by RTX the engine reports as received, for the publisher's congestion control.
                if repairs.is_none() {
                    // Unless the publisher sends probes itself.
                    let stand_in = self.stand_in.as_mut().filter(|_| !inbound.knows(0));
                    let stand_in = stand_in.and_then(|stand_in| stand_in.of(&rtp, datagram));
                    return stand_in.map_or(Ok(()), |bytes| self.handle_datagram(now, &bytes));
                }
            }
            Admission::Engine if !mapped => self.map_by_payload_type(&rtp),
            Admission::Engine => {}
        }
        // What came by RTX is authentic by now, and may well repair what has come.
        self.unjudged = repairs.is_none();
        self.handle_datagram(now, datagram)
    }

    /// Judges the datagram that the engine was given last, after it has told what it made of it. It says nothing of what it
    /// drops: what is not authentic, of a payload type nobody agreed on, or a replay.
    pub(crate) fn judge(&mut self, datagram: &[u8]) {
        if !std::mem::take(&mut self.unjudged) {
            return;
        }
        let inbound = self.inbound.as_ref().zip(rtp_identity(datagram));
        // Padding, which is to probe for bandwidth, is told of by nobody.
        if !inbound.is_some_and(|(inbound, rtp)| inbound.is_padding(&rtp, datagram)) {
            self.rejected += 1;
        }
    }

    /// Whose retransmission a packet is, if it is one. Of simulcast layers the engine knows those it has seen; the first
    /// packet says it itself (RFC 8852 3.2).
    fn repairs(&mut self, rtp: &RtpIdentity, datagram: &[u8]) -> Option<Repairs> {
        let section = self.sections.iter().find(|section| section.rtx_pt == Some(rtp.pt))?;
        if section.layers.is_none() {
            return Some(Repairs::Kind(section.kind));
        }
        let mut api = self.rtc.as_mut()?.direct_api();
        let repaired = |ssrc: &u32| {
            let stream = api.stream_rx(&(*ssrc).into());
            stream.and_then(|stream| stream.rtx()).is_some_and(|rtx| *rtx == rtp.ssrc)
        };
        if let Some(ssrc) = self.inbound.as_ref()?.media(section.kind).find(repaired) {
            return Some(Repairs::Layer(section.kind, ssrc));
        }
        let rid = self.repaired_rid.and_then(|id| std::str::from_utf8(extension(datagram, id)?).ok()).map(Rid::from);
        let layer = rid.and_then(|rid| api.stream_rx_by_mid(section.mid, Some(rid)));
        Some(layer.map_or(Repairs::Unknown, |stream| Repairs::Layer(section.kind, *stream.ssrc())))
    }

    /// RFC 9143 9.2's last resort: without `a=ssrc` and MID the payload type says whose packet it is.
    fn map_by_payload_type(&mut self, rtp: &RtpIdentity) {
        let section = self.sections.iter().find(|section| section.by_payload_type && section.pt == rtp.pt);
        let (Some(mid), Some(rtc)) = (section.map(|section| section.mid), &mut self.rtc) else { return };
        rtc.direct_api().expect_stream_rx(rtp.ssrc.into(), None, mid, None);
    }

    /// Whether packets with this SSRC have a section.
    pub(crate) fn is_mapped(&mut self, ssrc: u32) -> bool {
        self.rtc.as_mut().is_some_and(|rtc| rtc.direct_api().stream_rx(&ssrc.into()).is_some())
    }

    /// Takes what the engine made of a datagram.
    pub(super) fn packet(&mut self, packet: RtpPacket) {
        self.authentic = true;
        self.unjudged = false;
        let (pt, ssrc) = (*packet.header.payload_type, *packet.header.ssrc);
        // An un-RTXed packet carries the main payload type again.
        let Some(section) = self.sections.iter_mut().find(|section| section.pt == pt || section.rtx_pt == Some(pt))
        else {
            return;
        };
        let kind = section.kind;
        let choice = section
            .layers
            .as_mut()
            .map_or(Choice::Forward, |layers| layers.take(packet.timestamp, ssrc, packet.payload.len()));
        let (index, time) = (*packet.seq_no, packet.time.numer());
        // Of simulcast layers, only the one that is forwarded is repaired.
        let asks = section.nack && choice != Choice::LeaveOut;
        let (rtx, resends_by_rtx) = (self.opens_rtx, section.rtx_pt.is_some());
        let noted = Noted { ssrc, kind, pt: section.pt, index, time, asks, rtx, resends_by_rtx };
        let first = self.inbound.as_mut().is_some_and(|inbound| inbound.note(packet.timestamp, &noted));
        // The engine would ask as well, in a rhythm of its own.
        if first
            && let Some(rtc) = &mut self.rtc
            && let Some(stream) = rtc.direct_api().stream_rx(&ssrc.into())
        {
            stream.suppress_nack(true);
        }
        match choice {
            Choice::Forward => {}
            Choice::LeaveOut => return,
            Choice::Switch => {
                section.reported = None;
                self.events.push_back(EngineEvent::Switched);
            }
        }
        if let Some(info) = packet.last_sender_info
            && section.reported != Some(info.ntp_time)
        {
            section.reported = Some(info.ntp_time);
            let (ntp, time) = (Ntp::from_system_time(info.ntp_time), info.rtp_time.numer());
            self.events.push_back(EngineEvent::SenderReport(kind, ntp, time));
        }
        let values = &packet.header.ext_vals;
        let audio_level = values.audio_level.map(|level| {
            // str0m gives -dBov as a negative number; the wire has seven bits of magnitude (RFC 6464 3).
            level.unsigned_abs().min(127) | if values.voice_activity == Some(true) { 0x80 } else { 0 }
        });
        let packet = Packet {
            seq: index,
            time,
            marker: packet.header.marker,
            payload: packet.payload,
            extensions: Extensions { audio_level, orientation: None },
            arrived: packet.timestamp,
        };
        self.events.push_back(EngineEvent::Packet(kind, packet));
    }
}
