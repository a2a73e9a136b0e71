//! What a sender announces: RTSP's ANNOUNCE, or the description of plain RTP that is to come in.

use sdp_types::{Media, RtpMap, Session};

use super::{Section, assigned, mapped, text};
use crate::{Codec, Kind, format};

/// Why a description cannot be taken. The text says what would help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is not SDP, or over a limit.
    #[error("{0}")]
    Syntax(String),
    /// A section has nothing that can be taken: another codec helps.
    #[error("{0}")]
    Codec(String),
    /// Its sections cannot be one stream.
    #[error("{0}")]
    Unusable(String),
}

/// Reads a description: its sections in their order, at most one of each kind, at least one. Where a section has several
/// payload types, the first that can be taken is meant.
///
/// # Errors
/// [`Error`], by what would help.
pub fn read(sdp: &str) -> Result<Vec<Section>, Error> {
    text::check(sdp, "the SDP").map_err(Error::Syntax)?;
    let session = Session::parse(sdp.trim_end().as_bytes())
        .map_err(|error| Error::Syntax(format!("the body is not SDP (RFC 8866): {error}")))?;
    if session.medias.is_empty() || session.medias.len() > text::MOST_SECTIONS {
        return Err(Error::Unusable(format!(
            "the SDP has {} sections; announce one of video, one of audio, or both",
            session.medias.len()
        )));
    }
    let mut sections: Vec<Section> = Vec::new();
    for media in &session.medias {
        let section = section(media)?;
        let kind = section.codec.kind();
        if sections.iter().any(|other| other.codec.kind() == kind) {
            return Err(Error::Unusable(format!("the SDP has two {kind} sections; a stream has one: map only one")));
        }
        sections.push(section);
    }
    Ok(sections)
}

/// One section, which has to be of audio or video.
pub(super) fn section(media: &Media) -> Result<Section, Error> {
    let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == media.media).ok_or_else(|| {
        let media = text::shown(&media.media);
        Error::Unusable(format!("the SDP has a section of {media}; announce audio and video only"))
    })?;
    let profile = media.proto.to_ascii_uppercase();
    let profile = profile.strip_suffix("/TCP").or(profile.strip_suffix("/UDP")).unwrap_or(&profile);
    if !matches!(profile, "RTP/AVP" | "RTP/AVPF") {
        let profile = text::shown(&media.proto);
        return Err(Error::Unusable(format!("the {kind} section has the profile {profile}; announce RTP/AVP")));
    }
    let (codec, pt) = choose(media, kind)?;
    let control = text::values(&media.attributes, "control").find(|value| !value.is_empty()).map(str::to_owned);
    Ok(Section { codec, pt, port: media.port, format: text::fmtp(&media.attributes, pt).to_owned(), control })
}

/// The first payload type that can be taken.
fn choose(media: &Media, kind: Kind) -> Result<(Codec, u8), Error> {
    let maps: Vec<RtpMap> = text::values(&media.attributes, "rtpmap").filter_map(|value| value.parse().ok()).collect();
    let mut refused = Vec::new();
    for pt in media.fmt.split_ascii_whitespace().filter_map(|word| word.parse::<u8>().ok()).filter(|pt| *pt < 128) {
        let map = maps.iter().find(|map| map.payload_type == pt);
        let codec = map.map_or_else(|| assigned(pt), |map| mapped(map).or_else(|| aac(map)));
        let format = text::fmtp(&media.attributes, pt);
        match codec.filter(|codec| codec.kind() == kind) {
            Some(codec) if format::is_carried(codec, format) => return Ok((codec, pt)),
            _ => refused.push(refusal(pt, map, codec)),
        }
    }
    // The bound of a line holds hundreds of payload types; an error is one line.
    refused.truncate(4);
    let offered = if refused.is_empty() { "no payload type".to_owned() } else { refused.join(", ") };
    let taken: Vec<&str> = Codec::ALL.into_iter().filter(|codec| codec.kind() == kind).map(Codec::name).collect();
    let aac = if kind == Kind::Audio { ", MPEG4-GENERIC" } else { "" };
    Err(Error::Codec(format!(
        "the {kind} section has {offered}, which cannot be taken; send one of {}{aac}",
        taken.join(", ")
    )))
}

/// How an error names what is not taken, and why where the codec alone does not tell.
fn refusal(pt: u8, map: Option<&RtpMap>, codec: Option<Codec>) -> String {
    let name = map.map_or_else(|| format!("payload type {pt} without a=rtpmap"), |map| text::shown(&map.encoding_name));
    match codec {
        Some(Codec::H264) => format!("{name} in packetization mode 2"),
        Some(Codec::H265) => format!("{name} with DONL"),
        Some(Codec::Vp9) => format!("{name} of a profile other than 0 and 2"),
        Some(Codec::Aac { .. }) => format!("{name} without mode=AAC-hbr and config="),
        _ => match map.filter(|map| Codec::from_name(&map.encoding_name).is_some()) {
            Some(map) => format!("{name} with {} Hz and {} channels", map.clock_rate, channels(map).unwrap_or(0)),
            None => name,
        },
    }
}

fn channels(map: &RtpMap) -> Option<u8> {
    map.encoding_params.as_deref().unwrap_or("1").parse().ok()
}

/// AAC (RFC 3640 4.1), at the rates and with the channels that its configuration can name by number.
fn aac(map: &RtpMap) -> Option<Codec> {
    let is_aac = map.encoding_name.eq_ignore_ascii_case("MPEG4-GENERIC");
    let channels = channels(map).filter(|channels| (1..=8).contains(channels))?;
    let clock_rate = Some(map.clock_rate).filter(|rate| (7_350..=96_000).contains(rate))?;
    is_aac.then_some(Codec::Aac { clock_rate, channels })
}

#[cfg(test)]
mod tests;
