//! One m-section of an offer, as the judgement and the answer need it: what it is, and what it offers.
//!
//! Attributes that are malformed are ignored like unknown ones unless the section cannot be understood without them;
//! every list is bounded. Attributes that belong to the transport (ICE, DTLS) are `offer`'s business.

use sdp_types::{
    Attribute, Direction, ExtMap, GroupSemantics, Media, RidDirection, RtcpFb, RtcpFbPt, RtpMap, Ssrc, SsrcGroup,
};
use whipstitch_media::sdp::text::{fmtp, shown, values};
use whipstitch_media::{Codec, Kind, format, sdp};

use super::{Extension, OfferError};

/// The one-byte form of header extensions holds 16 bytes (RFC 8285 4.2), and MID and RID travel in one. Clients use one
/// to six characters; the bound also keeps answers below 8191 bytes.
const LONGEST_ID: usize = 16;
/// Media type, profile and format of a section that is only refused are repeated in the answer; the longest real word
/// is `webrtc-datachannel`.
const LONGEST_WORD: usize = 24;
/// OBS sends at most four, browsers three. Eight layers with RTX are half of a session's SSRCs.
const MOST_LAYERS: usize = 8;
/// SSRCs a session may have; more in an offer are not looked at.
const MOST_SSRCS: usize = 32;

/// One m-section.
#[derive(Debug)]
pub(super) struct Section {
    /// The media type as offered: `audio`, `video`, `application`.
    pub(super) media: String,
    /// Audio or video; `None` for what is always refused.
    pub(super) kind: Option<Kind>,
    /// The transport profile as offered; the answer repeats it.
    pub(super) profile: String,
    /// The first numeric format, else the first: what a refused section keeps when none of them is carried.
    pub(super) first_format: String,
    /// `a=mid`, or a made-up one that no other section has.
    pub(super) mid: String,
    /// The offer has `a=mid`; if not, neither has the answer.
    pub(super) has_mid: bool,
    /// Audio or video and not disabled: port 0 disables, unless with `a=bundle-only` (RFC 9143 7.2).
    pub(super) active: bool,
    /// `a=bundle-only`.
    pub(super) bundle_only: bool,
    /// What the offerer wants to do with it.
    pub(super) direction: Direction,
    /// `a=rtcp-mux`.
    pub(super) rtcp_mux: bool,
    /// `a=rtcp-rsize`.
    pub(super) rtcp_rsize: bool,
    /// The payload formats in the offerer's order of preference.
    pub(super) formats: Vec<Format>,
    /// The header extensions known here that have an ID of the one-byte form.
    pub(super) extensions: Vec<OfferedExtension>,
    /// The first announced SSRC and that of its RTX.
    pub(super) ssrc: Option<(u32, Option<u32>)>,
    /// The simulcast layers the offerer wants to send, in its order.
    pub(super) layers: Vec<String>,
}

/// One payload format.
#[derive(Debug)]
pub(super) struct Format {
    /// Payload type.
    pub(super) pt: u8,
    /// What it carries.
    pub(super) encoding: Encoding,
    /// The parameters of `a=fmtp`, untouched; empty without.
    pub(super) parameters: String,
    /// The feedback offered for it.
    pub(super) feedback: Feedback,
}

/// What a payload format carries.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// A codec that can be forwarded.
    Carried(Codec),
    /// Retransmissions of the format with this payload type (RFC 4588).
    Rtx(u8),
    /// Anything else, by name.
    Other(String),
}

/// `a=rtcp-fb` of one format, as far as it is implemented.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Feedback {
    /// `nack`.
    pub(super) nack: bool,
    /// `nack pli`.
    pub(super) pli: bool,
    /// `ccm fir`.
    pub(super) fir: bool,
    /// `transport-cc`.
    pub(super) transport_cc: bool,
}

/// One `a=extmap` line.
#[derive(Debug)]
pub(super) struct OfferedExtension {
    /// 1 to 14.
    pub(super) id: u8,
    /// Which one.
    pub(super) extension: Extension,
    /// The direction the offerer restricts it to.
    pub(super) direction: Option<Direction>,
}

impl Section {
    /// Reads one section. `inherited` are the session's attributes; `index` names the section in errors if it has no
    /// `a=mid`. A missing mid is left empty for the caller to make up.
    pub(super) fn parse(media: &Media, index: usize, inherited: &[Attribute]) -> Result<Section, OfferError> {
        let own = &media.attributes[..];
        let mid = mid(own, index)?;
        let kind = match media.media.as_str() {
            "audio" => Some(Kind::Audio),
            "video" => Some(Kind::Video),
            _ => None,
        };
        let bundle_only = has(own, "bundle-only");
        let first_format = first_format(&media.fmt);
        for (what, word) in [("media type", &*media.media), ("profile", &media.proto), ("format", first_format)] {
            if word.len() > LONGEST_WORD {
                return Err(OfferError::Unusable(format!(
                    "m-section {index} has a {what} of {} characters ({}); no more than {LONGEST_WORD} are taken",
                    word.len(),
                    shown(word)
                )));
            }
        }
        let extensions =
            inherit(extensions(own, &format!("m-section {index}"))?, extensions(inherited, "the session part")?);
        let layers = layers(own, &extensions)?;
        Ok(Section {
            media: media.media.clone(),
            kind,
            profile: media.proto.clone(),
            first_format: first_format.to_owned(),
            has_mid: mid.is_some(),
            mid: mid.unwrap_or_default(),
            active: kind.is_some() && (media.port != 0 || bundle_only),
            bundle_only,
            direction: direction(own).or_else(|| direction(inherited)).unwrap_or_default(),
            rtcp_mux: has(own, "rtcp-mux"),
            rtcp_rsize: has(own, "rtcp-rsize"),
            formats: kind.map(|kind| payload_formats(media, kind)).unwrap_or_default(),
            extensions,
            ssrc: ssrc(own),
            layers,
        })
    }

    /// The RTX format that repairs `pt`.
    pub(super) fn rtx_of(&self, pt: u8) -> Option<u8> {
        self.formats.iter().find(|format| format.encoding == Encoding::Rtx(pt)).map(|format| format.pt)
    }

    /// The format with payload type `pt`.
    pub(super) fn format(&self, pt: u8) -> Option<&Format> {
        self.formats.iter().find(|format| format.pt == pt)
    }

    /// The formats that can be forwarded, in the offer's order.
    pub(super) fn carried(&self) -> impl Iterator<Item = (Codec, &Format)> {
        self.formats.iter().filter_map(|format| match format.encoding {
            Encoding::Carried(codec) => Some((codec, format)),
            _ => None,
        })
    }

    /// `extension`, if it is offered for packets that the offerer sends (`true`) or receives (`false`).
    pub(super) fn extension(&self, extension: Extension, sends: bool) -> Option<&OfferedExtension> {
        self.extensions.iter().find(|offered| {
            let direction = offered.direction.unwrap_or_default();
            offered.extension == extension && if sends { direction.has_send() } else { direction.has_recv() }
        })
    }

    /// The section as errors name it.
    pub(super) fn name(&self) -> String {
        format!("the {} section", shown(&self.media))
    }

    /// The encodings on offer, for an error that says none fits.
    pub(super) fn encodings(&self) -> String {
        // Browsers list about a dozen; an error text is one line.
        const MOST_NAMES: usize = 12;
        let mut names: Vec<String> = Vec::new();
        for format in &self.formats {
            let name = match &format.encoding {
                Encoding::Carried(codec) => codec.name().to_owned(),
                Encoding::Rtx(_) => continue,
                Encoding::Other(name) => shown(name),
            };
            if names.len() < MOST_NAMES && !names.contains(&name) {
                names.push(name);
            }
        }
        if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
    }
}

fn has(attributes: &[Attribute], name: &str) -> bool {
    values(attributes, name).next().is_some()
}

fn mid(own: &[Attribute], index: usize) -> Result<Option<String>, OfferError> {
    let Some(mid) = values(own, "mid").next() else { return Ok(None) };
    if mid.is_empty() || mid.len() > LONGEST_ID || !mid.bytes().all(is_token) {
        return Err(OfferError::Unusable(format!(
            "a=mid of m-section {index} ({}) is not 1 to {LONGEST_ID} characters of a token (RFC 5888 4)",
            shown(mid)
        )));
    }
    Ok(Some(mid.to_owned()))
}

/// RFC 8866 9, `token-char`.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]".contains(&byte)
}

fn direction(attributes: &[Attribute]) -> Option<Direction> {
    attributes.iter().find_map(|attribute| match attribute.attribute.trim_end() {
        "sendrecv" => Some(Direction::SendRecv),
        "sendonly" => Some(Direction::SendOnly),
        "recvonly" => Some(Direction::RecvOnly),
        "inactive" => Some(Direction::Inactive),
        _ => None,
    })
}

fn first_format(formats: &str) -> &str {
    let mut words = formats.split_ascii_whitespace();
    let numeric = words.clone().find(|word| word.parse::<u8>().is_ok());
    numeric.or_else(|| words.next()).unwrap_or("0")
}

/// RFC 5761 4: 64 to 95 would be taken for RTCP when both share a port.
fn is_usable(pt: u8) -> bool {
    matches!(pt, 0..=63 | 96..=127)
}

fn payload_formats(media: &Media, kind: Kind) -> Vec<Format> {
    let own = &media.attributes[..];
    let maps: Vec<RtpMap> = values(own, "rtpmap").filter_map(|value| value.parse().ok()).collect();
    let feedback: Vec<RtcpFb> = values(own, "rtcp-fb").filter_map(|value| value.parse().ok()).collect();
    let mut formats: Vec<Format> = Vec::new();
    for pt in media.fmt.split_ascii_whitespace().filter_map(|word| word.parse().ok()) {
        if !is_usable(pt) || formats.iter().any(|format| format.pt == pt) {
            continue;
        }
        let parameters = fmtp(own, pt);
        let encoding = encoding(pt, maps.iter().find(|map| map.payload_type == pt), parameters, kind);
        let feedback = feedback_of(pt, &feedback);
        formats.push(Format { pt, encoding, parameters: parameters.to_owned(), feedback });
    }
    formats
}

fn encoding(pt: u8, map: Option<&RtpMap>, parameters: &str, kind: Kind) -> Encoding {
    let codec = match map {
        Some(map) if map.encoding_name.eq_ignore_ascii_case("rtx") => {
            let repaired = format::parameter(parameters, "apt").and_then(|apt| apt.parse().ok());
            return repaired.map_or_else(|| Encoding::Other(map.encoding_name.clone()), Encoding::Rtx);
        }
        Some(map) => sdp::mapped(map),
        None => sdp::assigned(pt),
    };
    match codec {
        Some(codec) if codec.kind() == kind && format::is_carried(codec, parameters) => Encoding::Carried(codec),
        _ => Encoding::Other(map.map_or_else(|| format!("payload type {pt}"), |map| map.encoding_name.clone())),
    }
}

fn feedback_of(pt: u8, lines: &[RtcpFb]) -> Feedback {
    let mut feedback = Feedback::default();
    for line in lines.iter().filter(|line| matches!(line.pt, RtcpFbPt::Wildcard) || line.pt == RtcpFbPt::Fmt(pt)) {
        feedback.nack |= line.val.is_nack();
        feedback.pli |= line.val.is_nack_pli();
        feedback.fir |= line.val.is_ccm_fir();
        feedback.transport_cc |= line.val.is_transport_cc();
    }
    feedback
}

/// The extensions of one level. One ID for two URIs cannot be told apart on the wire: the offer is refused.
fn extensions(attributes: &[Attribute], place: &str) -> Result<Vec<OfferedExtension>, OfferError> {
    let maps: Vec<ExtMap> = values(attributes, "extmap").filter_map(|value| value.parse().ok()).collect();
    let mut uris: [Option<&str>; 256] = [None; 256];
    for map in &maps {
        let uri = &mut uris[usize::from(map.id)];
        if uri.is_some_and(|uri| uri != map.uri) {
            return Err(OfferError::Unusable(format!(
                "a=extmap:{} of {place} stands for two different extensions; give each its own ID (RFC 8285 5)",
                map.id
            )));
        }
        *uri = Some(&map.uri);
    }
    let mut known: Vec<OfferedExtension> = Vec::new();
    for map in &maps {
        let Some(extension) = Extension::from_uri(&map.uri) else { continue };
        // 15 and up exist in the two-byte form only (RFC 8285 4.2), which is not written here.
        if map.id <= 14 && !known.iter().any(|other| other.extension == extension) {
            known.push(OfferedExtension { id: map.id, extension, direction: map.direction });
        }
    }
    Ok(known)
}

/// The section's own extensions, and the session's where they do not contradict.
fn inherit(mut own: Vec<OfferedExtension>, session: Vec<OfferedExtension>) -> Vec<OfferedExtension> {
    for offered in session {
        if !own.iter().any(|other| other.id == offered.id || other.extension == offered.extension) {
            own.push(offered);
        }
    }
    own
}

/// The first pair of media and RTX, else the first SSRC. 0 is nobody's: bandwidth probes use it.
fn ssrc(own: &[Attribute]) -> Option<(u32, Option<u32>)> {
    let groups = values(own, "ssrc-group").take(MOST_SSRCS).filter_map(|value| value.parse::<SsrcGroup>().ok());
    let pairs = groups.filter(|group| group.semantics == GroupSemantics::FID);
    let mut pairs = pairs.filter_map(|group| Some((*group.ssrc_ids.first()?, *group.ssrc_ids.get(1)?)));
    let pair = pairs.find(|(media, rtx)| media != rtx && *media != 0 && *rtx != 0);
    let mut alone = values(own, "ssrc").take(MOST_SSRCS).filter_map(|value| value.parse::<Ssrc>().ok());
    match pair {
        Some((media, rtx)) => Some((media, Some(rtx))),
        None => alone.find(|line| line.ssrc_id != 0).map(|line| (line.ssrc_id, None)),
    }
}

/// The layers of `a=simulcast:send` that have an `a=rid` line (RFC 8853 5.1), the first of each group of alternatives.
/// Without the header extension for RIDs they cannot be told apart, so there are none.
fn layers(own: &[Attribute], extensions: &[OfferedExtension]) -> Result<Vec<String>, OfferError> {
    if !extensions.iter().any(|offered| offered.extension == Extension::Rid) {
        return Ok(Vec::new());
    }
    let rids: Vec<sdp_types::Rid> = values(own, "rid").filter_map(|value| value.parse().ok()).collect();
    let is_sent = |id: &str| rids.iter().any(|rid| rid.id == id && rid.direction == RidDirection::Send);
    let mut words = values(own, "simulcast").next().unwrap_or_default().split_ascii_whitespace();
    let mut layers: Vec<String> = Vec::new();
    while let (Some(direction), Some(list)) = (words.next(), words.next()) {
        if direction != "send" {
            continue;
        }
        for alternatives in list.split(';') {
            let mut ids = alternatives.split(',').map(|id| id.trim_start_matches('~'));
            if let Some(id) = ids.find(|id| is_sent(id) && !layers.iter().any(|layer| layer == id)) {
                layers.push(id.to_owned());
            }
        }
    }
    if layers.len() > MOST_LAYERS || layers.iter().any(|layer| layer.len() > LONGEST_ID) {
        return Err(OfferError::Unusable(format!(
            "a=simulcast has {} layers; up to {MOST_LAYERS} with names of up to {LONGEST_ID} characters are taken",
            layers.len()
        )));
    }
    Ok(layers)
}
