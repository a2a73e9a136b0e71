//! What one sender of plain RTP publishes, whatever carries it here: a [`Receiver`] for each track it has announced.
//!
//! What comes out is what a stream takes: packets in order, of a length that fits viewers ([`media::split`]), the sender's
//! clock, word of a sender that has begun anew or has left. What goes back are receiver reports with our name, about every
//! second (RFC 3550 6.4.2), and requests for key pictures (RFC 4585 6.3.1), in compounds for each track's RTCP.
//!
//! The contract: after each `receive…`, and when [`deadline`](Publisher::deadline) has passed,
//! [`poll`](Publisher::poll) until `None`. What is not polled is bounded by what was received.
//!
//! [`media::split`]: whipstitch_media::split

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rtcp_types::prelude::*;
use rtcp_types::{Compound, PayloadFeedback, Pli, ReceiverReport, Sdes, SdesChunk, SdesItem};
use whipstitch_media::codec::Inspector;
use whipstitch_media::sdp::Section;
use whipstitch_media::split::Splitter;
use whipstitch_media::time::Ntp;
use whipstitch_media::{Kind, Packet};
use whipstitch_stream::stats::Counters;
use whipstitch_stream::{PerKind, Track as Published, Tracks};

use crate::receiver::{self, Ignored, Output, Receiver};
use crate::reorder::Limits;
use crate::report::REPORT_INTERVAL;
use crate::rtcp::Malformed;

/// Room for any compound from here: RR 32, SDES 8 + 2 + 255 with padding, PLI 12.
const MAX_COMPOUND: usize = 320;

/// What is known of a sender before it sends.
#[derive(Clone, Debug)]
pub struct Config {
    /// What it has announced; of each kind the last counts.
    pub sections: Vec<Section>,
    /// How long packets out of order wait for those before them.
    pub order: Limits,
    /// Ours, for reports.
    pub ssrc: u32,
    /// Our name in them, 1 to 255 bytes.
    pub cname: String,
}

/// What is to be done with the stream.
#[derive(Clone, Debug)]
pub enum Event {
    /// What follows of this track is of a sender that has begun anew: its numbers and times continue nothing.
    Restarted(Kind),
    /// The next packet.
    Packet(Kind, Packet),
    /// The sender's clock: the NTP time of an extended RTP time.
    Report(Kind, Ntp, u64),
    /// Every track has said BYE.
    Left,
}

/// What came of one sender so far, of all tracks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Told {
    /// Packets taken, and those that did not come by their numbers; rejected are packets and compounds that were ignored:
    /// malformed, of another payload type or source, repeated.
    pub counters: Counters,
    /// The largest share of a track's packets lost by our last report, 0 to 1.
    pub loss: Option<f32>,
    /// The largest interarrival jitter of a track.
    pub jitter: Option<Duration>,
}

/// One sender.
#[derive(Debug)]
pub struct Publisher {
    ssrc: u32,
    cname: String,
    tracks: Tracks,
    incoming: PerKind<Option<Incoming>>,
    events: VecDeque<Event>,
    /// After the first packet.
    next_report: Option<Instant>,
    told: Told,
}

#[derive(Debug)]
struct Incoming {
    pt: u8,
    receiver: Receiver,
    splitter: Splitter,
    left: bool,
}

impl Publisher {
    /// A sender of which nothing has come.
    pub fn new(config: Config) -> Publisher {
        let Config { sections, order, ssrc, cname } = config;
        let (mut tracks, mut incoming) = (Tracks::default(), PerKind::from_fn(|_| None));
        for Section { codec, pt, format, .. } in sections {
            let kind = codec.kind();
            // With what the parameter sets in it say, and as it is when sets are put in and long units fragmented.
            let format = Inspector::with_format(codec, &format).format(&format);
            let track = Some(Published { codec, format });
            match kind {
                Kind::Audio => tracks.audio = track,
                Kind::Video => tracks.video = track,
            }
            let receiver = Receiver::new(receiver::Config { pt, clock_rate: codec.clock_rate(), order });
            incoming[kind] = Some(Incoming { pt, receiver, splitter: Splitter::new(codec), left: false });
        }
        let (events, next_report, told) = (VecDeque::new(), None, Told::default());
        Publisher { ssrc, cname, tracks, incoming, events, next_report, told }
    }

    /// What it publishes, as viewers and players are to be told it.
    pub fn tracks(&self) -> &Tracks {
        &self.tracks
    }

    /// The track of a payload type, where one way carries all of them.
    pub fn kind_of(&self, pt: u8) -> Option<Kind> {
        let is_its = |(_, incoming): &(Kind, &Option<Incoming>)| incoming.as_ref().is_some_and(|track| track.pt == pt);
        self.incoming.iter().find(is_its).map(|(kind, _)| kind)
    }

    /// Takes an RTP packet of a track.
    ///
    /// # Errors
    /// Why it was ignored; of a track that was not announced, as of another payload type.
    pub fn receive(&mut self, now: Instant, kind: Kind, bytes: &[u8]) -> Result<(), Ignored> {
        let taken = match &mut self.incoming[kind] {
            Some(incoming) => incoming.receiver.receive(now, bytes),
            None => Err(Ignored::PayloadType(bytes.get(1).map_or(0, |byte| byte & 0x7f))),
        };
        match taken {
            Ok(()) => {
                self.told.counters.packets += 1;
                self.told.counters.bytes += bytes.len() as u64;
                self.next_report.get_or_insert(now + REPORT_INTERVAL);
            }
            Err(_) => self.told.counters.rejected += 1,
        }
        taken
    }

    /// Takes a compound of a track's RTCP.
    ///
    /// # Errors
    /// If it is malformed; nothing of it counts then.
    pub fn receive_rtcp(&mut self, now: Instant, kind: Kind, bytes: &mut [u8]) -> Result<(), Malformed> {
        let Some(incoming) = &mut self.incoming[kind] else { return Ok(()) };
        let taken = incoming.receiver.receive_rtcp(now, bytes);
        self.told.counters.rejected += u64::from(taken.is_err());
        taken
    }

    /// What is to be done, in order; ask again until `None`.
    pub fn poll(&mut self, now: Instant) -> Option<Event> {
        let mut left = false;
        for (kind, incoming) in self.incoming.iter_mut() {
            let Some(incoming) = incoming else { continue };
            while let Some(output) = incoming.receiver.poll(now) {
                let events = &mut self.events;
                match output {
                    Output::Packet(packet) => {
                        incoming.left = false;
                        incoming.splitter.push(packet, |packet| events.push_back(Event::Packet(kind, packet)));
                    }
                    Output::Restarted => {
                        incoming.splitter = incoming.splitter.anew();
                        events.push_back(Event::Restarted(kind));
                    }
                    Output::Report(ntp, time) => events.push_back(Event::Report(kind, ntp, time)),
                    Output::Bye => {
                        incoming.left = true;
                        left = true;
                    }
                }
            }
        }
        if left && self.incoming.iter().all(|(_, incoming)| incoming.as_ref().is_none_or(|track| track.left)) {
            self.events.push_back(Event::Left);
        }
        self.events.pop_front()
    }

    /// Asks for a key picture, as soon as there is a picture at all: `send` gets what is to go to the RTCP of a track.
    pub fn request_keyframe(&mut self, now: Instant, send: impl FnMut(Kind, &[u8])) {
        if self.incoming.video.as_ref().is_some_and(|video| video.receiver.ssrc().is_some()) {
            self.told.counters.plis += 1;
            self.write(now, true, send);
        }
    }

    /// Sends the reports that are due, to the RTCP of their tracks; then [`poll`](Self::poll).
    pub fn handle_timeout(&mut self, now: Instant, send: impl FnMut(Kind, &[u8])) {
        if self.next_report.is_some_and(|due| due <= now) {
            self.next_report = Some(now + REPORT_INTERVAL);
            self.write(now, false, send);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) or [`poll`](Self::poll) has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        let held = self.incoming.iter().filter_map(|(_, incoming)| incoming.as_ref()?.receiver.deadline());
        held.chain(self.next_report).min()
    }

    /// What came of it so far.
    pub fn told(&self) -> Told {
        let mut told = self.told;
        for (_, incoming) in self.incoming.iter() {
            let Some(Incoming { receiver, .. }) = incoming else { continue };
            told.counters.lost += receiver.lost();
            if let Some((loss, jitter)) = receiver.reported() {
                told.loss = Some(told.loss.map_or(loss, |other| other.max(loss)));
                told.jitter = told.jitter.max(Some(jitter));
            }
        }
        told
    }

    /// A report for each track that sends, or one of the video with a request for a key picture behind it.
    fn write(&mut self, now: Instant, keyframe: bool, mut send: impl FnMut(Kind, &[u8])) {
        let mut buffer = [0; MAX_COMPOUND];
        let (ssrc, cname) = (self.ssrc, &*self.cname);
        for (kind, incoming) in self.incoming.iter_mut().filter(|(kind, _)| !keyframe || *kind == Kind::Video) {
            let Some(receiver) = incoming.as_mut().map(|incoming| &mut incoming.receiver) else { continue };
            let (Some(media), Some(block)) = (receiver.ssrc(), receiver.block(now)) else { continue };
            let name = SdesItem::builder(SdesItem::CNAME, cname);
            let mut compound = Compound::builder()
                .add_packet(ReceiverReport::builder(ssrc).add_report_block(block))
                .add_packet(Sdes::builder().add_chunk(SdesChunk::builder(ssrc).add_item(name)));
            if keyframe {
                let pli = PayloadFeedback::builder_owned(Pli::builder());
                compound = compound.add_packet(pli.sender_ssrc(ssrc).media_ssrc(media));
            }
            if let Some(compound) = compound.write_into(&mut buffer).ok().and_then(|len| buffer.get(..len)) {
                send(kind, compound);
            }
        }
    }
}

#[cfg(test)]
mod tests;
