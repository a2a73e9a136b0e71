//! str0m as this crate uses it: DTLS and everything that comes in from publishers, never SDP, ICE or media going out.
//!
//! The engine is configured through its direct API from a plan that negotiation has made. ICE happens at our edge: the
//! engine gets one synthetic nomination between two addresses that exist nowhere, and the destinations it names are
//! ignored. It is never told of an SSRC that we send, and never given a stream to send, so it cannot write under the
//! key and SSRC of an egress.
//!
//! An engine is only a [`Blueprint`] until its peer can be reached: str0m and OpenSSL take 40 to 50 KiB, and a client that
//! asks and never comes must not cost that.

mod blueprint;
mod inbound;
mod layers;
mod reporter;
mod section;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use str0m::net::{Protocol, Receive};
use str0m::rtp::RtpPacket;
use str0m::{Event, Input, Output, Rtc, RtcError};
use whipstitch_media::time::Ntp;
use whipstitch_media::{Extensions, Kind, Packet};
use whipstitch_net::sort::{Sort, sort};
use whipstitch_net::stun;

use self::blueprint::Blueprint;
use self::inbound::{Admission, Inbound, RtpIdentity, rtp_identity};
use self::layers::{Choice, Layers};
use self::reporter::Reporter;
pub(crate) use self::section::EngineCounters;
use self::section::Section;
use crate::dtls::{Identity, Tap, Tapped};
use crate::egress::Keys;
use crate::negotiate::{DtlsRole, PublisherPlan};

/// The two ends of the engine's only pair: documentation addresses (RFC 5737) that no datagram ever goes to.
const HERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 1);
const THERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)), 2);

/// Credentials of the synthetic check. They guard nothing: no datagram of a peer reaches the engine's ICE agent.
const HERE_CREDENTIALS: (&str, &str) = ("here", "synthetic-check-of-the-edge");
const THERE_CREDENTIALS: (&str, &str) = ("there", "synthetic-check-of-the-edge");

/// SSRCs of one session (protocol.md 7.2). Packets of further ones are dropped.
const MAX_SSRCS: usize = 32;

/// What the engine tells.
pub(crate) enum EngineEvent {
    /// DTLS is done and the fingerprint was right.
    Connected,
    /// Packets come from another simulcast layer from now on, with numbers and times of its own.
    Switched,
    /// A packet of a publisher, authenticated and in the order of arrival.
    Packet(Kind, Packet),
    /// The publisher's sender report: NTP time of an extended RTP time.
    SenderReport(Kind, Ntp, u64),
    /// The peer said goodbye.
    Closed,
}

/// Why the engine gave up.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct EngineError(#[from] RtcError);

/// One engine.
pub(crate) struct Engine {
    /// What it will be, until the peer can be reached.
    blueprint: Option<Box<Blueprint>>,
    /// What it is from then on.
    rtc: Option<Box<Rtc>>,
    tap: Tap,
    role: DtlsRole,
    sections: Vec<Section>,
    reduced_size: bool,
    /// Both of a publisher that is connected.
    reporter: Option<Box<Reporter>>,
    inbound: Option<Box<Inbound>>,
    /// Packets that came too late for the engine, to be told of.
    repaired: Vec<(Kind, Packet)>,
    /// A packet has proven authentic since this was asked last.
    authentic: bool,
    wake: Instant,
    broken: bool,
}

impl Engine {
    /// An engine that only does DTLS: a subscriber's.
    pub(crate) fn subscriber(now: Instant, identity: &Identity, fingerprint: &[u8; 32], role: DtlsRole) -> Engine {
        Engine::of(now, Blueprint::new(identity, fingerprint, None), role, false)
    }

    /// An engine that receives what a publisher's plan says.
    pub(crate) fn publisher(
        now: Instant,
        identity: &Identity,
        fingerprint: &[u8; 32],
        role: DtlsRole,
        plan: &PublisherPlan,
    ) -> Engine {
        Engine::of(now, Blueprint::new(identity, fingerprint, Some(plan)), role, plan.reduced_size)
    }

    fn of(now: Instant, blueprint: Blueprint, role: DtlsRole, reduced_size: bool) -> Engine {
        Engine {
            blueprint: Some(Box::new(blueprint)),
            rtc: None,
            tap: Tap::default(),
            role,
            sections: Vec::new(),
            reduced_size,
            reporter: None,
            inbound: None,
            repaired: Vec::new(),
            authentic: false,
            wake: now,
            broken: false,
        }
    }

    /// The peer can be reached: the engine may send. As DTLS client it begins now (protocol.md 7.1).
    pub(crate) fn reachable(&mut self, now: Instant) -> Result<(), EngineError> {
        let Some(blueprint) = self.blueprint.take() else { return Ok(()) };
        let (mut rtc, tap) = blueprint.build(now);
        self.tap = tap;
        self.sections = blueprint.declare(&mut rtc);
        let rtc = self.rtc.insert(Box::new(rtc));
        rtc.handle_input(Input::Timeout(now))?;
        rtc.direct_api().start_dtls(self.role == DtlsRole::Client)?;
        let username = format!("{}:{}", HERE_CREDENTIALS.0, THERE_CREDENTIALS.0);
        let check = stun::binding_request(&username, HERE_CREDENTIALS.1, true, 1, 1, [1; 12]);
        let check = Receive::new(Protocol::Udp, THERE, HERE, &check).expect("our own binding request parses");
        rtc.handle_input(Input::Receive(now, check))?;
        self.wake = now;
        Ok(())
    }

    /// A DTLS or SRTCP datagram of the peer.
    pub(crate) fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) -> Result<(), EngineError> {
        // What str0m cannot even sort is dropped, as on any socket.
        let Ok(receive) = Receive::new(Protocol::Udp, THERE, HERE, datagram) else { return Ok(()) };
        self.guard(|rtc| rtc.handle_input(Input::Receive(now, receive)))
    }

    /// An SRTP datagram of the peer. Before [`Engine::secure`] nothing of it can be authentic.
    pub(crate) fn handle_rtp(&mut self, now: Instant, datagram: &[u8]) -> Result<(), EngineError> {
        let Some(rtp) = rtp_identity(datagram) else { return Ok(()) };
        let mapped = self.is_mapped(rtp.ssrc);
        let Some(inbound) = &mut self.inbound else { return Ok(()) };
        // Which layer an RTX packet repairs, only the engine can tell.
        let repairs = self.sections.iter().find(|section| section.rtx_pt == Some(rtp.pt) && section.layers.is_none());
        let repairs = repairs.map(|section| section.kind);
        match inbound.admit(now, &rtp, datagram, mapped, repairs) {
            Admission::Dropped => return Ok(()),
            Admission::Late(kind, packet) => {
                self.authentic = true;
                let section = self.sections.iter().find(|section| section.kind == kind);
                // Of simulcast layers, only the one that is forwarded.
                let chosen = section.and_then(|section| section.layers.as_ref()).map(Layers::chosen);
                if chosen.is_none_or(|chosen| chosen == Some(rtp.ssrc)) {
                    self.repaired.push((kind, packet));
                }
                // What came by RTX the engine reports as received, for the publisher's congestion control.
                if repairs.is_none() {
                    return Ok(());
                }
            }
            Admission::Engine if !mapped => self.map_by_payload_type(&rtp),
            Admission::Engine => {}
        }
        self.handle_datagram(now, datagram)
    }

    /// Whether an SRTCP datagram is the peer's, and comes for the first time.
    pub(crate) fn is_authentic_rtcp(&mut self, datagram: &[u8]) -> bool {
        self.inbound.as_mut().is_some_and(|inbound| inbound.is_authentic_rtcp(datagram))
    }

    /// A publisher is proven: from now on its packets are judged, and reports to it written, under these keys, which are
    /// those of [`Engine::take_keys`].
    pub(crate) fn secure(&mut self, keys: Keys) {
        let (sealers, ours, theirs) = keys.into_rewriting_contexts();
        self.reporter = Some(Box::new(Reporter::new(sealers, ours, self.reduced_size)));
        self.inbound = Some(Box::new(Inbound::new(theirs)));
    }

    /// Its deadline has come.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Result<(), EngineError> {
        self.guard(|rtc| rtc.handle_input(Input::Timeout(now)))
    }

    /// An engine that failed once still drains (its alert), but is asked for nothing more.
    fn guard(&mut self, call: impl FnOnce(&mut Rtc) -> Result<(), RtcError>) -> Result<(), EngineError> {
        let Some(rtc) = self.rtc.as_mut().filter(|_| !self.broken) else { return Ok(()) };
        call(rtc).map_err(|error| {
            self.broken = true;
            EngineError(error)
        })
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

    /// Drains the engine: datagrams to `send`, everything else to `tell`.
    pub(crate) fn drain(
        &mut self,
        mut send: impl FnMut(&[u8]),
        mut tell: impl FnMut(EngineEvent),
    ) -> Result<(), EngineError> {
        for (kind, packet) in self.repaired.drain(..) {
            tell(EngineEvent::Packet(kind, packet));
        }
        while let Some(rtc) = &mut self.rtc {
            match rtc.poll_output() {
                Ok(Output::Timeout(at)) => {
                    self.wake = at;
                    return Ok(());
                }
                Ok(Output::Transmit(transmit)) => {
                    match sort(&transmit.contents) {
                        Sort::Dtls => send(&transmit.contents),
                        // Before the peer is proven there is nothing to report.
                        Sort::Rtcp => {
                            if let Some(reporter) = &mut self.reporter {
                                reporter.rewrite(&transmit.contents, &mut send);
                            }
                        }
                        // The answer to the synthetic check is for nobody, and of media the engine sends none.
                        Sort::Stun | Sort::Rtp | Sort::Other => {}
                    }
                }
                Ok(Output::Event(event)) => self.event(event, &mut tell),
                Err(error) => {
                    self.broken = true;
                    return Err(error.into());
                }
            }
        }
        Ok(())
    }

    fn event(&mut self, event: Event, tell: &mut impl FnMut(EngineEvent)) {
        match event {
            Event::Connected => tell(EngineEvent::Connected),
            Event::Closed => tell(EngineEvent::Closed),
            Event::RtpPacket(packet) => self.packet(packet, tell),
            Event::MediaIngressStats(stats) => {
                if let Some(section) = self.sections.iter_mut().find(|section| section.mid == stats.mid) {
                    section.count(&stats);
                }
            }
            _ => {}
        }
    }

    fn packet(&mut self, packet: RtpPacket, tell: &mut impl FnMut(EngineEvent)) {
        self.authentic = true;
        let pt = *packet.header.payload_type;
        // An un-RTXed packet carries the main payload type again.
        let Some(section) = self.sections.iter_mut().find(|section| section.pt == pt || section.rtx_pt == Some(pt))
        else {
            return;
        };
        let kind = section.kind;
        if let Some(inbound) = &mut self.inbound {
            inbound.note(*packet.header.ssrc, kind, section.pt, *packet.seq_no, packet.time.numer());
        }
        if let Some(layers) = &mut section.layers {
            match layers.take(packet.timestamp, *packet.header.ssrc, packet.payload.len()) {
                Choice::Forward => {}
                Choice::LeaveOut => return,
                Choice::Switch => {
                    section.reported = None;
                    tell(EngineEvent::Switched);
                }
            }
        }
        if let Some(info) = packet.last_sender_info
            && section.reported != Some(info.ntp_time)
        {
            section.reported = Some(info.ntp_time);
            tell(EngineEvent::SenderReport(kind, Ntp::from_system_time(info.ntp_time), info.rtp_time.numer()));
        }
        let values = &packet.header.ext_vals;
        let audio_level = values.audio_level.map(|level| {
            // str0m gives -dBov as a negative number; the wire has seven bits of magnitude (RFC 6464 3).
            level.unsigned_abs().min(127) | if values.voice_activity == Some(true) { 0x80 } else { 0 }
        });
        let packet = Packet {
            seq: *packet.seq_no,
            time: packet.time.numer(),
            marker: packet.header.marker,
            payload: packet.payload,
            extensions: Extensions { audio_level, orientation: None },
            arrived: packet.timestamp,
        };
        tell(EngineEvent::Packet(kind, packet));
    }

    /// True when an authentic RTP packet has come since the last call, whether or not it was told of.
    pub(crate) fn take_authentic(&mut self) -> bool {
        std::mem::take(&mut self.authentic)
    }

    /// Asks the publisher for a keyframe, in the way it understands. False when it understands none.
    pub(crate) fn request_keyframe(&mut self) -> bool {
        let Some(section) = self.sections.iter().find(|section| section.kind == Kind::Video) else { return false };
        let (mid, Some(kind)) = (section.mid, section.keyframe_request) else { return false };
        let layer = section.layers.as_ref().and_then(Layers::chosen);
        let Some(rtc) = &mut self.rtc else { return false };
        let mut api = rtc.direct_api();
        let stream = match layer {
            Some(ssrc) => api.stream_rx(&ssrc.into()),
            None => api.stream_rx_by_mid(mid, None),
        };
        let Some(stream) = stream else { return false };
        stream.request_keyframe(kind);
        true
    }

    /// Whether this is a resend of a section's by RFC 4588, as its header says, which anybody may write.
    pub(crate) fn is_rtx(&self, datagram: &[u8]) -> bool {
        rtp_identity(datagram).is_some_and(|rtp| self.sections.iter().any(|section| section.rtx_pt == Some(rtp.pt)))
    }

    /// Takes the keys, once. Only after [`EngineEvent::Connected`], which says that the fingerprint was right.
    pub(crate) fn take_keys(&mut self) -> Option<Tapped> {
        self.tap.take()
    }

    /// True when we are the DTLS client, which decides whose half of the keys is whose (RFC 5764 4.2).
    pub(crate) fn is_dtls_client(&self) -> bool {
        self.role == DtlsRole::Client
    }

    /// Starts to say goodbye; drain afterwards.
    pub(crate) fn close(&mut self) {
        // Nothing to be done about a goodbye that cannot be said.
        let _ = self.rtc.as_mut().map(|rtc| rtc.close());
    }

    /// When [`Engine::handle_timeout`] is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.rtc.as_ref().filter(|rtc| !self.broken && rtc.is_alive()).map(|_| self.wake)
    }

    /// The counters of all sections together; of loss and jitter the worst.
    pub(crate) fn counters(&self) -> EngineCounters {
        let all = self.sections.iter().flat_map(|section| &section.counters);
        all.fold(EngineCounters::default(), |sum, (_, layer)| EngineCounters {
            nacks: sum.nacks + layer.nacks,
            plis: sum.plis + layer.plis,
            firs: sum.firs + layer.firs,
            rtt: sum.rtt.or(layer.rtt),
            loss: [sum.loss, layer.loss].into_iter().flatten().reduce(f32::max),
            jitter: sum.jitter.max(layer.jitter),
        })
    }
}
