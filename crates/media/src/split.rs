//! Payloads that are too long for the packets of viewers, cut to size.
//!
//! Programs that send over TCP or on one machine make packets that fill an Ethernet frame by themselves (FFmpeg's RTSP:
//! 1472 bytes); protected, and with what WebRTC puts before the payload, such a packet would be fragmented by IP or lost. Units
//! that do not fit are fragmented as their payload format says, and fragments that do not fit are fragmented anew: what is
//! left of one waits for the next of the same unit, so that packets come out full and there are few more of them. What fits
//! passes untouched.
//!
//! Numbers: pieces take the next ones, everything behind them moves on; a gap before stays a gap of the same size.

use crate::codec::Codec;
use crate::packet::Packet;

use self::parts::{Form, Part, take_apart};

mod parts;

/// The longest payload that passes: with header, extensions and protection of SRTP below 1280 bytes, which every path of
/// IPv6 takes (RFC 8200 5).
pub const MAX_PAYLOAD: usize = 1200;

/// One track of one sender, in the order of its numbers. Holds what is left of one unit: less than a packet.
#[derive(Debug)]
pub struct Splitter {
    codec: Codec,
    /// The last number that came in, and the next that goes out.
    numbers: Option<(u64, u64)>,
    rest: Option<Rest>,
}

/// What is left of a unit that has begun to go out.
#[derive(Debug)]
struct Rest {
    form: Form,
    bytes: Vec<u8>,
    /// Nothing of the unit has gone out: the next piece is its first.
    begins: bool,
    /// Of the packet it came in.
    packet: Packet,
}

impl Splitter {
    /// For a track of this codec.
    pub fn new(codec: Codec) -> Self {
        Self { codec, numbers: None, rest: None }
    }

    /// For the same track of a sender that has begun anew. What is left of the one before is lost.
    #[must_use]
    pub fn anew(&self) -> Self {
        Self::new(self.codec)
    }

    /// Takes the next packet and gives what goes out for it: mostly the packet itself; nothing where what came is left for
    /// the next. Of payloads that break their format, and of those that have no way to be cut (Opus, AAC), the length stays.
    pub fn push(&mut self, packet: Packet, mut out: impl FnMut(Packet)) {
        let follows = self.numbers.is_none_or(|(last, _)| last.checked_add(1) == Some(packet.seq));
        if self.rest.as_ref().is_some_and(|rest| !follows || rest.packet.time != packet.time) {
            self.flush(&mut out);
        }
        let next = match self.numbers {
            None => packet.seq,
            Some((last, next)) => next.saturating_add(packet.seq.saturating_sub(last).saturating_sub(1)),
        };
        self.numbers = Some((packet.seq, next));
        if packet.payload.len() <= MAX_PAYLOAD && self.rest.is_none() {
            self.put(packet, &mut out);
        } else if is_samples(self.codec) {
            self.samples(&packet, &mut out);
        } else if let Some(parts) = take_apart(self.codec, &packet.payload, packet.marker) {
            self.parts(&packet, parts, &mut out);
        } else {
            self.flush(&mut out);
            self.put(packet, &mut out);
        }
    }

    fn parts(&mut self, packet: &Packet, parts: Vec<Part<'_>>, out: &mut impl FnMut(Packet)) {
        let mut pieces = Vec::new();
        for part in parts {
            let continues = |rest: &mut Rest| !part.begins && part.form.continues(&rest.form);
            let rest = self.rest.take_if(continues);
            if rest.is_none() {
                self.flush(out);
            }
            let room = rest.as_ref().map_or(&part.form, |rest| &rest.form).room();
            if rest.is_none() && part.bytes.len() <= room {
                pieces.push(part.form.write(part.begins, part.ends, part.bytes));
                continue;
            }
            let mut rest = rest.unwrap_or_else(|| Rest {
                form: part.form,
                bytes: Vec::new(),
                begins: part.begins,
                packet: packet.clone(),
            });
            rest.bytes.extend_from_slice(part.bytes);
            while rest.bytes.len() > room {
                let behind = rest.bytes.split_off(room);
                let piece = std::mem::replace(&mut rest.bytes, behind);
                pieces.push(rest.form.write(std::mem::take(&mut rest.begins), false, &piece));
            }
            if part.ends || packet.marker {
                pieces.push(rest.form.write(rest.begins, true, &rest.bytes));
            } else {
                self.rest = Some(rest);
            }
        }
        let last = pieces.len();
        for (at, piece) in (1..).zip(pieces) {
            self.put(Packet { marker: packet.marker && at == last, payload: piece.into(), ..packet.clone() }, out);
        }
    }

    /// Audio of a byte for each tick: the parts are packets of their own, with times of their own.
    fn samples(&mut self, packet: &Packet, out: &mut impl FnMut(Packet)) {
        let mut time = packet.time;
        for (at, piece) in packet.payload.chunks(MAX_PAYLOAD).enumerate() {
            // The marker says that a talk spurt begins (RFC 3551 4.1).
            let marker = packet.marker && at == 0;
            self.put(Packet { time, marker, payload: piece.into(), ..packet.clone() }, out);
            time = time.saturating_add(piece.len() as u64);
        }
    }

    /// What follows does not continue what is left: it goes as it is, and its unit has no end.
    fn flush(&mut self, out: &mut impl FnMut(Packet)) {
        let Some(Rest { form, bytes, begins, packet }) = self.rest.take() else { return };
        let payload = form.write(begins, false, &bytes).into();
        self.put(Packet { payload, marker: false, ..packet }, out);
    }

    /// Gives a packet the next number.
    fn put(&mut self, packet: Packet, out: &mut impl FnMut(Packet)) {
        let Some((_, next)) = &mut self.numbers else { return };
        let seq = *next;
        *next = next.saturating_add(1);
        out(Packet { seq, ..packet });
    }
}

/// Audio whose clock ticks once for each byte: G.722 too, by an old mistake (RFC 3551 4.5.2).
fn is_samples(codec: Codec) -> bool {
    matches!(codec, Codec::Pcmu | Codec::Pcma | Codec::G722)
}

#[cfg(test)]
mod tests;
