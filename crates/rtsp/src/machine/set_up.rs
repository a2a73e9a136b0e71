//! SETUP: which track of which stream, and how its packets travel (RFC 2326 10.4, 12.39).

use rtsp_types::StatusCode;
use rtsp_types::headers;
use whipstitch_media::Kind;

use super::{ChosenWay, MAX_SESSIONS, Machine, Prepared, Question, SetUp, Step, Waiting, asks, refuse, session_id};
use crate::access::Right;
use crate::target::{Target, Track};
use crate::transport::{self, Unsuitable, Way};
use crate::wire::Request;

impl Machine {
    pub(super) fn set_up(&mut self, request: &Request) -> Step {
        if let Some(announced) = self.announced.take_if(|announced| announced.is_meant(request)) {
            let step = self.set_up_announced(&announced, request);
            self.announced = Some(announced);
            return step;
        }
        let Target { stream, track, child } = match self.target(request, Right::Play) {
            Ok(target) => target,
            Err(step) => return step,
        };
        let session = match session_id(request) {
            None => None,
            Some(id) => match self.find(id) {
                None => return refuse(request, StatusCode::SessionNotFound),
                Some(session) if session.playing => return refuse(request, StatusCode::MethodNotValidInThisState),
                // One session is one stream (aggregate control).
                Some(session) if session.stream != stream => {
                    return refuse(request, StatusCode::AggregateOperationNotAllowed);
                }
                Some(_) => Some(id.to_owned()),
            },
        };
        if session.is_none() && self.sessions.len() >= MAX_SESSIONS {
            return refuse(request, StatusCode::NotEnoughBandwidth);
        }
        let track = match track {
            Track::All => None,
            Track::Of(kind) => Some(kind),
            Track::Unknown => return refuse(request, StatusCode::NotFound),
        };
        let offered = request.header(&headers::TRANSPORT).unwrap_or_default();
        let way = match transport::choose(offered, self.facts.peer.ip(), false) {
            Ok(way) => way,
            Err(Unsuitable::Transport) => return refuse(request, StatusCode::UnsupportedTransport),
            Err(Unsuitable::Destination) => return refuse(request, StatusCode::Forbidden),
        };
        let Some(way) = self.place(way, session.as_deref(), track) else {
            return refuse(request, StatusCode::UnsupportedTransport);
        };
        let uri = request.uri().unwrap_or_default().to_owned();
        let question = Question::SetUp {
            session: session.clone(),
            stream: stream.clone(),
            asks: asks(child.as_deref()),
            track,
            way,
        };
        self.ask(request, Waiting::SetUp { session, stream, uri, way }, question)
    }

    /// The channels or ports a track gets; `None` if they are another track's, or it would go another way than the rest of
    /// its session.
    pub(super) fn place(&self, way: Way, session: Option<&str>, track: Option<Kind>) -> Option<ChosenWay> {
        let own = |prepared: &Prepared, id: &str| Some(id) == session && Some(prepared.kind) == track;
        let others = || {
            let all = self.sessions.iter().flat_map(|session| session.tracks.iter().map(|track| (&*session.id, track)));
            all.filter(|(id, prepared)| !own(prepared, id))
        };
        let is_udp = |way: &ChosenWay| matches!(way, ChosenWay::Udp(..));
        let way = match way {
            Way::Udp(rtp, rtcp) => ChosenWay::Udp(rtp, rtcp),
            Way::Interleaved(wanted) => {
                let taken = |channel: u8| {
                    others().any(|(_, other)| {
                        matches!(other.way, ChosenWay::Interleaved(rtp, rtcp) if channel == rtp || channel == rtcp)
                    })
                };
                let free = |pair: &(u8, u8)| !taken(pair.0) && !taken(pair.1);
                let mut ours = (0..=127).map(|n| (2 * n, 2 * n + 1));
                let (rtp, rtcp) = match wanted {
                    Some(pair) => Some(pair).filter(free)?,
                    None => ours.find(free)?,
                };
                ChosenWay::Interleaved(rtp, rtcp)
            }
        };
        let mut siblings = others().filter(|(id, _)| Some(*id) == session);
        siblings.all(|(_, sibling)| is_udp(&sibling.way) == is_udp(&way)).then_some(way)
    }
}

/// The `Transport` field of what was set up for a player.
pub(super) fn transport(way: ChosenWay, set_up: &SetUp) -> String {
    let ssrc = set_up.ssrc;
    match (way, set_up.ports) {
        (ChosenWay::Udp(rtp, rtcp), Some((our_rtp, our_rtcp))) => {
            format!("RTP/AVP;unicast;client_port={rtp}-{rtcp};server_port={our_rtp}-{our_rtcp};ssrc={ssrc:08X}")
        }
        (ChosenWay::Udp(rtp, rtcp), None) => format!("RTP/AVP;unicast;client_port={rtp}-{rtcp};ssrc={ssrc:08X}"),
        (ChosenWay::Interleaved(rtp, rtcp), _) => {
            format!("RTP/AVP/TCP;unicast;interleaved={rtp}-{rtcp};ssrc={ssrc:08X}")
        }
    }
}
