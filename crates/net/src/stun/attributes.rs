//! Reading a STUN message: header and attributes as `stun-types` reads them, in the order and with the bounds that the
//! checks need (RFC 8489 sections 5 and 14).
//!
//! Not by its `Message`, which accepts bytes behind the announced length, takes either integrity attribute for the other,
//! and writes a warning for every malformed datagram a stranger sends.

use stun_types::attribute::RawAttribute;
use stun_types::message::MessageHeader;
use stun_types::prelude::Attribute as _;

use super::DropReason;

/// Bytes of the header.
pub(super) const HEADER: usize = 20;

pub(super) const USERNAME: u16 = 0x0006;
pub(super) const MESSAGE_INTEGRITY: u16 = 0x0008;
pub(super) const MESSAGE_INTEGRITY_SHA256: u16 = 0x001c;
pub(super) const PRIORITY: u16 = 0x0024;
pub(super) const USE_CANDIDATE: u16 = 0x0025;
pub(super) const FINGERPRINT: u16 = 0x8028;
pub(super) const ICE_CONTROLLED: u16 = 0x8029;
pub(super) const ICE_CONTROLLING: u16 = 0x802a;

/// A message whose header is right and whose length field is the datagram's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Message<'a> {
    pub(super) bytes: &'a [u8],
    /// Class and method as on the wire.
    pub(super) kind: u16,
    pub(super) transaction: [u8; 12],
}

/// An attribute within a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attribute<'a> {
    pub(super) kind: u16,
    /// Where it begins in the message, at least 20.
    pub(super) at: usize,
    pub(super) value: &'a [u8],
}

impl<'a> Message<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Message<'a>, DropReason> {
        let header = MessageHeader::from_bytes(bytes).map_err(|_| DropReason::NotStun)?;
        let len = usize::from(header.data_length());
        if len % 4 != 0 || HEADER + len != bytes.len() {
            return Err(DropReason::NotStun);
        }
        // The header is there: `stun-types` has read it. It keeps class and method apart; rules are told by both.
        let kind = bytes.first_chunk().map_or(0, |kind| u16::from_be_bytes(*kind));
        let transaction = bytes.get(8..HEADER).and_then(|id| id.first_chunk()).copied().unwrap_or_default();
        Ok(Message { bytes, kind, transaction })
    }

    /// The attributes in order; after one that runs past the end, `Err` and no more.
    pub(super) fn attributes(self) -> impl Iterator<Item = Result<Attribute<'a>, DropReason>> {
        let mut at = HEADER;
        std::iter::from_fn(move || {
            let rest = self.bytes.get(at..).filter(|rest| !rest.is_empty())?;
            let attribute = attribute(rest, at);
            // Values are padded to 4, and since the whole length is a multiple of 4 the padding is there.
            at = attribute.map_or(usize::MAX, |attribute| at + 4 + attribute.value.len().next_multiple_of(4));
            Some(attribute.ok_or(DropReason::Malformed))
        })
    }

    /// The attributes that count: what follows an integrity attribute is not protected by it and ignored, but for the
    /// attributes of [`is_tail`] (RFC 8489 14.5, 14.6).
    pub(super) fn protected(self) -> impl Iterator<Item = Attribute<'a>> {
        let mut sealed = false;
        self.attributes().map_while(Result::ok).filter(move |attribute| {
            let counts = !sealed || is_tail(attribute.kind);
            sealed |= matches!(attribute.kind, MESSAGE_INTEGRITY | MESSAGE_INTEGRITY_SHA256);
            counts
        })
    }
}

/// Whether an attribute may follow MESSAGE-INTEGRITY.
fn is_tail(kind: u16) -> bool {
    matches!(kind, MESSAGE_INTEGRITY_SHA256 | FINGERPRINT)
}

fn attribute(rest: &[u8], at: usize) -> Option<Attribute<'_>> {
    let raw = RawAttribute::from_bytes(rest).ok()?;
    let value = rest.get(4..4 + usize::from(raw.length()))?;
    Some(Attribute { kind: raw.get_type().value(), at, value })
}
