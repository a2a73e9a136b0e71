//! One face over the codecs: what a packet means for those who forward it.

use std::sync::Arc;

use super::{Codec, Kind};

/// What one payload says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// A decoder may start at this very packet: the first packet, in order of arrival, of what a key picture needs. At most
    /// one start for each RTP time.
    pub start: bool,
    /// The packet carries the beginning, or a slice, of a key picture.
    pub keyframe: bool,
    /// A key picture begins here, but none of its packets so far brought the parameter sets it needs. A decoder may start
    /// here if [`Inspector::parameter_sets`] are put in front, with the same RTP time. `start` is unset then.
    pub bare: bool,
    /// Width and height in pixels, when this payload tells.
    pub size: Option<(u16, u16)>,
    /// The payload violates its format: to be dropped. Everything else is unset then.
    pub broken: bool,
}

/// Looks at the payloads of one track.
#[derive(Debug)]
pub struct Inspector {
    codec: Codec,
}

impl Inspector {
    /// For a track of this codec.
    pub fn new(codec: Codec) -> Self {
        Self { codec }
    }

    /// The codec it was made for.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// The latest parameter sets as one payload of the track's format, ready to be sent before a [`bare`] key picture;
    /// `None` if they are not known, or the codec has none.
    ///
    /// [`bare`]: Inspection::bare
    pub fn parameter_sets(&self) -> Option<Arc<[u8]>> {
        None
    }

    /// Looks at one payload with its extended RTP time.
    pub fn inspect(&mut self, _time: u64, payload: &[u8]) -> Inspection {
        if payload.is_empty() {
            return Inspection { broken: true, ..Inspection::default() };
        }
        match self.codec.kind() {
            Kind::Audio => Inspection { start: true, keyframe: true, ..Inspection::default() },
            Kind::Video => Inspection::default(),
        }
    }
}
