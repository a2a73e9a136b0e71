//! The tracks of a stream. A stream has at most one of each kind, so the kind is the track's index everywhere.

use std::ops::{Index, IndexMut};

use whipstitch_media::{Codec, Kind};

/// One audio or video line of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    /// What the payloads are.
    pub codec: Codec,
    /// The publisher's format parameters: the text after the payload type in `a=fmtp`. May be empty.
    pub format: String,
}

/// What a publisher sends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tracks {
    /// The audio track, if there is one.
    pub audio: Option<Track>,
    /// The video track, if there is one.
    pub video: Option<Track>,
}

impl Tracks {
    /// The track of this kind.
    pub fn get(&self, kind: Kind) -> Option<&Track> {
        match kind {
            Kind::Audio => self.audio.as_ref(),
            Kind::Video => self.video.as_ref(),
        }
    }

    /// The kinds there are.
    pub fn kinds(&self) -> impl Iterator<Item = Kind> + '_ {
        Kind::ALL.into_iter().filter(|kind| self.get(*kind).is_some())
    }

    /// Neither audio nor video.
    pub fn is_empty(&self) -> bool {
        self.audio.is_none() && self.video.is_none()
    }
}

/// One value for each kind of track.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PerKind<T> {
    /// That of the audio track.
    pub audio: T,
    /// That of the video track.
    pub video: T,
}

impl<T> PerKind<T> {
    /// Makes one of each.
    pub fn from_fn(mut make: impl FnMut(Kind) -> T) -> Self {
        Self { audio: make(Kind::Audio), video: make(Kind::Video) }
    }

    /// Both, with their kind.
    pub fn iter(&self) -> impl Iterator<Item = (Kind, &T)> {
        [(Kind::Audio, &self.audio), (Kind::Video, &self.video)].into_iter()
    }

    /// Both, with their kind, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Kind, &mut T)> {
        [(Kind::Audio, &mut self.audio), (Kind::Video, &mut self.video)].into_iter()
    }
}

impl<T> Index<Kind> for PerKind<T> {
    type Output = T;

    fn index(&self, kind: Kind) -> &T {
        match kind {
            Kind::Audio => &self.audio,
            Kind::Video => &self.video,
        }
    }
}

impl<T> IndexMut<Kind> for PerKind<T> {
    fn index_mut(&mut self, kind: Kind) -> &mut T {
        match kind {
            Kind::Audio => &mut self.audio,
            Kind::Video => &mut self.video,
        }
    }
}
