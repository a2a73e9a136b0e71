//! The `Transport` field (RFC 2326 12.39): what a player can take its packets by, and what was chosen.
//!
//! Read here and not by `rtsp-types`, whose reader of this field is not total over any text.

use std::net::IpAddr;

/// How packets of a track travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// In the connection, under these channel numbers: RTP and RTCP. `None`: ours to choose.
    Interleaved(Option<(u8, u8)>),
    /// To these ports of the player.
    Udp(u16, u16),
}

/// Why none of what was offered will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsuitable {
    /// 461.
    Transport,
    /// 403: media would go to somebody else.
    Destination,
}

/// Alternatives that are looked at.
const MAX_SPECS: usize = 16;

/// The first alternative that can be used. `record`: the player wants to send.
pub(crate) fn choose(field: &str, peer: IpAddr, record: bool) -> Result<Way, Unsuitable> {
    let mut elsewhere = false;
    for spec in field.split(',').take(MAX_SPECS) {
        match read(spec, peer, record) {
            Ok(way) => return Ok(way),
            Err(Unsuitable::Destination) => elsewhere = true,
            Err(Unsuitable::Transport) => {}
        }
    }
    Err(if elsewhere { Unsuitable::Destination } else { Unsuitable::Transport })
}

fn read(spec: &str, peer: IpAddr, record: bool) -> Result<Way, Unsuitable> {
    let mut parameters = spec.split(';').map(str::trim);
    let protocol = parameters.next().unwrap_or_default().to_ascii_uppercase();
    let udp = match protocol.as_str() {
        "RTP/AVP" | "RTP/AVP/UDP" => true,
        "RTP/AVP/TCP" => false,
        _ => return Err(Unsuitable::Transport),
    };
    let (mut channels, mut ports) = (None, None);
    for parameter in parameters {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let value = value.trim().trim_matches('"');
        match name.trim().to_ascii_lowercase().as_str() {
            "multicast" => return Err(Unsuitable::Transport),
            "interleaved" => {
                channels = Some(pair(value, |first: u8| first.checked_add(1)).ok_or(Unsuitable::Transport)?)
            }
            "client_port" => ports = Some(pair(value, |first: u16| first.checked_add(1)).ok_or(Unsuitable::Transport)?),
            "destination" if value.parse().ok() != Some(peer) => return Err(Unsuitable::Destination),
            "mode" if value.eq_ignore_ascii_case("record") != record => return Err(Unsuitable::Transport),
            _ => {}
        }
    }
    match (udp, ports) {
        (true, Some((rtp, rtcp))) if !record && rtp != 0 && rtcp != 0 && rtp != rtcp => Ok(Way::Udp(rtp, rtcp)),
        (true, _) => Err(Unsuitable::Transport),
        (false, _) if channels.is_some_and(|(rtp, rtcp)| rtp == rtcp) => Err(Unsuitable::Transport),
        (false, _) => Ok(Way::Interleaved(channels)),
    }
}

/// `4-5`, or `4` alone for it and the next.
fn pair<T: std::str::FromStr + Copy>(value: &str, next: impl Fn(T) -> Option<T>) -> Option<(T, T)> {
    match value.split_once('-') {
        Some((first, second)) => Some((first.trim().parse().ok()?, second.trim().parse().ok()?)),
        None => {
            let first = value.parse().ok()?;
            Some((first, next(first)?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    #[test]
    fn the_first_that_can_be_used_is_chosen() {
        let (tcp, udp) = (|pair| Ok(Way::Interleaved(pair)), Ok(Way::Udp(5000, 5001)));
        let (never, elsewhere) = (Err(Unsuitable::Transport), Err(Unsuitable::Destination));
        for (field, expected) in [
            ("RTP/AVP/TCP;unicast;interleaved=0-1", tcp(Some((0, 1)))),
            ("rtp/avp/tcp; unicast ;interleaved = 4 - 5", tcp(Some((4, 5)))),
            ("RTP/AVP/TCP;unicast;interleaved=4", tcp(Some((4, 5)))),
            ("RTP/AVP/TCP;unicast", tcp(None)),
            ("RTP/AVP/TCP;interleaved=255", never),
            ("RTP/AVP/TCP;interleaved=3-3", never),
            ("RTP/AVP/TCP;interleaved=256-257", never),
            ("RTP/AVP;unicast;client_port=5000-5001", udp),
            ("RTP/AVP/UDP;unicast;client_port=5000", udp),
            ("RTP/AVP/UDP;unicast;client_port=5000-5001;mode=\"PLAY\"", udp),
            ("RTP/AVP;unicast;client_port=5000-5001;mode=record", never),
            ("RTP/AVP;unicast;client_port=65535", never),
            ("RTP/AVP;unicast;client_port=0-1", never),
            ("RTP/AVP;unicast", never),
            ("RTP/AVP;multicast;client_port=5000-5001", never),
            ("RTP/SAVP;unicast;client_port=5000-5001", never),
            ("RTP/SAVP;unicast,RTP/AVP/TCP;interleaved=2-3", tcp(Some((2, 3)))),
            ("RTP/AVP;unicast;destination=192.0.2.1;client_port=5000-5001", udp),
            ("RTP/AVP;unicast;destination=192.0.2.2;client_port=5000-5001", elsewhere),
            ("RTP/AVP;unicast;destination=localhost;client_port=5000-5001", elsewhere),
            ("RTP/AVP;destination=192.0.2.2;client_port=5000-5001,RTP/AVP/TCP", tcp(None)),
            ("", never),
            ("mode=\"", never),
        ] {
            assert_eq!(choose(field, PEER, false), expected, "{field}");
        }
    }

    #[test]
    fn who_sends_does_so_in_the_connection() {
        let tcp = Ok(Way::Interleaved(Some((0, 1))));
        assert_eq!(choose("RTP/AVP/TCP;unicast;interleaved=0-1;mode=record", PEER, true), tcp);
        assert_eq!(
            choose("RTP/AVP/UDP;unicast;client_port=5000-5001;mode=record", PEER, true),
            Err(Unsuitable::Transport)
        );
    }
}
