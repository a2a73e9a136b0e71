//! The description of a running stream, for a player.

use std::net::IpAddr;

use sdp_types::{Attribute, Connection, Media, Origin, RtpMap, Session};

use super::Section;
use crate::Codec;

/// What is above the sections.
#[derive(Clone, Copy, Debug)]
pub struct Header<'a> {
    /// The stream's name.
    pub name: &'a str,
    /// Identifies the session together with `address` (RFC 8866 5.2).
    pub id: u64,
    /// Rises when the description changes.
    pub version: u64,
    /// Who describes.
    pub origin: IpAddr,
    /// Where the media goes to; unspecified where SETUP says so. FFmpeg recognises SDP by this line.
    pub connection: IpAddr,
    /// It is for RTSP: with the aggregate control URL and an open range (RFC 2326 C.1).
    pub rtsp: bool,
}

/// Writes a description. Its profile is RTP/AVP: with AVPF FFmpeg would send its feedback to itself.
pub fn write(header: &Header<'_>, sections: &[Section]) -> String {
    text(header, sections.iter().map(media).collect())
}

/// The same of sections that are written already.
pub(super) fn text(header: &Header<'_>, medias: Vec<Media>) -> String {
    let name = if header.name.is_empty() { "-" } else { header.name };
    let mut session = Session::new(Origin::with_ip_addr(header.id, header.version, header.origin), name);
    session.connection = Some(Connection::from_ip_addr(header.connection));
    if header.rtsp {
        session.attributes.push(Attribute::with_value("control", "*"));
        session.attributes.push(Attribute::with_value("range", "npt=now-"));
    }
    session.medias = medias;
    let mut text = Vec::new();
    session.write(&mut text).expect("memory takes any number of bytes");
    String::from_utf8(text).expect("it is made of strings")
}

pub(super) fn media(section: &Section) -> Media {
    let Section { codec, pt, .. } = section;
    let mut map = RtpMap::new(*pt, codec.name(), codec.clock_rate());
    map.encoding_params = match codec {
        // RFC 7587 7: always 2, whatever is inside.
        Codec::Opus => Some("2".to_owned()),
        Codec::Aac { channels, .. } => Some(channels.to_string()),
        _ => None,
    };
    let mut attributes = vec![map.into()];
    if !section.format.is_empty() {
        attributes.push(Attribute::with_value("fmtp", format!("{pt} {}", section.format)));
    }
    if let Some(control) = &section.control {
        attributes.push(Attribute::with_value("control", control));
    }
    Media {
        media: codec.kind().as_str().to_owned(),
        port: section.port,
        num_ports: None,
        proto: "RTP/AVP".to_owned(),
        fmt: pt.to_string(),
        media_title: None,
        connections: Vec::new(),
        bandwidths: Vec::new(),
        key: None,
        attributes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdp::read;

    const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn header(rtsp: bool) -> Header<'static> {
        Header { name: "cam", id: 7, version: 2, origin: LOOPBACK, connection: LOOPBACK, rtsp }
    }

    #[test]
    fn a_description_for_plain_rtp() {
        let video = Section { port: 5006, ..Section::of(Codec::H264, "packetization-mode=1;profile-level-id=64001f") };
        let audio = Section { port: 5004, ..Section::of(Codec::Opus, "sprop-stereo=1") };
        let expected = "v=0\r\no=- 7 2 IN IP4 127.0.0.1\r\ns=cam\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
            m=video 5006 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n\
            a=fmtp:96 packetization-mode=1;profile-level-id=64001f\r\n\
            m=audio 5004 RTP/AVP 111\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 sprop-stereo=1\r\n";
        assert_eq!(write(&header(false), &[video, audio]), expected);
    }

    #[test]
    fn a_description_for_rtsp() {
        let control = Some("trackID=0".to_owned());
        let audio = Section { control, ..Section::of(Codec::G722, "") };
        let connection = IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED);
        let expected = "v=0\r\no=- 7 2 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP6 ::\r\nt=0 0\r\n\
            a=control:*\r\na=range:npt=now-\r\n\
            m=audio 0 RTP/AVP 9\r\na=rtpmap:9 G722/8000\r\na=control:trackID=0\r\n";
        assert_eq!(write(&Header { name: "", connection, ..header(true) }, &[audio]), expected);
    }

    #[test]
    fn what_is_written_reads_back() {
        let aac = Codec::Aac { clock_rate: 44_100, channels: 1 };
        let audio = [Codec::Opus, Codec::Pcmu, Codec::Pcma, Codec::G722, aac];
        for video in Codec::ALL.into_iter().filter(|codec| codec.kind() == crate::Kind::Video) {
            for audio in audio {
                let format = if audio == aac { "mode=AAC-hbr;sizelength=13;config=1208" } else { "x=1" };
                let sections = [
                    Section {
                        port: 40_000,
                        control: Some("trackID=0".into()),
                        ..Section::of(video, "profile-id=0;tier=1")
                    },
                    Section { port: 40_002, ..Section::of(audio, format) },
                ];
                for rtsp in [false, true] {
                    assert_eq!(read(&write(&header(rtsp), &sections)).as_deref(), Ok(&sections[..]));
                }
            }
        }
    }
}
