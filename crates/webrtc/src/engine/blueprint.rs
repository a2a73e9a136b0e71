//! What an engine is made of: all that negotiation said, in a few hundred bytes.

use std::time::{Duration, Instant};

use str0m::crypto::Fingerprint;
use str0m::format::{Codec as EngineCodec, FormatParams};
use str0m::ice::IceCreds;
use str0m::media::{KeyframeRequestKind, MediaKind, Mid, Pt};
use str0m::net::Protocol;
use str0m::rtp::Extension as EngineExtension;
use str0m::{Candidate, Rtc, RtcConfig};
use whipstitch_media::{Codec, Kind};

use super::layers::Layers;
use super::section::Section;
use super::{HERE, HERE_CREDENTIALS, THERE_CREDENTIALS};
use crate::dtls::{Identity, Tap};
use crate::negotiate::{Extension, PublisherMedia, PublisherPlan};

/// How often the engine reports to a publisher: early enough for its congestion control and for round-trip times.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// How often the engine counts; the API shows nothing finer.
const STATS_EVERY: Duration = Duration::from_secs(1);

/// An engine to be.
pub(super) struct Blueprint {
    identity: Identity,
    fingerprint: [u8; 32],
    /// A publisher's sections; a subscriber sends none.
    media: Vec<PublisherMedia>,
    extensions: Vec<(u8, Extension)>,
}

impl Blueprint {
    pub(super) fn new(identity: &Identity, fingerprint: &[u8; 32], plan: Option<&PublisherPlan>) -> Blueprint {
        let (media, extensions) = plan.map(|plan| (plan.media.clone(), plan.extensions.clone())).unwrap_or_default();
        Blueprint { identity: identity.clone(), fingerprint: *fingerprint, media, extensions }
    }

    /// The number of an extension, if it was negotiated.
    pub(super) fn id(&self, wanted: Extension) -> Option<u8> {
        self.extensions.iter().find(|(_, extension)| *extension == wanted).map(|(id, _)| *id)
    }

    /// The engine, and where its keys will be.
    pub(super) fn build(&self, now: Instant) -> (Rtc, Tap) {
        let config = self.config();
        let (mut rtc, tap) = Identity::tap(self.fingerprint, || config.build(now));
        let here = Candidate::host(HERE, Protocol::Udp).expect("the synthetic address is a valid host candidate");
        rtc.add_local_candidate(here);
        let mut api = rtc.direct_api();
        api.set_ice_controlling(false);
        let (ufrag, pass) = (THERE_CREDENTIALS.0.into(), THERE_CREDENTIALS.1.into());
        api.set_remote_ice_credentials(IceCreds { ufrag, pass });
        api.set_remote_fingerprint(Fingerprint { hash_func: "sha-256".into(), bytes: self.fingerprint.to_vec() });
        (rtc, tap)
    }

    fn config(&self) -> RtcConfig {
        let (ufrag, pass) = (HERE_CREDENTIALS.0.into(), HERE_CREDENTIALS.1.into());
        let mut config = RtcConfig::new()
            .clear_codecs()
            .clear_extension_map()
            .set_rtp_mode(true)
            .set_ice_lite(true)
            .set_local_ice_credentials(IceCreds { ufrag, pass })
            .set_crypto_provider(self.identity.provider())
            .set_dtls_cert(self.identity.certificate());
        if self.media.is_empty() {
            return config;
        }
        config = config
            .set_rtcp_report_interval_audio(REPORT_EVERY)
            .set_rtcp_report_interval_video(REPORT_EVERY)
            .set_stats_interval(Some(STATS_EVERY));
        for media in &self.media {
            let rtx = media.rtx_pt.map(Pt::from);
            let (codec, rate) = (engine_codec(media.codec), engine_rate(media.codec));
            let channels = (media.codec == Codec::Opus).then_some(2);
            config.codec_config().add_config(media.pt.into(), rtx, codec, rate, channels, FormatParams::default());
        }
        for (id, extension) in &self.extensions {
            config = config.set_extension(*id, engine_extension(*extension));
        }
        config
    }

    /// Tells an engine what to expect of a publisher: its sections.
    pub(super) fn declare(&self, rtc: &mut Rtc) -> Vec<Section> {
        let mut sections = Vec::new();
        let has_mid = self.id(Extension::Mid).is_some();
        let mut api = rtc.direct_api();
        for media in &self.media {
            let mid = Mid::from(media.mid.as_str());
            let kind = if media.kind == Kind::Audio { MediaKind::Audio } else { MediaKind::Video };
            api.declare_media(mid, kind);
            let keyframe_request = match (media.pli, media.fir) {
                (true, _) => Some(KeyframeRequestKind::Pli),
                (false, true) => Some(KeyframeRequestKind::Fir),
                (false, false) => None,
            };
            sections.push(Section {
                kind: media.kind,
                mid,
                pt: media.pt,
                rtx_pt: media.rtx_pt,
                announced: media.ssrc.filter(|_| media.rids.is_empty()).map(|ssrc| (ssrc, media.rtx_ssrc)),
                transport_cc: media.transport_cc,
                nack: media.nack,
                keyframe_request,
                by_payload_type: media.ssrc.is_none() && !has_mid,
                layers: (!media.rids.is_empty()).then(Layers::default),
                reported: None,
                counters: Vec::new(),
                clock_rate: media.codec.clock_rate(),
            });
        }
        if self.media.iter().any(|media| media.transport_cc) {
            api.enable_twcc_feedback();
        }
        sections
    }
}

fn engine_codec(codec: Codec) -> EngineCodec {
    match codec {
        Codec::H264 => EngineCodec::H264,
        Codec::H265 => EngineCodec::H265,
        Codec::Vp8 => EngineCodec::Vp8,
        Codec::Vp9 => EngineCodec::Vp9,
        Codec::Av1 => EngineCodec::Av1,
        Codec::Opus => EngineCodec::Opus,
        Codec::Pcmu => EngineCodec::PCMU,
        Codec::Pcma => EngineCodec::PCMA,
        Codec::G722 => EngineCodec::G722,
        Codec::Aac { .. } => unreachable!("no offer's codec is AAC"),
    }
}

fn engine_rate(codec: Codec) -> str0m::media::Frequency {
    str0m::media::Frequency::new(codec.clock_rate()).expect("clock rates are not zero")
}

fn engine_extension(extension: Extension) -> EngineExtension {
    match extension {
        Extension::Mid => EngineExtension::RtpMid,
        Extension::Rid => EngineExtension::RtpStreamId,
        Extension::RepairedRid => EngineExtension::RepairedRtpStreamId,
        Extension::TransportCc => EngineExtension::TransportSequenceNumber,
        Extension::AbsSendTime => EngineExtension::AbsoluteSendTime,
        Extension::AudioLevel => EngineExtension::AudioLevel,
        Extension::Orientation => EngineExtension::VideoOrientation,
    }
}
