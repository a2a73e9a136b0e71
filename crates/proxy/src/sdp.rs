//! Offers, answers and fragments, as far as a proxy has to know them: whose ICE credentials they bring, where the origin
//! takes media, and an answer with the proxy's candidates in the place of the origin's (RFC 8839, RFC 8840).
//!
//! The grammar is `sdp-types`'. Everything here is total over any bytes, and bounded.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use sdp_types::{Attribute, Candidate, CandidateAddress, CandidateType, Connection, Session};
use thiserror::Error;
use whipstitch_media::sdp::text::{MOST_SECTIONS, values};

use crate::ice::{Credentials, Generation};

/// Bodies of either side; Chrome's longest offers are around 10 KiB, and FFmpeg reads 8 KiB of an answer.
pub const MOST_BYTES: usize = 128 * 1024;

/// Why a description cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SdpError {
    /// It is none, or over a bound.
    #[error("the body is no SDP (RFC 8866)")]
    Syntax,
    /// Without credentials its datagrams cannot be told from others.
    #[error("the SDP has no usable a=ice-ufrag and a=ice-pwd; media is passed on for ICE sessions only (RFC 8839 5.4)")]
    NoCredentials,
    /// No UDP candidate of the host type, and the origin has not said where it takes media.
    #[error("the SDP has no UDP host candidate")]
    NoCandidate,
}

/// An offer, an answer, or the body of a trickle or restart request.
pub struct Description {
    session: Session,
    is_fragment: bool,
}

impl Description {
    /// Reads an offer or an answer.
    ///
    /// # Errors
    /// [`SdpError::Syntax`].
    pub fn parse(bytes: &[u8]) -> Result<Self, SdpError> {
        if bytes.len() > MOST_BYTES {
            return Err(SdpError::Syntax);
        }
        let session = Session::parse(bytes).map_err(|_| SdpError::Syntax)?;
        if session.medias.is_empty() || session.medias.len() > MOST_SECTIONS {
            return Err(SdpError::Syntax);
        }
        Ok(Self { session, is_fragment: false })
    }

    /// Reads the body of a trickle or restart request, or of the answer to the latter (RFC 8840 section 9): lines as in a
    /// description, without its head.
    ///
    /// # Errors
    /// [`SdpError::Syntax`].
    pub fn parse_fragment(bytes: &[u8]) -> Result<Self, SdpError> {
        if bytes.len() > MOST_BYTES || bytes.is_empty() {
            return Err(SdpError::Syntax);
        }
        let whole = [b"v=0\r\n", bytes].concat();
        let session = Session::parse(whole.as_slice()).map_err(|_| SdpError::Syntax)?;
        if session.medias.len() > MOST_SECTIONS {
            return Err(SdpError::Syntax);
        }
        Ok(Self { session, is_fragment: true })
    }

    /// The first section that is not refused, which carries the transport of all others in its bundle (RFC 9143 section
    /// 7.3.1): with `max-bundle`, which WHIP asks for, there is no other.
    fn tagged(&self) -> usize {
        self.session.medias.iter().position(|media| media.port != 0).unwrap_or(0)
    }

    /// The credentials of section `index`, its own or those of all (RFC 8839 section 5.4); of a fragment, whose sections
    /// may be any, the first ones it has.
    fn credentials(&self, index: usize) -> Result<Credentials, SdpError> {
        let medias = &self.session.medias;
        let of = |name: &str| {
            let own = medias.get(index).and_then(|media| values(&media.attributes, name).next());
            let any =
                || medias.iter().filter(|_| self.is_fragment).find_map(|media| values(&media.attributes, name).next());
            own.or_else(|| values(&self.session.attributes, name).next()).or_else(any).map(str::to_owned)
        };
        let (Some(ufrag), Some(pwd)) = (of("ice-ufrag"), of("ice-pwd")) else { return Err(SdpError::NoCredentials) };
        Credentials::new(&ufrag, &pwd).map_err(|_| SdpError::NoCredentials)
    }

    /// Whether there are credentials at all; said of an offer before it goes anywhere.
    ///
    /// # Errors
    /// [`SdpError::NoCredentials`].
    pub fn has_credentials(&self) -> Result<(), SdpError> {
        let of_any = (0..self.session.medias.len().max(1)).find_map(|index| self.credentials(index).ok());
        of_any.map(drop).ok_or(SdpError::NoCredentials)
    }

    /// The ICE generation that this answer and its offer begin.
    ///
    /// # Errors
    /// [`SdpError::NoCredentials`] when either has none for the section that counts.
    pub fn generation(&self, offer: &Self) -> Result<Generation, SdpError> {
        let tagged = self.tagged();
        Ok(Generation { origin: self.credentials(tagged)?, client: offer.credentials(tagged)? })
    }

    /// Where the origin takes media when it says so nowhere but here: at the address where it answered HTTP, at the port of
    /// its candidate there, else of its first one.
    #[must_use]
    pub fn media_address(&self, http: IpAddr) -> Option<SocketAddr> {
        let http = http.to_canonical();
        let hosts: Vec<SocketAddr> =
            self.session.medias.iter().flat_map(|media| media.attributes.iter().filter_map(host)).collect();
        let port = hosts.iter().find(|host| host.ip() == http).or(hosts.first())?.port();
        Some(SocketAddr::new(http, port))
    }

    /// The same with `ours` for its candidates: where the first UDP host candidate of a section stood, ours stand; where
    /// there was none in the whole, in the section that counts. Every other candidate goes, and where the origin's own
    /// address was the default destination, our first is. All else stays as it is, in its order.
    ///
    /// # Errors
    /// [`SdpError::NoCandidate`] without one of ours.
    pub fn with_candidates(mut self, ours: &[SocketAddr]) -> Result<String, SdpError> {
        let default = *ours.first().ok_or(SdpError::NoCandidate)?;
        let lines = candidates(ours);
        let tagged = self.tagged();
        self.session.attributes.retain(|attribute| !is_candidate(attribute));
        let mut placed = false;
        for media in &mut self.session.medias {
            placed |= replace(&mut media.attributes, &lines);
        }
        if let Some(media) = self.session.medias.get_mut(tagged).filter(|_| !placed) {
            let is_end = |attribute: &Attribute| attribute.attribute.trim() == "end-of-candidates";
            let at = media.attributes.iter().position(is_end).unwrap_or(media.attributes.len());
            media.attributes.splice(at..at, lines);
        }
        self.set_default(default);
        Ok(self.written())
    }

    /// RFC 8839 section 4.2.1.2: the default destination is one of the candidates, or none (0.0.0.0 and port 9).
    fn set_default(&mut self, default: SocketAddr) {
        let general_is_real = self.session.connection.as_ref().is_some_and(is_real);
        for media in &mut self.session.medias {
            let is_real = match media.connections.is_empty() {
                true => general_is_real,
                false => media.connections.iter().any(is_real),
            };
            // A refused section has no destination.
            let (ip, port) = match (media.port, is_real) {
                (0, _) => (Ipv4Addr::UNSPECIFIED.into(), 0),
                (9, false) => (Ipv4Addr::UNSPECIFIED.into(), 9),
                _ if self.is_fragment => (Ipv4Addr::UNSPECIFIED.into(), 9),
                _ => (default.ip(), default.port()),
            };
            if is_real || media.port != port {
                media.connections.iter_mut().for_each(|connection| *connection = Connection::from_ip_addr(ip));
                if media.connections.is_empty() && !self.is_fragment {
                    media.connections.push(Connection::from_ip_addr(ip));
                }
                media.port = port;
            }
            for attribute in &mut media.attributes {
                if attribute.attribute.trim() == "rtcp" && attribute.value.as_deref().is_some_and(names_destination) {
                    // With rtcp-mux it is that of RTP (RFC 5761 section 5.1.1).
                    let (port, kind) = (if port == 0 { 9 } else { port }, if ip.is_ipv4() { "IP4" } else { "IP6" });
                    attribute.value = Some(format!("{port} IN {kind} {ip}"));
                }
            }
        }
        if general_is_real {
            self.session.connection = Some(Connection::from_ip_addr(default.ip()));
        }
    }

    fn written(&self) -> String {
        let mut bytes = Vec::new();
        self.session.write(&mut bytes).expect("writing to memory does not fail");
        let text = String::from_utf8(bytes).expect("all that was read is text, and so is all of ours");
        match self.is_fragment {
            false => text,
            true => {
                let body =
                    text.split_inclusive('\n').skip_while(|line| !line.starts_with("a=") && !line.starts_with("m="));
                body.collect()
            }
        }
    }
}

fn is_candidate(attribute: &Attribute) -> bool {
    matches!(attribute.attribute.trim(), "candidate" | "remote-candidates")
}

/// The address of a host candidate over UDP for RTP.
fn host(attribute: &Attribute) -> Option<SocketAddr> {
    if attribute.attribute.trim() != "candidate" {
        return None;
    }
    let candidate: Candidate = attribute.value.as_deref()?.trim().parse().ok()?;
    let is_udp = candidate.component_id == 1 && candidate.transport.eq_ignore_ascii_case("udp");
    match candidate.address {
        CandidateAddress::IpAddr(ip) if is_udp && candidate.typ == CandidateType::Host && candidate.port != 0 => {
            Some(SocketAddr::new(ip.to_canonical(), candidate.port))
        }
        _ => None,
    }
}

/// Takes all candidates out and puts `lines` where the first UDP host candidate was. `false` when there was none.
fn replace(attributes: &mut Vec<Attribute>, lines: &[Attribute]) -> bool {
    let first = attributes.iter().position(|attribute| host(attribute).is_some());
    let at = first.map(|first| attributes[..first].iter().filter(|attribute| !is_candidate(attribute)).count());
    attributes.retain(|attribute| !is_candidate(attribute));
    if let Some(at) = at {
        attributes.splice(at..at, lines.iter().cloned());
    }
    at.is_some()
}

/// Host candidates at these addresses, the first preferred (RFC 8445 section 5.1.2.1).
fn candidates(addresses: &[SocketAddr]) -> Vec<Attribute> {
    let mut known = Vec::new();
    for address in addresses {
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        if !known.contains(&address) {
            known.push(address);
        }
    }
    let line = |(index, address): (usize, &SocketAddr)| {
        let preference = u64::from(u16::MAX.saturating_sub(u16::try_from(index).unwrap_or(u16::MAX)));
        let priority = (126 << 24) | (preference << 8) | 255;
        let ip = CandidateAddress::IpAddr(address.ip());
        // A number as foundation: FFmpeg finds the transport by the first `udp` of the line.
        let candidate = Candidate::new(index + 1, 1, "udp", priority, ip, address.port(), CandidateType::Host);
        Attribute::with_value("candidate", candidate)
    };
    known.iter().enumerate().map(line).collect()
}

/// Whether a `c=` names a destination. What is no IP address is a name that somebody might look up.
fn is_real(connection: &Connection) -> bool {
    !connection.connection_address.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified())
}

/// Whether an `a=rtcp` (RFC 3605) names more than the discard port.
fn names_destination(value: &str) -> bool {
    let mut words = value.split_ascii_whitespace();
    let port = words.next();
    let address = words.nth(2).and_then(|address| address.parse::<IpAddr>().ok());
    port != Some("9") || !address.is_none_or(|ip| ip.is_unspecified())
}

#[cfg(test)]
mod tests;
