//! Answers to publishers and viewers, by the rules real clients hold us to (RFC 3264 6, RFC 9143 7.3, RFC 9429 5.3).
//!
//! Every section is complete, refused ones too, because GStreamer and aiortc refuse an answer in which any section
//! lacks its transport attributes. Numbers are the offer's: payload types, header extension IDs, mids. The text is
//! written by `sdp-types`, ends every line in CRLF and stays within [`LONGEST_ANSWER`].

use std::net::{Ipv4Addr, SocketAddr};

use sdp_types::{
    Attribute, Candidate, Connection, Direction, ExtMap, Fingerprint, GroupSemantics, HashFunc, Media, Msid, Origin,
    RtcpFb, RtcpFbCcm, RtcpFbNack, RtcpFbVal, RtpMap, Session, Ssrc, SsrcAttribute, SsrcGroup,
};
use whipstitch_media::{Codec, Kind};

use super::candidates::host_candidates;
use super::formats;
use super::publisher::{self, PublisherMedia, PublisherPlan};
use super::section::{OfferedExtension, Section};
use super::viewer::{self, ViewerFormat, ViewerPlan};
use super::{Credentials, DtlsRole, Offer};

/// FFmpeg reads the answer into a buffer of this size.
pub(super) const LONGEST_ANSWER: usize = 8191;

/// Our side of the transport.
#[derive(Clone, Copy, Debug)]
pub struct Local<'a> {
    /// Our ICE credentials of this generation: 4 to 32 and 22 to 64 ice-chars.
    pub credentials: &'a Credentials,
    /// SHA-256 of our certificate.
    pub fingerprint: &'a [u8; 32],
    /// Where we can be reached over UDP and over TCP, the most reachable first within each address family.
    pub candidates: &'a [SocketAddr],
    /// The session id of `o=`; the highest bit is not used (RFC 9429 5.2.1).
    pub session_id: u64,
}

/// The SSRCs that a viewer will see for one track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// Audio or video.
    pub kind: Kind,
    /// Of the media.
    pub ssrc: u32,
    /// Of the retransmissions; written only where the plan has RTX.
    pub rtx_ssrc: Option<u32>,
}

/// The answer to a publisher: every planned section `recvonly`, the others refused.
pub fn answer_publisher(offer: &Offer, plan: &PublisherPlan, local: &Local<'_>) -> String {
    write(offer, local, |section| {
        let media = plan.media.iter().find(|media| media.mid == section.mid)?;
        let agreed = Agreed {
            formats: vec![AgreedFormat {
                codec: media.codec,
                pt: media.pt,
                rtx_pt: media.rtx_pt,
                feedback: publisher_feedback(media),
            }],
            direction: publisher::ANSWERED_DIRECTION,
            extensions: publisher::extensions(section, media),
        };
        let mut attributes = agreed.attributes(section);
        attributes.extend(simulcast(&media.rids));
        Some((agreed.payload_types(), attributes))
    })
}

/// The answer to a viewer: every planned section `sendonly` with the SSRCs of `senders`, the others refused. `msid`
/// names the one media stream (1 to 64 token characters), `cname` the one source, so that audio and video are played in
/// step.
pub fn answer_viewer(
    offer: &Offer,
    plan: &ViewerPlan,
    local: &Local<'_>,
    msid: &str,
    cname: &str,
    senders: &[Sender],
) -> String {
    write(offer, local, |section| {
        let media = plan.media.iter().find(|media| media.mid == section.mid)?;
        let agreed = Agreed {
            formats: media.formats.iter().map(AgreedFormat::with_viewer).collect(),
            direction: viewer::ANSWERED_DIRECTION,
            extensions: viewer::extensions(section, media.kind),
        };
        let mut attributes = agreed.attributes(section);
        // The track's id is the media type: there is one of each.
        attributes.push(Msid::new(msid, Some(&section.media)).into());
        if let Some(sender) = senders.iter().find(|sender| sender.kind == media.kind) {
            let with_rtx = media.formats.iter().any(|format| format.rtx_pt.is_some());
            attributes.extend(sources(sender, with_rtx, cname));
        }
        Some((agreed.payload_types(), attributes))
    })
}

fn publisher_feedback(media: &PublisherMedia) -> Vec<RtcpFbVal> {
    let mut feedback = common_feedback(media.nack, media.pli, media.fir);
    if media.transport_cc {
        feedback.push(RtcpFbVal::TransportCc);
    }
    feedback
}

fn common_feedback(nack: bool, pli: bool, fir: bool) -> Vec<RtcpFbVal> {
    [(nack, RtcpFbVal::Nack(None)), (pli, RtcpFbNack::Pli.into()), (fir, RtcpFbCcm::Fir.into())]
        .into_iter()
        .filter_map(|(agreed, value)| agreed.then_some(value))
        .collect()
}

/// What both roles answer for an accepted section.
struct Agreed<'a> {
    formats: Vec<AgreedFormat>,
    direction: Direction,
    extensions: Vec<&'a OfferedExtension>,
}

/// One format of it.
struct AgreedFormat {
    codec: Codec,
    pt: u8,
    rtx_pt: Option<u8>,
    feedback: Vec<RtcpFbVal>,
}

impl AgreedFormat {
    fn with_viewer(format: &ViewerFormat) -> AgreedFormat {
        let &ViewerFormat { codec, pt, rtx_pt, nack, pli, fir, .. } = format;
        AgreedFormat { codec, pt, rtx_pt, feedback: common_feedback(nack, pli, fir) }
    }

    fn attributes(&self, section: &Section) -> Vec<Attribute> {
        let mut attributes: Vec<Attribute> = vec![rtpmap(self.codec, self.pt).into()];
        for value in &self.feedback {
            attributes.push(RtcpFb::new(self.pt, value.clone()).into());
        }
        let offered = section.format(self.pt).map_or("", |format| &format.parameters);
        let parameters = formats::answered(self.codec, offered);
        if !parameters.is_empty() {
            attributes.push(Attribute::with_value("fmtp", format_args!("{} {parameters}", self.pt)));
        }
        if let Some(rtx) = self.rtx_pt {
            attributes.push(RtpMap::new(rtx, "rtx", self.codec.clock_rate()).into());
            attributes.push(Attribute::with_value("fmtp", format_args!("{rtx} apt={}", self.pt)));
        }
        attributes
    }
}

/// No less than the bytes that an answer spends on a viewer's format.
pub(super) fn longest_of(section: &Section, format: &ViewerFormat) -> usize {
    let attributes = AgreedFormat::with_viewer(format).attributes(section);
    // `a=`, the colon and the line's end; both payload types in the m= line.
    let line = |one: &Attribute| one.attribute.len() + one.value.as_ref().map_or(0, String::len) + 5;
    attributes.iter().map(line).sum::<usize>() + 8
}

impl Agreed<'_> {
    fn payload_types(&self) -> String {
        let numbers = self.formats.iter().flat_map(|format| [Some(format.pt), format.rtx_pt]).flatten();
        numbers.map(|number| number.to_string()).collect::<Vec<_>>().join(" ")
    }

    fn attributes(&self, section: &Section) -> Vec<Attribute> {
        let mut attributes = vec![self.direction.into(), Attribute::new("rtcp-mux-only")];
        if section.rtcp_rsize {
            attributes.push(Attribute::new("rtcp-rsize"));
        }
        for offered in &self.extensions {
            let mut map = ExtMap::new(offered.id, offered.extension.uri());
            map.direction = offered.direction.map(Direction::reverse);
            attributes.push(map.into());
        }
        attributes.extend(self.formats.iter().flat_map(|format| format.attributes(section)));
        attributes
    }
}

fn rtpmap(codec: Codec, pt: u8) -> RtpMap {
    let mut map = RtpMap::new(pt, codec.name(), codec.clock_rate());
    if codec == Codec::Opus {
        map.set_encoding_params("2");
    }
    map
}

/// RFC 8853 5.3: all the layers, in the offer's order; OBS gives up on fewer.
fn simulcast(rids: &[String]) -> Vec<Attribute> {
    if rids.is_empty() {
        return Vec::new();
    }
    let mut attributes: Vec<Attribute> =
        rids.iter().map(|rid| Attribute::with_value("rid", format_args!("{rid} recv"))).collect();
    attributes.push(Attribute::with_value("simulcast", format_args!("recv {}", rids.join(";"))));
    attributes
}

/// RFC 5576: Chrome refuses a group unless each SSRC in it has a line of its own.
fn sources(sender: &Sender, with_rtx: bool, cname: &str) -> Vec<Attribute> {
    let rtx = sender.rtx_ssrc.filter(|_| with_rtx);
    let mut attributes: Vec<Attribute> = Vec::new();
    if let Some(rtx) = rtx {
        let mut group = SsrcGroup::new(GroupSemantics::FID);
        group.add_ssrc_ids([sender.ssrc, rtx]);
        attributes.push(group.into());
    }
    for ssrc in [Some(sender.ssrc), rtx].into_iter().flatten() {
        attributes.push(Ssrc::with_value(ssrc, SsrcAttribute::Cname, cname).into());
    }
    attributes
}

/// The answer as a whole. `accept` gives the formats and own attributes of an accepted section, `None` refuses it.
fn write<'a>(
    offer: &'a Offer,
    local: &Local<'_>,
    accept: impl Fn(&'a Section) -> Option<(String, Vec<Attribute>)>,
) -> String {
    let session_id = local.session_id & (u64::MAX >> 1);
    let mut session = Session::new(Origin::with_ip_addr(session_id, 2, Ipv4Addr::UNSPECIFIED), "-");
    let mut accepted: Vec<(usize, &str)> = Vec::new();
    for (index, section) in offer.sections().iter().enumerate() {
        let answer = accept(section);
        if answer.is_some() {
            accepted.push((index, &section.mid));
        }
        session.add_media(media(section, answer, offer.dtls_role(), local));
    }
    // The tagged section is the first of the group, so the offer's order of the group is kept.
    let place = |mid: &str| accepted.iter().find(|(_, other)| *other == mid).map(|(index, _)| *index);
    let grouped: Vec<&str> = offer.bundle().iter().map(String::as_str).filter(|mid| place(mid).is_some()).collect();
    if !grouped.is_empty() {
        session.add_attribute_with_value("group", format_args!("BUNDLE {}", grouped.join(" ")));
    }
    session.add_attribute_from_str("ice-lite");
    session.add_attribute_with_value("ice-options", "trickle");
    // Clients look in the first accepted section; RFC 9143 7.1.3 has them in the tagged one. Mostly they are the same.
    let first = accepted.first().map(|(index, _)| *index);
    let mut places: Vec<usize> = first.into_iter().chain(grouped.first().and_then(|mid| place(mid))).collect();
    places.dedup();
    with_candidates(&session, &places, &host_candidates(local.candidates))
}

/// The text with as many candidates, the most preferred first, as stay within [`LONGEST_ANSWER`]. Only an offer made
/// for the purpose, with sixteen sections, can lose one.
fn with_candidates(session: &Session, places: &[usize], candidates: &[Candidate]) -> String {
    let write = |count: usize| {
        let mut session = session.clone();
        for (_, media) in session.medias.iter_mut().enumerate().filter(|(index, _)| places.contains(index)) {
            media.add_attributes(candidates.iter().take(count).cloned());
            media.add_attribute_from_str("end-of-candidates");
        }
        session.to_string()
    };
    let fitting = (1..=candidates.len()).rev().map(write).find(|text| text.len() <= LONGEST_ANSWER);
    fitting.unwrap_or_else(|| write(0))
}

/// What is a refused section's own: port 0, one format, no media. aiortc takes the answer only if it knows that format,
/// and waits for the candidates of this section, which has none, before it goes on with those that were accepted.
fn refused(section: &Section) -> (u16, String, Vec<Attribute>) {
    let mut attributes = vec![Direction::Inactive.into()];
    let kept = section.carried().next().map(|(codec, format)| (codec, format.pt));
    attributes.extend(kept.map(|(codec, pt)| rtpmap(codec, pt).into()));
    attributes.push(Attribute::new("end-of-candidates"));
    (0, kept.map_or_else(|| section.first_format.clone(), |(_, pt)| pt.to_string()), attributes)
}

/// One section of the answer. What stands in every section, refused ones too, stands here.
fn media(section: &Section, answer: Option<(String, Vec<Attribute>)>, role: DtlsRole, local: &Local<'_>) -> Media {
    // RFC 9143 7.3: an accepted section never has port 0; it is 9 because candidates say where (RFC 9429 5.2.1).
    let (port, formats, own) = match answer {
        Some((formats, attributes)) => (9, formats, attributes),
        None => refused(section),
    };
    let setup = match role {
        DtlsRole::Client => "active",
        DtlsRole::Server => "passive",
    };
    let mut attributes = vec![
        Attribute::with_value("ice-ufrag", &local.credentials.ufrag),
        Attribute::with_value("ice-pwd", &local.credentials.pwd),
        Fingerprint::with_fingerprint(HashFunc::Sha256, *local.fingerprint).into(),
        Attribute::with_value("setup", setup),
    ];
    if section.has_mid {
        attributes.push(Attribute::with_value("mid", &section.mid));
    }
    attributes.push(Attribute::new("rtcp-mux"));
    attributes.extend(own);
    Media {
        media: section.media.clone(),
        port,
        num_ports: None,
        proto: section.profile.clone(),
        fmt: formats,
        media_title: None,
        connections: vec![Connection::from_ip_addr(Ipv4Addr::UNSPECIFIED)],
        bandwidths: Vec::new(),
        key: None,
        attributes,
    }
}
