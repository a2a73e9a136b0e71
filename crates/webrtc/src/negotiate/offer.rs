//! An offer as a whole: its text, its sections, and the one transport they must share.
//!
//! What is judged here holds for publishers and viewers alike: limits, BUNDLE (RFC 9143; max-bundle is mandatory, RFC
//! 9725 4.4.1), rtcp-mux, encrypted profiles, ICE credentials, a SHA-256 fingerprint, `a=setup`. `sdp-types` takes LF
//! as well as CRLF, a missing last newline and blank lines, so the text needs no rewriting before it.

use sdp_types::{Attribute, Fingerprint, HashFunc, Session, Setup};
use whipstitch_media::Kind;
use whipstitch_media::sdp::text::{self, shown, values};

use super::section::Section;
use super::{Credentials, DtlsRole, OfferError};

/// Profiles with encryption (RFC 8827 6.5). All of them mean DTLS-SRTP here; the answer repeats the one offered, as
/// RFC 9429 5.1.2 allows every one of them.
const PROFILES: [&str; 5] = ["UDP/TLS/RTP/SAVPF", "UDP/TLS/RTP/SAVP", "RTP/SAVPF", "RTP/SAVP", "TCP/DTLS/RTP/SAVPF"];

/// An offer whose transport can be agreed on. Codecs are judged by the plans.
#[derive(Debug)]
pub struct Offer {
    credentials: Credentials,
    fingerprint: [u8; 32],
    dtls_role: DtlsRole,
    sections: Vec<Section>,
    /// The mids of `a=group:BUNDLE` that active sections have, in the group's order; empty without a group.
    bundle: Vec<String>,
}

impl Offer {
    /// Parses and judges the text of an offer.
    ///
    /// # Errors
    /// [`OfferError::Syntax`] if the text is not SDP or is over a limit, [`OfferError::Unusable`] if no transport can
    /// be agreed on, or if there is no audio or video section, or more than one of a kind (RFC 9725 4.4.2).
    pub fn parse(offer: &str) -> Result<Offer, OfferError> {
        text::check(offer, "the offer").map_err(OfferError::Syntax)?;
        let session = Session::parse(offer.trim_end().as_bytes())
            .map_err(|error| OfferError::Syntax(format!("the offer is not SDP (RFC 8866): {error}")))?;
        let sections = sections(&session)?;
        check_kinds(&sections)?;
        let bundle = bundle(&session.attributes, &sections)?;
        for section in sections.iter().filter(|section| section.active) {
            check_transport(section)?;
        }
        let transport = Transport::of(&session, &sections, &bundle);
        Ok(Offer {
            credentials: transport.credentials()?,
            fingerprint: transport.fingerprint()?,
            dtls_role: transport.dtls_role()?,
            sections,
            bundle,
        })
    }

    /// The peer's ICE credentials.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// SHA-256 of the certificate that the peer must present (RFC 8122 5).
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    /// Which part we play in the DTLS handshake.
    pub fn dtls_role(&self) -> DtlsRole {
        self.dtls_role
    }

    pub(super) fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// The sections that carry audio or video, in the offer's order.
    pub(super) fn active(&self) -> impl Iterator<Item = (Kind, &Section)> {
        self.sections.iter().filter(|section| section.active).filter_map(|section| Some((section.kind?, section)))
    }

    pub(super) fn bundle(&self) -> &[String] {
        &self.bundle
    }

    /// The mid of the section that describes the transport in an answer which accepts `accepted`: the first of the
    /// group (RFC 9143 7.3.1), or the one section without a group. `None` if that has no mid.
    pub fn tagged_mid<'a>(&self, accepted: impl IntoIterator<Item = &'a str> + Clone) -> Option<&str> {
        let is_accepted = |mid: &&String| accepted.clone().into_iter().any(|other| other == mid.as_str());
        let alone =
            || self.sections.iter().filter(|section| section.has_mid).map(|section| &section.mid).find(is_accepted);
        self.bundle.iter().find(is_accepted).or_else(alone).map(String::as_str)
    }
}

fn sections(session: &Session) -> Result<Vec<Section>, OfferError> {
    if session.medias.len() > text::MOST_SECTIONS {
        return Err(OfferError::Unusable(format!(
            "the offer has {} m-sections; no more than {} are taken",
            session.medias.len(),
            text::MOST_SECTIONS
        )));
    }
    let parse = |(index, media)| Section::parse(media, index, &session.attributes);
    let mut sections: Vec<Section> = session.medias.iter().enumerate().map(parse).collect::<Result<_, _>>()?;
    for index in 0..sections.len() {
        let mid = &sections[index].mid;
        if !sections[index].has_mid {
            // Hand-written offers with one section have none. The name is ours alone: it stays out of the answer.
            sections[index].mid = unused_mid(&sections);
        } else if sections[..index].iter().any(|other| other.mid == *mid) {
            return Err(OfferError::Unusable(format!(
                "two m-sections have a=mid:{}; give each its own (RFC 5888 4)",
                shown(mid)
            )));
        }
    }
    Ok(sections)
}

fn unused_mid(sections: &[Section]) -> String {
    let mut names = (0..=sections.len()).map(|number| number.to_string());
    names
        .find(|name| sections.iter().all(|section| section.mid != *name))
        .expect("one name more than there are sections")
}

fn check_kinds(sections: &[Section]) -> Result<(), OfferError> {
    let count = |kind| sections.iter().filter(|section| section.active && section.kind == Some(kind)).count();
    let (audio, video) = (count(Kind::Audio), count(Kind::Video));
    if audio > 1 || video > 1 {
        return Err(OfferError::Unusable(format!(
            "the offer has {audio} audio and {video} video sections; offer at most one of each (RFC 9725 4.4.2)"
        )));
    }
    if audio + video == 0 {
        return Err(OfferError::Unusable(
            "the offer has no audio or video section that is enabled; offer at least one".to_owned(),
        ));
    }
    Ok(())
}

/// The mids of the group that active sections have. FFmpeg names one for a section it does not write: ignored.
fn bundle(attributes: &[Attribute], sections: &[Section]) -> Result<Vec<String>, OfferError> {
    let group = values(attributes, "group").find_map(|value| {
        let mut words = value.split_ascii_whitespace();
        (words.next() == Some("BUNDLE")).then_some(words)
    });
    let mut bundle: Vec<String> = Vec::new();
    for mid in group.into_iter().flatten() {
        let is_active = sections.iter().any(|section| section.active && section.has_mid && section.mid == mid);
        if is_active && !bundle.iter().any(|other| other == mid) {
            bundle.push(mid.to_owned());
        }
    }
    let active: Vec<&Section> = sections.iter().filter(|section| section.active).collect();
    let outside = active.iter().find(|section| !bundle.contains(&section.mid));
    match outside {
        // A section alone has one transport, grouped or not.
        Some(section) if active.len() > 1 => Err(OfferError::Unusable(format!(
            "{} (mid {}) is not in a=group:BUNDLE; audio and video must share one transport: use bundlePolicy \
             \"max-bundle\" (RFC 9725 4.4.1)",
            section.name(),
            shown(&section.mid)
        ))),
        _ => Ok(bundle),
    }
}

fn check_transport(section: &Section) -> Result<(), OfferError> {
    if !PROFILES.iter().any(|profile| profile.eq_ignore_ascii_case(&section.profile)) {
        return Err(OfferError::Unusable(format!(
            "{} has the profile {}, which is not encrypted with DTLS-SRTP; offer UDP/TLS/RTP/SAVPF",
            section.name(),
            shown(&section.profile)
        )));
    }
    // RFC 9143 7.1.3: a bundle-only section may leave the transport's attributes to the tagged one.
    if !section.rtcp_mux && !section.bundle_only {
        return Err(OfferError::Unusable(format!(
            "{} has no a=rtcp-mux; RTP and RTCP must share one port (RFC 9725 4.4.1)",
            section.name()
        )));
    }
    Ok(())
}

/// The attribute lists that may describe the transport, the one that counts first: the tagged section (RFC 9143 7.1.3),
/// the session, then the other sections of the group.
struct Transport<'a> {
    levels: Vec<&'a [Attribute]>,
}

impl<'a> Transport<'a> {
    fn of(session: &'a Session, sections: &[Section], bundle: &[String]) -> Transport<'a> {
        let mut active: Vec<(usize, &[Attribute])> = Vec::new();
        for (section, media) in sections.iter().zip(&session.medias).filter(|(section, _)| section.active) {
            let place = bundle.iter().position(|mid| *mid == section.mid).unwrap_or(bundle.len());
            active.push((place, &media.attributes));
        }
        active.sort_by_key(|(place, _)| *place);
        let mut levels: Vec<&[Attribute]> = active.into_iter().map(|(_, attributes)| attributes).collect();
        levels.insert(levels.len().min(1), &session.attributes);
        Transport { levels }
    }

    /// The first value of `name` at the first level that has one.
    fn value(&self, name: &'a str) -> Option<&'a str> {
        self.levels.iter().find_map(|level| values(level, name).next())
    }

    fn credentials(&self) -> Result<Credentials, OfferError> {
        let missing = |name| {
            let text = format!("the offer has no a={name}; it must carry ICE credentials (RFC 8839 5.4)");
            OfferError::Unusable(text)
        };
        let ufrag = self.value("ice-ufrag").ok_or_else(|| missing("ice-ufrag"))?;
        let pwd = self.value("ice-pwd").ok_or_else(|| missing("ice-pwd"))?;
        Credentials::check(ufrag, pwd).map_err(OfferError::Unusable)
    }

    /// The first SHA-256 of the first level that has any fingerprint; other hashes may stand beside it. SHA-1 and MD5
    /// prove nothing any more (RFC 8122 5), and of the longer ones no client offers one alone.
    fn fingerprint(&self) -> Result<[u8; 32], OfferError> {
        let level = self.levels.iter().find(|level| values(level, "fingerprint").next().is_some());
        let Some(level) = level else {
            let text = "the offer has no a=fingerprint; media is only taken over DTLS-SRTP (RFC 8122)";
            return Err(OfferError::Unusable(text.to_owned()));
        };
        values(level, "fingerprint")
            .filter_map(|value| value.parse::<Fingerprint>().ok())
            .filter(|fingerprint| fingerprint.hash_func == HashFunc::Sha256)
            .find_map(|fingerprint| fingerprint.fingerprint.try_into().ok())
            .ok_or_else(|| {
                let text = "no a=fingerprint of the offer is a whole sha-256 hash; offer one (RFC 8122 5)";
                OfferError::Unusable(text.to_owned())
            })
    }

    fn dtls_role(&self) -> Result<DtlsRole, OfferError> {
        let Some(value) = self.value("setup") else { return Ok(DtlsRole::Server) };
        match value.parse::<Setup>() {
            Ok(Setup::Passive) => Ok(DtlsRole::Client),
            Ok(Setup::ActPass | Setup::Active) => Ok(DtlsRole::Server),
            Ok(Setup::HoldConn) | Err(_) => Err(OfferError::Unusable(format!(
                "a=setup:{} cannot be answered; offer actpass, active or passive (RFC 8842 5.2)",
                shown(value)
            ))),
        }
    }
}
