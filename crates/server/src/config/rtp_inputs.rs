//! The `[[rtp_input]]` tables of the file: streams that are fed by plain RTP for as long as the server runs.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use whipstitch_ffmpeg::Wanted;
use whipstitch_media::Kind;
use whipstitch_media::sdp::{self, Section};
use whipstitch_stream::{PerKind, StreamKey};

use super::Mistake;
use super::tables::{self, Fields, Value, Wrong, text};

/// One input.
#[derive(Clone, Debug, PartialEq)]
pub struct RtpInput {
    /// The stream it feeds.
    pub stream: StreamKey,
    /// What comes, and at which ports.
    pub sdp: Sdp,
    /// The address it is taken at.
    pub listen: IpAddr,
}

/// What describes an input.
#[derive(Clone, Debug, PartialEq)]
pub enum Sdp {
    /// It is known.
    Sections(Vec<Section>),
    /// It stands in this file, which nobody has read yet.
    File(PathBuf),
}

/// The tables that name a stream, and everything that is wrong with any. Files are named from `folder` on.
pub(super) fn listed(value: &Value<'_>, folder: &Path) -> (Vec<RtpInput>, Vec<Wrong>) {
    tables::each("rtp_input", value, |fields, before: &[RtpInput]| {
        let at = fields.place("stream").unwrap_or_default();
        let stream = fields.need("stream", |value| {
            StreamKey::parse(text(value)?).map_err(|_| "is no stream name: 1 to 128 of A-Z a-z 0-9 . _ -".to_owned())
        });
        if let Some(stream) = stream.as_ref().filter(|stream| before.iter().any(|other| other.stream == **stream)) {
            fields.refuse_field(at, "stream", format!("{stream} has an earlier table"));
        }
        let listen = fields.take("listen", |value| {
            let text = text(value)?;
            text.parse().map_err(|_| format!("{text:?} is no IP address such as 127.0.0.1 or 0.0.0.0"))
        });
        // What is missing was told.
        let sdp = description(fields, folder).unwrap_or(Sdp::Sections(Vec::new()));
        Some(RtpInput { stream: stream?, sdp, listen: listen.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)) })
    })
}

fn description(fields: &mut Fields<'_, '_>, folder: &Path) -> Option<Sdp> {
    match (fields.place("sdp"), fields.place("sdp_file")) {
        (None, None) => {
            fields.refuse("sdp or sdp_file is missing");
            None
        }
        (Some(_), Some(at)) => {
            fields.refuse_field(at, "sdp_file", "there is an sdp already; one of the two says what comes");
            fields.take("sdp_file", text);
            fields.take("sdp", text);
            None
        }
        (Some(_), None) => fields.take("sdp", |value| sections(text(value)?)).map(Sdp::Sections),
        (None, Some(_)) => fields.take("sdp_file", |value| Ok(Sdp::File(folder.join(text(value)?)))),
    }
}

/// What a description says, and whether its ports can be meant: all sections have one, which is even, or none has.
fn sections(text: &str) -> Result<Vec<Section>, String> {
    // In a file the text begins where the editor likes.
    let sections = sdp::read(text.trim_start()).map_err(|error| error.to_string())?;
    let named = named(&sections);
    let ports: Vec<u16> = named.iter().filter_map(|(_, port)| *port).collect();
    if ports.iter().any(|port| port % 2 == 1) {
        return Err("a port of RTP is odd; the next one is that of RTCP, so take an even one".to_owned());
    }
    match ports[..] {
        [one, other] if one == other => Err(format!("audio and video have the same port, {one}")),
        [_] if sections.len() == 2 => {
            Err("one section has a port and the other has none; name both, or neither (0)".to_owned())
        }
        _ => Ok(sections),
    }
}

fn named(sections: &[Section]) -> PerKind<Option<u16>> {
    PerKind::from_fn(|kind: Kind| {
        let section = sections.iter().find(|section| section.codec.kind() == kind)?;
        Some(section.port).filter(|port| *port >= whipstitch_ffmpeg::LEAST_PORT)
    })
}

impl RtpInput {
    /// Reads the file, if there is one.
    pub(super) fn load(&mut self) -> Result<(), Mistake> {
        let Sdp::File(path) = &self.sdp else { return Ok(()) };
        let wrong = |what: &dyn std::fmt::Display| Mistake::at(format!("rtp_input of {}", self.stream), what);
        let text = std::fs::read_to_string(path).map_err(|error| wrong(&format!("{}: {error}", path.display())))?;
        let sections = sections(&text).map_err(|what| wrong(&format!("{}: {what}", path.display())))?;
        self.sdp = Sdp::Sections(sections);
        Ok(())
    }

    /// What is to come in; `None` as long as its file was not read.
    pub(crate) fn wanted(&self) -> Option<Wanted> {
        let Sdp::Sections(sections) = &self.sdp else { return None };
        Some(Wanted { stream: self.stream.clone(), sections: sections.clone(), local: self.listen })
    }

    /// Its fixed ports, of RTP and RTCP.
    pub(super) fn fixed_ports(&self) -> Vec<u16> {
        let Sdp::Sections(sections) = &self.sdp else { return Vec::new() };
        let named = named(sections);
        named.iter().filter_map(|(_, port)| *port).flat_map(|port| [port, port + 1]).collect()
    }
}
