//! Offers of plain RTP: a publisher that brings neither ICE nor DTLS (`RTP/AVP`), and what it is answered (RFC 3264).

use sdp_types::{Attribute, Media, Session};

use super::{Error, Header, Section, read, text, write};
use crate::Kind;

/// An offer of plain RTP that can be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    medias: Vec<Offered>,
}

/// One section of the offer, in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Offered {
    media: String,
    profile: String,
    formats: String,
    /// What is taken of it; the answer rejects it without.
    section: Option<Section>,
    /// `nack pli` was offered for it (RFC 4585 4.2).
    pli: bool,
    /// `a=rtcp`: where the offerer listens for RTCP (RFC 3605).
    rtcp: Option<u16>,
}

impl Offer {
    /// Reads an offer; `None` if it is none of plain RTP: with a profile that is encrypted, a fingerprint, ICE credentials, or
    /// no SDP at all.
    ///
    /// # Errors
    /// [`Error`], if it is and cannot be taken: its codecs are not known, it has two sections of a kind, or nothing is sent.
    pub fn read(sdp: &str) -> Result<Option<Offer>, Error> {
        if text::check(sdp, "the offer").is_err() {
            return Ok(None);
        }
        let Ok(session) = Session::parse(sdp.trim_end().as_bytes()) else { return Ok(None) };
        if !is_plain(&session) {
            return Ok(None);
        }
        let has_ports = session.medias.iter().any(|media| media.port != 0);
        let mut medias: Vec<Offered> = Vec::new();
        for media in &session.medias {
            // RFC 3264 5.1: port 0 is a section that is not wanted. In an offer that has no other, nobody has thought of ports.
            let is_wanted = media.port != 0 || !has_ports;
            let offered = offered(media, is_wanted && sends(media, &session))?;
            if let Some(kind) = offered.section.as_ref().map(|section| section.codec.kind())
                && medias.iter().any(|other| other.kind() == Some(kind))
            {
                return Err(Error::Unusable(format!(
                    "the offer has two {kind} sections; a stream has one: offer only one"
                )));
            }
            medias.push(offered);
        }
        if medias.iter().all(|offered| offered.section.is_none()) {
            return Err(Error::Unusable(
                "the offer sends neither audio nor video; offer at least one section that is sendonly".to_owned(),
            ));
        }
        Ok(Some(Offer { medias }))
    }

    /// What is taken, in the offer's order.
    pub fn sections(&self) -> impl Iterator<Item = &Section> {
        self.medias.iter().filter_map(|offered| offered.section.as_ref())
    }

    /// The port that the offerer names for RTCP to it (RFC 3605).
    pub fn rtcp_port(&self, kind: Kind) -> Option<u16> {
        self.medias.iter().find(|offered| offered.kind() == Some(kind))?.rtcp
    }

    /// Writes the answer: each section that is taken is `recvonly`, at the port that `port` has for its kind; RTCP is at the
    /// next one (RFC 3605).
    pub fn answer(&self, header: &Header<'_>, port: impl Fn(Kind) -> u16) -> String {
        let medias = self.medias.iter().map(|offered| match &offered.section {
            Some(section) => {
                let port = port(section.codec.kind());
                let mut media = write::media(&Section { port, control: None, ..section.clone() });
                media.proto.clone_from(&offered.profile);
                if offered.pli {
                    media.attributes.push(Attribute::with_value("rtcp-fb", format!("{} nack pli", section.pt)));
                }
                media.attributes.push(Attribute::with_value("rtcp", port.saturating_add(1).to_string()));
                media.attributes.push(Attribute::new("recvonly"));
                media
            }
            None => Media {
                media: offered.media.clone(),
                port: 0,
                num_ports: None,
                proto: offered.profile.clone(),
                fmt: offered.formats.clone(),
                media_title: None,
                connections: Vec::new(),
                bandwidths: Vec::new(),
                key: None,
                attributes: Vec::new(),
            },
        });
        write::text(header, medias.collect())
    }
}

impl Offered {
    fn kind(&self) -> Option<Kind> {
        self.section.as_ref().map(|section| section.codec.kind())
    }
}

/// Whether nothing in it asks for encryption, and nothing could carry it.
fn is_plain(session: &Session) -> bool {
    const ENCRYPTED: [&str; 4] = ["fingerprint", "ice-ufrag", "setup", "crypto"];
    let levels = session.medias.iter().map(|media| &media.attributes).chain([&session.attributes]);
    let mut attributes = levels.flatten();
    let is_plain = |media: &Media| {
        let profile = media.proto.to_ascii_uppercase();
        matches!(&*profile, "RTP/AVP" | "RTP/AVPF" | "RTP/AVP/UDP" | "RTP/AVPF/UDP")
    };
    !session.medias.is_empty()
        && session.medias.len() <= text::MOST_SECTIONS
        && session.medias.iter().all(is_plain)
        && !attributes.any(|attribute| ENCRYPTED.contains(&attribute.attribute.trim_end()))
}

fn offered(media: &Media, is_sent: bool) -> Result<Offered, Error> {
    let is_media = Kind::ALL.into_iter().any(|kind| kind.as_str() == media.media);
    let section = if is_sent && is_media { Some(read::section(media)?) } else { None };
    let pli = section.as_ref().is_some_and(|section| {
        media.proto.to_ascii_uppercase().contains("AVPF")
            && text::values(&media.attributes, "rtcp-fb").any(|value| {
                let mut words = value.split_ascii_whitespace();
                let pt = words.next();
                (pt == Some("*") || pt.and_then(|pt| pt.parse().ok()) == Some(section.pt)) && words.eq(["nack", "pli"])
            })
    });
    let rtcp =
        text::values(&media.attributes, "rtcp").find_map(|value| value.split_ascii_whitespace().next()?.parse().ok());
    let rtcp = rtcp.filter(|port| *port != 0);
    let (media, profile, formats) = (media.media.clone(), media.proto.clone(), media.fmt.clone());
    Ok(Offered { media, profile, formats, section, pli, rtcp })
}

/// Whether the offerer sends what the section describes: the direction of the section, else of the session, else both ways
/// (RFC 8866 6.7).
fn sends(media: &Media, session: &Session) -> bool {
    let direction = |attributes: &[Attribute]| {
        let mut names = attributes.iter().map(|attribute| attribute.attribute.trim_end());
        names.find_map(|name| match name {
            "sendonly" | "sendrecv" => Some(true),
            "recvonly" | "inactive" => Some(false),
            _ => None,
        })
    };
    direction(&media.attributes).or_else(|| direction(&session.attributes)).unwrap_or(true)
}

#[cfg(test)]
mod tests;
