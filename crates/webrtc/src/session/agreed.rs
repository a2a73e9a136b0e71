//! What was agreed on with a subscriber, and what of it is in use: the publisher's codecs decide, publisher by publisher.

use whipstitch_media::Codec;
use whipstitch_stream::{PerKind, Tracks};

use crate::egress::{Egress, Format};
use crate::negotiate::{ViewerFormat, ViewerPlan, best};

/// The formats of each kind that the answer promised.
pub(crate) struct Agreed(PerKind<Option<Section>>);

/// Those of one kind; the kinds that the answer refused have none.
struct Section {
    formats: Box<[ViewerFormat]>,
    /// The one in use; `None` as long as nobody has published this kind.
    current: Option<usize>,
}

/// The stream has something that was agreed on in no format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unfit;

impl Agreed {
    /// What a plan promises to send of a stream with these tracks.
    pub(crate) fn new(plan: &ViewerPlan, tracks: &Tracks) -> Agreed {
        let mut agreed = Agreed(PerKind::default());
        for media in &plan.media {
            let current = tracks.get(media.kind).and_then(|track| best(&media.formats, track));
            agreed.0[media.kind] = Some(Section { formats: media.formats.clone().into_boxed_slice(), current });
        }
        agreed
    }

    /// The stream's tracks are others now. A kind that is not published any more stays what it was, in case it comes back;
    /// one that was refused stays refused.
    ///
    /// # Errors
    /// [`Unfit`]; then nothing has changed.
    pub(crate) fn follow(&mut self, tracks: &Tracks) -> Result<(), Unfit> {
        let mut places = PerKind::default();
        for (kind, section) in self.0.iter() {
            let (Some(section), Some(track)) = (section, tracks.get(kind)) else { continue };
            let place = best(&section.formats, track).ok_or(Unfit)?;
            // RFC 7160 4.1: one SSRC has one clock rate. Which one, the first publisher has decided.
            let rate = |place: usize| section.formats.get(place).map(|format| format.codec.clock_rate());
            if section.current.is_some_and(|current| rate(current) != rate(place)) {
                return Err(Unfit);
            }
            places[kind] = Some(place);
        }
        for (kind, section) in self.0.iter_mut() {
            if let Some(section) = section {
                section.current = places[kind].or(section.current);
            }
        }
        Ok(())
    }

    /// Has the egress send in the formats in use.
    pub(crate) fn apply(&self, egress: &mut Egress) {
        for format in self.current() {
            let &ViewerFormat { codec, pt, rtx_pt, nack, .. } = format;
            let sent = egress.send_as(codec.kind(), Format { codec, pt, rtx_pt, nack });
            sent.expect("an offer's payload types have seven bits");
        }
    }

    /// The codecs in use.
    pub(crate) fn codecs(&self) -> Vec<Codec> {
        self.current().map(|format| format.codec).collect()
    }

    fn current(&self) -> impl Iterator<Item = &ViewerFormat> {
        let sections = self.0.iter().filter_map(|(_, section)| section.as_ref());
        sections.filter_map(|section| section.formats.get(section.current?))
    }
}
