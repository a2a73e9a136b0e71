//! What is agreed with a viewer: per section the payload type that fits the stream's codec, or a refusal.

use sdp_types::Direction;
use whipstitch_media::format::parameter;
use whipstitch_media::sdp::text::shown;
use whipstitch_media::{Codec, Kind};
use whipstitch_stream::{Track, Tracks};

use super::section::{Format, OfferedExtension, Section};
use super::{Extension, Offer, OfferError, formats};

/// Everything a session needs to send to a viewer.
#[derive(Debug)]
pub struct ViewerPlan {
    /// The accepted sections in the offer's order, at most one of each kind, at least one in all.
    pub media: Vec<ViewerMedia>,
    /// Why sections are left out whose codec the viewer lacks, a sentence for each.
    pub left_out: Vec<String>,
}

/// One accepted section of a viewer.
#[derive(Debug)]
pub struct ViewerMedia {
    /// The offer's mid, 1 to 16 token characters; made up (a number) if it has none.
    pub mid: String,
    /// Audio or video.
    pub kind: Kind,
    /// The stream's codec.
    pub codec: Codec,
    /// The viewer's payload type for it.
    pub pt: u8,
    /// The viewer's payload type for retransmissions of it, where offered.
    pub rtx_pt: Option<u8>,
    /// It sends NACKs.
    pub nack: bool,
    /// It sends PLI.
    pub pli: bool,
    /// It sends FIR.
    pub fir: bool,
    /// Its ID (1 to 14) for the MID extension.
    pub mid_extension: Option<u8>,
    /// Its ID for audio levels; audio only.
    pub audio_level_extension: Option<u8>,
    /// Its ID for the camera's rotation; video only.
    pub orientation_extension: Option<u8>,
}

/// Judges of an offer as a viewer's what can be said without knowing the stream: a mistake is told before the stream's
/// state is.
///
/// # Errors
/// [`OfferError::Unusable`] if a section does not receive (WHEP -04 4.3.6).
pub fn check_viewer(offer: &Offer) -> Result<(), OfferError> {
    match offer.active().find(|(_, section)| !section.direction.has_recv()) {
        Some((_, section)) => Err(OfferError::Unusable(format!(
            "{} is {}; a viewer offers recvonly (WHEP -04 4.3.6)",
            section.name(),
            section.direction
        ))),
        None => Ok(()),
    }
}

/// Judges an offer as a viewer's and chooses how to send `tracks` to it. Sections for which the stream has nothing, or
/// nothing the viewer can play, are left out, to be answered with port 0.
///
/// # Errors
/// [`OfferError::Unusable`] if a section does not receive (WHEP -04 4.3.6) or the stream has nothing of what is asked for;
/// [`OfferError::Codec`] if nothing is left for want of codecs, which the text names.
pub fn plan_viewer(offer: &Offer, tracks: &Tracks) -> Result<ViewerPlan, OfferError> {
    check_viewer(offer)?;
    let mut plan = ViewerPlan { media: Vec::new(), left_out: Vec::new() };
    let mut absent: Vec<String> = Vec::new();
    let mut lacking: Vec<&str> = Vec::new();
    for (kind, section) in offer.active() {
        match (tracks.get(kind), tracks.get(kind).and_then(|track| choose(section, track))) {
            (Some(track), Some(format)) => plan.media.push(plan_section(kind, section, track.codec, format)),
            (Some(track), None) => {
                lacking.push(track.codec.name());
                plan.left_out.push(format!(
                    "the stream's {} is {}, and {} offers {}",
                    section.media,
                    described(track),
                    section.name(),
                    section.encodings()
                ));
            }
            (None, _) => absent.push(format!("the stream has no {}", section.media)),
        }
    }
    if plan.media.is_empty() {
        let reasons = [plan.left_out, absent].concat();
        let text = format!("nothing of this stream fits the offer: {}", reasons.join("; "));
        return Err(if lacking.is_empty() { OfferError::Unusable(text) } else { OfferError::Codec { lacking, text } });
    }
    Ok(plan)
}

/// The codec with the parameter that decides whether it fits.
fn described(track: &Track) -> String {
    let name = match track.codec {
        Codec::H264 => "profile-level-id",
        Codec::H265 | Codec::Vp9 => "profile-id",
        Codec::Av1 => "profile",
        Codec::Aac { .. } => return "AAC, which no browser takes over WebRTC (publish Opus)".to_owned(),
        _ => return track.codec.to_string(),
    };
    match parameter(&track.format, name) {
        Some(value) => format!("{} with {name}={}", track.codec, shown(value)),
        None => track.codec.to_string(),
    }
}

/// The format that fits best, the first of equals.
fn choose<'a>(section: &'a Section, track: &Track) -> Option<&'a Format> {
    let fits = section.carried().filter(|(codec, _)| *codec == track.codec).filter_map(|(codec, format)| {
        formats::fit(codec, &track.format, &format.parameters).map(|distance| (distance, format))
    });
    fits.min_by_key(|(distance, _)| *distance).map(|(_, format)| format)
}

fn plan_section(kind: Kind, section: &Section, codec: Codec, format: &Format) -> ViewerMedia {
    let id = |wanted: Extension| {
        let mut agreed = extensions(section, kind).into_iter();
        agreed.find(|offered| offered.extension == wanted).map(|offered| offered.id)
    };
    let video = kind == Kind::Video;
    ViewerMedia {
        mid: section.mid.clone(),
        kind,
        codec,
        pt: format.pt,
        rtx_pt: section.rtx_of(format.pt),
        nack: format.feedback.nack,
        pli: video && format.feedback.pli,
        fir: video && format.feedback.fir,
        mid_extension: id(Extension::Mid),
        audio_level_extension: id(Extension::AudioLevel),
        orientation_extension: id(Extension::Orientation),
    }
}

/// The header extensions agreed on for one section; the plan and the answer both follow it. Transport-wide numbers are
/// not among them: what reaches a viewer is not paced by its feedback.
pub(super) fn extensions(section: &Section, kind: Kind) -> Vec<&OfferedExtension> {
    let wanted: &[Extension] = match kind {
        Kind::Audio => &[Extension::Mid, Extension::AudioLevel],
        Kind::Video => &[Extension::Mid, Extension::Orientation],
    };
    wanted
        .iter()
        .filter(|extension| section.has_mid || **extension != Extension::Mid)
        .filter_map(|extension| section.extension(*extension, false))
        .collect()
}

/// RFC 3264 6.1: what answers a section that receives.
pub(super) const ANSWERED_DIRECTION: Direction = Direction::SendOnly;
