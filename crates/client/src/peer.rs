//! One WebRTC peer without a socket and without a clock: str0m as the offering, full-ICE, controlling side in RTP mode.
//!
//! Owns negotiation (which codecs are offered, which were taken) and translates str0m's events into the few this crate
//! needs. Every call that changes something must be followed by [`Peer::poll`] until it says [`Output::Idle`].

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::config::DtlsCert;
use str0m::format::{Codec as EngineCodec, FormatParams};
use str0m::media::{Direction, Frequency, KeyframeRequestKind, MediaKind, Mid, Pt};
use str0m::net::{DatagramSend, Protocol, Receive, TcpType};
use str0m::rtp::RtpWrite;
use str0m::{
    Candidate, Event as EngineEvent, IceConnectionState, IceCreds, Input, Output as EngineOutput, Rtc, RtcError,
};
use whipstitch_media::{Codec, Kind};

use crate::error::CloseReason;

/// A video codec to offer, with what distinguishes its profiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VideoFormat {
    /// RFC 6184 with packetization-mode=1 and this `profile-level-id`, e.g. `0x42e01f`.
    H264(u32),
    /// RFC 7741.
    Vp8,
    /// RFC 9628, profile 0.
    Vp9,
    /// AOM "RTP Payload Format for AV1".
    Av1,
}

impl VideoFormat {
    /// Constrained baseline, level 3.1: what every browser decodes.
    pub const H264_CONSTRAINED_BASELINE: VideoFormat = VideoFormat::H264(0x42_e0_1f);

    /// What a browser offers to watch: every codec, H.264 in the profiles Chrome lists.
    pub const ALL: [VideoFormat; 7] = [
        VideoFormat::Vp8,
        VideoFormat::H264(0x42_00_1f),
        VideoFormat::H264_CONSTRAINED_BASELINE,
        VideoFormat::H264(0x4d_00_1f),
        VideoFormat::H264(0x64_00_1f),
        VideoFormat::Vp9,
        VideoFormat::Av1,
    ];
}

/// What a peer offers.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    /// True for a publisher (sendonly), false for a player (recvonly).
    pub(crate) send: bool,
    /// Video formats in order of preference; empty for no video section.
    pub(crate) video: Vec<VideoFormat>,
    /// Whether there is an Opus section.
    pub(crate) audio: bool,
    /// Whether RTX (RFC 4588) is offered for video.
    pub(crate) rtx: bool,
    /// Whether the gateway is to be reached over TCP, and no other way.
    pub(crate) tcp: bool,
}

/// A gateway that answers nothing is given up after 10 to 13 s (RTO 250 ms, doubled up to 3 s; a check every 3 s): long
/// enough for a machine that is overloaded, short enough for a source that wants to publish again.
const STUN_RETRANSMITS: usize = 6;

/// Opus as every browser numbers it.
const OPUS_PT: u8 = 111;
/// Video payload types count up from here, RTX following its codec; 96-127 holds the longest list (RFC 3551 6).
const FIRST_VIDEO_PT: u8 = 96;

/// A media packet received.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) kind: Kind,
    pub(crate) codec: Codec,
    pub(crate) ssrc: u32,
    /// Extended sequence number.
    pub(crate) seq: u64,
    /// Extended RTP time in the codec's clock rate.
    pub(crate) time: u64,
    pub(crate) marker: bool,
    pub(crate) payload: Arc<[u8]>,
}

/// What the peer has to say.
#[derive(Debug)]
pub(crate) enum Event {
    /// ICE and DTLS are up: media may flow.
    Connected,
    /// ICE has a working pair; DTLS is under way.
    IceConnected,
    Packet(Received),
    KeyframeRequest,
    Closed(CloseReason),
}

/// One step of output.
pub(crate) enum Output {
    Transmit {
        to: SocketAddr,
        bytes: DatagramSend,
    },
    Event(Event),
    /// Nothing more until this instant or the next input.
    Idle(Instant),
}

/// A packet to send.
pub(crate) struct Outgoing {
    pub(crate) kind: Kind,
    /// On the caller's timeline; a random offset is added on the wire (RFC 3550 5.1).
    pub(crate) time: u32,
    pub(crate) marker: bool,
    pub(crate) payload: Arc<[u8]>,
    /// When `time` was captured: what sender reports say of it.
    pub(crate) captured: Instant,
}

/// One section of the session description.
struct Track {
    kind: Kind,
    mid: Mid,
    /// Payload type and codec the answer chose first; `None` until answered or when refused.
    chosen: Option<(Pt, Codec)>,
    next_seq: u64,
    time_offset: u32,
}

/// What a connectivity check towards the gateway carries (RFC 8445 7.2.2).
pub(crate) struct Credentials {
    /// `<the gateway's ufrag>:<ours>`.
    pub(crate) username: String,
    /// The gateway's password; a secret.
    pub(crate) pwd: String,
}

/// See the module.
pub(crate) struct Peer {
    rtc: Rtc,
    local: SocketAddr,
    protocol: Protocol,
    tracks: Vec<Track>,
    pending: Option<SdpPendingOffer>,
    local_ufrag: String,
    /// Once answered.
    credentials: Option<Credentials>,
}

impl Peer {
    /// A peer that receives at `local`, and its offer. One `certificate` may serve many peers; without one a fresh one
    /// is made.
    pub(crate) fn new(
        now: Instant,
        local: SocketAddr,
        offer: &Offer,
        certificate: Option<DtlsCert>,
    ) -> Result<(Peer, String), RtcError> {
        let credentials = ice_credentials();
        let local_ufrag = credentials.ufrag.clone();
        let mut config = Rtc::builder().set_rtp_mode(true).set_local_ice_credentials(credentials).clear_codecs();
        if let Some(certificate) = certificate {
            config = config.set_dtls_cert(certificate);
        }
        config.set_max_stun_retransmits(STUN_RETRANSMITS);
        configure(config.codec_config(), offer);
        let mut rtc = config.build(now);
        let protocol = if offer.tcp { Protocol::Tcp } else { Protocol::Udp };
        rtc.add_local_candidate(candidate(local, protocol)?);

        let direction = if offer.send { Direction::SendOnly } else { Direction::RecvOnly };
        let stream = random_text(STREAM_ID_LENGTH);
        let mut tracks = Vec::new();
        let mut api = rtc.sdp_api();
        for (kind, wanted) in [(Kind::Audio, offer.audio), (Kind::Video, !offer.video.is_empty())] {
            if wanted {
                let engine_kind = if kind == Kind::Audio { MediaKind::Audio } else { MediaKind::Video };
                let mid = api.add_media(engine_kind, direction, Some(stream.clone()), None, None);
                tracks.push(Track { kind, mid, chosen: None, next_seq: first_seq(), time_offset: random_u32() });
            }
        }
        let (text, pending) = match api.apply() {
            Some((sdp, pending)) => (sdp.to_sdp_string(), Some(pending)),
            None => return Err(RtcError::RemoteSdp("an offer needs audio or video".to_owned())),
        };
        Ok((Peer { rtc, local, protocol, tracks, pending, local_ufrag, credentials: None }, text))
    }

    /// Takes the answer. At least one section must have been accepted with a codec that was offered.
    pub(crate) fn accept(&mut self, answer: &str) -> Result<(), RtcError> {
        let session = sdp_types::Session::parse(answer.as_bytes())
            .map_err(|error| RtcError::RemoteSdp(format!("syntax: {error}")))?;
        let accepted = accepted_sections(&session);
        self.credentials = credentials(&session, &self.local_ufrag);
        let answer =
            SdpAnswer::from_sdp_string(answer).map_err(|error| RtcError::RemoteSdp(format!("syntax: {error}")))?;
        let pending = self.pending.take().ok_or(RtcError::ChangesOutOfOrder)?;
        self.rtc.sdp_api().accept_answer(pending, answer)?;
        for (track, accepted) in self.tracks.iter_mut().zip(accepted) {
            let media = self.rtc.media(track.mid).filter(|_| accepted);
            let params = self.rtc.codec_config().params();
            track.chosen = media.into_iter().flat_map(|media| media.remote_pts()).find_map(|pt| {
                let param = params.iter().find(|param| param.pt() == *pt)?;
                Some((*pt, codec_of(param.spec().codec)?))
            });
        }
        if self.tracks.iter().all(|track| track.chosen.is_none()) {
            return Err(RtcError::RemoteSdp("no section was accepted with a codec we offered".to_owned()));
        }
        Ok(())
    }

    /// The codec negotiated for a kind of track, if it was accepted.
    pub(crate) fn codec(&self, kind: Kind) -> Option<Codec> {
        self.tracks.iter().find(|track| track.kind == kind)?.chosen.map(|(_, codec)| codec)
    }

    /// What keeps the session alive when the engine is not there any more to do it. `None` before the answer.
    pub(crate) fn take_credentials(&mut self) -> Option<Credentials> {
        self.credentials.take()
    }

    /// The payload type negotiated first for a kind of track.
    pub(crate) fn payload_type(&self, kind: Kind) -> Option<u8> {
        self.tracks.iter().find(|track| track.kind == kind)?.chosen.map(|(pt, _)| *pt)
    }

    /// Takes one datagram. Bytes that belong to no protocol of ours are ignored.
    pub(crate) fn handle_datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) -> Result<(), RtcError> {
        match Receive::new(self.protocol, from, self.local, bytes) {
            Ok(receive) => self.rtc.handle_input(Input::Receive(now, receive)),
            Err(_) => Ok(()),
        }
    }

    /// Lets time pass.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Result<(), RtcError> {
        self.rtc.handle_input(Input::Timeout(now))
    }

    /// Queues a packet; false if its kind was not negotiated. It leaves with the next [`Peer::handle_timeout`].
    pub(crate) fn write(&mut self, packet: Outgoing) -> bool {
        let Some(track) = self.tracks.iter_mut().find(|track| track.kind == packet.kind) else { return false };
        let Some((pt, _)) = track.chosen else { return false };
        let mut api = self.rtc.direct_api();
        let Some(stream) = api.stream_tx_by_mid(track.mid, None) else { return false };
        let time = packet.time.wrapping_add(track.time_offset);
        stream.write_rtp(
            RtpWrite::new(pt, track.next_seq.into(), time, packet.captured, packet.payload)
                .marker(packet.marker)
                .nackable(packet.kind == Kind::Video),
        );
        track.next_seq += 1;
        true
    }

    /// Sends a PLI with the next timeout; false before any video arrived.
    pub(crate) fn request_keyframe(&mut self) -> bool {
        let Some(track) = self.tracks.iter().find(|track| track.kind == Kind::Video) else { return false };
        let mut api = self.rtc.direct_api();
        let Some(stream) = api.stream_rx_by_mid(track.mid, None) else { return false };
        stream.request_keyframe(KeyframeRequestKind::Pli);
        true
    }

    /// Says goodbye: BYE and DTLS close_notify come out of [`Peer::poll`].
    pub(crate) fn close(&mut self) -> Result<(), RtcError> {
        self.rtc.close()
    }

    /// The next step of output.
    pub(crate) fn poll(&mut self) -> Result<Output, RtcError> {
        loop {
            let event = match self.rtc.poll_output()? {
                EngineOutput::Timeout(at) => return Ok(Output::Idle(at)),
                EngineOutput::Transmit(send) => {
                    return Ok(Output::Transmit { to: send.destination, bytes: send.contents });
                }
                EngineOutput::Event(event) => event,
            };
            if let Some(event) = self.translate(event) {
                return Ok(Output::Event(event));
            }
        }
    }

    fn translate(&self, event: EngineEvent) -> Option<Event> {
        match event {
            EngineEvent::Connected => Some(Event::Connected),
            EngineEvent::IceConnectionStateChange(state) => match state {
                IceConnectionState::Connected | IceConnectionState::Completed => Some(Event::IceConnected),
                // Only one remote agent with a handful of pairs: when all have failed there is nothing to wait for.
                IceConnectionState::Disconnected => Some(Event::Closed(CloseReason::IceTimeout)),
                IceConnectionState::New | IceConnectionState::Checking => None,
            },
            EngineEvent::Closed => Some(Event::Closed(CloseReason::ByPeer)),
            EngineEvent::KeyframeRequest(_) => Some(Event::KeyframeRequest),
            EngineEvent::RtpPacket(packet) => {
                let pt = packet.header.payload_type;
                let param = self.rtc.codec_config().params().iter().find(|param| param.pt() == pt)?;
                let codec = codec_of(param.spec().codec)?;
                Some(Event::Packet(Received {
                    kind: codec.kind(),
                    codec,
                    ssrc: *packet.header.ssrc,
                    seq: *packet.seq_no,
                    time: packet.time.numer(),
                    marker: packet.header.marker,
                    payload: packet.payload,
                }))
            }
            _ => None,
        }
    }
}

/// How long [`Peer::poll`] output may be left before consent or a report suffers: not at all; but a deadline that far
/// away means nothing is scheduled.
pub(crate) const FAR: Duration = Duration::from_secs(60);

/// Which sections of an answer are not refused: port 0 does that (RFC 3264 6), unless the section is bundle-only as in
/// the figures of RFC 9725. str0m does not tell.
fn accepted_sections(answer: &sdp_types::Session) -> Vec<bool> {
    let accepted = |media: &sdp_types::Media| media.port != 0 || media.has_attribute("bundle-only");
    answer.medias.iter().map(accepted).collect()
}

/// From the first section that has them, else of the session (RFC 8839 5.4).
fn credentials(answer: &sdp_types::Session, local_ufrag: &str) -> Option<Credentials> {
    let sections = answer.medias.iter().map(|media| &media.attributes).chain([&answer.attributes]);
    let value = |name| {
        let mut attributes = sections.clone().flatten().filter(|attribute| attribute.attribute == name);
        attributes.find_map(|attribute| attribute.value.as_deref())
    };
    Some(Credentials { username: format!("{}:{local_ufrag}", value("ice-ufrag")?), pwd: value("ice-pwd")?.to_owned() })
}

/// A full agent that accepts no connections is active (RFC 6544 4.1).
fn candidate(local: SocketAddr, protocol: Protocol) -> Result<Candidate, RtcError> {
    let candidate = match protocol {
        Protocol::Tcp => Candidate::builder().tcp().host(local).tcptype(TcpType::Active).build(),
        _ => Candidate::host(local, protocol),
    };
    candidate.map_err(RtcError::Ice)
}

fn configure(codecs: &mut str0m::format::CodecConfig, offer: &Offer) {
    if offer.audio {
        let format = FormatParams { min_p_time: Some(10), use_inband_fec: Some(true), ..FormatParams::default() };
        codecs.add_config(OPUS_PT.into(), None, EngineCodec::Opus, Frequency::FORTY_EIGHT_KHZ, Some(2), format);
    }
    let mut next = FIRST_VIDEO_PT;
    for video in &offer.video {
        if next == OPUS_PT || next + 1 == OPUS_PT {
            next = OPUS_PT + 1;
        }
        let (pt, rtx) = (Pt::from(next), offer.rtx.then(|| Pt::from(next + 1)));
        next += 2;
        let mut add = |codec, format| codecs.add_config(pt, rtx, codec, Frequency::NINETY_KHZ, None, format);
        match *video {
            VideoFormat::H264(profile_level_id) => add(
                EngineCodec::H264,
                FormatParams {
                    level_asymmetry_allowed: Some(true),
                    packetization_mode: Some(1),
                    profile_level_id: Some(profile_level_id),
                    ..FormatParams::default()
                },
            ),
            VideoFormat::Vp8 => add(EngineCodec::Vp8, FormatParams::default()),
            VideoFormat::Vp9 => {
                add(EngineCodec::Vp9, FormatParams { profile_id: Some(0), ..FormatParams::default() });
            }
            VideoFormat::Av1 => add(EngineCodec::Av1, FormatParams { profile: Some(0), ..FormatParams::default() }),
        }
    }
}

fn codec_of(codec: EngineCodec) -> Option<Codec> {
    match codec {
        EngineCodec::Opus => Some(Codec::Opus),
        EngineCodec::H264 => Some(Codec::H264),
        EngineCodec::Vp8 => Some(Codec::Vp8),
        EngineCodec::Vp9 => Some(Codec::Vp9),
        EngineCodec::Av1 => Some(Codec::Av1),
        _ => None,
    }
}

/// RFC 8839 5.4 asks for 24 and 128 bits of randomness; ice-chars carry 6 bits each.
const UFRAG_LENGTH: usize = 8;
const PASSWORD_LENGTH: usize = 24;
const STREAM_ID_LENGTH: usize = 16;

fn ice_credentials() -> IceCreds {
    IceCreds { ufrag: random_text(UFRAG_LENGTH), pass: random_text(PASSWORD_LENGTH) }
}

/// Letters and digits, `+` and `/`: the ice-chars.
fn random_text(length: usize) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = vec![0; length];
    random(&mut bytes);
    bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 63)])).collect()
}

/// Below 2^15, so that a reorder at the start cannot be taken for a wrap (RFC 3711 3.3.1).
fn first_seq() -> u64 {
    u64::from(random_u32() & 0x7fff)
}

pub(crate) fn random_u32() -> u32 {
    let mut bytes = [0; 4];
    random(&mut bytes);
    u32::from_ne_bytes(bytes)
}

pub(crate) fn random(bytes: &mut [u8]) {
    aws_lc_rs::rand::fill(bytes).expect("the operating system has random bytes");
}

#[cfg(test)]
mod tests;
