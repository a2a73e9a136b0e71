//! Bodies of trickle and ICE restart requests: `application/trickle-ice-sdpfrag` (RFC 8840 9, RFC 9725 4.3).
//!
//! A fragment is not an SDP description, so the lines are read here. Clients fill it in many ways (section numbers for
//! mids, `m=` lines without meaning, candidates we cannot use), and only what ties it to a generation must be right.

use std::fmt::Write as _;
use std::net::SocketAddr;

use sdp_types::{Candidate, CandidateAddress, CandidateType};

use super::candidates::host_candidates;
use super::{Credentials, OfferError};

const MOST_BYTES: usize = 16 * 1024;
/// Browsers send at most a dozen candidates per network interface.
const MOST_CANDIDATES: usize = 64;

/// What a fragment says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// The peer's credentials: which generation the fragment belongs to, or a new one.
    pub credentials: Credentials,
    /// How many usable candidates came along: UDP, component 1, a numeric address, of this generation. A lite agent
    /// needs no more than the number.
    pub candidates: usize,
}

/// Parses a fragment. Lines end in CRLF or LF; unknown lines are ignored; candidates that cannot be used are left out
/// (RFC 9725 4.3.2). Credentials of a section win over those of the session part.
///
/// # Errors
/// [`OfferError::Syntax`] if a line is not `x=…`, if `a=ice-ufrag` or `a=ice-pwd` is missing or malformed, or if a limit
/// is passed.
pub fn parse_fragment(text: &str) -> Result<Fragment, OfferError> {
    if text.len() > MOST_BYTES {
        return Err(syntax(format!("the fragment has {} bytes; no more than {MOST_BYTES} are taken", text.len())));
    }
    let mut lines = Lines::default();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
        lines.add(line).map_err(|what| syntax(format!("line {} of the fragment {what}", index + 1)))?;
    }
    let missing =
        |name| syntax(format!("the fragment has no a={name}; it says which generation it is for (RFC 8840 9)"));
    let ufrag = lines.ufrag.value().ok_or_else(|| missing("ice-ufrag"))?;
    let pwd = lines.pwd.value().ok_or_else(|| missing("ice-pwd"))?;
    let credentials = Credentials::check(ufrag, pwd).map_err(syntax)?;
    let candidates = lines.candidates.iter().filter(|candidate| is_usable(candidate, &credentials.ufrag)).count();
    Ok(Fragment { credentials, candidates })
}

/// Writes the body that answers an ICE restart: our new credentials, all candidates, and the options of the answer, for
/// the section with this mid. One candidate is the safest: a client in use joins several with commas.
pub fn write_fragment(credentials: &Credentials, mid: Option<&str>, candidates: &[SocketAddr]) -> String {
    let Credentials { ufrag, pwd } = credentials;
    let mut text = String::from("a=ice-lite\r\na=ice-options:trickle\r\n");
    let mut line = |line: std::fmt::Arguments<'_>| write!(text, "{line}\r\n").expect("writing to a String cannot fail");
    // What is said of the media means nothing here (RFC 8840 9).
    line(format_args!("m=audio 9 RTP/AVP 0"));
    if let Some(mid) = mid {
        line(format_args!("a=mid:{mid}"));
    }
    line(format_args!("a=ice-ufrag:{ufrag}"));
    line(format_args!("a=ice-pwd:{pwd}"));
    for candidate in host_candidates(candidates) {
        line(format_args!("a=candidate:{candidate}"));
    }
    line(format_args!("a=end-of-candidates"));
    text
}

fn syntax(text: String) -> OfferError {
    OfferError::Syntax(text)
}

/// An attribute that may stand in the session part and in sections; the first of a section wins.
#[derive(Default)]
struct Levelled<'a> {
    session: Option<&'a str>,
    section: Option<&'a str>,
}

impl<'a> Levelled<'a> {
    fn set(&mut self, in_section: bool, value: &'a str) {
        let place = if in_section { &mut self.section } else { &mut self.session };
        place.get_or_insert(value);
    }

    fn value(&self) -> Option<&'a str> {
        self.section.or(self.session)
    }
}

#[derive(Default)]
struct Lines<'a> {
    in_section: bool,
    ufrag: Levelled<'a>,
    pwd: Levelled<'a>,
    candidates: Vec<&'a str>,
}

impl<'a> Lines<'a> {
    /// Takes one line; the error says what is wrong with it.
    fn add(&mut self, line: &'a str) -> Result<(), &'static str> {
        let Some((name, value)) = line.split_once('=').filter(|(name, _)| name.len() == 1) else {
            return Err("is not of the form x=… (RFC 8840 9)");
        };
        if value.chars().any(|character| character.is_control() && character != '\t') {
            return Err("has control characters");
        }
        match name {
            "m" => self.in_section = true,
            "a" => self.add_attribute(value)?,
            _ if name.bytes().all(|byte| byte.is_ascii_lowercase()) => {}
            _ => return Err("is not of the form x=… (RFC 8840 9)"),
        }
        Ok(())
    }

    fn add_attribute(&mut self, attribute: &'a str) -> Result<(), &'static str> {
        let (name, value) = attribute.split_once(':').unwrap_or((attribute, ""));
        match name {
            "ice-ufrag" => self.ufrag.set(self.in_section, value.trim()),
            "ice-pwd" => self.pwd.set(self.in_section, value.trim()),
            "candidate" if self.candidates.len() == MOST_CANDIDATES => return Err("is one candidate too many (64)"),
            "candidate" => self.candidates.push(value.trim()),
            _ => {}
        }
        Ok(())
    }
}

fn is_usable(candidate: &str, ufrag: &str) -> bool {
    let Ok(candidate) = candidate.parse::<Candidate>() else { return false };
    let of_this_generation =
        candidate.extensions.iter().filter(|(name, _)| name == "ufrag").all(|(_, value)| value == ufrag);
    // A doubled `candidate:` prefix shows as a colon in the foundation, which is no ice-char.
    let foundation_is_well_formed = !candidate.foundation.contains(':');
    of_this_generation
        && foundation_is_well_formed
        && candidate.component_id == 1
        && candidate.transport.eq_ignore_ascii_case("udp")
        && matches!(candidate.address, CandidateAddress::IpAddr(_))
        && !matches!(candidate.typ, CandidateType::Other(_))
}
