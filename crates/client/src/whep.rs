//! WHEP: watching one stream (draft-ietf-wish-whep-04).

use std::sync::Arc;
use std::time::Instant;

use whipstitch_media::codec::Inspector;
use whipstitch_media::{Codec, Kind};

use crate::error::{CloseReason, Error};
use crate::link::{Link, LinkEvent};
use crate::loss::Loss;
use crate::peer::{self, Offer, Received, VideoFormat};
use crate::session;
use crate::signalling::{self, Endpoint, Session};

/// What to watch.
#[derive(Clone, Debug)]
pub struct Options {
    /// The WHEP endpoint, e.g. `http://127.0.0.1:8555/whep/demo`.
    pub url: String,
    /// Sent as `Authorization: Bearer`.
    pub token: Option<String>,
    /// Video formats in order of preference; empty watches audio alone.
    pub video: Vec<VideoFormat>,
    /// Whether Opus is wanted.
    pub audio: bool,
    /// Whether RTX is offered; without it lost packets are not asked for again.
    pub rtx: bool,
    /// Whether the gateway is to be reached over TCP (RFC 6544), and no other way.
    pub tcp: bool,
}

impl Options {
    /// Everything a browser would offer, without a token.
    pub fn new(url: impl Into<String>) -> Options {
        Options { url: url.into(), token: None, video: VideoFormat::ALL.to_vec(), audio: true, rtx: true, tcp: false }
    }
}

/// A media packet received, decrypted and in order of arrival (a repaired one comes late).
#[derive(Clone, Debug)]
pub struct Packet {
    /// Which track.
    pub kind: Kind,
    /// Its codec, by payload type.
    pub codec: Codec,
    /// Extended sequence number: consecutive packets differ by one.
    pub seq: u64,
    /// Extended RTP time in the codec's clock rate.
    pub time: u64,
    /// RTP marker bit.
    pub marker: bool,
    /// RTP payload.
    pub payload: Arc<[u8]>,
    /// When its datagram was read from the socket.
    pub arrived: Instant,
    /// Whether a decoder may start here ([`whipstitch_media::codec::Inspection::start`]).
    pub start: bool,
}

/// What a player hears.
#[derive(Clone, Debug)]
pub enum Event {
    /// A media packet.
    Packet(Packet),
    /// The session is over; nothing more will come.
    Closed(CloseReason),
}

/// The instants of a join.
#[derive(Clone, Copy, Debug)]
pub struct Milestones {
    /// The POST was sent.
    pub posted: Instant,
    /// Its answer had been read.
    pub answered: Instant,
    /// ICE and DTLS were up.
    pub connected: Instant,
    /// The first media packet of any kind.
    pub first_packet: Option<Instant>,
    /// The first video packet a decoder may start at.
    pub first_keyframe: Option<Instant>,
    /// The last packet of the picture that started there: now there is something to see.
    pub first_picture: Option<Instant>,
}

impl Milestones {
    pub(crate) fn new(posted: Instant, answered: Instant, connected: Instant) -> Milestones {
        Milestones { posted, answered, connected, first_packet: None, first_keyframe: None, first_picture: None }
    }
}

/// Follows the packets of a session until the first picture is complete, and says which of them a decoder may start at.
pub(crate) struct Watch {
    pub(crate) milestones: Milestones,
    /// Of the codec that came last: an answer may name several.
    video: Option<Inspector>,
    /// RTP time of the first picture.
    first_time: Option<u64>,
}

impl Watch {
    pub(crate) fn new(milestones: Milestones) -> Watch {
        Watch { milestones, video: None, first_time: None }
    }

    pub(crate) fn packet(&mut self, arrived: Instant, packet: Received) -> Packet {
        let milestones = &mut self.milestones;
        milestones.first_packet.get_or_insert(arrived);
        let start = match packet.kind {
            Kind::Audio => true,
            Kind::Video => {
                self.video.take_if(|inspector| inspector.codec() != packet.codec);
                let inspector = self.video.get_or_insert_with(|| Inspector::new(packet.codec));
                inspector.inspect(packet.time, &packet.payload).start
            }
        };
        if packet.kind == Kind::Video {
            if start {
                milestones.first_keyframe.get_or_insert(arrived);
                self.first_time.get_or_insert(packet.time);
            }
            if packet.marker && self.first_time == Some(packet.time) {
                milestones.first_picture.get_or_insert(arrived);
            }
        }
        let Received { kind, codec, seq, time, marker, payload, .. } = packet;
        Packet { kind, codec, seq, time, marker, payload, arrived, start }
    }
}

/// A watching session. It moves only while [`Player::next`] is awaited.
pub struct Player {
    link: Link,
    session: Session,
    watch: Watch,
}

impl Player {
    /// Posts an offer and connects. When this fails after the offer was accepted, the session is deleted again.
    ///
    /// # Errors
    /// Any of [`Error`]; [`Error::Refused`] carries the status, [`Error::ConnectTimeout`] comes after 10 s.
    pub async fn connect(options: &Options) -> Result<Player, Error> {
        let offer = Offer {
            send: false,
            video: options.video.clone(),
            audio: options.audio,
            rtx: options.rtx,
            tcp: options.tcp,
        };
        let endpoint = Endpoint::new(signalling::client(), &options.url, options.token.as_deref())?;
        let joining = session::join(&endpoint, &offer, None).await?;
        let (posted, answered) = (joining.posted, joining.answered);
        let (link, session) = joining.connect().await?;
        let watch = Watch::new(Milestones::new(posted, answered, Instant::now()));
        Ok(Player { link, session, watch })
    }

    /// The codec the gateway accepted for a kind of track.
    pub fn codec(&self, kind: Kind) -> Option<Codec> {
        self.link.peer().codec(kind)
    }

    /// The session URL; a secret.
    pub fn session_url(&self) -> &str {
        self.session.url.as_str()
    }

    /// The entity-tag of the 201, quoted as sent.
    pub fn etag(&self) -> Option<&str> {
        self.session.etag.as_deref()
    }

    /// When what happened.
    pub fn milestones(&self) -> Milestones {
        self.watch.milestones
    }

    /// From now on so many of a thousand datagrams of media and reports are lost as they arrive, picked by chance from
    /// this seed.
    pub fn lose(&mut self, per_mille: u64, seed: u64) {
        self.link.lose_incoming(Loss::new(per_mille, seed));
    }

    /// Waits for the next packet, or the end. Cancelling it loses nothing.
    ///
    /// # Errors
    /// The session is lost.
    pub async fn next(&mut self) -> Result<Event, Error> {
        loop {
            let (arrived, event) = self.link.next().await?;
            match event {
                LinkEvent::Peer(peer::Event::Packet(packet)) => {
                    return Ok(Event::Packet(self.watch.packet(arrived, packet)));
                }
                LinkEvent::Peer(peer::Event::Closed(reason)) => return Ok(Event::Closed(reason)),
                LinkEvent::Peer(_) | LinkEvent::Header(_) => {}
            }
        }
    }

    /// Asks for a keyframe (PLI), sent while [`Player::next`] is awaited. False as long as no video has arrived.
    ///
    /// # Errors
    /// The session is lost.
    pub fn request_keyframe(&mut self) -> Result<bool, Error> {
        self.link.request_keyframe()
    }

    /// Tells the peer (DTLS close_notify) and leaves the DELETE out, as a page that is closed does.
    ///
    /// # Errors
    /// The engine failed.
    pub async fn hang_up(self) -> Result<(), Error> {
        self.link.close().await
    }

    /// DELETEs the session and tells the peer (DTLS close_notify).
    ///
    /// # Errors
    /// The DELETE failed; the session is gone on this side all the same.
    pub async fn close(self) -> Result<(), Error> {
        let deleted = self.session.delete().await;
        // The engine refuses to close what the gateway has just closed: no news.
        let _ = self.link.close().await;
        deleted
    }
}
