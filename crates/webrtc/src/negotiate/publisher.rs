//! What is agreed with a publisher: one codec per section, its RTX, feedback, header extensions, simulcast layers.

use sdp_types::Direction;
use whipstitch_media::format::packetization_mode;
use whipstitch_media::{Codec, Kind};
use whipstitch_stream::{Track, Tracks};

use super::section::{Format, OfferedExtension, Section};
use super::{Extension, Offer, OfferError};

/// Everything a session needs to receive from a publisher.
#[derive(Debug)]
pub struct PublisherPlan {
    /// The stream's tracks.
    pub tracks: Tracks,
    /// The accepted sections in the offer's order, at most one of each kind.
    pub media: Vec<PublisherMedia>,
    /// The negotiated header extensions of the transport: ID (1 to 14) and meaning.
    pub extensions: Vec<(u8, Extension)>,
    /// It takes feedback that is not part of a compound (RFC 5506). FFmpeg says so of its video only.
    pub reduced_size: bool,
}

/// One accepted section of a publisher.
#[derive(Clone, Debug)]
pub struct PublisherMedia {
    /// The offer's mid, 1 to 16 token characters and unlike the other section's; made up (a number) if it has none.
    pub mid: String,
    /// Audio or video.
    pub kind: Kind,
    /// The codec.
    pub codec: Codec,
    /// Its payload type.
    pub pt: u8,
    /// The payload type of its retransmissions, where offered.
    pub rtx_pt: Option<u8>,
    /// The SSRC the publisher announces, never 0. A hint: it may be missing (OBS with simulcast, browsers with RIDs),
    /// and is left out if it is announced twice.
    pub ssrc: Option<u32>,
    /// The SSRC it announces for retransmissions; only together with `rtx_pt`.
    pub rtx_ssrc: Option<u32>,
    /// The publisher's `a=fmtp` parameters, may be empty.
    pub format: String,
    /// It resends on NACK.
    pub nack: bool,
    /// It takes PLI.
    pub pli: bool,
    /// It takes FIR, and no PLI.
    pub fir: bool,
    /// It expects transport-wide feedback.
    pub transport_cc: bool,
    /// It takes REMB. Never: none is sent.
    pub remb: bool,
    /// The simulcast layers it wants to send, in its order, at most 8; empty without simulcast.
    pub rids: Vec<String>,
}

/// Judges an offer as a publisher's and chooses what to receive.
///
/// # Errors
/// [`OfferError::Codec`] if a section has no codec that can be forwarded (there is no partial success, RFC 9725 4.4.3),
/// [`OfferError::Unusable`] if one does not send, or contradicts the other one.
pub fn plan_publisher(offer: &Offer) -> Result<PublisherPlan, OfferError> {
    let mut plan =
        PublisherPlan { tracks: Tracks::default(), media: Vec::new(), extensions: Vec::new(), reduced_size: false };
    for (kind, section) in offer.active() {
        plan.reduced_size |= section.rtcp_rsize;
        let media = plan_section(kind, section)?;
        for offered in extensions(section, &media) {
            add_extension(&mut plan.extensions, offered)?;
        }
        let track = Some(Track { codec: media.codec, format: media.format.clone() });
        match kind {
            Kind::Audio => plan.tracks.audio = track,
            Kind::Video => plan.tracks.video = track,
        }
        plan.media.push(media);
    }
    check_payload_types(&plan.media)?;
    forget_doubled_ssrcs(&mut plan.media);
    Ok(plan)
}

fn plan_section(kind: Kind, section: &Section) -> Result<PublisherMedia, OfferError> {
    if !section.direction.has_send() {
        return Err(OfferError::Unusable(format!(
            "{} is {}; a publisher offers sendonly (RFC 9725 4.2)",
            section.name(),
            section.direction
        )));
    }
    let Some((codec, format)) = choose(section) else {
        let carried: Vec<&str> = Codec::ALL.into_iter().filter(|codec| codec.kind() == kind).map(Codec::name).collect();
        let text = format!(
            "{} offers {}, none of which can be taken; offer one of {}",
            section.name(),
            section.encodings(),
            carried.join(", ")
        );
        return Err(OfferError::Codec { lacking: vec![if kind == Kind::Video { "video" } else { "audio" }], text });
    };
    let rtx_pt = section.rtx_of(format.pt);
    // RFC 8853: with RIDs the SSRCs are learnt from the packets, one per layer.
    let ssrc = section.ssrc.filter(|_| section.layers.is_empty());
    let video = kind == Kind::Video;
    Ok(PublisherMedia {
        mid: section.mid.clone(),
        kind,
        codec,
        pt: format.pt,
        rtx_pt,
        ssrc: ssrc.map(|(media, _)| media),
        rtx_ssrc: ssrc.and_then(|(_, rtx)| rtx).filter(|_| rtx_pt.is_some()),
        format: format.parameters.clone(),
        nack: format.feedback.nack,
        pli: video && format.feedback.pli,
        fir: video && format.feedback.fir && !format.feedback.pli,
        transport_cc: format.feedback.transport_cc && section.extension(Extension::TransportCc, true).is_some(),
        remb: false,
        rids: section.layers.clone(),
    })
}

/// The first codec of the offer's order that is carried. Of H.264, mode 1 if there is one: mode 0 cannot split a slice
/// over packets (RFC 6184 5.4).
fn choose(section: &Section) -> Option<(Codec, &Format)> {
    let first = section.carried().next()?;
    let mode_1 = |&(codec, format): &(Codec, &Format)| codec == first.0 && packetization_mode(&format.parameters) == 1;
    Some(match first.0 {
        Codec::H264 => section.carried().find(mode_1).unwrap_or(first),
        _ => first,
    })
}

/// The header extensions agreed on for one section; the plan and the answer both follow it.
pub(super) fn extensions<'a>(section: &'a Section, media: &PublisherMedia) -> Vec<&'a OfferedExtension> {
    let wanted = |extension| match extension {
        Extension::Mid => section.has_mid,
        // Only with simulcast: OBS 32.1 sends RID 0 without it, which must mean nothing then.
        Extension::Rid => !media.rids.is_empty(),
        Extension::RepairedRid => !media.rids.is_empty() && media.rtx_pt.is_some(),
        Extension::TransportCc => media.transport_cc,
        Extension::AudioLevel => media.kind == Kind::Audio,
        Extension::AbsSendTime | Extension::Orientation => false,
    };
    Extension::ALL
        .into_iter()
        .filter(|extension| wanted(*extension))
        .filter_map(|extension| section.extension(extension, true))
        .collect()
}

/// RFC 9143 12: sections that share a transport share the meaning of IDs.
fn add_extension(extensions: &mut Vec<(u8, Extension)>, offered: &OfferedExtension) -> Result<(), OfferError> {
    match extensions.iter().find(|(id, _)| *id == offered.id) {
        Some((_, extension)) if *extension == offered.extension => {}
        Some((id, extension)) => {
            return Err(OfferError::Unusable(format!(
                "a=extmap:{id} is {} in one section and {} in the other; give each its own ID (RFC 9143 12)",
                extension.uri(),
                offered.extension.uri()
            )));
        }
        None => extensions.push((offered.id, offered.extension)),
    }
    Ok(())
}

/// RFC 9143 9.1.1: on one transport a payload type means one thing.
fn check_payload_types(media: &[PublisherMedia]) -> Result<(), OfferError> {
    let mut taken: Vec<u8> = Vec::new();
    for pt in media.iter().flat_map(|media| [Some(media.pt), media.rtx_pt]).flatten() {
        if taken.contains(&pt) {
            return Err(OfferError::Unusable(format!(
                "payload type {pt} stands for two formats; give each its own, audio and video share one transport \
                 (RFC 9143 9.1.1)"
            )));
        }
        taken.push(pt);
    }
    Ok(())
}

/// An SSRC announced for two things tells nothing; packets are told apart by MID or payload type then.
fn forget_doubled_ssrcs(media: &mut [PublisherMedia]) {
    let all: Vec<u32> = media.iter().flat_map(|media| [media.ssrc, media.rtx_ssrc]).flatten().collect();
    let is_doubled = |ssrc: u32| all.iter().filter(|other| **other == ssrc).count() > 1;
    for media in media {
        if media.ssrc.is_some_and(is_doubled) || media.rtx_ssrc.is_some_and(is_doubled) {
            (media.ssrc, media.rtx_ssrc) = (None, None);
        }
    }
}

/// RFC 3264 6.1: what answers a section that sends.
pub(super) const ANSWERED_DIRECTION: Direction = Direction::RecvOnly;
