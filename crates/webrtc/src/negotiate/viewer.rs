//! What is agreed with a viewer: per section everything it can play and we can forward, or a refusal.
//!
//! A viewer's session outlives its stream's publishers, so it agrees on more than what is published at the moment: one who
//! comes back with another codec goes on in the same session, under that codec's payload type. What fits best now stands
//! first in the answer, because simple clients look no further. Only codecs of one clock rate follow each other on one
//! SSRC (RFC 7160 4.1).

use sdp_types::Direction;
use whipstitch_media::format::parameter;
use whipstitch_media::sdp::text::shown;
use whipstitch_media::{Codec, Kind};
use whipstitch_stream::{Track, Tracks};

use super::answer::{self, LONGEST_ANSWER};
use super::formats::Profile;
use super::section::{Format, OfferedExtension, Section};
use super::{Extension, Offer, OfferError};

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
    /// What may be sent, at least one, in the order of the answer.
    pub formats: Vec<ViewerFormat>,
    /// Its ID (1 to 14) for the MID extension.
    pub mid_extension: Option<u8>,
    /// Its ID for audio levels; audio only.
    pub audio_level_extension: Option<u8>,
    /// Its ID for the camera's rotation; video only.
    pub orientation_extension: Option<u8>,
}

/// One format that a viewer takes.
#[derive(Clone, Copy, Debug)]
pub struct ViewerFormat {
    /// What it carries.
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
    profile: Profile,
}

impl ViewerFormat {
    fn new(section: &Section, codec: Codec, format: &Format) -> ViewerFormat {
        let video = codec.kind() == Kind::Video;
        ViewerFormat {
            codec,
            pt: format.pt,
            rtx_pt: section.rtx_of(format.pt),
            nack: format.feedback.nack,
            pli: video && format.feedback.pli,
            fir: video && format.feedback.fir,
            profile: Profile::of(codec, &format.parameters),
        }
    }

    /// How well it takes a track: `None` is not at all, else less is more.
    fn fit(&self, track: &Track) -> Option<u32> {
        let published = || Profile::of(track.codec, &track.format);
        (self.codec == track.codec).then(|| self.profile.fit(published())).flatten()
    }

    fn stands_for(&self, other: &ViewerFormat) -> bool {
        self.codec == other.codec && self.profile.stands_for(other.profile)
    }
}

/// The place of the format that takes a track best, the first of equals.
pub(crate) fn best(formats: &[ViewerFormat], track: &Track) -> Option<usize> {
    let fits = formats.iter().enumerate().filter_map(|(place, format)| Some((format.fit(track)?, place)));
    fits.min().map(|(_, place)| place)
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

/// Judges an offer as a viewer's and chooses how to send a stream to it: what is published now first, then all else that
/// could be, so that another publisher goes on in the same session. Sections for which the stream has nothing, or nothing the
/// viewer can play, are left out, to be answered with port 0. Without `tracks` nothing is published yet, and everything
/// that can be forwarded is agreed on, in the offer's order.
///
/// # Errors
/// [`OfferError::Unusable`] if a section does not receive (WHEP -04 4.3.6) or the stream has nothing of what is asked for;
/// [`OfferError::Codec`] if nothing is left for want of codecs, which the text names.
pub fn plan_viewer(offer: &Offer, tracks: Option<&Tracks>) -> Result<ViewerPlan, OfferError> {
    check_viewer(offer)?;
    let mut plan = ViewerPlan { media: Vec::new(), left_out: Vec::new() };
    let mut absent: Vec<String> = Vec::new();
    let mut lacking: Vec<&str> = Vec::new();
    let mut room = room(offer);
    for (kind, section) in offer.active() {
        let track = tracks.map(|tracks| tracks.get(kind));
        let formats = match track {
            Some(track) => track.and_then(|track| following(section, track)),
            None => Some(carried(section)).filter(|formats| !formats.is_empty()),
        };
        match (formats, track) {
            (Some(formats), _) => plan.media.push(plan_section(kind, section, formats, &mut room)),
            (None, Some(Some(track))) => {
                lacking.push(track.codec.name());
                plan.left_out.push(format!(
                    "the stream's {} is {}, and {} offers {}",
                    section.media,
                    described(track),
                    section.name(),
                    section.encodings()
                ));
            }
            (None, Some(None)) => absent.push(format!("the stream has no {}", section.media)),
            (None, None) => absent.push(format!(
                "{} offers {}, none of which can be forwarded",
                section.name(),
                section.encodings()
            )),
        }
    }
    if plan.media.is_empty() {
        let reasons = [plan.left_out, absent].concat();
        let text = format!("nothing of this stream fits the offer: {}", reasons.join("; "));
        return Err(if lacking.is_empty() { OfferError::Unusable(text) } else { OfferError::Codec { lacking, text } });
    }
    Ok(plan)
}

/// Bytes of an answer that may go into formats beyond each section's first: what is left when every section is as long as
/// it can be, and a dozen candidates have their place. Browsers' offers need a third of it.
fn room(offer: &Offer) -> usize {
    LONGEST_ANSWER.saturating_sub(3000 + 420 * offer.sections().len())
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

/// Every format of a section that can be forwarded, in the offer's order.
fn carried(section: &Section) -> Vec<ViewerFormat> {
    section.carried().map(|(codec, format)| ViewerFormat::new(section, codec, format)).collect()
}

/// The format that fits a track best, and then every other one that could follow it; `None` if none fits.
fn following(section: &Section, track: &Track) -> Option<Vec<ViewerFormat>> {
    let mut formats = carried(section);
    let place = best(&formats, track)?;
    // From the first place on, all before it move back by one: the rest keeps the offer's order.
    formats[..=place].rotate_right(1);
    formats.retain(|format| format.codec.clock_rate() == track.codec.clock_rate());
    Some(formats)
}

fn plan_section(kind: Kind, section: &Section, all: Vec<ViewerFormat>, room: &mut usize) -> ViewerMedia {
    let id = |wanted: Extension| {
        let mut agreed = extensions(section, kind).into_iter();
        agreed.find(|offered| offered.extension == wanted).map(|offered| offered.id)
    };
    let mut formats: Vec<ViewerFormat> = Vec::with_capacity(all.len());
    for format in &all {
        let needed = formats.is_empty() || !all.iter().any(|other| other.stands_for(format));
        let bytes = answer::longest_of(section, format);
        if needed && (formats.is_empty() || bytes <= *room) {
            *room -= if formats.is_empty() { 0 } else { bytes };
            formats.push(*format);
        }
    }
    ViewerMedia {
        mid: section.mid.clone(),
        kind,
        formats,
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
