//! The token list: tokens that may do some things on some streams, until some day.

use std::sync::Arc;
use std::time::SystemTime;

use whipstitch_stream::StreamKey;

use crate::access::Right;
use crate::credentials::Token;
use crate::media::Role;
use crate::patterns::Pattern;

/// What a token of the list may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// Publish, and end a stream's publisher.
    pub publish: bool,
    /// Watch.
    pub play: bool,
    /// Read lists and statistics, end everybody's sessions.
    pub admin: bool,
}

/// One `[[tokens]]` table of the configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    /// What the log calls it.
    pub name: Arc<str>,
    /// The token itself.
    pub token: Token,
    /// What it may do.
    pub rights: Rights,
    /// On which streams; empty is all.
    pub streams: Vec<Pattern>,
    /// From when on it is good for nothing.
    pub expires: Option<SystemTime>,
}

impl Listed {
    /// Whether its time is over.
    #[must_use]
    pub fn is_expired(&self, now: SystemTime) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// Whether it allows that, on that stream. A request for a stream whose name is illegal is judged by the right alone:
    /// that it fails is said later, and says nothing of any stream.
    #[must_use]
    pub fn allows(&self, right: Right, stream: Option<&StreamKey>) -> bool {
        let on_stream = || stream.is_none_or(|stream| self.is_for(stream));
        match right {
            Right::Publish | Right::Session(Role::Publisher) => self.rights.publish && on_stream(),
            Right::Play | Right::Session(Role::Subscriber) => self.rights.play && on_stream(),
            Right::Observe | Right::Control => self.rights.admin,
        }
    }

    fn is_for(&self, stream: &StreamKey) -> bool {
        self.streams.is_empty() || self.streams.iter().any(|pattern| pattern.matches(stream.as_str()))
    }
}
