//! str0m as this crate uses it: DTLS and everything that comes in from publishers, never SDP, ICE or media going out.
//!
//! The engine is configured through its direct API from a plan that negotiation has made. ICE happens at our edge: the
//! engine gets one synthetic nomination between two addresses that exist nowhere, and the destinations it names are
//! ignored. It is never told of an SSRC that we send, and never given a stream to send, so it cannot write under the
//! key and SSRC of an egress.
//!
//! An engine is only a [`Blueprint`] until its peer can be reached: str0m and OpenSSL take 40 to 50 KiB, and a client that
//! asks and never comes must not cost that. A viewer's, once connected, is an [`Association`] only.

mod association;
mod blueprint;
mod header;
mod inbound;
mod layers;
mod missing;
mod receive;
mod reordering;
mod reporter;
mod section;
mod stand_in;

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use str0m::net::{Protocol, Receive};
use str0m::rtp::Ssrc;
use str0m::{Event, Input, Output, Rtc, RtcError};
use whipstitch_media::time::Ntp;
use whipstitch_media::{Kind, Packet};
use whipstitch_net::sort::{Sort, sort};
use whipstitch_net::stun;

use self::association::Association;
use self::blueprint::Blueprint;
use self::header::rtp_identity;
use self::inbound::Inbound;
use self::layers::Layers;
use self::reporter::Reporter;
pub(crate) use self::section::EngineCounters;
use self::section::Section;
use self::stand_in::StandIn;
use crate::dtls::{Identity, Tap, Tapped};
use crate::egress::Keys;
use crate::negotiate::{DtlsRole, Extension, PublisherPlan};

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
    /// The round trip to the publisher takes this long.
    RoundTrip(Duration),
    /// Packets of video up to this number will not come any more.
    GivenUp(u64),
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
    /// It has nothing more to do but to say what it still has to.
    retiring: bool,
    /// What is left of a viewer's in the end.
    association: Option<Association>,
    tap: Tap,
    role: DtlsRole,
    sections: Vec<Section>,
    reduced_size: bool,
    /// Both of a publisher that is connected.
    reporter: Option<Box<Reporter>>,
    inbound: Option<Box<Inbound>>,
    /// What is still to be told: a handful, all of one datagram.
    events: VecDeque<EngineEvent>,
    /// The ID of the extension that says which layer a retransmission repairs.
    repaired_rid: Option<u8>,
    /// The ID of the extension with the transport-wide number.
    transport_cc: Option<u8>,
    /// Of a publisher that expects transport-wide feedback, and resends without RTX.
    stand_in: Option<Box<StandIn>>,
    /// Of the packet that the engine was given last it has told nothing yet.
    unjudged: bool,
    /// What the engine was given last came by RTX.
    opens_rtx: bool,
    /// As the engine measures it.
    rtt: Option<Duration>,
    /// Requests for what is missing.
    nacks: u64,
    /// A packet has proven authentic since this was asked last.
    authentic: bool,
    wake: Instant,
    broken: bool,
    /// Datagrams that had no effect: see [`Engine::rejected`].
    rejected: u64,
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
        let repaired_rid = blueprint.id(Extension::RepairedRid);
        let transport_cc = blueprint.id(Extension::TransportCc);
        Engine {
            blueprint: Some(Box::new(blueprint)),
            rtc: None,
            retiring: false,
            association: None,
            tap: Tap::default(),
            role,
            sections: Vec::new(),
            reduced_size,
            reporter: None,
            inbound: None,
            events: VecDeque::new(),
            repaired_rid,
            transport_cc,
            stand_in: None,
            unjudged: false,
            opens_rtx: false,
            rtt: None,
            nacks: 0,
            authentic: false,
            wake: now,
            broken: false,
            rejected: 0,
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
        if let Some(association) = &mut self.association {
            association.handle_datagram(now, datagram);
            return Ok(());
        }
        // What str0m cannot even sort is dropped, as on any socket.
        let Ok(receive) = Receive::new(Protocol::Udp, THERE, HERE, datagram) else { return Ok(()) };
        self.guard(|rtc| rtc.handle_input(Input::Receive(now, receive)))
    }

    /// Datagrams of media that nothing was made of: before the handshake, not authentic, of one SSRC too many or of a payload
    /// type that is not known, come before, or too far off for anybody.
    pub(crate) fn rejected(&self) -> u64 {
        self.rejected
    }

    /// Whether an SRTCP datagram is the peer's, and comes for the first time.
    pub(crate) fn is_authentic_rtcp(&mut self, datagram: &[u8]) -> bool {
        self.inbound.as_mut().is_some_and(|inbound| inbound.is_authentic_rtcp(datagram))
    }

    /// A publisher is proven: from now on its packets are judged, and reports to it written, under these keys, which are
    /// those of [`Engine::take_keys`].
    pub(crate) fn secure(&mut self, keys: Keys) {
        let told = self.sections.iter().any(|section| section.transport_cc && section.rtx_pt.is_none());
        let stand_in = self.transport_cc.filter(|_| told).and_then(|id| StandIn::new(id, keys.as_the_peer()));
        self.stand_in = stand_in.map(Box::new);
        let (sealers, ours, theirs) = keys.into_rewriting_contexts();
        self.reporter = Some(Box::new(Reporter::new(sealers, ours, self.reduced_size)));
        self.inbound = Some(Box::new(Inbound::new(theirs)));
        let Some(rtc) = &mut self.rtc else { return };
        // Not before: the engine reports on each once at first, which tells the SSRC that it sends under.
        for section in &self.sections {
            if let Some((ssrc, rtx)) = section.announced {
                let mut api = rtc.direct_api();
                api.expect_stream_rx(ssrc.into(), rtx.map(Ssrc::from), section.mid, None).suppress_nack(true);
            }
        }
    }

    /// A viewer is proven, its keys are taken, and everything but DTLS is done for it elsewhere: what the engine has still to
    /// say is the last of it.
    pub(crate) fn retire(&mut self) {
        self.retiring = true;
    }

    fn leave_association(&mut self, now: Instant) {
        self.retiring = false;
        self.rtc = None;
        self.association = self.tap.take_instance().map(|instance| Association::new(now, instance));
    }

    /// Its deadline has come.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Result<(), EngineError> {
        if let Some(association) = &mut self.association {
            association.handle_timeout(now);
            return Ok(());
        }
        // It may be that only something is to be asked for.
        if self.wake > now {
            return Ok(());
        }
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

    /// str0m itself, as long as there is any.
    #[cfg(test)]
    pub(crate) fn inner(&mut self) -> Option<&mut Rtc> {
        self.rtc.as_deref_mut()
    }

    /// Drives the engine to the next thing it tells; datagrams go to `send`. `None` when nothing is left before
    /// [`Engine::deadline`].
    pub(crate) fn poll(
        &mut self,
        now: Instant,
        mut send: impl FnMut(&[u8]),
    ) -> Result<Option<EngineEvent>, EngineError> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            if let Some(association) = &mut self.association {
                return Ok(association.drain(&mut send).then_some(EngineEvent::Closed));
            }
            let Some(rtc) = &mut self.rtc else { return Ok(None) };
            match rtc.poll_output() {
                Ok(Output::Timeout(at)) => {
                    self.wake = at;
                    if self.retiring {
                        self.leave_association(now);
                        continue;
                    }
                    self.ask(now, &mut send);
                    return Ok(self.events.pop_front());
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
                Ok(Output::Event(event)) => self.event(event),
                Err(error) => {
                    self.broken = true;
                    return Err(error.into());
                }
            }
        }
    }

    /// Asks the publisher for what is missing.
    fn ask(&mut self, now: Instant, send: &mut impl FnMut(&[u8])) {
        let (Some(inbound), Some(reporter)) = (&mut self.inbound, &mut self.reporter) else { return };
        if reporter.is_ready() {
            inbound.poll_missing(now, self.rtt, |ssrc, numbers| {
                self.nacks += 1;
                reporter.ask(ssrc, numbers, &mut *send);
            });
        }
        // Of audio nothing builds on what is lost.
        if let Some(number) = inbound.take_given_up(Kind::Video) {
            self.events.push_back(EngineEvent::GivenUp(number));
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Connected => self.events.push_back(EngineEvent::Connected),
            Event::Closed => self.events.push_back(EngineEvent::Closed),
            Event::RtpPacket(packet) => self.packet(packet),
            Event::MediaIngressStats(stats) => {
                if let Some(section) = self.sections.iter_mut().find(|section| section.mid == stats.mid) {
                    section.count(&stats);
                }
                if let Some(rtt) = stats.rtt.filter(|rtt| self.rtt != Some(*rtt)) {
                    self.rtt = Some(rtt);
                    self.events.push_back(EngineEvent::RoundTrip(rtt));
                }
            }
            _ => {}
        }
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
        if let Some(association) = &mut self.association {
            association.close();
        }
        // Nothing to be done about a goodbye that cannot be said.
        let _ = self.rtc.as_mut().map(|rtc| rtc.close());
    }

    /// When [`Engine::handle_timeout`] is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        if let Some(association) = &self.association {
            return association.deadline();
        }
        self.rtc.as_ref().filter(|rtc| !self.broken && rtc.is_alive())?;
        let ready = self.reporter.as_ref().is_some_and(|reporter| reporter.is_ready());
        let missing = self.inbound.as_ref().filter(|_| ready).and_then(|inbound| inbound.deadline());
        Some(missing.map_or(self.wake, |missing| missing.min(self.wake)))
    }

    /// The counters of all sections together; of loss and jitter the worst.
    pub(crate) fn counters(&self) -> EngineCounters {
        let all = self.sections.iter().flat_map(|section| &section.counters);
        let none = EngineCounters { nacks: self.nacks, ..EngineCounters::default() };
        all.fold(none, |sum, (_, layer)| EngineCounters {
            nacks: sum.nacks,
            plis: sum.plis + layer.plis,
            firs: sum.firs + layer.firs,
            rtt: sum.rtt.or(layer.rtt),
            loss: [sum.loss, layer.loss].into_iter().flatten().reduce(f32::max),
            jitter: sum.jitter.max(layer.jitter),
        })
    }
}
