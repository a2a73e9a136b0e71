//! WHIP: publishing one stream (RFC 9725).

use std::sync::Arc;
use std::time::Instant;

use whipstitch_media::{Codec, Kind};

use crate::error::{CloseReason, Error};
use crate::link::{Link, LinkEvent};
use crate::loss::Loss;
use crate::peer::{self, Offer, Outgoing, VideoFormat};
use crate::session;
use crate::signalling::{self, Endpoint, Session};

/// What to publish, and where.
#[derive(Clone, Debug)]
pub struct Options {
    /// The WHIP endpoint, e.g. `http://127.0.0.1:8555/whip/demo`.
    pub url: String,
    /// Sent as `Authorization: Bearer`.
    pub token: Option<String>,
    /// The video that will be written; `None` publishes audio alone.
    pub video: Option<VideoFormat>,
    /// Whether Opus will be written.
    pub audio: bool,
    /// Whether RTX is offered, so that the gateway may ask for lost packets again. OBS and FFmpeg 8.0 do not.
    pub rtx: bool,
    /// Whether the gateway is to be reached over TCP (RFC 6544), and no other way.
    pub tcp: bool,
}

impl Options {
    /// H.264 constrained baseline and Opus with RTX, without a token.
    pub fn new(url: impl Into<String>) -> Options {
        Options {
            url: url.into(),
            token: None,
            video: Some(VideoFormat::H264_CONSTRAINED_BASELINE),
            audio: true,
            rtx: true,
            tcp: false,
        }
    }
}

/// What a publisher hears from the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A PLI or FIR arrived.
    KeyframeRequest,
    /// The session is over; nothing more will come.
    Closed(CloseReason),
}

/// One packet to publish, for [`Publisher::write_burst`].
#[derive(Clone, Debug)]
pub struct Packet {
    /// Which track.
    pub kind: Kind,
    /// RTP time on a timeline of the caller's own, in the codec's clock rate, modulo 2^32.
    pub time: u32,
    /// RTP marker bit: the last packet of a picture.
    pub marker: bool,
    /// RTP payload, at most about 1180 bytes so that the datagram stays below 1200.
    pub payload: Arc<[u8]>,
    /// When `time` was captured; sender reports pair it with `time`, which is what keeps audio and video together.
    pub captured: Instant,
}

/// A publishing session. It moves only while [`Publisher::next`] or a write is awaited: await `next` whenever there is
/// nothing to write, or the gateway will miss this peer's answers.
pub struct Publisher {
    link: Link,
    session: Session,
}

impl Publisher {
    /// Posts an offer and connects. When this fails after the offer was accepted, the session is deleted again.
    ///
    /// # Errors
    /// Any of [`Error`]; [`Error::Refused`] carries the status, [`Error::ConnectTimeout`] comes after 10 s.
    pub async fn connect(options: &Options) -> Result<Publisher, Error> {
        let offer = Offer {
            send: true,
            video: options.video.into_iter().collect(),
            audio: options.audio,
            rtx: options.rtx,
            tcp: options.tcp,
        };
        let endpoint = Endpoint::new(signalling::client(), &options.url, options.token.as_deref())?;
        let (link, session) = session::join(&endpoint, &offer, None).await?.connect().await?;
        Ok(Publisher { link, session })
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

    /// From now on so many of a thousand datagrams of media and reports are not sent, picked by chance from this seed.
    pub fn lose(&mut self, per_mille: u64, seed: u64) {
        self.link.lose_outgoing(Loss::new(per_mille, seed));
    }

    /// Sends one packet, captured now. See [`Packet`] for the arguments.
    ///
    /// # Errors
    /// [`Error::NoTrack`] when the gateway did not accept this kind of track; else the session is lost.
    pub async fn write(
        &mut self,
        kind: Kind,
        time: u32,
        marker: bool,
        payload: impl Into<Arc<[u8]>>,
    ) -> Result<(), Error> {
        let packet = Packet { kind, time, marker, payload: payload.into(), captured: Instant::now() };
        if self.write_burst([packet]).await? { Ok(()) } else { Err(Error::NoTrack(kind)) }
    }

    /// Sends packets back to back, in order. Packets of a kind that was not accepted are left out: false then.
    ///
    /// # Errors
    /// The session is lost.
    pub async fn write_burst(&mut self, packets: impl IntoIterator<Item = Packet>) -> Result<bool, Error> {
        let packets = packets.into_iter().map(|packet| Outgoing {
            kind: packet.kind,
            time: packet.time,
            marker: packet.marker,
            payload: packet.payload,
            captured: packet.captured,
        });
        self.link.write(packets).await
    }

    /// Waits for the next thing the gateway says. Cancelling it loses nothing.
    ///
    /// # Errors
    /// The session is lost.
    pub async fn next(&mut self) -> Result<Event, Error> {
        loop {
            match self.link.next().await?.1 {
                LinkEvent::Peer(peer::Event::KeyframeRequest) => return Ok(Event::KeyframeRequest),
                LinkEvent::Peer(peer::Event::Closed(reason)) => return Ok(Event::Closed(reason)),
                LinkEvent::Peer(_) | LinkEvent::Header(_) => {}
            }
        }
    }

    /// DELETEs the session and tells the peer (RTCP BYE, DTLS close_notify).
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
